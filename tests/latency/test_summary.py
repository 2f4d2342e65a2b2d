"""Percentiles: the counts of MLPerf's early stopping, nearest ranks that occurred, and a tail that nobody cuts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.latency.summary import Summary, label, most_above, nearest_rank, samples_needed, summarize


@pytest.mark.parametrize(("percentile", "needed"), [(90, 64), (95, 130), (99, 662), (99.9, 6636)])
def test_the_counts_are_those_of_mlperf(percentile: float, needed: int) -> None:
    assert samples_needed(percentile) == needed
    assert most_above(needed - 1, percentile) == 0
    assert most_above(needed, percentile) == 1


def test_a_thousand_samples_allow_two_above_p99_and_ten_thousand_77() -> None:
    assert most_above(1000, 99) == 2
    assert most_above(10_000, 99) == 77


def test_a_percentile_is_claimed_only_from_its_count_on() -> None:
    times = [float(i) for i in range(1, 662)]
    assert summarize(times).percentiles[99] is None
    assert summarize(times).percentiles[90] is not None
    assert summarize([*times, 662.0]).percentiles[99] == 656.0  # ceil(.99 * 662)
    assert summarize([*times, 662.0]).early_stopping[99] == 662.0  # with t = 1 the safe estimate is the largest


def test_the_early_stopping_estimate_is_the_tth_largest() -> None:
    assert summarize([float(i) for i in range(1, 1001)]).early_stopping[99] == 999.0


def test_a_slow_tail_stays_in_the_figures() -> None:
    times = [20.0] * 950 + [60.0] * 50
    summary = summarize(times)
    assert summary.maximum == 60.0
    assert summary.percentiles[99] == 60.0
    assert summary.mean == pytest.approx(22.0)


def test_nothing_measured_gives_no_figures() -> None:
    summary = summarize([])
    assert summary.count == 0
    assert summary.mean is None
    assert set(summary.percentiles.values()) == {None}


def test_the_json_names_what_is_missing() -> None:
    values = summarize([5.0] * 70).to_dict()
    assert values["p90"] == 5.0
    assert values["p99"] is None
    assert values["needs"] == {"p50": 11, "p90": 64, "p99": 662, "p99.9": 6636}
    assert label(99.9) == "p99.9"


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=300), st.sampled_from([50.0, 90.0, 99.0, 99.9]))
def test_a_nearest_rank_occurred_and_covers_its_share(times: list[float], percentile: float) -> None:
    value = nearest_rank(np.sort(times), percentile)
    assert value in times
    assert sum(t <= value for t in times) >= percentile / 100 * len(times) - 1e-9


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1e4), min_size=64, max_size=200))
def test_the_early_stopping_estimate_is_never_below_the_plain_one(times: list[float]) -> None:
    summary = summarize(times)
    for percentile, plain in summary.percentiles.items():
        safe = summary.early_stopping[percentile]
        assert (plain is None) == (safe is None)
        assert plain is None or (safe is not None and safe >= plain)


@pytest.mark.parametrize("times", [[], [3.0], [float(i % 37) for i in range(1000)]])
def test_a_summary_comes_back_from_its_json(times: list[float]) -> None:
    summary = summarize(times)
    assert Summary.from_dict(json.loads(json.dumps(summary.to_dict()))) == summary


def test_the_variation_is_the_deviation_as_a_share_of_the_mean() -> None:
    assert summarize([9.0, 11.0]).variation == pytest.approx(0.1)
    assert summarize([]).variation is None
