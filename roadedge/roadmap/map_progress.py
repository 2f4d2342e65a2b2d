"""What is told of a map while it is being made: how far it is, how fast, and how long it will still take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from roadedge.roadmap.job import STAGES, TileDone

Tell = Callable[[str], None]
TERMINAL_S, LOG_S = 2.0, 15.0  # between two lines, before a person and in a log


class Progress:
    """Adds up finished tiles, and tells a line now and then."""

    def __init__(self, tell: Tell, tiles: int, done_before: int, pixels_a_tile: float) -> None:
        self._tell, self._tiles, self._pixels_a_tile = tell, tiles, pixels_a_tile
        self.before, self.finished, self.pixels, self.points = done_before, 0, 0, 0
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.peaks: dict[int, float] = {}
        self.runner: dict[str, Any] | None = None
        self._began = self._told = time.perf_counter()
        self._every_s = TERMINAL_S if sys.stderr.isatty() else LOG_S

    def add(self, done: TileDone) -> None:
        """Take in a finished tile."""
        self.finished += 1
        self.pixels += done.pixels
        self.points += done.points
        for stage, spent in done.seconds.items():
            self.seconds[stage] += spent
        self.runner = self.runner or done.runner
        if done.process:
            self.peaks[done.process] = max(done.peak_mb, self.peaks.get(done.process, 0.0))
        now = time.perf_counter()
        if now - self._told >= self._every_s:
            self._told = now
            self._tell(self.line(now))

    def line(self, now: float) -> str:
        """`tile 31 of 121 | 14.2 Mpx/s | 1 min 52 s left`."""
        spent = max(now - self._began, 1e-9)
        rate = self.finished / spent
        left = (self._tiles - self.before - self.finished) / max(rate, 1e-9)
        return (
            f"tile {self.before + self.finished} of {self._tiles} | {rate * self._pixels_a_tile / 1e6:.1f} Mpx/s | "
            f"{spoken(left)} left"
        )


def spoken(seconds: float) -> str:
    """`52 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
