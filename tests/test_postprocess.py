"""Outputs → RoadMask: what a network that returns its input gives is the input, wherever it was cut and padded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import NonFiniteError, ShapeError, UsageError
from roadedge.place import Place
from roadedge.postprocess import postprocess, to_level
from roadedge.preprocess import Feeds, fit, preprocess
from roadedge.sample import RoadMask, Sample
from roadedge.spec import ModelSpec

ANY = ModelSpec("any", ("image",), gsd_m=0.46)
STATIC = ModelSpec("static", ("image",), size=(64, 96), gsd_m=0.46)


def echo(feeds: Feeds) -> Feeds:
    """A network that says of each pixel how red it is."""
    return {"probability": feeds["image"][..., 0]}


def through(sample: Sample, spec: ModelSpec, threshold: float | None = None) -> RoadMask:
    return postprocess(echo(preprocess(sample, spec)), spec, sample, threshold)


def grey(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane[..., None], 3, 2)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width), np.uint8)


@pytest.mark.parametrize("spec", [ANY, STATIC], ids=lambda spec: spec.name)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (31, 33), (64, 96), (65, 97), (200, 333)])
def test_a_network_that_returns_its_input_gives_the_input_back(size: tuple[int, int], spec: ModelSpec) -> None:
    plane = noise(*size)
    mask = through(Sample(grey(plane)), spec)
    assert (mask.probability == plane).all()
    assert (mask.mask == (plane >= 128)).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 260), st.integers(1, 260), st.sampled_from([32, 64, 128]))
def test_windows_blend_without_a_seam_whatever_the_size(height: int, width: int, side: int) -> None:
    plane = noise(height, width)
    mask = through(Sample(grey(plane)), ModelSpec("a", ("image",), size=(side, side)))
    assert (mask.probability == plane).all()


def test_windows_that_disagree_fade_into_each_other() -> None:
    lay = fit((64, 168), None, STATIC)
    assert lay.corners == ((0, 0), (0, 72))
    tiles = np.stack([np.zeros((64, 96), np.uint8), np.full((64, 96), 200, np.uint8)])
    sample = Sample(None, size=(64, 168))
    line = postprocess({"probability": tiles}, STATIC, sample).probability[32].astype(int)
    assert (line[:72] == 0).all()
    assert (line[96:] == 200).all()
    assert (np.diff(line) >= 0).all()
    assert np.diff(line).max() < 40  # no edge within the overlap of 24 pixels


@pytest.mark.parametrize("spec", [ANY, STATIC], ids=lambda spec: spec.name)
@pytest.mark.parametrize("gsd_m", [0.4, 0.6, 0.464])
def test_a_resampled_image_comes_back_at_its_own_size(gsd_m: float, spec: ModelSpec) -> None:
    plane = np.zeros((400, 400), np.uint8)
    plane[100:200, 50:350] = 255
    mask = through(Sample(grey(plane), gsd_m=gsd_m), spec)
    assert mask.probability.shape == (400, 400)
    wrong = mask.mask != (plane > 0)
    assert wrong.sum() <= 400  # of the rectangle's border of 800 pixels
    assert not wrong[:98].any()
    assert not wrong[102:198, 52:348].any()


def test_padding_is_cut_off_and_not_squeezed_in() -> None:
    sample = Sample(None, size=(400, 400), gsd_m=0.4)
    tile = np.zeros((1, 352, 352), np.uint8)
    tile[:, 348:] = tile[:, :, 348:] = 255  # the padding alone is road
    assert not postprocess({"probability": tile}, ANY, sample).mask.any()


def test_the_mask_carries_place_time_and_id_of_its_sample() -> None:
    place = Place.nadir((0, 0), 0.46, (32, 32))
    mask = through(Sample(grey(noise(32, 32)), place=place, t_s=12.5, id="frame 7"), ANY)
    assert (mask.place, mask.t_s, mask.id) == (place, 12.5, "frame 7")


def test_the_threshold_is_the_specs_unless_given() -> None:
    plane = np.array([[127, 128, 63, 64]], np.uint8)
    assert through(Sample(grey(plane)), ANY).mask.tolist() == [[False, True, False, False]]
    assert through(Sample(grey(plane)), ANY, 0.25).mask.tolist() == [[True, True, False, True]]


def test_a_probability_at_the_threshold_is_road() -> None:
    assert [to_level(level / 255) for level in range(1, 255)] == list(range(1, 255))


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, 50.0, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        through(Sample(grey(noise(4, 4))), ANY, threshold)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floating_probabilities_are_rounded_to_levels(kind: type[np.floating]) -> None:
    values = np.array([0, 0.5, 0.999, 1, 1.2, -0.1, 0.25], kind)
    tile = np.resize(values, (1, 32, 32))
    found = postprocess({"probability": tile}, ANY, Sample(None, size=(1, 7))).probability
    assert found.tolist() == [[0, 128, 255, 255, 255, 0, 64]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_network_that_returns_no_number_is_named(bad: float) -> None:
    tile = np.zeros((1, 32, 32), np.float32)
    tile[0, 31, 31] = bad
    with pytest.raises(NonFiniteError, match="any returned NaN or infinite probabilities"):
        postprocess({"probability": tile}, ANY, Sample(None, size=(32, 32)))


@pytest.mark.parametrize("shape", [(1, 32, 64), (2, 32, 32), (32, 32), (1, 1, 32, 32)])
def test_outputs_of_another_sample_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"probability must have shape \(1, 32, 32\)"):
        postprocess({"probability": np.zeros(shape, np.uint8)}, ANY, Sample(None, size=(20, 20)))


def test_whole_numbers_other_than_levels_are_refused() -> None:
    with pytest.raises(ShapeError, match="uint8, or floating"):
        postprocess({"probability": np.zeros((1, 32, 32), np.int64)}, ANY, Sample(None, size=(20, 20)))
