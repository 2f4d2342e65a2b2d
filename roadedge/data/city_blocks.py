"""The plan between the roads: lanes divide a cell into blocks, and its district says what each block holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from roadedge.data.city_plan import Cell, Floats, Road, make_road, mix, unit


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A rectangle [s0, s1] x [t0, t1] of a cell, free of roads; `size_m` is its width and depth in metres."""

    cell: Cell
    s0: float
    t0: float
    s1: float
    t1: float
    size_m: tuple[float, float]
    kind: str = ""  # what it holds: a key of a district's weights
    district_key: int = 0

    def at(self, u_m: ArrayLike, v_m: ArrayLike) -> Floats:
        """Metres from the block's corner, across and down → (N, 2) metres on the ground."""
        s = self.s0 + np.asarray(u_m, np.float64) / self.size_m[0] * (self.s1 - self.s0)
        t = self.t0 + np.asarray(v_m, np.float64) / self.size_m[1] * (self.t1 - self.t0)
        return self.cell.at(s, t)

    def along(self, u_m: Floats, v_m: Floats) -> Floats:
        """(N, 2) unit vectors across the block at these places."""
        step = self.at(u_m + 1.0, v_m) - self.at(u_m - 1.0, v_m)
        return np.asarray(step / np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)[:, None])

    def outline(self, grow_m: float = 0.0) -> Floats:
        """(1, 24, 2) the block's border, moved outwards."""
        w, h = self.size_m
        k = np.linspace(0, 1, 6, endpoint=False)
        u = np.concatenate([k * w, np.full(6, w), w - k * w, np.zeros(6)])
        v = np.concatenate([np.zeros(6), k * h, np.full(6, h), h - k * h])
        u = u + np.where(u <= 0, -grow_m, np.where(u >= w, grow_m, 0))
        v = v + np.where(v <= 0, -grow_m, np.where(v >= h, grow_m, 0))
        return self.at(u, v)[None]

    def shrunk(self, inset_m: float) -> Block:
        """The block less a border of this width."""
        w, h = self.size_m
        du, dv = inset_m / w * (self.s1 - self.s0), inset_m / h * (self.t1 - self.t0)
        size = (w - 2 * inset_m, h - 2 * inset_m)
        return Block(
            self.cell, self.s0 + du, self.t0 + dv, self.s1 - du, self.t1 - dv, size, self.kind, self.district_key
        )


def boxes_of(cell: Cell, blocks: Sequence[Block]) -> Floats:
    """(N, 2, 2) lower and upper corners of boxes around a cell's blocks, in metres."""
    if not blocks:
        return np.zeros((0, 2, 2))
    s0, t0, s1, t1 = np.array([(b.s0, b.t0, b.s1, b.t1) for b in blocks]).T
    s, t = (s0 + s1) / 2, (t0 + t1) / 2
    around = cell.at(np.stack([s0, s, s1, s1, s1, s, s0, s0], 1), np.stack([t0, t0, t0, t, t1, t1, t1, t], 1))
    return np.stack([around.min(1) - 1.0, around.max(1) + 1.0], 1)


def divide(cell: Cell, district_name: str, district_key: int) -> tuple[list[Road], list[Block]]:
    """Divide a cell by lanes into blocks of 40-170 m, some of the lanes dead ends."""
    roads: list[Road] = []
    blocks: list[Block] = []
    key = mix(cell.network.seed, 51, cell.i, cell.j)
    left, top, right, bottom = cell.insets_m()
    width, height = cell.size_m
    whole = (left / width, top / height, 1 - right / width, 1 - bottom / height)
    stack = [(whole, (0.0, 0.0, 1.0, 1.0), (left, top, right, bottom), 0)]
    while stack:
        (s0, t0, s1, t1), (es0, et0, es1, et1), meets, depth = stack.pop()
        w, h = (s1 - s0) * width, (t1 - t0) * height
        if w < 12 or h < 12:
            continue
        limit = 72 + 100 * unit(key, 1, len(roads), len(blocks))
        if max(w, h) < limit or depth > 3:
            kind = _pick(DISTRICTS[district_name], unit(key, 7, len(blocks)))
            blocks.append(Block(cell, s0, t0, s1, t1, (w, h), kind, district_key))
            continue
        across = w > h
        place = 0.36 + 0.28 * unit(key, 2, len(roads), len(blocks))
        half = cell.network.width_scale * (2.3 + 1.9 * unit(key, 3, len(roads), len(blocks)))
        end = 0.62 + 0.2 * unit(key, 5, depth) if unit(key, 4, len(roads), len(blocks)) < 0.16 else 1.0
        if across:
            s = s0 + place * (s1 - s0)
            reach = et1 if end == 1 else t0 + end * (t1 - t0)
            line = cell.at(np.full(12, s), np.linspace(et0, reach, 12))
            trims = (meets[1], meets[3] if end == 1 else 0.0)
            edge = half / width
            stack.append(((s0, t0, s - edge, t1), (es0, et0, s, et1), (meets[0], meets[1], half, meets[3]), depth + 1))
            stack.append(((s + edge, t0, s1, t1), (s, et0, es1, et1), (half, meets[1], meets[2], meets[3]), depth + 1))
        else:
            t = t0 + place * (t1 - t0)
            reach = es1 if end == 1 else s0 + end * (s1 - s0)
            line = cell.at(np.linspace(es0, reach, 12), np.full(12, t))
            trims = (meets[0], meets[2] if end == 1 else 0.0)
            edge = half / height
            stack.append(((s0, t0, s1, t - edge), (es0, et0, es1, t), (meets[0], meets[1], meets[2], half), depth + 1))
            stack.append(((s0, t + edge, s1, t1), (es0, t, es1, et1), (meets[0], half, meets[2], meets[3]), depth + 1))
        roads.append(make_road(line, 0, half, mix(key, 6, len(roads)), trims))
    return roads, blocks


Weights = dict[str, float]
DISTRICTS: dict[str, Weights] = {
    "suburb": {"houses": 8, "park": 1, "carpark": 0.35, "halls": 0.4, "slabs": 0.5, "field": 0.4, "sports": 0.4},
    "estates": {"slabs": 7, "park": 1, "carpark": 0.5, "halls": 1, "old": 0.6, "sports": 0.6},
    "industry": {"halls": 6, "carpark": 1.0, "field": 1.4, "old": 0.4},
    "centre": {"towers": 4, "halls": 2.5, "carpark": 0.9, "park": 0.9, "slabs": 1.5},
    "old town": {"old": 7, "slabs": 1.2, "park": 0.4, "carpark": 0.4, "houses": 1},
    "fringe": {"field": 4, "water": 1.2, "halls": 1.2, "houses": 1, "park": 1, "carpark": 0.3},
}
DISTRICT_SHARES = {"suburb": 0.26, "estates": 0.22, "industry": 0.15, "centre": 0.12, "old town": 0.14, "fringe": 0.11}


def district(seed: int, i: int, j: int) -> tuple[str, int]:
    """Kind of the district that cell (i, j) lies in, and the district's key: the nearest of jittered centres."""
    best, key = 1e9, 0
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            ci, cj = i // 3 + di, j // 3 + dj
            x = (ci + unit(seed, 61, ci, cj)) * 3 - i
            y = (cj + unit(seed, 62, ci, cj)) * 3 - j
            if x * x + y * y < best:
                best, key = x * x + y * y, mix(seed, 63, ci, cj)
    return _pick(DISTRICT_SHARES, unit(key, 1)), key


def _pick(weights: Weights, u: float) -> str:
    names = list(weights)
    edges = np.cumsum(list(weights.values()))
    return names[min(int(np.searchsorted(edges, u * edges[-1], side="right")), len(names) - 1)]


def car_parks(blocks: Sequence[Block]) -> list[tuple[Floats, float]]:
    """Centre and half the shorter side, in metres, of the car parks among a cell's blocks."""
    parks = [b for b in blocks if b.kind == "carpark"]
    return [(b.at([b.size_m[0] / 2], [b.size_m[1] / 2])[0], min(b.size_m) / 2) for b in parks]
