"""Polygons to be painted, gathered in batches and turned to pixels once."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
SHADOW_MAX_M = 60.0  # longer shadows are cut, so that a cell's reach is known
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
    """Polygons of one block or road: corners in pixels times 2**SHIFT, one after the other."""

    corners: NDArray[np.int32]  # (sum of K, 2)
    starts: NDArray[np.int64]  # (N + 1,) where each polygon begins
    colours: NDArray[np.float64]  # (N, 4) RGB + texture
    layers: NDArray[np.int64]  # (N,)
    boxes: NDArray[np.int32]  # (N, 4) x0, y0, x1, y1 in the units of `corners`


@dataclass(slots=True, eq=False)
class Sheet:
    """Collects polygons in metres."""

    gsd_m: float
    footprints: list[Floats] = field(default_factory=list)  # (N, 4, 2) of the buildings, where no tree can stand
    _batches: list[tuple[int, Floats, Floats]] = field(default_factory=list)

    def add(self, layer: Layer, polygons_m: Floats, colours: ArrayLike, texture: int = FLAT) -> None:
        """Add (N, K, 2) polygons in metres of (3,) or (N, 3) RGB."""
        if len(polygons_m) == 0:
            return
        rgbt = np.empty((len(polygons_m), 4))
        rgbt[:, :3] = np.minimum(np.maximum(colours, 2), 253)
        rgbt[:, 3] = texture
        self._batches.append((int(layer), polygons_m, rgbt))

    def shade(self, layer: Layer, footprints_m: Floats, shift_m: Floats) -> None:
        """Add the shadows of (N, 4, 2) rectangles whose tops are moved by (N, 2), no farther than SHADOW_MAX_M."""
        length = np.hypot(shift_m[:, 0], shift_m[:, 1])
        shift_m = shift_m * np.minimum(1, SHADOW_MAX_M / np.maximum(length, 1e-9))[:, None]
        top = footprints_m + shift_m[:, None]
        self.add(layer, top, 0.0)
        for k in range(4):  # the four sides swept along the shift cover the hull together with top and foot
            n = (k + 1) % 4
            self.add(layer, np.stack([footprints_m[:, k], footprints_m[:, n], top[:, n], top[:, k]], 1), 0.0)

    def is_free(self, points_m: Floats) -> NDArray[np.bool_]:
        """(N,) whether each of (N, 2) points lies outside all buildings."""
        free = np.ones(len(points_m), np.bool_)
        if not self.footprints:
            return free
        foot = np.concatenate(self.footprints)
        for first, second in ((1, 0), (3, 0)):
            side = foot[:, first] - foot[:, second]
            along = (points_m[:, None] - foot[None, :, 0]) * side
            share = along.sum(2) / np.maximum((side**2).sum(1), 1e-9)
            free = (share > -0.04) & (share < 1.04) if first == 1 else free & (share > -0.04) & (share < 1.04)
        return np.asarray(~free.any(1))

    def finish(self) -> Painted:
        """All polygons in pixels."""
        if not self._batches:
            none = np.zeros((0, 4))
            return Painted(
                np.zeros((0, 2), np.int32), np.zeros(1, np.int64), none, np.zeros(0, np.int64), none.astype(np.int32)
            )
        sizes = np.concatenate([np.full(len(m), m.shape[1]) for _, m, _ in self._batches])
        starts = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        metres = np.concatenate([m.reshape(-1, 2) for _, m, _ in self._batches])
        corners = np.rint(metres * ((1 << SHIFT) / self.gsd_m)).astype(np.int32)
        lower, upper = (f.reduceat(corners, starts[:-1]) for f in (np.minimum, np.maximum))
        layers = np.repeat([layer for layer, _, _ in self._batches], [len(m) for _, m, _ in self._batches])
        colours = np.rint(np.concatenate([c for _, _, c in self._batches]))
        return Painted(corners, starts, colours, layers, np.concatenate([lower, upper], 1))


def rectangles(centres_m: Floats, along: Floats, length_m: ArrayLike, width_m: ArrayLike) -> Floats:
    """(N, 4, 2) rectangles around (N, 2) centres, long side along the (N, 2) or (2,) unit vectors."""
    u = along * (np.asarray(length_m, np.float64)[..., None] / 2)
    v = along[..., ::-1] * [-1.0, 1.0] * (np.asarray(width_m, np.float64)[..., None] / 2)
    out = np.empty((len(centres_m), 4, 2))
    out[:, 0] = centres_m - u - v
    out[:, 1] = centres_m + u - v
    out[:, 2] = centres_m + u + v
    out[:, 3] = centres_m - u + v
    return out


_CIRCLES = {n: np.stack([np.cos(k := np.arange(n) * 2 * np.pi / n), np.sin(k)], 1) for n in (7, 9, 11, 14)}


def blobs(centres_m: Floats, radius_m: ArrayLike, rng: np.random.Generator, corners: int = 9) -> Floats:
    """(N, corners, 2) rough discs, of 7, 9, 11 or 14 corners: tree crowns and ponds."""
    rough = rng.uniform(0.78, 1.16, (len(centres_m), corners)) * np.asarray(radius_m)[..., None]
    return np.asarray(centres_m[:, None] + _CIRCLES[corners] * rough[..., None])


def ribbon(line_m: Floats, half_m: ArrayLike, offset_m: float = 0.0) -> Floats:
    """(1, 2 N, 2) the polygon within (N,) half widths of a line, moved sideways (right of its way) by `offset_m`."""
    across = normals(line_m)
    half = np.asarray(half_m, np.float64)[..., None]
    return np.concatenate([line_m + across * (offset_m - half), (line_m + across * (offset_m + half))[::-1]])[None]


def normals(line_m: Floats) -> Floats:
    """(N, 2) unit normals at the corners of a line, to the right of its way (y points down)."""
    tangent = np.empty_like(line_m)
    tangent[1:-1] = line_m[2:] - line_m[:-2]
    tangent[0], tangent[-1] = line_m[1] - line_m[0], line_m[-1] - line_m[-2]
    across = tangent[:, ::-1] / np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
    return np.asarray(across * [-1.0, 1.0])
