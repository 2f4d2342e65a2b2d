"""Files of lines with a CRS → road graphs in longitude and latitude, lengths in metres."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, UsageError
from roadedge.georeference.raster_place import to_lonlat
from roadedge.georeference.road_vectors import Box, Line, RoadVectors, read_road_vectors
from roadedge.roadgraph import RoadGraph
from roadedge.roadgraph.graph import LONLAT
from roadedge.roadgraph.joining import Columns, check_degrees, join_by_vertices, join_named, lengths_of
from roadedge.roadgraph.speeds import SPEED_NAMES, speed_of

_COLUMNS = ("u", "v", "width_m", "confidence", *SPEED_NAMES)


def read_vector_graph(path: Path, layer: str | None, within: Box | None) -> tuple[RoadGraph, tuple[str, ...]]:
    """The roads of a file by GDAL or of GeoParquet, and what must be said about them.

    Lines meet at the nodes that `u` and `v` name where the file has both and they agree with the lines, else wherever
    they share a vertex. A line that stands twice, once for each direction, is one road.

    Args:
        path: of a kind in `VECTOR_SUFFIXES`.
        layer: name of the layer; None for the one that is meant.
        within: longitudes and latitudes beyond which nothing is read.

    Raises:
        DataError: it cannot be read, says no CRS, or holds other things than roads.
    """
    found = read_road_vectors(path, layer, within, _COLUMNS)
    notes = found.notes
    kept = _without_twins(found.lines)
    if len(kept) < len(found.lines):
        notes += (f"{path.name}: lines that stand twice are counted once: {len(found.lines) - len(kept)}",)
    lines = [found.lines[number] for number in kept]
    known = {name: values[kept] for name, values in found.columns.items()}
    try:
        columns = _columns(known, len(kept))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: widths, confidences and speeds must be numbers: {error}") from error
    graph = _named(lines, known, columns, found)
    if graph is None:
        if {"u", "v"} <= known.keys() and lines:
            notes += (f"{path.name}: u and v do not agree with the lines, which meet where they share a vertex",)
        try:
            graph = join_by_vertices(lines, columns, found.crs, "m")
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    return in_lonlat(graph, path.name), notes


def in_lonlat(graph: RoadGraph, name: str) -> RoadGraph:
    """The graph in longitude and latitude, its lengths measured anew in metres.

    Raises:
        DataError: its coordinates are none of its CRS.
    """
    if not graph.lines:
        return RoadGraph.empty(LONLAT, "m")
    moved = graph
    if graph.crs != LONLAT:
        try:
            every = to_lonlat(np.concatenate([graph.nodes, *graph.lines]), graph.crs)
        except UsageError as error:
            raise DataError(f"{name}: {error}") from error
        if not np.isfinite(every).all():
            raise DataError(f"{name} holds places that are none of its CRS {graph.crs[:60]!r}; correct the CRS")
        moved = graph.moved(lambda _: every, LONLAT)
    try:
        check_degrees(moved.lines)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return replace(moved, length=lengths_of(moved.lines, LONLAT), unit="m")


def _without_twins(lines: tuple[Line, ...]) -> NDArray[np.int64]:
    """Numbers of lines that do not stand before, as they are or turned round."""
    seen: set[bytes] = set()
    kept = []
    for number, line in enumerate(lines):
        key = min(line.tobytes(), line[::-1].tobytes())
        if key not in seen:
            seen.add(key)
            kept.append(number)
    return np.array(kept, np.int64)


def _columns(known: dict[str, NDArray[Any]], count: int) -> Columns:
    columns = {
        name: np.array([_number(value) for value in known.get(key, [None] * count)], np.float64)
        for name, key in (("width", "width_m"), ("confidence", "confidence"))
    }
    speeds = [name for name in SPEED_NAMES if name in known]
    rows = zip(*(known[name].tolist() for name in speeds), strict=True) if speeds else [()] * count
    said = [speed_of(dict(zip(speeds, row, strict=True))) for row in rows]
    columns["speed_kmh"] = np.array(said, np.float64)
    return columns


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)


def _named(lines: list[Line], known: dict[str, NDArray[Any]], columns: Columns, found: RoadVectors) -> RoadGraph | None:
    """The graph by the nodes that the file names; None where it names none, or one at two places."""
    if not (lines and {"u", "v"} <= known.keys()):
        return None
    try:
        ends = np.stack([known["u"].astype(np.float64), known["v"].astype(np.float64)], axis=1)
    except (TypeError, ValueError):
        return None
    if not (np.isfinite(ends).all() and (ends == np.rint(ends)).all()):
        return None
    whole = np.stack([known["u"], known["v"]], axis=1).astype(np.int64)
    try:
        return join_named(lines, whole, [], {**columns, "length": lengths_of(lines, found.crs)}, found.crs, "m")
    except DataError:
        return None
