"""Live NMEA 0183: RMC and GGA sentences of one or several receivers, checksum and all, without a library."""

from __future__ import annotations

import calendar
import math
import re
from collections import Counter, OrderedDict
from dataclasses import dataclass

from roadedge.stream.feeds import is_utc

_SENTENCE = re.compile(rb"[$!]([A-Z][A-Z0-9]{2,7}),([^*$!\r\n]{0,500})\*([0-9A-Fa-f]{2})")
_BEGIN = re.compile(rb"[$!][A-Z][A-Z0-9]{2,7},")
_DAY_S = 86400
KNOT_MPS = 1852 / 3600
_SENDERS = 256  # whose last fix is remembered: beyond, the one heard longest ago is forgotten
_SAME_PLACE_DEG = 5e-5  # 5 m: RMC and GGA of one epoch may round differently
Fix = tuple[float, float, float]  # seconds since 1970, longitude, latitude in degrees


@dataclass(slots=True)
class _Last:
    """The last fix of one sender: its time of day, its place, and its time since 1970."""

    second: float
    lon: float
    lat: float
    utc_s: float


class NmeaSentences:
    """Sentences in, fixes out; the RMC and the GGA of one moment are one fix.

    A GGA has a time of day and no date: it is put on the day that brings it nearest to the last fix of the same sender,
    or to its arrival where there was none. Counted in `dropped`: `checksum` (wrong or missing), `unreadable`, `no_fix`,
    `out_of_range`; other sentences than RMC and GGA are passed over.
    """

    def __init__(self, dropped: Counter[str], noticed: Counter[str]) -> None:
        """Count into the feed's counters."""
        self._dropped, self._noticed = dropped, noticed
        self._last: OrderedDict[object, _Last] = OrderedDict()

    def fixes(self, line: bytes, sender: object, arrival_s: float) -> list[Fix]:
        """The fixes of a line of text.

        Args:
            line: may hold something before the sentence (a logger's stamp, a tag block), and several sentences.
            sender: tells receivers apart.
            arrival_s: seconds since 1970 at which it came, by the host.
        """
        found, begun = list(_SENTENCE.finditer(line)), len(_BEGIN.findall(line))
        if len(found) < begun:
            self._dropped["checksum"] += begun - len(found)
        elif not found:
            self._dropped["unreadable"] += 1
        fixes = []
        for sentence in found:
            talker, kind = sentence[1][:-3], sentence[1][-3:]
            if _checksum(sentence[0][1:-3]) != int(sentence[3], 16):
                self._dropped["checksum"] += 1
                continue
            if len(talker) != 2 or kind not in (b"RMC", b"GGA"):
                continue
            fix = self._fix(kind == b"RMC", sentence[2].decode("ascii", "replace").split(","), sender, arrival_s)
            if fix is not None:
                fixes.append(fix)
        return fixes

    def _fix(self, is_rmc: bool, fields: list[str], sender: object, arrival_s: float) -> Fix | None:
        """RMC: time, status, lat, N/S, lon, E/W, speed, course, date. GGA: time, lat, N/S, lon, E/W, quality."""
        try:
            fixed = fields[1] == "A" if is_rmc else int(fields[5] or 0) > 0
            at = 2 if is_rmc else 1
            if not fixed or not fields[at] or not fields[at + 2]:
                self._dropped["no_fix"] += 1
                return None
            lat = _degrees(fields[at], fields[at + 1], "NS", 2)
            lon = _degrees(fields[at + 2], fields[at + 3], "EW", 3)
            second = _second(fields[0]) if fields[0] else None
            day = _day(fields[8]) if is_rmc and fields[8] else None
        except (ValueError, IndexError):
            self._dropped["unreadable"] += 1
            return None
        if abs(lat) > 90 or abs(lon) > 180:
            self._dropped["out_of_range"] += 1
            return None
        return self._dated(second, day, lon, lat, sender, arrival_s)

    def _dated(
        self, second: float | None, day: int | None, lon: float, lat: float, sender: object, arrival_s: float
    ) -> Fix | None:
        if second is None:
            self._noticed["time_of_arrival"] += 1
            return arrival_s, lon, lat
        last = self._last.get(sender)
        near_s = arrival_s if last is None else last.utc_s
        utc_s = second + _DAY_S * (day if day is not None else round((near_s - second) / _DAY_S))
        again = last is not None and last.second == second and _same_place(last, lon, lat)
        if not is_utc(utc_s):
            self._dropped["not_utc"] += 1
            return None
        self._last[sender] = _Last(second, lon, lat, utc_s)
        self._last.move_to_end(sender)
        if len(self._last) > _SENDERS:
            self._last.popitem(last=False)
        return None if again else (utc_s, lon, lat)


def motion(line: bytes) -> tuple[float, float] | None:
    """Course (degrees clockwise from north) and speed (m/s) of the last good RMC of a line that says both."""
    found = None
    for sentence in _SENTENCE.finditer(line):
        fields = sentence[2].decode("ascii", "replace").split(",")
        good = _checksum(sentence[0][1:-3]) == int(sentence[3], 16) and len(sentence[1]) == 5
        if not (good and sentence[1][-3:] == b"RMC" and len(fields) > 7 and fields[1] == "A"):
            continue
        try:
            course_deg, speed_mps = float(fields[7]), float(fields[6]) * KNOT_MPS
        except ValueError:  # a receiver that stands leaves the course empty
            continue
        if math.isfinite(speed_mps) and 0 <= course_deg <= 360:
            found = course_deg, speed_mps
    return found


def _same_place(last: _Last, lon: float, lat: float) -> bool:
    return abs(last.lon - lon) < _SAME_PLACE_DEG and abs(last.lat - lat) < _SAME_PLACE_DEG


def _checksum(body: bytes) -> int:
    """Exclusive or of the bytes between $ and *."""
    total = 0
    for byte in body:
        total ^= byte
    return total


def _degrees(text: str, side: str, sides: str, whole: int) -> float:
    """`ddmm.mmmm` and a side of the world → degrees; raises ValueError."""
    if side not in sides or not side or not text[:whole].isdigit():
        raise ValueError(text)
    minutes = float(text[whole:])
    if not 0 <= minutes < 60:
        raise ValueError(text)
    degrees = int(text[:whole]) + minutes / 60
    return -degrees if side in "SW" else degrees


def _second(text: str) -> float:
    """`hhmmss.ss` → seconds since midnight; a leap second is one; raises ValueError."""
    if not text[:4].isdigit():
        raise ValueError(text)
    hour, minute, second = int(text[:2]), int(text[2:4]), float(text[4:])
    if hour > 23 or minute > 59 or not 0 <= second < 61:
        raise ValueError(text)
    return hour * 3600 + minute * 60 + second


def _day(text: str) -> int:
    """`ddmmyy` → days since 1970; raises ValueError."""
    if len(text) != 6 or not text.isdigit():
        raise ValueError(text)
    day, month, year = int(text[:2]), int(text[2:4]), int(text[4:])
    year += 1900 if year >= 80 else 2000  # GPS began in 1980
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        raise ValueError(text)
    return math.floor(calendar.timegm((year, month, day, 0, 0, 0)) / _DAY_S)
