"""Sample → feeds: any size, blanks, the network's ground sample distance, both modalities laid alike."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import DataError, ShapeError
from roadedge.place import Place
from roadedge.preprocess import (
    LARGEST_GRID_PX,
    OutsideBandWarning,
    check_band,
    draw_second,
    fit,
    outside_density,
    preprocess,
    resample,
)
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.trajectory.heatmap import rasterize

SPEC = ModelSpec("any", gsd_m=0.46, gsd_band_m=(0.3, 0.7))
STATIC = ModelSpec("static", size=(64, 96), gsd_m=0.46)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("size", "fed"),
    [((1, 1), (32, 32)), ((1, 300), (32, 320)), ((31, 33), (32, 64)), ((32, 64), (32, 64)), ((512, 500), (512, 512))],
)
def test_any_size_is_padded_up_to_the_stride(size: tuple[int, int], fed: tuple[int, int]) -> None:
    image = picture(*size)
    feeds = preprocess(Sample(image), SPEC)
    assert list(feeds) == ["image", "trajectory"]
    assert feeds["image"].shape == (1, *fed, 3)
    assert feeds["trajectory"].shape == (1, *fed, 1)
    assert all(plane.dtype == np.uint8 for plane in feeds.values())
    assert (feeds["image"][0, : size[0], : size[1]] == image).all()


@pytest.mark.parametrize("size", [(40, 50), (3, 50), (1, 300), (1, 1), (2, 2)])
def test_the_padding_mirrors_both_modalities_alike(size: tuple[int, int]) -> None:
    raster = picture(*size)[..., 0].copy()
    feeds = preprocess(Sample(np.repeat(raster[..., None], 3, 2), raster), SPEC)
    assert (feeds["image"][0, ..., 0] == feeds["trajectory"][0, ..., 0]).all()
    height, width = size
    if min(size) > 2:
        assert (feeds["trajectory"][0, :height, width, 0] == raster[:, width - 2]).all()
        assert (feeds["trajectory"][0, height, :width, 0] == raster[height - 2]).all()


def test_a_line_of_pixels_is_mirrored_along_and_repeated_across() -> None:
    raster = np.arange(40, dtype=np.uint8)[None]
    fed = preprocess(Sample(None, raster, (1, 40)), SPEC)["trajectory"][0, ..., 0]
    assert fed[:, :45].tolist() == [[*range(40), 38, 37, 36, 35, 34]] * 32


def test_a_known_ground_sample_distance_is_brought_to_the_networks() -> None:
    lay = fit((400, 400), 0.4, SPEC)
    assert (lay.grid, lay.window, lay.corners) == ((348, 348), (352, 352), ((0, 0),))
    assert preprocess(Sample(picture(400, 400), gsd_m=0.4), SPEC)["image"].shape == (1, 352, 352, 3)


@pytest.mark.parametrize("gsd_m", [None, 0.46, 0.464, 0.46 * 1.0199, 0.46 * 0.9801])
def test_an_unknown_or_near_ground_sample_distance_leaves_the_pixels_alone(gsd_m: float | None) -> None:
    image = picture(64, 64)
    assert (preprocess(Sample(image, gsd_m=gsd_m), SPEC)["image"][0] == image).all()


def test_just_beyond_the_tolerance_is_resampled() -> None:
    assert fit((1000, 1000), 0.46 * 1.03, SPEC).grid == (1030, 1030)
    assert fit((1000, 1000), 0.46 * 0.97, SPEC).grid == (970, 970)


def test_a_network_without_a_ground_sample_distance_never_resamples() -> None:
    assert fit((100, 100), 5.0, ModelSpec("a", gsd_m=None, gsd_band_m=None)).grid == (100, 100)


def test_no_image_shrinks_to_nothing() -> None:
    assert fit((3, 300), 0.01, SPEC).grid == (1, 7)


def test_the_place_gives_the_ground_sample_distance() -> None:
    place = Place.nadir((0, 0), 0.6, (100, 100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        feeds = preprocess(Sample(picture(100, 100), place=place), SPEC)
    assert feeds["image"].shape == (1, 160, 160, 3)  # 130 up to the stride


def test_an_absurd_ground_sample_distance_is_told_before_memory_runs_out() -> None:
    size = (int(LARGEST_GRID_PX**0.5),) * 2
    assert fit(size, 0.46, SPEC).grid == size  # a large image as it comes is no error
    with pytest.raises(DataError, match=r"512 x 512 pixels at 46 m per pixel would grow to 51200 x 51200"):
        fit((512, 512), 46.0, SPEC)


def test_a_missing_image_is_the_training_mean() -> None:
    feeds = preprocess(Sample(None, np.array([[5.5, 5.5]]), (40, 40)), SPEC)
    assert (feeds["image"] == np.array(SPEC.blank_rgb, np.uint8)).all()
    assert feeds["trajectory"].any()


def test_a_missing_second_modality_is_zero() -> None:
    feeds = preprocess(Sample(picture(40, 40)), SPEC)
    assert not feeds["trajectory"].any()
    assert (draw_second(Sample(picture(40, 40)), SPEC) == 0).all()


def test_a_sample_with_neither_is_two_blanks() -> None:
    feeds = preprocess(Sample(None, size=(40, 50)), SPEC)
    assert feeds["image"].shape == (1, 64, 64, 3)
    assert (feeds["image"] == np.array(SPEC.blank_rgb, np.uint8)).all()
    assert not feeds["trajectory"].any()


def test_only_the_networks_inputs_are_fed_in_its_order() -> None:
    sample = Sample(picture(32, 32), np.array([[1.0, 1.0]]))
    assert list(preprocess(sample, ModelSpec("a", ("image",)))) == ["image"]
    assert list(preprocess(sample, ModelSpec("a", ("trajectory",)))) == ["trajectory"]
    assert list(preprocess(sample, ModelSpec("a", ("trajectory", "image")))) == ["trajectory", "image"]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_points_outside_not_a_number_or_infinite_draw_nothing(kind: type[np.floating]) -> None:
    good = np.array([[3.2, 4.7], [31.99, 0.0]], kind)
    bad = np.array([[-0.5, 3], [32, 3], [3, 32], [np.nan, 3], [3, np.inf], [-np.inf, np.nan], [1e30, 1e30]], kind)
    sample = Sample(picture(32, 32), np.concatenate([bad, good]))
    expected = rasterize(good, (32, 32), SPEC.heatmap)
    assert (preprocess(sample, SPEC)["trajectory"][0, ..., 0] == expected).all()
    assert expected[4, 3] > 0


def test_points_with_a_time_are_drawn_by_their_place() -> None:
    points = np.array([[3.2, 4.7, 1e9]])
    image = picture(32, 32)
    with_time, without = (preprocess(Sample(image, p), SPEC)["trajectory"] for p in (points, points[:, :2]))
    assert (with_time == without).all()


def test_points_and_image_land_on_the_same_pixels_after_resampling() -> None:
    image, points = np.zeros((400, 400, 3), np.uint8), []
    for x, y in [(0, 0), (399, 399), (100, 37), (250, 300)]:
        image[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 255
        points.append((x + 0.5, y + 0.5))  # a pixel's centre, counted from the corner
    feeds = preprocess(Sample(image, np.array(points), gsd_m=0.4), SPEC)
    bright = feeds["image"][0, ..., 0] > 100
    for row, column in zip(*np.nonzero(feeds["trajectory"][0, :348, :348, 0] > 60), strict=True):
        assert bright[row, column]


def test_a_raster_is_resampled_with_the_image() -> None:
    plane = picture(400, 400)[..., 0].copy()
    feeds = preprocess(Sample(np.repeat(plane[..., None], 3, 2), plane, gsd_m=0.4), SPEC)
    assert (feeds["image"][0, ..., 1] == feeds["trajectory"][0, ..., 0]).all()


def test_a_second_modality_drawn_apart_is_fed_as_it_is() -> None:
    sample = Sample(picture(40, 40), np.array([[3.0, 3.0]]))
    drawn = np.full((40, 40), 9, np.uint8)
    assert (preprocess(sample, SPEC, second=drawn)["trajectory"] == 9).all()
    with pytest.raises(ShapeError, match=r"second must have shape \(40, 40\), got \(32, 32\)"):
        preprocess(sample, SPEC, second=drawn[:32, :32])


def test_outside_the_trained_band_is_a_warning_and_strictly_an_error() -> None:
    sample = Sample(picture(32, 32), gsd_m=0.9)
    with pytest.warns(OutsideBandWarning, match=r"0\.9 m per pixel and any was trained on 0\.3 to 0\.7 m"):
        preprocess(sample, SPEC)
    with pytest.raises(DataError, match="not to be trusted"):
        preprocess(sample, SPEC, strict=True)


@pytest.mark.parametrize(
    ("points", "outside"), [(None, False), (0, False), (9, True), (10, False), (1000, False), (1001, True)]
)
def test_a_density_is_outside_where_training_never_showed_it(points: int | None, outside: bool) -> None:
    spec = ModelSpec("any", density_band_per_mpx=(1000, 100_000))
    assert outside_density(points, (100, 100), spec) is outside
    assert not outside_density(points, (100, 100), SPEC)  # it states no band


@pytest.mark.parametrize("gsd_m", [None, 0.3, 0.5, 0.7])
def test_within_the_band_nothing_is_said(gsd_m: float | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_band(gsd_m, SPEC, strict=True)


def test_a_static_network_gets_windows_that_cover_the_image_and_overlap() -> None:
    lay = fit((200, 300), None, STATIC)
    covered = np.zeros(lay.grid, int)
    for y, x in lay.corners:
        assert y + 64 <= 200
        assert x + 96 <= 300
        covered[y : y + 64, x : x + 96] += 1
    assert covered.min() == 1
    rows, columns = sorted({y for y, _ in lay.corners}), sorted({x for _, x in lay.corners})
    assert max(np.diff(rows)) <= 48  # three quarters of a window: a quarter is shared
    assert max(np.diff(columns)) <= 72
    assert preprocess(Sample(picture(200, 300)), STATIC)["image"].shape == (len(lay.corners), 64, 96, 3)


def test_a_static_network_pads_what_is_smaller_than_its_window() -> None:
    image = picture(10, 150)
    feeds = preprocess(Sample(image), STATIC)
    assert feeds["image"].shape == (2, 64, 96, 3)
    assert (feeds["image"][0, :10] == image[:, :96]).all()
    assert (feeds["image"][1, :10] == image[:, -96:]).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 1500), st.integers(1, 1500), st.floats(0, 0.9), st.sampled_from([32, 64, 512]))
def test_windows_cover_every_pixel_whatever_the_size(height: int, width: int, overlap: float, side: int) -> None:
    lay = fit((height, width), None, ModelSpec("a", size=(side, side)), overlap)
    for axis, length in enumerate((height, width)):
        starts = sorted({corner[axis] for corner in lay.corners})
        assert starts[0] == 0
        assert starts[-1] == max(0, length - side)
        assert max(np.diff(starts), default=0) <= side * (1 - overlap) + 1  # a start is rounded to a pixel


def test_arrays_that_are_views_are_read_right() -> None:
    image = picture(60, 70)
    view = image[::-1, ::-1, ::-1]  # BGR turned to RGB, a frame turned round: negative strides
    fed, copied = (preprocess(Sample(i, gsd_m=0.4), SPEC)["image"] for i in (view, view.copy()))
    assert (fed == copied).all()


def test_the_sample_is_left_as_it_is() -> None:
    image, points = picture(60, 70), np.array([[3.0, 4.0]])
    before = image.copy(), points.copy()
    feeds = preprocess(Sample(image, points), SPEC)
    feeds["image"][:] = 0
    assert (image == before[0]).all()
    assert (points == before[1]).all()


@pytest.mark.parametrize(("grid", "back"), [((1, 1), (1, 300)), ((2, 450), (1, 300)), ((1, 360), (1, 300))])
def test_a_plane_of_one_colour_keeps_it_through_resampling(grid: tuple[int, int], back: tuple[int, int]) -> None:
    plane = np.full(back, 77, np.uint8)
    assert (resample(resample(plane, grid), back) == plane).all()


def test_shrinking_takes_the_mean_of_the_area() -> None:
    plane = np.zeros((4, 4), np.uint8)
    plane[0, 0] = 200
    assert resample(plane, (2, 2)).tolist() == [[50, 0], [0, 0]]
