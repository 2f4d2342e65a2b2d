"""`LiveTrack`: poses that come while they are asked for, checked one by one, of bounded memory."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.georeference.pose import Pose, PoseTrack, wrapped_deg
from roadedge.georeference.track_checks import JUMP_SLACK_M, SPEED_LIMIT_MPS
from roadedge.trajectory.plane import LocalPlane

HELD_ROWS = 2048  # 20 s of an inertial unit of 100 Hz, half an hour of a receiver of 1 Hz
EARLY_S = 60.0  # a row further ahead of the host than this has a wrong clock
AGREED_ROWS = 3  # so many rows that agree with each other and not with those before: the earlier ones were wrong
COURSE_STEP_M = 3.0  # a shorter step says nothing about the direction of travel
COURSE_STEP_MPS = 0.5  # nor does a slower one: the position of a receiver that stands wanders
COURSE_FROM_MPS = 1.0  # from this speed on a receiver's own course is taken


@dataclass(frozen=True, slots=True)
class LiveRow:
    """What telemetry says at one moment; NaN is what it does not say.

    `t_s` seconds since 1970; height, yaw, pitch and roll as in `Pose`, of the camera; `course_deg` is the direction of
    travel clockwise from north, `speed_mps` that over the ground.
    """

    t_s: float
    lon_deg: float
    lat_deg: float
    height_m: float = math.nan
    yaw_deg: float = math.nan
    pitch_deg: float = math.nan
    roll_deg: float = math.nan
    course_deg: float = math.nan
    speed_mps: float = math.nan

    def follows(self, before: LiveRow) -> bool:
        """Whether it is later than `before`, and something could have gone the way between the two."""
        dt_s = self.t_s - before.t_s
        return dt_s > 0 and self.metres_from(before) <= JUMP_SLACK_M + SPEED_LIMIT_MPS * dt_s

    def metres_from(self, before: LiveRow) -> float:
        """Distance over the ground; NaN to the other side of the Earth."""
        return float(np.hypot(*self.step_from(before)))

    def step_from(self, before: LiveRow) -> NDArray[np.float64]:
        """(2,): metres east and north."""
        step = LocalPlane(before.lon_deg, before.lat_deg).from_lonlat([[self.lon_deg, self.lat_deg]])
        return np.asarray(step[0])


class LiveTrack:
    """The last `HELD_ROWS` poses of one vehicle or drone. One thread may add while another asks.

    Rows are left out and counted in `dropped` as `PoseTrack.checked` has it: `nan`, `no_fix`, `out_of_range`,
    `backward`, `jump`; and `early` (more than 60 s ahead of the host). Where the next three rows agree with each other
    and not with those before, the earlier ones were wrong: they are forgotten, and counted in `noticed` as `restart`.

    Until a row has a yaw the direction of travel stands for it: the receiver's own from 1 m/s on, else that of steps of
    3 m. A vehicle that stands keeps what it had, counted in `noticed` as `course_held`.
    """

    def __init__(self) -> None:
        """No poses yet."""
        self.dropped: Counter[str] = Counter()
        self.noticed: Counter[str] = Counter()
        self.taken = 0
        self.yaw_from = ""
        self._lock = threading.Lock()
        self._table = np.full((2 * HELD_ROWS, 7), np.nan)  # t_s, then the columns of a pose; rows first to end are held
        self._first = self._end = 0
        self._last: LiveRow | None = None
        self._anchor: LiveRow | None = None  # from which the next step of a course is measured
        self._doubted: list[tuple[LiveRow, str]] = []  # that do not follow, but one another; and why not
        self._course_deg = math.nan
        self._tilts = False

    def __len__(self) -> int:
        return self._end - self._first

    @property
    def tilts(self) -> bool:
        """Whether a row has said a height, pitch or roll, so that what the camera sees changes by what comes."""
        return self._tilts

    def add(self, row: LiveRow, now_s: float) -> bool:
        """Take in a row, or leave it out and count why.

        Args:
            row: what came.
            now_s: seconds since 1970 by the host.
        """
        with self._lock:
            reason = _wrong(row, now_s)
            if reason:
                self.dropped[reason] += 1
                return False
            if self._last is not None and not row.follows(self._last):
                return self._doubt(row, "backward" if row.t_s <= self._last.t_s else "jump")
            self._doubted.clear()
            self._keep(row)
            return True

    def steer(self, course_deg: float, speed_mps: float) -> None:
        """The course of the last row, which came apart from its position; passed over while there is none."""
        with self._lock:
            if self._last is not None and self.yaw_from != "flight" and speed_mps >= COURSE_FROM_MPS:
                self._last = dataclasses.replace(self._last, course_deg=course_deg, speed_mps=speed_mps)
                self._table[self._end - 1, 4] = self._course(self._last)

    def at(self, t_s: float, tolerance_s: float = 1.0) -> Pose | None:
        """The pose at `t_s`, seconds since 1970; as `PoseTrack.at` of the rows that have come.

        About the only row, of which no step tells the speed, the receiver's own speed and course carry the pose on.
        """
        with self._lock:
            held, last = self._held(), self._last
            pose = None if held is None else held.at(t_s, tolerance_s)
        if pose is None or held is None or last is None or len(held) > 1:
            return pose
        return _carried_on(pose, last, t_s)

    def why_not(self, t_s: float, tolerance_s: float) -> tuple[str, str]:
        """Why there is no pose at `t_s`: short and countable, and in words."""
        with self._lock:
            if self._last is None:
                return "before the first fix", "no telemetry has come yet"
            begin_s, end_s = float(self._table[self._first, 0]), self._last.t_s
        if t_s > end_s:
            return "telemetry stopped", (
                f"the last fix is {t_s - end_s:.1f} s older than the frame; where fixes still come, one of the clocks "
                "is wrong: see --time-offset and udp://HOST:PORT?time=arrival"
            )
        if t_s < begin_s:
            return "before the first fix", f"the first fix held is {begin_s - t_s:.1f} s younger than the frame"
        return "hole in the telemetry", f"no fix within {tolerance_s:g} s of the frame"

    def notices(self) -> tuple[str, ...]:
        """What a person should know, so far."""
        said = []
        if self.yaw_from == "course":
            said.append("the telemetry holds no yaw; the direction of travel stands for it")
        if self.noticed["course_held"]:
            said.append(
                f"the vehicle stood in {self.noticed['course_held']} of {self.taken} fixes; its last direction of "
                "travel was held"
            )
        if self.noticed["restart"]:
            said.append(f"the telemetry began anew {self.noticed['restart']} times, elsewhere or at another time")
        if self.dropped["early"]:
            said.append(
                f"{self.dropped['early']} fixes were left out that lie more than {EARLY_S:g} s ahead of this machine's "
                "clock; set it, or take udp://HOST:PORT?time=arrival"
            )
        return tuple(said)

    def _doubt(self, row: LiveRow, reason: str) -> bool:
        """Leave out a row that does not follow, unless it is the last of enough that follow one another."""
        self.dropped[reason] += 1
        if self._doubted and not row.follows(self._doubted[-1][0]):
            self._doubted.clear()
        self._doubted.append((row, reason))
        if len(self._doubted) < AGREED_ROWS:
            return False
        rows, self._doubted = self._doubted, []
        self._first = self._end = 0
        self._last = self._anchor = None
        self._course_deg = math.nan
        self.noticed["restart"] += 1
        for one, counted in rows:
            self.dropped[counted] -= 1
            self._keep(one)
        return True

    def _keep(self, row: LiveRow) -> None:
        if self._end == len(self._table):  # the newer half moves to the front
            self._table[:HELD_ROWS] = self._table[HELD_ROWS:]
            self._first, self._end = 0, HELD_ROWS
        if math.isfinite(row.yaw_deg) and self.yaw_from != "flight":
            self._table[self._first : self._end, 4] = np.nan  # courses of before: the camera may look elsewhere
            self.yaw_from = "flight"
        yaw_deg = row.yaw_deg if self.yaw_from == "flight" else self._course(row)
        self._table[self._end] = row.t_s, row.lon_deg, row.lat_deg, row.height_m, yaw_deg, row.pitch_deg, row.roll_deg
        self._end += 1
        self._first = max(self._first, self._end - HELD_ROWS)
        self._last = row
        self._tilts = self._tilts or any(map(math.isfinite, (row.height_m, row.pitch_deg, row.roll_deg)))
        self.taken += 1

    def _course(self, row: LiveRow) -> float:
        """The direction of travel at a row, NaN while none is known."""
        anchor = self._anchor or row
        step = row.step_from(anchor)
        way_m, dt_s = float(np.hypot(*step)), row.t_s - anchor.t_s
        if math.isfinite(row.course_deg) and row.speed_mps >= COURSE_FROM_MPS:
            self._anchor, self._course_deg = row, row.course_deg
        elif self._anchor is None:
            self._anchor = row
        elif way_m >= COURSE_STEP_M:
            self._anchor = row
            if way_m >= COURSE_STEP_MPS * dt_s and not row.speed_mps < COURSE_STEP_MPS:
                self._course_deg = math.degrees(math.atan2(step[0], step[1]))
        elif math.isfinite(self._course_deg) and self._last is not None:
            stands = row.speed_mps < COURSE_STEP_MPS or row.metres_from(self._last) < COURSE_STEP_MPS * (
                row.t_s - self._last.t_s
            )
            self.noticed["course_held"] += stands
        if math.isfinite(self._course_deg):
            self.yaw_from = "course"
        return self._course_deg

    def _held(self) -> PoseTrack | None:
        """The rows held, without a copy of them."""
        if self._last is None:
            return None
        t_s, lon, lat, height, yaw, pitch, roll = self._table[self._first : self._end].T
        return PoseTrack(t_s, lon, lat, height, yaw, pitch, roll, self.yaw_from, epoch_s=0.0)


def _carried_on(pose: Pose, row: LiveRow, t_s: float) -> Pose:
    if not (math.isfinite(row.course_deg) and 0 <= row.speed_mps <= SPEED_LIMIT_MPS):
        return pose
    way_m, course = row.speed_mps * (t_s - row.t_s), math.radians(row.course_deg)
    plane = LocalPlane(row.lon_deg, row.lat_deg)
    lon, lat = plane.to_lonlat([[way_m * math.sin(course), way_m * math.cos(course)]])[0].tolist()
    lon = float(wrapped_deg(lon))
    return dataclasses.replace(pose, lon_deg=lon, lat_deg=lat, position_m=math.hypot(pose.position_m, way_m / 2))


def _wrong(row: LiveRow, now_s: float) -> str:
    """Why a row by itself is none, "" where it may be one."""
    if not (math.isfinite(row.t_s) and math.isfinite(row.lon_deg) and math.isfinite(row.lat_deg)):
        return "nan"
    if row.lon_deg == 0 == row.lat_deg:
        return "no_fix"
    if abs(row.lon_deg) > 180 or abs(row.lat_deg) >= 90:
        return "out_of_range"
    return "early" if row.t_s > now_s + EARLY_S else ""
