"""The tiles of a scene, and which of them are set aside: whole blocks, so that neighbours stay on one side."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from roadedge.errors import UsageError
from roadedge.roadmap.survey import MapGrid

LARGEST_BLOCK = 4  # tiles along a block's side, where the user does not say
ENOUGH_BLOCKS = 10


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of a scene: its pixels [y0, y1) x [x0, x1) of the grid; the last ones of a row or column are cut short."""

    id: str
    block: str
    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of what of it lies on the grid."""
        return self.y1 - self.y0, self.x1 - self.x0


@dataclass(frozen=True, slots=True)
class TileLayout:
    """All tiles of a grid, row by row; `side` is that of a block, in tiles."""

    tiles: tuple[Tile, ...]
    side: int
    block_m: float


def lay_tiles(grid: MapGrid, size: int, block_m: float | None) -> TileLayout:
    """Cut a grid into tiles of `size` pixels and blocks of whole tiles.

    Without `block_m` a block has four tiles a side, or as many fewer as leave ten blocks.

    Raises:
        UsageError: blocks so large that all tiles lie in one, of which no part could be set aside.
    """
    rows, columns = math.ceil(grid.height / size), math.ceil(grid.width / size)
    tile_m = size * grid.gsd_m
    if block_m is None:
        sides = range(LARGEST_BLOCK, 0, -1)
        side = next((s for s in sides if math.ceil(rows / s) * math.ceil(columns / s) >= ENOUGH_BLOCKS), 1)
    else:
        side = max(1, round(block_m / tile_m))
        if side >= max(rows, columns) and rows * columns > 1:
            raise UsageError(
                f"--block {block_m:g} puts all {rows * columns} tiles of {tile_m:.0f} m into one block, so that none "
                f"can be set aside; give at most {tile_m * max(1, max(rows, columns) // 2):.0f}"
            )
    tiles = tuple(
        Tile(
            f"r{row:04d}_c{column:04d}",
            f"b{row // side:03d}_{column // side:03d}",
            row * size,
            column * size,
            min((row + 1) * size, grid.height),
            min((column + 1) * size, grid.width),
        )
        for row in range(rows)
        for column in range(columns)
    )
    return TileLayout(tiles, side, side * tile_m)


def choose_validation(tiles_of: Mapping[str, int], share: float, seed: int) -> set[str]:
    """The blocks that are set aside: in an order by the digest of their names, until their tiles are the share.

    The same ones for the same blocks, share and seed. With a share above 0 and two blocks there is one on each side.

    Args:
        tiles_of: how many tiles each block has.
        share: of all tiles.
        seed: another one gives another order.
    """
    total = sum(tiles_of.values())
    order = sorted(tiles_of, key=lambda block: (zlib.crc32(f"{seed}:{block}".encode()), block))
    chosen: set[str] = set()
    count = 0
    for block in order[:-1] if share > 0 else []:
        more = count + tiles_of[block]
        if chosen and abs(more - share * total) >= abs(count - share * total):
            continue
        chosen.add(block)
        count = more
    return chosen
