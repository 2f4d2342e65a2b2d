"""Poses that come one by one: what is left out, what is held, and what is forgotten."""

from __future__ import annotations

import math
from typing import Any

import pytest

from roadedge.georeference.live_track import HELD_ROWS, LiveRow, LiveTrack
from roadedge.trajectory.plane import LocalPlane

PLANE = LocalPlane(7.0, 45.0)
START_S = 1.7e9


def row(t_s: float, east: float = 0.0, north: float = 0.0, **known: Any) -> LiveRow:
    lon, lat = PLANE.to_lonlat([[east, north]])[0].tolist()
    return LiveRow(START_S + t_s, lon, lat, **known)


def track(*rows: LiveRow, now_s: float = START_S) -> LiveTrack:
    made = LiveTrack()
    for one in rows:
        made.add(one, now_s)
    return made


def northward(seconds: int, **known: Any) -> LiveTrack:
    return track(*(row(t, 0.0, 10.0 * t, **known) for t in range(seconds + 1)))


def metres(made: LiveTrack, t_s: float, tolerance_s: float = 2.0) -> list[float] | None:
    pose = made.at(START_S + t_s, tolerance_s)
    return None if pose is None else PLANE.from_lonlat([[pose.lon_deg, pose.lat_deg]])[0].tolist()


def yaw(made: LiveTrack, t_s: float) -> float | None:
    pose = made.at(START_S + t_s, 2.0)
    assert pose is not None
    return pose.yaw_deg


def test_between_fixes_and_a_little_beyond_the_last_there_is_a_pose() -> None:
    made = northward(5)
    assert metres(made, 2.5) == pytest.approx([0, 25], abs=0.01)
    assert metres(made, 6.0) == pytest.approx([0, 60], abs=0.01)  # at the speed of the last step
    beyond, between = made.at(START_S + 6.0, 2.0), made.at(START_S + 4.5, 2.0)
    assert beyond is not None
    assert between is not None
    assert beyond.position_m == pytest.approx(math.hypot(between.position_m, 5.0), abs=0.01)


def test_before_the_first_fix_after_the_last_and_in_a_hole_there_is_none_and_why_is_said() -> None:
    assert LiveTrack().at(START_S) is None
    assert LiveTrack().why_not(START_S, 2.0) == ("before the first fix", "no telemetry has come yet")
    made = track(row(10), row(30))
    for t_s, reason in ((5.0, "before the first fix"), (20.0, "hole in the telemetry"), (40.0, "telemetry stopped")):
        assert metres(made, t_s) is None
        assert made.why_not(START_S + t_s, 2.0)[0] == reason
    assert "10.0 s older" in made.why_not(START_S + 40.0, 2.0)[1]


def test_what_is_no_position_is_left_out_and_counted() -> None:
    made = track(
        row(0), LiveRow(math.nan, 7, 45), LiveRow(START_S, math.nan, 45), LiveRow(START_S + 1, 0, 0),
        LiveRow(START_S + 1, 7, 90), LiveRow(START_S + 1, 181, 45), row(61), row(1), row(1), row(0.5), row(2, 500),
    )  # fmt: skip
    assert dict(made.dropped) == {"nan": 2, "no_fix": 1, "out_of_range": 2, "early": 1, "backward": 2, "jump": 1}
    assert (made.taken, len(made)) == (2, 2)
    assert "set it, or take udp://HOST:PORT?time=arrival" in made.notices()[0]


def test_a_false_first_fix_costs_only_itself() -> None:
    made = track(row(0, 90_000.0), row(1), row(2), row(3))
    assert metres(made, 2.0) == pytest.approx([0, 0], abs=0.01)
    assert made.taken - len(made) == 1
    assert dict(+made.dropped) == {}
    assert made.noticed["restart"] == 1


def test_a_fix_of_the_near_future_does_not_stop_those_after_it() -> None:
    made = track(row(0), row(50), row(1), row(2), row(3), row(4))
    assert metres(made, 4.0) is not None
    assert made.noticed["restart"] == 1


def test_two_receivers_on_one_port_are_not_mixed() -> None:
    made = track(*(one for t in range(10) for one in (row(t, 0, t), row(t + 0.5, 5000, t))))
    assert made.dropped["jump"] == 10
    assert metres(made, 8.5) == pytest.approx([0, 8.5], abs=0.01)


def test_the_way_stands_for_a_yaw_and_is_held_while_the_vehicle_stands() -> None:
    made = track(row(0), row(1, 0, 1), row(2, 0, 2))
    assert yaw(made, 2.0) is None  # it has not gone far enough
    made.add(row(3, 3.5, 3.5), START_S)
    assert yaw(made, 3.0) == pytest.approx(45.0, abs=0.1)
    for t_s in range(4, 60):
        made.add(row(t_s, 3.5 + 0.1 * (t_s % 2), 3.5), START_S)
    assert yaw(made, 59.0) == pytest.approx(45.0, abs=0.1)
    assert made.noticed["course_held"] == 56
    assert "stood in 56 of 60 fixes" in made.notices()[1]


def test_a_receiver_that_wanders_while_it_stands_does_not_turn_the_camera() -> None:
    made = northward(3)
    for t_s in range(4, 44):
        made.add(row(t_s, 0.1 * (t_s - 3), 30.0), START_S)  # 4 m in 40 s
    assert yaw(made, 43.0) == pytest.approx(0.0, abs=0.1)


def test_the_receivers_own_course_counts_from_walking_speed_on() -> None:
    made = track(row(0, course_deg=90.0, speed_mps=2.0), row(1, 2.0, 0, course_deg=200.0, speed_mps=0.3))
    assert yaw(made, 0.0) == pytest.approx(90.0)
    assert yaw(made, 1.0) == pytest.approx(90.0)
    made.add(row(2, 4.0, 0.0), START_S)
    made.steer(80.0, 5.0)  # its RMC came after its GGA
    assert yaw(made, 2.0) == pytest.approx(80.0)
    made.steer(10.0, 0.2)
    assert yaw(made, 2.0) == pytest.approx(80.0)


def test_a_single_fix_is_carried_on_by_its_own_speed_and_course() -> None:
    made = track(row(0, course_deg=90.0, speed_mps=12.0))
    assert metres(made, 0.5) == pytest.approx([6, 0], abs=0.01)
    assert metres(made, -0.5) == pytest.approx([-6, 0], abs=0.01)
    assert made.at(START_S + 0.5, 2.0).position_m > 3.8  # type: ignore[union-attr]
    east = LiveTrack()
    east.add(LiveRow(START_S, 179.99999, 45.0, course_deg=90.0, speed_mps=12.0), START_S)
    assert east.at(START_S + 1, 2.0).lon_deg < -179.9  # type: ignore[union-attr]
    assert metres(track(row(0, speed_mps=12.0)), 0.5) == pytest.approx([0, 0], abs=0.01)


def test_courses_are_mixed_the_shorter_way_round() -> None:
    made = track(row(0, course_deg=350.0, speed_mps=9.0), row(1, 0, 9, course_deg=10.0, speed_mps=9.0))
    assert yaw(made, 0.5) == pytest.approx(0.0, abs=1e-6)


def test_a_yaw_of_the_telemetry_takes_the_place_of_the_course() -> None:
    made = northward(3)
    assert made.yaw_from == "course"
    made.add(row(4, 0, 40, yaw_deg=120.0, pitch_deg=-60.0), START_S)
    pose = made.at(START_S + 4, 1.0)
    assert pose is not None
    assert (pose.yaw_deg, pose.yaw_from, pose.pitch_deg) == (120.0, "flight", -60.0)
    assert made.at(START_S + 2, 0.5).yaw_deg is None  # type: ignore[union-attr]
    assert made.tilts


def test_memory_is_bounded_and_the_latest_rows_are_held() -> None:
    made = LiveTrack()
    before = made._table.nbytes
    count = 3 * HELD_ROWS + 7
    for i in range(count):
        made.add(LiveRow(START_S + i * 0.1, 7.0, 45.0 + i * 1e-6), START_S + i * 0.1)
    assert made._table.nbytes == before
    assert len(made) == HELD_ROWS
    assert made.taken == count
    for ago in (0, HELD_ROWS // 2, HELD_ROWS - 1):
        pose = made.at(START_S + (count - 1 - ago) * 0.1, 0.5)
        assert pose is not None
        assert pose.lat_deg == pytest.approx(45.0 + (count - 1 - ago) * 1e-6, abs=1e-9)
    assert made.at(START_S + (count - HELD_ROWS) * 0.1 - 3, 2.0) is None
