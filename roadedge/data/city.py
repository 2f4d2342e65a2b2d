"""The built-in synthetic city: seeded, unbounded, seen from straight above, with roads, their mask and GPS points.

It is drawn in aligned chunks of `CHUNK` pixels, kept in a bounded cache, so every window shows the same pixels, and
windows that lie on multiples of `CHUNK` are the cheapest. Points on it are made from its own roads: scores with them
are semi-synthetic.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from roadedge.data.city_blocks import Block, boxes_of, car_parks, district, divide
from roadedge.data.city_fills import paint_block, paint_ground
from roadedge.data.city_look import Look
from roadedge.data.city_plan import Cell, Network, Road, generator
from roadedge.data.city_render import CHUNK, MARGIN, render_chunk
from roadedge.data.city_roads import paint_road, paint_roundabout
from roadedge.data.city_sheet import SHADOW_MAX_M, Painted, Sheet
from roadedge.errors import UsageError
from roadedge.place import Place
from roadedge.sample import Sample
from roadedge.trajectory.trips import LIVE, TripModel, Way, area_shift, clutter, drift, drive, has_traffic

Floats = NDArray[np.float64]
Value = TypeVar("Value")
SLOT_S = 120.0  # live traffic is drawn in slots of this length
OVERHANG_M = 12.0  # how far trees, pavements and roundabouts reach out of their cell
PASSES_PER_WEEK = (45.0, 260.0, 800.0)  # of lanes, streets and avenues, in the median
LIVE_FLEET = 300.0  # live vehicles per vehicle of the week's fleet: about one car every ten seconds on a street
QUANTUM = 64  # points lie on 1/64 pixel, so that float32 holds them exactly in every window


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A window of the city: image (H, W, 3) uint8 RGB, mask (H, W) uint8 of 0 and 255, points (N, 3) float32 x, y in
    pixels of the window and t in seconds of a week, in the order of t.
    """  # noqa: D205

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    points: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Plot:
    """A cell with its roads and blocks. Painting costs ten times more, so it is done part by part where it is seen."""

    cell: Cell
    roads: tuple[Road, ...]
    blocks: tuple[Block, ...]
    boxes_m: Floats  # (N, 2, 2) corners of the ground, the roundabout, the roads and the blocks
    casts: NDArray[np.bool_]  # (N, 1) whether the part casts long shadows
    demand: float  # logarithm of how busy the district's roads are


class _Cache(Generic[Value]):
    """A function of whole numbers with its most recent values; what fell out is made again, bit for bit."""

    def __init__(self, limit: int, make: Callable[..., Value]) -> None:
        self._limit, self._make = limit, make
        self._values: OrderedDict[tuple[int, ...], Value] = OrderedDict()

    def make_room(self, values: int) -> None:
        """Keep at least so many values from now on."""
        self._limit = max(self._limit, values)

    def __call__(self, *key: int) -> Value:
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = self._values[key] = self._make(*key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)
        return value


class City:
    """An endless city that depends on `seed` alone. Threads that share it take turns.

    Args:
        seed: any whole number; decides plan, colours, sun, camera and traffic.
        gsd_m: metres per pixel.
        trips: noise model of the week's points.

    Raises:
        UsageError: a ground sample distance outside 0.1-2 m.
    """

    def __init__(self, seed: int = 0, gsd_m: float = 0.46, trips: TripModel | None = None) -> None:
        if not 0.1 <= gsd_m <= 2:
            raise UsageError(
                f"the city can be drawn at 0.1 to 2 metres per pixel, got {gsd_m}; resample the image instead"
            )
        self.seed, self.gsd_m = int(seed), float(gsd_m)
        self.trips = trips or TripModel()
        self.look = Look.draw(self.seed)
        look = self.look
        self.network = Network(self.seed, look.cell_m, look.angle, look.bend, look.width_scale)
        self._cells = _Cache(512, partial(Cell, self.network))
        self._plots = _Cache(160, self._plot)
        self._painted = _Cache(384, self._paint)
        self._chunks = _Cache(160, self._render)
        self._week_of_cell, self._week_of_chunk = _Cache(96, self._cell_week), _Cache(160, self._chunk_week)
        self._live_of_cell, self._live_of_chunk = _Cache(256, self._cell_live), _Cache(512, self._chunk_live)
        self._turn = threading.RLock()

    def window(self, x: int, y: int, w: int, h: int) -> Tile:
        """The pixels [x, x + w) x [y, y + h) of the city; x grows to the right, y downwards, both may be negative."""
        chunks = self._chunks_of(x, y, w, h)
        image = np.empty((h, w, 3), np.uint8)
        mask = np.empty((h, w), np.uint8)
        with self._turn:
            self._chunks.make_room(2 * len(chunks))  # so that the next frame of a stream draws only what is new
            drawn = [self._chunks(cx, cy) for cx, cy in chunks]
        for (cx, cy), (pixels, road) in zip(chunks, drawn, strict=True):
            x0, x1 = max(x, cx * CHUNK), min(x + w, (cx + 1) * CHUNK)
            y0, y1 = max(y, cy * CHUNK), min(y + h, (cy + 1) * CHUNK)
            target = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
            source = (slice(y0 - cy * CHUNK, y1 - cy * CHUNK), slice(x0 - cx * CHUNK, x1 - cx * CHUNK))
            image[target], mask[target] = pixels[source], road[source]
        return Tile(image, mask, self.points(x, y, w, h))

    def points(self, x: int, y: int, w: int, h: int) -> NDArray[np.float32]:
        """The week's GPS points of a window without painting it: (N, 3) as in `Tile`."""
        with self._turn:
            parts = [self._week_of_chunk(cx, cy) for cx, cy in self._chunks_of(x, y, w, h)]
        return _cut(parts, x, y, w, h)

    def points_between(self, x: int, y: int, w: int, h: int, t0_s: float, t1_s: float) -> NDArray[np.float32]:
        """Live points of a window in [t0_s, t1_s) of an unbounded clock: a denser fleet that reports every 1-10 s.

        Vehicles move along the roads, so consecutive intervals continue each other; see `trips.LIVE`.

        Returns:
            (N, 3) x, y in pixels of the window and t in seconds counted from `t0_s` on (so that float32 holds it).
        """
        if not t1_s > t0_s:
            raise UsageError(f"live points need an interval that lasts, got {t0_s} to {t1_s} s")
        slots = range(math.floor(t0_s / SLOT_S), math.ceil(t1_s / SLOT_S))
        with self._turn:
            found = [self._live_of_chunk(cx, cy, slot) for slot in slots for cx, cy in self._chunks_of(x, y, w, h)]
        parts = [part[(part[:, 2] >= t0_s) & (part[:, 2] < t1_s)] - [0.0, 0.0, t0_s] for part in found]
        return _cut(parts, x, y, w, h)

    def sample(self, x: int, y: int, w: int, h: int) -> Sample:
        """A window as the value that flows through the project; its place counts metres from pixel 0, 0."""
        tile = self.window(x, y, w, h)
        place = Place.from_geotransform((x * self.gsd_m, self.gsd_m, 0, -y * self.gsd_m, 0, -self.gsd_m))
        return Sample(tile.image, tile.points, place=place, gsd_m=self.gsd_m, id=f"city{self.seed}_{x}_{y}")

    # --- chunks -------------------------------------------------------------------------------------------------

    def _chunks_of(self, x: int, y: int, w: int, h: int) -> list[tuple[int, int]]:
        if w < 1 or h < 1:
            raise UsageError(f"a window of the city needs at least 1 x 1 pixel, got {w} x {h}")
        columns = range(x // CHUNK, (x + w - 1) // CHUNK + 1)
        return [(cx, cy) for cy in range(y // CHUNK, (y + h - 1) // CHUNK + 1) for cx in columns]

    def _render(self, cx: int, cy: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        x, y = cx * CHUNK, cy * CHUNK
        shadow = self.look.sun / np.hypot(*self.look.sun) * SHADOW_MAX_M  # they all fall the same way
        low = np.array([x - MARGIN, y - MARGIN]) * self.gsd_m - OVERHANG_M
        high = np.array([x + CHUNK + MARGIN, y + CHUNK + MARGIN]) * self.gsd_m + OVERHANG_M
        low_cast, high_cast = low - np.maximum(shadow, 0), high - np.minimum(shadow, 0)
        parts = []
        for plot in self._near(low_cast, high_cast):
            boxes = plot.boxes_m
            low_by, high_by = np.where(plot.casts, low_cast, low), np.where(plot.casts, high_cast, high)
            for k in np.flatnonzero((boxes[:, 1] >= low_by).all(1) & (boxes[:, 0] <= high_by).all(1)).tolist():
                parts.append(self._painted(plot.cell.i, plot.cell.j, k))
        return render_chunk(parts, x, y, self.look, self.seed)

    def _near(self, low_m: Floats, high_m: Floats) -> list[_Plot]:
        """The cells that touch a box on the ground, always in the same order."""
        near = [self._cells(i, j) for i, j in self.network.cells_near(low_m, high_m)]
        touched = (c for c in near if (c.box_m[1] >= low_m).all() and (c.box_m[0] <= high_m).all())
        return [self._plots(cell.i, cell.j) for cell in touched]

    def _plot(self, i: int, j: int) -> _Plot:
        cell = self._cells(i, j)
        name, key = district(self.seed, i, j)
        lanes, blocks = divide(cell, name, key)
        roads = (*cell.roads(), *lanes)
        centre, radius = cell.grid[0, 0], self.network.roundabout_m(i, j)
        boxes = [cell.box_m, np.stack([centre - radius, centre + radius])]
        boxes += [np.stack([r.line_m.min(0) - r.half_m.max(), r.line_m.max(0) + r.half_m.max()]) for r in roads]
        casts = np.arange(len(boxes) + len(blocks)) >= len(boxes)  # only what stands on blocks casts far shadows
        boxes_m = np.concatenate([np.stack(boxes), boxes_of(cell, blocks)])
        return _Plot(cell, roads, tuple(blocks), boxes_m, casts[:, None], generator(key, 3).normal(0, 0.7))

    def _paint(self, i: int, j: int, part: int) -> Painted:
        """Paint the ground of a cell (part 0), its roundabout (1), one of its roads or one of its blocks."""
        sheet = Sheet(self.gsd_m)
        plot = self._plots(i, j)
        first = 2 + len(plot.roads)
        radius = self.network.roundabout_m(i, j)
        if part == 0:
            paint_ground(sheet, plot.cell, self.look)
        elif part >= first:
            paint_block(sheet, plot.blocks[part - first], part - first, self.look)
        elif part >= 2:
            paint_road(sheet, plot.roads[part - 2], self.look)
        elif radius:
            paint_roundabout(sheet, plot.cell.grid[0, 0], radius, self.look, generator(self.seed, 81, i, j))
        return sheet.finish()

    # --- traffic ------------------------------------------------------------------------------------------------

    def _ways(self, plot: _Plot) -> list[Way]:
        """The roads of a cell on which traffic is reported."""
        ways = []
        for road in plot.roads:
            rng = generator(road.key, 2)
            busy = math.exp(plot.demand + rng.normal(0, 0.6)) * self.look.traffic
            way = Way(road.line_m, road.half_width_m, PASSES_PER_WEEK[road.kind] * busy)
            if has_traffic(way, rng, self.trips):
                ways.append(way)
        return ways

    def _chunk_week(self, cx: int, cy: int) -> Floats:
        corner, size = self._chunk_m(cx, cy)
        parts = [drift(corner, size, generator(self.seed, 91, cx, cy), self.trips)]
        reach = self.trips.reach_m
        parts += [self._week_of_cell(p.cell.i, p.cell.j) for p in self._near(corner - reach, corner + size + reach)]
        return self._in_chunk(parts, cx, cy)

    def _cell_week(self, i: int, j: int) -> Floats:
        plot = self._plots(i, j)
        rng = generator(self.seed, 92, i, j)
        parts = [clutter(at, r, rng.lognormal(3.6, 0.9), rng, self.trips) for at, r in car_parks(plot.blocks)]
        parts.append(drive(self._ways(plot), rng, self.trips))
        points = np.concatenate(parts)
        points[:, :2] += area_shift(generator(self.seed, 93, i // 2, j // 2), self.trips)
        return points

    def _chunk_live(self, cx: int, cy: int, slot: int) -> Floats:
        """Points of one chunk in one slot, of vehicles that started in it or in the two before."""
        corner, size = self._chunk_m(cx, cy)
        near = self._near(corner - LIVE.reach_m, corner + size + LIVE.reach_m)
        parts = [self._live_of_cell(p.cell.i, p.cell.j, s) for p in near for s in (slot - 2, slot - 1, slot)]
        points = self._in_chunk([np.zeros((0, 3)), *parts], cx, cy)
        inside: Floats = points[(points[:, 2] >= slot * SLOT_S) & (points[:, 2] < (slot + 1) * SLOT_S)]
        return inside

    def _cell_live(self, i: int, j: int, slot: int) -> Floats:
        ways = [replace(w, passes_per_week=w.passes_per_week * LIVE_FLEET) for w in self._ways(self._plots(i, j))]
        return drive(ways, generator(self.seed, 94, i, j, slot), LIVE, slot * SLOT_S, (slot + 1) * SLOT_S)

    def _chunk_m(self, cx: int, cy: int) -> tuple[Floats, float]:
        size = CHUNK * self.gsd_m
        return np.array([cx, cy]) * size, size

    def _in_chunk(self, parts: list[Floats], cx: int, cy: int) -> Floats:
        """Points in metres → the chunk's points in pixels of the city, on the 1/64 pixel grid, by time."""
        points = np.concatenate(parts)
        points[:, :2] = np.floor(points[:, :2] / self.gsd_m * QUANTUM) / QUANTUM
        inside = (np.floor(points[:, 0] / CHUNK) == cx) & (np.floor(points[:, 1] / CHUNK) == cy)
        found: Floats = points[inside]
        return found


def _cut(parts: list[Floats], x: int, y: int, w: int, h: int) -> NDArray[np.float32]:
    """Points of some chunks → those of a window, by time, counted from its corner."""
    points = np.concatenate(parts)
    inside = (points[:, 0] >= x) & (points[:, 0] < x + w) & (points[:, 1] >= y) & (points[:, 1] < y + h)
    points = points[inside] - [x, y, 0]
    return points[np.lexsort((points[:, 1], points[:, 0], points[:, 2]))].astype(np.float32)
