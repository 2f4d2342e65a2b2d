"""Corruptions: as strong as asked, the same in every process, and never on what they should leave alone."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadedge.data.corrupt import CORRUPTIONS, Corruption, corrupt, generator, parse_corruption, parse_corruptions
from roadedge.errors import DataError, UnknownNameError, UsageError
from roadedge.sample import Sample

RNG = np.random.default_rng(5)
IMAGE = RNG.integers(40, 180, (96, 128, 3)).astype(np.uint8)
POINTS = RNG.uniform(0, 96, (1000, 3))
MASK = np.zeros((96, 128), np.uint8)
MASK[40:64] = 255
MASK[64:70] = 128
SAMPLE = Sample(IMAGE, POINTS, gsd_m=0.5, id="place-7")
RASTER = Sample(IMAGE, RNG.integers(1, 255, (96, 128)).astype(np.uint8), gsd_m=0.5, id="place-7")


def of(text: str, sample: Sample = SAMPLE, seed: int = 0) -> Sample:
    return corrupt(sample, parse_corruptions([text]), seed, MASK)


def image_of(sample: Sample) -> NDArray[np.uint8]:
    assert sample.image is not None
    return sample.image


def second_of(sample: Sample) -> NDArray[Any]:
    assert sample.second is not None
    return sample.second


def test_each_corruption_is_written_as_it_is_parsed() -> None:
    parsed = parse_corruptions(["fog:0.8,points:0.05", "shift:20"])
    assert [str(c) for c in parsed] == ["fog:0.8", "points:0.05", "shift:20"]
    assert parse_corruption(" trees:1 ") == Corruption("trees", 1.0)


@pytest.mark.parametrize("text", ["fog", "fog:", "fog:much", "fog:nan"])
def test_a_corruption_without_a_number_is_told_the_form(text: str) -> None:
    with pytest.raises(UsageError, match="NAME:AMOUNT"):
        parse_corruption(text)


@pytest.mark.parametrize("text", ["fog:1.2", "trees:-0.1", "points:7", "shift:-3", "shift:inf"])
def test_an_amount_outside_its_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="amount of"):
        parse_corruption(text)


def test_an_unknown_name_lists_the_known_and_guesses() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'fog'"):
        parse_corruption("fogg:0.5")


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_the_same_id_and_seed_give_the_same_result_and_others_do_not(name: str) -> None:
    first, again, other = of(f"{name}:0.5"), of(f"{name}:0.5"), of(f"{name}:0.5", seed=1)
    elsewhere = of(f"{name}:0.5", Sample(IMAGE, POINTS, gsd_m=0.5, id="place-8"))
    assert same(first, again)
    assert not same(first, other)
    assert not same(first, elsewhere)


def same(a: Sample, b: Sample) -> bool:
    return np.array_equal(image_of(a), image_of(b)) and np.array_equal(second_of(a), second_of(b))


def test_another_process_draws_the_same() -> None:
    code = "from roadedge.data.corrupt import generator; print(generator(3, 'place-7', 'fog').integers(1 << 40))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(told) == generator(3, "place-7", "fog").integers(1 << 40)


def test_what_else_is_applied_changes_nothing() -> None:
    assert np.array_equal(second_of(of("fog:0.5,points:0.1")), second_of(of("points:0.1")))
    assert np.array_equal(image_of(of("points:0.1,fog:0.5")), image_of(of("fog:0.5")))


@given(st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_fog_lies_between_half_and_the_whole_of_its_amount(amount: float) -> None:
    black = Sample(np.zeros((64, 64, 3), np.uint8), id="black")
    grey = image_of(corrupt(black, Corruption("fog", amount)))
    assert grey.min() >= 127.5 * amount - 1
    assert grey.max() <= 255 * amount + 1
    assert abs(int(grey.max()) - 255 * amount) <= 1.5  # both ends are reached
    assert abs(int(grey.min()) - 127.5 * amount) <= 1.5


def test_fog_is_smooth() -> None:
    grey = image_of(corrupt(Sample(np.zeros((256, 256, 3), np.uint8)), Corruption("fog", 1.0)))
    assert np.abs(np.diff(grey[..., 0].astype(int), axis=1)).max() <= 12


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.8, 1.0])
def test_trees_cover_the_share_of_the_road_that_was_asked_for(share: float) -> None:
    white = Sample(np.full((96, 128, 3), 255, np.uint8), gsd_m=0.5, id="white")
    covered = image_of(of(f"trees:{share}", white)).max(axis=2) < 120  # crowns are darker than the shade on white
    assert covered[MASK == 255].mean() == pytest.approx(share, abs=0.01)


def test_trees_need_to_know_where_the_road_is() -> None:
    with pytest.raises(DataError, match="needs the mask"):
        corrupt(SAMPLE, Corruption("trees", 0.5))


def test_trees_without_a_road_leave_the_image() -> None:
    assert np.array_equal(image_of(corrupt(SAMPLE, Corruption("trees", 0.9), 0, np.zeros_like(MASK))), IMAGE)


@given(st.floats(0, 1), st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_points_keeps_the_fraction_in_order(amount: float, count: int) -> None:
    kept = second_of(corrupt(Sample(None, POINTS[:count], (96, 128)), Corruption("points", amount)))
    assert len(kept) == round(amount * count)
    order = [int(np.flatnonzero((POINTS == row).all(axis=1))[0]) for row in kept]
    assert order == sorted(order)


def test_fewer_points_are_a_part_of_more_points() -> None:
    few, more = second_of(of("points:0.05")), second_of(of("points:0.5"))
    assert {tuple(p) for p in few} < {tuple(p) for p in more}


def test_a_raster_keeps_the_fraction_of_its_pixels() -> None:
    thin, whole = second_of(of("points:0.3", RASTER)), second_of(RASTER)
    assert (thin > 0).mean() == pytest.approx(0.3, abs=0.03)
    assert np.array_equal(thin[thin > 0], whole[thin > 0])


@given(st.floats(0, 100), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_shift_moves_all_points_by_the_metres_and_keeps_their_times(metres: float, seed: int) -> None:
    moved = second_of(of(f"shift:{metres}", seed=seed))
    step_m = (moved[:, :2] - POINTS[:, :2]) * 0.5
    assert np.hypot(*step_m.T) == pytest.approx(metres, abs=1e-4)
    assert np.ptp(step_m, axis=0).max() < 1e-9
    assert np.array_equal(moved[:, 2], POINTS[:, 2])


def test_a_raster_is_shifted_as_far() -> None:
    dot = np.zeros((96, 128), np.uint8)
    dot[48, 64] = 200
    moved = second_of(of("shift:10", Sample(IMAGE, dot, gsd_m=0.5, id="dot")))
    (row,), (column,) = np.nonzero(moved)
    assert np.hypot(row - 48, column - 64) == pytest.approx(20, abs=1)


def test_metres_mean_nothing_without_a_ground_sample_distance() -> None:
    with pytest.raises(DataError, match="metres per pixel"):
        corrupt(Sample(IMAGE, POINTS), Corruption("shift", 5))


def test_a_missing_modality_stays_missing_and_the_sample_itself_is_left_alone() -> None:
    before = IMAGE.copy(), POINTS.copy()
    of("fog:1,trees:1,points:0.1,shift:9")
    assert np.array_equal(before[0], IMAGE)
    assert np.array_equal(before[1], POINTS)
    assert of("fog:1,trees:1", Sample(None, POINTS, (96, 128))).image is None
    assert of("points:0.1,shift:9", Sample(IMAGE, gsd_m=0.5)).second is None
