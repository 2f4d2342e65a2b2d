"""Tiles → one map without seams, the same to the bit in whatever order the tiles were computed.

Each cell of the plan is made of its own ordered list of tiles by whole numbers: the mean of what they say, weighted by
how far a pixel lies from each tile's rim. Where one tile alone lies, and that is most of a scene, it is copied.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from roadedge.roadmap.tiling import Segment, TilePlan

Fetch = Callable[[int, int, int, int, int], NDArray[np.uint8]]  # tile, y0, x0, y1, x1 of the scene → its pixels there


def blend_cell(plan: TilePlan, tile: int, fetch: Fetch) -> NDArray[np.uint8]:
    """The probability in a tile's cell.

    Args:
        plan: of the tiles.
        tile: whose cell is made.
        fetch: gives the (y1 - y0, x1 - x0) uint8 of a tile in a box of the scene that lies within the tile.

    Returns:
        (H, W) uint8 of `plan.cell(tile)`.
    """
    row, column = plan.position(tile)
    y0, x0, y1, x1 = plan.cell(tile)
    cell = np.empty((y1 - y0, x1 - x0), np.uint8)
    for rows in plan.rows.segments(row):
        for columns in plan.columns.segments(column):
            part = np.s_[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
            cell[part] = _blended(plan, rows, columns, fetch)
    return cell


def _blended(plan: TilePlan, rows: Segment, columns: Segment, fetch: Fetch) -> NDArray[np.uint8]:
    box = rows.start, columns.start, rows.stop, columns.stop
    tiles = [(r, c) for r in rows.inside for c in columns.inside]
    if len(tiles) == 1:
        return fetch(plan.number(*tiles[0]), *box)
    down = {r: plan.rows.weights(r, rows.start, rows.stop)[:, None] for r in rows.inside}
    across = {c: plan.columns.weights(c, columns.start, columns.stop)[None] for c in columns.inside}
    # At most 256 * 256 * 255 a tile: a dozen of them would fit into 32 bits, and more than nine never lie on a pixel.
    weight = sum(down.values(), np.uint32(0)) * sum(across.values(), np.uint32(0))
    total = np.asarray(weight // np.uint32(2), np.uint32)  # so that the division rounds
    for r, c in tiles:
        total += down[r] * across[c] * fetch(plan.number(r, c), *box)
    return np.asarray(total // weight, np.uint8)
