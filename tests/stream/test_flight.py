"""The synthetic flight: frames of one ground, a rolling heat-map equal to drawing the same points, no drift in time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.data.city import City
from roadedge.spec import HeatmapSpec, ModelSpec
from roadedge.stream.flight import CITY_SEED, RADIUS_PX, TRAFFIC_S, Flight
from roadedge.trajectory.heatmap import rasterize

SPEC = ModelSpec("fake")


@pytest.fixture(scope="module")
def flown() -> Flight:
    """A flight of small frames; the ground costs a second or two, so tests share it and read from frame 0 on."""
    flight = Flight((64, 96), 2.0)
    flight.prepare()
    return flight


def restart(flight: Flight) -> Flight:
    flight._index, flight._rolling = 0, None
    return flight


def test_frames_are_windows_of_the_city_with_their_truth(flown: Flight) -> None:
    flight = restart(flown)
    flight.skip(6)
    frame = flight.read()
    assert frame is not None
    assert frame.name == "000006"
    assert frame.sample.t_s == 3.0
    x, y = flight.corner(3.0)
    window = City(CITY_SEED, 0.46).window(x, y, 96, 64)
    assert np.array_equal(np.asarray(frame.sample.image), window.image)
    assert frame.truth is not None
    assert (frame.truth == window.mask).all()


def test_the_heat_map_is_that_of_the_points_of_the_last_minute(flown: Flight) -> None:
    flight = restart(flown)
    for index in range(0, 20, 4):  # some frames are dropped on the way
        frame = flight.read()
        assert frame is not None
        assert frame.sample.t_s is not None
        second = flight.second(frame, SPEC)
        points = np.concatenate([rows for rows in _last_minute(flight, frame.sample.t_s)])
        x, y = flight.corner(frame.sample.t_s)
        expected = rasterize(points - [x, y, 0], (64, 96), SPEC.heatmap)
        assert (second.raster == expected).all(), index
        assert second.skew_ms is not None
        assert 0 <= second.skew_ms < 60_000
        flight.skip(3)


def _last_minute(flight: Flight, now_s: float) -> list[NDArray[np.float64]]:
    times = flight._traffic[:, 2].astype(np.float64)
    laps = (times - TRAFFIC_S, times, times + TRAFFIC_S)
    return [flight._traffic[(lap >= now_s - 60) & (lap <= now_s)].astype(np.float64) for lap in laps]


def test_a_networks_own_window_and_grid_are_kept(flown: Flight) -> None:
    flight = restart(flown)
    frame = flight.read()
    assert frame is not None
    spec = dataclasses.replace(SPEC, gsd_m=0.92, gsd_band_m=None, heatmap=HeatmapSpec(window_s=5.0))
    second = flight.second(frame, spec)
    assert second.raster.shape == (32, 48)
    minute = restart(flown).second(frame, SPEC)
    assert second.points is not None
    assert minute.points is not None
    assert second.points <= minute.points


def test_the_lap_stays_on_its_ground_and_moves_all_the_time(flown: Flight) -> None:
    corners = np.array([flown.corner(t / 4) for t in range(1200)])
    assert corners.min() >= 0
    assert corners.max() <= 2 * RADIUS_PX
    steps = np.hypot(*np.diff(corners, axis=0).T)
    assert 5 < steps.min()
    assert steps.max() < 12  # 15 m/s are 8 pixels in a quarter of a second


def test_a_flight_has_no_end_and_waits_for_nobody(flown: Flight) -> None:
    flight = restart(flown)
    assert flight.live
    assert flight.skip(100_000) == 100_000
    assert flight.read() is not None
