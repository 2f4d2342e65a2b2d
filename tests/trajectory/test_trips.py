"""Synthetic trips follow their stated noise model."""

import numpy as np
import pytest

from roadedge.errors import UsageError
from roadedge.trajectory.trips import (
    LIVE,
    WEEK_S,
    TripModel,
    Way,
    along_line,
    area_shift,
    clutter,
    drift,
    drive,
    has_traffic,
)

STRAIGHT = Way(np.array([[0.0, 0.0], [400.0, 0.0]]), half_width_m=6.0, passes_per_week=3000)
EXACT = TripModel(bias_sd_m=0, white_sd_m=0, outlier_share=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_without_gps_error_every_vehicle_keeps_to_its_right() -> None:
    points = drive([STRAIGHT], rng(), EXACT)
    offset = np.abs(points[:, 1])
    assert len(points) > 3000
    assert offset.min() >= 0.1 * 6 - 1e-9
    assert offset.max() <= 0.7 * 6 + 1e-9
    assert 0.4 < np.mean(points[:, 1] > 0) < 0.6  # both directions


def test_who_keeps_right_going_east_is_found_below_the_line_and_who_keeps_left_above() -> None:
    one = Way(STRAIGHT.line_m, 6.0, 60)
    for keeps_right in (True, False):
        points = drive([one], rng(1), TripModel(intervals_s=(1.0,), interval_shares=(1.0,), bias_sd_m=0, white_sd_m=0,
                                              outlier_share=0, speed_jitter=0, keeps_right=keeps_right))  # fmt: skip
        follows = np.flatnonzero(np.abs(np.diff(points[:, 2]) - 1.0) < 1e-6)  # next point of the same pass
        eastward = points[follows + 1, 0] > points[follows, 0]
        below = points[follows, 1] > 0  # y points down
        assert np.all(eastward == below) if keeps_right else np.all(eastward != below)


def test_the_gps_error_has_the_stated_size() -> None:
    model = TripModel(outlier_share=0, side=(0.0, 1e-9))
    offset = drive([STRAIGHT], rng(2), model)[:, 1]
    assert abs(offset.std() - np.hypot(4.0, 2.5)) < 0.35


def test_no_point_lies_beyond_the_reach() -> None:
    points = drive([STRAIGHT], rng(3), TripModel())
    assert np.abs(points[:, 1]).max() <= TripModel().reach_m + STRAIGHT.half_width_m
    assert np.mean(np.abs(points[:, 1]) > 20) > 0.003  # outliers exist


def test_points_of_a_pass_are_one_interval_apart_and_speeds_are_those_of_cars() -> None:
    model = TripModel(intervals_s=(2.0,), interval_shares=(1.0,), bias_sd_m=0, white_sd_m=0, outlier_share=0)
    points = drive([Way(STRAIGHT.line_m, 6.0, 100)], rng(4), model)
    gap = np.diff(points[:, 2])
    same = np.abs(gap - 2.0) < 1e-6
    assert same.mean() > 0.8
    step_m = np.abs(np.diff(points[:, 0])[same])
    assert 10 < np.median(step_m) < 22  # 8 m/s for 2 s


def test_the_number_of_points_grows_with_the_passes() -> None:
    few = len(drive([Way(STRAIGHT.line_m, 6.0, 300)], rng(5), TripModel()))
    many = len(drive([Way(STRAIGHT.line_m, 6.0, 3000)], rng(5), TripModel()))
    assert 7 < many / few < 13


def test_a_shorter_time_holds_fewer_points_that_start_in_it() -> None:
    points = drive([STRAIGHT], rng(6), LIVE, 1000.0, 1000.0 + WEEK_S / 20)
    assert points[:, 2].min() >= 1000.0
    assert points[:, 2].max() < 1000.0 + WEEK_S / 20 + 400 / 1.5


def test_the_same_generator_gives_the_same_trips() -> None:
    assert drive([STRAIGHT], rng(7), TripModel()).tobytes() == drive([STRAIGHT], rng(7), TripModel()).tobytes()


def test_narrow_roads_go_unreported_more_often() -> None:
    generator, model = rng(8), TripModel()
    lane, avenue = Way(STRAIGHT.line_m, 2.5, 1), Way(STRAIGHT.line_m, 9.0, 1)
    missing = [1 - np.mean([has_traffic(way, generator, model) for _ in range(2000)]) for way in (lane, avenue)]
    assert abs(missing[0] - 0.35) < 0.04
    assert abs(missing[1] - 0.06) < 0.02


def test_clutter_drift_and_shift_stay_where_they_are_told() -> None:
    model = TripModel()
    parked = clutter(np.array([100.0, -50.0]), 20.0, 500, rng(9), model)
    assert 400 < len(parked) < 600
    assert np.abs(parked[:, :2] - [100, -50]).max() < 60
    lost = drift(np.array([-500.0, 0.0]), 1000.0, rng(10), model)
    assert 200 < len(lost) < 370
    assert np.all((lost[:, 0] >= -500) & (lost[:, 0] < 500))
    assert np.abs(area_shift(rng(11), model)).max() <= 3.0


def test_a_bent_line_is_followed_around_its_corner() -> None:
    line = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]])
    point, normal = along_line(line, np.array([5.0, 15.0]))
    assert np.allclose(point, [[5, 0], [10, 5]])
    assert np.allclose(normal, [[0, 1], [-1, 0]])


def test_several_ways_are_driven_at_once_each_by_its_own_share() -> None:
    far = Way(np.array([[0.0, 1000.0], [0.0, 1300.0], [300.0, 1300.0]]), 3.0, 600)
    points = drive([STRAIGHT, far], rng(12), EXACT)
    near = points[:, 1] < 500
    assert 2 < near.sum() / (~near).sum() < 6  # five times the passes, two thirds of the length
    assert np.abs(points[near, 1]).max() <= 0.7 * 6 + 1e-9
    on_far = points[~near]
    assert np.minimum(np.abs(on_far[:, 0]), np.abs(on_far[:, 1] - 1300)).max() <= 0.7 * 3 + 1e-9
    assert on_far[:, 0].max() > 200  # around the corner


def test_no_ways_give_no_points() -> None:
    assert drive([], rng(), TripModel()).shape == (0, 3)


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(UsageError, match="add up to 1"):
        TripModel(interval_shares=(0.5, 0.5, 0.5, 0.5))


def test_a_sampling_interval_of_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="positive"):
        TripModel(intervals_s=(0.0, 60.0, 180.0, 300.0))


def test_a_way_of_one_point_is_refused() -> None:
    with pytest.raises(UsageError, match="at least two"):
        Way(np.zeros((1, 2)), 3.0, 10)
