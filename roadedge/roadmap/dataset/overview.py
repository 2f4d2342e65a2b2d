"""A picture of a whole data set: images with their roads, the tiles set aside framed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.imagery import read_image, read_mask, write_jpeg
from roadedge.roadmap.dataset.options import PrepareOptions
from roadedge.roadmap.dataset.tiles import TileLayout

LONGEST_PX = 1600
ROAD_RGB, IGNORED_RGB, ASIDE_RGB = (255, 60, 40), (60, 90, 220), (255, 220, 0)
LEFT_OUT_GREY = 40


def write_overview(folder: Path, layout: TileLayout, split_of: Mapping[str, str], options: PrepareOptions) -> None:
    """Write `overview.jpg`: roads red, ignored pixels blue, tiles of `val` in a yellow frame, those left out dark."""
    rows = max(tile.y0 for tile in layout.tiles) // options.size + 1
    columns = max(tile.x0 for tile in layout.tiles) // options.size + 1
    side = int(np.clip(LONGEST_PX // max(rows, columns), 4, options.size))
    sheet = np.full((rows * side, columns * side, 3), LEFT_OUT_GREY, np.uint8)
    for tile in layout.tiles:
        if tile.id not in split_of:
            continue
        small = _small(folder, tile.id, side, options)
        if split_of[tile.id] == "val":
            rim = max(1, side // 60)
            for strip in (np.s_[:rim], np.s_[-rim:], np.s_[:, :rim], np.s_[:, -rim:]):
                small[strip] = ASIDE_RGB
        y, x = tile.y0 // options.size * side, tile.x0 // options.size * side
        sheet[y : y + side, x : x + side] = small
    write_jpeg(folder / "overview.jpg", sheet)


def _small(folder: Path, name: str, side: int, options: PrepareOptions) -> NDArray[np.uint8]:
    import cv2

    image = read_image(folder / "image" / f"{name}.{options.image_format}")
    mask = read_mask(folder / "mask" / f"{name}.png")
    for value, colour in ((255, ROAD_RGB), (128, IGNORED_RGB)):
        chosen = mask == value
        image[chosen] = (image[chosen] // 2 + np.array(colour, np.uint8) // 2).astype(np.uint8)
    return np.array(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
