"""What is shown while a run goes on: a line a second for a stream, a bar for a folder on a terminal."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from roadedge.latency.machine import MachineWatch
from roadedge.latency.profile import FrameRecord
from roadedge.latency.summary import samples_needed, summarize
from roadedge.stream.pipeline import Run, Watch

EVERY_S = 1.0
KEPT = 1000  # ages


class StatusLine:
    """`t=12s in 10.0 fps out 9.8 | age p50 24 p99 31 ms | drop 2 | sync 99.7 % skew 18 ms | 14 W 61 °C`, once a second.

    Frames in and out are those since the last line. The ages are those of the last thousand frames without the run's
    first one; where their count allows no p99 the line gives the maximum.
    """

    def __init__(self, tell: Callable[[str], None], machine: MachineWatch | None = None) -> None:
        self._tell, self._machine = tell, machine
        self._shown_s = 0.0
        self._ages: deque[float] = deque(maxlen=KEPT)
        self._seen = self._dropped = self._paired = self._common = 0
        self._first = True

    def __call__(self, run: Run, now_s: float) -> None:
        """Tell a line if it is time for one."""
        if now_s - self._shown_s < EVERY_S:
            return
        recent = run.records[self._seen :]
        self._seen += len(recent)
        for record in recent:
            self._dropped += bool(record.dropped_by)
            self._paired += record.paired is True
            self._common += record.paired is not None
            if record.age_ms is not None:
                if not self._first:
                    self._ages.append(record.age_ms)
                self._first = False
        self._tell(self.line(recent, now_s))
        self._shown_s = now_s

    def line(self, recent: Sequence[FrameRecord], now_s: float) -> str:
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
        skew = "" if not answered or answered[-1].skew_ms is None else f"skew {answered[-1].skew_ms:.0f} ms"
        sync = f"sync {100 * self._paired / self._common:.1f} %" if self._common else ""
        machine = self._machine_text()
        return " | ".join([*parts, *(text for text in (f"{sync} {skew}".strip(), machine) if text)])

    def _age_text(self) -> str:
        if not self._ages:
            return "–"
        summary = summarize(list(self._ages), (99.0,))
        tail = summary.percentiles[99.0]
        enough = len(self._ages) >= samples_needed(99.0) and tail is not None
        return f"p50 {summary.median:.0f} {'p99' if enough else 'max'} {tail if enough else summary.maximum:.0f}"

    def _machine_text(self) -> str:
        sample = None if self._machine is None else self._machine.newest()
        if sample is None:
            return ""
        shown = (("power_w", "{:.1f} W"), ("temp_c", "{:.0f} °C"))
        texts = [form.format(sample.values[key]) for key, form in shown if key in sample.values]
        return " ".join([*texts, *(f"throttled: {reason}" for reason in sample.throttle[:1])])


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
