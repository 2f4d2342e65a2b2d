"""The ground under a point cloud, by the lowest points of coarse cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELL_M = 2.0  # side of the cells whose lowest point is looked at
WINDOW_M = 80.0  # what is narrower than this and stands out is no ground: houses, trees, bridges
MOST_CELLS = 25_000_000
CLASSIFIED = 0.01  # share of points of the class of ground from which on they are believed to be it


class LowestPoints:
    """Lowest heights by cell of `factor` x `factor` pixels: of all points, and of those of class ground."""

    def __init__(self, size: tuple[int, int], gsd_m: float) -> None:
        height, width = size
        self.factor = max(1, round(CELL_M / gsd_m), math.ceil(math.sqrt(height * width / MOST_CELLS)))
        self.cell_m = self.factor * gsd_m
        self._size = -(-height // self.factor), -(-width // self.factor)
        self._all = np.full(self._size, np.inf, np.float32)
        self._ground = np.full(self._size, np.inf, np.float32)
        self._points = self._of_ground = 0

    def add(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], z: NDArray[np.float64], ground: NDArray[np.bool_]
    ) -> None:
        """Look at points by their pixel; all lie on the grid."""
        at = (rows // self.factor) * self._size[1] + columns // self.factor
        low = z.astype(np.float32)
        np.minimum.at(self._all.reshape(-1), at, low)
        np.minimum.at(self._ground.reshape(-1), at[ground], low[ground])
        self._points += len(z)
        self._of_ground += int(ground.sum())

    def surface(self) -> Ground | None:
        """The ground; None without a point."""
        if not self._points:
            return None
        classified = self._of_ground >= CLASSIFIED * self._points
        if classified:
            return Ground(filled(self._ground, np.isfinite(self._ground)), self.factor, True)
        return Ground(opened(filled(self._all, np.isfinite(self._all)), self.cell_m), self.factor, False)


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Heights in metres of cells of `factor` x `factor` pixels; `classified`: by points that the file calls ground."""

    heights: NDArray[np.float32]
    factor: int
    classified: bool

    def rows(self, start: int, stop: int, width: int) -> NDArray[np.float32]:
        """(stop - start, width) metres of pixels, between the cells' middles."""
        import cv2

        y = (np.arange(start, stop, dtype=np.float32) + 0.5) / self.factor - 0.5
        x = (np.arange(width, dtype=np.float32) + 0.5) / self.factor - 0.5
        first, last = max(int(y[0]) - 1, 0), min(int(y[-1]) + 3, len(self.heights))
        across = np.tile(x, (stop - start, 1))
        down = np.repeat((y - first)[:, None], width, axis=1)
        part = np.ascontiguousarray(self.heights[first:last])
        parts = []
        for left in range(0, width, 16384):  # cv2.remap takes pictures of at most 32767 pixels
            maps = [np.ascontiguousarray(m[:, left : left + 16384]) for m in (across, down)]
            begin = max(int(maps[0][0, 0]) - 1, 0)
            end = min(int(maps[0][0, -1]) + 3, part.shape[1])
            shown = np.ascontiguousarray(part[:, begin:end])
            parts.append(cv2.remap(shown, maps[0] - begin, maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        return np.asarray(np.concatenate(parts, axis=1), np.float32)


def opened(lowest: NDArray[np.float32], cell_m: float) -> NDArray[np.float32]:
    """The ground by a morphological opening: what stands out and is narrower than `WINDOW_M` is taken away.

    A single cell far below its neighbours (a stray echo) is no ground either. Slopes stay as they are: the scene's own
    is taken off before, since an opening lowers what rises towards a border.
    """
    import cv2

    tilt = _tilt(lowest)
    calm = lowest - tilt
    calm = np.maximum(calm, cv2.medianBlur(calm, 3) - 1.0)  # stray echoes reach metres below
    side = 2 * max(1, round(WINDOW_M / 2 / cell_m)) + 1
    kernel = np.ones((side, side), np.uint8)
    plain = cv2.morphologyEx(calm, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.blur(plain, (3, 3)) + tilt, np.float32)


def _tilt(heights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The plane that fits the lower half of (H, W) heights best: houses are no slope. By some thousand of them."""
    every = max(1, math.isqrt(heights.size // 4096))
    some = heights[::every, ::every]
    y, x = np.indices(some.shape).reshape(2, -1) * float(every)
    design, known = np.column_stack([x, y, np.ones(len(x))]), some.ravel().astype(np.float64)
    kept = np.ones(len(known), np.bool_)
    for _ in range(8):
        fit = np.linalg.lstsq(design[kept], known[kept], rcond=None)[0]
        above = known - design @ fit
        kept = above <= np.median(above) + 1e-3
    rows, columns = (np.arange(side, dtype=np.float32) for side in heights.shape)
    return np.asarray(fit[1] * rows[:, None] + fit[0] * columns + fit[2], np.float32)


def filled(
    plane: NDArray[np.float32], known: NDArray[np.bool_], within: float | None = None, fill: float = np.nan
) -> NDArray[np.float32]:
    """Each unknown cell with the value of the nearest known one, `within` so many cells; beyond it `fill`."""
    import cv2

    if known.all():
        return plane
    if not known.any():
        return np.full_like(plane, fill)
    far, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    values = np.zeros(int(labels.max()) + 1, np.float32)
    values[labels[known]] = plane[known]
    found = values[labels]
    if within is not None:
        found[far > within] = fill
    return np.asarray(found, np.float32)
