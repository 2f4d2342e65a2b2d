"""Pictures for people: a mask tinted over its image, points as dots, panels side by side with captions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import ShapeError
from roadedge.sample import check_shape

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

ROAD_RGB = (255, 45, 85)  # seen on grey asphalt, green fields and brown roofs alike
POINT_RGB = (0, 229, 255)
_CAPTION_BACK = (24, 26, 30)
_CAPTION_INK = (240, 240, 240)


def overlay(
    image: Picture,
    mask: NDArray[np.bool_],
    points: NDArray[Any] | None = None,
    tint: tuple[int, int, int] = ROAD_RGB,
    strength: float = 0.45,
) -> Picture:
    """Tint the road over the image, draw its outline and the GPS points.

    Args:
        image: (H, W, 3) uint8 RGB; left as it is.
        mask: (H, W) bool, True where the road is.
        points: (N, >= 2) x, y in pixels of the image, or None. Those outside or not finite are not drawn.
        tint: RGB of the road.
        strength: of the tint, 0 to 1.

    Raises:
        ShapeError: the mask is not of the image's size.
    """
    import cv2

    check_shape("image", image, (None, None, 3))
    check_shape("mask", mask, image.shape[:2])
    tinted = cv2.addWeighted(image, 1 - strength, np.full_like(image, tint), strength, 0)
    inside = np.ascontiguousarray(mask, np.uint8)
    drawn = image.copy()
    cv2.copyTo(tinted, inside, drawn)
    outline, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(drawn, outline, -1, tint, 1)
    if points is not None:
        draw_points(drawn, points)
    return drawn


def draw_points(picture: Picture, points: NDArray[Any], colour: tuple[int, int, int] = POINT_RGB) -> None:
    """Set a dot for each of (N, >= 2) x, y in pixels on `picture`, in place; larger on larger pictures."""
    height, width = picture.shape[:2]
    x, y = points[:, 0], points[:, 1]
    with np.errstate(invalid="ignore"):
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # NaN and infinity compare false
    column, row = x[inside].astype(np.int64), y[inside].astype(np.int64)
    reach = 1 if min(height, width) >= 256 else 0  # a 3 x 3 dot, or one pixel on a small picture
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            picture[np.clip(row + dy, 0, height - 1), np.clip(column + dx, 0, width - 1)] = colour


def heat_picture(raster: NDArray[np.uint8], image: Picture | None = None) -> Picture:
    """A second modality (H, W) uint8 in colours: black where nothing is, then purple, orange, yellow.

    The levels are drawn by their root, so that a single point is seen. With an `image` (of any size) the colours glow
    over its darkened grey, on its grid.
    """
    import cv2

    check_shape("raster", raster, (None, None))
    if image is not None and raster.shape != image.shape[:2]:
        raster = np.asarray(cv2.resize(raster, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    glow = np.asarray(cv2.LUT(cv2.merge([raster] * 3), _glow()), np.uint8)
    if image is None:
        return glow
    dark = cv2.convertScaleAbs(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), alpha=0.35)
    return np.asarray(cv2.max(glow, cv2.cvtColor(dark, cv2.COLOR_GRAY2RGB)), np.uint8)


@functools.lru_cache(maxsize=1)
def _glow() -> NDArray[np.uint8]:
    """(1, 256, 3) RGB of each level of a heat-map."""
    import cv2

    root = np.rint(np.sqrt(np.arange(256) * 255.0)).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(root[None], cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def mask_picture(mask: NDArray[np.bool_]) -> Picture:
    """A mask (H, W) bool as white on black."""
    check_shape("mask", mask, (None, None))
    return np.repeat((mask.astype(np.uint8) * 255)[..., None], 3, axis=2)


def panel(images: Sequence[NDArray[np.uint8]], captions: Sequence[str], gap_px: int = 6) -> Picture:
    """Pictures side by side, each under its caption.

    Args:
        images: (H, W, 3) uint8 RGB or (H, W) uint8 grey; brought to the height of the first, keeping their shape.
        captions: one for each; made smaller where the text is wider than its picture.
        gap_px: between the pictures.

    Raises:
        ShapeError: no pictures, or not one caption for each.
    """
    import cv2

    if not images or len(images) != len(captions):
        raise ShapeError(f"a panel needs one caption for each of its pictures, got {len(images)} and {len(captions)}")
    height = images[0].shape[0]
    columns = []
    for image in images:
        colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        if colour.shape[0] != height:
            width = max(1, round(colour.shape[1] * height / colour.shape[0]))
            colour = np.asarray(cv2.resize(colour, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        columns.append(colour)
    whole = sum(colour.shape[1] for colour in columns) + gap_px * (len(columns) - 1)
    canvas = np.empty((_CAPTION_PX + height, whole, 3), np.uint8)
    canvas[:_CAPTION_PX] = _CAPTION_BACK
    x = 0
    for colour, caption in zip(columns, captions, strict=True):
        end = x + colour.shape[1]
        _write_caption(canvas[:_CAPTION_PX, x:end], caption)
        canvas[_CAPTION_PX:, x:end] = colour
        canvas[_CAPTION_PX:, end : end + gap_px] = _CAPTION_BACK
        x = end + gap_px
    return canvas


_CAPTION_PX = 26


def _write_caption(strip: Picture, text: str) -> None:
    """In place, as large as it fits."""
    import cv2

    width = strip.shape[1]
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    (wide, _), _ = cv2.getTextSize(text, font, scale, 1)
    scale *= min(1.0, (width - 8) / max(wide, 1))
    if scale > 0:
        cv2.putText(strip, text, (4, 18), font, scale, _CAPTION_INK, 1, cv2.LINE_AA)
