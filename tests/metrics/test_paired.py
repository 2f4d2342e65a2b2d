"""The paired bootstrap: what two networks differ by on the same places, chance set apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import ShapeError, UsageError
from roadedge.metrics.pixel import PixelCounts, bootstrap_g_iou, global_iou, iou_ratio, paired_bootstrap

COUNTS = st.builds(PixelCounts, *[st.integers(0, 50)] * 3)


def scored(share: float, rng: np.random.Generator, places: int = 25) -> tuple[list[PixelCounts], list[PixelCounts]]:
    """A reference on places of very different difficulty, and a network that finds `share` of its road."""
    found = rng.integers(100, 900, places)
    reference = [PixelCounts(tp=int(tp), fp=50, fn=1000 - int(tp)) for tp in found]
    candidate = [PixelCounts(tp=int(tp * share), fp=50, fn=1000 - int(tp * share)) for tp in found]
    return candidate, reference


@given(st.lists(COUNTS, min_size=2, max_size=12), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_network_differs_from_itself_by_exactly_nothing(counts: list[PixelCounts], seed: int) -> None:
    found = paired_bootstrap(counts, counts, range(len(counts)), draws=40, seed=seed)
    assert found is not None
    assert (found.difference, found.ratio) == ((0.0, 0.0), (1.0, 1.0))


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=2, max_size=12), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_exchanged_the_difference_changes_its_sign(pairs: list[tuple[PixelCounts, PixelCounts]], seed: int) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    there = paired_bootstrap(one, other, range(len(pairs)), draws=40, seed=seed)
    back = paired_bootstrap(other, one, range(len(pairs)), draws=40, seed=seed)
    assert there is not None
    assert back is not None
    assert there.difference == pytest.approx((-back.difference[1], -back.difference[0]))
    assert there.difference[0] <= there.difference[1]
    assert there.ratio[0] <= there.ratio[1]
    assert all(-1 <= d <= 1 for d in there.difference)


def test_the_intervals_hold_what_was_measured_and_say_on_which_side_it_lies() -> None:
    candidate, reference = scored(0.9, np.random.default_rng(0))
    found = paired_bootstrap(candidate, reference, range(25))
    assert found is not None
    ours, theirs = global_iou(candidate), global_iou(reference)
    assert found.difference[0] <= ours - theirs <= found.difference[1] < 0
    assert found.ratio[0] <= iou_ratio(ours, theirs) <= found.ratio[1] < 1


def test_pairing_tells_apart_what_two_intervals_side_by_side_cannot() -> None:
    candidate, reference = scored(0.97, np.random.default_rng(1))
    paired = paired_bootstrap(candidate, reference, range(25))
    apart = [bootstrap_g_iou(counts, range(25)) for counts in (candidate, reference)]
    assert paired is not None
    assert apart[0] is not None
    assert apart[1] is not None
    assert apart[0][1] > apart[1][0]  # they overlap: nothing could be said
    assert paired.difference[1] < 0
    assert paired.difference[1] - paired.difference[0] < 0.2 * (apart[0][1] - apart[0][0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    everywhere = scored(0.95, rng, 4000)
    truth = global_iou(everywhere[0]) - global_iou(everywhere[1])
    hits = 0
    for trial in range(200):
        candidate, reference = scored(0.95, np.random.default_rng(100 + trial))
        found = paired_bootstrap(candidate, reference, range(25), draws=200, seed=trial)
        assert found is not None
        hits += found.difference[0] <= truth <= found.difference[1]
    assert 0.85 <= hits / 200 <= 0.99


def test_pictures_of_one_place_are_drawn_together() -> None:
    candidate, reference = scored(0.97, np.random.default_rng(3))
    once = paired_bootstrap(candidate, reference, range(25))
    thrice = paired_bootstrap(candidate * 3, reference * 3, list(range(25)) * 3)
    assert once is not None
    assert thrice is not None
    assert thrice.difference == pytest.approx(once.difference)
    assert thrice.ratio == pytest.approx(once.ratio)


def test_where_the_reference_finds_nothing_nothing_is_lost() -> None:
    found = paired_bootstrap([PixelCounts(5, 5, 5)] * 2, [PixelCounts(0, 5, 10)] * 2, ["a", "b"])
    assert found is not None
    assert found.ratio == (1.0, 1.0)
    assert iou_ratio(0.3, 0.0) == 1.0


def test_what_cannot_be_drawn_is_refused() -> None:
    one = [PixelCounts(5, 1, 1)]
    assert paired_bootstrap(one * 2, one * 2, ["a", "a"]) is None
    with pytest.raises(UsageError, match="at least one draw"):
        paired_bootstrap(one * 2, one * 2, ["a", "b"], draws=0)
    with pytest.raises(ShapeError, match="one place"):
        paired_bootstrap(one * 2, one, ["a", "b"])
