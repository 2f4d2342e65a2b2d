"""The timeline keeps what stands out, however many frames there are, and shows only what is known."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.latency.charts import Scale, cumulative, waterfall
from roadedge.latency.frame_table import table_of
from roadedge.latency.summary import summarize
from roadedge.latency.timeline import NARROW, WIDE, buckets, timeline
from roadedge.latency.track import GROUPS, Track, lines_of, series_of, track_of
from tests.latency.test_profile import dropped, profile, record

SECONDS = np.arange(0.0, 100.0)


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter("text")]


def test_a_million_frames_make_a_small_picture_that_shows_the_one_slow_frame() -> None:
    ages = np.full(1_000_000, 20.0)
    ages[777_777] = 900.0
    begin = time.process_time()
    svg = timeline(Track(np.arange(ages.size) / 30, ages))
    assert time.process_time() - begin < 5
    assert len(svg) < 60_000
    marks = ElementTree.fromstring(svg).find("path[@class='ages']")
    assert marks is not None
    tops = sorted(float(y) for y in re.findall(r"V([\d.]+)", marks.attrib["d"]))
    assert tops[0] < tops[1] - 50


def test_a_bucket_keeps_smallest_median_and_largest() -> None:
    x = Scale(0.0, 10.0, 0.0, 20.0)
    found = buckets(np.array([9.0, 0.1, 0.2, 0.3]), np.array([7.0, 1.0, 2.0, 30.0]), x, 2.0)
    assert found == [(1.0, 1.0, 2.0, 30.0), (19.0, 7.0, 7.0, 7.0)]


def test_drops_are_stacked_by_cause_and_named_with_their_count() -> None:
    track = Track(SECONDS, SECONDS + 1, {"latest:infer": np.array([1.0, 1.1]), "error": np.array([1.2])})
    assert "latest:infer 2" in texts(timeline(track))
    assert "error 1" in texts(timeline(track))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_no_text_leaves_the_picture_and_no_coordinate_is_nan(width: int) -> None:
    series = {
        name: (SECONDS, SECONDS) for name in ("cpu_load", "process_cpu", "gpu_util", "cpu_mhz", "rss_mb", "temp_c")
    }
    drops = {f"latest:{name}": np.array([5.0]) for name in ("infer", "encode", "postprocess", "heatmap")}
    svg = timeline(Track(SECONDS, SECONDS, drops, 10.0, 33.0, [(2.0, 3.0, "lost <here>")], [], series), width)
    assert "nan" not in svg
    for node in ElementTree.fromstring(svg).iter("text"):
        x, length = float(node.attrib["x"]), 6.0 * len(node.text or "")
        begin = x - length * {"end": 1.0, "middle": 0.5}.get(node.attrib.get("text-anchor", ""), 0.0)
        assert begin >= -1
        assert begin + length <= width + 1


def test_gaps_throttling_and_warm_up_are_marked_in_words() -> None:
    track = Track(SECONDS, SECONDS + 1, {}, 9.0, 33.0, [(20.0, 25.0, "no frames: refused")], [(40.0, 40.0, "too hot")])
    found = {node.text for node in ElementTree.fromstring(timeline(track)).iter("title")}
    assert {"no frames: refused", "too hot", "warm-up, left out of the figures"} <= found


def test_a_run_of_one_frame_a_run_of_drops_alone_and_no_run_are_drawn() -> None:
    assert "NaN" not in timeline(Track(np.array([0.5]), np.array([30.0])))
    nothing = np.empty(0)
    assert "latest:infer 1" in timeline(Track(nothing, nothing, {"latest:infer": np.array([0.0])}))
    assert "No frame came" in timeline(Track(nothing, nothing))


def test_series_leave_out_samples_without_a_value_and_columns_of_another_length() -> None:
    machine = {"series": {"t_s": [0.0, 1.0, 2.0], "rss_mb": [5.0, None, 7.0], "cpu_mhz": [None] * 3, "odd": [1.0]}}
    found = series_of(machine)
    assert list(found) == ["rss_mb"]
    assert found["rss_mb"][1].tolist() == [5.0, 7.0]
    assert series_of({}) == {}


def test_a_group_brings_its_values_to_its_unit_and_takes_what_ends_like_it() -> None:
    series = {name: (SECONDS, np.full(100, 0.5)) for name in ("cpu_load", "gpu_power_w", "power_w")}
    by_title = {group.title: lines_of(group, series) for group in GROUPS}
    assert by_title["processors in use"][0][2][0] == 50.0
    assert [name for name, *_ in by_title["power"]] == ["all that is measured", "gpu power"]
    assert by_title["temperature"] == []


def test_the_track_of_a_run_takes_gaps_and_machine_from_its_metrics() -> None:
    records = [record(i) for i in range(200)] + [dropped(200)]
    metrics = {
        "gaps": [{"begin_s": 2.0, "end_s": 3.5, "reason": "refused", "attempts": 2}, {"begin_s": 9.0, "end_s": None}],
        "machine": {"throttle": {"events": {"too hot": {"samples": 2, "first_s": 4.0, "last_s": 5.0}}}},
    }
    track = track_of(metrics, table_of(records), profile(records))
    assert track.gaps[0] == (2.0, 3.5, "no frames for 1.50 s: refused")
    assert track.gaps[1][:2] == (9.0, 20.0)
    assert track.throttle == [(4.0, 5.0, "too hot")]
    assert track.warmup_s == pytest.approx(records[99].done_s)
    assert track.period_ms == 100.0
    assert list(track.drops_s) == ["latest:infer"]


TIMES = st.lists(st.floats(-1e9, 9e11), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(ages=TIMES, seconds=TIMES)
def test_whatever_the_times_no_coordinate_is_nan(ages: list[float], seconds: list[float]) -> None:
    count = min(len(ages), len(seconds))
    values, at = np.array(ages[:count]), np.array(seconds[:count])
    series = {"rss_mb": (at, values), "cpu_load": (at, values), "temp_c": (at, -values)}
    track = Track(at, values, {"error": at}, 5.0, 33.0, [(0.0, 5.0, "gap")], [(1.0, 1.0, "hot")], series)
    drawn = timeline(track, NARROW) + cumulative(values, summarize(ages)) + waterfall([("infer", one) for one in ages])
    assert not re.search(r"\b(nan|inf)\b", drawn)
