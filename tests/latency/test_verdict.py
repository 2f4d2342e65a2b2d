"""A run is VALID only when every rule that can be seen holds; the others are listed."""

from __future__ import annotations

from roadedge.latency.verdict import Verdict, judge
from tests.latency.test_profile import profile, record

LONG = [record(i) for i in range(800)]


def verdict(records: list = LONG, **changes: object) -> Verdict:  # type: ignore[type-arg]
    facts = {
        "asked_s": None,
        "interrupted": False,
        "backend_asked": "auto",
        "backend_used": "onnxruntime",
        "accuracy_known": True,
        **changes,
    }
    return judge(profile(records), **facts)  # type: ignore[arg-type]


def test_a_long_steady_run_of_a_scored_model_is_valid_and_lists_what_a_cpu_cannot_show() -> None:
    held = verdict()
    assert held.valid
    assert held.to_dict()["result"] == "VALID"
    assert len(held.not_applicable) == 3
    assert held.warnings == ()


def test_each_broken_rule_is_named() -> None:
    assert "p99 takes at least 662" in verdict(LONG[:300]).reasons[0]
    assert "20.0 s of the 60 s" in verdict(asked_s=60.0).reasons[0]
    assert verdict(interrupted=True).reasons == ("it was interrupted",)
    assert "openvino was asked for" in verdict(backend_asked="openvino").reasons[0]
    assert "roadedge eval" in verdict(accuracy_known=False).reasons[0]


def test_a_run_that_did_not_settle_or_cannot_keep_up_is_warned_of() -> None:
    short = [record(i, infer_ms=150.0) for i in range(20)]
    warnings = verdict(short).warnings
    assert "did not settle" in warnings[0]
    assert "load 1.50" in warnings[1]


def test_a_busy_machine_is_warned_of_and_one_that_says_nothing_is_not() -> None:
    assert "3.0 runnable processes" in verdict(machine_load=3.0).warnings[0]
    assert verdict(machine_load=0.1).warnings == verdict(machine_load=None).warnings == ()
