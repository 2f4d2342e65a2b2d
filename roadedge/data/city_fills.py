"""Paint blocks: houses, flats, halls, towers, old quarters, car parks, parks, sports grounds, fields and water."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from roadedge.data.city_blocks import Block
from roadedge.data.city_buildings import (
    paint_buildings,
    paint_clutter,
    paint_fence,
    roof_colours,
    scatter_trees,
    street_trees,
)
from roadedge.data.city_look import FAMILIES, Look
from roadedge.data.city_plan import Cell, Floats, generator, unit
from roadedge.data.city_roads import paint_vehicles
from roadedge.data.city_sheet import ASPHALT, GRASS, PAVING, SOIL, Layer, Sheet, blobs, rectangles, ribbon


def paint_ground(sheet: Sheet, cell: Cell, look: Look) -> None:
    """Paint the ground of a whole cell, on which blocks and roads lie."""
    tint = 0.92 + 0.13 * unit(cell.network.seed, 73, cell.i, cell.j)
    whole = Block(cell, 0, 0, 1, 1, cell.size_m)
    sheet.add(Layer.GROUND, whole.outline(0.5), (look.grass + look.soil) / 2 * tint, SOIL)


def paint_block(sheet: Sheet, block: Block, number: int, look: Look) -> None:
    """Paint the block of this number of its cell."""
    cell = block.cell
    family = list(FAMILIES)[int(unit(block.district_key, 2) * len(FAMILIES))]
    rng = generator(cell.network.seed, 71, cell.i, cell.j, number)
    kind = block.kind
    FILLS[kind](sheet, block.shrunk(min(3.0, 0.1 * min(block.size_m))), look, rng, family)
    if kind not in ("carpark", "water") and rng.random() < 0.6:
        paint_fence(sheet, block.shrunk(min(2.6, 0.09 * min(block.size_m))), look, rng)
    if kind not in ("field", "water"):
        street_trees(sheet, block, look, rng)


def _raster(w: float, h: float, columns: int, rows: int) -> tuple[Floats, Floats]:
    """Centres of equal fields: (columns * rows,) across and down."""
    u, v = np.meshgrid((np.arange(columns) + 0.5) * w / columns, (np.arange(rows) + 0.5) * h / rows)
    return u.ravel(), v.ravel()


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
        wing = rng.random(n) < 0.45
        shift = along * (wide * rng.uniform(-0.25, 0.25, n))[:, None]
        annex = rectangles(centres + shift, along, wide * 0.55, deep * rng.uniform(1.15, 1.45, n))[wing]
        paint_buildings(sheet, annex, rng.uniform(3, 5, len(annex)), colours[wing] * 0.97, look, rng, gabled=True)
        paint_buildings(sheet, foot, rng.uniform(4, 7, n), colours, look, rng, gabled=True)
    paint_clutter(sheet, block, 26, look, rng)
    scatter_trees(sheet, block, 26, look, rng)


def _slabs(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """Long blocks of flats in parallel rows."""
    ground = look.pavement * 0.55 + look.soil * 0.45 if rng.random() < 0.6 else look.grass
    sheet.add(
        Layer.YARD, block.outline(), ground * rng.uniform(0.9, 1.08), PAVING if ground is not look.grass else GRASS
    )
    w, h = block.size_m
    height = rng.uniform(12, 30)
    deep = rng.uniform(10, 14)
    rows = max(1, int(h / (deep + height * 0.6 + 10)))
    columns = max(1, int(w / rng.uniform(36, 60)))
    u, v = _raster(w, h, columns, rows)
    keep = rng.random(len(u)) < 0.93
    u, v = u[keep], v[keep]
    n = len(u)
    foot = rectangles(
        block.at(u, v), block.along(u, v), w / columns - rng.uniform(5, 10), np.minimum(deep, h / rows - 6)
    )
    paths = rectangles(block.at(u, v + h / rows / 2), block.along(u, v), w / columns, 3.4)
    sheet.add(Layer.DRIVE, paths, look.pavement * rng.uniform(0.92, 1.05), PAVING)
    colours = np.broadcast_to(roof_colours(1, family, rng), (n, 3)) + rng.normal(0, 5, (n, 1))
    count = rng.poisson(n * 4)
    cars = rng.integers(0, max(n, 1), count) if n else np.zeros(0, np.int64)
    at = block.at(u[cars] + rng.uniform(-0.45, 0.45, count) * w / columns, v[cars] + h / rows / 2 + 2.6)
    paint_vehicles(sheet, at, block.along(u[cars], v[cars]), look, rng, 0.0)
    paint_buildings(sheet, foot, np.full(n, height), colours, look, rng, gabled=bool(rng.random() < 0.25))
    paint_clutter(sheet, block, 34, look, rng)
    scatter_trees(sheet, block, 30, look, rng, (1.4, 3.4))


def _halls(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """One to four big flat roofs on paved ground, with a yard for cars and lorries."""
    ground = look.asphalt + rng.normal(14, 12) if rng.random() < 0.5 else look.pavement * 0.6 + look.soil * 0.4
    sheet.add(Layer.YARD, block.outline(), ground, PAVING)
    w, h = block.size_m
    columns, rows = max(1, round(w / rng.uniform(40, 75))), max(1, round(h / rng.uniform(35, 65)))
    u, v = _raster(w, h, columns, rows)
    n = len(u)
    fill_u, fill_v = rng.uniform(0.55, 0.86, (2, n))
    foot = rectangles(block.at(u, v), block.along(u, v), w / columns * fill_u, h / rows * fill_v)
    colours = roof_colours(n, "white" if rng.random() < 0.35 else family, rng)
    count = rng.poisson(w * h / 450)
    yard = block.at(rng.uniform(2, w - 2, count), rng.choice([2.5, h - 2.5], count))
    paint_vehicles(
        sheet, yard, np.broadcast_to(block.along(np.array([w / 2]), np.array([h / 2])), (count, 2)), look, rng, 0.3
    )
    ridges = [foot[:, [0, 3]] * (1 - f) + foot[:, [1, 2]] * f for f in (0.25, 0.5, 0.75)]
    gabled = bool(rng.random() < 0.3)
    paint_buildings(sheet, foot, rng.uniform(6, 13, n), colours, look, rng, gabled)
    if not gabled and rng.random() < 0.6:
        for ridge in ridges:
            across = ridge[:, 1] - ridge[:, 0]
            long = np.hypot(across[:, 0], across[:, 1])
            strip = rectangles(ridge.mean(1), across / np.maximum(long, 1e-6)[:, None], long * 0.9, 1.0)
            sheet.add(Layer.ROOFTOP, strip, colours * rng.choice([0.75, 1.2]))
    paint_clutter(sheet, block, 70, look, rng)
    scatter_trees(sheet, block, 7, look, rng)


def _towers(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """High buildings over lower ones on a paved plaza."""
    sheet.add(Layer.YARD, block.outline(), look.pavement * rng.uniform(0.85, 1.1), PAVING)
    w, h = block.size_m
    columns, rows = max(1, round(w / rng.uniform(32, 50))), max(1, round(h / rng.uniform(32, 50)))
    u, v = _raster(w, h, columns, rows)
    n = len(u)
    along = block.along(u, v)
    base = rectangles(block.at(u, v), along, w / columns - rng.uniform(4, 11, n), h / rows - rng.uniform(4, 11, n))
    paint_buildings(sheet, base, rng.uniform(8, 18, n), roof_colours(n, family, rng), look, rng, gabled=False)
    tall = rng.random(n) < 0.5
    centre = block.at(u, v)[tall] + rng.normal(0, 2, (int(tall.sum()), 2))
    top = rectangles(centre, along[tall], rng.uniform(16, 24, len(centre)), rng.uniform(14, 20, len(centre)))
    paint_buildings(
        sheet, top, rng.uniform(28, 62, len(centre)), roof_colours(len(centre), family, rng), look, rng, False
    )
    scatter_trees(sheet, block, 12, look, rng, (1.4, 3.0))


def _old(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """Small buildings wall to wall."""
    sheet.add(Layer.YARD, block.outline(), look.pavement * 0.6 + look.soil * 0.4, PAVING)
    w, h = block.size_m
    columns, rows = max(1, round(w / rng.uniform(11, 18))), max(1, round(h / rng.uniform(10, 15)))
    u, v = _raster(w, h, columns, rows)
    keep = rng.random(len(u)) < 0.85
    u, v = (at[keep] + rng.normal(0, 0.8, int(keep.sum())) for at in (u, v))
    n = len(u)
    wide, deep = rng.uniform(0.62, 1.0, n) * w / columns, rng.uniform(0.5, 0.9, n) * h / rows
    foot = rectangles(block.at(u, v), block.along(u, v), wide, deep)
    paint_buildings(
        sheet, foot, rng.uniform(3, 8, n), roof_colours(n, family, rng), look, rng, bool(rng.random() < 0.6)
    )
    paint_clutter(sheet, block, 80, look, rng)
    scatter_trees(sheet, block, 22, look, rng, (1.2, 3.2))


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
    sheet.add(Layer.PAINT, line, 0.68 * tone + 0.32 * 205.0)
    taken = rng.random(len(u)) < rng.uniform(0.15, 0.85)
    paint_vehicles(sheet, block.at(u, v)[taken], across[taken], look, rng, 0.0)
    scatter_trees(sheet, block, 9, look, rng, (1.2, 2.6))


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
    scatter_trees(sheet, block, 75, look, rng, (1.8, 5.2))


def _sports(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """A running track around a pitch, or courts where it does not fit."""
    w, h = block.size_m
    if min(w, h) < 45:
        return _park(sheet, block, look, rng, family)
    sheet.add(Layer.YARD, block.outline(), look.pavement * rng.uniform(0.8, 1.0), PAVING)
    across = w >= h
    half_run, half_turn = (max(w, h) / 2 - 6, min(w, h) / 2 - 5)
    half_turn = min(half_turn, 0.62 * half_run)
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    track, pitch = np.array([146.0, 82, 66]) + rng.normal(0, 8), look.grass * [0.85, 1.12, 0.85]

    def stadium(shrink_m: float) -> Floats:
        turn = half_turn - shrink_m
        u = np.cos(angle) * turn + np.sign(np.cos(angle)) * (half_run - half_turn)
        v = np.sin(angle) * turn
        return block.at(w / 2 + u, h / 2 + v)[None] if across else block.at(w / 2 + v, h / 2 + u)[None]

    sheet.add(Layer.DRIVE, stadium(0), track, PAVING)
    for lane in (2.4, 4.8):
        sheet.add(Layer.DRIVE, stadium(lane), track * 0.7 + 60)
        sheet.add(Layer.DRIVE, stadium(lane + 0.25), track, PAVING)
    sheet.add(Layer.DRIVE, stadium(7.2), pitch, GRASS)
    scatter_trees(sheet, block.shrunk(1.0), 6, look, rng)


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
    scatter_trees(sheet, block, 8, look, rng)


def _water(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator, family: str) -> None:
    """A basin with a bank."""
    sheet.add(Layer.YARD, block.outline(1.0), look.soil, SOIL)
    green = rng.random()
    colour = (1 - green) * np.array([52.0, 70, 84]) + green * np.array([54.0, 84, 62])
    sheet.add(Layer.YARD, block.shrunk(4.0).outline(), colour, 36)
    scatter_trees(sheet, block, 0, look, rng)


FILLS: dict[str, Callable[[Sheet, Block, Look, np.random.Generator, str], None]] = {
    "houses": _houses,
    "slabs": _slabs,
    "halls": _halls,
    "towers": _towers,
    "old": _old,
    "carpark": _carpark,
    "park": _park,
    "sports": _sports,
    "field": _field,
    "water": _water,
}
