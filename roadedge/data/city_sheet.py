"""Polygons to be painted, gathered in batches and turned to pixels once."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
SHIFT = 4  # fractional bits of the polygons' pixel coordinates
# Texture strength, painted as the fourth channel: index into 0-255 of the noise amplitude.
ASPHALT, PAVING, ROOF, SOIL, GRASS, LEAVES, FLAT = 70, 55, 48, 150, 135, 255, 16


class Layer(IntEnum):
    """The order in which things are painted, from the ground up."""

    GROUND = 0
    YARD = 1
    DRIVE = 2
    WALK = 3
    LANE = 4
    STREET = 5
    AVENUE = 6
    WEAR = 7
    MEDIAN = 8
    ISLAND = 9
    PAINT = 10
    CAR_SHADE = 11
    CAR = 12
    GLASS = 13
    SHADE = 14
    ROOF = 15
    ROOFTOP = 16
    TREE_SHADE = 17
    CROWN = 18
    LEAVES = 19


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """One cell's polygons: pixel coordinates times 2**SHIFT, RGB + texture, layer and bounding box in pixels."""

    polygons: list[NDArray[np.int32]]
    colours: list[list[float]]
    layers: NDArray[np.int64]
    boxes: NDArray[np.float64]  # (N, 4) x0, y0, x1, y1
    convex: list[bool]


@dataclass(slots=True, eq=False)
class Sheet:
    """Collects polygons in metres."""

    gsd_m: float
    _batches: list[tuple[int, Floats, Floats]] = field(default_factory=list)

    def add(self, layer: Layer, polygons_m: Floats, colours: ArrayLike, texture: int = FLAT) -> None:
        """Add (N, K, 2) polygons in metres of (3,) or (N, 3) RGB."""
        if len(polygons_m) == 0:
            return
        rgbt = np.empty((len(polygons_m), 4))
        rgbt[:, :3] = np.clip(colours, 2, 253)
        rgbt[:, 3] = texture
        self._batches.append((int(layer), polygons_m, rgbt))

    def shade(self, layer: Layer, footprints_m: Floats, shift_m: Floats) -> None:
        """Add the shadows of (N, 4, 2) rectangles whose tops are moved by (N, 2): hulls as two polygons each."""
        top = footprints_m + shift_m[:, None]
        self.add(layer, top, 0.0)
        for k in range(4):  # the four sides swept along the shift cover the hull together with top and foot
            n = (k + 1) % 4
            self.add(layer, np.stack([footprints_m[:, k], footprints_m[:, n], top[:, n], top[:, k]], 1), 0.0)

    def finish(self) -> Painted:
        """All polygons in pixels."""
        polygons: list[NDArray[np.int32]] = []
        colours: list[list[float]] = []
        convex: list[bool] = []
        layers: list[NDArray[Any]] = []
        boxes: list[NDArray[Any]] = []
        for layer, metres, rgbt in self._batches:
            pixels = metres / self.gsd_m
            polygons.extend(np.rint(pixels * (1 << SHIFT)).astype(np.int32))
            colours.extend(np.rint(rgbt).tolist())
            layers.append(np.full(len(metres), layer))
            boxes.append(np.concatenate([pixels.min(1), pixels.max(1)], 1))
            convex.extend([metres.shape[1] <= 4] * len(metres))
        if not polygons:
            return Painted([], [], np.zeros(0, np.int64), np.zeros((0, 4)), [])
        return Painted(polygons, colours, np.concatenate(layers), np.concatenate(boxes), convex)


def rectangles(centres_m: Floats, along: Floats, length_m: ArrayLike, width_m: ArrayLike) -> Floats:
    """(N, 4, 2) rectangles around (N, 2) centres, long side along the (N, 2) or (2,) unit vectors."""
    along = np.broadcast_to(along, centres_m.shape)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    u = along * (np.broadcast_to(length_m, len(centres_m)) / 2)[:, None]
    v = across * (np.broadcast_to(width_m, len(centres_m)) / 2)[:, None]
    return np.stack([centres_m - u - v, centres_m + u - v, centres_m + u + v, centres_m - u + v], 1)


def blobs(centres_m: Floats, radius_m: ArrayLike, rng: np.random.Generator, corners: int = 9) -> Floats:
    """(N, corners, 2) rough discs: tree crowns and ponds."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    rough = rng.uniform(0.78, 1.16, (len(centres_m), corners)) * np.broadcast_to(radius_m, len(centres_m))[:, None]
    return np.asarray(centres_m[:, None] + np.stack([np.cos(angle), np.sin(angle)], 1) * rough[..., None])


def ribbon(line_m: Floats, half_m: ArrayLike, offset_m: float = 0.0) -> Floats:
    """(1, 2 N, 2) the polygon within (N,) half widths of a line, moved sideways (right of its way) by `offset_m`."""
    across = normals(line_m)
    half = np.broadcast_to(half_m, len(line_m))[:, None]
    left = line_m + across * (offset_m - half)
    right = line_m + across * (offset_m + half)
    return np.concatenate([left, right[::-1]])[None]


def normals(line_m: Floats) -> Floats:
    """(N, 2) unit normals at the corners of a line, to the right of its way (y points down)."""
    tangent = np.gradient(line_m, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
    return np.stack([-tangent[:, 1], tangent[:, 0]], 1)
