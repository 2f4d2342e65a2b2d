"""Several streams on one worker, on a clock that is moved by hand."""

from __future__ import annotations

from typing import Any

import pytest

from roadedge.benchmark.conclusion import few_frames
from roadedge.benchmark.measured import run_multi
from roadedge.benchmark.multi import Streams, most_streams, run_streams
from roadedge.benchmark.single import Work
from roadedge.benchmark.slo import missed, parse_slo
from roadedge.latency.profile import FrameRecord
from tests.benchmark.fakes import TimedRunner, options, serve_of
from tests.latency.hand_clock import HandClock
from tests.stream.fakes import FakeSource


def streams(count: int, rate_hz: float, service_ms: float, duration_s: float = 10.0) -> Streams:
    clock = HandClock()
    serve: Any = serve_of(clock, service_ms)
    return run_streams(count, rate_hz, serve, TimedRunner(clock), clock, duration_s)  # type: ignore[arg-type]


def test_one_stream_below_its_rate_loses_nothing_and_is_as_old_as_its_service() -> None:
    run = streams(1, 10.0, 40.0)
    assert [len(run.streams[0].records), run.worst_loss] == [100, 0.0]
    assert {round(record.age_ms or 0, 3) for record in run.records} == {40.0}


def test_streams_that_fit_side_by_side_do_not_disturb_each_other() -> None:
    run = streams(2, 10.0, 50.0)  # shifted by half a period: exactly full
    assert run.worst_loss == 0.0
    assert {round(record.age_ms or 0, 3) for record in run.records} == {50.0}


def test_what_is_too_much_is_dropped_and_shared_evenly() -> None:
    run = streams(4, 10.0, 50.0, 20.0)  # twice what the worker can do
    losses = [stream.loss for stream in run.streams]
    assert losses == pytest.approx([0.5] * 4, abs=0.02)
    assert sum(len(stream.records) for stream in run.streams) == 800
    assert all(record.dropped_by in ("", "latest:infer") for record in run.records)


def test_the_age_counts_from_the_moment_at_which_the_frame_was_due() -> None:
    run = streams(1, 20.0, 75.0)  # every frame waits for the worker
    ages = [record.age_ms for record in run.records if record.age_ms is not None]
    assert ages[:4] == pytest.approx([75.0, 100.0, 75.0, 100.0])  # due 0, 50, 150, 200; done 75, 150, 225, 300
    assert run.records[-1].done_s * 1e3 == pytest.approx(10_050.0, abs=75.0)


def test_a_frame_that_waits_at_the_end_is_answered_and_not_lost() -> None:
    run = streams(1, 10.0, 95.0, 1.0)
    assert [record.dropped_by for record in run.records] == [""] * 10


def a_probe(limit: int, tried: list[int]) -> Any:
    def probe(count: int) -> Streams:
        tried.append(count)
        run = streams(1, 10.0, 1.0, 0.1)
        loss = FrameRecord("", 0.0, "schedule", dropped_by="latest:infer")
        if count > limit:
            run.streams[0].records.append(loss)
            run.streams[0].dropped += 1
        return run

    return probe


@pytest.mark.parametrize(
    ("limit", "asked"), [(0, [1]), (1, [1, 2]), (5, [1, 2, 4, 8, 6, 5]), (11, [1, 2, 4, 8, 16, 12, 10, 11])]
)
def test_the_most_streams_are_found_by_doubling_and_halving(limit: int, asked: list[int]) -> None:
    tried: list[int] = []
    count, told, interrupted = most_streams(a_probe(limit, tried))
    assert (count, tried, interrupted) == (limit, asked, False)
    assert [row["streams"] for row in told] == asked


def test_no_more_streams_are_tried_than_the_limit() -> None:
    tried: list[int] = []
    assert most_streams(a_probe(1000, tried), limit=20)[0] == 20
    assert max(tried) == 20


def scenario(service_ms: float, rate_hz: float = 10.0, stop_at: int | None = None, **changes: Any) -> Any:
    clock = HandClock()
    runner: Any = TimedRunner(clock, service_ms, stop_at=stop_at)
    work = Work(FakeSource(clock, 16), runner, ())
    asked = options(scenario="multi", rate_hz=rate_hz, **changes)
    return run_multi(work, runner, asked, clock, 0.0, lambda text: None)


def test_a_worker_of_20_ms_sustains_five_streams_of_10_hz() -> None:
    found = scenario(20.0, duration_s=70.0)
    assert found.streams == 5
    assert found.own["streams_sustained"] == 5
    assert [len(one) for one in found.samples_ms] == [5 * 700]
    assert found.own["streams"][4]["age_ms"]["p99"] == pytest.approx(20.0)
    assert found.profile.warmup.settled
    assert found.profile.load == pytest.approx(1.0)
    assert found.profile.max_gap_ms == pytest.approx(100.0)  # of one stream; some stream answers each 20 ms
    assert found.profile.age.count == 3500  # the warm-up came before, none of these is left out


def test_each_stream_must_meet_the_targets() -> None:
    def row(loss: float, p99: float | None) -> dict[str, Any]:
        return {"loss": loss, "age_ms": {"n": 700, "p99": p99, "max": 50.0}}

    found = scenario(20.0, duration_s=10.0)
    targets = parse_slo("p99=30ms,drop=1%,max=50ms,throughput=1/s", "multi")
    assert missed(targets, found.profile, 99.0, 2, [row(0.0, 20.0), row(0.02, 31.0)]) == [
        "p99=30ms: measured 31.00 ms",
        "drop=1%: measured 2.00%",
    ]
    assert missed(targets, found.profile, 99.0, 2, [row(0.0, 20.0), row(0.0, None)]) == [
        "p99=30ms: n too small, 700 frames of one stream"
    ]


def test_all_streams_together_make_no_p99_of_one() -> None:
    assert few_frames(scenario(20.0, duration_s=70.0).own["streams"]) is None
    short = scenario(20.0, duration_s=30.0).own["streams"]
    assert few_frames(short) == "300 frames of one stream measured; its p99 takes at least 662"


def test_not_even_one_stream_may_be_sustained() -> None:
    found = scenario(150.0, duration_s=10.0)
    assert found.own["streams_sustained"] == 0
    assert found.own["streams"][0]["loss"] > 0.3


def test_a_given_count_is_measured_and_nothing_searched() -> None:
    found = scenario(20.0, duration_s=10.0, streams=10)
    assert found.own["tried"] == []
    assert found.own["streams_sustained"] == 0
    assert found.own["streams"][9]["loss"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("stop_at", [5, 200, 320, 900])
def test_ctrl_c_in_warm_up_search_or_measurement_claims_no_streams(stop_at: int) -> None:
    found = scenario(20.0, duration_s=70.0, stop_at=stop_at)
    assert found.interrupted
    assert found.own["streams_sustained"] is None
