"""Options, targets and what is refused before anything is measured."""

from __future__ import annotations

import pytest

from roadedge.benchmark.options import BenchmarkOptions, included_text, parse_batches, parse_duration, parse_include
from roadedge.benchmark.slo import missed, parse_slo
from roadedge.errors import UsageError
from roadedge.latency.profile import FrameRecord, profile_of


def profile(ages_ms: list[float], dropped: int = 0, scenario: str = "fixed-rate") -> object:
    records = [
        FrameRecord(str(i), i / 30, "schedule", i / 30, age, (0, 0, 0, age, 0, 0)) for i, age in enumerate(ages_ms)
    ]
    records += [FrameRecord("x", 9.0, "schedule", 9.0, dropped_by="latest:infer")] * dropped
    return profile_of(records, 30.0, "latest", 1.0, 10.0, scenario)


@pytest.mark.parametrize(
    ("text", "seconds"), [("60", 60), ("60s", 60), ("10min", 600), ("500ms", 0.5), ("1.5 h", 5400)]
)
def test_a_duration_has_a_unit_or_means_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-5s", "5x", "nan", "1e3", "inf"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="as in 60s"):
        parse_duration(text)


def test_batches_are_sorted_and_single() -> None:
    assert parse_batches("8,1,2,2") == (1, 2, 8)
    assert parse_batches(None) is None


@pytest.mark.parametrize("text", ["", "0", "1,", "a", "1.5", "-1"])
def test_batches_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="as in 1,2,4,8"):
        parse_batches(text)


def test_what_is_included_comes_in_the_order_of_a_frames_way() -> None:
    assert parse_include("post,infer,pre") == ("pre", "post")
    assert parse_include(None) == ()
    assert included_text(("decode", "pre", "post"), "single") == "decode, heat-map, preprocess, infer, postprocess"
    assert included_text((), "single") == "infer"
    with pytest.raises(UsageError, match="got everything"):
        parse_include("everything")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"scenario": "sprint"}, "one of single"),
        ({"duration_s": 0.0}, "between 0 and a day"),
        ({"duration_s": float("nan")}, "between 0 and a day"),
        ({"rate_hz": 10.0}, "--rate belongs to"),
        ({"scenario": "multi", "rate_hz": -1.0}, "--rate must lie"),
        ({"batches": (1,)}, "--batch belongs to"),
        ({"streams": 2}, "--streams belongs to"),
        ({"scenario": "multi", "streams": 0}, "--streams must lie"),
        ({"policy": "all"}, "--policy belongs to"),
        ({"scenario": "fixed-rate", "policy": "sometimes"}, "--policy is"),
        ({"scenario": "fixed-rate", "include": ("pre",)}, "everything is timed there"),
        ({"include": ("decode",)}, "goes with pre"),
        ({"scenario": "multi", "include": ("decode", "pre")}, "goes with pre"),
        ({"scenario": "offline", "against": "b"}, "--against belongs to"),
        ({"against": "b", "repeats": 2}, "fewer give no interval"),
    ],
)
def test_options_that_do_not_go_together_are_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        BenchmarkOptions("m", **change).check()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["p99", "p99=33", "p99=33 kg", "p98=3ms", "drop=1", "drop=200%", "p99=0ms", "streams=1.5", "throughput=0/s", "",
     "p99=3ms,,p50=2ms", "p50=nan ms", "speed=3ms", "p50==3ms"],
)  # fmt: skip
def test_a_malformed_target_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--slo does not understand"):
        parse_slo(text, "multi")


def test_a_target_without_a_figure_is_refused() -> None:
    with pytest.raises(UsageError, match="no drop to hold"):
        parse_slo("drop=1%", "single")
    with pytest.raises(UsageError, match="no p99 to hold"):
        parse_slo("p99=3ms", "offline")
    with pytest.raises(UsageError, match="twice"):
        parse_slo("p50=3ms,p50=4ms", "single")


def test_each_missed_target_is_one_sentence() -> None:
    found = profile([10.0] * 1000, dropped=250)
    targets = parse_slo("p50=10ms,p99=9.5ms,drop=10%,gap=1us,throughput=100/s,p99.9=1s,max=0.01s", "fixed-rate")
    assert missed(targets, found, 99.0, None) == [  # type: ignore[arg-type]
        "p99=9.5ms: measured 10.00 ms",
        "drop=10%: measured 20.00%",
        "gap=1us: measured 33.33 ms",
        "throughput=100/s: measured 99.00/s",
        "p99.9=1s: n too small, 900 frames of the 6636 it takes",
    ]


def test_targets_that_are_met_say_nothing() -> None:
    targets = parse_slo("p50=10ms,drop=0%,streams=3", "multi")
    assert missed(targets, profile([10.0] * 100, scenario="multi"), 1.0, 3) == []  # type: ignore[arg-type]
    assert missed(targets, profile([10.0] * 100, scenario="multi"), 1.0, 2) == [  # type: ignore[arg-type]
        "streams=3: measured 2"
    ]
