"""Points on roads → passes: a vehicle on a road, from its first point there to the last before a gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roadedge.roadmap.snapping import Snapped
from roadedge.trajectory.point_store import StoredPoints

if TYPE_CHECKING:
    from roadedge.roadmap.traffic import TrafficOptions


@dataclass(frozen=True, slots=True, eq=False)
class Passes:
    """P passes; arrays of (P,).

    `edge`, `vid` (-1: a point by itself, of nobody knows whom), `first_s` and `last_s` (NaN unknown), `points`,
    `speed_ms` (median of the points that move, NaN unknown), `along` (sum of cosines between heading and line), and
    `moving`: whether not all of it stood.
    """

    edge: NDArray[np.int64]
    vid: NDArray[np.int64]
    first_s: NDArray[np.float64]
    last_s: NDArray[np.float64]
    points: NDArray[np.int64]
    speed_ms: NDArray[np.float64]
    along: NDArray[np.float64]
    moving: NDArray[np.bool_]

    @property
    def direction(self) -> NDArray[np.int64]:
        """(P,) 1 along the line, -1 against it, 0 unknown."""
        return np.sign(np.nan_to_num(self.along)).astype(np.int64)

    @classmethod
    def none(cls) -> Passes:
        """No passes."""
        whole, real = np.empty(0, np.int64), np.empty(0)
        return cls(whole, whole, real, real, whole, real, real, np.empty(0, np.bool_))

    @classmethod
    def joined(cls, parts: Sequence[Passes], gap_s: float) -> Passes:
        """Those of all blocks; what a border between blocks cut in two is one again."""
        names = cls.__dataclass_fields__
        every = cls(*(np.concatenate([getattr(part, name) for part in (cls.none(), *parts)]) for name in names))
        order = np.lexsort((every.first_s, every.vid, every.edge))
        every = cls(*(getattr(every, name)[order] for name in names))
        start = _starts(every.edge, every.vid, every.first_s, every.last_s, gap_s)
        if len(start) == len(every.edge):
            return every
        weight = np.where(np.isfinite(every.speed_ms), every.points, 0)
        with np.errstate(invalid="ignore"):
            speed = _sum(np.nan_to_num(every.speed_ms) * weight, start) / _sum(weight, start)
        return cls(
            every.edge[start],
            every.vid[start],
            np.fmin.reduceat(every.first_s, start),
            np.fmax.reduceat(every.last_s, start),
            np.add.reduceat(every.points, start),
            speed,
            np.add.reduceat(every.along, start),
            np.logical_or.reduceat(every.moving, start),
        )


def passes_of_points(found: Snapped, stored: StoredPoints, options: TrafficOptions) -> Passes:
    """The passes of the points that follow a road."""
    if not len(found.row):
        return Passes.none()
    vid, time, speed = stored.vid[found.row], stored.t_s[found.row], stored.speed_ms[found.row].astype(np.float64)
    order = np.lexsort((time, vid, found.edge))
    edge, vid, time, speed, along = found.edge[order], vid[order], time[order], speed[order], found.along[order]
    start = _starts(edge, vid, time, time, options.gap_s)
    group = np.zeros(len(edge), np.int64)
    group[start[1:]] = 1
    group = np.cumsum(group)
    with np.errstate(invalid="ignore"):
        stands = speed < options.standing_ms
    driven = np.isfinite(speed) & ~stands
    return Passes(
        edge[start],
        vid[start],
        np.fmin.reduceat(time, start),
        np.fmax.reduceat(time, start),
        np.diff(np.append(start, len(edge))),
        grouped_median(group[driven], speed[driven], len(start)),
        np.add.reduceat(np.nan_to_num(along), start),
        np.logical_or.reduceat(~stands, start),
    )


def grouped_median(group: NDArray[np.int64], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(count,) medians of the values of each group, NaN of an empty one; of an even number the mean of two."""
    order = np.lexsort((values, group))
    values, group = values[order], group[order]
    size = np.bincount(group, minlength=count)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    found = np.full(count, np.nan)
    some = size > 0
    low, high = start[some] + (size[some] - 1) // 2, start[some] + size[some] // 2
    found[some] = (values[low].astype(np.float64) + values[high]) / 2
    return found


def _starts(
    edge: NDArray[np.int64],
    vid: NDArray[np.int64],
    first_s: NDArray[np.float64],
    last_s: NDArray[np.float64],
    gap_s: float,
) -> NDArray[np.int64]:
    """Where, in what is sorted by road, vehicle and time, a new pass begins; a point of nobody is one by itself."""
    if not len(edge):
        return np.empty(0, np.int64)
    with np.errstate(invalid="ignore"):
        apart = (np.diff(edge) != 0) | (np.diff(vid) != 0) | (vid[1:] < 0) | (first_s[1:] - last_s[:-1] > gap_s)
    return np.concatenate([[0], np.flatnonzero(apart) + 1])


def _sum(values: NDArray[np.float64], start: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.add.reduceat(values, start), np.float64)
