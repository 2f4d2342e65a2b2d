"""The closed loop on a clock that is moved by hand: every time is exact."""

from __future__ import annotations

from typing import Any

import pytest

from roadedge.benchmark.measured import of_loop
from roadedge.benchmark.progress import Settling
from roadedge.benchmark.single import Work, closed_loop
from roadedge.latency.clock import STAGES
from roadedge.latency.profile import FrameRecord, find_warmup
from tests.benchmark.fakes import TimedRunner, options, serve_of
from tests.latency.hand_clock import HandClock
from tests.stream.fakes import FakeSource


def loop_of(duration_s: float, *service_ms: float, lines: list[str] | None = None) -> Any:
    clock = HandClock()
    return closed_loop(
        serve_of(clock, *service_ms),  # type: ignore[arg-type]
        TimedRunner(clock),  # type: ignore[arg-type]
        clock,
        duration_s,
        (lambda text: None) if lines is None else lines.append,
    )


def test_a_constant_time_is_every_percentile() -> None:
    loop = loop_of(10.0, 40.0)
    found = of_loop(loop, 0, options(duration_s=10.0), 5.0)
    assert loop.warmup_s == pytest.approx(4.0)  # two windows of fifty at 40 ms
    assert found.profile.warmup.frames == 100
    assert found.profile.warmup.settled
    assert found.profile.age.count == 250
    assert found.profile.age.percentiles[90.0] == pytest.approx(40.0)
    assert found.throughput_per_s == pytest.approx(25.0)
    assert found.asked_s == pytest.approx(14.0)
    assert not found.interrupted


def test_no_outlier_is_removed() -> None:
    clock = HandClock()
    service = [20.0] * 149 + [60.0] + [20.0] * 49 + [400.0] + [20.0] * 49 + [60.0, 20.0]
    serve = serve_of(clock, *service)
    loop = closed_loop(serve, TimedRunner(clock), clock, 6.0)  # type: ignore[arg-type]
    ages = of_loop(loop, 0, options(), 0.0).samples_ms[0]
    assert max(ages) == pytest.approx(400.0)
    assert ages.count(60.0) == 1


def test_the_first_inference_is_told_apart() -> None:
    found = of_loop(loop_of(5.0, 900.0, 10.0), 0, options(), 1234.0)
    assert found.profile.warmup.first_infer_ms == pytest.approx(900.0)
    assert found.profile.model_load_ms == 1234.0
    assert found.profile.age.maximum == pytest.approx(10.0)


def test_a_network_that_never_settles_is_measured_after_half_a_minute_and_flagged() -> None:
    clock = HandClock()
    growing = [10.0 * 1.001**i for i in range(4000)]  # 5 % more in fifty frames
    serve = serve_of(clock, *growing)
    loop = closed_loop(serve, TimedRunner(clock), clock, 5.0)  # type: ignore[arg-type]
    assert 30.0 < loop.warmup_s < 30.5
    assert not of_loop(loop, 0, options(duration_s=5.0), 0.0).profile.warmup.settled


def test_a_slow_network_warms_up_for_half_a_minute_and_no_longer() -> None:
    loop = loop_of(10.0, 2000.0)
    assert loop.warmup_s == pytest.approx(32.0)
    found = of_loop(loop, 0, options(duration_s=10.0), 0.0)
    assert (found.profile.warmup.frames, found.profile.warmup.settled, found.profile.age.count) == (16, False, 5)


def test_frames_that_are_large_take_fewer_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    runner: Any = TimedRunner(clock)
    frame_bytes = 32 * 32 * 4
    monkeypatch.setattr("roadedge.benchmark.frames.RING_BYTES", 3 * frame_bytes)
    assert len(Work(FakeSource(clock, 16), runner, ()).ring) == 3
    monkeypatch.setattr("roadedge.benchmark.frames.RING_BYTES", 1)
    assert len(Work(FakeSource(clock, 16), runner, ()).ring) == 1


@pytest.mark.parametrize("service", [(40.0,), (900.0, 10.0), tuple(10.0 + i % 7 for i in range(900)), (3.0,)])
def test_warm_is_when_looking_back_says_so(service: tuple[float, ...]) -> None:
    loop = loop_of(4.0, *service)
    settling = Settling()
    counted = next(i for i, record in enumerate(loop.records, 1) if settling(record))
    assert counted == find_warmup(loop.records).frames


def test_a_line_is_told_each_second() -> None:
    lines: list[str] = []
    loop_of(2.0, 100.0, lines=lines)
    assert lines[0] == "t=1s single warm-up | 10.0/s | p50 100.0 max 100.0 ms"
    assert len(lines) == 12


def test_ctrl_c_leaves_what_there_is() -> None:
    clock = HandClock()
    runner = TimedRunner(clock, 100.0, stop_at=31)
    work = Work(FakeSource(clock, 16), runner, ())  # type: ignore[arg-type]
    loop = closed_loop(work, runner, clock, 60.0)  # type: ignore[arg-type]
    assert loop.interrupted
    assert len(loop.records) == 30
    assert of_loop(loop, 0, options(), 0.0).interrupted


class SlowSource(FakeSource):
    """Never ends."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock, 10**9, decode_ms=7.0)


@pytest.mark.parametrize(
    ("include", "timed_ms"), [((), 20.0), (("pre",), 20.0), (("post",), 20.0), (("decode", "pre", "post"), 27.0)]
)
def test_only_what_is_included_is_timed(include: tuple[str, ...], timed_ms: float) -> None:
    clock = HandClock()
    runner = TimedRunner(clock, 20.0)
    work = Work(SlowSource(clock), runner, include)  # type: ignore[arg-type]
    loop = closed_loop(work, runner, clock, 1.0, settle=False)  # type: ignore[arg-type]
    decode = STAGES.index("decode")
    assert {round(record.age_ms or 0.0, 6) for record in loop.records} == {timed_ms}
    assert {record.stage_ms[decode] for record in loop.records} == {7.0 if "decode" in include else 0.0}


def test_times_of_the_device_are_kept() -> None:
    clock = HandClock()
    runner = TimedRunner(clock, 20.0)
    runner.last_ms = {"infer": 20.0, "h2d": 1.0, "gpu": 18.0, "d2h": 1.0}
    loop = closed_loop(serve_of(clock, 20.0), runner, clock, 1.0, settle=False)  # type: ignore[arg-type]
    assert loop.records[0].device_ms == {"h2d": 1.0, "gpu": 18.0, "d2h": 1.0}


def test_records_are_those_of_frames() -> None:
    record = loop_of(0.1, 40.0).records[3]
    assert isinstance(record, FrameRecord)
    assert record.frame == "000003"
    assert record.capture_s == pytest.approx(0.12)
    assert record.done_s == pytest.approx(0.16)
