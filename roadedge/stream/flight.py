"""A synthetic drone flight: a camera that looks straight down circles over the built-in city, whose vehicles report.

Ground and traffic are made before the first frame is due, so that what is timed is the pipeline and not the simulation;
`decode` is then the cutting of the frame from the ground. The drone flies the same lap again and again, and the traffic
repeats itself after four minutes. Scores on it are semi-synthetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from roadedge.data.city import QUANTUM, City
from roadedge.errors import UsageError
from roadedge.place import Place
from roadedge.preprocess import fit
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.stream.sources import Frame, Second, Source
from roadedge.trajectory.heatmap import heatmap_from_counts
from roadedge.trajectory.rolling import RollingHeatmap

CITY_SEED = 16  # with traffic on most of its roads; no network was trained on it
GSD_M = 0.46  # metres per pixel where nothing else is asked for
SPEED_MPS = 15.0
RADIUS_PX = 256  # of the lap
TRAFFIC_S = 240.0  # after which the traffic repeats itself
WINDOW_S = 60.0  # how long a point stays, where the network's own heat-map has no such limit
SIDE_LIMIT_PX = 4096


class Flight(Source):
    """Frames due at `rate_hz`, the city's road as truth, the GPS points of the last minute in a rolling heat-map."""

    moving = True
    live = True

    def __init__(
        self, size: tuple[int, int], rate_hz: float, gsd_m: float | None = None, seed: int = CITY_SEED
    ) -> None:
        """Plan a flight; `prepare` draws the ground.

        Args:
            size: (H, W) of a frame in pixels.
            rate_hz: frames a second.
            gsd_m: metres per pixel; None takes 0.46.
            seed: of the city.

        Raises:
            UsageError: a size or rate out of range.
        """
        height, width = size
        if not (32 <= min(size) and max(size) <= SIDE_LIMIT_PX) or not 0 < rate_hz <= 1000:
            raise UsageError(
                f"a synthetic flight has frames of 32 to {SIDE_LIMIT_PX} pixels a side at up to 1000 a second, "
                f"got {width}x{height}@{rate_hz:g}"
            )
        self.name, self.rate_hz, self.size = f"synth-{width}x{height}", rate_hz, size
        self.gsd_m, self._seed = gsd_m or GSD_M, seed
        self._rolling: RollingHeatmap | None = None
        self._fed_s = -math.inf  # all points up to this time are in
        self._newest_s: float | None = None
        self._index = 0

    def prepare(self) -> None:
        """Draw the ground under the lap and the traffic on it."""
        height, width = self.size
        city, area = City(self._seed, self.gsd_m), (0, 0, width + 2 * RADIUS_PX, height + 2 * RADIUS_PX)
        self._ground = city.window(*area)
        self._traffic = city.points_between(*area, 0.0, TRAFFIC_S)  # (N, 3) x, y in pixels, t in seconds, by time

    def read(self) -> Frame | None:
        """Cut the next frame from the ground; a flight has no end. After `prepare`."""
        index, t_s = self._index, self._index / (self.rate_hz or 1.0)
        self._index += 1
        x, y = self.corner(t_s)
        part = np.s_[y : y + self.size[0], x : x + self.size[1]]
        name = self.name_of(index)
        image = np.ascontiguousarray(self._ground.image[part])
        sample = Sample(image, place=self._place(x, y), gsd_m=self.gsd_m, t_s=t_s, id=name)
        return Frame(name, sample, truth=self._ground.mask[part])

    def skip(self, count: int) -> int:
        """Let the drone fly on."""
        self._index += count
        return count

    def second(self, frame: Frame, spec: ModelSpec) -> Second:
        """Take in the points that have arrived and cut the frame's heat-map from the rolling raster."""
        height, width = self.size
        grid = fit(self.size, self.gsd_m, spec).grid
        place, now_s = frame.sample.place, frame.sample.t_s
        assert place is not None
        assert now_s is not None
        on_grid = place if grid == self.size else place.scaled(grid[1] / width, grid[0] / height)
        rolling = self._advance(now_s, on_grid.gsd_m(grid), spec.heatmap.window_s or WINDOW_S)
        counts = rolling.counts(on_grid, grid)
        skew_ms = None if self._newest_s is None else (now_s - self._newest_s) * 1e3
        return Second(heatmap_from_counts(counts, spec.heatmap), int(counts.sum()), skew_ms)

    def corner(self, t_s: float) -> tuple[int, int]:
        """Pixel (x, y) of the ground at a frame's upper left corner, `t_s` seconds into the flight."""
        angle = t_s * SPEED_MPS / (RADIUS_PX * self.gsd_m)
        return round(RADIUS_PX * (1 - math.cos(angle))), round(RADIUS_PX * (1 + math.sin(angle)))

    def _advance(self, now_s: float, cell_m: float, window_s: float) -> RollingHeatmap:
        """The rolling heat-map with all points that have arrived by `now_s`; the first frame finds a full window."""
        if self._rolling is None:
            self._rolling = RollingHeatmap(cell_m, window_s)
            self._fed_s = now_s - window_s
        for ground, t_s in self._arrivals(self._fed_s, now_s):
            self._rolling.add(ground, t_s, now_s)
            self._newest_s = float(t_s[-1])
        self._fed_s = now_s
        self._rolling.advance(now_s)
        return self._rolling

    def _place(self, x: int, y: int) -> Place:
        return Place.from_geotransform((x * self.gsd_m, self.gsd_m, 0.0, -y * self.gsd_m, 0.0, -self.gsd_m))

    def _arrivals(self, after_s: float, until_s: float) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Metres east and north (N, 2) and seconds (N,) of the points with after_s < t <= until_s."""
        times = self._traffic[:, 2]
        for lap in range(math.floor(after_s / TRAFFIC_S), math.floor(until_s / TRAFFIC_S) + 1):
            start_s = lap * TRAFFIC_S
            first, last = np.searchsorted(times, [after_s - start_s, until_s - start_s], side="right")
            if first < last:
                rows = self._traffic[first:last].astype(np.float64)
                xy = rows[:, :2] + 0.5 / QUANTUM  # off the whole pixels, where metres and back could end next door
                yield xy * [self.gsd_m, -self.gsd_m], rows[:, 2] + start_s
