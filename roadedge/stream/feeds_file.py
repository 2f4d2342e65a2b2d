"""Points of files: a historical prior, all of it there from the start, and a replay, which comes on its own clock."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import PointsError, SourceError
from roadedge.stream.feeds import Feed, FeedOptions, is_utc
from roadedge.stream.feeds_crs import check_crs
from roadedge.trajectory.datum import to_wgs84
from roadedge.trajectory.points import Points
from roadedge.trajectory.readers import read_points

# A clock that was not set lies years away (1970, 1980, a rollover is 19.6), and no recording pauses for so long.
APART_S = 365.25 * 86400
FASTEST_MPS = 100.0  # 360 km/h: faster from one fix to the next is a jump of the receiver


class PriorFeed(Feed):
    """Points of long ago, all of them on every frame: where vehicles have driven before."""

    timed = False

    def __init__(self, name: str, points: Points) -> None:
        """Take the points; their times play no part."""
        super().__init__(name)
        self.crs = points.crs
        self.dropped.update(points.dropped)
        self._points: Points | None = dataclasses.replace(points, t_s=None)

    def take(self, until_s: float) -> Points | None:
        """All points at the first call."""
        points, self._points = self._points, None
        return points


class ReplayFeed(Feed):
    """Points of a recording, each given when the stream has come to its time.

    They are put in the order of time. Left out and counted: `nan_time` and `clock_jump` (more than a year away from
    all others: a clock that was not set yet). Kept and counted in `noticed`: `backward` (a row earlier than the one
    before it of the same vehicle) and `position_jump` (over 100 m/s from one row to the next of the same vehicle):
    the training shows the network such points too.
    """

    def __init__(self, name: str, points: Points) -> None:
        """Sort the points.

        Raises:
            PointsError: none has a time.
        """
        super().__init__(name)
        if points.t_s is None or not np.isfinite(points.t_s).any():
            raise PointsError(
                f"{name} has no row with a time to be replayed by; expected a column t, or take it as prior:FILE"
            )
        self.crs = points.crs
        self.dropped.update(points.dropped)
        known = np.isfinite(points.t_s)
        self._count("nan_time", known)
        points = points.select(known)
        self.noticed.update(_notice(points))
        points = points.select(np.argsort(_times(points), kind="stable"))
        kept = _one_recording(_times(points))
        self._count("clock_jump", kept)
        self._points = points.select(kept)
        self._t_s = _times(self._points)
        self._next = 0
        self.first_s, self.last_s = float(self._t_s[0]), float(self._t_s[-1])
        self.utc = is_utc(self.first_s)

    def take(self, until_s: float) -> Points | None:
        """The points up to `until_s` that were not given yet."""
        end = int(np.searchsorted(self._t_s, until_s, side="right"))
        if end <= self._next:
            return None
        begin, self._next = self._next, end
        return self._points.select(np.arange(begin, end))

    @property
    def next_s(self) -> float | None:
        """Time of the first point that was not given yet."""
        return float(self._t_s[self._next]) if self._next < len(self._t_s) else None

    def _count(self, reason: str, kept: NDArray[np.bool_]) -> None:
        left_out = int(np.count_nonzero(~kept))
        if left_out:
            self.dropped[reason] += left_out


def open_prior(text: str, options: FeedOptions) -> PriorFeed:
    """Read a file of points as a historical prior; raises as `open_feed` does."""
    return PriorFeed(f"prior:{Path(text).name}", _read(text, options))


def open_replay(text: str, options: FeedOptions) -> ReplayFeed:
    """Read a file of points to be given on its own clock; raises as `open_feed` does."""
    return ReplayFeed(f"replay:{Path(text).name}", _read(text, options))


def open_bag(text: str, options: FeedOptions) -> ReplayFeed:
    """The NavSatFix messages of `PATH#topic`, a ROS 2 bag, replayed by their headers' times; raises as `open_feed`."""
    from roadedge.stream.bag import read_fixes

    return ReplayFeed(f"bag:{text}", on_wgs84(read_fixes(f"bag:{text}"), options.datum))


def on_wgs84(points: Points, datum: str) -> Points:
    """Longitude and latitude of `datum` → WGS 84; points in metres or pixels stay."""
    if datum == "wgs84" or points.crs != "lonlat":
        return points
    x, y = to_wgs84(points.x, points.y, datum)
    return dataclasses.replace(points, x=x, y=y)


def _read(text: str, options: FeedOptions) -> Points:
    path = Path(text).expanduser()
    if not path.is_file():
        raise SourceError(f"there is no file {path} of points; check --trajectory")
    try:
        points = read_points(path, options.datum, options.points_crs)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
    check_crs(points.crs)
    return points


def _times(points: Points) -> NDArray[np.float64]:
    assert points.t_s is not None
    return points.t_s


def _one_recording(t_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the sorted times belong to the recording of the middle one: none more than APART_S from the next."""
    breaks = np.flatnonzero(np.diff(t_s) > APART_S) + 1
    middle = len(t_s) // 2
    begin = max((int(b) for b in breaks if b <= middle), default=0)
    end = min((int(b) for b in breaks if b > middle), default=len(t_s))
    kept = np.zeros(len(t_s), np.bool_)
    kept[begin:end] = True
    return kept


def _notice(points: Points) -> Counter[str]:
    """Rows that go back in time or jump in place, each beside the row before it of the same vehicle."""
    t_s = _times(points)
    vehicle = np.zeros(len(t_s), np.int64) if points.vehicle is None else points.vehicle
    order = np.argsort(vehicle, kind="stable")  # the rows of a vehicle in the order of the file
    same = vehicle[order][1:] == vehicle[order][:-1]
    step_s = np.diff(t_s[order])[same]
    noticed = Counter({"backward": int(np.count_nonzero(step_s < 0))})
    if points.crs != "pixel" and points.vehicle is not None:
        metres = _metres(points)[order]
        step_m = np.hypot(*np.diff(metres, axis=0).T)[same]
        noticed["position_jump"] = int(np.count_nonzero((step_s > 0) & (step_m > FASTEST_MPS * step_s)))
    return +noticed  # without those that are zero


def _metres(points: Points) -> NDArray[np.float64]:
    """(N, 2) metres that serve for steps, not for maps."""
    if points.crs != "lonlat":
        return points.xy()
    east = np.radians(points.x) * np.cos(np.radians(points.y))
    return np.stack([east, np.radians(points.y)], axis=1) * 6371e3
