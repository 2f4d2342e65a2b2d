"""The built-in synthetic city: seeded, unbounded, seen from straight above, with roads, their mask and GPS points.

It is drawn in aligned chunks of 256 pixels that are kept in a bounded cache, so every window shows the same pixels, and
windows that lie on multiples of `CHUNK` are the cheapest. Points on it are made from its own roads: scores with them
are semi-synthetic.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from roadedge.data.city_blocks import district, divide, paint_cell
from roadedge.data.city_look import Look
from roadedge.data.city_plan import Cell, Network, Road, generator
from roadedge.data.city_render import CHUNK, MARGIN, render_chunk
from roadedge.data.city_roads import paint_road, paint_roundabout
from roadedge.data.city_sheet import Painted, Sheet
from roadedge.errors import UsageError
from roadedge.place import Place
from roadedge.sample import Sample
from roadedge.trajectory.trips import LIVE, TripModel, Way, area_shift, clutter, drift, drive, has_traffic

Floats = NDArray[np.float64]
Value = TypeVar("Value")
SLOT_S = 120.0  # live traffic is drawn in slots of this length
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
    """A cell, planned and ready to paint."""

    cell: Cell
    roads: tuple[Road, ...]
    ways: tuple[Way | None, ...]  # None: no traffic reported
    painted: Painted
    car_parks: tuple[tuple[Floats, float], ...]
    box_px: tuple[float, float, float, float]  # of all that it paints
    box_m: tuple[float, float, float, float]  # of its roads and car parks


class _Cache:
    """Keeps the most recently used values; what falls out is made again, bit for bit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[tuple[int, ...], object] = OrderedDict()

    def get(self, key: tuple[int, ...], make: Callable[[], Value]) -> Value:
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]  # type: ignore[return-value]
        value = self._values[key] = make()
        if len(self._values) > self._limit:
            self._values.popitem(last=False)
        return value


class City:
    """An endless city that depends on `seed` alone. Not thread-safe: give each worker its own.

    Args:
        seed: any whole number; decides plan, colours, sun, camera and traffic.
        gsd_m: metres per pixel.
        trips: noise model of the week's points.

    Raises:
        UsageError: a ground sample distance outside 0.1-2 m.
    """

    def __init__(self, seed: int = 0, gsd_m: float = 0.46, trips: TripModel | None = None) -> None:
        if not 0.1 <= gsd_m <= 2:
            raise UsageError(f"the city can be drawn at 0.1 to 2 metres per pixel, got {gsd_m}; resample the image instead")
        self.seed, self.gsd_m = int(seed), float(gsd_m)
        self.trips = trips or TripModel()
        self.look = Look.draw(self.seed)
        look = self.look
        self.network = Network(self.seed, look.cell_m, look.angle, look.bend, look.width_scale)
        self._plots, self._chunks = _Cache(160), _Cache(96)
        self._points, self._live = _Cache(256), _Cache(4096)

    def window(self, x: int, y: int, w: int, h: int) -> Tile:
        """The pixels [x, x + w) x [y, y + h) of the city; x grows to the right, y downwards, both may be negative."""
        image = np.empty((h, w, 3), np.uint8)
        mask = np.empty((h, w), np.uint8)
        for cx, cy in self._chunks_of(x, y, w, h):
            pixels, road = self._chunks.get((cx, cy), lambda cx=cx, cy=cy: self._render(cx, cy))
            x0, x1 = max(x, cx * CHUNK), min(x + w, (cx + 1) * CHUNK)
            y0, y1 = max(y, cy * CHUNK), min(y + h, (cy + 1) * CHUNK)
            target = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
            source = (slice(y0 - cy * CHUNK, y1 - cy * CHUNK), slice(x0 - cx * CHUNK, x1 - cx * CHUNK))
            image[target], mask[target] = pixels[source], road[source]
        return Tile(image, mask, self.points(x, y, w, h))

    def points(self, x: int, y: int, w: int, h: int) -> NDArray[np.float32]:
        """The week's GPS points of a window without painting it: (N, 3) as in `Tile`."""
        chunks = self._chunks_of(x, y, w, h)
        parts = [self._points.get((cx, cy), lambda cx=cx, cy=cy: self._week(cx, cy)) for cx, cy in chunks]
        return _cut(parts, x, y, w, h)

    def points_between(self, x: int, y: int, w: int, h: int, t0_s: float, t1_s: float) -> NDArray[np.float32]:
        """Live points of a window in [t0_s, t1_s) of an unbounded clock: a denser fleet that reports every 1-10 s.

        Vehicles move along the roads, so consecutive intervals continue each other; see `trips.LIVE`.

        Returns:
            (N, 3) x, y in pixels of the window and t in seconds counted from `t0_s` on (so that float32 holds it).
        """
        if not t1_s > t0_s:
            raise UsageError(f"live points need an interval that lasts, got {t0_s} to {t1_s} s")
        parts = []
        for slot in range(math.floor(t0_s / SLOT_S), math.ceil(t1_s / SLOT_S)):
            for cx, cy in self._chunks_of(x, y, w, h):
                part = self._live.get((cx, cy, slot), lambda cx=cx, cy=cy, slot=slot: self._live_slot(cx, cy, slot))
                parts.append(part[(part[:, 2] >= t0_s) & (part[:, 2] < t1_s)] - [0.0, 0.0, t0_s])
        return _cut(parts, x, y, w, h)

    def sample(self, x: int, y: int, w: int, h: int) -> Sample:
        """A window as the value that flows through the project; its place counts metres east and north of pixel 0, 0."""
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
        low, high = (x - MARGIN, y - MARGIN), (x + CHUNK + MARGIN, y + CHUNK + MARGIN)
        near = [p.painted for p in self._near(cx, cy) if _touch(p.box_px, low, high)]
        return render_chunk(near, x, y, self.look, self.seed)

    def _near(self, cx: int, cy: int) -> list[_Plot]:
        """All cells that may paint on a chunk or send points to it, always in the same order."""
        centre = np.array([cx + 0.5, cy + 0.5]) * CHUNK * self.gsd_m
        a, b = self.network.lattice(centre)
        reach = (CHUNK * self.gsd_m * 0.71 + 75) / self.look.cell_m * 1.25
        columns = range(math.floor(a - reach - 0.45), math.floor(a + reach + 0.45) + 1)
        rows = range(math.floor(b - reach - 0.3), math.floor(b + reach + 0.3) + 1)
        return [self._plots.get((i, j), lambda i=i, j=j: self._plot(i, j)) for j in rows for i in columns]

    def _plot(self, i: int, j: int) -> _Plot:
        cell = Cell(self.network, i, j)
        lanes, blocks = divide(cell)
        roads = (*cell.roads(), *lanes)
        sheet = Sheet(self.gsd_m)
        car_parks = paint_cell(sheet, cell, blocks, self.look)
        for road in roads:
            paint_road(sheet, road, self.look)
        radius = self.network.roundabout_m(i, j)
        if radius:
            paint_roundabout(sheet, cell.grid[0, 0], radius, self.look, generator(self.seed, 81, i, j))
        painted = sheet.finish()
        boxes = painted.boxes
        box = (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())
        ground = np.concatenate([cell.grid.reshape(-1, 2), *[r.line_m for r in roads]])
        box_m = (*ground.min(0).tolist(), *ground.max(0).tolist())
        ways = tuple(self._way(road, i, j) for road in roads)
        return _Plot(cell, roads, ways, painted, tuple(car_parks), box, box_m)  # type: ignore[arg-type]

    # --- traffic ------------------------------------------------------------------------------------------------

    def _way(self, road: Road, i: int, j: int) -> Way | None:
        rng = generator(road.key, 2)
        _, key = district(self.seed, i, j)
        demand = math.exp(generator(key, 3).normal(0, 0.7) + rng.normal(0, 0.6)) * self.look.traffic
        way = Way(road.line_m, road.half_width_m, (45.0, 260.0, 800.0)[road.kind] * demand)
        return way if has_traffic(way, rng, self.trips) else None

    def _week(self, cx: int, cy: int) -> Floats:
        size = CHUNK * self.gsd_m
        corner = np.array([cx, cy], np.float64) * size
        rng = generator(self.seed, 91, cx, cy)
        parts = [drift(corner, size, rng, self.trips)]
        reach = self.trips.reach_m
        for plot in self._near(cx, cy):
            if _touch(plot.box_m, corner - reach, corner + size + reach):
                parts.append(self._points.get((plot.cell.i, plot.cell.j, 1), lambda plot=plot: self._plot_week(plot)))
        return self._in_chunk(parts, cx, cy)

    def _plot_week(self, plot: _Plot) -> Floats:
        i, j = plot.cell.i, plot.cell.j
        rng = generator(self.seed, 92, i, j)
        parts = [clutter(at, r, rng.lognormal(3.6, 0.9), rng, self.trips) for at, r in plot.car_parks]
        parts += [drive(w, generator(r.key, 3), self.trips) for r, w in zip(plot.roads, plot.ways, strict=True) if w]
        points = np.concatenate(parts) if parts else np.zeros((0, 3))
        points[:, :2] += area_shift(generator(self.seed, 93, i // 2, j // 2), self.trips)
        return points

    def _live_slot(self, cx: int, cy: int, slot: int) -> Floats:
        """Points of one chunk in one slot, of vehicles that started in it or in the two before."""
        size = CHUNK * self.gsd_m
        corner = np.array([cx, cy], np.float64) * size
        parts = [np.zeros((0, 3))]
        for plot in self._near(cx, cy):
            if not _touch(plot.box_m, corner - LIVE.reach_m, corner + size + LIVE.reach_m):
                continue
            for start in (slot - 2, slot - 1, slot):
                key = (plot.cell.i, plot.cell.j, start, 2)
                parts.append(self._live.get(key, lambda plot=plot, start=start: self._plot_live(plot, start)))
        points = self._in_chunk(parts, cx, cy)
        return points[(points[:, 2] >= slot * SLOT_S) & (points[:, 2] < (slot + 1) * SLOT_S)]

    def _plot_live(self, plot: _Plot, slot: int) -> Floats:
        parts = [np.zeros((0, 3))]
        for road, way in zip(plot.roads, plot.ways, strict=True):
            if way is not None:
                busy = Way(way.line_m, way.half_width_m, way.passes_per_week * LIVE_FLEET)
                parts.append(drive(busy, generator(road.key, 4, slot), LIVE, slot * SLOT_S, (slot + 1) * SLOT_S))
        return np.concatenate(parts)

    def _in_chunk(self, parts: list[Floats], cx: int, cy: int) -> Floats:
        """Points in metres → the chunk's points in pixels of the city, on the 1/64 pixel grid, by time."""
        points = np.concatenate(parts)
        points[:, :2] = np.floor(points[:, :2] / self.gsd_m * QUANTUM) / QUANTUM
        inside = (np.floor(points[:, 0] / CHUNK) == cx) & (np.floor(points[:, 1] / CHUNK) == cy)
        return points[inside]


LIVE_FLEET = 300.0  # live vehicles per vehicle of the week's fleet: about one car every ten seconds on a street


def _touch(box: tuple[float, float, float, float], low: object, high: object) -> bool:
    (x0, y0), (x1, y1) = low, high  # type: ignore[misc]
    return bool(box[2] >= x0 and box[0] <= x1 and box[3] >= y0 and box[1] <= y1)


def _cut(parts: list[Floats], x: int, y: int, w: int, h: int) -> NDArray[np.float32]:
    """Points of some chunks → those of a window, by time, counted from its corner."""
    points = np.concatenate(parts)
    inside = (points[:, 0] >= x) & (points[:, 0] < x + w) & (points[:, 1] >= y) & (points[:, 1] < y + h)
    points = points[inside] - [x, y, 0]
    return points[np.lexsort((points[:, 1], points[:, 0], points[:, 2]))].astype(np.float32)
