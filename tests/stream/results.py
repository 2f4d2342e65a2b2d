"""Results to write: a road down the middle of a frame, wherever the frame lies."""

from __future__ import annotations

import numpy as np

from roadedge.place import Place
from roadedge.sample import RoadMask, Sample
from roadedge.stream.road_lines import RoadLine
from roadedge.stream.sinks import Result
from roadedge.stream.sources import Frame, Second
from roadedge.trajectory.plane import LocalPlane

PLANE = LocalPlane(2.3522, 48.8566)
SIZE = (96, 128)


def nadir(crs: str = PLANE.crs, size: tuple[int, int] = SIZE, centre: tuple[float, float] = (0.0, 0.0)) -> Place:
    return Place.nadir(centre, 0.5, size, crs=crs)


def result(
    index: int = 0, place: Place | None = None, size: tuple[int, int] = SIZE, age_ms: float | None = 20.0
) -> Result:
    """A road of 12 pixels' width from left to right; captured a tenth of a second after the frame before it."""
    height, width = size
    probability = np.zeros(size, np.uint8)
    probability[height // 2 - 6 : height // 2 + 6] = 204
    mask = RoadMask(probability, probability >= 128, place)
    sample = Sample(np.zeros((height, width, 3), np.uint8), place=place, id=f"{index:06d}")
    frame = Frame(f"{index:06d}", sample, index / 10, "pts")
    return Result(frame, mask, Second(np.zeros(size, np.uint8), 7, 12.5), index / 10, age_ms, "pts")


def many_lines(count: int, vertices: int = 20, size: tuple[int, int] = SIZE, seed: int = 0) -> list[RoadLine]:
    """Crooked lines, no vertex of which lies on the way between its neighbours."""
    rng = np.random.default_rng(seed)
    height, width = size
    return [RoadLine(rng.uniform(0, 1, (vertices, 2)) * [width, height], float(rng.random())) for _ in range(count)]
