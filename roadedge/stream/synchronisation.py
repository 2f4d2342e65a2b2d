"""Which points go with which frame: feeds and frames on one clock and on one ground."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from roadedge.errors import RoadEdgeError, UsageError
from roadedge.preprocess import fit
from roadedge.spec import ModelSpec
from roadedge.stream.feeds import Feed
from roadedge.stream.feeds_joined import Joined
from roadedge.stream.feeds_time import Alignment
from roadedge.stream.feeds_udp import HostUtc
from roadedge.stream.sources import Frame, Second, Source
from roadedge.trajectory.heatmap import heatmap_from_counts
from roadedge.trajectory.plane import LocalPlane

TOLERANCE_S = 1.0  # half a second to the nearest fix of a receiver of 1 Hz, and as much again
WINDOW_S = 60.0  # how long a point of a timed feed stays, where the network's own heat-map has no such limit

Locate = Callable[[Frame], Frame]  # the frame with its place; the same one where nobody knows


class Pairing(Protocol):
    """Gives frames their place and their second modality. Called by one thread, frame after frame."""

    def place(self, frame: Frame) -> Frame:
        """The frame with `sample.place` and `sample.gsd_m` set; the same frame where nobody knows."""

    def second(self, frame: Frame, spec: ModelSpec) -> Second:
        """The frame's second modality on the network's grid; a blank with no points where there is none."""

    def close(self) -> None:
        """Give back what is open; twice is no error."""

    def describe(self) -> dict[str, Any]:
        """For metrics.json."""


class SourcePairing:
    """The source brings place and points itself."""

    def __init__(self, source: Source, locate: Locate | None = None) -> None:
        """Ask `source` for the second modality, and `locate`, where given, for the place."""
        self._source, self._locate = source, locate

    def place(self, frame: Frame) -> Frame:
        """What `locate` makes of the frame, else the frame."""
        return frame if self._locate is None else self._locate(frame)

    def second(self, frame: Frame, spec: ModelSpec) -> Second:
        """What the source draws."""
        return self._source.second(frame, spec)

    def close(self) -> None:
        """Nothing is open; the source is closed by whoever opened it."""

    def describe(self) -> dict[str, Any]:
        """There are no feeds."""
        return {"feeds": []}


class FeedPairing:
    """Feeds beside the frames: their points are placed on the ground, and each frame's heat-map is cut from it.

    The heat-map is drawn from the sum of the feeds' counts. A timed feed has a part in a frame where its nearest point
    in time is within the tolerance (the skew); a prior always has one. A frame without place gets points in pixels
    only. `frames` counts what happened to the frames, see `describe`.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        source: Source,
        locate: Locate | None = None,
        plane: LocalPlane | None = None,
        tolerance_s: float = TOLERANCE_S,
        offset_s: float = 0.0,
        window_s: float | None = None,
        host: HostUtc | None = None,
    ) -> None:
        """Join feeds with the frames of a source.

        Args:
            feeds: closed by `close`, and where this raises.
            source: of the frames; not closed.
            locate: sets the place of a frame, None where the source does or nobody can.
            plane: that the frames' places will be in, so that a prior is turned into it before the first frame; None:
                it is learned from the first place.
            tolerance_s: the largest skew of a pair; infinite for any.
            offset_s: added to the times of the points, to put right a clock that is known to be wrong.
            window_s: how long a timed point stays; None: what the network's heat-map says, else 60 s.
            host: the clock of arrivals.

        Raises:
            UsageError: a tolerance, offset or window out of range.
            SpecMismatchError: points that have no place on `plane`.
        """
        window_fits = window_s is None or 0 < window_s < math.inf
        if not tolerance_s >= 0 or not math.isfinite(offset_s) or not window_fits:
            raise UsageError(
                "the tolerance must be at least 0 s (or inf), the time offset a number of seconds and the window "
                f"positive, got {tolerance_s}, {offset_s} and {window_s}"
            )
        self.frames: Counter[str] = Counter()
        self._locate, self._tolerance_s, self._offset_s, self._window_s = locate, tolerance_s, offset_s, window_s
        try:
            self._joined = [Joined(feed, Alignment(feed, source, offset_s, host), tolerance_s, plane) for feed in feeds]
        except RoadEdgeError:
            for feed in feeds:
                feed.close()
            raise

    def place(self, frame: Frame) -> Frame:
        """What `locate` makes of the frame, else the frame."""
        return frame if self._locate is None else self._locate(frame)

    def second(self, frame: Frame, spec: ModelSpec) -> Second:
        """Take in the points that have come and draw those that belong to the frame.

        Raises:
            SpecMismatchError: points and place are in planes of which nobody knows how they lie.
        """
        grid = fit(frame.sample.size, frame.sample.gsd_m, spec).grid
        window_s = self._window_s or spec.heatmap.window_s or WINDOW_S
        counts = np.zeros(grid, np.uint32)
        skews_s: list[float] = []
        timed = paired = False
        for joined in self._joined:
            skew_s, belongs = joined.advance(frame, window_s)
            timed |= joined.feed.timed
            if skew_s is not None:
                skews_s.append(skew_s)
            if belongs:
                paired |= joined.feed.timed
                part = joined.counts(frame, grid)
                counts = counts if part is None else counts + part
        self._count(frame, timed, paired)
        points = int(counts.sum())
        raster = heatmap_from_counts(counts, spec.heatmap) if points else np.zeros(grid, np.uint8)
        return Second(raster, points, min(skews_s) * 1e3 if skews_s else None, paired if timed else None)

    def close(self) -> None:
        """Close the feeds."""
        for joined in self._joined:
            joined.feed.close()

    def describe(self) -> dict[str, Any]:
        """What was paired how, and what was left out.

        `frames`: `seen`, `paired`, `unpaired` (no timed feed within the tolerance), `no_place` and `no_time`.
        """
        timed = self.frames["paired"] + self.frames["unpaired"]
        return {
            "tolerance_s": self._tolerance_s if math.isfinite(self._tolerance_s) else "inf",
            "offset_s": self._offset_s,
            "frames": dict(self.frames),
            "paired_share": self.frames["paired"] / timed if timed else None,
            "feeds": [joined.describe() for joined in self._joined],
        }

    def _count(self, frame: Frame, timed: bool, paired: bool) -> None:
        self.frames["seen"] += 1
        if timed:
            self.frames["paired" if paired else "unpaired"] += 1
            self.frames["no_time"] += frame.capture_s is None and frame.sample.t_s is None
        self.frames["no_place"] += frame.sample.place is None
