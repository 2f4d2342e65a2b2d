"""Live JSON: one object a line or a datagram, or a list of them, as {"lon": 2.35, "lat": 48.85, "t": 1700000000.0}."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from roadedge.stream.feeds import is_utc
from roadedge.trajectory.columns import SPELLINGS
from roadedge.trajectory.iso_time import iso_seconds

LATEST_S = 1e11  # a larger time is one in milliseconds
_FIELD = {name: field for field in ("x", "y", "lon", "lat", "t_s") for name in SPELLINGS[field]}
Sighting = tuple[bool, float, float, float]  # lonlat or not, seconds since 1970, x, y


def sightings(
    text: bytes, arrival_s: float, dropped: Counter[str], noticed: Counter[str], own_times: bool = True
) -> list[Sighting]:
    """The points of a datagram.

    Counted in `dropped`: `unreadable` (no JSON, or no coordinates), `nan`, `infinite`, `out_of_range`, `no_fix` (0, 0),
    `bad_time` (no number and no date), `milliseconds`, `not_utc` (a time before 1980: another clock than UTC).
    In `noticed`: `time_of_arrival`, for points that came without a time.

    Args:
        text: one object, a list of objects, or lines of either; keys are spelled as the columns of a CSV.
        arrival_s: seconds since 1970 at which it came, by the host: the time of points that have none.
        dropped: counts the points left out.
        noticed: counts the points without a time.
        own_times: False takes the time of arrival for all.
    """
    return [found for found, _ in sightings_with_rest(text, arrival_s, dropped, noticed, own_times)]


def sightings_with_rest(
    text: bytes, arrival_s: float, dropped: Counter[str], noticed: Counter[str], own_times: bool = True
) -> Iterator[tuple[Sighting, dict[str, Any]]]:
    """As `sightings`, each with the whole object that it stands in."""
    for item in _items(text, dropped):
        point = _point(item, dropped)
        if point is None:
            continue
        lonlat, x, y, time = point
        t_s = _time(time, dropped) if own_times and time is not None else arrival_s
        if time is None and own_times:
            noticed["time_of_arrival"] += 1
        if t_s is not None:
            yield (lonlat, t_s, x, y), item


def _items(text: bytes, dropped: Counter[str]) -> Iterator[Any]:
    """The objects of a datagram, whole or line by line."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            dropped["unreadable"] += 1
            return
        for line in lines:
            yield from _items(line, dropped)
        return
    yield from whole if isinstance(whole, list) else [whole]


def _point(item: Any, dropped: Counter[str]) -> tuple[bool, float, float, Any] | None:
    """Whether it is longitude and latitude, x, y, and the time as it came."""
    named = {_FIELD[k.lower()]: v for k, v in item.items() if k.lower() in _FIELD} if isinstance(item, dict) else {}
    lonlat = "lon" in named and "lat" in named
    pair = (named.get("lon"), named.get("lat")) if lonlat else (named.get("x"), named.get("y"))
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in pair):
        dropped["unreadable"] += 1
        return None
    try:
        x, y = float(pair[0]), float(pair[1])  # type: ignore[arg-type]
    except OverflowError:  # a whole number of hundreds of digits
        x = y = math.inf
    reason = _reason(x, y, lonlat)
    if reason:
        dropped[reason] += 1
        return None
    return lonlat, x, y, named.get("t_s")


def _reason(x: float, y: float, lonlat: bool) -> str:
    """Why a position is none, "" where it is one; as `Points.checked` has it."""
    if math.isnan(x) or math.isnan(y):
        return "nan"
    if math.isinf(x) or math.isinf(y):
        return "infinite"
    if lonlat and (abs(x) > 180 or abs(y) > 90):
        return "out_of_range"
    return "no_fix" if lonlat and x == 0 == y else ""


def _time(value: Any, dropped: Counter[str]) -> float | None:
    """Seconds since 1970, None where it is no such time."""
    try:
        seconds = _seconds(value)
    except (ValueError, OverflowError, TypeError):
        seconds = math.nan
    if not math.isfinite(seconds):
        dropped["bad_time"] += 1
    elif seconds > LATEST_S:
        dropped["milliseconds"] += 1
    elif not is_utc(seconds):
        dropped["not_utc"] += 1
    else:
        return seconds
    return None


def _seconds(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    if isinstance(value, str):
        return iso_seconds(value)
    return float(value)
