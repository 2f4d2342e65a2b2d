"""A heat-map of the last seconds for streams: points enter a raster of the world once and age out of it.

A frame's window is cut from that raster: the cost goes with the points that come and leave and with the occupied cells
in view, not with the points of the time window.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roadedge.errors import ShapeError, SpecMismatchError, UsageError
from roadedge.place import Place
from roadedge.spec import HeatmapSpec
from roadedge.trajectory.heatmap import heatmap_from_counts
from roadedge.trajectory.points import project_visible
from roadedge.trajectory.time_queue import TimeQueue

BLOCK = 128  # cells along a side of one piece of the raster: 64 KB of counts
_FARTHEST = 2**40  # cells from the origin; beyond, a coordinate is not one
_LATEST_S = 1e12  # beyond, a time is not one
_Cells = NDArray[np.int64]  # (N, 2) row, column


class RollingHeatmap:
    """Points of the last `window_s` seconds on a grid of the world, without bounds in space.

    The grid has cells of `cell_m` metres, rows to the south and columns to the east of `origin` (metres east, north, of
    the plane `crs`).
    The clock is the stream's, in seconds; it is moved by `add` and `advance` and never goes back. In the window are the
    points with now - window_s <= t <= now; those of a later time wait for it. Not for use from several threads at once.

    `dropped` counts the points left out by reason: `not_finite`, `out_of_range`, `late` (older than the window on
    arrival), `early` (more than `horizon_s` ahead of the clock, which for live points means a wrong one), `capacity`
    (beyond `max_points` held or `max_blocks` of raster, 64 KB each, which bound the memory).
    """

    def __init__(
        self,
        cell_m: float,
        window_s: float | None,
        origin: tuple[float, float] = (0.0, 0.0),
        crs: str = "local",
        horizon_s: float = math.inf,
        max_points: int = 5_000_000,
        max_blocks: int = 8192,
    ) -> None:
        if not (0 < cell_m < math.inf) or (window_s is not None and not window_s > 0):
            raise UsageError(f"a rolling heat-map needs a positive cell and window, got {cell_m} m and {window_s} s")
        self.cell_m = cell_m
        self.window_s = math.inf if window_s is None else window_s
        self.origin = origin
        self.crs = crs
        self.horizon_s = horizon_s
        self.max_points = max_points
        self.max_blocks = max_blocks
        self.now_s = -math.inf
        self.points_in_window = 0
        self.dropped: Counter[str] = Counter()
        self._waiting = TimeQueue(min(self.window_s, 60.0) / 32)
        self._held = TimeQueue(min(self.window_s, 3600.0) / 64)
        self._blocks: dict[tuple[int, int], NDArray[np.uint32]] = {}
        self._totals: Counter[tuple[int, int]] = Counter()

    def add(self, ground: ArrayLike, t_s: ArrayLike | None, now_s: float) -> None:
        """Take in points that have arrived by `now_s`, in any order of time, and move the clock to it.

        Args:
            ground: (N, 2) metres east, north.
            t_s: (N,) seconds of the stream's clock; None: all of now.
            now_s: the stream's clock.

        Raises:
            ShapeError: the arrays do not go together.
        """
        self.advance(now_s)
        xy = np.asarray(ground, np.float64)
        time = np.full(len(xy), self.now_s) if t_s is None else np.asarray(t_s, np.float64)
        if xy.ndim != 2 or xy.shape[1] != 2 or time.shape != (len(xy),):
            raise ShapeError(f"points need shapes (N, 2) and (N,), got {xy.shape} and {time.shape}")
        finite = np.isfinite(xy).all(axis=1) & np.isfinite(time)
        with np.errstate(invalid="ignore", over="ignore"):
            cells = self._to_cells(xy)
            near = (np.abs(cells) < _FARTHEST).all(axis=1) & (np.abs(time) < _LATEST_S)
        good = np.ones(len(xy), np.bool_)
        for reason, passes in (
            ("not_finite", finite),
            ("out_of_range", near),
            ("late", time >= self.now_s - self.window_s),
            ("early", time <= self.now_s + self.horizon_s),
        ):
            good = self._keep(good, passes, reason)
        room = max(0, self.max_points - len(self._waiting) - len(self._held))
        good = self._keep(good, np.cumsum(good) <= room, "capacity")
        self._waiting.push(time[good], np.floor(cells[good]).astype(np.int64))
        self.advance(now_s)

    def advance(self, now_s: float) -> None:
        """Move the clock: points whose time has come enter, those older than the window leave."""
        if math.isnan(now_s):
            raise UsageError("the clock of a rolling heat-map must be a number, got NaN")
        self.now_s = max(self.now_s, now_s)
        oldest = self.now_s - self.window_s
        for time, cells in self._waiting.pop(self.now_s, inclusive=True):
            entered = self._enter(cells)
            if math.isfinite(self.window_s):
                self._held.push(time[entered], cells[entered])
        for _, cells in self._held.pop(oldest, inclusive=False):
            self._leave(cells)

    def counts(self, place: Place, size: tuple[int, int]) -> NDArray[np.uint32]:
        """Points per pixel of an image of `size` (H, W) at `place`, (H, W).

        Where the image's pixels are the world's cells this is a plain crop, equal to rasterising the points. Elsewhere
        each occupied cell in view gives its count to the pixel that its centre falls on, so that no point is lost or
        doubled, and it is as if each point were moved to its cell's centre: by half a diagonal of a cell at most.

        Raises:
            SpecMismatchError: the place is in another plane than the points.
        """
        if place.crs != self.crs:
            raise SpecMismatchError(
                f"the points are in {self.crs!r}, the image's place in {place.crs!r}; use one plane"
            )
        corner = self._aligned(place)
        return self._crop(corner, size) if corner is not None else self._splat(place, size)

    def heatmap(self, place: Place, size: tuple[int, int], spec: HeatmapSpec) -> NDArray[np.uint8]:
        """The heat-map of an image of `size` (H, W) at `place`, (H, W) uint8."""
        return heatmap_from_counts(self.counts(place, size), spec)

    @property
    def memory_bytes(self) -> int:
        """Of the raster and the points held."""
        return 4 * BLOCK * BLOCK * len(self._blocks) + 24 * (len(self._waiting) + len(self._held))

    def _keep(self, good: NDArray[np.bool_], passes: NDArray[np.bool_], reason: str) -> NDArray[np.bool_]:
        """Those of `good` that pass; the others are counted."""
        kept = good & passes
        lost = int(np.count_nonzero(good)) - int(np.count_nonzero(kept))
        if lost:
            self.dropped[reason] += lost
        return kept

    def _to_cells(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) metres → (N, 2) row, column as real numbers."""
        east, north = xy[:, 0] - self.origin[0], xy[:, 1] - self.origin[1]
        return np.stack([-north, east], axis=1) / self.cell_m

    def _enter(self, cells: _Cells) -> NDArray[np.bool_]:
        """Count the points in; False for those that would need a block too many."""
        entered = np.ones(len(cells), np.bool_)
        for key, rows, within in _by_block(cells):
            block = self._blocks.get(key)
            if block is None:
                if len(self._blocks) >= self.max_blocks:
                    entered[rows] = False
                    self.dropped["capacity"] += len(rows)
                    continue
                block = self._blocks[key] = np.zeros(BLOCK * BLOCK, np.uint32)
            np.add.at(block, within, np.uint32(1))
            self._totals[key] += len(rows)
            self.points_in_window += len(rows)
        return entered

    def _leave(self, cells: _Cells) -> None:
        for key, rows, within in _by_block(cells):
            self._totals[key] -= len(rows)
            self.points_in_window -= len(rows)
            if self._totals[key] == 0:
                del self._totals[key], self._blocks[key]
            else:
                np.subtract.at(self._blocks[key], within, np.uint32(1))

    def _to_world(self, place: Place) -> NDArray[np.float64]:
        """(3, 3): corner pixel coordinates → the world's (column, row) as real numbers."""
        to_cells = np.array([[1, 0, -self.origin[0]], [0, -1, self.origin[1]], [0, 0, self.cell_m]])
        matrix = to_cells @ place.homography
        return np.asarray(matrix / matrix[2, 2] if matrix[2, 2] else matrix, np.float64)

    def _aligned(self, place: Place) -> tuple[int, int] | None:
        """Row and column of the image's upper left pixel, where its pixels are the world's cells."""
        matrix = self._to_world(place)
        column, row = round(matrix[0, 2]), round(matrix[1, 2])
        # A millionth of a cell at the corner, a thousandth over an image of ten thousand pixels.
        moved = np.abs(matrix - np.array([[1, 0, column], [0, 1, row], [0, 0, 1]]))
        return (row, column) if moved[:, 2].max() < 1e-6 and moved[:, :2].max() < 1e-7 else None

    def _crop(self, corner: tuple[int, int], size: tuple[int, int]) -> NDArray[np.uint32]:
        counts = np.zeros(size, np.uint32)
        (top, left), (bottom, right) = corner, (corner[0] + size[0], corner[1] + size[1])
        for (block_row, block_column), block in self._blocks_within(top, left, bottom, right):
            y, x = block_row * BLOCK, block_column * BLOCK
            y0, y1, x0, x1 = max(y, top), min(y + BLOCK, bottom), max(x, left), min(x + BLOCK, right)
            piece = block.reshape(BLOCK, BLOCK)[y0 - y : y1 - y, x0 - x : x1 - x]
            counts[y0 - top : y1 - top, x0 - left : x1 - left] = piece
        return counts

    def _splat(self, place: Place, size: tuple[int, int]) -> NDArray[np.uint32]:
        height, width = size
        cells, number = self._occupied(*self._view(place, size))
        # The image's place in units of cells: their centres need not become metres first.
        pixels, _ = project_visible(Place(self._to_world(place)), cells.astype(np.float64) + 0.5, size)
        x, y = pixels[:, 0], pixels[:, 1]
        inside = np.flatnonzero((x >= 0) & (x < width) & (y >= 0) & (y < height))  # NaN, behind, compares false
        index = y[inside].astype(np.int64) * width + x[inside].astype(np.int64)
        counts = np.zeros(height * width, np.uint32)
        np.add.at(counts, index, number[inside])
        return counts.reshape(size)

    def _occupied(self, *view: float) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """(N, 2) column, row and (N,) count of the cells with points, in the blocks within `view`."""
        cells, counts = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.uint32)]
        for (block_row, block_column), block in self._blocks_within(*view):
            within = np.flatnonzero(block != 0)  # of booleans, which NumPy scans several times faster
            part = np.empty((len(within), 2), np.int64)
            part[:, 1], part[:, 0] = np.divmod(within, BLOCK)
            part += (block_column * BLOCK, block_row * BLOCK)
            cells.append(part)
            counts.append(block[within])
        return np.concatenate(cells), np.concatenate(counts)

    def _view(self, place: Place, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Top, left, bottom, right in cells of what the image sees; without bounds where it sees the horizon."""
        height, width = size
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
        seen = corners @ self._to_world(place).T
        if not (seen[:, 2] > 0).all() and not (seen[:, 2] < 0).all():
            return -math.inf, -math.inf, math.inf, math.inf
        columns, rows = seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2]
        return rows.min() - 1, columns.min() - 1, rows.max() + 1, columns.max() + 1

    def _blocks_within(
        self, top: float, left: float, bottom: float, right: float
    ) -> Iterator[tuple[tuple[int, int], NDArray[np.uint32]]]:
        """The occupied blocks that share cells with the rectangle: by key, or all in turn where those are fewer."""
        along = max(0.0, (bottom - top) / BLOCK + 2) * max(0.0, (right - left) / BLOCK + 2)
        if along <= len(self._blocks):
            rows = range(math.floor(top / BLOCK), math.ceil(bottom / BLOCK))
            columns = range(math.floor(left / BLOCK), math.ceil(right / BLOCK))
            keys = [(row, column) for row in rows for column in columns if (row, column) in self._blocks]
        else:
            keys = [
                (row, column)
                for row, column in self._blocks
                if row * BLOCK < bottom
                and (row + 1) * BLOCK > top
                and column * BLOCK < right
                and (column + 1) * BLOCK > left
            ]
        return ((key, self._blocks[key]) for key in keys)


def _by_block(cells: _Cells) -> Iterator[tuple[tuple[int, int], NDArray[np.intp], NDArray[np.int64]]]:
    """For each block: its (row, column), which points fall into it, and their cells' indices within it."""
    if not len(cells):
        return
    blocks = cells // BLOCK
    within = (cells[:, 0] % BLOCK) * BLOCK + cells[:, 1] % BLOCK
    order = np.lexsort((blocks[:, 1], blocks[:, 0]))
    ordered = blocks[order]
    starts = np.flatnonzero((ordered[1:] != ordered[:-1]).any(axis=1)) + 1
    for rows in np.split(order, starts):
        yield (int(blocks[rows[0], 0]), int(blocks[rows[0], 1])), rows, within[rows]
