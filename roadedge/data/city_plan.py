"""The city's plan: where its roads run. Every value is a hash of the seed and of whole numbers, so nothing is stored.

Rows and columns of a lattice (a, b) are bent by hashed offsets, columns jog from strip to strip, and a smooth warp
carries the lattice onto the ground, so that districts turn against each other. `Cell` (i, j) is the ground between
row j and j + 1 and column i and i + 1; it owns the road along its top and the one along its left side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_MASK = (1 << 64) - 1


def mix(*keys: int) -> int:
    """Hash whole numbers (of any sign) to 64 bits, the same in every process. Source: SplitMix64's finaliser."""
    state = 0x9E3779B97F4A7C15
    for key in keys:
        state = ((state ^ (key & _MASK)) * 0xBF58476D1CE4E5B9 + 0x9E3779B97F4A7C15) & _MASK
        state ^= state >> 30
        state = (state * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def unit(*keys: int) -> float:
    """A uniform value in [0, 1) from whole numbers."""
    return (mix(*keys) >> 11) / 9007199254740992.0


def generator(*keys: int) -> np.random.Generator:
    """A random generator that depends on the whole numbers alone."""
    return np.random.Generator(np.random.PCG64(mix(*keys)))


@dataclass(frozen=True, slots=True, eq=False)
class Road:
    """A piece of road: (N, 2) centreline in metres, (N,) half widths (flared at its ends) and its class.

    `kind` is 0 lane, 1 street, 2 avenue; `trim_m` is how much of each end belongs to a junction.
    """

    line_m: Floats
    half_m: Floats
    kind: int
    half_width_m: float
    key: int
    trim_m: tuple[float, float] = (0.0, 0.0)


class Network:
    """Rows, columns and the warp that lays them on the ground."""

    def __init__(self, seed: int, cell_m: float, angle: float, bend: float, width_scale: float) -> None:
        self.seed, self.cell_m, self.width_scale = seed, cell_m, width_scale
        self._turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        rng = generator(seed, 1)
        waves = rng.uniform(900, 2600, 6)
        heading = rng.uniform(0, 2 * np.pi, 6)
        self._wave = np.stack([np.cos(heading), np.sin(heading)]) * (2 * np.pi / waves)  # (2, 6)
        self._phase = rng.uniform(0, 2 * np.pi, 6)
        self._amplitude = bend * waves / (2 * np.pi) * rng.uniform(0.5, 1, 6)

    # --- lattice → ground ---------------------------------------------------------------------------------------

    def ground(self, a: ArrayLike, b: ArrayLike) -> Floats:
        """Lattice coordinates → (N, 2) metres."""
        flat = np.stack([np.asarray(a, np.float64), np.asarray(b, np.float64)], -1) * self.cell_m
        move = np.sin(flat @ self._wave + self._phase) * self._amplitude
        return np.asarray((flat + np.stack([move[..., :3].sum(-1), move[..., 3:].sum(-1)], -1)) @ self._turn)

    def lattice(self, points_m: Floats) -> Floats:
        """(N, 2) metres → (N, 2) lattice coordinates, by fixed-point iteration (the warp is gentle: it converges)."""
        ab = points_m @ self._turn.T / self.cell_m
        for _ in range(10):
            ab = ab + (points_m - self.ground(ab[:, 0], ab[:, 1])) @ self._turn.T / self.cell_m * 0.8
        return np.asarray(ab)

    def cells_near(self, low_m: Floats, high_m: Floats) -> list[tuple[int, int]]:
        """The cells that may touch a box on the ground, row by row."""
        ab = self.lattice(low_m + _EDGE * (high_m - low_m))
        (a0, b0), (a1, b1) = np.floor(ab.min(0) - (1.5, 1.35)), np.floor(ab.max(0) + np.array((0.5, 0.35)))
        return [(i, j) for j in range(int(b0), int(b1) + 1) for i in range(int(a0), int(a1) + 1)]

    # --- rows and columns ---------------------------------------------------------------------------------------

    def _wobble(self, line: int, position: Floats, salt: int, size: float) -> Floats:
        low = int(np.floor(position.min())) - 1
        high = int(np.floor(position.max())) + 2
        knots = np.array([unit(self.seed, salt, line, k) - 0.5 for k in range(low, high + 1)]) * size
        k = np.floor(position).astype(np.int64)
        f = position - k
        p0, p1, p2, p3 = (knots[k - low + n] for n in (-1, 0, 1, 2))
        return np.asarray(
            p1 + 0.5 * f * (p2 - p0 + f * (2 * p0 - 5 * p1 + 4 * p2 - p3 + f * (3 * (p1 - p2) + p3 - p0)))
        )

    def row(self, j: int, a: Floats) -> Floats:
        """B of row j at lattice positions a."""
        return j + (unit(self.seed, 11, j) - 0.5) * 0.4 + self._wobble(j, a, 12, 0.14)

    def column(self, i: int, j: int, t: Floats) -> Floats:
        """A of column i in the strip below row j, t in [0, 1] from row j to row j + 1."""
        base = i + (unit(self.seed, 21, i) - 0.5) * 0.3
        if self.kind(1, i) == 2 or unit(self.seed, 22, i, j) < 0.4:
            return base + self._wobble(i, j + t, 23, 0.12)
        jog = (unit(self.seed, 24, i, j) - 0.5) * 0.42
        bow = (unit(self.seed, 25, i, j) - 0.5) * 0.16
        return base + jog + bow * 4 * t * (1 - t)

    def kind(self, axis: int, line: int) -> int:
        """Class of row (axis 0) or column (axis 1) `line`: 1 street, 2 avenue."""
        return 2 if unit(self.seed, 31, axis, line) < 0.27 else 1

    def half_width_m(self, axis: int, line: int) -> float:
        """Half the width of row or column `line`."""
        u = unit(self.seed, 32, axis, line)
        return self.width_scale * (9.5 + 7.5 * u if self.kind(axis, line) == 2 else 3.8 + 4.2 * u)

    def exists(self, axis: int, i: int, j: int) -> bool:
        """Whether the road along the top (axis 0) or the left side (axis 1) of cell (i, j) was built."""
        line = j if axis == 0 else i
        return self.kind(axis, line) == 2 or unit(self.seed, 33, axis, i, j) >= (0.1 if axis == 0 else 0.16)

    def roundabout_m(self, i: int, j: int) -> float:
        """Radius of the roundabout at the upper left corner of cell (i, j), 0 for none."""
        if self.kind(0, j) != 2 or self.kind(1, i) != 2 or unit(self.seed, 34, i, j) > 0.3:
            return 0.0
        return 1.25 * max(self.half_width_m(0, j), self.half_width_m(1, i)) + 6.0


@dataclass(slots=True, eq=False)
class Cell:
    """The ground between two rows and two columns, with (s, t) in [0, 1] across and down."""

    network: Network
    i: int
    j: int
    grid: Floats = field(init=False)  # (G, G, 2) metres at equal steps of t, s
    size_m: tuple[float, float] = field(init=False)
    box_m: Floats = field(init=False)  # (2, 2) lower and upper corner

    def __post_init__(self) -> None:
        knots = np.linspace(0, 1, GRID)
        t, s = np.meshgrid(knots, knots, indexing="ij")
        a, b = self._lattice(s.ravel(), t.ravel())
        self.grid = self.network.ground(a, b).reshape(GRID, GRID, 2)
        self.box_m = np.stack([self.grid.min((0, 1)), self.grid.max((0, 1))])
        middle = GRID // 2
        across = np.hypot(*np.diff(self.grid[middle], axis=0).T).sum()
        down = np.hypot(*np.diff(self.grid[:, middle], axis=0).T).sum()
        self.size_m = (float(across), float(down))

    def _lattice(self, s: Floats, t: Floats) -> tuple[Floats, Floats]:
        left, right = (self.network.column(i, self.j, t) for i in (self.i, self.i + 1))
        a = left + s * (right - left)
        top, bottom = self.network.row(self.j, a), self.network.row(self.j + 1, a)
        return a, top + t * (bottom - top)

    def at(self, s: ArrayLike, t: ArrayLike) -> Floats:
        """(N,) s and t → (N, 2) metres, by the cell's grid."""
        fs = np.asarray(s, np.float64) * (GRID - 1)
        ft = np.asarray(t, np.float64) * (GRID - 1)
        ks = np.minimum(np.maximum(fs.astype(np.int64), 0), GRID - 2)
        kt = np.minimum(np.maximum(ft.astype(np.int64), 0), GRID - 2)
        fs, ft = (fs - ks)[..., None], (ft - kt)[..., None]
        g = self.grid
        upper = g[kt, ks] * (1 - fs) + g[kt, ks + 1] * fs
        lower = g[kt + 1, ks] * (1 - fs) + g[kt + 1, ks + 1] * fs
        return np.asarray(upper * (1 - ft) + lower * ft)

    def insets_m(self) -> tuple[float, float, float, float]:
        """Half widths of the roads at the left, top, right and bottom; 0 where none was built."""
        n, i, j = self.network, self.i, self.j
        sides = ((1, i, j, i), (0, i, j, j), (1, i + 1, j, i + 1), (0, i, j + 1, j + 1))
        return tuple(n.half_width_m(axis, line) if n.exists(axis, ci, cj) else 0.0 for axis, ci, cj, line in sides)  # type: ignore[return-value]

    def _trim(self, axis: int, i: int, j: int) -> float:
        """Half width of what a road meets at corner (i, j), where the road met runs along `axis`; 0 for nothing."""
        n = self.network
        own = n.half_width_m(axis, j if axis == 0 else i) if n.exists(axis, i, j) else 0.0
        return max(own, n.roundabout_m(i, j))

    def roads(self) -> list[Road]:
        """The roads along the top and the left side, where built."""
        n, i, j = self.network, self.i, self.j
        found: list[Road] = []
        knots = np.linspace(0, 1, 15)
        if n.exists(0, i, j):
            a0, a1 = (float(n.column(k, j, np.zeros(1))[0]) for k in (i, i + 1))
            a = a0 + knots * (a1 - a0)
            line = n.ground(a, n.row(j, a))
            trims = [self._trim(1, k, j) for k in (i, i + 1)]
            found.append(make_road(line, n.kind(0, j), n.half_width_m(0, j), mix(n.seed, 41, i, j), trims))
        if n.exists(1, i, j):
            a, b = self._lattice(np.zeros(15), knots)
            trims = [self._trim(0, i, k) for k in (j, j + 1)]
            found.append(make_road(n.ground(a, b), n.kind(1, i), n.half_width_m(1, i), mix(n.seed, 42, i, j), trims))
        return found


GRID = 11  # knots of a cell's grid along one side
_EDGE = np.array([[u, v] for u in np.linspace(0, 1, 5) for v in np.linspace(0, 1, 5) if u in (0, 1) or v in (0, 1)])


def make_road(line_m: Floats, kind: int, half_width_m: float, key: int, trims_m: Sequence[float]) -> Road:
    """A road whose ends open into the roads that they meet, as kerbs do.

    Args:
        line_m: (N, 2) centreline from crossing to crossing.
        kind: 0 lane, 1 street, 2 avenue.
        half_width_m: of the road away from its ends.
        key: the road's own seed.
        trims_m: half widths of the roads met at the start and the end, 0 for a free end.
    """
    step = np.hypot(*np.diff(line_m, axis=0).T)
    arc = np.concatenate([[0.0], np.cumsum(step)])
    total = float(arc[-1])
    radius = min(1.0 + 0.55 * half_width_m, 6.0)
    extra = [t + r for t in trims_m if t > 0 for r in (0.0, 0.25 * radius, 0.6 * radius, radius)]
    ends = [t for t in extra[:4]] if trims_m[0] > 0 else []
    tails = [total - t for t in extra[-4:]] if trims_m[1] > 0 else []
    stations = np.unique(np.clip(np.concatenate([arc, ends, tails]), 0, total))
    line = np.stack([np.interp(stations, arc, line_m[:, k]) for k in (0, 1)], 1)
    half = np.full(len(stations), half_width_m)
    for trim, distance in ((trims_m[0], stations), (trims_m[1], total - stations)):
        if trim > 0:
            opening = np.clip(1 - (distance - trim) / radius, 0, 1)
            half = np.maximum(half, half_width_m + radius * (1 - np.sqrt(1 - opening**2)))
    return Road(line, half, kind, half_width_m, key, (float(trims_m[0]), float(trims_m[1])))
