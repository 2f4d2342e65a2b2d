"""Clocks and stages. Every time of a run comes from one clock, so that a hand-moved one makes a test exact."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

STAGES = ("decode", "heatmap", "preprocess", "infer", "postprocess", "encode")  # in the order a frame walks them


class Signal(Protocol):
    """What threads wait on: held like a lock while its state is looked at, `Clock.wait` lets go of it meanwhile."""

    def __enter__(self) -> Any:
        """Hold it."""

    def __exit__(self, *error: Any) -> None:
        """Let go of it."""

    def notify_all(self) -> None:
        """Wake all that wait; while it is held."""


class Clock(Protocol):
    """A monotonic clock that can also wait, and whose threads wait by it, so that a simulated one is exact."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary moment."""

    def sleep_until_ns(self, moment_ns: int) -> None:
        """Return at `moment_ns`, at once where that is past."""

    def signal(self) -> Signal:
        """A new signal to wait on."""

    def wait(self, signal: Signal, until_ns: int | None = None) -> None:
        """Wait on a signal that is held until it is notified, or until a moment; may also return for nothing."""

    def start(self, work: Callable[[], None], name: str) -> Callable[[], None]:
        """Run `work`, which raises nothing, on a thread of its own; what is returned waits until it has ended."""


class HostClock:
    """The host's `perf_counter_ns`."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary moment."""
        return time.perf_counter_ns()

    def sleep_until_ns(self, moment_ns: int) -> None:
        """Return at `moment_ns`, at once where that is past."""
        while (left_ns := moment_ns - time.perf_counter_ns()) > 0:
            time.sleep(left_ns / 1e9)

    def signal(self) -> threading.Condition:
        """A condition."""
        return threading.Condition()

    def wait(self, signal: Signal, until_ns: int | None = None) -> None:
        """Wait on a condition."""
        assert isinstance(signal, threading.Condition)
        signal.wait(None if until_ns is None else max(0.0, (until_ns - time.perf_counter_ns()) / 1e9))

    def start(self, work: Callable[[], None], name: str) -> Callable[[], None]:
        """Run `work` on a thread that does not keep the process alive."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread.join


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
