"""The roads of one result as lines: in pixels, and on the globe where the frame's place and plane are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, MissingExtraError
from roadedge.place import Place
from roadedge.sample import RoadMask
from roadedge.stream.sinks import Result
from roadedge.trajectory.plane import LocalPlane

LOCAL = "local"  # the `crs` of a plane of which nobody knows where on the globe it lies
COARSEST = 50.0  # towards the horizon a pixel covers more and more ground; beyond this many times the finest, no line
LOW = 0.7  # of the mask's threshold: what hangs together with road is road from there on, so that fewer lines break
# What is traced has sides no longer and pixels no finer: within a metre of what 0.46 m gives, in 40 % of its time.
LONGEST_PX, FINEST_M = 1024, 0.75
_ORTHO = re.compile(r"\+proj=ortho \+lat_0=(\S+) \+lon_0=(\S+) \+ellps=WGS84 \+units=m")

ToLonLat = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class RoadLine:
    """A road between two junctions: (N, 2) corner pixel coordinates, N >= 2; mean probability along it, in [0, 1]."""

    pixels: NDArray[np.float64]
    confidence: float | None = None


Trace = Callable[[RoadMask, float | None], Sequence[RoadLine]]  # mask, metres per pixel → lines


class RoadLines:
    """Lines of a result, traced once however many sinks ask for them."""

    def __init__(self, trace: Trace | None = None) -> None:
        """Trace with `trace`, by default with `trace_lines`, of which all that it needs is loaded now.

        Raises:
            MissingExtraError: scikit-image is not installed (extra `graph`).
        """
        self._trace = trace or trace_lines
        if trace is None:
            road = np.zeros((64, 64), np.uint8)
            road[28:36] = 255
            trace_lines(RoadMask(road, road > 0), None)  # else the first frame of a stream would wait for it
        self._of: Result | None = None
        self._lines: Sequence[RoadLine] = ()

    def __call__(self, result: Result) -> Sequence[RoadLine]:
        """The lines of `result`; the last one's are remembered."""
        if result is not self._of:
            self._lines = self._trace(result.mask, result.frame.sample.gsd_m)
            self._of = result
        return self._lines


def trace_lines(mask: RoadMask, gsd_m: float | None) -> list[RoadLine]:
    """Centre lines of a mask by roadedge.roadgraph; its threshold is the lowest probability that the mask has as road.

    Raises:
        MissingExtraError: scikit-image is not installed (extra `graph`).
    """
    from roadedge.roadgraph import TraceOptions, trace

    if not mask.mask.any():
        return []
    high = min(max(int(mask.probability[mask.mask].min()), 1) / 255, 0.998)
    probability, shrink = _shrunk(mask.probability, gsd_m)
    pixel_m = None if gsd_m is None else gsd_m * float(np.sqrt(shrink.prod()))
    graph = trace(probability, TraceOptions(threshold=high, low_threshold=LOW * high), pixel_m)
    return [
        RoadLine(line * shrink, float(confidence) if np.isfinite(confidence) else None)
        for line, confidence in zip(graph.lines, graph.confidence, strict=True)
    ]


def _shrunk(probability: NDArray[np.uint8], gsd_m: float | None) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """By the mean of areas to what roads need, and the factors (x, y) that lead back to the frame's pixels.

    A picture from a drone has a hundred times the pixels that the network looked at, and tracing takes time for each.
    """
    import cv2

    height, width = probability.shape
    coarser = 0.0 if gsd_m is None else min(FINEST_M / gsd_m, min(height, width) / 64)
    factor = max(coarser, max(height, width) / LONGEST_PX)
    if factor <= 1:
        return probability, np.ones(2)
    size = round(width / factor), round(height / factor)
    small = np.asarray(cv2.resize(probability, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small, np.array([width / size[0], height / size[1]])


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A line, or a part of one, on the ground: (N, 2) metres of the frame's plane, (N, 2) degrees where known.

    A stretch over the antimeridian goes on beyond 180 degrees.
    """

    metres: NDArray[np.float64]
    lonlat: NDArray[np.float64] | None
    length_m: float


class Ground:
    """What is known of where a frame lies.

    `known` is "lonlat", "plane" (metres of a plane that lies nobody knows where), or "" (nothing).
    """

    def __init__(self, place: Place | None, size: tuple[int, int]) -> None:
        """Look at the place of a frame of (H, W) pixels.

        Raises:
            MissingExtraError: its coordinate system needs pyproj, which is not installed.
            DataError: its coordinate system is not one.
        """
        self._place = place
        self._to_lonlat = None if place is None or place.crs == LOCAL else projection(place.crs)
        self.known = "" if place is None else "plane" if self._to_lonlat is None else "lonlat"
        height, width = size
        corners = np.array([[0.0, 0], [width, 0], [0, height], [width, height]])
        scales = np.empty(0) if place is None else _metres_per_pixel(place, corners)
        self._finest = float(scales.min(initial=np.inf))

    def lay(self, lines: Sequence[NDArray[np.float64]]) -> list[list[Stretch]]:
        """Lines in pixels → for each its stretches of two or more vertices on the ground, not at or beyond the horizon.

        All at once, since a frame has many short lines. Empty lists where no place is known.
        """
        if self._place is None or not lines:
            return [[] for _ in lines]
        pixels = np.concatenate(lines)
        metres = self._place.to_ground(pixels)
        lonlat = None if self._to_lonlat is None else self._to_lonlat(metres)
        there = _metres_per_pixel(self._place, pixels) <= COARSEST * self._finest
        there &= np.isfinite(metres).all(axis=1)  # what a projection cannot turn back is nowhere
        if lonlat is not None:
            with np.errstate(invalid="ignore"):
                there &= np.isfinite(lonlat[:, 0]) & (np.abs(lonlat[:, 1]) < 90)
        steps = np.linalg.norm(np.diff(self._measured(metres, lonlat, there), axis=0), axis=1)
        laid, begin = [], 0
        for line in lines:
            bounds = np.flatnonzero(np.diff([0, *there[begin : begin + len(line)].tolist(), 0])) + begin
            laid.append([
                Stretch(metres[i:j], None if lonlat is None else lonlat[i:j], float(steps[i : j - 1].sum()))
                for i, j in zip(bounds[::2], bounds[1::2], strict=True) if j - i > 1
            ])  # fmt: skip
            begin += len(line)
        return laid

    def _measured(
        self, metres: NDArray[np.float64], lonlat: NDArray[np.float64] | None, there: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Metres to take lengths in: those of a map are not always that (Web Mercator's double at 60 degrees)."""
        assert self._place is not None
        if lonlat is None or _ORTHO.fullmatch(self._place.crs) or not there.any():
            return metres
        lon, lat = lonlat[np.flatnonzero(there)[0]]
        return LocalPlane((float(lon) + 180) % 360 - 180, float(lat)).from_lonlat(lonlat)


@lru_cache(maxsize=8)
def projection(crs: str) -> ToLonLat:
    """(N, 2) metres of a plane → longitude and latitude, WGS 84; our own planes without pyproj.

    Raises:
        MissingExtraError: pyproj is needed and not installed.
        DataError: `crs` names no coordinate system.
    """
    match = _ORTHO.fullmatch(crs)
    if match is not None:
        return LocalPlane(float(match[2]), float(match[1])).to_lonlat
    try:
        from pyproj import Transformer
        from pyproj.exceptions import CRSError
    except ImportError as error:
        raise MissingExtraError("pyproj", "geo", f"giving roads of {crs} longitude and latitude") from error
    try:
        transformer: Any = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    except CRSError as error:
        raise DataError(f"frames lie in {crs!r}, which is no coordinate system ({error})") from error
    return lambda metres: np.stack(transformer.transform(metres[:, 0], metres[:, 1]), axis=1)


def _metres_per_pixel(place: Place, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) root of the ground that a pixel covers at each of (N, 2) pixels; infinite at and beyond the horizon.

    The determinant of the map's derivative is det(H) / w³ with w = 0 on the horizon and another sign beyond it. What a
    camera sees of the ground is a mirror image of the map (y runs down), so that the sign is negative; a raster that is
    stored the other way round has no horizon, and one sign everywhere.
    """
    matrix = place.homography
    w = pixels @ matrix[2, :2] + matrix[2, 2]
    with np.errstate(divide="ignore"):
        area = np.linalg.det(matrix) / w**3
    tilted = bool(np.any(matrix[2, :2]))
    seen = (area < 0) & np.isfinite(area) if tilted else np.isfinite(area)
    return np.where(seen, np.sqrt(np.abs(area, where=seen, out=np.ones_like(area))), np.inf)
