"""The road that a point follows: the nearest one that runs the way the point moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roadedge.roadgraph.graph import RoadGraph
from roadedge.roadmap.point_blocks import Box

if TYPE_CHECKING:
    from roadedge.roadmap.traffic import TrafficOptions

CELL_M = 2.0  # of the map of nearest roads; which of two roads is nearer is decided to within one cell
BINS = 6  # of directions, each with a map of its own; the last map, of all roads, is for points without a heading
_SHIFT = 4  # cv2's fixed-point coordinates: a sixteenth of a cell


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Straight pieces of all roads: (S, 2) `start` and `end` in metres, (S,) `edge`, half `width` and direction.

    `bearing_deg` is clockwise from north in [0, 360), from start to end.
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    edge: NDArray[np.int64]
    half_width: NDArray[np.float64]
    bearing_deg: NDArray[np.float64]

    @classmethod
    def of(cls, graph: RoadGraph) -> Segments:
        """Of a graph in metres; pieces without a length are left out."""
        if not graph.lines:
            none = np.empty((0, 2))
            return cls(none, none, np.empty(0, np.int64), np.empty(0), np.empty(0))
        counts = np.array([len(line) for line in graph.lines])
        every = np.concatenate(graph.lines)
        first = np.delete(np.arange(len(every)), np.cumsum(counts) - 1)
        edge = np.repeat(np.arange(len(counts)), counts - 1)
        step = every[first + 1] - every[first]
        kept = (step != 0).any(axis=1)
        first, edge, step = first[kept], edge[kept], step[kept]
        bearing = np.degrees(np.arctan2(step[:, 0], step[:, 1])) % 360
        half = np.nan_to_num(graph.width, nan=0.0)[edge] / 2
        return cls(every[first], every[first + 1], edge, half, bearing)

    def boxes(self, margin_m: float = 50.0) -> NDArray[np.float64]:
        """(S, 4) x0, y0, x1, y1 about each piece."""
        low = np.minimum(self.start, self.end) - margin_m
        high = np.maximum(self.start, self.end) + margin_m
        return np.concatenate([low, high], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Snapped:
    """Points that follow a road: `row` of each, its `edge`, and the cosine between heading and line (NaN unknown)."""

    row: NDArray[np.int64]
    edge: NDArray[np.int64]
    along: NDArray[np.float64]


def snap(
    segments: Segments,
    box: Box,
    xy: NDArray[np.float64],
    heading_deg: NDArray[np.float32],
    speed_ms: NDArray[np.float32],
    options: TrafficOptions,
) -> Snapped:
    """The points of a box (N, 2) that follow a road.

    Args:
        segments: of all roads.
        box: in which the points lie.
        xy: metres.
        heading_deg: (N,), NaN unknown.
        speed_ms: (N,), NaN unknown; what stands has no heading.
        options: distances and angles.
    """
    reach = options.snap_m + float(segments.half_width.max(initial=0))
    near = _near(segments, box, reach)
    if not near.size or not len(xy):
        return Snapped(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    with np.errstate(invalid="ignore"):
        moving = np.isfinite(heading_deg) & ~(speed_ms < options.standing_ms)
    maps = _NearestRoads(segments, near, box, reach, options.angle_deg)
    chosen = np.full(len(xy), -1)
    # A point takes the map of the direction that is nearest to its own; the last map is for those without one.
    bin_of = np.where(moving, np.rint(np.nan_to_num(heading_deg) % 180 / (180 / BINS)).astype(np.int64) % BINS, BINS)
    for number in np.unique(bin_of).tolist():
        rows = np.flatnonzero(bin_of == number)
        chosen[rows] = maps.nearest(number, xy[rows])
    rows = np.flatnonzero(chosen >= 0)
    piece = chosen[rows]
    along = np.cos(np.radians(heading_deg[rows].astype(np.float64) - segments.bearing_deg[piece]))
    along[~moving[rows]] = np.nan
    fits = _distance(segments, piece, xy[rows]) <= options.snap_m + segments.half_width[piece]
    with np.errstate(invalid="ignore"):
        fits &= ~(np.abs(along) < np.cos(np.radians(options.angle_deg)))
    return Snapped(rows[fits], segments.edge[piece[fits]], along[fits])


class _NearestRoads:
    """Of a box, which piece of road is the nearest, cell by cell; made for a direction when it is first asked for."""

    def __init__(self, segments: Segments, near: NDArray[np.int64], box: Box, reach: float, angle_deg: float) -> None:
        x0, y0, x1, y1 = box
        self._origin = np.array([x0 - reach, y0 - reach])
        self._size = (int((y1 - y0 + 2 * reach) / CELL_M) + 2, int((x1 - x0 + 2 * reach) / CELL_M) + 2)
        self._segments, self._near = segments, near
        self._angle = angle_deg + 90 / BINS  # so that no heading of the bin misses a road within its own angle

    def nearest(self, number: int, xy: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N, 2) metres → (N,) pieces, -1 where none runs that way."""
        pieces = self._near
        if number < BINS:
            away = np.abs((self._segments.bearing_deg[pieces] - number * 180 / BINS + 90) % 180 - 90)
            pieces = pieces[away <= self._angle]
        if not pieces.size:
            return np.full(len(xy), -1)
        nearest = self._drawn(pieces)
        columns, rows = ((xy - self._origin) / CELL_M).astype(np.int64).T
        return np.asarray(nearest[rows, columns], np.int64)

    def _drawn(self, pieces: NDArray[np.int64]) -> NDArray[np.int32]:
        import cv2

        picture = np.zeros(self._size, np.int32)
        ends = np.stack([self._segments.start[pieces], self._segments.end[pieces]], axis=1) - self._origin
        fixed = np.rint((ends / CELL_M - 0.5) * 2**_SHIFT).astype(np.int32)
        for number, (one, other) in enumerate(fixed.tolist(), 1):
            cv2.line(picture, one, other, number, 1, cv2.LINE_8, _SHIFT)
        road = picture > 0
        if not road.any():
            return np.full(self._size, -1, np.int32)
        beside = (~road).view(np.uint8)
        _, label = cv2.distanceTransformWithLabels(beside, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
        piece_of = np.full(int(label.max()) + 1, -1, np.int32)
        piece_of[label[road]] = pieces[picture[road] - 1]
        return np.asarray(piece_of[label])


def _near(segments: Segments, box: Box, reach: float) -> NDArray[np.int64]:
    x0, y0, x1, y1 = box
    low, high = np.minimum(segments.start, segments.end), np.maximum(segments.start, segments.end)
    return np.flatnonzero(
        (high[:, 0] >= x0 - reach) & (low[:, 0] <= x1 + reach) & (high[:, 1] >= y0 - reach) & (low[:, 1] <= y1 + reach)
    )


def _distance(segments: Segments, piece: NDArray[np.int64], xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) metres from points to their pieces."""
    start, step = segments.start[piece], segments.end[piece] - segments.start[piece]
    share = np.einsum("ij,ij->i", xy - start, step) / np.einsum("ij,ij->i", step, step)
    nearest = start + share.clip(0, 1)[:, None] * step
    return np.asarray(np.linalg.norm(xy - nearest, axis=1))
