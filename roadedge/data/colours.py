"""Changes of an image's colours as papers draw them, in units of OpenCV's 8-bit HSV: hue of 180, the rest of 255."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3) RGB
Hsv = tuple[float, float, float]

BRIGHTNESS = 32.0  # levels, up or down
FACTORS = (0.5, 1.5)  # of contrast and of saturation
HUE = 18.0


def shifted_hsv(image: Image, reach: Hsv, rng: np.random.Generator) -> Image:
    """Hue, saturation and value each shifted by U(-reach, reach), the same for all pixels.

    Hue goes round at 180; saturation and value end at 0 and 255.

    Source: what D-LinkNet and after it CMIPNet, CMMPNet and joint connectivity do, whose hue goes round elsewhere.
    """
    hue, saturation, value = rng.uniform(-1, 1, 3) * reach
    return _in_hsv(image, hue, saturation, value, 1.0)


def distorted(image: Image, rng: np.random.Generator) -> Image:
    """Brightness, contrast, saturation and hue, each changed at every second draw; contrast before or after the rest.

    Source: SSD (arXiv 1512.02325) in the ranges that MMSegmentation takes: 32 levels, half to one and a half times, and
    18 of 180; without exchanging channels.
    """
    brightness, contrast, saturation, hue, early = rng.random(5) < 0.5
    shift = rng.uniform(-BRIGHTNESS, BRIGHTNESS) if brightness else 0.0
    by, more = rng.uniform(*FACTORS, 2)
    turn = rng.uniform(-HUE, HUE)
    image = _stretched(image, by if contrast and early else 1.0, shift)
    if saturation or hue:
        image = _in_hsv(image, turn if hue else 0.0, 0.0, 0.0, more if saturation else 1.0)
    return _stretched(image, by if contrast and not early else 1.0, 0.0)


def _stretched(image: Image, factor: float, shift: float) -> Image:
    """Each level after the other: shifted, then multiplied; rounded and cut to 0 ... 255 once."""
    import cv2

    if factor == 1 and shift == 0:
        return image
    levels = np.clip(np.arange(256) + shift, 0, 255) * factor
    return np.asarray(cv2.LUT(image, np.clip(np.rint(levels), 0, 255).astype(np.uint8)), np.uint8)


def _in_hsv(image: Image, hue: float, saturation: float, value: float, factor: float) -> Image:
    """Hue turned, saturation and value shifted, saturation multiplied."""
    import cv2

    levels = np.arange(256)
    tables = (
        np.rint(levels + hue) % 180,
        np.clip(np.rint((levels + saturation) * factor), 0, 255),
        np.clip(np.rint(levels + value), 0, 255),
    )
    table = np.ascontiguousarray(np.stack(tables, 1)[None].astype(np.uint8))
    moved = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table)
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_HSV2RGB), np.uint8)
