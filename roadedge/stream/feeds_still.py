"""Points that stay for ever, as the occupied cells of a raster, row by row."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from roadedge.place import Place
from roadedge.stream.feeds_box import view_of
from roadedge.trajectory.points import project_visible

DENSE = 1 / 8  # points a cell from which counting all cells takes less than sorting the points
COUNTED_CELLS = 1 << 24  # counted at most: 128 MB for a moment


class StillRaster:
    """Counts of a fixed set of points on a grid of the plane; what `RollingHeatmap` gives of points without times.

    Cells of `cell_m` metres, rows to the south and columns to the east of `origin`. It holds 20 bytes for an occupied
    cell, and a frame costs by the occupied cells in the rows that it sees.
    """

    def __init__(self, xy: NDArray[np.float64], cell_m: float, origin: tuple[float, float], crs: str) -> None:
        """Count (N, 2) points, metres east, north."""
        self.cell_m, self.origin, self.crs = cell_m, origin, crs
        self.dropped: Counter[str] = Counter()
        columns = np.floor((xy[:, 0] - origin[0]) / cell_m).astype(np.int64)
        rows = np.floor((origin[1] - xy[:, 1]) / cell_m).astype(np.int64)
        left, top = int(columns.min(initial=0)), int(rows.min(initial=0))
        width, height = int(columns.max(initial=0)) - left + 1, int(rows.max(initial=0)) - top + 1
        index = (rows - top) * width + (columns - left)
        if width * height <= COUNTED_CELLS and len(index) > DENSE * width * height:
            every = np.bincount(index, minlength=width * height)
            occupied = np.flatnonzero(every)
            number = every[occupied]
        else:
            occupied, number = np.unique(index, return_counts=True)
        row, column = np.divmod(occupied, width)
        self._south = (row + (top + 0.5)) * cell_m - origin[1]  # of the cells' centres, ascending
        self._east = origin[0] + (column + (left + 0.5)) * cell_m
        self._number = number.astype(np.uint32)

    @property
    def memory_bytes(self) -> int:
        """Of the occupied cells."""
        return self._south.nbytes + self._east.nbytes + self._number.nbytes

    def counts(self, place: Place, size: tuple[int, int]) -> NDArray[np.uint32]:
        """Points per pixel of an image of `size` (H, W) at `place`, (H, W): each in the centre of its cell."""
        height, width = size
        view = view_of(place, size)
        first, last = np.searchsorted(self._south, [-view.top - self.cell_m, -view.bottom + self.cell_m])
        east = self._east[first:last]
        seen = first + np.flatnonzero((east > view.left - self.cell_m) & (east < view.right + self.cell_m))
        ground = np.stack([self._east[seen], -self._south[seen]], axis=1)
        pixels, _ = project_visible(place, ground, size)
        x, y = pixels[:, 0], pixels[:, 1]
        inside = np.flatnonzero((x >= 0) & (x < width) & (y >= 0) & (y < height))  # NaN, behind, compares false
        index = y[inside].astype(np.int64) * width + x[inside].astype(np.int64)
        counts = np.bincount(index, self._number[seen[inside]], minlength=height * width)
        return counts.astype(np.uint32).reshape(size)
