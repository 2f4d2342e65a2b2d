"""Histograms that grow without loss, and ranges that do not cut the map off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadedge.calibration.ranges import BINS, METHODS, Histogram, RangeMethod, parse_method
from roadedge.errors import NonFiniteError, UnknownNameError, UsageError
from roadedge.models.placement import LEVELS

FLOATS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)


def histogram_of(*parts: NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    return histogram


def error_of(values: NDArray[np.float32], largest: float) -> float:
    """Mean squared error of int8 with this range, measured on the values themselves."""
    scale = largest / LEVELS
    return float(np.mean((np.clip(np.rint(values / scale), -LEVELS, LEVELS) * scale - values) ** 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(FLOATS, max_size=20), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_counts_hang_on_the_values_alone(parts: list[list[float]], random: object) -> None:
    arrays = [np.array(part, np.float32) for part in parts]
    whole = histogram_of(np.concatenate(arrays))
    shuffled = list(arrays)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for other in (histogram_of(*arrays), histogram_of(*shuffled)):
        assert (other.counts == whole.counts).all()
        assert (other.zeros, other.largest, other.exponent) == (whole.zeros, whole.largest, whole.exponent)


@settings(max_examples=60, deadline=None)
@given(st.lists(FLOATS, max_size=30), st.lists(FLOATS, max_size=30))
def test_merging_is_counting_together(left: list[float], right: list[float]) -> None:
    first, second = np.array(left, np.float32), np.array(right, np.float32)
    merged = histogram_of(first)
    merged.merge(histogram_of(second))
    together = histogram_of(first, second)
    assert (merged.counts == together.counts).all()
    assert (merged.zeros, merged.largest, merged.exponent) == (together.zeros, together.largest, together.exponent)


@settings(max_examples=60, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=40))
def test_no_value_is_lost_and_each_lies_in_its_bin(values: list[float]) -> None:
    array = np.array(values, np.float32)
    histogram = histogram_of(array)
    assert histogram.counts.sum() + histogram.zeros == array.size
    assert histogram.zeros == (array == 0).sum()
    assert histogram.largest == np.abs(array).max()
    if histogram.largest:
        assert histogram.largest <= histogram.reach
        expected, _ = np.histogram(np.abs(array[array != 0]).astype(np.float64), BINS, (0, histogram.reach))
        assert (histogram.counts == expected).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=40), st.sampled_from(sorted(METHODS)))
def test_a_range_never_exceeds_the_values_and_never_cuts_them_off(values: list[float], name: str) -> None:
    array = np.array(values, np.float32)
    found = RangeMethod(name).range_of(histogram_of(array))
    largest = float(np.abs(array).max())
    assert 0 <= found <= largest
    if largest:
        clipped = np.maximum(np.abs(array) - found, 0.0) ** 2
        bin_width = histogram_of(array).reach / BINS
        assert clipped.sum() <= 0.011 * (array.astype(np.float64) ** 2).sum() + array.size * bin_width**2


@pytest.mark.parametrize("name", sorted(METHODS))
def test_zeros_behind_a_relu_change_nothing(name: str) -> None:
    values = np.abs(np.random.default_rng(0).normal(0, 1, 20_000)).astype(np.float32)
    method = RangeMethod(name)
    alone = method.range_of(histogram_of(values))
    drowned = method.range_of(histogram_of(values, np.zeros(2_000_000, np.float32)))
    assert alone == drowned
    assert alone > 2.5  # of a largest near 4


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_rare_signal_on_a_constant_ground_survives(name: str) -> None:
    ground = np.full(100_000, 0.05, np.float32)  # a blank raster behind a bias
    roads = np.random.default_rng(1).uniform(2, 6, 8).astype(np.float32)
    assert RangeMethod(name).range_of(histogram_of(ground, roads)) > 4


def test_mse_finds_about_the_least_error() -> None:
    generator = np.random.default_rng(2)
    values = generator.laplace(0, 1, 50_000).astype(np.float32)
    largest = float(np.abs(values).max())
    found = RangeMethod("mse").range_of(histogram_of(values))
    best = min(error_of(values, largest * share) for share in np.linspace(0.1, 1, 400))
    assert found < 0.95 * largest
    assert error_of(values, found) <= 1.01 * best


def test_entropy_leaves_a_lone_outlier_out() -> None:
    values = np.random.default_rng(3).normal(0, 1, 100_000).astype(np.float32)
    found = RangeMethod("entropy").range_of(histogram_of(values, np.array([12.0], np.float32)))
    assert 3 < found < 8


def test_percentile_is_that_of_the_values() -> None:
    values = np.random.default_rng(4).exponential(1, 100_000).astype(np.float32)
    for percentile in (99.5, 99.9, 99.99):
        found = RangeMethod("percentile", percentile).range_of(histogram_of(values))
        assert found == pytest.approx(np.percentile(values, percentile), rel=0.01)


def test_a_value_that_is_always_zero_has_the_range_zero() -> None:
    histogram = histogram_of(np.zeros(10, np.float32))
    assert {name: RangeMethod(name).range_of(histogram) for name in METHODS} == dict.fromkeys(METHODS, 0.0)


def test_a_share_of_the_values_tells_the_range_too() -> None:
    values = np.random.default_rng(5).normal(0, 1, (64, 64, 64)).astype(np.float32)
    whole, part = Histogram(), Histogram()
    whole.add(values)
    part.add(values, most=50_000)
    assert part.largest == whole.largest
    assert part.counts.sum() < 51_000
    for name in METHODS:
        assert RangeMethod(name).range_of(part) == pytest.approx(RangeMethod(name).range_of(whole), rel=0.25)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_by_name(bad: float) -> None:
    with pytest.raises(NonFiniteError, match="the map of conv 3"):
        Histogram().add(np.array([1.0, bad], np.float32), "the map of conv 3")


def test_methods_are_read_from_text() -> None:
    assert parse_method("max") == RangeMethod("max")
    assert parse_method("percentile:99.5") == RangeMethod("percentile", 99.5)
    assert str(parse_method("percentile:99.5")) == "percentile:99.5"
    with pytest.raises(UnknownNameError, match="entropy"):
        parse_method("entrpy")
    for wrong in ("max:3", "percentile:much", "percentile:12", "percentile:nan"):
        with pytest.raises(UsageError, match="percentile"):
            parse_method(wrong)
