"""Where a scene's windows lie: overlapping, on multiples of the network's stride, every pixel in at least one of them.

All windows start on multiples of the stride, counted from the scene's corner: so each sees the pixels in the phase in
which one look at the whole scene would, and only what lies beyond its rim can make a difference.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import UsageError

HEAVIEST = 256  # weight of a pixel that lies deep in its window


@dataclass(frozen=True, slots=True)
class Segment:
    """Pixels [start, stop) along one side of the scene that lie in exactly the windows of numbers `inside`."""

    start: int
    stop: int
    inside: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows of `side` pixels along one side of a scene of `length` pixels; they may reach beyond its end.

    A pixel's weight in a window rises with its distance from the window's rim, over `ramp` pixels, from 1 to HEAVIEST.
    """

    length: int
    side: int
    ramp: int
    starts: tuple[int, ...]

    def cell(self, index: int) -> tuple[int, int]:
        """The pixels from a window's start to that of the next: the cells share out the scene."""
        stop = self.starts[index + 1] if index + 1 < len(self.starts) else self.length
        return self.starts[index], stop

    def covering(self, start: int, stop: int) -> range:
        """Numbers of the windows that hold a pixel of [start, stop)."""
        return range(bisect_right(self.starts, start - self.side), bisect_left(self.starts, stop))

    def segments(self, index: int) -> list[Segment]:
        """The cell of a window, cut where a window begins or ends."""
        start, stop = self.cell(index)
        windows = self.covering(start, stop)
        ends = {self.starts[i] + self.side for i in windows}
        cuts = [start, *sorted(cut for cut in ends if start < cut < stop), stop]
        return [Segment(a, b, tuple(self.covering(a, b))) for a, b in itertools.pairwise(cuts)]

    def weights(self, index: int, start: int, stop: int) -> NDArray[np.uint32]:
        """Of the pixels [start, stop), which the window holds: (stop - start,), whole numbers of 1 to HEAVIEST."""
        from_start = np.arange(start - self.starts[index], stop - self.starts[index])
        depth = np.minimum(from_start, self.side - 1 - from_start)  # 0 at the rim
        return np.asarray(np.minimum(1 + depth * (HEAVIEST - 1) // max(self.ramp, 1), HEAVIEST), np.uint32)


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Tiles are numbered row by row; tile (row, column) is the window of that row and that column."""

    rows: Axis
    columns: Axis

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)

    @property
    def window(self) -> tuple[int, int]:
        """(H, W) that the network is fed."""
        return self.rows.side, self.columns.side

    @property
    def overlap(self) -> int:
        """The fewest pixels that two neighbours share; 0 where there is one window."""
        axes = (self.rows, self.columns)
        shared = [axis.side - (b - a) for axis in axes for a, b in itertools.pairwise(axis.starts)]
        return min(shared, default=0)

    def position(self, tile: int) -> tuple[int, int]:
        """Row and column of a tile."""
        return divmod(tile, len(self.columns.starts))

    def number(self, row: int, column: int) -> int:
        """Of the tile at a row and column."""
        return row * len(self.columns.starts) + column

    def corner(self, tile: int) -> tuple[int, int]:
        """The (y, x) of a tile's first pixel in the scene."""
        row, column = self.position(tile)
        return self.rows.starts[row], self.columns.starts[column]

    def cell(self, tile: int) -> tuple[int, int, int, int]:
        """(y0, x0, y1, x1) of the pixels that are this tile's own."""
        row, column = self.position(tile)
        (y0, y1), (x0, x1) = self.rows.cell(row), self.columns.cell(column)
        return y0, x0, y1, x1

    def needed(self, tile: int) -> list[int]:
        """The tiles that hold pixels of this tile's cell, in order; it is one of them."""
        row, column = self.position(tile)
        rows, columns = self.rows.covering(*self.rows.cell(row)), self.columns.covering(*self.columns.cell(column))
        return [self.number(r, c) for r in rows for c in columns]


def plan_tiles(
    size: tuple[int, int], stride: int, overlap: int, fixed: tuple[int, int] | None = None, most: int = 1024
) -> TilePlan:
    """Lay windows over a scene.

    Args:
        size: (H, W) of the scene in pixels.
        stride: of the network.
        overlap: pixels that neighbours share at least; raised to a multiple of the stride.
        fixed: the (H, W) of windows of a network that takes no other; None for one that takes any multiple of the
            stride: its windows are then as large as `most` allows and no larger than the scene asks for.
        most: side that windows have at most.

    Raises:
        UsageError: the overlap leaves windows nothing of their own, or the windows are smaller than the stride.
    """
    if min(size) < 1 or overlap < 0:
        raise UsageError(f"a plan of tiles needs a scene and an overlap of at least 0, got {size} and {overlap} px")
    if fixed is None and most < stride:
        raise UsageError(f"tiles must have at least {stride} pixels, the network's stride, got {most}")
    axes = []
    for length, side in zip(size, fixed or (None, None), strict=True):
        axes.append(_axis(length, stride, -(-overlap // stride) * stride, side, most // stride * stride))
    return TilePlan(axes[0], axes[1])


def _axis(length: int, stride: int, overlap: int, fixed: int | None, most: int) -> Axis:
    whole = -(-length // stride) * stride
    widest = fixed or most
    if whole <= widest:
        return Axis(length, fixed or whole, overlap, (0,))
    if 2 * overlap > widest:
        raise UsageError(
            f"an overlap of {overlap} px is more than half of a tile of {widest} px; take larger tiles or less overlap"
        )
    step = widest - overlap
    count = -(-(whole - overlap) // step)
    if fixed is None:  # no larger than as many windows need: what they share is computed twice
        step = -(-(whole - overlap) // (count * stride)) * stride
    side = step + overlap
    starts = [k * step for k in range(count - 1)]
    return Axis(length, side, overlap, (*starts, whole - side))
