"""Synthetic GPS trips along known roads, with a stated noise model.

Points are made from the roads themselves, so a heat-map of them agrees with the road mask as no real pair does: scores
with them are semi-synthetic and no measure of accuracy on real GPS.

Noise model (all draws are independent unless said otherwise; lengths in metres; values of `TripModel`):

- passes: a Poisson number per road, its mean the road's `passes_per_week`; direction by a fair coin; start uniform in
  the time asked for; the vehicle keeps to one side by 10-70 % of the half width.
- traffic is missing altogether on a road with probability .35 (narrower than 7 m) or .06.
- speed: normal 8 ± 3 m/s per pass, at least 1.5; ± 10 % per point along the road.
- sampling interval: 10, 60, 180 or 300 s with shares .45, .35, .12, .08, drawn per pass; no points in between.
- GPS error: a bias per pass of sd 4, white noise of sd 2.5, for 3 % of the points an outlier of sd 25 on top, and one
  shift of sd 1 for a whole area (which the caller draws with `area_shift`). Each normal is cut at 3 sd.
- clutter: points in car parks, and drift, 60 points per megapixel of 0.46 m, anywhere (`clutter`, `drift`).

Source: the sampling intervals are those that CMMPNet (section III) names for Beijing; shares and sd are assumptions.
The error's order agrees with real tracks (median distance to a mapped road: Chicago 3.1 m, Athens 4.6 m).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import UsageError

WEEK_S = 604_800.0


@dataclass(frozen=True, slots=True)
class TripModel:
    """Parameters of the generator; what they do stands in the module's docstring."""

    intervals_s: tuple[float, ...] = (10.0, 60.0, 180.0, 300.0)
    interval_shares: tuple[float, ...] = (0.45, 0.35, 0.12, 0.08)
    speed_mps: float = 8.0
    speed_sd_mps: float = 3.0
    speed_min_mps: float = 1.5
    speed_jitter: float = 0.1
    side: tuple[float, float] = (0.1, 0.7)
    keeps_right: bool = True
    bias_sd_m: float = 4.0
    white_sd_m: float = 2.5
    outlier_share: float = 0.03
    outlier_sd_m: float = 25.0
    area_shift_sd_m: float = 1.0
    missing_share_narrow: float = 0.35
    missing_share_wide: float = 0.06
    narrow_m: float = 7.0
    drift_per_km2: float = 283.0  # 60 points per megapixel of 0.46 m
    clutter_sd_share: float = 0.3

    def __post_init__(self) -> None:
        if len(self.intervals_s) != len(self.interval_shares) or abs(sum(self.interval_shares) - 1) > 1e-6:
            raise UsageError(
                f"every sampling interval needs its share and the shares must add up to 1; got intervals "
                f"{self.intervals_s} and shares {self.interval_shares}"
            )
        if min(self.intervals_s) <= 0 or self.speed_min_mps <= 0:
            raise UsageError(
                f"sampling intervals and the least speed must be positive; got {self.intervals_s} s and "
                f"{self.speed_min_mps} m/s"
            )

    @property
    def reach_m(self) -> float:
        """How far, along x or y, a point may lie from its vehicle: all normals are cut at 3 sd."""
        return 3 * (self.bias_sd_m + self.white_sd_m + self.outlier_sd_m + self.area_shift_sd_m)


# A fleet that reports while it is seen, for a flight of minutes: a week's fleet would leave a live window empty.
LIVE = TripModel(intervals_s=(1.0, 2.0, 5.0, 10.0), interval_shares=(0.4, 0.3, 0.2, 0.1), bias_sd_m=2.5, white_sd_m=1.5)


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A piece of road that vehicles drive along: (N >= 2, 2) centreline in metres (x right, y down), its half width
    and how many vehicles pass in a week.
    """  # noqa: D205

    line_m: NDArray[np.float64]
    half_width_m: float
    passes_per_week: float

    def __post_init__(self) -> None:
        if self.line_m.ndim != 2 or self.line_m.shape[1] != 2 or len(self.line_m) < 2:
            raise UsageError(f"a way needs a centreline of at least two x, y points, got shape {self.line_m.shape}")

    @property
    def length_m(self) -> float:
        """Length of the centreline."""
        return float(np.hypot(*np.diff(self.line_m, axis=0).T).sum())


def cut_normal(rng: np.random.Generator, sd: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Normal values of standard deviation `sd`, cut at 3 sd so that a road's points have a known reach."""
    return np.clip(rng.standard_normal(shape), -3.0, 3.0) * sd


def area_shift(rng: np.random.Generator, model: TripModel) -> NDArray[np.float64]:
    """The (2,) shift in metres that all points of one area share."""
    return cut_normal(rng, model.area_shift_sd_m, (2,))


def has_traffic(way: Way, rng: np.random.Generator, model: TripModel) -> bool:
    """Draw whether the road is driven at all."""
    narrow = 2 * way.half_width_m < model.narrow_m
    return bool(rng.random() >= (model.missing_share_narrow if narrow else model.missing_share_wide))


def drive(
    ways: Sequence[Way], rng: np.random.Generator, model: TripModel, t0_s: float = 0.0, t1_s: float = WEEK_S
) -> NDArray[np.float64]:
    """GPS points of the vehicles that start along `ways` in [t0_s, t1_s).

    Returns:
        (N, 3) x, y in metres and t in seconds, grouped by pass; a pass may end after `t1_s`.
    """
    if not ways:
        return np.zeros((0, 3))
    expected = np.array([way.passes_per_week for way in ways]) * (t1_s - t0_s) / WEEK_S
    way = np.repeat(np.arange(len(ways)), rng.poisson(expected))
    count = len(way)
    length = np.array([way.length_m for way in ways])[way]
    speed = np.maximum(rng.normal(model.speed_mps, model.speed_sd_mps, count), model.speed_min_mps)
    interval = rng.choice(model.intervals_s, count, p=model.interval_shares)
    start = rng.uniform(t0_s, t1_s, count)
    first = rng.uniform(0.0, 1.0, count) * interval  # the receiver's clock knows nothing of the road's start
    points = np.maximum(np.ceil((length / speed - first) / interval), 0).astype(np.int64)
    direction = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    half_width = np.array([way.half_width_m for way in ways])[way]
    side = direction * rng.uniform(*model.side, count) * half_width * (1 if model.keeps_right else -1)
    bias = cut_normal(rng, model.bias_sd_m, (count, 2))

    vehicle = np.repeat(np.arange(count), points)
    total = len(vehicle)
    nth = np.arange(total) - np.repeat(np.cumsum(points) - points, points)
    elapsed = first[vehicle] + nth * interval[vehicle]
    along = elapsed * speed[vehicle] * (1 + cut_normal(rng, model.speed_jitter / 3, (total,)))
    along = np.where(direction[vehicle] > 0, along, length[vehicle] - along)
    centre, normal = _along_ways(ways, way[vehicle], np.minimum(np.maximum(along, 0.0), length[vehicle]))
    xy = centre + normal * side[vehicle, None] + bias[vehicle] + cut_normal(rng, model.white_sd_m, (total, 2))
    outlier = rng.random(total) < model.outlier_share
    xy[outlier] += cut_normal(rng, model.outlier_sd_m, (int(outlier.sum()), 2))
    return np.column_stack([xy, start[vehicle] + elapsed])


def along_line(
    line_m: NDArray[np.float64], along_m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points on a polyline and its normals to the right of the way along it.

    Args:
        line_m: (N, 2) x right, y down.
        along_m: (M,) arc lengths.

    Returns:
        (M, 2) points and (M, 2) unit normals.
    """
    return _along_ways([Way(line_m, 0.0, 0.0)], np.zeros(len(along_m), np.int64), along_m)


def _along_ways(
    ways: Sequence[Way], which: NDArray[np.int64], along_m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`along_line` for many ways at once: (M,) numbers of the ways, (M,) arc lengths on them."""
    step = np.concatenate([np.diff(way.line_m, axis=0) for way in ways])
    corner = np.concatenate([way.line_m[:-1] for way in ways])
    size = np.hypot(step[:, 0], step[:, 1])
    arc = np.zeros(len(size) + 1)  # laid end to end, one way after the other
    np.cumsum(size, out=arc[1:])
    last = np.cumsum([len(way.line_m) - 1 for way in ways])
    first = np.concatenate([[0], last[:-1]])
    global_m = arc[first[which]] + along_m
    piece = np.searchsorted(arc, global_m, side="right") - 1
    piece = np.minimum(np.maximum(piece, first[which]), last[which] - 1)
    tangent = (step / np.maximum(size, 1e-9)[:, None])[piece]
    point = corner[piece] + tangent * (global_m - arc[piece])[:, None]
    return point, np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)  # y points down: right of (1, 0) is (0, 1)


def clutter(
    centre_m: NDArray[np.float64], radius_m: float, count: float, rng: np.random.Generator, model: TripModel
) -> NDArray[np.float64]:
    """A Poisson number (mean `count`) of points around a car park: (N, 3) x, y in metres, t in a week."""
    number = rng.poisson(count)
    xy = centre_m + cut_normal(rng, radius_m * model.clutter_sd_share * 2, (number, 2))
    return np.column_stack([xy, rng.uniform(0, WEEK_S, number)])


def drift(
    corner_m: NDArray[np.float64], size_m: float, rng: np.random.Generator, model: TripModel
) -> NDArray[np.float64]:
    """Points that belong to no road, uniform in a square: (N, 3) x, y in metres, t in a week."""
    number = rng.poisson(model.drift_per_km2 * size_m**2 / 1e6)
    xy = corner_m + rng.uniform(0.0, size_m, (number, 2))
    return np.column_stack([xy, rng.uniform(0, WEEK_S, number)])
