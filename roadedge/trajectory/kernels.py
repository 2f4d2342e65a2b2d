"""Compiled loops for tens of millions of points; imported only then, since importing numba costs half a second.

Each has its twin in NumPy in heatmap.py with the same result to the last count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_Loop = TypeVar("_Loop", bound=Callable[..., Any])


def _compiled(loop: _Loop) -> _Loop:
    """Compile with a cache on disk; without one where neither the package nor the home folder can be written."""
    try:
        return cast(_Loop, numba.njit(cache=True, nogil=True)(loop))
    except RuntimeError:  # "no locator available": the cost is one compilation a process
        return cast(_Loop, numba.njit(nogil=True)(loop))


@_compiled
def count(x: Any, y: Any, counts: Any) -> None:
    """Add each point (x, y) to the (H, W) `counts`; points outside and NaN compare false and are skipped."""
    height, width = counts.shape
    for i in range(x.size):
        px, py = x[i], y[i]
        if px >= 0 and px < width and py >= 0 and py < height:
            counts[int(py), int(px)] += 1


@_compiled
def count_per_tile(x: Any, y: Any, height: int, width: int, rows: int, columns: int, totals: Any) -> None:
    """Add the number of points of each of `rows` x `columns` tiles of `height` x `width` pixels to `totals`."""
    right, bottom = columns * width, rows * height
    for i in range(x.size):
        px, py = x[i], y[i]
        if px >= 0 and px < right and py >= 0 and py < bottom:
            totals[(int(py) // height) * columns + int(px) // width] += 1


@_compiled
def scatter_to_tiles(x: Any, y: Any, height: int, width: int, rows: int, columns: int, cursor: Any, pixel: Any) -> None:
    """Second half of a counting sort: each point's pixel index within its tile, tile after tile, into `pixel`.

    `cursor` holds the position of each tile's next point and is moved on.
    """
    right, bottom = columns * width, rows * height
    for i in range(x.size):
        px, py = x[i], y[i]
        if px >= 0 and px < right and py >= 0 and py < bottom:
            column, row = int(px), int(py)
            tile = (row // height) * columns + column // width
            pixel[cursor[tile]] = (row % height) * width + column % width
            cursor[tile] += 1
