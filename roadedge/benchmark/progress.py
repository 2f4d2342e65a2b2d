"""When a benchmark has warmed up, and its line a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from roadedge.latency.clock import STAGES
from roadedge.latency.profile import (
    WARMUP_CHANGE,
    WARMUP_LEAST_S,
    WARMUP_MOST_S,
    WARMUP_WINDOW,
    FrameRecord,
)

Tell = Callable[[str], None]
EVERY_S = 1.0
INFER = STAGES.index("infer")


def silent(text: str) -> None:
    """Tell nobody."""


class Settling:
    """Says after each frame whether the warm-up is over, by the rule with which `find_warmup` looks back on a run.

    It lasts half a minute at the most.
    """

    def __init__(self) -> None:
        self.over = self.stable = False
        self.over_s = 0.0
        self._infer_ms: list[float] = []

    def __call__(self, record: FrameRecord) -> bool:
        """Take in one answered frame; whether it, or one before it, was the last of the warm-up."""
        if self.over:
            return True
        self._infer_ms.append(record.stage_ms[INFER])
        too_long = record.done_s > WARMUP_MOST_S  # however few frames a slow network has answered by then
        enough = len(self._infer_ms) >= 2 * WARMUP_WINDOW and record.done_s >= WARMUP_LEAST_S
        if too_long or (enough and self._is_stable()):
            self.over, self.over_s, self.stable = True, record.done_s, not too_long
        return self.over

    def _is_stable(self) -> bool:
        before = float(np.median(self._infer_ms[-2 * WARMUP_WINDOW : -WARMUP_WINDOW]))
        return abs(float(np.median(self._infer_ms[-WARMUP_WINDOW:])) - before) < WARMUP_CHANGE * before


class Line:
    """`t=12s | 23.4/s | p50 42.1 max 60.3 ms`, once a second, over the frames since the last line."""

    def __init__(self, tell: Tell, label: str) -> None:
        self._tell, self._label = tell, label
        self._told_s = 0.0
        self._ages: list[float] = []

    def __call__(self, record: FrameRecord, phase: str, images: int = 1) -> None:
        """Take in a frame, and tell a line if it is time for one."""
        if record.age_ms is not None:
            self._ages.append(record.age_ms)
        passed_s = record.done_s - self._told_s
        if passed_s >= EVERY_S and self._ages:
            self._tell(
                f"t={record.done_s:.0f}s {self._label} {phase} | {images * len(self._ages) / passed_s:.1f}/s | "
                f"p50 {np.median(self._ages):.1f} max {max(self._ages):.1f} ms"
            )
            self._told_s, self._ages = record.done_s, []


def records_after(records: Sequence[FrameRecord], warmup: int) -> list[FrameRecord]:
    """The answered frames that the figures are made of."""
    return [record for record in records if record.age_ms is not None][warmup:]
