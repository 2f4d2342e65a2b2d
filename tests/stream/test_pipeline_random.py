"""Whatever is slow, fails or is stopped: each frame has one record, in order, and its age is explained."""

from __future__ import annotations

import random

import pytest

from roadedge.errors import DataError, NonFiniteError, OutputError, RoadEdgeError, SourceError
from roadedge.preprocess import Feeds
from roadedge.stream.pipeline import Pipeline, Run, Watch
from roadedge.stream.plan import Plan
from roadedge.stream.sinks import Result, Sink
from roadedge.stream.sources import Frame
from tests.latency.hand_clock import HandClock
from tests.stream.fakes import FakeRunner, FakeSource


class Luck:
    """Throws the dice for one simulation."""

    def __init__(self, seed: int) -> None:
        self.dice, self.clock = random.Random(seed), HandClock()
        self.failing = self.dice.random() < 0.4

    def work(self, mean_ms: float) -> None:
        stalls = self.dice.random() < 0.05
        self.clock.pass_ms(700.0 if stalls else mean_ms * 2 * self.dice.random())

    def fail(self, share: float, error: RoadEdgeError) -> None:
        if self.failing and self.dice.random() < share:
            raise error


class UnluckySource(FakeSource):
    def __init__(self, luck: Luck, rate_hz: float | None, delivers: bool) -> None:
        super().__init__(luck.clock, luck.dice.randint(1, 100), rate_hz)
        self.luck, self.delivers, self.stopped = luck, delivers, False
        self.moving = delivers or luck.dice.random() < 0.5
        self._start_ns = luck.clock.now_ns()

    def read(self) -> Frame | None:
        if self.stopped and self.delivers:
            return None
        captured_ns = self._start_ns + self.index * 50_000_000
        if self.delivers:
            self.luck.clock.sleep_until_ns(captured_ns + self.luck.dice.randint(0, 30_000_000))
        else:
            self.luck.work(4.0)
        self.luck.fail(0.005, SourceError("lost"))
        frame = super().read()
        if frame is None:
            return None
        if not self.delivers:
            self.luck.fail(0.03, DataError("bad file"))
        own = (captured_ns, 1.0) if self.delivers else (None, None)
        return Frame(frame.name, frame.sample, (self.index - 1) / 20, "pts", captured_ns=own[0], decode_ms=own[1])

    def interrupt(self) -> None:
        self.stopped = True


class UnluckyRunner(FakeRunner):
    def __init__(self, luck: Luck) -> None:
        super().__init__()
        self.luck, self.mean_ms = luck, luck.dice.choice([5.0, 40.0, 120.0])

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        self.luck.work(self.mean_ms)
        self.luck.fail(0.02, DataError("cannot be inferred"))
        self.luck.fail(0.002, NonFiniteError("NaN"))
        return super().infer(feeds)


class UnluckySink(Sink):
    def __init__(self, luck: Luck) -> None:
        self.luck, self.mean_ms, self.names = luck, luck.dice.choice([1.0, 30.0, 90.0]), list[str]()

    def write(self, result: Result) -> None:
        self.luck.work(self.mean_ms)
        self.luck.fail(0.002, OutputError("the disk is full"))
        self.names.append(result.frame.name)


def ctrl_c(moments_s: list[float]) -> Watch:
    def watch(run: Run, now_s: float) -> None:
        if moments_s and now_s >= moments_s[0]:
            del moments_s[0]
            raise KeyboardInterrupt

    return watch


def a_plan(dice: random.Random, realtime: bool) -> Plan:
    return Plan(
        dice.choice(["latest", "all", "max-age:100", "max-age:400"]),
        max_frames=dice.choice([None, dice.randint(1, 100)]),
        duration_s=dice.choice([None, dice.uniform(0.01, 5.0)]),
        strict=dice.random() < 0.2,
        realtime=realtime,
    )


@pytest.mark.parametrize("first_seed", range(0, 300, 50))
@pytest.mark.parametrize("kind", ["files", "rate", "film", "camera"])
def test_every_frame_has_one_record_in_order_and_every_age_is_explained(kind: str, first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 50):
        luck = Luck(seed)
        dice = luck.dice
        source = UnluckySource(luck, dice.choice([10.0, 33.3]) if kind == "rate" else None, kind == "camera")
        sink, plan = UnluckySink(luck), a_plan(dice, kind == "film")
        stops = sorted(dice.uniform(0.0, 4.0) for _ in range(dice.choice([0, 0, 0, 1, 2])))
        pipeline = Pipeline(source, UnluckyRunner(luck), [sink], plan, luck.clock, ctrl_c(stops))
        error = None
        try:
            pipeline.go()
        except RoadEdgeError as failure:
            error = failure
        run, records = pipeline.run, list(pipeline.run.records)
        answered = [r for r in records if r.age_ms is not None]
        assert [r.frame for r in records] == [f"{i:06d}" for i in range(len(records))], seed
        assert len(records) <= (plan.max_frames or 100)
        assert all(bool(r.dropped_by) != (r.age_ms is not None) for r in records), seed
        assert [r.frame for r in answered] == sink.names[: run.answered], seed
        assert [r.done_s for r in answered] == sorted(r.done_s for r in answered), seed
        assert min((min(r.late_ms, r.wait_ms) for r in answered), default=0.0) >= 0, seed
        assert [r.rest_ms for r in answered] == pytest.approx([0.0] * len(answered), abs=1e-5), seed
        if kind == "files" and error is None and not run.interrupted and plan.max_age_ms is None:
            assert {r.dropped_by for r in records} <= {"", "error"}, seed
