"""Points of a store in the metres of a road graph, one square block of ground after another."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from roadedge.roadmap.grid import converted, short_name
from roadedge.trajectory.point_store import LONLAT, PointStore, StoredPoints

BLOCK_M = 1024.0
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in metres; a point on x1 or y1 belongs to the next block
_CLOSE_M = 0.02


def blocks_of(boxes: NDArray[np.float64], points: PointStore, crs: str, side_m: float) -> list[Box]:
    """Squares of a grid that (N, 4) boxes touch and where the store may have points."""
    if not len(boxes) or not points.rows:
        return []
    first = np.floor(boxes[:, :2] / side_m).astype(np.int64)
    last = np.floor(boxes[:, 2:] / side_m).astype(np.int64)
    cells: set[tuple[int, int]] = set()
    for (left, bottom), (right, top) in zip(first.tolist(), last.tolist(), strict=True):
        cells.update((column, row) for column in range(left, right + 1) for row in range(bottom, top + 1))
    squares = [(x * side_m, y * side_m, (x + 1) * side_m, (y + 1) * side_m) for x, y in sorted(cells)]
    return [box for box in squares if _may_hold(points, box, crs)]


def points_in_metres(points: PointStore, box: Box, crs: str) -> tuple[NDArray[np.float64], StoredPoints]:
    """(N, 2) metres of `crs` of the points of a box, half open, and the points themselves.

    Over a block a map projection is a curve of the second degree to a centimetre; where it is not, each point is
    projected by itself.
    """
    if short_name(points.crs) == short_name(crs):
        stored = points.read(*box)
        xy = stored.xy()
    else:
        stored = points.read(*_bounds_in(points.crs, box, crs))
        xy = _projected(stored.xy(), points.crs, box, crs)
    x0, y0, x1, y1 = box
    inside = (xy[:, 0] >= x0) & (xy[:, 0] < x1) & (xy[:, 1] >= y0) & (xy[:, 1] < y1)
    if inside.all():
        return xy, stored
    return xy[inside], stored.select(inside)


def _may_hold(points: PointStore, box: Box, crs: str) -> bool:
    x0, y0, x1, y1 = _bounds_in(points.crs, box, crs)
    left, bottom, right, top = points.bounds
    beside = x0 <= x1 and (x1 < left or x0 > right)  # of longitudes x0 > x1 is a box over the antimeridian
    return not (beside or y1 < bottom or y0 > top)


def _edge(box: Box, steps: int = 5) -> NDArray[np.float64]:
    x0, y0, x1, y1 = box
    return np.array([(x, y) for x in np.linspace(x0, x1, steps) for y in np.linspace(y0, y1, steps)])


def _bounds_in(target: str, box: Box, crs: str) -> Box:
    """Of a box, in another CRS, a little wider than it must be."""
    found = converted(_edge(box), crs, target)
    (x0, y0), (x1, y1) = found.min(axis=0).tolist(), found.max(axis=0).tolist()
    if target == LONLAT and x1 - x0 > 180:
        east = found[:, 0] % 360
        x0, x1 = float(east.min()), float(east.max())
        x0, x1 = (x0 + 180) % 360 - 180, (x1 + 180) % 360 - 180
        wide = 1e-5
    else:
        wide = 1e-3 * max(x1 - x0, y1 - y0)
    return x0 - wide, y0 - wide, x1 + wide, y1 + wide


def _projected(xy: NDArray[np.float64], source: str, box: Box, crs: str) -> NDArray[np.float64]:
    if len(xy) < 200:
        return converted(xy, source, crs)
    metres = _edge(box, 7)
    grid = converted(metres, crs, source)
    middle, scale = grid.mean(axis=0), np.maximum(np.ptp(grid, axis=0), 1e-12)
    solved = np.linalg.lstsq(_powers((grid - middle) / scale), metres, rcond=None)[0]
    missed = float(np.abs(_powers((grid - middle) / scale) @ solved - metres).max())
    if not (math.isfinite(missed) and missed <= _CLOSE_M):
        return converted(xy, source, crs)
    return np.asarray(_powers((xy - middle) / scale) @ solved)


def _powers(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y = xy.T
    return np.stack([np.ones(len(x)), x, y, x * x, x * y, y * y], axis=1)
