"""The report's facts: what is known is said in words with its unit, what is not known is left out."""

from __future__ import annotations

import html
import re
from typing import Any

from roadedge.latency.report_benchmark import benchmark_section
from roadedge.latency.report_sections import definitions, flat, machine_section, named, sync_section, what_was_run
from roadedge.latency.summary import summarize
from roadedge.latency.verdict import Verdict
from tests.latency.test_profile import profile, record

SHOWN = profile([record(i) for i in range(200)])


def words(markup: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", markup)))


def test_nested_json_becomes_names_and_words() -> None:
    feeds = {"tolerance_s": 1.0, "feeds": [{"name": "a", "dropped": {"nan": 3}, "live": True}], "note": None}
    assert flat(feeds) == {
        "tolerance, s": "1",
        "feeds · 1 · name": "a",
        "feeds · 1 · dropped · nan": "3",
        "feeds · 1 · live": "yes",
        "note": "",
    }
    assert flat([]) == {}
    assert flat({"notices": ["a", "b", "c", "d", "e"]}) == {"notices": "a, b, c and 2 more"}
    assert named("gpu_mhz") == "gpu, MHz"
    assert named("cpu_load") == "cpu load, %"


def test_what_has_no_value_is_left_out_and_what_has_one_is_escaped() -> None:
    assert (
        definitions({"a": None, "b": "", "c": 0, "d": "<i>"})
        == "<dl><dt>c</dt><dd>0</dd><dt>d</dt><dd>&lt;i&gt;</dd></dl>"
    )


def test_the_header_of_a_run_without_facts_still_says_how_it_ran() -> None:
    assert "fixed-rate, 10 Hz, policy latest" in words(what_was_run({}, SHOWN))


def test_the_header_names_the_resolutions_and_whether_clocks_are_locked() -> None:
    metrics: dict[str, Any] = {
        "input_size": [720, 1280], "network_size": [512, 512], "batch": 1,
        "machine": {"clocks_locked": True, "facts": {"power_mode": "MAXN"}},
    }  # fmt: skip
    text = words(what_was_run(metrics, SHOWN))
    assert "720 × 1280 pixels (H × W) → network 512 × 512, batch 1" in text
    assert "clocks locked yes" in text
    assert "power mode MAXN" in text


def test_points_and_images_give_skew_shares_and_feeds() -> None:
    feed = {"name": "replay:a.csv", "live": False, "points": 12, "dropped": {"nan": 3}, "notices": []}
    pairing = {"rule": "by UTC", "paired_share": 1.0, "frames": {"seen": 9, "no_place": 2}, "feeds": [feed]}
    text = words(sync_section({"pairing": pairing, "gaps": [{}, {}]}, SHOWN))
    assert "frames · no place 2" in text
    assert "replay:a.csv points 12 dropped · nan 3" in text
    assert "notices" not in text
    assert "skew p50 12.0 ms" in text
    assert "skew p99 n too small (100); largest 12.0 ms" in text
    assert "rule by UTC" in text
    assert "times without frames 2" in text
    assert "paired share" not in text  # said above in words


def test_the_machine_section_says_what_throttled_and_how_to_lock_the_clocks() -> None:
    machine = {
        "summary": {"cpu_load": {"first": 0.5, "mean": 0.25, "min": 0.0, "max": 1.0, "last": None}},
        "throttle": {"seen_by": ["nvml"], "events": {"too hot": {"samples": 4}}},
        "lock_commands": ["sudo jetson_clocks"],
        "absent": {"rails": "no INA3221"},
    }
    text = words(machine_section({"machine": machine, "machine_load_before": 0.5}))
    assert "cpu load, % 50 25 0 100 –" in text
    assert "too hot (4 samples)" in text
    assert "sudo jetson_clocks" in text
    assert "rails: no INA3221" in text
    assert "was not watched" in words(machine_section({}))


def test_a_machine_that_shows_no_throttling_is_not_said_to_have_none() -> None:
    assert "throttled cannot be seen here" in words(machine_section({"machine": {"throttle": {"seen_by": []}}}))
    assert "throttled never" in words(machine_section({"machine": {"throttle": {"seen_by": ["nvml"]}}}))


def test_a_benchmark_shows_its_batches_streams_and_slowest_layers() -> None:
    times = summarize([float(i) for i in range(100)]).to_dict()
    layers = [{"name": f"conv{i}", "kind": "Convolution", "ms": 20.0 - i} for i in range(20)]
    metrics = {
        "throughput_per_s": 12.5,
        "notes": ["a note"],
        "energy": {"mean_w": 12.0, "j_per_frame": 0.5},
        "own": {
            "batches": [{"batch": 4, "images_per_s": 50.0, "call_ms": times, "energy": {"j_per_frame": 0.25}}],
            "streams": [{"stream": 0, "due": 10, "loss": 0.1, "age_ms": times}],
            "tried": [{"streams": 2, "worst_loss": 0.2, "sustained": False}],
        },
        "layers": {"profiler": "p", "runs": 20, "sum_ms": 210.0, "whole_ms": 220.0, "layers": layers},
    }
    text = words(benchmark_section(metrics))
    assert "images a second 12.50" in text
    assert "energy · mean, W 12" in text
    assert "4 50.00 100 49.0 89.0 n < 662 99.0 0.25" in text
    assert "0 10 10.0% 100" in text
    assert "2 20.0% no" in text
    assert "conv14" in text
    assert "conv15" not in text
    assert benchmark_section({}) == ""


def test_a_verdict_of_older_runs_has_no_list_of_what_held() -> None:
    assert Verdict.from_dict({"result": "VALID", "reasons": []}) == Verdict(())
