"""The rolling heat-map: at any moment what rasterising the points of the window would give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadedge.errors import ShapeError, SpecMismatchError, UsageError
from roadedge.place import Place
from roadedge.spec import HeatmapSpec
from roadedge.trajectory.heatmap import count_points, rasterize
from roadedge.trajectory.points import project_visible
from roadedge.trajectory.rolling import BLOCK, RollingHeatmap

SIZE = (60, 80)
HERE = Place.nadir((10.0, -5.0), 0.5, SIZE)  # its upper left corner lies on the grid of half metres


def ground_points(number: int, seed: int = 0, spread_m: float = 40.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal((10, -5), spread_m, (number, 2))


def rolling(points: NDArray[np.float64], t_s: NDArray[np.float64] | None = None, now_s: float = 0.0) -> RollingHeatmap:
    world = RollingHeatmap(0.5, 10.0)
    world.add(points, t_s, now_s)
    return world


def test_an_aligned_window_equals_rasterising_the_points() -> None:
    points = ground_points(5000)
    world = rolling(points)
    assert (world.counts(HERE, SIZE) == count_points(HERE.to_image(points), SIZE)).all()
    spec = HeatmapSpec()
    assert (world.heatmap(HERE, SIZE, spec) == rasterize(HERE.to_image(points), SIZE, spec)).all()


@pytest.mark.parametrize("shift_px", [(0, 0), (3, -7), (BLOCK, BLOCK), (-700, 900), (10_000, 0)])
def test_aligned_windows_anywhere(shift_px: tuple[int, int]) -> None:
    points = ground_points(20_000, spread_m=150)
    place = HERE.shifted(*shift_px)
    assert (rolling(points).counts(place, SIZE) == count_points(place.to_image(points), SIZE)).all()


# Within cells: on a border the two orders of the same arithmetic may round to either side of it.
metres = st.integers(-240, 240).map(lambda quarter: quarter / 4 + 0.125)


@given(
    batches=st.lists(st.lists(st.tuples(metres, metres, st.floats(-20, 60)), max_size=12), max_size=12),
    steps=st.lists(st.floats(0, 8), min_size=12, max_size=12),
)
@settings(deadline=None)
def test_points_enter_and_age_out_as_the_definition_says(
    batches: list[list[tuple[float, float, float]]], steps: list[float]
) -> None:
    world = RollingHeatmap(0.5, 10.0)
    place, size = Place.nadir((0, 0), 0.5, (260, 260)), (260, 260)
    accepted = np.zeros((0, 3))
    now = 0.0
    for batch, step in zip(batches, steps, strict=False):
        now += step
        rows = np.array(batch, np.float64).reshape(-1, 3)
        world.add(rows[:, :2], rows[:, 2], now)
        accepted = np.concatenate([accepted, rows[rows[:, 2] >= now - 10]])
        present = accepted[(accepted[:, 2] >= now - 10) & (accepted[:, 2] <= now)]
        assert world.points_in_window == len(present)
        assert (world.counts(place, size) == count_points(place.to_image(present[:, :2]), size)).all()
    sent = sum(len(batch) for batch in batches)
    assert sent == len(accepted) + world.dropped["late"]
    world.advance(1e6)
    assert world.points_in_window == 0
    assert world.memory_bytes == 0


def test_both_ends_of_the_window_belong_to_it() -> None:
    world = rolling(np.zeros((3, 2)), np.array([0.0, 10.0, 20.0]), 10.0)
    assert world.points_in_window == 2
    world.advance(np.nextafter(10.0, 11))
    assert world.points_in_window == 1
    world.advance(20.0)
    assert world.points_in_window == 2
    world.advance(np.nextafter(20.0, 21))
    assert world.points_in_window == 1


def test_late_points_enter_in_the_window_and_leave_with_their_time() -> None:
    world = rolling(np.zeros((1, 2)), np.array([9.0]), 10.0)
    world.add(np.zeros((2, 2)), np.array([1.0, -0.5]), 10.0)
    assert world.points_in_window == 2
    assert world.dropped == {"late": 1}
    world.add(np.zeros((1, 2)), np.array([2.0]), 11.5)
    assert world.points_in_window == 2  # that of 1 s has left


def test_the_clock_never_goes_back() -> None:
    world = rolling(np.zeros((1, 2)), np.array([5.0]), 10.0)
    world.advance(3.0)
    assert world.now_s == 10.0
    assert world.points_in_window == 1


def test_points_without_a_time_are_of_their_arrival() -> None:
    world = rolling(np.zeros((4, 2)), None, 7.0)
    world.advance(17.0)
    assert world.points_in_window == 4
    world.advance(17.1)
    assert world.points_in_window == 0


def test_bad_points_are_dropped_and_counted() -> None:
    world = RollingHeatmap(0.5, 10.0, horizon_s=60.0)
    xy = np.array([[0, 0], [np.nan, 0], [0, np.inf], [0, 0], [1e300, 0], [0, 0], [0, 0], [0, 0]])
    world.add(xy, np.array([100, 100, 100, np.nan, 100, 1, 161, 1e300]), 100.0)
    assert world.points_in_window == 1
    assert world.dropped == {"not_finite": 3, "out_of_range": 2, "late": 1, "early": 1}


def test_a_window_without_end_keeps_all_and_remembers_none_of_their_times() -> None:
    world = RollingHeatmap(0.5, None)
    world.add(ground_points(1000), np.arange(1000.0), 1e9)
    assert world.points_in_window == 1000
    raster_bytes = world.memory_bytes
    world.add(ground_points(1000), np.arange(1000.0), 2e9)
    assert world.points_in_window == 2000
    assert world.memory_bytes == raster_bytes


def test_memory_does_not_grow_over_a_long_flight() -> None:
    world = RollingHeatmap(0.5, 10.0)
    rng = np.random.default_rng(0)
    peaks = []
    for second in range(600):
        place_m = np.array([20.0 * second, 0.0])
        world.add(place_m + rng.normal(0, 30, (50, 2)), second + rng.uniform(-1, 0, 50), float(second))
        peaks.append(world.memory_bytes)
    assert world.points_in_window <= 550
    assert max(peaks[300:]) <= 1.5 * max(peaks[:100])


def test_limits_bound_the_memory_and_count_what_they_cost() -> None:
    world = RollingHeatmap(0.5, 10.0, max_points=100)
    world.add(ground_points(150), None, 0.0)
    assert world.points_in_window == 100
    assert world.dropped == {"capacity": 50}
    world.add(ground_points(150), None, 20.0)  # the first have left
    assert world.points_in_window == 100
    scattered = RollingHeatmap(0.5, 10.0, max_blocks=3)
    scattered.add(np.arange(10)[:, None] * [1000.0, 0.0], None, 0.0)
    assert scattered.points_in_window == 3
    assert scattered.dropped == {"capacity": 7}
    scattered.advance(100.0)
    assert scattered.memory_bytes == 0


@pytest.mark.parametrize("heading_deg", [0.0, 30.0, 90.0, 200.0])
@pytest.mark.parametrize("gsd_m", [0.5, 0.8])
def test_a_turned_window_loses_and_doubles_no_point(heading_deg: float, gsd_m: float) -> None:
    points = ground_points(3000, spread_m=3.0)  # all well inside
    place = Place.nadir((10, -5), gsd_m, (120, 120), heading_deg)
    counts = rolling(points).counts(place, (120, 120))
    assert counts.sum() == 3000
    exact = count_points(place.to_image(points), (120, 120))
    centre, centre_exact = (np.argwhere(c).mean(axis=0) for c in (counts, exact))
    assert np.abs(centre - centre_exact).max() < 0.5


def test_a_turned_window_is_rasterising_the_centres_of_cells() -> None:
    points = ground_points(2000)
    place = Place.nadir((13, 2), 0.7, (90, 100), 35.0)
    centres = (np.floor(points / 0.5) + 0.5) * 0.5
    assert (rolling(points).counts(place, (90, 100)) == count_points(place.to_image(centres), (90, 100))).all()


def oblique() -> tuple[Place, tuple[int, int]]:
    """A camera 10 m up that looks north and down by 20 degrees: the horizon is in the image."""
    width, height, focal = 200, 150, 120.0
    down = np.deg2rad(20)
    # Columns: world axes east, north, up in the camera's right, down, forward; ground at height zero.
    rotation = np.array([[1, 0, 0], [0, -np.sin(down), -np.cos(down)], [0, np.cos(down), -np.sin(down)]])
    camera = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    position = np.array([0.0, 0.0, 10.0])
    ground_to_image = camera @ np.column_stack([rotation[:, 0], rotation[:, 1], -rotation @ position])
    return Place(np.linalg.inv(ground_to_image)), (height, width)


def test_an_oblique_camera_does_not_see_what_is_behind_it() -> None:
    place, size = oblique()
    ahead, behind = np.array([[0.0, 30.0]]), np.array([[0.0, -30.0]])
    assert rolling(ahead).counts(place, size).sum() == 1
    assert rolling(behind).counts(place, size).sum() == 0
    pixels, in_front = project_visible(place, np.concatenate([ahead, behind]), size)
    assert in_front.tolist() == [True, False]
    assert np.isnan(pixels[1]).all()


def test_an_oblique_camera_with_the_horizon_in_view_counts_each_point_once() -> None:
    place, size = oblique()
    points = ground_points(5000, spread_m=60)
    centres = (np.floor(points / 0.5) + 0.5) * 0.5
    pixels, in_front = project_visible(place, centres, size)
    assert 0 < in_front.sum() < 5000
    assert (rolling(points).counts(place, size) == count_points(pixels, size)).all()


def test_an_empty_world_is_zeros() -> None:
    world = RollingHeatmap(0.5, 10.0)
    assert not world.counts(HERE, SIZE).any()
    assert not world.counts(Place.nadir((0, 0), 0.33, SIZE, 12.0), SIZE).any()


def test_wrong_use_is_said() -> None:
    world = RollingHeatmap(0.5, 10.0, crs="EPSG:32616")
    with pytest.raises(SpecMismatchError, match="EPSG:32616"):
        world.counts(HERE, SIZE)
    with pytest.raises(ShapeError, match=r"\(3, 3\)"):
        world.add(np.zeros((3, 3)), None, 0.0)
    with pytest.raises(UsageError, match="NaN"):
        world.advance(math.nan)
    with pytest.raises(UsageError, match="positive cell"):
        RollingHeatmap(0.0, 10.0)
