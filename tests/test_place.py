"""Pixels and ground: the half pixel, GDAL's numbers, cameras that look straight or tilted."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import ShapeError
from roadedge.place import Place

metres = st.floats(-1e6, 1e7)
gsds = st.floats(0.01, 50)
headings = st.floats(-720, 720)
sides = st.integers(1, 8000)
pixels = st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=20)


def tilted(height_m: float, pitch_deg: float, focal_px: float, size: tuple[int, int]) -> Place:
    """A pinhole camera above the origin, looking north, `pitch_deg` below the horizon."""
    down, ahead = np.sin(np.deg2rad(pitch_deg)), np.cos(np.deg2rad(pitch_deg))
    rotation = np.array([[1, 0, 0], [0, -down, -ahead], [0, ahead, -down]])  # rows: camera right, down, forward
    intrinsics = np.array([[focal_px, 0, size[1] / 2], [0, focal_px, size[0] / 2], [0, 0, 1]])
    to_camera = rotation @ np.array([[1, 0, 0], [0, 1, 0], [0, 0, -height_m]])  # ground (x, y, 1) seen from the camera
    return Place(np.linalg.inv(intrinsics @ to_camera))


def test_a_geotransform_counts_from_the_corner_of_the_upper_left_pixel() -> None:
    place = Place.from_geotransform((500000.0, 0.5, 0.0, 4300000.0, 0.0, -0.5), "EPSG:32650")
    assert place.to_ground([[0, 0], [2, 4]]).tolist() == [[500000.0, 4300000.0], [500001.0, 4299998.0]]
    assert place.crs == "EPSG:32650"


def test_the_centre_of_the_first_pixel_lies_half_a_pixel_inside() -> None:
    place = Place.from_geotransform((100.0, 0.5, 0.0, 200.0, 0.0, -0.5))
    assert place.centres_to_ground([[0, 0]]).tolist() == [[100.25, 199.75]]


def test_a_rotated_geotransform_is_read_in_gdals_order() -> None:
    place = Place.from_geotransform((10.0, 1.0, 2.0, 20.0, 3.0, -4.0))
    assert place.to_ground([[1, 0]]).tolist() == [[11.0, 23.0]]
    assert place.to_ground([[0, 1]]).tolist() == [[12.0, 16.0]]


@pytest.mark.parametrize("numbers", [(1, 2, 3), (1, 0.5, 0, 2, 0, -0.5, 0, 0, 1), [[1, 2, 3], [4, 5, 6]]])
def test_a_geotransform_of_another_length_is_named(numbers: object) -> None:
    with pytest.raises(ShapeError, match="GDAL's six numbers"):
        Place.from_geotransform(numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("heading", "top"), [(0, (0, 1)), (90, (1, 0)), (180, (0, -1)), (270, (-1, 0)), (45, (0.5**0.5, 0.5**0.5))]
)
def test_the_heading_is_the_direction_of_the_images_top_clockwise_from_north(
    heading: float, top: tuple[float, float]
) -> None:
    place = Place.nadir((1000.0, 2000.0), 2.0, (100, 50), heading)
    centre, above = place.to_ground([[25, 50], [25, 49]])
    assert centre == pytest.approx((1000.0, 2000.0))
    assert (above - centre) / 2.0 == pytest.approx(top, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(metres, metres, gsds, sides, sides, headings, pixels)
def test_ground_and_back_is_the_same_pixel(
    east: float, north: float, gsd_m: float, height: int, width: int, heading: float, xy: list[tuple[float, float]]
) -> None:
    place = Place.nadir((east, north), gsd_m, (height, width), heading)
    assert place.to_image(place.to_ground(xy)) == pytest.approx(np.array(xy), abs=1e-4)
    assert place.gsd_m((height, width)) == pytest.approx(gsd_m, rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(gsds, sides, sides, headings, st.floats(0.1, 10), st.floats(0.1, 10), pixels)
def test_resampling_an_image_moves_no_ground(
    gsd_m: float, height: int, width: int, heading: float, sx: float, sy: float, xy: list[tuple[float, float]]
) -> None:
    place = Place.nadir((10.0, 20.0), gsd_m, (height, width), heading)
    same = place.scaled(sx, sy).to_ground(np.array(xy) * [sx, sy])
    assert same == pytest.approx(place.to_ground(xy), abs=1e-6, rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(gsds, headings, st.floats(-5e3, 5e3), st.floats(-5e3, 5e3), pixels)
def test_cutting_a_window_out_moves_no_ground(
    gsd_m: float, heading: float, x: float, y: float, xy: list[tuple[float, float]]
) -> None:
    place = Place.nadir((10.0, 20.0), gsd_m, (100, 100), heading)
    same = place.shifted(x, y).to_ground(np.array(xy) - [x, y])
    assert same == pytest.approx(place.to_ground(xy), abs=1e-5, rel=1e-9)


def test_scaling_and_cutting_keep_the_plane_and_its_uncertainty() -> None:
    place = Place(np.eye(3), "EPSG:32650", 1.5)
    for moved in (place.scaled(2, 2), place.shifted(3, 4)):
        assert (moved.crs, moved.uncertainty_m) == ("EPSG:32650", 1.5)


@settings(deadline=None, max_examples=40)
@given(st.floats(5, 500), st.floats(20, 89), pixels)
def test_a_tilted_camera_sees_the_ground_and_back(height: float, pitch: float, xy: list[tuple[float, float]]) -> None:
    place = tilted(height, pitch, 800.0, (600, 800))
    inside = np.abs(np.array(xy)) / 1e4 * [400, 200] + [400, 350]  # below the horizon, mostly within the image
    assert place.to_image(place.to_ground(inside)) == pytest.approx(inside, abs=1e-5)


def test_a_tilted_camera_looks_ahead_as_geometry_says() -> None:
    place = tilted(100.0, 45.0, 800.0, (600, 800))
    assert place.to_ground([[400, 300]])[0] == pytest.approx((0, 100))  # 45 degrees down from 100 m
    assert place.gsd_m((600, 800)) == pytest.approx(100 * 2**0.5 / 800 * 2**0.25, rel=1e-3)


def test_the_horizon_is_infinitely_far_and_no_warning() -> None:
    place = Place(np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, -10]]))
    assert not np.isfinite(place.to_ground([[3, 10]])).any()


@settings(deadline=None, max_examples=40)
@given(st.floats(1e-12, 1e12), st.sampled_from([1, -1]))
def test_a_homography_has_no_scale_of_its_own(scale: float, sign: int) -> None:
    matrix = np.array([[0.02, 0, 5e5], [0, -0.02, 6.2e6], [0, 0, 1]])  # 2 cm in UTM: what a normalised one looks like
    place = Place(matrix * scale * sign)
    assert place.to_ground([[100, 50]])[0] == pytest.approx((500002, 6199999))


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((3, 3)),
        np.array([[1, 2, 3], [2, 4, 6], [0, 0, 1.0]]),
        np.array([[1, 0, 0], [0, np.nan, 0], [0, 0, 1]]),
        np.array([[1, 0, np.inf], [0, 1, 0], [0, 0, 1]]),
        np.eye(4),
        np.eye(3)[:2],
    ],
)
def test_what_is_no_homography_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="invertible 3 x 3 homography"):
        Place(matrix)


def test_points_with_a_third_column_are_not_read_as_other_points() -> None:
    with pytest.raises(ShapeError, match=r"must have shape \(N, 2\), got \(2, 3\)"):
        Place(np.eye(3)).to_ground(np.zeros((2, 3)))


def test_one_point_and_no_points_are_points() -> None:
    assert Place(np.eye(3)).to_ground([3, 4]).tolist() == [[3, 4]]
    assert Place(np.eye(3)).to_ground(np.zeros((0, 2))).shape == (0, 2)


def test_a_place_keeps_its_own_matrix_and_lets_nobody_change_it() -> None:
    matrix = np.eye(3)
    place = Place(matrix)
    matrix[0, 2] = 99
    assert place.homography[0, 2] == 0
    with pytest.raises(ValueError, match="read-only"):
        place.homography[0, 2] = 1
    assert (pickle.loads(pickle.dumps(place)).homography == place.homography).all()
