"""The ground that is compared: where rasters lie and have data; roads are cut where it ends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import SpecMismatchError, UsageError
from roadedge.georeference.raster_place import RasterPlace, opened_raster, place_of_raster, to_lonlat
from roadedge.georeference.road_vectors import Box, imported
from roadedge.roadgraph import RoadGraph
from roadedge.roadgraph.graph import Line
from roadedge.trajectory.plane import LocalPlane

LARGEST_MASK = 4096  # pixels a side of the picture that says where a raster has data
LEAST_GAP_M = 1000.0
_ALONG_SIDE = 16  # places on each side of a raster: its sides are bent on another plane


@dataclass(frozen=True, slots=True, eq=False)
class Extent:
    """Where a raster lies, and where it has data: (h, W) bool over the whole of it, None where that is everywhere."""

    name: str
    place: RasterPlace
    valid: NDArray[np.bool_] | None = None

    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of its middle."""
        return self.place.centre()

    def box(self) -> Box:
        """West, south, east, north of its border, in degrees."""
        lonlat = to_lonlat(self._on_raster(_ring(1.0, 1.0)), self.place.crs)
        (west, south), (east, north) = lonlat.min(axis=0), lonlat.max(axis=0)
        return float(west), float(south), float(east), float(north)

    def polygon(self, plane: LocalPlane) -> Any:
        """Its shape (shapely) in metres of a plane."""
        shapely = _shapely()

        def onto(share: NDArray[np.float64]) -> NDArray[np.float64]:
            return plane.from_lonlat(to_lonlat(self._on_raster(share), self.place.crs))

        if self.valid is None:
            found = shapely.Polygon(onto(_ring(1.0, 1.0)))
        else:
            height, width = self.valid.shape
            found = shapely.transform(outline(self.valid), lambda xy: onto(xy / [width, height]))
        return shapely.make_valid(found)

    def _on_raster(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) shares of width and height → coordinates of the raster's CRS."""
        x0, dx, rx, y0, ry, dy = self.place.transform
        pixels = share * [self.place.size[1], self.place.size[0]]
        return np.asarray(pixels @ np.array([[dx, ry], [rx, dy]]) + [x0, y0])


def extent_of(path: Path) -> Extent:
    """That of a georeferenced raster.

    A nodata value of 0 in a raster of 8 bits is taken for what masks hold beside roads, not for a hole in them.

    Raises:
        DataError: it cannot be read, or does not say where it lies.
        MissingExtraError: rasterio or shapely is not installed.
    """
    with opened_raster(path) as raster:
        return Extent(path.name, place_of_raster(raster, path), valid_pixels(raster, LARGEST_MASK))


def extent_named(text: str) -> Extent:
    """That of a raster file, or of `WEST,SOUTH,EAST,NORTH` in degrees.

    Raises:
        UsageError: four numbers that are no box on the Earth.
        DataError: the raster cannot be read, or does not say where it lies.
    """
    parts = text.split(",")
    if Path(text).exists() or len(parts) != 4:
        return extent_of(Path(text))
    try:
        west, south, east, north = (float(part) for part in parts)
    except ValueError as error:
        raise UsageError(f"--within is a raster or WEST,SOUTH,EAST,NORTH in degrees, got {text!r}") from error
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise UsageError(f"--within needs WEST < EAST and SOUTH < NORTH in degrees, got {text!r}")
    transform = (west, east - west, 0.0, north, 0.0, south - north)
    return Extent(text, RasterPlace(transform, "OGC:CRS84", (1, 1)))


def valid_pixels(raster: Any, largest: int | None = None) -> NDArray[np.bool_] | None:
    """(h, W) bool, where an open raster has data; None where that is everywhere.

    Args:
        raster: of rasterio.
        largest: pixels a side that the answer is shrunk to; None for the raster's own size.
    """
    from rasterio.enums import MaskFlags

    flags = raster.mask_flag_enums[0]
    values_of_masks = MaskFlags.nodata in flags and raster.dtypes[0] == "uint8" and raster.nodata == 0
    if MaskFlags.all_valid in flags or values_of_masks:
        return None
    shrink = 1.0 if largest is None else min(1.0, largest / max(raster.height, raster.width))
    shape = max(1, round(raster.height * shrink)), max(1, round(raster.width * shrink))
    valid = raster.read_masks(1, out_shape=shape) > 0
    return None if valid.all() else valid


def cut_to(graph: RoadGraph, area: Any) -> RoadGraph:
    """What of a graph lies in a polygon (shapely) of its own coordinates; roads inside keep their nodes.

    Lengths of what is cut are in proportion to what of the line is left.
    """
    shapely = _shapely()
    if not graph.lines:
        return graph
    lines = shapely.linestrings(np.concatenate(graph.lines), indices=_numbers(graph.lines))
    shapely.prepare(area)
    inside, touched = shapely.covers(area, lines), shapely.intersects(area, lines)
    if inside.all():
        return graph
    kept = np.flatnonzero(inside)
    crossing = np.flatnonzero(touched & ~inside)
    parts, of = shapely.get_parts(shapely.intersection(lines[crossing], area), return_index=True)
    long = shapely.get_type_id(parts) == shapely.GeometryType.LINESTRING  # an overlay leaves points where they touch
    pieces = [np.asarray(shapely.get_coordinates(part)) for part in parts[long]]
    return _rebuilt(graph, kept, pieces, crossing[of[long]])


def _rebuilt(graph: RoadGraph, kept: NDArray[np.int64], pieces: Sequence[Line], origin: NDArray[np.int64]) -> RoadGraph:
    """The `kept` edges as they are, and pieces of others, with new nodes where those were cut."""
    nodes = [*graph.nodes]
    ends: list[tuple[int, int]] = []
    lines: list[Line] = []
    made: dict[tuple[int, bytes], int] = {}

    def node_at(edge: int, place: NDArray[np.float64]) -> int:
        for node in (int(graph.u[edge]), int(graph.v[edge])):
            if np.array_equal(graph.nodes[node], place):
                return node
        key = edge, place.tobytes()
        if key not in made:
            made[key] = len(nodes)
            nodes.append(place)
        return made[key]

    for edge, piece in zip(origin.tolist(), pieces, strict=True):
        ends.append((node_at(edge, piece[0]), node_at(edge, piece[-1])))
        lines.append(piece)
    cut = np.array(ends, np.int64).reshape(-1, 2)
    every = np.concatenate([kept, origin])
    drawn = np.array([_drawn(graph.lines[edge]) for edge in origin.tolist()])
    share = np.array([_drawn(piece) for piece in lines]) / np.where(drawn > 0, drawn, 1.0)
    whole = RoadGraph(
        np.array(nodes),
        np.concatenate([graph.u[kept], cut[:, 0]]),
        np.concatenate([graph.v[kept], cut[:, 1]]),
        (*(graph.lines[edge] for edge in kept.tolist()), *lines),
        np.concatenate([graph.length[kept], graph.length[origin] * share]),
        graph.width[every],
        graph.confidence[every],
        graph.speed_kmh[every],
        crs=graph.crs,
        unit=graph.unit,
    )
    return whole.kept(np.arange(len(every)))  # without nodes of roads that are gone


def check_near(graph: RoadGraph, area: Any, name: str, other: str, unit: str = "m", least: float = LEAST_GAP_M) -> None:
    """Refuse roads that lie farther from an area (shapely) than that is large: two places are no score of 0.

    Args:
        graph: in the coordinates of the area, whose unit is `unit`.
        area: that should have them.
        name: of the graph, for the message.
        other: of the area.
        unit: of the coordinates.
        least: gap that is none.

    Raises:
        SpecMismatchError: they do, by the boxes about both.
    """
    if not graph.lines or area.is_empty:
        return
    every = np.concatenate(graph.lines)
    x0, y0, x1, y1 = area.bounds
    if not np.isfinite(every).all():
        raise SpecMismatchError(f"{name} and {other} lie on two sides of the Earth; check the CRS of both")
    (left, low), (right, high) = every.min(axis=0), every.max(axis=0)
    away = max(x0 - right, left - x1, y0 - high, low - y1)
    if away > max(x1 - x0, y1 - y0, least):
        said = f"{away / 1000:.4g} km" if unit == "m" else f"{away:.4g} {unit}"
        raise SpecMismatchError(
            f"{name} and {other} lie {said} apart and have no place in common; check the CRS of both"
        )


def _ring(width: float, height: float) -> NDArray[np.float64]:
    """A closed ring about a rectangle, with places along its sides."""
    corners = np.array([[0.0, 0], [width, 0], [width, height], [0, height], [0, 0]])
    share = np.arange(_ALONG_SIDE)[:, None] / _ALONG_SIDE
    sides = [start + share * (end - start) for start, end in itertools.pairwise(corners)]
    return np.concatenate([*sides, corners[:1]])


def outline(valid: NDArray[np.bool_]) -> Any:
    """The shape of what is True, in pixels."""
    from rasterio.features import shapes

    shapely = _shapely()
    found = [_polygon(one) for one, _ in shapes(valid.astype(np.uint8), mask=valid)]
    return shapely.union_all(found)


def _polygon(geometry: Any) -> Any:
    outer, *holes = geometry["coordinates"]
    return _shapely().Polygon(outer, holes)


def _numbers(lines: Sequence[Line]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(lines)), [len(line) for line in lines])


def _drawn(line: Line) -> float:
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Any:
    """The shape (shapely) of a box."""
    return _shapely().box(x0, y0, x1, y1)


def _shapely() -> Any:
    return imported("shapely", "cutting roads at the border of a raster")
