"""Where GPS points of a stream come from: files at once, files on their own clock, a ROS 2 bag, and UDP as it comes."""

from __future__ import annotations

import abc
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from roadedge.errors import UnknownNameError, UsageError
from roadedge.trajectory.datum import DATUMS
from roadedge.trajectory.points import Points

if TYPE_CHECKING:
    from typing_extensions import Self

KINDS = "FILE or prior:FILE (all points at once), replay:FILE, bag:PATH#topic, udp://HOST:PORT"
UTC_FROM_S = 315964800.0  # 1980-01-06, where GPS time begins: a smaller time counts from somewhere else
_SCHEME = re.compile(r"([a-z][a-z0-9+]*):", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """How points are to be understood: `points_crs` of columns x, y (None: pixels) and `datum` of lon, lat."""

    points_crs: str | None = None
    datum: str = "wgs84"

    def __post_init__(self) -> None:
        if self.datum not in DATUMS:
            raise UnknownNameError("datum", self.datum, DATUMS)


class Feed(abc.ABC):
    """GPS points that come beside the frames. `take` is called by one thread.

    `name` is what the report calls it; `crs` that of its points, "" where the first point will tell. `timed` says that
    its points have times: a historical prior has none and is all there from the start. `live` says that it comes by
    itself, `utc` that its times are seconds since 1970. `first_s` and `last_s` are the ends of its times where they are
    known beforehand. `dropped` counts the points left out, by reason; `noticed` what was seen and kept.
    """

    name: str
    crs: str = ""
    timed: bool = True
    live: bool = False
    utc: bool = False
    first_s: float | None = None
    last_s: float | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.dropped: Counter[str] = Counter()
        self.noticed: Counter[str] = Counter()

    @abc.abstractmethod
    def take(self, until_s: float) -> Points | None:
        """The points that came since the last call, None where there are none.

        Args:
            until_s: moment of the feed's clock; a file gives its points up to it, a live feed what has arrived.
        """

    @property
    def next_s(self) -> float | None:
        """Time of the first point that is known and not given yet, None where there is none."""
        return None

    def problem(self) -> str:
        """What broke the feed for good, "" where nothing did."""
        return ""

    def close(self) -> None:  # noqa: B027  a file holds nothing open
        """Give back what is open; twice is no error."""

    def __enter__(self) -> Self:
        """The feed itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()


def open_feed(text: str, options: FeedOptions | None = None) -> Feed:
    """Open what `--trajectory` names.

    Raises:
        UsageError: no such kind of feed, or an address that is none.
        SourceError: there is no such file, or the socket cannot be had.
        PointsError: a file that cannot be read, or a replay without times.
        MissingExtraError: its format's library is not installed.
    """
    options = options or FeedOptions()
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found and not Path(text).exists() else "prior"
    rest = text[found.end() :] if found and not Path(text).exists() else text
    if not rest:
        raise UsageError(f"--trajectory {text!r} names nothing; it takes {KINDS}")
    if scheme == "udp":
        from roadedge.stream.feeds_udp import open_udp

        return open_udp(text, options)
    from roadedge.stream import feeds_file

    if scheme == "prior":
        return feeds_file.open_prior(rest, options)
    if scheme == "replay":
        return feeds_file.open_replay(rest, options)
    if scheme == "bag":
        return feeds_file.open_bag(rest, options)
    raise UsageError(f"{scheme}: is no source of points that this version reads; --trajectory takes {KINDS}")


def is_utc(seconds: float) -> bool:
    """Whether a time can be one since 1970: GPS did not exist before 1980."""
    return math.isfinite(seconds) and seconds >= UTC_FROM_S
