"""Paint what stands upright: buildings with their roofs, trees with their crowns, and the shadows of both."""

from __future__ import annotations

import numpy as np

from roadedge.data.city_blocks import Block
from roadedge.data.city_look import FAMILIES, ROOFS, Look
from roadedge.data.city_plan import Floats
from roadedge.data.city_sheet import FLAT, LEAVES, ROOF, SOIL, Layer, Sheet, blobs, rectangles, ribbon


def roof_colours(count: int, family: str, rng: np.random.Generator) -> Floats:
    """(N, 3) roof colours: mostly of the district's family."""
    own = ROOFS[FAMILIES[family]]
    pick = own[rng.integers(0, len(own), count)]
    other = rng.random(count) < 0.4
    pick = np.where(other[:, None], ROOFS[rng.integers(0, len(ROOFS), count)], pick)
    faded = rng.beta(1.6, 1.6, (count, 1))  # sun and dust take the colour out of most roofs
    pick = pick + faded * (pick.mean(1, keepdims=True) - pick)
    return np.asarray(pick + rng.normal(0, 11, (count, 1)) + rng.normal(0, 3, (count, 3)))


def paint_buildings(
    sheet: Sheet, foot: Floats, height_m: Floats, colours: Floats, look: Look, rng: np.random.Generator, gabled: bool
) -> None:
    """Shadows, roofs and what is on them, for (N, 4, 2) footprints."""
    sheet.footprints.append(foot)
    sheet.shade(Layer.SHADE, foot, look.sun * height_m[:, None] * look.height_scale)
    long = foot[:, 1] - foot[:, 0]
    wide = foot[:, 3] - foot[:, 0]
    if gabled:
        ridge0, ridge1 = (foot[:, 0] + foot[:, 3]) / 2, (foot[:, 1] + foot[:, 2]) / 2
        hip = np.where(rng.random(len(foot)) < 0.5, 0.0, 0.5)[:, None] * wide[:, ::1]
        reach = np.hypot(hip[:, 0], hip[:, 1]) / np.maximum(np.hypot(long[:, 0], long[:, 1]), 1e-6)
        ridge0, ridge1 = (
            ridge0 + long * np.minimum(reach, 0.45)[:, None],
            ridge1 - long * np.minimum(reach, 0.45)[:, None],
        )
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
    bare = rng.random(len(centres)) < look.leafless
    stand, crowns = centres[~bare], radius_m[~bare]
    tint = rng.normal(0, 9, (len(centres), 1)) + rng.normal(0, 4, (len(centres), 3))
    colour = (look.crown + tint)[~bare]
    crown = blobs(stand, crowns, rng)
    sheet.add(Layer.TREE_SHADE, crown + (look.sun * (1.1 * crowns[:, None] + 0.8))[:, None], 0.0)
    sheet.add(Layer.CROWN, crown, colour, LEAVES)
    light = -look.sun / max(float(np.hypot(*look.sun)), 1e-6)
    for share, bright in ((0.72, 1.13), (0.4, 1.24)):
        top = stand + light * crowns[:, None] * (1 - share) * 0.7 + rng.normal(0, 0.12, stand.shape) * crowns[:, None]
        sheet.add(Layer.LEAVES, blobs(top, crowns * share, rng, 7), colour * bright + 3, LEAVES)
    twigs = (look.soil * 0.68 + tint)[bare]
    sheet.add(Layer.CROWN, blobs(centres[bare], radius_m[bare] * 0.6, rng, 7), twigs, LEAVES)


def paint_clutter(sheet: Sheet, block: Block, per_ha: float, look: Look, rng: np.random.Generator) -> None:
    """Sheds, crates, bins and stains: the small things that make a yard."""
    w, h = block.size_m
    count = rng.poisson(w * h / 1e4 * per_ha)
    u, v = rng.uniform(0, w, count), rng.uniform(0, h, count)
    centres = block.at(u, v)
    free = sheet.is_free(centres)
    centres, along = centres[free], block.along(u, v)[free]
    count = len(centres)
    things = rectangles(centres, along, rng.gamma(2.0, 1.1, count) + 0.6, rng.gamma(2.0, 0.7, count) + 0.5)
    colour = roof_colours(count, "white" if rng.random() < 0.3 else "grey", rng)
    sheet.add(Layer.CAR_SHADE, things + look.sun * rng.uniform(0.5, 2.0, (count, 1, 1)), look.soil * 0.36)
    sheet.add(Layer.CAR, things, colour)
    stains = rng.poisson(w * h / 1e4 * 14)
    centres = block.at(rng.uniform(0, w, stains), rng.uniform(0, h, stains))
    tone = look.soil * rng.uniform(0.72, 1.22, (stains, 1))
    sheet.add(Layer.YARD, blobs(centres, rng.gamma(2.0, 1.2, stains) + 0.5, rng, 9), tone, SOIL)


def paint_fence(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator) -> None:
    """A wall or a hedge around a block, with its gaps."""
    outline = block.outline()[0]
    hedge = rng.random() < 0.4 * look.greenery
    colour = look.crown * 1.1 if hedge else look.pavement * rng.choice([0.6, 1.15])
    for start in range(0, len(outline), 6):
        side = outline[start : start + 7] if start + 7 <= len(outline) else np.append(outline[start:], outline[:1], 0)
        gap = int(rng.integers(1, 6))
        for piece in (side[: gap + 1], side[gap + 1 :]):
            if len(piece) > 1 and rng.random() < 0.8:
                sheet.add(Layer.CAR, ribbon(piece, 0.7 if hedge else 0.22), colour, LEAVES if hedge else FLAT)


def scatter_trees(
    sheet: Sheet,
    block: Block,
    per_ha: float,
    look: Look,
    rng: np.random.Generator,
    size_m: tuple[float, float] = (1.6, 4.6),
) -> None:
    """Trees anywhere on a block but on its buildings; some stand in groups."""
    w, h = block.size_m
    count = rng.poisson(w * h / 1e4 * per_ha * look.greenery)
    u, v = rng.uniform(0, w, count), rng.uniform(0, h, count)
    grouped = rng.random(count) < 0.5
    leader = rng.integers(0, max(1, count // 5), count)
    if count:
        u = np.where(grouped, u[leader] + rng.normal(0, 4, count), u)
        v = np.where(grouped, v[leader] + rng.normal(0, 4, count), v)
    centres = block.at(np.clip(u, 0, w), np.clip(v, 0, h))
    free = sheet.is_free(centres)
    radius = size_m[0] + (size_m[1] - size_m[0]) * rng.beta(1.3, 2.2, count)
    paint_trees(sheet, centres[free], radius[free], look, rng)


def street_trees(sheet: Sheet, block: Block, look: Look, rng: np.random.Generator) -> None:
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
