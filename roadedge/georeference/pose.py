"""`Pose`, where a camera is and looks, and `PoseTrack`, poses over time that have been checked."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import PointsError
from roadedge.georeference.track_checks import growing, steady
from roadedge.trajectory.plane import LocalPlane

POSITION_M = 2.5  # one standard deviation of a receiver without corrections, each axis
_COLUMNS = ("lon_deg", "lat_deg", "height_m", "yaw_deg", "pitch_deg", "roll_deg")


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a camera is and where it looks; None is what nobody knows.

    `t_s` seconds of the stream's clock, `utc_s` since 1970; `height_m` above the take-off point, which stands for the
    ground. `yaw_deg` of the view clockwise from north, `pitch_deg` 0 at the horizon and -90 straight down, `roll_deg`
    clockwise about the view. `yaw_from` is "gimbal", "flight", "course" or "" and `position_m` one standard deviation
    of the position.
    """

    lon_deg: float
    lat_deg: float
    height_m: float | None = None
    yaw_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    yaw_from: str = ""
    t_s: float | None = None
    utc_s: float | None = None
    position_m: float = POSITION_M

    def __post_init__(self) -> None:
        if not (abs(self.lon_deg) <= 180 and abs(self.lat_deg) < 90):
            raise PointsError(
                f"a position needs a longitude in [-180, 180] and a latitude in (-90, 90) degrees, "
                f"got {self.lon_deg}, {self.lat_deg}; are the two swapped?"
            )
        for name in ("height_m", "yaw_deg", "pitch_deg", "roll_deg"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise PointsError(f"{name} of a pose must be a number, got {value}; leave out what is not known")


@dataclass(frozen=True, slots=True, eq=False)
class PoseTrack:
    """Poses in order of time, in columns of one length N >= 1; NaN is what nobody knows.

    `t_s` seconds of the stream's clock, strictly growing; `epoch_s` the time since 1970, UTC, at its zero, or None.
    Positions are good everywhere. `dropped` counts the rows left out: `nan`, `no_fix` (0, 0), `out_of_range`,
    `backward` (in time), `jump` (faster than 60 m/s). `notices` is what a person should know.
    """

    t_s: NDArray[np.float64]
    lon_deg: NDArray[np.float64]
    lat_deg: NDArray[np.float64]
    height_m: NDArray[np.float64]
    yaw_deg: NDArray[np.float64]
    pitch_deg: NDArray[np.float64]
    roll_deg: NDArray[np.float64]
    yaw_from: str = ""
    epoch_s: float | None = None
    position_m: float = POSITION_M
    dropped: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @classmethod
    def checked(cls, columns: Mapping[str, NDArray[Any]], what: str, **facts: Any) -> PoseTrack:
        """Keep the good rows of `columns`, count the others by reason.

        Args:
            columns: `t_s`, `lon_deg`, `lat_deg` and what else is known, each (N,).
            what: the file, for messages.
            facts: the fields that are no columns.

        Raises:
            PointsError: not one row is good.
        """
        t_s = np.asarray(columns["t_s"], np.float64)
        unknown = np.full(len(t_s), np.nan)
        table = {name: np.asarray(columns.get(name, unknown), np.float64) for name in _COLUMNS}
        lon, lat = table["lon_deg"], table["lat_deg"]
        dropped: Counter[str] = Counter(facts.pop("dropped", {}))
        with np.errstate(invalid="ignore"):
            bad = {
                "nan": ~(np.isfinite(lon) & np.isfinite(lat) & np.isfinite(t_s)),
                "no_fix": (lon == 0) & (lat == 0),
                "out_of_range": (np.abs(lon) > 180) | (np.abs(lat) >= 90),
            }
        rows = np.arange(len(t_s))
        for reason, mask in bad.items():
            rows = _without(rows, rows[~mask[rows]], reason, dropped)
        rows = _without(rows, rows[growing(t_s[rows])], "backward", dropped)
        if len(rows):
            metres = LocalPlane.about(np.stack([lon, lat], 1)[rows]).from_lonlat(np.stack([lon, lat], 1)[rows])
            rows = _without(rows, rows[steady(t_s[rows], metres)], "jump", dropped)
        if not len(rows):
            reasons = ", ".join(f"{name} {count}" for name, count in dropped.items()) or "no rows"
            raise PointsError(f"{what} holds no usable position ({reasons}); was there a GPS fix when it was recorded?")
        for name in ("height_m", "yaw_deg", "pitch_deg", "roll_deg"):
            table[name] = np.where(np.isfinite(table[name]), table[name], np.nan)
        kept: dict[str, Any] = {name: column[rows] for name, column in table.items()}
        return cls(t_s[rows], **kept, dropped=dropped, **facts)

    def __len__(self) -> int:
        return len(self.t_s)

    def lonlat(self) -> NDArray[np.float64]:
        """(N, 2) longitude, latitude."""
        return np.stack([self.lon_deg, self.lat_deg], axis=1)

    def plane(self) -> LocalPlane:
        """The plane that touches in the middle of the track."""
        return LocalPlane.about(self.lonlat())

    def nearest_s(self, t_s: float) -> float:
        """How far in time the nearest row lies from `t_s`."""
        after = int(np.searchsorted(self.t_s, t_s))
        near = self.t_s[max(0, after - 1) : after + 1]
        return float(np.abs(near - t_s).min())

    def at(self, t_s: float, tolerance_s: float = 1.0) -> Pose | None:
        """The pose at `t_s`: between two rows that are both within `tolerance_s` by interpolation.

        Beyond the last row, and at the edge of a hole, the position goes on at the speed of the last step, which is
        written into its uncertainty by half; the rest is that of the nearest row. None where no row is within the
        tolerance: telemetry that stopped, or a hole in it, gives no place.
        """
        if not np.isfinite(t_s) or self.nearest_s(t_s) > tolerance_s:
            return None
        after = min(int(np.searchsorted(self.t_s, t_s)), len(self.t_s) - 1)
        before = max(0, after - 1) if self.t_s[after] > t_s else after
        gaps = abs(t_s - self.t_s[before]), abs(self.t_s[after] - t_s)
        if max(gaps) > tolerance_s or before == after:  # do not invent a way across a hole
            return self._beyond(before if gaps[0] <= gaps[1] else after, t_s, tolerance_s)
        share = float((t_s - self.t_s[before]) / (self.t_s[after] - self.t_s[before]))
        lon = _turned(self.lon_deg, before, after, share)
        lat = _mixed(self.lat_deg, before, after, share)
        assert lon is not None  # of a position that is good everywhere
        assert lat is not None
        return self._pose(t_s, lon, lat, before, after, share, self.position_m)

    def _beyond(self, row: int, t_s: float, tolerance_s: float) -> Pose:
        """The pose a little after or before `row`, which has no neighbour on that side."""
        gap_s = t_s - float(self.t_s[row])
        beside = row - 1 if gap_s > 0 else row + 1
        lon, lat, unsure = float(self.lon_deg[row]), float(self.lat_deg[row]), self.position_m
        if gap_s and 0 <= beside < len(self) and abs(self.t_s[row] - self.t_s[beside]) <= tolerance_s:
            plane = LocalPlane(lon, lat)
            step = -plane.from_lonlat([[self.lon_deg[beside], self.lat_deg[beside]]])[0]
            moved = step * abs(gap_s / float(self.t_s[row] - self.t_s[beside]))
            lon, lat = plane.to_lonlat([moved])[0].tolist()
            unsure = float(np.hypot(unsure, np.hypot(*moved) / 2))
        return self._pose(t_s, lon, lat, row, row, 0.0, unsure)

    def _pose(self, t_s: float, lon: float, lat: float, before: int, after: int, share: float, unsure: float) -> Pose:
        turning = {name: _turned(getattr(self, name), before, after, share) for name in ("yaw_deg", "roll_deg")}
        return Pose(
            lon_deg=_wrapped(lon),
            lat_deg=lat,
            height_m=_mixed(self.height_m, before, after, share),
            pitch_deg=_mixed(self.pitch_deg, before, after, share),
            yaw_from=self.yaw_from if turning["yaw_deg"] is not None else "",
            t_s=t_s,
            utc_s=None if self.epoch_s is None else self.epoch_s + t_s,
            position_m=unsure,
            **turning,
        )

    def with_course(self, over_m: float = 3.0) -> PoseTrack:
        """The same track looking where it goes: the direction of travel over steps of at least `over_m` metres.

        Between the middles of two steps it turns evenly; where the track stands it keeps what it had. Unchanged where
        the track never moves that far: the course of something that stands is noise.
        """
        metres = self.plane().from_lonlat(self.lonlat())
        stops = [0]
        for row in range(1, len(metres)):
            if np.hypot(*(metres[row] - metres[stops[-1]])) >= over_m:
                stops.append(row)
        if len(stops) < 2:
            return self
        east, north = np.diff(metres[stops], axis=0).T
        courses = np.unwrap(np.arctan2(east, north))
        middles = (self.t_s[stops[1:]] + self.t_s[stops[:-1]]) / 2
        yaw = wrapped_deg(np.degrees(np.interp(self.t_s, middles, courses)))
        return dataclasses.replace(self, yaw_deg=yaw, yaw_from="course")


def wrapped_deg(angle: Any) -> Any:
    """Degrees in [-180, 180)."""
    return (np.asarray(angle) + 180.0) % 360.0 - 180.0


def _wrapped(angle: float) -> float:
    return angle if -180 <= angle <= 180 else float(wrapped_deg(angle))


def _mixed(column: NDArray[np.float64], before: int, after: int, share: float) -> float | None:
    """Linear between two rows; the known one where the other is unknown."""
    first, last = float(column[before]), float(column[after])
    if np.isnan(first) or np.isnan(last):
        known = last if np.isnan(first) else first
        return None if np.isnan(known) else known
    return first + (last - first) * share


def _turned(column: NDArray[np.float64], before: int, after: int, share: float) -> float | None:
    """As `_mixed`, along the shorter way around: between 179 and -179 degrees lies 180."""
    first, last = float(column[before]), float(column[after])
    if np.isnan(first) or np.isnan(last):
        return _mixed(column, before, after, share)
    return _wrapped(first + float(wrapped_deg(last - first)) * share)


def _without(rows: NDArray[Any], kept: NDArray[Any], reason: str, dropped: Counter[str]) -> NDArray[Any]:
    if len(kept) < len(rows):
        dropped[reason] += len(rows) - len(kept)
    return kept
