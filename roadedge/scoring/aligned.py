"""A prediction and a truth, each a raster or a graph → both on one grid and in one plane, or a sentence why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import SpecMismatchError, UsageError
from roadedge.metrics.relaxed import centre_lines
from roadedge.place import Place
from roadedge.roadgraph import RoadGraph, trace
from roadedge.roadgraph.drawing import draw
from roadedge.roadgraph.graph import PIXEL, measure
from roadedge.roadgraph.trace import TraceOptions
from roadedge.scoring.clipping import clip
from roadedge.scoring.extent import Extent, check_near, cut_to, outline, rectangle
from roadedge.scoring.layers import Layer
from roadedge.scoring.on_ground import has_place, on_one_plane
from roadedge.trajectory.plane import LocalPlane

LARGEST_GRID = 20_000  # pixels a side of a grid that is made for graphs
Ground = tuple[Place, LocalPlane]
_GSD_TOLERANCE = 0.05
_APART_PX = 0.5  # how far the corners of two rasters may lie from each other


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What was predicted, or what is true.

    `area` (H, W) bool is None where lines do not say how wide their roads are. `roads` makes the graph, on the grid
    where there is one, or gives the one that was read (`drawn`). `place` is where the grid lies.
    """

    area: NDArray[np.bool_] | None
    roads: Callable[[], RoadGraph]
    drawn: bool
    place: Place | None = None

    def graph(self) -> RoadGraph:
        """The graph that is scored: on the ground where that is known, since pixels may be longer than wide there."""
        return self.roads() if self.place is None else self.roads().to_ground(self.place)

    def lines(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W) bool centre lines: the skeleton of a mask, without cleaning, or the lines of a graph."""
        if self.drawn or self.area is None:
            return draw(self.roads(), size)
        return centre_lines(self.area)


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """Both sides in one place. `size` (H, W) is None where nobody knows a grid; `ignored` (H, W) bool or None."""

    gsd_m: float | None
    size: tuple[int, int] | None
    predicted: Side
    truth: Side
    ignored: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()


def align(
    prediction: Layer,
    truth: Layer,
    gsd_m: float | None,
    threshold: float,
    tracing: TraceOptions,
    within: Extent | None = None,
) -> Aligned:
    """Bring two layers together.

    Pixels that the truth ignores, or where a raster has no data, are taken out of both before roads are traced; lines
    are cut where a raster ends or has no data, and where `within` ends.

    Raises:
        SpecMismatchError: other sizes, other ground, or coordinates that nothing brings together.
        UsageError: an extent beside a raster, which has its own.
    """
    notes = tuple(dict.fromkeys((*prediction.notes, *truth.notes)))
    if prediction.size is None and truth.size is None:
        return _graphs(prediction, truth, gsd_m, notes, within)
    if within is not None:
        raise UsageError("--within is for two files of lines; a raster says by itself where it ends")
    size, ground = _grid(prediction, truth)
    place = None if ground is None else ground[0]
    gsd_m = (gsd_m or _gsd_of(prediction, truth)) if place is None else _own_gsd(place.gsd_m(size), gsd_m)
    if truth.ignored is not None and prediction.graph is not None:
        notes += ("lines of the prediction across ignored pixels count in graph scores",)
    unseen = _either(prediction.unseen, truth.unseen)
    ignored = _either(truth.ignored, unseen)
    if unseen is not None:
        notes += (f"{100 * unseen.mean():.1f} % of the raster have no data and are left out on both sides",)
    sides = []
    for layer in (prediction, truth):
        if layer.road is not None:
            road = layer.road if ignored is None else np.where(ignored, layer.road.dtype.type(0), layer.road)
            sides.append(Side(road_of(road, threshold), _tracer(road, tracing, gsd_m), False, place))
        else:
            graph = _in_pixels(layer, ground, size, gsd_m)
            sides.append(_side(graph if unseen is None else cut_to(graph, outline(~unseen)), size, place))
            if sides[-1].area is None:
                side = "truth" if layer is truth else "prediction"
                notes += (f"the lines of the {side} have no widths: areas are not compared",)
    return Aligned(gsd_m, size, sides[0], sides[1], ignored, notes)


def _either(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other


def _own_gsd(own_m: float, said_m: float | None) -> float:
    """That of the georeference; raises SpecMismatchError where the user says another one."""
    if said_m is not None and abs(said_m / own_m - 1) > _GSD_TOLERANCE:
        raise SpecMismatchError(
            f"--gsd says {said_m:g} m a pixel and the georeference {own_m:.4g}; leave --gsd out, or correct the file"
        )
    return own_m


def road_of(road: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """(H, W) bool of a mask, or of a probability of uint8 or floats."""
    if road.dtype == np.bool_:
        return road
    return np.asarray(road >= threshold * (255.0 if road.dtype == np.uint8 else 1.0), np.bool_)


def _grid(prediction: Layer, truth: Layer) -> tuple[tuple[int, int], Ground | None]:
    """Size of the rasters, and where they lie on which plane, where one of them says so."""
    known = [layer for layer in (prediction, truth) if layer.size is not None]
    sizes = [layer.size for layer in known]
    if len(set(sizes)) > 1:
        (h, w), (height, width) = sizes  # type: ignore[misc]
        raise SpecMismatchError(
            f"the prediction {prediction.name} is {h} x {w} pixels and the truth {truth.name} {height} x {width}; "
            "bring the probability to the grid of the truth first"
        )
    size = known[0].size
    assert size is not None
    rasters = [layer.place for layer in known if layer.place is not None]
    if not rasters:
        return size, None
    plane = LocalPlane(*rasters[0].centre())
    places = [raster.on(plane) for raster in rasters]
    if len(places) > 1:
        _check_same_ground(places, size, prediction.name, truth.name)
    return size, (places[0], plane)


def _check_same_ground(places: list[Place], size: tuple[int, int], own: str, other: str) -> None:
    height, width = size
    corners = np.array([(0.0, 0.0), (width, 0.0), (0.0, height), (width, height)])
    apart = np.linalg.norm(places[0].to_image(places[1].to_ground(corners)) - corners, axis=1).max()
    if apart > _APART_PX:
        raise SpecMismatchError(
            f"{own} and {other} lie {apart:.1f} pixels apart by their georeference; warp one to the grid of the other"
        )


def _in_pixels(layer: Layer, ground: Ground | None, size: tuple[int, int], gsd_m: float | None) -> RoadGraph:
    """The graph of a layer on the grid of the other one, what lies beyond it cut off."""
    graph = layer.graph
    assert graph is not None
    if not graph.lines:  # nothing lies wherever it is said to lie
        return RoadGraph.empty(PIXEL, "px" if gsd_m is None else "m")
    if graph.crs != PIXEL:
        if ground is None:
            raise SpecMismatchError(
                f"{layer.name} lies in {graph.crs!r} and the mask does not say where it lies; "
                "give a GeoTIFF, or lines in pixels"
            )
        graph = _on_ground(graph, *ground, layer.name)
        _check_touches(graph, size, layer.name)
    return clip(_in_unit(graph, gsd_m), size)


def _on_ground(graph: RoadGraph, place: Place, plane: LocalPlane, name: str) -> RoadGraph:
    lonlat = graph.to_lonlat()
    if not np.isfinite(plane.from_lonlat(np.concatenate(lonlat.lines))).all():
        raise SpecMismatchError(f"lines of {name} lie on another side of the Earth than the mask; check both")
    return lonlat.moved(lambda xy: place.to_image(plane.from_lonlat(xy)), PIXEL)


def _check_touches(graph: RoadGraph, size: tuple[int, int], name: str) -> None:
    check_near(graph, rectangle(0, 0, size[1], size[0]), name, "the raster", "pixels", max(size))


def _graphs(
    prediction: Layer, truth: Layer, gsd_m: float | None, notes: tuple[str, ...], within: Extent | None
) -> Aligned:
    own, other = prediction.graph, truth.graph
    assert own is not None
    assert other is not None
    if not own.lines:
        own = RoadGraph.empty(other.crs, other.unit)
    if not other.lines:
        other = RoadGraph.empty(own.crs, own.unit)
    if (own.crs == PIXEL) != (other.crs == PIXEL):
        raise SpecMismatchError(
            f"{prediction.name} lies in {own.crs!r} and {truth.name} in {other.crs!r}; bring both to one, by to_ground "
            "and to_lonlat"
        )
    if own.crs == PIXEL:
        gsd_m = gsd_m or _gsd_of(prediction, truth)
        own, other = _in_unit(own, gsd_m), _in_unit(other, gsd_m)
        size = _extent(own, other)
        return Aligned(gsd_m, size, _side(own, size), _side(other, size), None, notes)
    extents = [one for one in (prediction.extent, truth.extent, within) if one is not None]
    if has_place(own) and has_place(other):
        own, other = on_one_plane(own, other, (prediction.name, truth.name), extents)
        where = f", within {' and '.join(one.name for one in extents)}" if extents else ""
        notes += (f"compared on a plane in metres about the middle of both{where}; lengths are measured there",)
    elif extents or own.crs != other.crs:
        raise SpecMismatchError(f"{own.crs!r} and {other.crs!r} are no coordinates that could be brought together")
    return Aligned(None, None, _side(own, None), _side(other, None), None, notes)


def _side(graph: RoadGraph, size: tuple[int, int] | None, place: Place | None = None) -> Side:
    known = size is not None and bool(np.isfinite(graph.width).all())
    return Side(draw(graph, size, None) if known and size is not None else None, lambda: graph, True, place)


def _extent(*graphs: RoadGraph) -> tuple[int, int] | None:
    """The grid that graphs in pixels reach over; None where it would be too large, or they are empty."""
    lines = [line for graph in graphs for line in graph.lines]
    if not lines:
        return None
    every = np.concatenate(lines)
    width, height = np.ceil(every.max(axis=0)).astype(int) + 1
    inside = every.min() >= 0 and max(height, width) <= LARGEST_GRID
    return (int(height), int(width)) if inside else None


def _gsd_of(*layers: Layer) -> float | None:
    """Metres per pixel of a graph in pixels whose lengths are metres."""
    for layer in layers:
        graph = layer.graph
        if graph is not None and graph.crs == PIXEL and graph.unit == "m":
            drawn = float(measure(graph.lines).sum())
            if drawn > 0:
                return graph.total_length / drawn
    return None


def _in_unit(graph: RoadGraph, gsd_m: float | None) -> RoadGraph:
    if gsd_m is None or graph.unit == "m":
        return graph
    return replace(graph, length=graph.length * gsd_m, width=graph.width * gsd_m, unit="m")


def _tracer(road: NDArray[Any], tracing: TraceOptions, gsd_m: float | None) -> Callable[[], RoadGraph]:
    return cache(lambda: trace(road, tracing, gsd_m))
