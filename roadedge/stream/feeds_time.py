"""One clock for frames and points: the rule by which a frame's time becomes one of a feed's, and the skew of a pair."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from roadedge.stream.feeds_udp import HostUtc
from roadedge.stream.sources import Frame, Source

RULES = {
    "none": "the feed has no times",
    "utc": "both in UTC: the source says when its clock began, the points say when they are of",
    "host": "the host's clock says when a frame was captured, the points say their UTC or when they arrived",
    "first-frame": "the host's clock at the first frame, carried on by the frames' own times",
    "start": "the feed begins where the stream's clock does",
}


class Clocked(Protocol):
    """What comes beside the frames and has times: a feed of points, telemetry. As of `Feed`."""

    @property
    def timed(self) -> bool:
        """Whether it has times."""

    @property
    def live(self) -> bool:
        """Whether it comes by itself."""

    @property
    def utc(self) -> bool:
        """Whether its times are seconds since 1970."""

    @property
    def first_s(self) -> float | None:
        """Its first time, where that is known beforehand."""


class Alignment:
    """Turns the capture time of frames into the clock of one feed. `rule` is a key of RULES, "" before the first frame.

    The rule is chosen once, with the first frame that has a time:

    - a file beside a source that delivers on its own (a camera): `start`, since a recording cannot be of now;
    - a source whose epoch is known, and a feed in UTC: `utc`;
    - a live feed: `host` where frames bring their moment by the host, else `first-frame`;
    - else `start`: the first time of the feed is put at zero of the stream's clock.
    """

    def __init__(self, feed: Clocked, source: Source, offset_s: float = 0.0, host: HostUtc | None = None) -> None:
        """Align `feed` with the frames of `source`; `offset_s` is added to the times of the points."""
        self.rule = "" if feed.timed else "none"
        self._feed, self._source, self._offset_s, self._host = feed, source, offset_s, host or HostUtc()
        self._zero_s = 0.0

    def feed_time_s(self, frame: Frame) -> float | None:
        """The moment of the feed's clock at which a frame was captured, None where the frame has no time."""
        capture_s = frame.capture_s if frame.capture_s is not None else frame.sample.t_s
        if capture_s is None or not math.isfinite(capture_s):
            return None
        if not self.rule:
            self.rule, self._zero_s = self._choose(frame, capture_s)
        if self.rule == "host" and frame.captured_ns is not None:
            return self._host.of(frame.captured_ns) - self._offset_s
        if self.rule == "utc" and self._source.epoch_s is not None:
            self._zero_s = self._source.epoch_s  # of a stream that connects again it may change
        return self._zero_s + capture_s - self._offset_s

    def host_time_s(self) -> float | None:
        """Now by the host, in the clock of a live feed; None for a file."""
        return self._host.now_s() - self._offset_s if self._feed.live else None

    def _choose(self, frame: Frame, capture_s: float) -> tuple[str, float]:
        """The rule, and the feed's time at zero of the stream's clock."""
        source, feed = self._source, self._feed
        recording_beside_camera = source.delivers and not feed.live
        if source.epoch_s is not None and feed.utc and not recording_beside_camera:
            return "utc", source.epoch_s
        if feed.live and frame.captured_ns is not None:
            return "host", self._host.of(frame.captured_ns) - capture_s
        if feed.live:
            return "first-frame", self._host.now_s() - capture_s
        return "start", feed.first_s or 0.0


class NearestTime:
    """How far in time the nearest point lies from a moment that goes on; costs what is new and what lies ahead."""

    def __init__(self) -> None:
        """No points yet."""
        self._past_s = -math.inf  # the latest one that is not ahead
        self._ahead: NDArray[np.float64] = np.zeros(0)

    def add(self, t_s: NDArray[np.float64]) -> None:
        """Take in the times of points, in any order."""
        if len(t_s):
            self._ahead = np.concatenate([self._ahead, np.unique(t_s)])

    def skew_s(self, now_s: float, next_s: float | None = None) -> float | None:
        """Distance of the nearest point from `now_s`, None where there is none.

        Where `now_s` goes back, a point that was passed counts as the latest of those passed.

        Args:
            now_s: moment of the feed's clock.
            next_s: time of a point that is known and was not added yet.
        """
        passed = self._ahead <= now_s
        if passed.any():
            self._past_s = max(self._past_s, float(self._ahead[passed].max()))
            self._ahead = self._ahead[~passed]
        ahead_s = self._ahead.min(initial=math.inf if next_s is None else next_s)
        skew_s = min(abs(now_s - self._past_s), abs(ahead_s - now_s))
        return float(skew_s) if math.isfinite(skew_s) else None
