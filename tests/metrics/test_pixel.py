"""Pixel metrics: identity, bounds, the three forms of IoU, the empty rule, and an interval over places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from roadedge.errors import DataError, ShapeError, UsageError
from roadedge.metrics.pixel import (
    PixelCounts,
    bootstrap_g_iou,
    count_pixels,
    global_iou,
    mean_batch_iou,
    mean_sample_iou,
    score,
    total,
)

SHAPE = (6, 9)
TRUTH = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 128, 255]))
MASK = arrays(np.bool_, SHAPE)
COUNTS = st.builds(PixelCounts, *[st.integers(0, 50)] * 5)


def test_counts_of_a_small_example() -> None:
    truth = np.array([[255, 255, 0, 0, 128, 128]], np.uint8)
    predicted = np.array([[1, 0, 1, 0, 1, 0]], bool)
    counts = count_pixels(predicted, truth)
    assert counts == PixelCounts(tp=1, fp=1, fn=1, tn=1, ignored=2)
    assert counts.iou == pytest.approx(1 / 3)
    assert (counts.precision, counts.recall, counts.f1, counts.accuracy) == (0.5, 0.5, 0.5, 0.5)


@given(MASK, TRUTH)
@settings(max_examples=60, deadline=None)
def test_every_pixel_is_counted_once(predicted: NDArray[np.bool_], truth: NDArray[np.uint8]) -> None:
    counts = count_pixels(predicted, truth)
    assert counts.tp + counts.fp + counts.fn + counts.tn + counts.ignored == truth.size
    assert counts.ignored == (truth == 128).sum()
    assert counts.tp == ((truth == 255) & predicted).sum()


@given(TRUTH)
@settings(max_examples=40, deadline=None)
def test_the_truth_itself_scores_one_and_its_opposite_nothing(truth: NDArray[np.uint8]) -> None:
    same = count_pixels(truth == 255, truth)
    assert (same.iou, same.precision, same.recall, same.f1, same.accuracy) == (1, 1, 1, 1, 1) or truth.min() == 128
    opposite = count_pixels(truth != 255, truth)
    assert opposite.tp == 0
    assert opposite.iou == float(bool((truth == 128).all()))


@given(MASK, MASK, TRUTH)
@settings(max_examples=40, deadline=None)
def test_what_is_said_about_ignored_pixels_does_not_count(
    one: NDArray[np.bool_], other: NDArray[np.bool_], truth: NDArray[np.uint8]
) -> None:
    mixed = np.where(truth == 128, other, one)
    assert count_pixels(mixed, truth) == count_pixels(one, truth)


@given(st.lists(st.tuples(MASK, TRUTH), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_g_iou_is_that_of_the_stitched_map(pairs: list[tuple[NDArray[np.bool_], NDArray[np.uint8]]]) -> None:
    apart = [count_pixels(p, t) for p, t in pairs]
    stitched = count_pixels(np.hstack([p for p, _ in pairs]), np.hstack([t for _, t in pairs]))
    assert total(apart) == stitched
    assert global_iou(apart) == stitched.iou


@given(st.lists(COUNTS, min_size=1, max_size=20))
@settings(max_examples=80, deadline=None)
def test_scores_are_fractions_and_keep_their_order(counts: list[PixelCounts]) -> None:
    scores = score(counts)
    ious = [scores.g_iou, scores.a_iou, scores.a_iou_batch8]
    assert all(0 <= v <= 1 for v in [*ious, scores.precision, scores.recall, scores.f1, scores.accuracy])
    assert scores.g_iou <= min(scores.precision, scores.recall) + 1e-12
    assert scores.g_iou <= scores.f1
    assert scores.f1 == pytest.approx(2 * scores.g_iou / (1 + scores.g_iou))
    whole = scores.counts
    assert min(c.iou for c in counts) - 1e-12 <= scores.a_iou <= max(c.iou for c in counts) + 1e-12
    assert whole.tp == sum(c.tp for c in counts)


def test_the_three_forms_of_iou_differ() -> None:
    large, small = PixelCounts(tp=90, fp=5, fn=5), PixelCounts(tp=1, fp=4, fn=5)
    assert global_iou([large, small]) == pytest.approx(91 / 110)
    assert mean_sample_iou([large, small]) == pytest.approx((0.9 + 0.1) / 2)
    assert mean_batch_iou([large, small], batch=8) == pytest.approx(91 / 110)
    nine = [large] * 8 + [small]
    assert mean_batch_iou(nine, batch=8) == pytest.approx((0.9 + 0.1) / 2)  # the short last batch counts like the first
    assert mean_sample_iou(nine) == pytest.approx((8 * 0.9 + 0.1) / 9)


def test_the_empty_rule() -> None:
    nothing, invented, missed = PixelCounts(tn=9), PixelCounts(fp=2), PixelCounts(fn=2)
    assert (nothing.iou, nothing.precision, nothing.recall, nothing.f1) == (1, 1, 1, 1)
    assert (invented.iou, invented.precision, invented.recall, invented.f1) == (0, 0, 0, 0)
    assert (missed.iou, missed.precision, missed.recall, missed.f1) == (0, 0, 0, 0)
    assert mean_batch_iou([nothing]) == 0  # as published


def test_a_mask_of_another_shape_or_type_is_refused() -> None:
    with pytest.raises(ShapeError, match="shape"):
        count_pixels(np.zeros((2, 2), bool), np.zeros((2, 3), np.uint8))
    with pytest.raises(ShapeError, match="bool"):
        count_pixels(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8))


def test_no_samples_are_no_score() -> None:
    with pytest.raises(DataError, match="no samples"):
        score([])


@given(st.lists(COUNTS, min_size=2, max_size=12), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_the_interval_lies_within_what_the_places_scored(counts: list[PixelCounts], seed: int) -> None:
    interval = bootstrap_g_iou(counts, range(len(counts)), draws=50, seed=seed)
    assert interval is not None
    low, high = interval
    assert 0 <= low <= high <= 1
    assert low >= min(c.iou for c in counts) - 1e-12
    assert high <= max([c.iou for c in counts]) + 1e-12
    assert interval == bootstrap_g_iou(counts, range(len(counts)), draws=50, seed=seed)


def test_copies_of_a_place_do_not_make_the_interval_narrower() -> None:
    rng = np.random.default_rng(0)
    counts = [PixelCounts(int(tp), 100 - int(tp), 0) for tp in rng.integers(20, 90, 15)]
    once = bootstrap_g_iou(counts, range(15), draws=400, seed=1)
    thrice = bootstrap_g_iou(counts * 3, list(range(15)) * 3, draws=400, seed=1)
    believed = bootstrap_g_iou(counts * 3, range(45), draws=400, seed=1)
    assert once == pytest.approx(thrice)
    assert once is not None
    assert believed is not None
    assert believed[1] - believed[0] < 0.8 * (once[1] - once[0])


def test_one_place_says_nothing_about_others() -> None:
    assert bootstrap_g_iou([PixelCounts(5, 1, 1)] * 3, ["a", "a", "a"]) is None
    with pytest.raises(UsageError, match="at least one draw"):
        bootstrap_g_iou([PixelCounts(5, 1, 1)], ["a"], draws=0)
    with pytest.raises(ShapeError, match="one place"):
        bootstrap_g_iou([PixelCounts(5, 1, 1)], [])
