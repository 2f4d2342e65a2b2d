"""Subtitles that DJI's drones write beside a video: a pose a row, in a dialect of each firmware."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import PointsError
from roadedge.georeference.lens import Lens
from roadedge.georeference.pose import POSITION_M, PoseTrack
from roadedge.trajectory.files import opened_text
from roadedge.trajectory.plane import LocalPlane

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+|nan|n/a))"
_ANGLE = _NUMBER + r"\s*°?"


def _key(*names: str) -> str:
    """`[name: 1.5]` or `name : 1.5`, by any of its spellings."""
    return rf"(?<![a-z_])(?:{'|'.join(names)})\s*[:=]\s*{_NUMBER}"


def _triple(name: str, wanted: int) -> str:
    """One of the numbers in `name (a, b, c)`, counted from 0."""
    parts = [_ANGLE if number == wanted else r"[^,()]*" for number in range(wanted + 1)]
    return rf"(?<![a-z.]){re.escape(name)}\s*\(\s*" + r",\s*".join(parts)


_LATITUDE = _key("latitude", "latitute", "lat")
_LONGITUDE = _key("longitude", "longtitude", "longtitute", "lon", "lng")
_GPS = {"lon_deg": _triple("GPS", 0), "lat_deg": _triple("GPS", 1)}
_HEIGHT_H = rf"(?<![a-z.])H\s+{_NUMBER}\s*m"
_GIMBAL = {
    "yaw_deg": _key("gb_yaw", "gimbal_yaw"),
    "pitch_deg": _key("gb_pitch", "gimbal_pitch"),
    "roll_deg": _key("gb_roll", "gimbal_roll"),
}
_G_PRY = {"pitch_deg": _triple("G.PRY", 0), "roll_deg": _triple("G.PRY", 1), "yaw_deg": _triple("G.PRY", 2)}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one family of firmware writes a row.

    `marker` tells it; `fields` find each number; `flight_yaw` is taken where the gimbal's yaw is not written.
    The rows' `GPS (…)` is longitude first in all that are known.
    """

    name: str
    marker: str
    fields: Mapping[str, str]
    flight_yaw: str = ""


# In this order: the first one whose marker is in a row of the file is taken.
DIALECTS = (
    Dialect(  # Mini 3 and later, Mavic 3, Matrice: heights by name, the gimbal's angles on some
        "rel_alt",
        r"rel_alt\s*:",
        {"lon_deg": _LONGITUDE, "lat_deg": _LATITUDE, "height_m": _key("rel_alt"), **_GIMBAL},
        _key("drone_yaw", "flight_yaw"),
    ),
    Dialect(  # Phantom 4 RTK, Matrice: angles as pitch, roll, yaw of flight and gimbal
        "pry",
        r"G\.PRY\s*\(",
        {**_GPS, "height_m": _HEIGHT_H, **_G_PRY},
        _triple("F.PRY", 2),
    ),
    Dialect(  # Mavic Pro: the third number of GPS counts satellites or metres, so height is the barometer's
        "barometer",
        r"BAROMETER\s*:",
        {**_GPS, "height_m": _key("barometer")},
    ),
    Dialect("distance", r"GPS\s*\([^)]*\).*\bD\s", {**_GPS, "height_m": _HEIGHT_H}),  # Mavic Mini, Mini 2
    Dialect(  # Air 2S, Mavic Air 2: `altitude` counts from take-off there
        "altitude",
        r"\[\s*(?:altitude|alt)\s*:",
        {"lon_deg": _LONGITUDE, "lat_deg": _LATITUDE, "height_m": _key("altitude", "alt")},
    ),
    Dialect(  # Mavic 2 and others of its time: no height, `longtitude`, no `-->` lines
        "position",
        r"\[\s*lat[a-z]*\s*:",
        {"lon_deg": _LONGITUDE, "lat_deg": _LATITUDE},
    ),
    Dialect("gps", r"GPS\s*\(", _GPS),
)
_TIMECODE = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})\s*-->")
_DATE = re.compile(r"(\d{4})[-./](\d\d)[-./](\d\d)[ T](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,3}))?")
_TAG = re.compile(r"</?[a-z][^>]*>", re.IGNORECASE)
_ROW = re.compile(r"^\ufeff?\s*\d+\s*$", re.MULTILINE)
_FOCAL = re.compile(_key("focal_len"), re.IGNORECASE)
_ZOOM = re.compile(_key("dzoom_ratio", "dzoom"), re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Subtitles:
    """An SRT file's poses, the lens as far as it says, and the name of its dialect."""

    track: PoseTrack
    lens: Lens
    dialect: str


def beside(video: str | Path) -> Path | None:
    """The SRT file of a video: same folder, same stem, whatever the case of letters; None where there is none."""
    video = Path(video)
    try:
        beside_it = sorted(video.parent.iterdir())
    except OSError:  # no such folder, or one that only opens by name: then so would the subtitles
        return None
    found = [
        path
        for path in beside_it
        if path.suffix.lower() == ".srt" and path.stem.lower() == video.stem.lower() and path.is_file()
    ]
    exact = [path for path in found if path.stem == video.stem]
    return next(iter(exact or found), None)


def read_srt(path: str | Path, utc_offset_h: float | None = None) -> Subtitles:
    """Read DJI subtitles.

    A row's time is its timecode, seconds of the video; where rows have none, their date less the first one's. Dates are
    by the drone's own clock in a zone that nobody writes down: `utc_offset_h` says how far that is ahead of UTC, else
    the track has no `epoch_s`.

    Raises:
        PointsError: the file cannot be read, is in no known dialect, or holds no usable position.
    """
    path = Path(path)
    with opened_text(path) as file:
        text = _TAG.sub("", file.read())
    rows = [row for row in _ROW.split(text.replace("\r\n", "\n").replace("\r", "\n")) if row.strip()]
    dialect = _dialect(rows, path)
    patterns = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in dialect.fields.items()}
    columns = {name: _column(rows, pattern) for name, pattern in patterns.items()}
    yaw_from = "gimbal" if np.isfinite(columns.get("yaw_deg", np.array(np.nan))).any() else ""
    if not yaw_from and dialect.flight_yaw:
        columns["yaw_deg"] = _column(rows, re.compile(dialect.flight_yaw, re.IGNORECASE))
        yaw_from = "flight" if np.isfinite(columns["yaw_deg"]).any() else ""
    notices = _order(columns, path)
    columns["t_s"], dates = _times(rows)
    position_m = float(np.hypot(POSITION_M, rounding_m(rows, patterns, columns)))
    known = np.flatnonzero(np.isfinite(dates) & np.isfinite(columns["t_s"]))
    epoch_s = None
    if utc_offset_h is not None and len(known):
        epoch_s = float(np.median(dates[known] - columns["t_s"][known])) - utc_offset_h * 3600
    track = PoseTrack.checked(
        columns,
        str(path),
        yaw_from=yaw_from,
        epoch_s=epoch_s,
        position_m=position_m,
        notices=notices,
    )
    return Subtitles(track, _lens(rows), dialect.name)


def rounding_m(
    rows: list[str], patterns: Mapping[str, re.Pattern[str]], columns: Mapping[str, NDArray[np.float64]]
) -> float:
    """One standard deviation of a position by the digits that are written: 3 m for four, 0.03 m for six."""
    digits = []
    for name in ("lon_deg", "lat_deg"):
        written = [match[1] for row in rows[:200] if (match := patterns[name].search(row))]
        digits.append(max((len(text.partition(".")[2]) for text in written), default=0))
    both = np.stack([columns["lon_deg"], columns["lat_deg"]], axis=1)
    both = both[np.isfinite(both).all(axis=1) & (np.abs(both) < [180.0, 90.0]).all(axis=1)]
    if not len(both):
        return 0.0
    lonlat = np.median(both, axis=0)
    plane = LocalPlane(*lonlat.tolist())
    step = plane.from_lonlat([lonlat + np.power(10.0, -np.array(digits, np.float64))])[0]
    return float(np.sqrt(np.mean(step**2) / 12))  # of a value that is even over one step


def _dialect(rows: list[str], path: Path) -> Dialect:
    for dialect in DIALECTS:
        marker = re.compile(dialect.marker, re.IGNORECASE | re.DOTALL)
        if any(marker.search(row) for row in rows):
            return dialect
    shown = " ".join((rows[0] if rows else "").split())[:80]
    raise PointsError(
        f"{path} holds no telemetry of a DJI drone in a known dialect ({', '.join(d.name for d in DIALECTS)}); "
        f"its first row says {shown!r}. Switch on video captions in the drone's app, or give a GPX track"
    )


def _column(rows: list[str], pattern: re.Pattern[str]) -> NDArray[np.float64]:
    return np.array([_number(pattern.search(row)) for row in rows], np.float64)


def _number(match: re.Match[str] | None) -> float:
    return float("nan") if match is None or match[1].lower() == "n/a" else float(match[1])


def _order(columns: dict[str, NDArray[np.float64]], path: Path) -> tuple[str, ...]:
    """Some firmware writes latitude first: seen where the second number can be none; the columns are swapped."""
    lon, lat = columns["lon_deg"], columns["lat_deg"]
    with np.errstate(invalid="ignore"):
        impossible = (np.abs(lat) > 90) & (np.abs(lat) <= 180) & (np.abs(lon) <= 90)
    if not np.count_nonzero(impossible) > np.count_nonzero(np.isfinite(lat)) / 2:
        return ()
    columns["lon_deg"], columns["lat_deg"] = lat, lon
    return (f"{path} has the latitude before the longitude; taken so",)


def _times(rows: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds of the video, and dates in seconds since 1970 of the drone's clock, NaN where a row has none."""
    codes = np.array([_seconds(_TIMECODE.search(row), _from_code) for row in rows], np.float64)
    dates = np.array([_seconds(_DATE.search(row), _from_date) for row in rows], np.float64)
    if np.isfinite(codes).any():
        return codes, dates
    known = np.flatnonzero(np.isfinite(dates))
    return dates - (dates[known[0]] if len(known) else 0.0), dates


def _seconds(match: re.Match[str] | None, convert: Callable[[re.Match[str]], float]) -> float:
    return float("nan") if match is None else convert(match)


def _from_code(match: re.Match[str]) -> float:
    return int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3]) + float(f"0.{match[4]}")


def _from_date(match: re.Match[str]) -> float:
    try:
        moment = datetime(*(int(match[part]) for part in range(1, 7)), tzinfo=timezone.utc)  # type: ignore[misc,arg-type]
    except ValueError:  # the 0th of a month: a clock that was never set
        return float("nan")
    fraction = float(f"0.{match[7]}") if match[7] else 0.0
    return moment.timestamp() + fraction


def _lens(rows: list[str]) -> Lens:
    """The median of the equivalents written; 240 is 24 mm, zoom 10000 is 1."""
    focal, zoom = _column(rows, _FOCAL), _column(rows, _ZOOM)
    known, zooms = focal[np.isfinite(focal) & (focal > 0)], zoom[np.isfinite(zoom) & (zoom > 0)]
    factor = float(np.median(zooms)) if len(zooms) else 1.0
    factor = factor / 10000 if factor >= 1000 else factor / 100 if factor >= 100 else factor
    if not len(known):
        return Lens(zoom=factor)
    equivalent = float(np.median(known))
    return Lens(equivalent_mm=equivalent / 10 if equivalent >= 100 else equivalent, zoom=factor)
