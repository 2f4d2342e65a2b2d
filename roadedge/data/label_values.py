"""How data sets write road masks, each read as (H, W) uint8: 255 road, 0 not, 128 ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.imagery import read_grey, read_image, read_mask

Mask = NDArray[np.uint8]
GAUSSIAN_LEVEL = 0.76  # exp(-d² / (2 · 15²)) is above it up to 11.1 pixels beside the centre line


def read_above_half(path: Path) -> Mask:
    """Levels 0 to 255, road above the half; such as masks that went through a lossy picture."""
    return _above(path, 127.5)


def read_gaussian(path: Path) -> Mask:
    """Levels that fall with the distance from the centre line, 255 on it; the same for masks of 0 and 255."""
    return _above(path, GAUSSIAN_LEVEL * 255)


def read_inverted(path: Path) -> Mask:
    """0 is road, 1 or 255 is background (TLCGIS)."""
    plane = _levels(path)
    values = np.unique(plane).tolist()
    if not (set(values) <= {0, 1} or set(values) <= {0, 255}):
        raise DataError(f"{path} must hold 0 (road) and 1 or 255 (background) only, got {values[:6]}")
    return _road(plane == 0)


def read_index(path: Path) -> Mask:
    """Class numbers, as such or in a palette: 1 is road, 0 background, 255 ignored (VOC)."""
    try:
        palette = _palette(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the label {path}: {error.strerror or error}") from error
    index = _levels(path) if palette is None else _index_of(read_image(path), palette, path)
    values = np.unique(index).tolist()
    if not set(values) <= {0, 1, 255}:
        raise DataError(f"{path} must hold the classes 0, 1 (road) and 255 (ignored) only, got {values[:6]}")
    return np.where(index == 255, 128, np.where(index == 1, 255, 0)).astype(np.uint8)


LABELS: dict[str, Callable[[Path], Mask]] = {
    "road-255": read_mask,
    "above-half": read_above_half,
    "gaussian": read_gaussian,
    "inverted": read_inverted,
    "index": read_index,
}


def _above(path: Path, level: float) -> Mask:
    plane = _levels(path)
    if 0 < plane.max(initial=0) <= 1:
        raise DataError(f"{path} seems to hold 0 and 1, expected levels up to 255; multiply it by 255")
    if plane.size and plane.min() > level and plane.min() != plane.max():
        raise DataError(
            f"{path} holds levels from {plane.min()} to {plane.max()}, of which all would be road; expected 0 where "
            "there is none"
        )
    return _road(plane > level)


def _levels(path: Path) -> NDArray[Any]:
    plane = read_grey(path)
    if plane.dtype != np.uint8:
        raise DataError(f"{path} has pixels of {plane.dtype}; a label has 8 bits")
    return plane


def _road(road: NDArray[np.bool_]) -> Mask:
    return np.where(road, 255, 0).astype(np.uint8)


def _palette(content: bytes) -> NDArray[np.uint8] | None:
    """(K, 3) RGB of a PNG with a palette, None of any other file."""
    at = 8
    while content.startswith(b"\x89PNG") and at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind == b"PLTE":
            return np.frombuffer(content[at + 8 : at + 8 + length], np.uint8).reshape(-1, 3)
        if kind in (b"IDAT", b"IEND"):
            break
        at += 12 + length
    return None


def _index_of(colours: NDArray[np.uint8], palette: NDArray[np.uint8], path: Path) -> NDArray[np.int64]:
    """The classes behind the colours of a palette, which decoders put in their place."""
    packed = palette.astype(np.int64) @ (65536, 256, 1)
    meant = [number for number in (0, 1, 255) if number < len(packed)]
    if len({int(packed[number]) for number in meant}) < len(meant):
        raise DataError(f"{path} has a palette that gives two of the classes {meant} one colour; store it as grey")
    pixels = colours.astype(np.int64) @ (65536, 256, 1)
    index = np.full(pixels.shape, -1, np.int64)
    for number in meant:
        index[pixels == packed[number]] = number
    return index
