"""Clocks and stages. Every time of a run comes from one clock, so that a hand-moved one makes a test exact."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

STAGES = ("decode", "heatmap", "preprocess", "infer", "postprocess", "encode")  # in the order a frame walks them


class Clock(Protocol):
    """A monotonic clock that can also wait."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary moment."""

    def sleep_until_ns(self, moment_ns: int) -> None:
        """Return at `moment_ns`, at once where that is past."""


class HostClock:
    """The host's `perf_counter_ns`."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary moment."""
        return time.perf_counter_ns()

    def sleep_until_ns(self, moment_ns: int) -> None:
        """Return at `moment_ns`, at once where that is past."""
        while (left_ns := moment_ns - time.perf_counter_ns()) > 0:
            time.sleep(left_ns / 1e9)


class StageTimer:
    """Milliseconds that one frame spent in each stage; a stage that is entered twice adds up."""

    def __init__(self, clock: Clock) -> None:
        """Start with all stages at zero."""
        self._clock = clock
        self.stage_ms = dict.fromkeys(STAGES, 0.0)

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block as part of `stage`, also where it ends in an error."""
        begin_ns = self._clock.now_ns()
        try:
            yield
        finally:
            self.stage_ms[stage] += (self._clock.now_ns() - begin_ns) / 1e6
