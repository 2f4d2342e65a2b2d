"""What stands between the roads: lanes that divide a cell into blocks, and houses, halls, car parks, parks on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roadedge.data.city_look import FAMILIES, ROOFS, Look
from roadedge.data.city_plan import Cell, Road, generator, make_road, mix, unit
from roadedge.data.city_roads import paint_vehicles
from roadedge.data.city_sheet import ASPHALT, GRASS, LEAVES, PAVING, ROOF, SOIL, Layer, Sheet, blobs, rectangles, ribbon

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A rectangle [s0, s1] x [t0, t1] of a cell, free of roads; `size_m` is its width and depth in metres."""

    cell: Cell
    s0: float
    t0: float
    s1: float
    t1: float
    size_m: tuple[float, float]

    def at(self, u_m: ArrayLike, v_m: ArrayLike) -> Floats:
        """Metres from the block's corner, across and down → (N, 2) metres on the ground."""
        s = self.s0 + np.asarray(u_m, np.float64) / self.size_m[0] * (self.s1 - self.s0)
        t = self.t0 + np.asarray(v_m, np.float64) / self.size_m[1] * (self.t1 - self.t0)
        return self.cell.at(s, t)

    def along(self, u_m: Floats, v_m: Floats) -> Floats:
        """(N, 2) unit vectors across the block at these places."""
        step = self.at(u_m + 1.0, v_m) - self.at(u_m - 1.0, v_m)
        return np.asarray(step / np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)[:, None])

    def box_m(self) -> Floats:
        """(2, 2) lower and upper corner of a box around the block."""
        outline = self.outline()[0]
        return np.stack([outline.min(0), outline.max(0)])

    def outline(self, grow_m: float = 0.0) -> Floats:
        """(1, 24, 2) the block's border, moved outwards."""
        w, h = self.size_m
        k = np.linspace(0, 1, 6, endpoint=False)
        u = np.concatenate([k * w, np.full(6, w), w - k * w, np.zeros(6)])
        v = np.concatenate([np.zeros(6), k * h, np.full(6, h), h - k * h])
        u = u + np.where(u <= 0, -grow_m, np.where(u >= w, grow_m, 0))
        v = v + np.where(v <= 0, -grow_m, np.where(v >= h, grow_m, 0))
        return self.at(u, v)[None]


def divide(cell: Cell) -> tuple[list[Road], list[Block]]:
    """Divide a cell by lanes into blocks of 50-120 m, some of the lanes dead ends."""
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
        limit = 62 + 90 * unit(key, 1, len(roads), len(blocks)) ** 1.5
        if max(w, h) < limit or depth > 3:
            blocks.append(Block(cell, s0, t0, s1, t1, (w, h)))
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


# --- districts --------------------------------------------------------------------------------------------------

Weights = dict[str, float]
DISTRICTS: dict[str, Weights] = {
    "suburb": {"houses": 8, "park": 1, "carpark": 0.4, "halls": 0.4, "slabs": 0.5, "field": 0.4},
    "estates": {"slabs": 7, "park": 1, "carpark": 0.7, "halls": 1, "old": 0.6},
    "industry": {"halls": 6, "carpark": 1.6, "field": 1.4, "old": 0.4},
    "centre": {"towers": 4, "halls": 2.5, "carpark": 1.4, "park": 0.9, "slabs": 1.5},
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


def block_kind(block: Block, number: int) -> str:
    """What a cell's block of this number holds; a key of FILLS."""
    cell = block.cell
    name, _ = district(cell.network.seed, cell.i, cell.j)
    return _pick(DISTRICTS[name], unit(cell.network.seed, 72, cell.i, cell.j, number))


def car_parks(blocks: Sequence[Block]) -> list[tuple[Floats, float]]:
    """Centre and half the shorter side, in metres, of the car parks among a cell's blocks."""
    parks = [b for k, b in enumerate(blocks) if block_kind(b, k) == "carpark"]
    return [(b.at([b.size_m[0] / 2], [b.size_m[1] / 2])[0], min(b.size_m) / 2) for b in parks]


def paint_ground(sheet: Sheet, cell: Cell, look: Look) -> None:
    """Paint the ground of a whole cell, on which blocks and roads lie."""
    tint = 0.92 + 0.13 * unit(cell.network.seed, 73, cell.i, cell.j)
    whole = Block(cell, 0, 0, 1, 1, cell.size_m)
    sheet.add(Layer.GROUND, whole.outline(0.5), (look.grass + look.soil) / 2 * tint, SOIL)


def paint_block(sheet: Sheet, block: Block, number: int, look: Look) -> None:
    """Paint the block of this number of its cell."""
    cell = block.cell
    _, key = district(cell.network.seed, cell.i, cell.j)
    family = list(FAMILIES)[int(unit(key, 2) * len(FAMILIES))]
    rng = generator(cell.network.seed, 71, cell.i, cell.j, number)
    kind = block_kind(block, number)
    FILLS[kind](sheet, _shrunk(block, min(3.0, 0.1 * min(block.size_m))), look, rng, family)
    if kind not in ("field", "water"):
        _street_trees(sheet, block, look, rng)


def _shrunk(block: Block, inset_m: float) -> Block:
    w, h = block.size_m
    du, dv = inset_m / w * (block.s1 - block.s0), inset_m / h * (block.t1 - block.t0)
    size = (w - 2 * inset_m, h - 2 * inset_m)
    return Block(block.cell, block.s0 + du, block.t0 + dv, block.s1 - du, block.t1 - dv, size)


# --- buildings and trees ----------------------------------------------------------------------------------------


def roof_colours(count: int, family: str, rng: np.random.Generator) -> Floats:
    """(N, 3) roof colours: mostly of the district's family."""
    own = ROOFS[FAMILIES[family]]
    pick = own[rng.integers(0, len(own), count)]
    other = rng.random(count) < 0.4
    pick = np.where(other[:, None], ROOFS[rng.integers(0, len(ROOFS), count)], pick)
    return pick + rng.normal(0, 7, (count, 1)) + rng.normal(0, 3, (count, 3))


def paint_buildings(
    sheet: Sheet, foot: Floats, height_m: Floats, colours: Floats, look: Look, rng: np.random.Generator, gabled: bool
) -> None:
    """Shadows, roofs and what is on them, for (N, 4, 2) footprints."""
    sheet.shade(Layer.SHADE, foot, look.sun * height_m[:, None] * look.height_scale)
    long = foot[:, 1] - foot[:, 0]
    wide = foot[:, 3] - foot[:, 0]
    if gabled:
        ridge0, ridge1 = (foot[:, 0] + foot[:, 3]) / 2, (foot[:, 1] + foot[:, 2]) / 2
        hip = np.where(rng.random(len(foot)) < 0.5, 0.0, 0.5)[:, None] * wide[:, ::1]
        reach = np.hypot(hip[:, 0], hip[:, 1]) / np.maximum(np.hypot(long[:, 0], long[:, 1]), 1e-6)
        ridge0, ridge1 = ridge0 + long * np.minimum(reach, 0.45)[:, None], ridge1 - long * np.minimum(reach, 0.45)[:, None]
        facing = wide / np.maximum(np.hypot(wide[:, 0], wide[:, 1]), 1e-6)[:, None] @ look.sun
        lit = np.clip(facing / max(float(np.hypot(*look.sun)), 1e-6), -1, 1)[:, None]
        sheet.add(Layer.ROOF, foot, colours * 0.94, ROOF)
        sheet.add(Layer.ROOFTOP, np.stack([foot[:, 0], foot[:, 1], ridge1, ridge0], 1), colours * (1 + 0.2 * lit), ROOF)
        sheet.add(Layer.ROOFTOP, np.stack([foot[:, 3], foot[:, 2], ridge1, ridge0], 1), colours * (1 - 0.2 * lit), ROOF)
        return
    sheet.add(Layer.ROOF, foot, colours * 1.12 + 6, ROOF)  # the parapet catches the light
    centre = foot.mean(1, keepdims=True)
    shrink = 1 - 1.0 / np.maximum(np.hypot(wide[:, 0], wide[:, 1]), 4.0)
    inner = centre + (foot - centre) * shrink[:, None, None]
    sheet.add(Layer.ROOFTOP, inner, colours, ROOF)
    _roof_plant(sheet, foot, colours, look, rng)


def _roof_plant(sheet: Sheet, foot: Floats, colours: Floats, look: Look, rng: np.random.Generator) -> None:
    """Stair heads, fans and skylights."""
    count = rng.poisson(np.clip(_area(foot) / 130, 0.4, 14))
    owner = np.repeat(np.arange(len(foot)), count)
    if len(owner) == 0:
        return
    f = foot[owner]
    u, v = rng.uniform(0.14, 0.86, (2, len(owner), 1))
    centres = f[:, 0] + (f[:, 1] - f[:, 0]) * u + (f[:, 3] - f[:, 0]) * v
    along = f[:, 1] - f[:, 0]
    along = along / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
    units = rectangles(centres, along, rng.uniform(0.9, 4.0, len(owner)), rng.uniform(0.9, 2.6, len(owner)))
    sheet.add(Layer.ROOFTOP, units + look.sun * 1.3, colours[owner] * 0.5)
    sheet.add(Layer.ROOFTOP, units, colours[owner] * rng.uniform(0.75, 1.35, (len(owner), 1)) + 10)


def _area(foot: Floats) -> Floats:
    a, b = foot[:, 1] - foot[:, 0], foot[:, 3] - foot[:, 0]
    return np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def paint_trees(sheet: Sheet, centres: Floats, radius_m: Floats, look: Look, rng: np.random.Generator) -> None:
    """Crowns with their shadows, lit from the sun's side; a share may be leafless."""
    if len(centres) == 0:
        return
    crown = blobs(centres, radius_m, rng)
    colour = look.crown + rng.normal(0, 8, (len(centres), 1)) + rng.normal(0, 4, (len(centres), 3))
    bare = rng.random(len(centres)) < look.leafless
    colour[bare] = (look.soil * 0.72 + rng.normal(0, 6, (len(centres), 1)))[bare]
    shift = look.sun * (1.3 * radius_m[:, None] + 1.0)
    sheet.add(Layer.TREE_SHADE, (crown + shift[:, None])[~bare], 0.0)
    sheet.add(Layer.CROWN, crown[~bare], colour[~bare], LEAVES)
    sheet.add(Layer.CROWN, blobs(centres, radius_m * 0.7, rng, 7)[bare], colour[bare], LEAVES)
    light = -look.sun / max(float(np.hypot(*look.sun)), 1e-6)
    top = blobs(centres + light * radius_m[:, None] * 0.28, radius_m * 0.58, rng, 7)
    sheet.add(Layer.LEAVES, top[~bare], (colour * 1.28 + 6)[~bare], LEAVES)


def _scatter_trees(
    sheet: Sheet, block: Block, per_ha: float, look: Look, rng: np.random.Generator, size_m: tuple[float, float] = (1.6, 4.6)
) -> None:
    w, h = block.size_m
    count = rng.poisson(w * h / 1e4 * per_ha * look.greenery)
    centres = block.at(rng.uniform(0, w, count), rng.uniform(0, h, count))
    paint_trees(sheet, centres, rng.uniform(*size_m, count), look, rng)


def _street_trees(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator) -> None:
    """A row of trees along some of the sides, their crowns over the road."""
    w, h = block.size_m
    for side in range(4):
        if rng.random() > 0.42 * look.greenery:
            continue
        length = w if side % 2 == 0 else h
        pitch = rng.uniform(6, 13)
        place = np.arange(4.0, length - 4.0, pitch)
        place = place[rng.random(len(place)) < 0.8] + 0.0
        edge = rng.normal(1.0, 0.6, len(place))
        u, v = {0: (place, edge), 1: (w - edge, place), 2: (place, h - edge), 3: (edge, place)}[side]
        paint_trees(sheet, block.at(u, v), rng.uniform(1.5, 3.6, len(place)), look, rng)


# --- fillings ---------------------------------------------------------------------------------------------------


def _houses(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """Detached houses in two rows that front the long sides, with drives and gardens."""
    sheet.add(Layer.YARD, block.outline(), look.grass * rng.uniform(0.9, 1.1), GRASS)
    w, h = block.size_m
    turned = h > w
    run, depth = (h, w) if turned else (w, h)
    pitch = rng.uniform(12.5, 18)
    count = int(run / pitch)
    if count < 1 or depth < 14:
        return _park(sheet, block, look, rng, family)
    lots = (np.arange(count) + 0.5) * run / count
    sides = (0, 1) if depth > 34 else (0,)
    for side in sides:
        keep = rng.random(count) < 0.94
        place = (lots + rng.normal(0, 0.7, count))[keep]
        n = len(place)
        deep = np.minimum(rng.uniform(10, 15, n), depth / (2 if len(sides) == 2 else 1) - 5)
        setback = rng.uniform(3.0, 6.5) + deep / 2
        off = setback + rng.normal(0, 0.5, n)
        v = off if side == 0 else depth - off
        u, vv = (v, place) if turned else (place, v)
        along = block.along(u, vv)
        if turned:
            along = np.stack([-along[:, 1], along[:, 0]], 1)
        centres = block.at(u, vv)
        wide = np.minimum(rng.uniform(8.5, 12.5, n), run / count - 2.0)
        foot = rectangles(centres, along, wide, deep)
        colours = roof_colours(n, family, rng)
        front = (place + rng.uniform(-0.3, 0.3, n) * wide, np.full(n, off.mean() / 2 - 1.0 if n else 0.0))
        fv = front[1] if side == 0 else depth - front[1]
        drive_at = block.at(fv, front[0]) if turned else block.at(front[0], fv)
        drives = rectangles(drive_at, along, 3.2, off.mean() + 2.0 if n else 1.0)
        sheet.add(Layer.DRIVE, drives, look.pavement + rng.normal(12, 8, (n, 1)), PAVING)
        parked = rng.random(n) < 0.4
        paint_vehicles(sheet, drive_at[parked], np.stack([-along[:, 1], along[:, 0]], 1)[parked], look, rng, 0.0)
        paint_buildings(sheet, foot, rng.uniform(4, 7, n), colours, look, rng, gabled=True)
    _scatter_trees(sheet, block, 26, look, rng)


def _slabs(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """Long blocks of flats in parallel rows."""
    ground = look.pavement * 0.55 + look.soil * 0.45 if rng.random() < 0.6 else look.grass
    sheet.add(Layer.YARD, block.outline(), ground * rng.uniform(0.9, 1.08), PAVING if ground is not look.grass else GRASS)
    w, h = block.size_m
    height = rng.uniform(12, 30)
    deep = rng.uniform(10, 14)
    rows = max(1, int(h / (deep + height * 0.6 + 10)))
    columns = max(1, int(w / rng.uniform(36, 60)))
    u, v = np.meshgrid((np.arange(columns) + 0.5) * w / columns, (np.arange(rows) + 0.5) * h / rows)
    u, v = u.ravel(), v.ravel()
    keep = rng.random(len(u)) < 0.93
    u, v = u[keep], v[keep]
    n = len(u)
    foot = rectangles(block.at(u, v), block.along(u, v), w / columns - rng.uniform(5, 10), np.minimum(deep, h / rows - 6))
    paths = rectangles(block.at(u, v + h / rows / 2), block.along(u, v), w / columns, 3.4)
    sheet.add(Layer.DRIVE, paths, look.pavement * rng.uniform(0.92, 1.05), PAVING)
    colours = np.broadcast_to(roof_colours(1, family, rng), (n, 3)) + rng.normal(0, 5, (n, 1))
    count = rng.poisson(n * 4)
    cars = rng.integers(0, max(n, 1), count) if n else np.zeros(0, np.int64)
    at = block.at(u[cars] + rng.uniform(-0.45, 0.45, count) * w / columns, v[cars] + h / rows / 2 + 2.6)
    paint_vehicles(sheet, at, block.along(u[cars], v[cars]), look, rng, 0.0)
    paint_buildings(sheet, foot, np.full(n, height), colours, look, rng, gabled=bool(rng.random() < 0.25))
    _scatter_trees(sheet, block, 30, look, rng, (1.4, 3.4))


def _halls(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """One to four big flat roofs on paved ground, with a yard for cars and lorries."""
    ground = look.asphalt + rng.normal(14, 12) if rng.random() < 0.5 else look.pavement * 0.6 + look.soil * 0.4
    sheet.add(Layer.YARD, block.outline(), ground, PAVING)
    w, h = block.size_m
    columns, rows = max(1, round(w / rng.uniform(40, 75))), max(1, round(h / rng.uniform(35, 65)))
    u, v = np.meshgrid((np.arange(columns) + 0.5) * w / columns, (np.arange(rows) + 0.5) * h / rows)
    u, v = u.ravel(), v.ravel()
    n = len(u)
    fill_u, fill_v = rng.uniform(0.55, 0.86, (2, n))
    foot = rectangles(block.at(u, v), block.along(u, v), w / columns * fill_u, h / rows * fill_v)
    colours = roof_colours(n, "white" if rng.random() < 0.35 else family, rng)
    count = rng.poisson(w * h / 450)
    yard = block.at(rng.uniform(2, w - 2, count), rng.choice([2.5, h - 2.5], count))
    paint_vehicles(sheet, yard, np.broadcast_to(block.along(np.array([w / 2]), np.array([h / 2])), (count, 2)), look, rng, 0.3)
    ridges = [foot[:, [0, 3]] * (1 - f) + foot[:, [1, 2]] * f for f in (0.25, 0.5, 0.75)]
    paint_buildings(sheet, foot, rng.uniform(6, 13, n), colours, look, rng, gabled=bool(rng.random() < 0.3))
    if rng.random() < 0.5:
        for ridge in ridges:
            across = ridge[:, 1] - ridge[:, 0]
            long = np.hypot(across[:, 0], across[:, 1])
            strip = rectangles(ridge.mean(1), across / np.maximum(long, 1e-6)[:, None], long * 0.9, 1.0)
            sheet.add(Layer.ROOFTOP, strip, colours * rng.choice([0.75, 1.2]))
    _scatter_trees(sheet, block, 7, look, rng)


def _towers(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """High buildings over lower ones on a paved plaza."""
    sheet.add(Layer.YARD, block.outline(), look.pavement * rng.uniform(0.85, 1.1), PAVING)
    w, h = block.size_m
    columns, rows = max(1, round(w / rng.uniform(32, 50))), max(1, round(h / rng.uniform(32, 50)))
    u, v = np.meshgrid((np.arange(columns) + 0.5) * w / columns, (np.arange(rows) + 0.5) * h / rows)
    u, v = u.ravel(), v.ravel()
    n = len(u)
    along = block.along(u, v)
    base = rectangles(block.at(u, v), along, w / columns - rng.uniform(4, 11, n), h / rows - rng.uniform(4, 11, n))
    paint_buildings(sheet, base, rng.uniform(8, 18, n), roof_colours(n, family, rng), look, rng, gabled=False)
    tall = rng.random(n) < 0.5
    centre = block.at(u, v)[tall] + rng.normal(0, 2, (int(tall.sum()), 2))
    top = rectangles(centre, along[tall], rng.uniform(16, 24, len(centre)), rng.uniform(14, 20, len(centre)))
    paint_buildings(sheet, top, rng.uniform(28, 62, len(centre)), roof_colours(len(centre), family, rng), look, rng, False)
    _scatter_trees(sheet, block, 12, look, rng, (1.4, 3.0))


def _old(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """Small buildings wall to wall."""
    sheet.add(Layer.YARD, block.outline(), look.pavement * 0.6 + look.soil * 0.4, PAVING)
    w, h = block.size_m
    columns, rows = max(1, round(w / rng.uniform(11, 18))), max(1, round(h / rng.uniform(10, 15)))
    u, v = np.meshgrid((np.arange(columns) + 0.5) * w / columns, (np.arange(rows) + 0.5) * h / rows)
    keep = rng.random(u.size) < 0.85
    u, v = u.ravel()[keep] + rng.normal(0, 0.8, int(keep.sum())), v.ravel()[keep] + rng.normal(0, 0.8, int(keep.sum()))
    n = len(u)
    wide, deep = rng.uniform(0.62, 1.0, n) * w / columns, rng.uniform(0.5, 0.9, n) * h / rows
    foot = rectangles(block.at(u, v), block.along(u, v), wide, deep)
    paint_buildings(sheet, foot, rng.uniform(3, 8, n), roof_colours(n, family, rng), look, rng, bool(rng.random() < 0.6))
    _scatter_trees(sheet, block, 22, look, rng, (1.2, 3.2))


def _carpark(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """Asphalt like a road's, with stalls and cars: not road, and meant to be mistaken for it."""
    tone = look.asphalt + rng.normal(2, look.asphalt_spread)
    sheet.add(Layer.YARD, block.outline(), tone, ASPHALT)
    w, h = block.size_m
    rows = np.arange(5.0, h - 4.0, rng.uniform(8.2, 9.5))
    stalls = np.arange(4.0, w - 4.0, 2.7)
    if len(rows) == 0 or len(stalls) == 0:
        return
    u, v = (grid.ravel() for grid in np.meshgrid(stalls, rows))
    along = block.along(u, v)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    line = rectangles(block.at(u - 1.35, v), across, 4.8, 0.16)
    sheet.add(Layer.PAINT, line, 0.4 * tone + 0.6 * 200.0)
    taken = rng.random(len(u)) < rng.uniform(0.15, 0.85)
    paint_vehicles(sheet, block.at(u, v)[taken], across[taken], look, rng, 0.0)
    _scatter_trees(sheet, block, 9, look, rng, (1.2, 2.6))


def _park(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """Grass, trees, paths, now and then a pond."""
    sheet.add(Layer.YARD, block.outline(), look.grass * rng.uniform(0.9, 1.15), GRASS)
    w, h = block.size_m
    k = np.linspace(0.02, 0.98, 12)
    for _ in range(2):
        y0, y1, bend = rng.uniform(0.1, 0.9, 3)
        v = np.clip(y0 + (y1 - y0) * k + 0.3 * (bend - 0.5) * np.sin(np.pi * k), 0.02, 0.98)
        line = block.at(k * w, v * h) if rng.random() < 0.5 else block.at(v * w, k * h)
        sheet.add(Layer.DRIVE, ribbon(line, rng.uniform(0.8, 1.5)), look.pavement + 14, PAVING)
    if min(w, h) > 45 and rng.random() < 0.35:
        pond = blobs(block.at([w / 2], [h / 2]), min(w, h) * 0.25, rng, 14)
        sheet.add(Layer.DRIVE, pond, np.array([58.0, 76, 74]), 30)
    _scatter_trees(sheet, block, 75, look, rng, (1.8, 5.2))


def _field(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """Bare ground, crops or a building site."""
    base = look.soil if rng.random() < 0.6 else look.grass * 1.1
    sheet.add(Layer.YARD, block.outline(2.0), base * rng.uniform(0.85, 1.12), SOIL)
    w, h = block.size_m
    if rng.random() < 0.5:  # furrows
        for v in np.arange(2.0, h - 2, rng.uniform(3, 6)):
            line = block.at(np.linspace(1, w - 1, 8), np.full(8, v))
            sheet.add(Layer.YARD, ribbon(line, 0.6), base * rng.uniform(0.8, 0.95), SOIL)
    patches = rng.poisson(w * h / 700)
    centres = block.at(rng.uniform(6, max(7, w - 6), patches), rng.uniform(6, max(7, h - 6), patches))
    colour = base * rng.uniform(0.8, 1.18, (patches, 1))
    sheet.add(Layer.YARD, blobs(centres, rng.uniform(1.5, 7, patches), rng, 11), colour, SOIL)
    _scatter_trees(sheet, block, 8, look, rng)


def _water(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """A basin with a bank."""
    sheet.add(Layer.YARD, block.outline(1.0), look.soil, SOIL)
    green = rng.random()
    colour = (1 - green) * np.array([52.0, 70, 84]) + green * np.array([54.0, 84, 62])
    sheet.add(Layer.YARD, _shrunk(block, 4.0).outline(), colour, 36)
    _scatter_trees(sheet, block, 0, look, rng)


FILLS: dict[str, Callable[[Sheet, Block, Look, np.random.Generator, str], None]] = {
    "houses": _houses,
    "slabs": _slabs,
    "halls": _halls,
    "towers": _towers,
    "old": _old,
    "carpark": _carpark,
    "park": _park,
    "field": _field,
    "water": _water,
}
