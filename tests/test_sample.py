"""The two ends of the flow are checked where they are born."""

from __future__ import annotations

import numpy as np
import pytest

from roadedge.errors import ShapeError
from roadedge.place import Place
from roadedge.sample import RoadMask, Sample, check_shape

IMAGE = np.zeros((30, 40, 3), np.uint8)


def test_a_sample_takes_its_size_from_the_image() -> None:
    assert Sample(IMAGE).size == (30, 40)
    assert Sample(IMAGE, size=(30, 40)).size == (30, 40)


def test_a_sample_without_an_image_takes_the_size_given() -> None:
    assert Sample(None, np.zeros((5, 7), np.uint8), size=(5, 7)).size == (5, 7)


def test_a_sample_of_nothing_but_a_size_is_possible() -> None:
    sample = Sample(None, size=(1, 1))
    assert sample.second is None
    assert not sample.has_points


@pytest.mark.parametrize(
    ("image", "second", "size", "sentence"),
    [
        (None, None, (0, 0), r"an image or a size of at least 1 x 1 pixel, got size \(0, 0\)"),
        (None, np.zeros((4, 2)), (0, 0), "an image or a size"),
        (np.zeros((0, 5, 3), np.uint8), None, (0, 0), r"got size \(0, 5\)"),
        (np.zeros((30, 40), np.uint8), None, (0, 0), r"image must have shape \(any, any, 3\), got \(30, 40\)"),
        (np.zeros((30, 40, 4), np.uint8), None, (0, 0), r"got \(30, 40, 4\)"),
        (np.zeros((30, 40, 3), np.uint16), None, (0, 0), "must be uint8 RGB, got uint16; read it with read_image"),
        (IMAGE, None, (40, 30), r"size \(40, 30\) does not agree with the image, 30 x 40 pixels"),
        (IMAGE, np.zeros((40, 30), np.uint8), (0, 0), "raster is 40 x 30 pixels and the image 30 x 40; both"),
        (IMAGE, np.zeros((30, 40, 1), np.uint8), (0, 0), r"raster must have shape \(H, W\), got \(30, 40, 1\)"),
        (IMAGE, np.zeros((), np.uint8), (0, 0), r"must have shape \(H, W\), got \(\)"),
        (IMAGE, np.zeros((9, 2), np.int64), (0, 0), "points .* of floating x, y in pixels.*got int64"),
        (IMAGE, np.zeros((9, 1)), (0, 0), r"got float64 of shape \(9, 1\)"),
        (IMAGE, np.zeros(9), (0, 0), r"got float64 of shape \(9,\)"),
        (IMAGE, np.zeros((30, 40), bool), (0, 0), "got bool"),
    ],
)
def test_what_does_not_fit_is_named(
    image: np.ndarray | None, second: np.ndarray | None, size: tuple[int, int], sentence: str
) -> None:
    with pytest.raises(ShapeError, match=sentence):
        Sample(image, second, size)


@pytest.mark.parametrize("gsd_m", [0.0, -0.5, float("nan"), float("inf"), 1e5])
def test_a_ground_sample_distance_that_is_none_is_refused(gsd_m: float) -> None:
    with pytest.raises(ShapeError, match="must be positive metres per pixel"):
        Sample(IMAGE, gsd_m=gsd_m)


def test_the_ground_sample_distance_comes_from_the_place_unless_given() -> None:
    place = Place.nadir((0, 0), 0.25, (30, 40))
    assert Sample(IMAGE, place=place).gsd_m == pytest.approx(0.25)
    assert Sample(IMAGE, place=place, gsd_m=0.3).gsd_m == 0.3


def test_no_points_are_still_points() -> None:
    assert Sample(IMAGE, np.zeros((0, 3), np.float32)).has_points
    assert not Sample(IMAGE, np.zeros((30, 40), np.uint8)).has_points


def test_samples_compare_by_identity() -> None:
    first, second = Sample(IMAGE), Sample(IMAGE)
    assert first != second
    assert first in [second, first]
    assert len({first, second}) == 2


def test_a_mask_tells_its_share_of_road() -> None:
    probability = np.array([[255, 0], [0, 0]], np.uint8)
    assert RoadMask(probability, probability > 127).road_fraction == 0.25


@pytest.mark.parametrize(
    ("probability", "mask"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2), bool)),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), bool)),
        (np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2, 1), bool)),
    ],
)
def test_a_mask_of_other_types_or_shapes_is_refused(probability: np.ndarray, mask: np.ndarray) -> None:
    with pytest.raises(ShapeError):
        RoadMask(probability, mask)


def test_a_shape_error_says_any_where_any_length_goes() -> None:
    with pytest.raises(ShapeError, match=r"x must have shape \(any, 2\), got \(3, 4\)"):
        check_shape("x", np.zeros((3, 4)), (None, 2))
