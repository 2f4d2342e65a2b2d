"""A runner that takes time of a hand-moved clock, and what it is called with."""

from __future__ import annotations

from roadedge.benchmark.options import BenchmarkOptions
from roadedge.latency.clock import StageTimer
from roadedge.preprocess import Feeds
from roadedge.spec import ModelSpec
from tests.latency.hand_clock import HandClock
from tests.stream.fakes import SPEC, FakeRunner


class TimedRunner(FakeRunner):
    """Takes `service_ms` of the clock for each call in turn, then the last one; Ctrl-C at call `stop_at`."""

    def __init__(
        self, clock: HandClock, *service_ms: float, spec: ModelSpec = SPEC, stop_at: int | None = None
    ) -> None:
        super().__init__(clock, service_ms, spec)
        self.stop_at, self.calls = stop_at, 0
        self.hand = clock

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        self.calls += 1
        if self.stop_at is not None and self.calls >= self.stop_at:
            raise KeyboardInterrupt
        outputs = super().infer(feeds, logits)
        self.feeds = self.feeds[-1:] * len(self.feeds)  # the count matters, not the pictures
        return outputs

    def windows_at_once(self, windows: int) -> int:
        return self.spec.batch or windows


def serve_of(clock: HandClock, *service_ms: float) -> object:
    """Serves a frame in each of the times in turn, then in the last one."""
    calls = [0]

    def serve(timer: StageTimer) -> None:
        with timer("infer"):
            clock.pass_ms(service_ms[min(calls[0], len(service_ms) - 1)])
        calls[0] += 1

    return serve


def options(**changes: object) -> BenchmarkOptions:
    return BenchmarkOptions("fake", **changes)  # type: ignore[arg-type]
