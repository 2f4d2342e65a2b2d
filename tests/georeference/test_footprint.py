from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import DataError
from roadedge.georeference.footprint import View, axes, footprint, place_of
from roadedge.georeference.lens import Lens
from roadedge.georeference.pose import Pose
from roadedge.place import Place
from roadedge.trajectory.plane import LocalPlane

PLANE = LocalPlane(7.0, 45.0)
LENS = Lens(focal_px=1000.0, of_width=800)
SIZE = (600, 800)
POSE = Pose(7.0, 45.0, height_m=100.0, yaw_deg=0.0, yaw_from="gimbal")


def test_straight_down_is_the_nadir_place() -> None:
    for yaw in (0.0, 37.0, -120.0):
        place = footprint(dataclasses.replace(POSE, yaw_deg=yaw), LENS, SIZE, PLANE)
        nadir = Place.nadir((0, 0), 0.1, SIZE, yaw, PLANE.crs)
        corners = [[0, 0], [800, 0], [0, 600], [800, 600]]
        assert place.to_ground(corners) == pytest.approx(nadir.to_ground(corners), abs=1e-6)
        assert place.crs == PLANE.crs


def test_an_oblique_view_to_the_north_sees_the_ground_where_its_middle_points() -> None:
    place = footprint(dataclasses.replace(POSE, pitch_deg=-30.0), LENS, SIZE, PLANE)
    east, north = place.to_ground([[400, 300]])[0]
    assert (east, north) == pytest.approx((0, 100 / math.tan(math.radians(30))))
    above, below = place.to_ground([[400, 200], [400, 400]])
    assert above[1] > north > below[1]


def test_roll_lowers_the_right_side() -> None:
    assert axes(0, 0, 0) == pytest.approx(np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float64))
    assert axes(0, 0, 10)[2, 0] < 0  # the image's right points down


def test_a_gimbal_upside_down_is_the_other_heading() -> None:
    turned = footprint(dataclasses.replace(POSE, roll_deg=180.0), LENS, SIZE, PLANE)
    other = footprint(dataclasses.replace(POSE, yaw_deg=180.0), LENS, SIZE, PLANE)
    assert turned.to_ground([[0, 0], [800, 10]]) == pytest.approx(other.to_ground([[0, 0], [800, 10]]))


@settings(max_examples=50, deadline=None)
@given(st.floats(-180, 180), st.floats(-90, -25), st.floats(-20, 20), st.floats(5, 500))
def test_pixels_lie_on_the_ray_from_the_camera(yaw: float, pitch: float, roll: float, height: float) -> None:
    view = View(3.0, -4.0, height, yaw, pitch, roll, (1000.0, 1000.0), (400.0, 300.0))
    pixel = np.array([250.0, 420.0, 1.0])
    ground = place_of(view, SIZE, "local").to_ground([pixel[:2]])[0]
    towards = np.array([ground[0] - 3.0, ground[1] + 4.0, -height])
    ray = view.rays() @ pixel
    assert np.cross(towards / np.linalg.norm(towards), ray / np.linalg.norm(ray)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("pitch", "said"), [(10.0, "10.0 degrees above"), (-1.0, "1.0 degrees below"), (90.0, "above")]
)
def test_a_view_of_the_sky_is_refused(pitch: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        footprint(dataclasses.replace(POSE, pitch_deg=pitch), LENS, SIZE, PLANE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"height_m": None}, "height above ground is not known"),
        ({"height_m": 0.0}, "height above ground is 0 m"),
        ({"height_m": -3.5}, "height above ground is -3.5 m"),
        ({"yaw_deg": None}, "heading is not known"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, float | None], said: str) -> None:
    with pytest.raises(DataError, match=said):
        footprint(dataclasses.replace(POSE, **change), LENS, SIZE, PLANE)  # type: ignore[arg-type]


def test_the_uncertainty_holds_what_the_parts_may_be_wrong_by() -> None:
    good = footprint(POSE, LENS, SIZE, PLANE).uncertainty_m
    assert 3.5 < good < 6  # a receiver's 2.5 m on each axis, and some of the rest
    assert footprint(dataclasses.replace(POSE, yaw_from="course"), LENS, SIZE, PLANE).uncertainty_m > good
    assert footprint(dataclasses.replace(POSE, pitch_deg=-20.0), LENS, SIZE, PLANE).uncertainty_m > 3 * good
    rough = Lens(equivalent_mm=43.27)  # the same view, by its equivalent
    assert footprint(POSE, rough, SIZE, PLANE).uncertainty_m > good


def test_one_part_of_the_uncertainty_by_hand() -> None:
    from roadedge.georeference.footprint import GRID, PoseErrors, uncertainty_m

    view = View(0, 0, 100, 0, -90, 0, (1000.0, 1000.0), (400.0, 300.0))
    pixels = GRID * [800, 600]
    away_m = math.sqrt(float(np.mean(np.sum(((pixels - [400, 300]) * 0.1) ** 2, axis=1))))
    none = PoseErrors(0, 0, 0)
    assert uncertainty_m(view, pixels, 0, 0.0, 0, PoseErrors(5, 0, 0)) == pytest.approx(0.05 * away_m)
    assert uncertainty_m(view, pixels, 2, 0.0, 0, none) == pytest.approx(2 * math.sqrt(2))
    assert uncertainty_m(view, pixels, 0, 0.0, 1, none) == pytest.approx(math.radians(1) * away_m, rel=1e-3)
