"""Polygons → pixels: paint one aligned chunk of the city, give it texture, shadow, haze and a camera's softness."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.data.city_look import Look
from roadedge.data.city_plan import mix
from roadedge.data.city_sheet import SHIFT, Layer, Painted

CHUNK = 256  # pixels; a multiple of JPEG's 16 x 16 blocks, so that their grid runs on through the city
MARGIN = 8  # pixels painted around a chunk for what blurs into it
PERIOD = 1024  # pixels after which a texture repeats
_ROADS = (int(Layer.LANE), int(Layer.STREET), int(Layer.AVENUE))
_SHADES = (int(Layer.SHADE), int(Layer.TREE_SHADE))
_ROOFS = (int(Layer.ROOF), int(Layer.CROWN))


@lru_cache(maxsize=8)
def _texture(kind: int) -> NDArray[np.float32]:
    """(PERIOD + CHUNK + margins, ...) tileable noise of unit variance; the same for every city."""
    import cv2

    rng = np.random.Generator(np.random.PCG64(1000 + kind))
    sigmas, weights = (((0.6, 2.2, 7.0), (0.55, 0.6, 0.6)), ((24.0, 70.0), (0.7, 0.8)), ((0.45,), (1.0,)))[kind]
    planes = 3 if kind else 1
    total = np.zeros((PERIOD, PERIOD, planes), np.float32)
    for sigma, weight in zip(sigmas, weights, strict=True):
        white = rng.standard_normal((PERIOD, PERIOD, planes)).astype(np.float32)
        if kind == 1:  # light varies together in all channels more than apart
            white = 0.35 * white + white[:, :, :1]
        reach = min(int(4 * sigma) + 1, PERIOD)
        wrapped = np.pad(white, ((reach, reach), (reach, reach), (0, 0)), mode="wrap")
        smooth = cv2.GaussianBlur(wrapped, (0, 0), sigma).reshape(*wrapped.shape)[reach:-reach, reach:-reach]
        total += weight * smooth / smooth.std()
    total /= total.std()
    edge = CHUNK + 2 * MARGIN
    return np.pad(total, ((0, edge), (0, edge), (0, 0)), mode="wrap")


def _cut(kind: int, x: int, y: int, size: int, seed: int) -> NDArray[np.float32]:
    shift = mix(seed, 90, kind)
    u, v = (x + shift) % PERIOD, (y + (shift >> 20)) % PERIOD
    return _texture(kind)[v : v + size, u : u + size]


def render_chunk(
    cells: list[Painted], x: int, y: int, look: Look, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Paint the chunk whose upper left pixel is (x, y).

    Args:
        cells: what lies in its reach, always in the same order.
        x: pixels of the city, a multiple of CHUNK, as is `y`.
        y: see `x`.
        look: of the city.
        seed: of the city; moves the textures.

    Returns:
        (CHUNK, CHUNK, 3) uint8 RGB and (CHUNK, CHUNK) uint8 road mask, 0 or 255.
    """
    colour, shade, mask = _paint(cells, x - MARGIN, y - MARGIN, look)
    inner = slice(MARGIN, MARGIN + CHUNK)
    image = _expose(colour, shade, x - MARGIN, y - MARGIN, look, seed)[inner, inner]
    return _compress(image, look.jpeg_quality), np.ascontiguousarray(mask[inner, inner])


def _paint(cells: list[Painted], x: int, y: int, look: Look) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    import cv2

    size = CHUNK + 2 * MARGIN
    colour = np.empty((size, size, 4), np.uint8)
    colour[:] = (*np.clip(look.soil, 0, 255).astype(int), 150)
    shade = np.zeros((size, size), np.uint8)
    mask = np.zeros((size, size), np.uint8)
    origin = np.array([x, y], np.int32) << SHIFT
    half = 1 << (SHIFT - 1)  # cv2 counts from pixel centres, the city from corners
    picks = []
    for rank, cell in enumerate(cells):
        b = cell.boxes
        hit = np.flatnonzero((b[:, 2] > x - 1) & (b[:, 0] < x + size + 1) & (b[:, 3] > y - 1) & (b[:, 1] < y + size + 1))
        picks.append(np.stack([cell.layers[hit], np.full(len(hit), rank), hit], 1))
    todo = np.concatenate(picks) if picks else np.zeros((0, 3), np.int64)
    for layer, rank, k in todo[np.lexsort((todo[:, 2], todo[:, 1], todo[:, 0]))].tolist():
        cell = cells[rank]
        polygon = cell.polygons[k] - origin - half
        fill = cv2.fillConvexPoly if cell.convex[k] else _fill_any
        if layer in _SHADES:
            fill(shade, polygon, 255, cv2.LINE_AA, SHIFT)
            continue
        fill(colour, polygon, cell.colours[k], cv2.LINE_AA, SHIFT)
        if layer in _ROADS:
            fill(mask, polygon, 255, cv2.LINE_8, SHIFT)
        elif layer == Layer.ISLAND:
            fill(mask, polygon, 0, cv2.LINE_8, SHIFT)
        elif layer in _ROOFS:
            fill(shade, polygon, 0 if layer == Layer.ROOF else 40, cv2.LINE_AA, SHIFT)
    return colour, shade, mask


def _fill_any(image: NDArray[Any], polygon: NDArray[Any], value: Any, line: int, shift: int) -> None:
    import cv2

    cv2.fillPoly(image, [polygon], value, line, shift)


def _expose(
    colour: NDArray[np.uint8], shade: NDArray[np.uint8], x: int, y: int, look: Look, seed: int
) -> NDArray[np.uint8]:
    """Texture, light, shadow, blur, haze, tone and sensor noise."""
    import cv2

    size = len(colour)
    light = colour[:, :, :3].astype(np.float32)
    strength = colour[:, :, 3].astype(np.float32) * np.float32(0.085 * look.texture)
    light += (strength * _cut(0, x, y, size, seed)[:, :, 0])[:, :, None] * (0.3 + light / np.float32(160))
    light *= 1 + np.float32(0.05) * _cut(1, x, y, size, seed)
    soft = cv2.GaussianBlur(shade, (0, 0), 0.8).astype(np.float32) / np.float32(255)
    light *= 1 - soft[:, :, None] * look.shade.astype(np.float32)
    light = np.asarray(cv2.GaussianBlur(light, (0, 0), look.blur_px), np.float32)
    grey = light.mean(2, keepdims=True)
    light = grey + (light - grey) * np.float32(look.saturation)
    light = light * look.gain.astype(np.float32) * np.float32(1 - look.haze) + np.float32(look.haze * 205)
    light += np.float32(look.noise) * _cut(2, x, y, size, seed)
    clipped = np.clip(light, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(clipped, _tone_curve(look.gamma)), np.uint8)


@lru_cache(maxsize=64)
def _tone_curve(gamma: float) -> NDArray[np.uint8]:
    return np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)


def _compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Send a chunk through JPEG, as map providers do."""
    import cv2

    _, packed = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[:, :, ::-1])
