"""`Points` in columns, and their way from longitude and latitude to the pixels of an image."""

from __future__ import annotations

import numpy as np
import pytest

from roadedge.errors import DataError, PointsError, ShapeError, SpecMismatchError
from roadedge.place import Place
from roadedge.sample import Sample
from roadedge.trajectory.plane import LocalPlane
from roadedge.trajectory.points import Points


def test_bad_rows_are_dropped_and_counted_by_reason() -> None:
    columns = {
        "x": np.array([1.0, np.nan, np.inf, 181.0, 0.0, 5.0, np.nan]),
        "y": np.array([2.0, 0.0, 0.0, 0.0, 0.0, -90.5, np.inf]),
        "t_s": np.arange(7.0),
    }
    points = Points.checked(columns, "lonlat", {"checksum": 3})
    assert points.xy().tolist() == [[1.0, 2.0]]
    assert points.t_s is not None
    assert points.t_s.tolist() == [0.0]
    assert points.dropped == {"checksum": 3, "nan": 2, "infinite": 1, "out_of_range": 2, "no_fix": 1}


def test_pixels_have_no_range_and_zero_is_one_of_them() -> None:
    points = Points.checked({"x": np.array([0.0, 5000.0]), "y": np.array([0.0, -3.0])}, "pixel")
    assert len(points) == 2
    assert points.dropped == {}


def test_no_usable_row_is_an_error_that_says_why() -> None:
    with pytest.raises(PointsError, match=r"none of the 2 points is usable .dropped: out_of_range 2"):
        Points.checked({"x": np.array([512.0, 300.0]), "y": np.array([91.0, 400.0])}, "lonlat")


def test_milliseconds_are_not_taken_for_seconds() -> None:
    with pytest.raises(PointsError, match="divide the column by 1000"):
        Points.checked({"x": np.ones(1), "y": np.ones(1), "t_s": np.array([1301919053000.0])}, "lonlat")


def test_the_array_of_a_sample_has_time_where_it_is_known() -> None:
    x, y, t = np.array([1.0, 2]), np.array([3.0, 4]), np.array([5.0, 6])
    assert Points(x, y).to_array().tolist() == [[1, 3], [2, 4]]
    timed = Points(x, y, t).to_array()
    assert timed.tolist() == [[1, 3, 5], [2, 4, 6]]
    assert Sample(None, timed, size=(8, 8)).has_points
    with pytest.raises(SpecMismatchError, match="to_pixels"):
        Points(x, y, crs="lonlat").to_array()


def test_select_takes_the_same_rows_of_every_column() -> None:
    points = Points(np.arange(4.0), np.arange(4.0), np.arange(4.0), vehicle=np.arange(4), dropped={"nan": 1})
    chosen = points.select(points.x > 1)
    assert chosen.vehicle is not None
    assert chosen.vehicle.tolist() == [2, 3]
    assert chosen.xy().tolist() == [[2, 2], [3, 3]]
    assert chosen.speed_mps is None
    assert chosen.dropped == {"nan": 1}
    assert points.select(np.array([3, 0])).x.tolist() == [3, 0]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ShapeError, match="one length; x has 3, t_s"):
        Points(np.zeros(3), np.zeros(3), np.zeros(2))


def test_from_longitude_to_the_pixel_and_back() -> None:
    plane = LocalPlane(117.7, 39.0)
    place = Place.nadir((0, 0), 0.5, (400, 600), heading_deg=20, crs=plane.crs)
    wanted = np.array([[300.0, 200.0], [10.5, 390.25], [-20.0, 700.0]])
    lonlat = plane.to_lonlat(place.to_ground(wanted))
    points = Points(lonlat[:, 0], lonlat[:, 1], crs="lonlat").to_plane(plane).to_pixels(place, (400, 600))
    assert points.crs == "pixel"
    assert points.xy() == pytest.approx(wanted, abs=1e-6)


def test_points_and_place_of_two_planes_do_not_meet() -> None:
    points = Points(np.zeros(1), np.zeros(1), crs="EPSG:32616")
    with pytest.raises(SpecMismatchError, match=r"'EPSG:32616'.*'local'"):
        points.to_pixels(Place.nadir((0, 0), 1, (8, 8)), (8, 8))
    with pytest.raises(SpecMismatchError, match="lonlat"):
        points.to_plane(LocalPlane(0, 0))


def test_points_behind_a_tilted_camera_are_dropped_and_counted() -> None:
    tilted = Place(np.linalg.inv(np.array([[50.0, 20, 0], [0, 10, -300], [0, 0.4, 2]])))
    points = Points(np.zeros(2), np.array([40.0, -40.0]), crs="local").to_pixels(tilted, (80, 100))
    assert len(points) == 1
    assert points.dropped == {"behind": 1}


@pytest.mark.parametrize("lat_deg", [0.0, 39.0, -60.0, 75.0])
def test_the_plane_is_proj_s_orthographic_one(lat_deg: float) -> None:
    pyproj = pytest.importorskip("pyproj")
    plane = LocalPlane(117.7, lat_deg)
    metres = np.random.default_rng(0).uniform(-50_000, 50_000, (500, 2))
    lonlat = plane.to_lonlat(metres)
    assert plane.from_lonlat(lonlat) == pytest.approx(metres, abs=1e-4)
    transformer = pyproj.Transformer.from_crs("EPSG:4326", plane.crs, always_xy=True)
    assert np.stack(transformer.transform(*lonlat.T), axis=1) == pytest.approx(metres, abs=1e-4)


def test_the_plane_is_true_to_length_near_its_origin() -> None:
    """A degree of latitude at 39 N is 111 017 m on WGS 84; a hundredth of it leaves under a millimetre of curvature."""
    plane = LocalPlane(10.0, 39.0)
    _, north = plane.from_lonlat([[10.0, 39.005]])[0] - plane.from_lonlat([[10.0, 38.995]])[0]
    assert north == pytest.approx(1110.17, abs=0.02)


def test_the_far_side_of_the_earth_is_not_on_the_plane() -> None:
    assert np.isnan(LocalPlane(0, 0).from_lonlat([[170.0, 0.0]])).all()


def test_an_origin_outside_the_globe_is_refused() -> None:
    with pytest.raises(DataError, match="origin"):
        LocalPlane(200.0, 0.0)


def test_a_plane_about_points_touches_in_their_middle() -> None:
    assert LocalPlane.about([[10, 50], [12, 52], [11, 51]]) == LocalPlane(11.0, 51.0)
