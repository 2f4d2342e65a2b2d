"""Roads of the page: lines in whole decimetres, each point as the step from the one before, and their attributes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, MissingExtraError
from roadedge.roadmap.grid import converted
from roadedge.roadmap.page_frame import Frame, metric_name

UNIT_M = 0.1  # of coordinates in the page
DIGITS = {"length_m": 1, "width_m": 1, "confidence": 3, "speed_kmh": 1, "travel_time_s": 1}
EDGES, NODES = "edges", "nodes"


@dataclass(frozen=True, slots=True, eq=False)
class Roads:
    """Lines of a road map in a metric CRS, their attributes by name, and places of junctions (N, 2)."""

    crs: str
    lines: list[NDArray[np.float64]]
    columns: dict[str, list[Any]]
    junctions: NDArray[np.float64]

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """x0, y0, x1, y1 of all lines; None where there are none."""
        if not self.lines:
            return None
        every = np.concatenate(self.lines)
        low, high = every.min(axis=0).tolist(), every.max(axis=0).tolist()
        return low[0], low[1], high[0], high[1]

    @property
    def length_m(self) -> float:
        """Of all lines together."""
        return float(sum(np.hypot(*np.diff(line, axis=0).T).sum() for line in self.lines))


def read_roads(path: Path, tolerance_m: float) -> Roads:
    """The edges of a GeoPackage or GeoJSON of roads, drawn with the fewest points that stay within `tolerance_m`.

    Raises:
        DataError: it cannot be read, or holds no lines.
        MissingExtraError: pyogrio or shapely is not installed.
    """
    try:
        import pyogrio
        import pyogrio.raw
        import shapely
    except ImportError as error:
        raise MissingExtraError("pyogrio and shapely", "geo", "reading roads") from error
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        layer = EDGES if EDGES in layers else layers[0]
        about, _, wkb, values = pyogrio.raw.read(path, layer=layer)
        points = _junctions(path) if NODES in layers else None
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, IndexError) as error:
        again = "make it again with roadedge vectorize"
        raise DataError(f"{path} holds no roads that can be read ({error}); {again}") from error
    with np.errstate(invalid="ignore"):  # lines with NaN are left out below
        shapes = shapely.from_wkb(wkb)
    if not about["crs"]:
        raise DataError(f"{path} does not say its CRS; make it again with roadedge vectorize")
    names = [str(name) for name in about["fields"]]
    parts, rows = _parts(shapes)
    if len(shapes) and not parts:
        raise DataError(f"the layer {layer} of {path} holds no lines; expected the edges of a road graph")
    crs = _crs_for(parts, str(about["crs"]))
    lines = [converted(line, str(about["crs"]), crs) for line in parts]
    thin = shapely.simplify(np.array([shapely.linestrings(line) for line in lines], object), tolerance_m)
    columns = {name: _plain(name, np.asarray(column)[rows]) for name, column in zip(names, values, strict=True)}
    junctions = np.empty((0, 2)) if points is None else converted(points, str(about["crs"]), crs)
    return Roads(crs, [shapely.get_coordinates(one) for one in thin], columns, junctions)


def encoded(roads: Roads, frame: Frame) -> dict[str, Any]:
    """What the page's script reads: `points` of each line, `steps` of all lines one after the other, columns."""
    counts, steps = [], []
    for line in roads.lines:
        grid = np.rint(frame.local(line) / UNIT_M).astype(np.int64)
        counts.append(len(grid))
        steps.append(np.diff(grid, axis=0, prepend=[[0, 0]]).ravel())
    flat = np.concatenate(steps).tolist() if steps else []
    places = np.rint(frame.local(roads.junctions) / UNIT_M).astype(np.int64)
    return {"unit": UNIT_M, "points": counts, "steps": flat, "columns": roads.columns, "junctions": places.tolist()}


def _parts(shapes: NDArray[Any]) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """Lines of at least two points, and the row of the table that each came from; multi-lines are taken apart."""
    import shapely

    present = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    index = np.flatnonzero(present)
    singles, origin = shapely.get_parts(shapes[present], return_index=True)
    keep = shapely.get_type_id(singles) == shapely.GeometryType.LINESTRING
    lines = [shapely.get_coordinates(one) for one in singles[keep]]
    fine = np.array([bool(np.isfinite(line).all()) for line in lines], np.bool_)
    return [line for line, good in zip(lines, fine, strict=True) if good], index[origin[keep]][fine].astype(np.int64)


def _crs_for(lines: list[NDArray[np.float64]], crs: str) -> str:
    if not lines:
        return crs
    every = np.concatenate(lines)
    x, y = ((every.min(axis=0) + every.max(axis=0)) / 2).tolist()
    return metric_name(crs, (x, y))


def _junctions(path: Path) -> NDArray[np.float64]:
    """Places of nodes at which roads meet."""
    import pyogrio.raw
    import shapely

    about, _, wkb, values = pyogrio.raw.read(path, layer=NODES)
    table = dict(zip([str(name) for name in about["fields"]], values, strict=True))
    places = np.asarray(shapely.get_coordinates(shapely.from_wkb(wkb)), np.float64)
    chosen = table.get("junction")
    return places if chosen is None or len(chosen) != len(places) else places[np.asarray(chosen).astype(np.bool_)]


def _plain(name: str, column: NDArray[Any]) -> list[Any]:
    """A column as JSON values; None where it says nothing."""
    if column.dtype.kind == "f":
        known = column[np.isfinite(column)]
        digits = None if (known == np.rint(known)).all() else DIGITS.get(name, 6)  # whole numbers with gaps, maybe
        return [round(v, digits) if np.isfinite(v) else None for v in column.tolist()]
    if column.dtype.kind in "iub":
        return list(column.tolist())
    if column.dtype.kind in "mM":
        return [None if np.isnat(v) else str(v) for v in column]
    return [None if v is None else v if isinstance(v, str) else json.dumps(v, default=str) for v in column.tolist()]
