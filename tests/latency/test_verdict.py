"""A run is VALID only when every rule that can be seen holds; the others are listed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from roadedge.latency.drift import infer_drift
from roadedge.latency.profile import FrameRecord
from roadedge.latency.summary import summarize
from roadedge.latency.verdict import Verdict, gpu_processes_of, judge
from tests.latency.test_profile import dropped, profile, record

LONG = [record(i) for i in range(800)]


def on_gpu(records: list[FrameRecord], **device_ms: float) -> list[FrameRecord]:
    return [dataclasses.replace(one, device_ms=device_ms) for one in records]


def verdict(records: list[FrameRecord] = LONG, duration_s: float = 20.0, **changes: Any) -> Verdict:
    facts = {
        "asked_s": None,
        "interrupted": False,
        "backend_asked": "auto",
        "backend_used": "onnxruntime",
        "accuracy_known": True,
        **changes,
    }
    return judge(dataclasses.replace(profile(records), duration_s=duration_s), **facts)


def test_a_long_steady_run_of_a_scored_model_is_valid_and_lists_what_a_cpu_cannot_show() -> None:
    seen = verdict()
    assert seen.valid
    assert seen.to_dict()["result"] == "VALID"
    assert len(seen.not_applicable) == 3
    assert len(seen.held) == 5
    assert seen.warnings == ()


def test_on_a_device_that_shows_all_the_eight_rules_hold() -> None:
    seen = verdict(on_gpu(LONG, h2d=1.0, gpu=10.0, d2h=0.5), throttled=(), gpu_processes=0)
    assert seen.valid
    assert len(seen.held) == 8
    assert seen.not_applicable == ()
    assert seen.warnings == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"asked_s": 60.0}, "it lasted 20.0 s of the 60 s asked for"),
        ({"records": LONG[:300]}, "p99 takes at least 662"),
        ({"throttled": ("thermal", "power cap")}, "the machine throttled: thermal, power cap"),
        ({"gpu_processes": 2}, "other processes on the GPU: 2"),
        ({"backend_asked": "openvino"}, "it ran on onnxruntime and openvino was asked for"),
        ({"non_finite": 3}, "NaN or infinity for 3 frames"),
        ({"accuracy_known": False}, "roadedge eval"),
        ({"interrupted": True}, "it was interrupted"),
        ({"ended_by": "the stream was lost"}, "an error ended it: the stream was lost"),
    ],
)
def test_each_broken_rule_is_named_and_the_others_hold(changes: dict[str, Any], reason: str) -> None:
    seen = verdict(**changes)
    assert len(seen.reasons) == 1
    assert reason in seen.reasons[0]
    assert not seen.valid


def test_a_gpu_whose_time_varies_by_more_than_a_fortieth_is_told_to_lock_its_clocks() -> None:
    varied = [dataclasses.replace(r, device_ms={"gpu": 10.0 + 0.3 * (-1) ** i}) for i, r in enumerate(LONG)]
    assert "varies by 3.0% of its mean, over 2.5%; lock its clocks" in verdict(varied).reasons[0]
    steady = [dataclasses.replace(r, device_ms={"gpu": 10.0 + 0.2 * (-1) ** i}) for i, r in enumerate(LONG)]
    assert verdict(steady).valid


def test_transfers_that_take_as_long_as_the_computing_are_warned_of() -> None:
    seen = verdict(on_gpu(LONG, h2d=10.0, gpu=10.0, d2h=1.0))
    assert seen.valid
    assert seen.warnings == ("the transfer to the GPU takes 10.00 ms and the GPU only 10.00 ms",)


def test_a_run_that_did_not_settle_or_cannot_keep_up_is_warned_of() -> None:
    short = [record(i, infer_ms=150.0) for i in range(20)]
    warnings = verdict(short).warnings
    assert "did not settle" in warnings[0]
    assert "load 1.50" in warnings[-1]


def test_a_busy_machine_is_warned_of_and_one_that_says_nothing_is_not() -> None:
    assert "3.0 runnable processes" in verdict(machine_load=3.0).warnings[0]
    assert verdict(machine_load=0.1).warnings == verdict(machine_load=None).warnings == ()


def test_memory_that_grows_and_a_device_that_slows_down_are_warned_of() -> None:
    assert verdict(duration_s=120.0, rss_slope_mb_per_min=0.9, infer_drift=1.05).warnings == ()
    assert "grew by 1.1 MB a minute" in verdict(duration_s=120.0, rss_slope_mb_per_min=1.1).warnings[0]
    assert verdict(duration_s=119.0, rss_slope_mb_per_min=9.0).warnings == ()  # caches fill at the start of a run
    assert "inference took 1.20 times as long" in verdict(infer_drift=1.2).warnings[0]


def test_the_drift_is_the_last_minute_by_the_first() -> None:
    warming = [record(i, infer_ms=20.0 if i < 900 else 25.0) for i in range(1800)] + [dropped(1800)]
    assert infer_drift(warming) == pytest.approx(1.25)
    assert infer_drift(warming, warmup=900) is None  # 90 s are left
    assert infer_drift([]) is None


def test_a_verdict_comes_back_from_its_json() -> None:
    seen = verdict(LONG[:300], machine_load=3.0)
    assert Verdict.from_dict(seen.to_dict()) == seen


def test_a_processor_that_holds_the_gpu_up_is_warned_of() -> None:
    times = {"enqueue": summarize([8.1] * 20), "gpu": summarize([10.0] * 20)}
    shown = dataclasses.replace(profile(LONG), device=times)
    seen = judge(
        shown, asked_s=None, interrupted=False, backend_asked="auto", backend_used="tensorrt", accuracy_known=True
    )
    assert seen.warnings == (
        "enqueueing takes 8.10 ms and the GPU 10.00 ms: the processor holds it up; try a CUDA graph",
    )


def test_the_most_processes_on_the_gpu_come_from_the_machine_where_it_shows_them() -> None:
    assert gpu_processes_of({"summary": {"gpu_other_processes": {"n": 9, "max": 2.0}}}) == 2
    assert gpu_processes_of({"summary": {"gpu_other_processes": {"n": 0, "max": None}}}) is None
    assert gpu_processes_of({"summary": {}}) is gpu_processes_of(None) is None
