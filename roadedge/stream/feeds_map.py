"""The points of one feed around what the camera sees, as a raster that frames are cut from.

All points are kept, and those near the view stand in a raster besides: a `RollingHeatmap` of the time window, or a
`StillRaster` where points stay for ever. It is built anew from the kept points when the camera leaves the area it
covers, two views wide, or when its cells no longer suit the frame. A cell is half a pixel of the network's grid and
stays until it is more than 0.7 or less than 0.35 of one, that is until the scale has changed by a factor of 1.4. At 0.7
half the diagonal of a cell is half a pixel, and no point is moved by more; nor is a pixel then without a cell, however
the camera is turned, since the circle in it holds a cell's centre. At 0.35 a pixel has eight cells, which cost. A
camera that stands still, north up, gets cells that are its pixels: its counts are exact.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from roadedge.place import Place
from roadedge.stream.feeds_box import Box, in_box, view_of
from roadedge.stream.feeds_crs import onto
from roadedge.stream.feeds_still import StillRaster
from roadedge.trajectory.rolling import RollingHeatmap

FINEST, COARSEST = 0.35, 0.70  # cells in pixels of the network's grid between which a raster goes on being used
AREA_VIEWS = 2.0  # sides of the covered area in sides of the view
AREA_CELLS = 1 << 25  # covered at most, beside the view itself: 128 MB of raster where every cell's block is in use
KEPT_POINTS = 5_000_000  # of a time window, 120 MB
_XY = NDArray[np.float64]  # (N, 2)
_Seconds = NDArray[np.float64]  # (N,)


class Kept:
    """Points in `crs`; with times those of a window, without them all, sorted from west to east."""

    def __init__(self, crs: str) -> None:
        """Keep nothing yet."""
        self.crs = crs
        self.length = 0
        self._parts: list[tuple[_XY, _Seconds | None, float]] = []  # with the latest time of each

    def add(self, xy: _XY, t_s: _Seconds | None) -> None:
        """Keep more points."""
        if len(xy):
            if t_s is None:
                xy = xy[np.argsort(xy[:, 0], kind="stable")]
            self._parts.append((xy, t_s, math.inf if t_s is None else float(t_s.max())))
            self.length += len(xy)

    def forget(self, before_s: float) -> None:
        """Let go of batches whose points are all older, and join small ones: a search costs by their number."""
        parts = [part for part in self._parts if part[2] >= before_s]
        small = [part for part in parts if part[1] is not None and 16 * len(part[0]) <= self.length]
        if len(small) > 1:
            xy, t_s = np.concatenate([p[0] for p in small]), np.concatenate([p[1] for p in small if p[1] is not None])
            held = t_s >= before_s
            parts = [part for part in parts if part[1] is None or 16 * len(part[0]) > self.length]
            parts.append((xy[held], t_s[held], float(t_s.max())))
        self._parts, self.length = parts, sum(len(part[0]) for part in parts)

    def move_to(self, crs: str) -> int:
        """Turn all points into another plane; how many have no place in it and are let go of."""
        lost, parts = 0, self._parts
        self._parts, before = [], self.length
        self.length = 0
        for xy, t_s, _ in parts:
            moved = onto(xy, self.crs, crs)
            good = np.isfinite(moved).all(axis=1)
            self.add(moved[good], None if t_s is None else t_s[good])
        lost = before - self.length
        self.crs = crs
        return lost

    def within(self, box: Box) -> tuple[_XY, _Seconds | None]:
        """The points in a box and their times."""
        found: list[_XY] = [np.zeros((0, 2))]
        times: list[_Seconds] = [np.zeros(0)]
        timed = False
        for xy, t_s, _ in self._parts:
            part = xy
            if t_s is None:
                first, last = np.searchsorted(xy[:, 0], [box.left, box.right])
                part = xy[first:last]
            inside = in_box(part, box)
            found.append(part[inside])
            if t_s is not None:
                timed = True
                times.append(t_s[inside])
        return np.concatenate(found), np.concatenate(times) if timed else None


class AreaHeatmap:
    """The points of one feed, and how many of them fall on each pixel of a frame.

    The clock is the feed's, in seconds, and never goes back. `dropped` counts `late` points (older than the window on
    arrival), `not_finite` ones (without a place in the frame's plane) and those beyond `capacity`.
    """

    def __init__(self, window_s: float | None, kept_points: int = KEPT_POINTS) -> None:
        """Hold points for `window_s` seconds, None for ever; `kept_points` of a window at most."""
        self.dropped: Counter[str] = Counter()
        self.rebuilds = 0
        self._window_s, self._limit = window_s, kept_points
        self._kept: Kept | None = None
        self._raster: RollingHeatmap | StillRaster | None = None
        self._box = Box(0.0, 0.0, 0.0, 0.0)
        self._last: NDArray[np.float64] | None = None  # homography of the frame before
        self._now_s = self._forgotten_s = -math.inf

    @property
    def memory_bytes(self) -> int:
        """Of the points kept and of the raster."""
        kept = 0 if self._kept is None else self._kept.length * (16 if self._window_s is None else 24)
        return kept + (0 if self._raster is None else self._raster.memory_bytes)

    @property
    def left_out(self) -> Counter[str]:
        """`dropped`, and what the raster of now had no room for."""
        return self.dropped + (Counter() if self._raster is None else self._raster.dropped)

    def advance(self, now_s: float) -> None:
        """Move the clock."""
        self._now_s = max(self._now_s, now_s)
        if self._window_s is not None and self._now_s > self._forgotten_s + self._window_s / 16:
            self._forgotten_s = self._now_s
            if self._kept is not None:
                self._kept.forget(self._now_s - self._window_s)

    def add(self, xy: _XY, t_s: _Seconds | None, crs: str) -> None:
        """Take in points of any order of time.

        Args:
            xy: (N, 2) in `crs`.
            t_s: (N,) seconds of the feed's clock, None where they have no times.
            crs: as in `Points.crs`; pixels as a plane whose y goes up.
        """
        if self._kept is None:
            self._kept = Kept(crs)
        xy = onto(xy, crs, self._kept.crs)
        good = self._keep(np.asarray(np.isfinite(xy).all(axis=1)), "not_finite")
        if t_s is not None and self._window_s is not None:
            good[good] = self._keep(t_s[good] >= self._now_s - self._window_s, "late")
            room = max(0, self._limit - self._kept.length)
            good[good] = self._keep(np.arange(np.count_nonzero(good)) < room, "capacity")
        if not good.all():
            xy, t_s = xy[good], None if t_s is None else t_s[good]
        self._kept.add(xy, t_s)
        if isinstance(self._raster, RollingHeatmap) and t_s is not None:
            near = in_box(xy, self._box)
            self._raster.add(xy[near], t_s[near], self._now_s)
        else:
            self._raster = None

    def counts(self, place: Place, size: tuple[int, int]) -> NDArray[np.uint32]:
        """Points of the window per pixel of an image of `size` (H, W) at `place`, (H, W)."""
        if self._kept is None:
            return np.zeros(size, np.uint32)
        if self._raster is None or not self._serves(place, size):
            self._rebuild(place, size)
        assert self._raster is not None
        self._last = place.homography
        if isinstance(self._raster, RollingHeatmap):
            self._raster.advance(self._now_s)
        return self._raster.counts(place, size)

    def _keep(self, good: NDArray[np.bool_], reason: str) -> NDArray[np.bool_]:
        lost = len(good) - int(np.count_nonzero(good))
        if lost:
            self.dropped[reason] += lost
        return good

    def _serves(self, place: Place, size: tuple[int, int]) -> bool:
        """Whether the raster covers the frame with cells that suit it."""
        raster = self._raster
        if raster is None or raster.crs != place.crs or not self._box.holds(view_of(place, size)):
            return False
        return is_crop(place, raster) or FINEST <= raster.cell_m / place.gsd_m(size) <= COARSEST

    def _rebuild(self, place: Place, size: tuple[int, int]) -> None:
        assert self._kept is not None
        if self._kept.crs != place.crs:
            self.dropped["not_finite"] += self._kept.move_to(place.crs)
        self.rebuilds += 1
        view, gsd_m = view_of(place, size), place.gsd_m(size)
        cell_m = gsd_m if self._stands_still(place) or 4 * size[0] * size[1] > AREA_CELLS else gsd_m / 2
        cells = (view.right - view.left) * (view.top - view.bottom) / cell_m**2
        self._box = view.grown(min(AREA_VIEWS, max(1.5, math.sqrt(AREA_CELLS / max(cells, 1.0)))))
        corner = place.to_ground([[0.0, 0.0]])[0]
        origin = (float(corner[0]), float(corner[1])) if np.isfinite(corner).all() else (0.0, 0.0)
        xy, t_s = self._kept.within(self._box)
        if t_s is None or self._window_s is None:
            self._raster = StillRaster(xy, cell_m, origin, place.crs)
            return
        held = t_s >= self._now_s - self._window_s
        self._raster = RollingHeatmap(cell_m, self._window_s, origin, place.crs, max_points=2**62)
        self._raster.add(xy[held], t_s[held], self._now_s)

    def _stands_still(self, place: Place) -> bool:
        """North up with square pixels, and where it was a frame ago: then the cells can be its pixels."""
        matrix = place.homography / place.homography[2, 2] if place.homography[2, 2] else place.homography
        square = matrix[0, 0] > 0 and abs(matrix[1, 1] / matrix[0, 0] + 1) < 1e-9
        upright = not matrix[0, 1] and not matrix[1, 0] and not matrix[2, :2].any()
        return bool(square and upright and (self._last is None or np.array_equal(self._last, place.homography)))


def is_crop(place: Place, raster: RollingHeatmap | StillRaster) -> bool:
    """Whether the pixels of an image at `place` are cells of the raster."""
    matrix = place.homography
    if not matrix[2, 2]:
        return False
    cells = matrix / matrix[2, 2] / raster.cell_m
    offset = (cells[:2, 2] - np.array(raster.origin) / raster.cell_m) * [1, -1]
    turned = np.abs(cells[:2, :2] - [[1, 0], [0, -1]]).max() < 1e-7
    return bool(turned and not matrix[2, :2].any() and np.abs(offset - np.rint(offset)).max() < 1e-6)
