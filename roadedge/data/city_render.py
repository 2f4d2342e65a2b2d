"""Polygons → pixels: paint one aligned chunk of the city, give it texture, shadow, haze and a camera's softness."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.data.city_look import Look
from roadedge.data.city_plan import mix
from roadedge.data.city_sheet import SHIFT, Layer, Painted

CHUNK = 128  # pixels; a multiple of JPEG's 16 x 16 blocks, so that their grid runs on through the city
MARGIN = 8  # pixels painted around a chunk for what blurs into it
PERIOD = 1024  # pixels after which a texture repeats
_ROADS = (int(Layer.LANE), int(Layer.STREET), int(Layer.AVENUE))
_SHADES = (int(Layer.SHADE), int(Layer.TREE_SHADE))
_ROOFS = (int(Layer.ROOF), int(Layer.CROWN))


# Noise as (standard deviation in pixels, weight) pairs: fine grain, drifting light, the sensor.
_GRAIN, _LIGHT, _SENSOR = 0, 1, 2
_SPECTRA = {
    _GRAIN: ((0.6, 0.55), (2.2, 0.6), (7.0, 0.6)),
    _LIGHT: ((24.0, 0.7), (70.0, 0.8)),
    _SENSOR: ((0.45, 1.0),),
}


@lru_cache(maxsize=8)
def _texture(kind: int) -> NDArray[np.float32]:
    """(PERIOD + a chunk, ..., 1 or 3) tileable noise, of unit variance or a factor near 1; the same for every city."""
    rng = np.random.Generator(np.random.PCG64(1000 + kind))
    planes = 1 if kind == _GRAIN else 3
    total = np.zeros((PERIOD, PERIOD, planes), np.float32)
    for sigma_px, weight in _SPECTRA[kind]:
        total += weight * _smooth_noise(rng, sigma_px, planes)
    total /= total.std()
    if kind == _LIGHT:
        total = 1 + 0.05 * total  # a factor
    edge = CHUNK + 2 * MARGIN
    return np.pad(np.asarray(total, np.float32), ((0, edge), (0, edge), (0, 0)), mode="wrap")


def _smooth_noise(rng: np.random.Generator, sigma_px: float, planes: int) -> NDArray[np.float32]:
    """(PERIOD, PERIOD, planes) periodic Gaussian noise; a wide one is made small and enlarged."""
    import cv2

    scale = 8 if sigma_px > 8 else 1
    side = PERIOD // scale
    white = rng.standard_normal((side, side, planes)).astype(np.float32)
    if planes == 3 and sigma_px > 1:  # light changes in all channels together more than apart
        white = 0.35 * white + white[:, :, :1]
    reach = int(4 * sigma_px / scale) + 2
    smooth = cv2.GaussianBlur(
        np.pad(white, ((reach, reach), (reach, reach), (0, 0)), mode="wrap"), (0, 0), sigma_px / scale
    )
    wide = cv2.resize(smooth, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else smooth
    inner = slice(reach * scale, reach * scale + PERIOD)
    noise = wide.reshape(*wide.shape[:2], planes)[inner, inner]
    return np.asarray(noise / noise.std(), np.float32)


def _cut(kind: int, x: int, y: int, size: int, seed: int) -> NDArray[np.float32]:
    shift = mix(seed, 90, kind)
    u, v = (x + shift) % PERIOD, (y + (shift >> 20)) % PERIOD
    return _texture(kind)[v : v + size, u : u + size]


def render_chunk(
    parts: list[Painted], x: int, y: int, look: Look, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Paint the chunk whose upper left pixel is (x, y).

    Args:
        parts: what lies in its reach, always in the same order.
        x: pixels of the city, a multiple of CHUNK, as is `y`.
        y: see `x`.
        look: of the city.
        seed: of the city; moves the textures.

    Returns:
        (CHUNK, CHUNK, 3) uint8 RGB and (CHUNK, CHUNK) uint8 road mask, 0 or 255.
    """
    colour, shade, mask = _paint(parts, x - MARGIN, y - MARGIN, look)
    inner = slice(MARGIN, MARGIN + CHUNK)
    image = _expose(colour, shade, x - MARGIN, y - MARGIN, look, seed)[inner, inner]
    return _compress(image, look.jpeg_quality), np.ascontiguousarray(mask[inner, inner])


def _paint(parts: list[Painted], x: int, y: int, look: Look) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    import cv2

    size = CHUNK + 2 * MARGIN
    colour = np.empty((size, size, 4), np.uint8)
    colour[:] = (*np.clip(look.soil, 0, 255).astype(int), 150)
    shade = np.zeros((size, size), np.uint8)
    mask = np.zeros((size, size), np.uint8)
    box = np.array([x, y, x + size, y + size]) << SHIFT
    origin = box[:2].astype(np.int32) + (1 << (SHIFT - 1))  # cv2 counts from pixel centres, the city from corners
    picks, polygons, colours = [], [], []
    for part in parts:
        b = part.boxes
        hit = np.flatnonzero((b[:, 2] >= box[0]) & (b[:, 0] <= box[2]) & (b[:, 3] >= box[1]) & (b[:, 1] <= box[3]))
        corners = part.corners - origin
        ends = zip(part.starts[hit].tolist(), part.starts[hit + 1].tolist(), strict=True)
        polygons += [corners[start:end] for start, end in ends]
        colours += part.colours[hit].tolist()
        picks.append(part.layers[hit])
    layers = np.concatenate(picks) if picks else np.zeros(0, np.int64)
    order = np.argsort(layers, kind="stable")
    for layer, k in zip(layers[order].tolist(), order.tolist(), strict=True):
        polygon = polygons[k]
        fill = cv2.fillConvexPoly if len(polygon) <= 4 else _fill_any
        if layer in _SHADES:
            fill(shade, polygon, 255, cv2.LINE_AA, SHIFT)
            continue
        fill(colour, polygon, colours[k], cv2.LINE_AA, SHIFT)
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
    light: NDArray[Any] = colour[:, :, :3].astype(np.float32)
    strength = colour[:, :, 3].astype(np.float32) * np.float32(0.00072 * look.texture)
    grain = strength * _cut(_GRAIN, x, y, size, seed)[:, :, 0] + 1
    soft = cv2.GaussianBlur(shade, (0, 0), 0.8).astype(np.float32) / np.float32(-255)
    dims = [np.multiply(grain, soft * np.float32(depth) + 1) for depth in look.shade]
    light = cv2.multiply(cv2.multiply(light, cv2.merge(dims)), _cut(_LIGHT, x, y, size, seed))
    light = cv2.transform(cv2.GaussianBlur(light, (0, 0), look.blur_px), look.camera())
    light = cv2.scaleAdd(_cut(_SENSOR, x, y, size, seed), look.noise, light)
    return np.asarray(cv2.LUT(cv2.convertScaleAbs(np.maximum(light, 0)), _tone_curve(look.gamma)), np.uint8)


@lru_cache(maxsize=64)
def _tone_curve(gamma: float) -> NDArray[np.uint8]:
    return np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)


def _compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Send a chunk through JPEG, as map providers do."""
    import cv2

    _, packed = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert decoded is not None  # we have just encoded it
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
