from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import PointsError
from roadedge.georeference.pose import Pose, PoseTrack, wrapped_deg

NORTH = 1 / 111_320  # degrees of latitude in a metre, near enough


def track(t: list[float], lat: list[float] | None = None, lon: list[float] | None = None, **more: object) -> PoseTrack:
    count = len(t)
    columns = {
        "t_s": np.array(t, np.float64),
        "lat_deg": np.array(lat if lat is not None else [45.0] * count, np.float64),
        "lon_deg": np.array(lon if lon is not None else [7.0] * count, np.float64),
    }
    return PoseTrack.checked(columns | {k: np.array(v, np.float64) for k, v in more.items()}, "the track")


def test_bad_rows_are_left_out_and_counted_by_reason() -> None:
    lat = [45.0, np.nan, 0.0, 95.0, 45.0, 45.0]
    lon = [7.0, 7.0, 0.0, 7.0, 7.0, 7.0]
    made = track([0, 1, 2, 3, 4, 5], lat, lon)
    assert made.t_s.tolist() == [0, 4, 5]
    assert made.dropped == {"nan": 1, "no_fix": 1, "out_of_range": 1}


def test_a_track_without_one_good_row_is_refused() -> None:
    with pytest.raises(PointsError, match=r"no usable position \(no_fix 2\)"):
        track([0, 1], [0, 0], [0, 0])


def test_time_that_goes_back_costs_the_fewest_rows() -> None:
    assert track([0, 1, 2, 1000, 3, 4, 5]).t_s.tolist() == [0, 1, 2, 3, 4, 5]  # one late time, not all after it
    assert track([0, 1, 1, 2]).dropped == {"backward": 1}


def test_a_jump_is_left_out_even_at_the_beginning() -> None:
    away = 45.0 + 5000 * NORTH
    assert track([0, 1, 2, 3, 4], [45, 45, away, 45, 45]).t_s.tolist() == [0, 1, 3, 4]
    first = track([0, 1, 2, 3], [away, 45, 45, 45])
    assert first.t_s.tolist() == [1, 2, 3]
    assert first.dropped == {"jump": 1}


def test_rounding_to_four_digits_at_thirty_rows_a_second_is_no_jump() -> None:
    made = track([0, 0.033, 0.066], [45.0, 45.0001, 45.0])
    assert not made.dropped


def test_a_way_that_takes_its_time_is_no_jump() -> None:
    assert len(track([0, 1, 600], [45, 45, 45 + 5000 * NORTH])) == 3


def test_poses_between_rows_are_mixed_and_angles_go_the_shorter_way() -> None:
    made = track([0, 1], height_m=[10, 20], yaw_deg=[170, -170], pitch_deg=[-90, -80])
    pose = made.at(0.5)
    assert pose is not None
    assert pose.height_m == pytest.approx(15)
    assert pose.pitch_deg == pytest.approx(-85)
    assert abs(float(wrapped_deg((pose.yaw_deg or 0) - 180))) < 1e-9


def test_telemetry_that_stops_gives_no_pose() -> None:
    made = track([0, 1, 2, 10, 11])
    assert made.at(-0.5) is not None
    assert made.at(-1.5) is None
    assert made.at(2.5) is not None
    assert made.at(6.0) is None  # within a hole
    assert made.at(12.5) is None
    assert made.at(float("nan")) is None


def test_at_the_edge_of_a_hole_the_nearest_row_counts() -> None:
    pose = track([0, 1, 100], [45, 45, 45.01]).at(1.5)
    assert pose is not None
    assert pose.lat_deg == pytest.approx(45)


def test_a_row_that_lacks_a_value_takes_the_one_beside_it() -> None:
    pose = track([0, 1], height_m=[np.nan, 20]).at(0.5)
    assert pose is not None
    assert pose.height_m == 20
    assert pose.yaw_deg is None


def test_course_of_a_way_to_the_east_and_then_north() -> None:
    east = np.concatenate([np.arange(50), np.full(50, 49)]) * 2 * NORTH / np.cos(np.radians(45))
    north = np.concatenate([np.zeros(50), np.arange(50)]) * 2 * NORTH
    made = track(list(range(100)), (45 + north).tolist(), (7 + east).tolist()).with_course()
    assert made.yaw_from == "course"
    assert made.yaw_deg[10] == pytest.approx(90, abs=0.5)
    assert made.yaw_deg[90] == pytest.approx(0, abs=0.5)
    assert 0 < made.yaw_deg[49] < 90


def test_what_stands_has_no_course() -> None:
    noise = np.random.default_rng(1).normal(0, 0.3 * NORTH, 50)
    made = track(list(range(50)), (45 + noise).tolist()).with_course()
    assert made.yaw_from == ""
    assert np.isnan(made.yaw_deg).all()


def test_a_pose_with_swapped_coordinates_is_refused() -> None:
    with pytest.raises(PointsError, match="swapped"):
        Pose(31.2, 121.6)
    with pytest.raises(PointsError, match="yaw_deg of a pose must be a number"):
        Pose(7, 45, yaw_deg=float("nan"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=True, allow_infinity=True, width=32),
            st.floats(allow_nan=True, allow_infinity=True, width=32),
            st.floats(allow_nan=True, allow_infinity=True, width=32),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_whatever_comes_rows_are_kept_or_counted(rows: list[tuple[float, float, float]]) -> None:
    t, lat, lon = (list(column) for column in zip(*rows, strict=True))
    try:
        made = track(t, lat, lon)
    except PointsError:
        return
    assert len(made) + sum(made.dropped.values()) == len(rows)
    assert (np.diff(made.t_s) > 0).all()
    pose = made.at(float(made.t_s[0]))
    assert pose is not None


def test_beyond_the_last_row_the_position_goes_on_and_is_less_sure() -> None:
    made = track([0, 1, 2], [45, 45 + 10 * NORTH, 45 + 20 * NORTH])
    pose, within = made.at(2.8), made.at(1.8)
    assert pose is not None
    assert within is not None
    assert (pose.lat_deg - 45) / NORTH == pytest.approx(28, abs=0.1)
    assert pose.position_m > within.position_m + 1
    before = made.at(-0.5)
    assert before is not None
    assert (before.lat_deg - 45) / NORTH == pytest.approx(-5, abs=0.1)


def test_one_row_stands_still() -> None:
    pose = track([5]).at(5.9)
    assert pose is not None
    assert (pose.lon_deg, pose.lat_deg, pose.position_m) == (7.0, 45.0, 2.5)
