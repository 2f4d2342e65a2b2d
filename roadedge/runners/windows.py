"""Windows that slide over an image: where they lie, and how what they say becomes one map again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MERGES = ("crop", "blend")


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows of `side` pixels along one side of an image that was padded to `length`, beginning at `starts`."""

    length: int
    side: int
    margin: int
    starts: tuple[int, ...]

    def owned(self, index: int) -> tuple[int, int]:
        """From where to where the map is taken from a window: half-way into what it shares with its neighbours.

        No pixel is taken from nearer than `margin` to a window's rim, but for the rim of the image.
        """
        shared = [
            (first + self.side + second) // 2 for first, second in zip(self.starts, self.starts[1:], strict=False)
        ]
        bounds = [0, *shared, self.length]
        return bounds[index], bounds[index + 1]

    def weights(self) -> NDArray[np.float32]:
        """Of a window's pixels in blending: rising from the rim over two margins, then one."""
        steps = np.arange(1, self.side + 1, dtype=np.float32)
        return np.minimum(np.minimum(steps, steps[::-1]) / np.float32(2 * self.margin + 1), np.float32(1))

    def total_weights(self) -> NDArray[np.float32]:
        """The sum of all windows' weights in each pixel, (length,)."""
        total, own = np.zeros(self.length, np.float32), self.weights()
        for start in self.starts:
            total[start : start + self.side] += own
        return total


def lay_along(length: int, window: int | None, margin: int, stride: int, fixed: bool) -> Axis:
    """Windows along a side of `length` pixels.

    Each begins `window - 2 margin` after the one before; the last is moved back so that it ends with the image.

    Args:
        length: of the image.
        window: of the windows; None for one that is as long as the image.
        margin: of a window that is left out at its rim; below half of it.
        stride: that windows must be multiples of, as `window` is.
        fixed: a shorter image is padded to the window; else the window is made shorter.
    """
    whole = math.ceil(length / stride) * stride
    if window is None or (whole <= window and not fixed):
        return Axis(whole, whole, margin, (0,))
    padded = max(whole, window)
    starts = list(range(0, padded - window, window - 2 * margin))
    return Axis(padded, window, margin, (*starts, padded - window))


class Stitching:
    """One map made of the maps of windows, `crop` or `blend`."""

    def __init__(self, rows: Axis, columns: Axis, merge: str) -> None:
        self._rows, self._columns, self._blends = rows, columns, merge == "blend"
        self._map = np.zeros((rows.length, columns.length), np.float32)
        self._weight = np.outer(rows.weights(), columns.weights()) if self._blends else None

    def put(self, row: int, column: int, values: NDArray[Any]) -> None:
        """Take in the map (h, w) of a window by its place in the grid."""
        y, x = self._rows.starts[row], self._columns.starts[column]
        if self._weight is not None:
            self._map[y : y + self._rows.side, x : x + self._columns.side] += values * self._weight
            return
        (top, bottom), (left, right) = self._rows.owned(row), self._columns.owned(column)
        self._map[top:bottom, left:right] = values[top - y : bottom - y, left - x : right - x]

    def whole(self) -> NDArray[np.float32]:
        """(H, W) of the padded image, after all windows were put."""
        if not self._blends:
            return self._map
        # where windows stand in a grid the sum of their weights is the product of the sums along both sides
        return self._map / self._rows.total_weights()[:, None] / self._columns.total_weights()[None]
