"""The order of points in a store: tile after tile along a Hilbert curve, and along a finer one within each tile.

Neighbours on the curve are neighbours on the ground, so that a run of points, such as a row group of a Parquet file,
covers a compact patch, and the points of any tile stand in few runs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

TILE_BITS = 27  # of a tile's column and row: with 512 m, tiles to 34 million km on either side of the origin
CELL_BITS = 5  # a tile is cut into 32 x 32 cells
LARGEST_TILE = 1 << (TILE_BITS - 1)


def tile_keys(x: NDArray[np.float64], y: NDArray[np.float64], side: float) -> NDArray[np.uint64]:
    """Where points stand in the order of a store.

    Args:
        x: (N,) coordinates in any unit, finite, not beyond `LARGEST_TILE` tiles from 0.
        y: (N,) as `x`.
        side: of a tile, in the same unit.

    Returns:
        (N,) keys; points of one tile have keys that no other tile's lie between.
    """
    if not len(x):
        return np.zeros(0, np.uint64)
    cells = 1 << CELL_BITS
    column, row = (np.floor(axis * (cells / side)).astype(np.int64) for axis in (x, y))
    tile_column, tile_row = column >> CELL_BITS, row >> CELL_BITS
    first_column, first_row = int(tile_column.min()), int(tile_row.min())
    width, height = int(tile_column.max()) - first_column + 1, int(tile_row.max()) - first_row + 1
    if width * height <= 4 * len(x) + 65536:  # a table of all tiles: a sort of the points costs more
        flat = (tile_row - first_row) * width + (tile_column - first_column)
        present = np.flatnonzero(np.bincount(flat, minlength=width * height))
        table = np.zeros(width * height, np.uint64)
        table[present] = _tile_codes(present % width + first_column, present // width + first_row)
        tiles = table[flat]
    else:
        packed = (tile_row << 32) + (tile_column + LARGEST_TILE)
        unique, inverse = np.unique(packed, return_inverse=True)
        tiles = _tile_codes((unique & 0xFFFFFFFF) - LARGEST_TILE, unique >> 32)[inverse]
    within = _cell_table()[((row & (cells - 1)) << CELL_BITS) + (column & (cells - 1))]
    return np.asarray((tiles << np.uint64(2 * CELL_BITS)) | within)


def hilbert(column: NDArray[np.int64], row: NDArray[np.int64], bits: int) -> NDArray[np.uint64]:
    """Distance along a Hilbert curve of (N,) cells of a grid of 2 ** bits x 2 ** bits.

    Source: the iteration over quadrants as in Warren, Hacker's Delight, chapter 16.
    """
    x, y = np.array(column, np.int64), np.array(row, np.int64)
    code = np.zeros(len(x), np.uint64)
    for level in range(bits - 1, -1, -1):
        side = 1 << level
        right, up = (x >> level) & 1, (y >> level) & 1
        code = (code << np.uint64(2)) | ((3 * right) ^ up).astype(np.uint64)
        x, y = x & (side - 1), y & (side - 1)
        flip, turn = (up == 0) & (right == 1), up == 0
        x, y = np.where(flip, side - 1 - x, x), np.where(flip, side - 1 - y, y)
        x, y = np.where(turn, y, x), np.where(turn, x, y)
    return code


def _tile_codes(column: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.uint64]:
    return hilbert(column + LARGEST_TILE, row + LARGEST_TILE, TILE_BITS)


@lru_cache(maxsize=1)
def _cell_table() -> NDArray[np.uint64]:
    """Curve position of each cell of a tile, [row * 32 + column]."""
    cells = 1 << CELL_BITS
    flat = np.arange(cells * cells)
    return hilbert(flat % cells, flat // cells, CELL_BITS)
