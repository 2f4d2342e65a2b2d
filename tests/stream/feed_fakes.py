"""A source with a clock, a live feed that the test lets arrive, frames with a place, points drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from roadedge.place import Place
from roadedge.sample import Sample
from roadedge.spec import HeatmapSpec, ModelSpec
from roadedge.stream.feeds import Feed
from roadedge.stream.feeds_udp import HostUtc
from roadedge.stream.sources import Frame, Source
from roadedge.trajectory.heatmap import rasterize
from roadedge.trajectory.plane import LocalPlane
from roadedge.trajectory.points import Points

SPEC = ModelSpec("fake", gsd_m=None, gsd_band_m=None, heatmap=HeatmapSpec(window_s=10.0))
SIZE = (48, 64)
PLANE = LocalPlane(-87.65, 41.87)
UTC_S = 1.7e9


class Frames(Source):
    """A source that says when its clock began; its frames are made by the test."""

    name = "frames"

    def __init__(self, epoch_s: float | None = None, delivers: bool = False) -> None:
        self.epoch_s, self.delivers = epoch_s, delivers

    def read(self) -> Frame | None:
        return None

    def skip(self, count: int) -> int:
        return 0


class LiveFeed(Feed):
    """A live feed whose points the test lets arrive."""

    live = utc = True
    crs = "local"

    def __init__(self) -> None:
        super().__init__("live")
        self.arrived: list[Points] = []

    def arrive(self, t_s: Sequence[float], xy: NDArray[np.float64] | None = None) -> None:
        at = np.tile([5.0, -5.0], (len(t_s), 1)) if xy is None else xy
        self.arrived.append(Points(at[:, 0], at[:, 1], np.array(t_s, np.float64), crs="local"))

    def take(self, until_s: float) -> Points | None:
        return self.arrived.pop(0) if self.arrived else None


class Host(HostUtc):
    """The host's UTC, which stands still."""

    def now_s(self) -> float:
        return UTC_S

    def of(self, moment_ns: int) -> float:
        return UTC_S + moment_ns / 1e9


def frame(capture_s: float | None, place: Place | None, size: tuple[int, int] = SIZE, ns: int | None = None) -> Frame:
    image = np.zeros((*size, 3), np.uint8)
    return Frame("f", Sample(image, place=place), capture_s, "pts", captured_ns=ns)


def north_up(x: float = 0.0, y: float = 0.0, gsd_m: float = 0.5, crs: str = "local") -> Place:
    return Place.from_geotransform((x, gsd_m, 0.0, y, 0.0, -gsd_m), crs)


def recorded(t_s: Sequence[float], xy: NDArray[np.float64] | None = None, crs: str = "local") -> Points:
    at = np.tile([5.0, -5.0], (len(t_s), 1)) if xy is None else xy
    return Points(at[:, 0], at[:, 1], np.array(t_s, np.float64), crs=crs)


def by_hand(xy: NDArray[np.float64], place: Place, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return rasterize(place.to_image(xy), size, SPEC.heatmap)


def scattered(seed: int, count: int, side_m: float = 60.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-side_m, side_m, (count, 2)) + 0.0137


def count_inside(pixels: NDArray[np.float64], size: tuple[int, int] = SIZE) -> int:
    return int(np.count_nonzero(((pixels >= 0) & (pixels < size[::-1])).all(axis=1)))
