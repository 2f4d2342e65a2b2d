"""One feed joined with the frames: its clock is theirs, its points lie on their ground."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.place import Place
from roadedge.stream.feeds import Feed
from roadedge.stream.feeds_crs import onto
from roadedge.stream.feeds_map import AreaHeatmap
from roadedge.stream.feeds_time import RULES, Alignment, NearestTime
from roadedge.stream.sources import Frame
from roadedge.trajectory.plane import LocalPlane

HORIZON_S = 60.0  # a live point further ahead than this of both frame and host has a wrong clock
PIXEL_PLACE = Place(np.diag([1.0, -1.0, 1.0]), "pixel")  # an image that is its own ground, whose y goes up


class Joined:
    """One feed beside the frames: `taken` counts its points, `pairs` the frames that it had a part in."""

    def __init__(self, feed: Feed, alignment: Alignment, tolerance_s: float, plane: LocalPlane | None) -> None:
        """Join a feed by its alignment; `plane` as in `FeedPairing`. A prior is taken at once."""
        self.feed = feed
        self.taken = self.pairs = 0
        self.dropped: Counter[str] = Counter()
        self._alignment, self._tolerance_s, self._plane = alignment, tolerance_s, plane
        self._nearest = NearestTime()
        self._area: AreaHeatmap | None = None
        self._notice = ""
        self._least_skew_s = math.inf
        self._timeless = 0
        self._ahead_s = 0.0
        if not feed.timed:
            self._area = AreaHeatmap(None)
            self._take(math.inf)

    def advance(self, frame: Frame, window_s: float) -> tuple[float | None, bool]:
        """Take in what has come by the frame; its skew in seconds, and whether the feed has a part in it."""
        if not self.feed.timed:
            self.pairs += 1
            return None, True
        if self._area is None:
            self._area = AreaHeatmap(window_s)
        now_s = self._alignment.feed_time_s(frame)
        if now_s is None:
            self._timeless += 1
            return None, False
        self._look(now_s)
        host_s = self._alignment.host_time_s()
        if self._alignment.rule == "first-frame" and host_s is not None:
            self._ahead_s = max(self._ahead_s, now_s - host_s)
        self._area.advance(now_s)
        self._take(now_s)
        skew_s = self._nearest.skew_s(now_s, self.feed.next_s)
        self._least_skew_s = min(self._least_skew_s, math.inf if skew_s is None else skew_s)
        belongs = skew_s is not None and skew_s <= self._tolerance_s
        self.pairs += belongs
        return skew_s, belongs

    def counts(self, frame: Frame, grid: tuple[int, int]) -> NDArray[np.uint32] | None:
        """Points on the network's grid (h, w); None where nobody knows where the frame lies."""
        (height, width), place = frame.sample.size, frame.sample.place
        if self.feed.crs == "pixel":
            place = PIXEL_PLACE
        if place is None or self._area is None:
            return None
        on_grid = place if grid == (height, width) else place.scaled(grid[1] / width, grid[0] / height)
        if not 0 < on_grid.gsd_m(grid) < math.inf:  # a camera that looks along the ground
            return None
        return self._area.counts(on_grid, grid)

    def describe(self) -> dict[str, Any]:
        """For metrics.json: rule of alignment, points, and what was left out why."""
        area = self._area
        notices = [text for text in (self._notice, self._apart(), self.feed.problem()) if text]
        dropped = Counter(dict(self.feed.dropped)) + self.dropped  # a copy: the receiver goes on counting
        dropped += Counter() if area is None else area.left_out
        noticed = dict(self.feed.noticed)
        if not self.feed.live and dropped["late"]:  # nothing of a file comes late: no frame was of its time
            noticed["between_frames"] = dropped.pop("late")
        return {
            "name": self.feed.name,
            "crs": self.feed.crs,
            "live": self.feed.live,
            "alignment": self._alignment.rule,
            "alignment_means": RULES.get(self._alignment.rule, "no frame with a time came"),
            "points": self.taken,
            "frames_with": self.pairs,
            "dropped": dict(+dropped),
            "noticed": noticed,
            "rebuilds": 0 if area is None else area.rebuilds,
            "memory_mb": 0.0 if area is None else round(area.memory_bytes / 1e6, 1),
            "notices": notices,
        }

    def _apart(self) -> str:
        """What to say where points came and no frame was near one of them in time."""
        if self._timeless and not self._alignment.rule:
            return (
                f"{self.feed.name} has no part in any frame, since frames without a time have none to be near to; give "
                "images a --rate, or take the file as prior:FILE"
            )
        if self._ahead_s > self._tolerance_s:
            return (
                f"the frames ran ahead of {self.feed.name} by up to {self._ahead_s:.1f} s, since the file was read "
                "faster than it was filmed; beside live points give --rate pts"
            )
        if self.pairs or self._notice or not math.isfinite(self._least_skew_s):
            return ""
        return (
            f"{self.feed.name} has no part in any frame: the nearest of its points in time was "
            f"{self._least_skew_s:.1f} s away, the tolerance is {self._tolerance_s:g} s; see --sync-tolerance, "
            "--time-offset and, for live points, udp://HOST:PORT?time=arrival"
        )

    def _take(self, now_s: float) -> None:
        points = self.feed.take(now_s)
        if points is None or self._area is None:
            return
        self.taken += len(points)
        xy, t_s, crs = points.xy(), points.t_s if self.feed.timed else None, points.crs
        if crs == "pixel":
            xy[:, 1] *= -1
        elif self._plane is not None:
            xy, crs = onto(xy, crs, self._plane.crs), self._plane.crs
        if t_s is not None:
            xy, t_s = self._not_early(xy, t_s, now_s)
            self._nearest.add(t_s)
        self._area.add(xy, t_s, crs)

    def _not_early(
        self, xy: NDArray[np.float64], t_s: NDArray[np.float64], now_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Without the points of the far future, which would be held until it comes."""
        host_s = self._alignment.host_time_s()
        if host_s is None:
            return xy, t_s
        good = t_s <= max(now_s, host_s) + HORIZON_S
        early = int(np.count_nonzero(~good))
        if early:
            self.dropped["early"] += early
            return xy[good], t_s[good]
        return xy, t_s

    def _look(self, now_s: float) -> None:
        """Say it, once, where a file's times and the stream's do not meet."""
        feed = self.feed
        if self._notice or feed.first_s is None or feed.last_s is None or self._alignment.rule != "utc":
            return
        if not feed.first_s - self._tolerance_s <= now_s <= feed.last_s + self._tolerance_s:
            self._notice = (
                f"{feed.name} is of {_date(feed.first_s)} to {_date(feed.last_s)}, a frame of {_date(now_s)}; "
                "give --time-offset where one of the clocks is wrong"
            )


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s"
