"""Paint roads: pavements, asphalt, wear, markings, crossings and the cars that drive on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadedge.data.city_look import Look
from roadedge.data.city_plan import Road, generator
from roadedge.data.city_sheet import ASPHALT, GRASS, PAVING, Layer, Sheet, rectangles, ribbon
from roadedge.trajectory.trips import along_line

Floats = NDArray[np.float64]
CARS = np.array(
    [[228, 228, 226], [236, 236, 238], [176, 178, 182], [120, 122, 126], [46, 47, 50], [34, 35, 38], [150, 40, 38],
     [52, 74, 128], [196, 188, 168], [206, 170, 52]],
    np.float64,
)  # fmt: skip
CAR_SHARES = np.array([0.2, 0.16, 0.16, 0.1, 0.12, 0.1, 0.06, 0.05, 0.03, 0.02])
WHITE, YELLOW = np.array([206.0, 206, 200]), np.array([196.0, 168, 84])


def paint_road(sheet: Sheet, road: Road, look: Look) -> None:
    """Paint one piece of road with everything that lies on it."""
    rng = generator(road.key, 1)
    tone = asphalt_tone(road, look, rng)
    walk = 0.0 if road.kind == 0 else rng.uniform(1.8, 3.2) + 1.2 * (road.kind == 2)
    if walk:
        sheet.add(Layer.WALK, ribbon(road.line_m, road.half_m + walk), look.pavement + rng.normal(0, 5), PAVING)
    layer = (Layer.LANE, Layer.STREET, Layer.AVENUE)[road.kind]
    sheet.add(layer, ribbon(road.line_m, road.half_m), tone, ASPHALT)
    inner = _between_junctions(road)
    if inner is None:
        return
    _paint_wear(sheet, road, inner, tone, rng)
    if road.kind == 2:
        _paint_avenue(sheet, road, inner, tone, look, rng)
    elif road.kind == 1 and rng.random() < 0.75:
        _paint_street(sheet, road, inner, tone, rng)
    _paint_cars(sheet, road, inner, look, rng)


def asphalt_tone(road: Road, look: Look, rng: np.random.Generator) -> Floats:
    """Colour of a road: the city's asphalt with a spread, now and then concrete."""
    if road.kind < 2 and rng.random() < look.concrete_share:
        return look.pavement + rng.normal(-6, 6)
    return np.asarray(look.asphalt + rng.normal(0, look.asphalt_spread * (0.6 if road.kind == 2 else 1.0)))


def _between_junctions(road: Road) -> Floats | None:
    step = np.hypot(*np.diff(road.line_m, axis=0).T)
    arc = np.concatenate([[0.0], np.cumsum(step)])
    low, high = road.trim_m[0] + 1.0, arc[-1] - road.trim_m[1] - 1.0
    if high - low < 12:
        return None
    stations = np.linspace(low, high, max(4, int((high - low) / 12)))
    return np.stack([np.interp(stations, arc, road.line_m[:, k]) for k in (0, 1)], 1)


def _paint_wear(sheet: Sheet, road: Road, inner: Floats, tone: Floats, rng: np.random.Generator) -> None:
    """Wheel tracks a little darker or brighter than the asphalt, and patches."""
    lanes = max(2, 2 * round(road.half_width_m / 3.4))
    width = 2 * road.half_width_m / lanes
    drift = rng.normal(0, 4)
    for lane in range(lanes):
        offset = (lane + 0.5) * width - road.half_width_m
        sheet.add(Layer.WEAR, ribbon(inner, width * 0.3, offset), tone + drift + rng.normal(0, 2), ASPHALT)
    length = _length(inner)
    count = rng.poisson(length / 60)
    centres, across = along_line(inner, rng.uniform(0, length, count))
    centres = centres + across * rng.uniform(-0.8, 0.8, (count, 1)) * road.half_width_m
    along = np.stack([across[:, 1], -across[:, 0]], 1)
    patches = rectangles(centres, along, rng.uniform(2, 14, count), rng.uniform(1, 3, count))
    sheet.add(Layer.WEAR, patches, tone + rng.normal(-6, 7, (count, 1)), ASPHALT)


def _dashes(inner: Floats, offset_m: float, dash_m: float, gap_m: float, width_m: float) -> Floats:
    stations = np.arange(6.0, _length(inner) - 6.0, dash_m + gap_m)
    centres, across = along_line(inner, stations)
    return rectangles(centres + across * offset_m, np.stack([across[:, 1], -across[:, 0]], 1), dash_m, width_m)


def _paint_avenue(sheet: Sheet, road: Road, inner: Floats, tone: Floats, look: Look, rng: np.random.Generator) -> None:
    half = road.half_width_m
    median = 0.0
    if half > 11.5 and rng.random() < 0.6:
        median = rng.uniform(0.8, 1.8)
        sheet.add(Layer.MEDIAN, ribbon(inner[1:-1], median + 0.3), look.pavement + 8, PAVING)
        sheet.add(Layer.MEDIAN, ribbon(inner[1:-1], median), look.grass * 0.85, GRASS)
    else:
        for side in (-0.25, 0.25):
            sheet.add(Layer.PAINT, ribbon(inner, 0.12, side), 0.35 * tone + 0.65 * YELLOW)
    white = 0.35 * tone + 0.65 * WHITE
    lanes = max(2, round((half - median - 1.0) / 3.5))
    width = (half - median - 0.9) / lanes
    for side in (-1, 1):
        for lane in range(1, lanes):
            sheet.add(Layer.PAINT, _dashes(inner, side * (median + 0.4 + lane * width), 4.0, 6.0, 0.28), white)
        sheet.add(Layer.PAINT, ribbon(inner, 0.11, side * (half - 0.6)), white)
    _paint_crossings(sheet, road, inner, white)


def _paint_street(sheet: Sheet, road: Road, inner: Floats, tone: Floats, rng: np.random.Generator) -> None:
    colour = 0.45 * tone + 0.55 * (YELLOW if rng.random() < 0.4 else WHITE)
    if rng.random() < 0.5:
        sheet.add(Layer.PAINT, ribbon(inner, 0.11), colour)
    else:
        sheet.add(Layer.PAINT, _dashes(inner, 0.0, 3.0, 5.0, 0.25), colour)
    if rng.random() < 0.5:
        _paint_crossings(sheet, road, inner, 0.45 * tone + 0.55 * WHITE)


def _paint_crossings(sheet: Sheet, road: Road, inner: Floats, white: Floats) -> None:
    """Zebra crossings and stop lines at the ends that meet another road."""
    for end, trim in ((0, road.trim_m[0]), (-1, road.trim_m[1])):
        if trim <= 0:
            continue
        along = inner[1] - inner[0] if end == 0 else inner[-2] - inner[-1]
        along = along / np.hypot(*along)
        across = np.array([-along[1], along[0]])
        offsets = np.arange(-road.half_width_m + 0.8, road.half_width_m - 0.5, 1.35)
        centres = inner[end] + along * 3.5 + across * offsets[:, None]
        sheet.add(Layer.PAINT, rectangles(centres, along, 3.2, 0.45), white)


def _length(line_m: Floats) -> float:
    return float(np.hypot(*np.diff(line_m, axis=0).T).sum())


def _paint_cars(sheet: Sheet, road: Road, inner: Floats, look: Look, rng: np.random.Generator) -> None:
    length = _length(inner)
    per_km = (6, 22, 48)[road.kind] * look.traffic
    count = rng.poisson(length / 1000 * per_km)
    lanes = max(1, round(road.half_width_m / 3.5))
    lane = (rng.integers(0, lanes, count) + 0.5) * road.half_width_m / lanes + rng.normal(0, 0.2, count)
    side = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    centres, across = along_line(inner, rng.uniform(0, length, count))
    paint_vehicles(
        sheet, centres + across * (side * lane)[:, None], np.stack([across[:, 1], -across[:, 0]], 1), look, rng
    )
    if road.kind == 1 and rng.random() < 0.55 and road.half_width_m > 4.2:  # parked along the kerb
        for kerb in (-1, 1):
            stations = np.arange(8.0, length - 8.0, 6.2)
            stations = stations[rng.random(len(stations)) < rng.uniform(0.1, 0.7)]
            centres, across = along_line(inner, stations + rng.normal(0, 0.4, len(stations)))
            along = np.stack([across[:, 1], -across[:, 0]], 1)
            paint_vehicles(sheet, centres + across * kerb * (road.half_width_m - 1.1), along, look, rng, large=0.02)


def paint_vehicles(
    sheet: Sheet, centres_m: Floats, along: Floats, look: Look, rng: np.random.Generator, large: float = 0.08
) -> None:
    """Cars (and a share of lorries and buses) at (N, 2) centres, heading along (N, 2) unit vectors."""
    count = len(centres_m)
    lorry = rng.random(count) < large
    length = np.where(lorry, rng.uniform(7, 12, count), rng.uniform(4.0, 4.9, count))
    width = np.where(lorry, 2.5, rng.uniform(1.75, 1.95, count))
    body = rectangles(centres_m, along, length, width)
    colour = CARS[rng.choice(len(CARS), count, p=CAR_SHARES)] + rng.normal(0, 6, (count, 1))
    sheet.add(
        Layer.CAR_SHADE, body + look.sun * np.where(lorry, 2.2, 1.0)[:, None, None], np.clip(look.asphalt * 0.45, 0, 70)
    )
    sheet.add(Layer.CAR, body, colour)
    cars = ~lorry
    glass = (0.45 * colour + 0.55 * np.array([42.0, 46, 52]))[cars]
    sheet.add(Layer.GLASS, rectangles(centres_m + along * 0.75, along, 0.7, width * 0.8)[cars], glass)
    sheet.add(Layer.GLASS, rectangles(centres_m - along * 1.5, along, 0.45, width * 0.75)[cars], glass)


def paint_roundabout(sheet: Sheet, centre_m: Floats, radius_m: float, look: Look, rng: np.random.Generator) -> None:
    """A ring of asphalt around an island, over the crossing of two avenues."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)[None]
    tone = look.asphalt + rng.normal(0, 4)
    sheet.add(Layer.WALK, centre_m + ring * (radius_m + 3), look.pavement, PAVING)
    sheet.add(Layer.AVENUE, centre_m + ring * radius_m, tone, ASPHALT)
    island = radius_m - min(11.0, 0.48 * radius_m)
    sheet.add(Layer.ISLAND, centre_m + ring * (island + 0.6), look.pavement + 6, PAVING)
    sheet.add(Layer.ISLAND, centre_m + ring * island, look.grass, GRASS)
    lane = (radius_m + island) / 2
    for k in range(0, 40, 2):
        tangent = np.array([-np.sin(angle[k]), np.cos(angle[k])])
        sheet.add(Layer.PAINT, rectangles(centre_m + ring[0, k : k + 1] * lane, tangent, 1.6, 0.25), WHITE * 0.8)
