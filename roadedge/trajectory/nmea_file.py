"""NMEA 0183 logs: one point for each epoch of RMC and GGA sentences."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import MissingExtraError, PointsError
from roadedge.trajectory.files import opened_text
from roadedge.trajectory.points import Points

_SENTENCE = re.compile(r"\$[A-Z]{2}(?:RMC|GGA),[^$\r\n]*")  # loggers write their own stamps before it
_DAY_S = 86400.0
_KNOT_MPS = 1852 / 3600


@dataclass(slots=True)
class _Epoch:
    """What the sentences of one moment say; `second` counts from midnight, UTC; `day` since 1970, where known."""

    second: float
    lon: float
    lat: float
    day: int | None = None
    speed_mps: float = float("nan")


def read_nmea(path: Path) -> Points:
    """Read the RMC and GGA sentences of a log; an RMC and a GGA of the same second are one point, not two.

    Times are seconds since 1970 (UTC) with the dates of RMC; without any, seconds since the first midnight.
    Counted in `dropped`: sentences with a wrong `checksum`, `unreadable` ones, and those that say `no_fix`.

    Raises:
        PointsError: the file holds no such sentence.
        MissingExtraError: pynmea2 is not installed.
    """
    try:
        import pynmea2
    except ImportError as error:
        raise MissingExtraError("pynmea2", "points", "reading NMEA") from error
    path = Path(path)
    epochs: list[_Epoch] = []
    dropped: Counter[str] = Counter()
    sentences = 0
    with opened_text(path) as text:
        for line in text:
            found = _SENTENCE.search(line)
            if found is None:
                continue
            sentences += 1
            try:
                _enter(pynmea2.parse(found.group().strip()), epochs, dropped)
            except pynmea2.ChecksumError:
                dropped["checksum"] += 1
            except (pynmea2.ParseError, ValueError, TypeError, AttributeError):  # fields that are no numbers or missing
                dropped["unreadable"] += 1
    if not sentences:
        raise PointsError(f"{path} holds no RMC or GGA sentence; expected an NMEA log with lines such as $GPRMC,...")
    if not epochs:
        reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(dropped.items()))
        raise PointsError(f"none of the {sentences} RMC and GGA sentences of {path} is usable (dropped: {reasons})")
    return _points(epochs, dropped)


def _enter(sentence: Any, epochs: list[_Epoch], dropped: Counter[str]) -> None:
    is_rmc = sentence.sentence_type == "RMC"
    fixed = sentence.status == "A" if is_rmc else int(sentence.gps_qual or 0) > 0
    if not fixed or not sentence.lat or not sentence.lon or not sentence.timestamp:
        dropped["no_fix"] += 1
        return
    clock = sentence.timestamp
    second = clock.hour * 3600 + clock.minute * 60 + clock.second + clock.microsecond / 1e6
    if not epochs or epochs[-1].second != second:
        epochs.append(_Epoch(second, float(sentence.longitude), float(sentence.latitude)))
    if is_rmc:
        if isinstance(sentence.datestamp, date):
            epochs[-1].day = sentence.datestamp.toordinal() - date(1970, 1, 1).toordinal()
        if sentence.spd_over_grnd is not None:
            epochs[-1].speed_mps = float(sentence.spd_over_grnd) * _KNOT_MPS


def _points(epochs: list[_Epoch], dropped: Counter[str]) -> Points:
    columns = {
        "x": np.array([epoch.lon for epoch in epochs], np.float64),
        "y": np.array([epoch.lat for epoch in epochs], np.float64),
        "t_s": _times(epochs),
    }
    speed = np.array([epoch.speed_mps for epoch in epochs], np.float64)
    if not np.isnan(speed).all():
        columns["speed_mps"] = speed
    return Points.checked(columns, "lonlat", dropped)


def _times(epochs: list[_Epoch]) -> NDArray[np.float64]:
    """Seconds since 1970: the dates that RMC gave, carried on over midnight to epochs of GGA alone."""
    second = np.array([epoch.second for epoch in epochs], np.float64)
    midnights = np.concatenate([[0], np.cumsum(np.diff(second) < -_DAY_S / 2)])  # a clock that falls by half a day
    known = np.array([epoch.day is not None for epoch in epochs])
    if not known.any():
        return np.asarray(second + midnights * _DAY_S, np.float64)
    # Each epoch counts its midnights from the last dated one before it, the first ones from the first dated.
    offset = np.array([0 if epoch.day is None else epoch.day for epoch in epochs]) - midnights
    before = np.maximum.accumulate(np.where(known, np.arange(len(epochs)), -1))
    anchor = np.where(before >= 0, before, np.argmax(known))
    times: NDArray[np.float64] = second + (offset[anchor] + midnights) * _DAY_S
    return times
