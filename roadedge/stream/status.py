"""What is shown while a run goes on: a line a second for a stream, a bar for a folder on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from roadedge.latency.profile import FrameRecord
from roadedge.latency.summary import samples_needed, summarize
from roadedge.stream.pipeline import Run, Watch

EVERY_S = 1.0


class StatusLine:
    """`t=12s in 10.0 fps out 9.8 | age p50 24 p99 31 ms | drop 2 | points 812`, once a second.

    Frames in and out are those of the time since the last line. The ages are those of the run so far without its first
    frame; where their count allows no p99 the line gives the maximum.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._shown_s, self._shown = 0.0, 0
        self._ages: list[float] = []
        self._seen = 0
        self._dropped = 0

    def __call__(self, run: Run, now_s: float) -> None:
        """Tell a line if it is time for one."""
        for record in run.records[self._seen :]:
            self._dropped += bool(record.dropped_by)
            if record.age_ms is not None:
                self._ages.append(record.age_ms)
        self._seen = len(run.records)
        if now_s - self._shown_s >= EVERY_S:
            self._tell(self.line(run.records[self._shown :], now_s))
            self._shown_s, self._shown = now_s, len(run.records)

    def line(self, recent: list[FrameRecord], now_s: float) -> str:
        """The line for the frames since the last one."""
        passed_s = max(now_s - self._shown_s, 1e-9)
        answered = [r for r in recent if r.age_ms is not None]
        parts = [
            f"t={now_s:.0f}s in {len(recent) / passed_s:.1f} fps out {len(answered) / passed_s:.1f}",
            f"age {self._age_text()} ms",
            f"drop {self._dropped}",
        ]
        if answered and answered[-1].points is not None:
            parts.append(f"points {answered[-1].points}")
        if answered and answered[-1].skew_ms is not None:
            parts.append(f"skew {answered[-1].skew_ms:.0f} ms")
        return " | ".join(parts)

    def _age_text(self) -> str:
        ages = self._ages[1:] or self._ages
        if not ages:
            return "–"
        summary = summarize(ages, (99.0,))
        tail = summary.percentiles[99.0]
        name, value = (
            ("p99", tail) if len(ages) >= samples_needed(99.0) and tail is not None else ("max", summary.maximum)
        )
        return f"p50 {summary.median:.0f} {name} {value:.0f}"


def progress_bar(total: int | None) -> AbstractContextManager[Watch | None]:
    """A bar on stderr for a folder; nothing where stderr is no terminal."""
    if total is None or total < 2 or not sys.stderr.isatty():
        return nullcontext(None)
    return _Bar(total)


class _Bar:
    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._progress = Progress(
            BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
        )
        self._task = self._progress.add_task("frames", total=total)

    def __enter__(self) -> Watch:
        self._progress.start()
        return lambda run, now_s: self._progress.update(self._task, completed=len(run.records))

    def __exit__(self, *error: Any) -> None:
        self._progress.stop()
