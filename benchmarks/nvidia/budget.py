"""A hard bound on time: a stage asks what it may take, and what no longer fits is left out and said."""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST_S = 5.0  # a process that imports a framework and does one thing; below it nothing is begun


class Budget:
    """Seconds of the whole run, counted from its making."""

    def __init__(self, total_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self.total_s = total_s
        self._now, self._began = now, now()

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return self._now() - self._began

    @property
    def left_s(self) -> float:
        """Seconds that remain, never below 0."""
        return max(0.0, self.total_s - self.spent_s)

    def share(self, parts: int, most_s: float | None = None) -> Budget:
        """A budget of its own: one of `parts` equal parts of what is left, at most `most_s`."""
        seconds = self.left_s / max(1, parts)
        return Budget(seconds if most_s is None else min(seconds, most_s), self._now)

    def part(self, share: float) -> Budget:
        """A budget of `share`, 0 to 1, of what is left."""
        return Budget(self.left_s * share, self._now)

    @property
    def why_not(self) -> str:
        """Why nothing more is begun; empty where something may be."""
        if self.left_s >= LEAST_S:
            return ""
        return f"skipped: {self.left_s:.0f} s were left of its share of the time, less than the {LEAST_S:.0f} s needed"
