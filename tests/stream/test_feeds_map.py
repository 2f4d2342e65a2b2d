"""Feeds on the ground: the heat-map of a frame is that of the same points drawn by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import SpecMismatchError
from roadedge.place import Place
from roadedge.spec import HeatmapSpec
from roadedge.stream.feeds import FeedOptions, open_feed
from roadedge.stream.feeds_file import PriorFeed, ReplayFeed
from roadedge.stream.synchronisation import FeedPairing
from roadedge.trajectory.heatmap import rasterize
from roadedge.trajectory.plane import LocalPlane
from tests.stream.feed_fakes import (
    PLANE,
    SIZE,
    SPEC,
    UTC_S,
    Frames,
    Host,
    LiveFeed,
    by_hand,
    count_inside,
    frame,
    north_up,
    recorded,
    scattered,
)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.tuples(st.integers(-60, 60), st.integers(-60, 60)), min_size=1, max_size=6))
def test_the_heat_map_is_that_of_the_points_of_the_window_drawn_by_hand(
    seed: int, steps: list[tuple[int, int]]
) -> None:
    """A camera that moves by whole pixels, north up: equal to the last bit, a prior and a replay together."""
    before, xy = scattered(seed, 300), scattered(seed + 1, 400)
    t_s = np.random.default_rng(seed).uniform(0, 30, 400)
    feeds = [PriorFeed("p", recorded([0.0] * 300, before)), ReplayFeed("r", recorded(t_s.tolist(), xy))]
    pairing = FeedPairing(feeds, Frames(), tolerance_s=math.inf)
    first_s = float(t_s.min())
    x = y = 0
    for number, (right, down) in enumerate(steps):
        now_s, x, y = 4.0 * number, x + right, y + down
        place = north_up(0.5 * x, -0.5 * y)
        second = pairing.second(frame(now_s, place), SPEC)
        of_window = xy[(t_s <= first_s + now_s) & (t_s >= first_s + now_s - 10)]
        visible = np.concatenate([before, of_window])
        assert np.array_equal(second.raster, by_hand(visible, place))
        assert second.points == count_inside(place.to_image(visible))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 360), st.floats(0.2, 1.5), st.floats(-30, 30))
def test_seen_from_any_side_and_height_no_point_is_lost_or_moved_by_more_than_half_a_pixel(
    seed: int, heading_deg: float, gsd_m: float, x: float
) -> None:
    point = scattered(seed, 1, 5.0) + np.array([x, 0.0])
    pairing = FeedPairing([PriorFeed("p", recorded([0.0], point))], Frames())
    for step in range(5):  # it climbs and turns
        place = Place.nadir((x, 0.0), gsd_m * 1.3**step, SIZE, heading_deg + 10 * step)
        second = pairing.second(frame(float(step), place), SPEC)
        at = place.to_image(point)[0]
        if (at > 2).all() and (at < np.array(SIZE[::-1]) - 2).all():
            assert second.points == 1
            row, column = np.unravel_index(int(second.raster.argmax()), SIZE)
            # half a pixel along the diagonal, from the nearest point of the pixel that has it
            apart = np.maximum(np.abs(at - [column + 0.5, row + 0.5]) - 0.5, 0)
            assert np.hypot(*apart) <= 0.5 + 1e-6


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(
        st.tuples(st.floats(0, 5), st.floats(-40, 40), st.floats(0, 360), st.floats(0.7, 1.4)), min_size=1, max_size=8
    ),
)
def test_on_any_flight_the_counts_are_those_of_the_window_up_to_the_border(
    seed: int, legs: list[tuple[float, float, float, float]]
) -> None:
    """Rebuilt or not, turned or not: all points a pixel within the frame are counted, none a pixel outside."""
    xy, t_s = scattered(seed, 500), np.sort(np.random.default_rng(seed).uniform(0, 30, 500))
    pairing = FeedPairing([ReplayFeed("r", recorded(t_s.tolist(), xy))], Frames(), tolerance_s=math.inf)
    now_s, x, gsd_m = 0.0, 0.0, 0.5
    for step_s, step_m, heading_deg, climb in legs:
        now_s, x, gsd_m = now_s + step_s, x + step_m, gsd_m * climb
        place = Place.nadir((x, -x / 2), gsd_m, SIZE, heading_deg)
        second = pairing.second(frame(now_s, place), SPEC)
        moment_s = float(t_s.min()) + now_s
        pixels = place.to_image(xy[(t_s <= moment_s) & (t_s >= moment_s - 10)])
        within, about = (((pixels >= edge) & (pixels < np.array(SIZE[::-1]) - edge)).all(axis=1) for edge in (1, -1))
        assert second.points is not None
        assert np.count_nonzero(within) <= second.points <= np.count_nonzero(about)


def test_a_tilted_camera_that_sees_the_horizon_gets_what_lies_near() -> None:
    """32 pixels above the lower edge lies the horizon; 20 m ahead a point, 5 km ahead a city."""
    tilted = Place(np.array([[0.5, 0, -16.0], [0, 0, 16.0], [0, 1 / 16, -1.0]]))  # y = 16 / (v / 16 - 1)
    city = np.random.default_rng(0).uniform([-1000, 5000], [1000, 7000], (5000, 2))
    pairing = FeedPairing([PriorFeed("p", recorded([0.0] * 5001, np.vstack([[[0.3, 20.0]], city])))], Frames())
    second = pairing.second(frame(0.0, tilted), SPEC)
    assert second.points == 1
    assert pairing.describe()["feeds"][0]["memory_mb"] < 1
    level = Place(np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 1 / 24, -1.0]]))  # the horizon runs through the middle
    assert pairing.second(frame(1.0, level), SPEC).points is not None


def test_a_climbing_drone_reuses_its_raster_until_the_scale_has_changed_by_half() -> None:
    pairing = FeedPairing([PriorFeed("p", recorded([0.0] * 2000, scattered(3, 2000, 200.0)))], Frames())
    for step in range(100):  # to 2.7 times its height
        place = Place.nadir((0.1 * step, 0.0), 0.2 * 1.01**step, SIZE, 30.0)
        pairing.second(frame(float(step), place), SPEC)
    assert 3 <= pairing.describe()["feeds"][0]["rebuilds"] <= 5


def test_a_camera_that_flies_on_finds_the_points_that_came_when_they_were_out_of_view() -> None:
    feed = LiveFeed()
    pairing = FeedPairing([feed], Frames(UTC_S), host=Host(), tolerance_s=math.inf)
    far = np.array([[2005.0, -5.0]])
    feed.arrive([UTC_S], far)
    assert pairing.second(frame(0.0, north_up()), SPEC).points == 0
    feed.arrive([UTC_S + 1], far)
    assert pairing.second(frame(1.0, north_up()), SPEC).points == 0
    assert pairing.second(frame(2.0, north_up(2000.0)), SPEC).points == 2
    assert pairing.second(frame(10.5, north_up()), SPEC).points == 0
    assert pairing.second(frame(10.5, north_up(2000.0)), SPEC).points == 1  # the first is older than the window


def test_the_networks_grid_counts_and_not_the_frames() -> None:
    spec = dataclasses.replace(SPEC, gsd_m=1.0)
    xy = scattered(4, 200)
    place = north_up()
    second = FeedPairing([PriorFeed("p", recorded([0.0] * 200, xy))], Frames()).second(frame(0.0, place), spec)
    assert second.raster.shape == (24, 32)
    assert np.array_equal(second.raster, by_hand(xy, place.scaled(0.5, 0.5), (24, 32)))


def test_points_in_pixels_need_no_place() -> None:
    xy = np.random.default_rng(0).uniform(-5, 70, (300, 2))
    pairing = FeedPairing([PriorFeed("p", recorded([0.0] * 300, xy, "pixel"))], Frames())
    second = pairing.second(frame(0.0, None), SPEC)
    assert np.array_equal(second.raster, rasterize(xy, SIZE, SPEC.heatmap))
    assert pairing.frames["no_place"] == 1


def test_lonlat_utm_and_the_plane_meet_within_a_millimetre(tmp_path: Path) -> None:
    pytest.importorskip("pyproj", reason="pyproj is not installed")
    import pyproj

    lonlat = np.array([PLANE.lon_deg, PLANE.lat_deg]) + scattered(5, 500, 1.0) * [5e-4, 5e-4]
    utm = np.stack(pyproj.Transformer.from_crs(4326, 32616, always_xy=True).transform(*lonlat.T), axis=1)
    place = Place.nadir((3.0, 4.0), 0.7, SIZE, 0.0, PLANE.crs)
    expected = rasterize(place.to_image(PLANE.from_lonlat(lonlat)), SIZE, SPEC.heatmap)
    for columns, rows, options in (("lon,lat", lonlat, FeedOptions()), ("x,y", utm, FeedOptions("EPSG:32616"))):
        file = tmp_path / f"{columns}.csv"
        file.write_text(columns + "\n" + "\n".join(f"{x:.12g},{y:.12g}" for x, y in rows))
        for plane in (None, PLANE):  # learned from the first place, or known before
            second = FeedPairing([open_feed(str(file), options)], Frames(), plane=plane).second(frame(0.0, place), SPEC)
            assert second.points == count_inside(place.to_image(PLANE.from_lonlat(lonlat)))
            assert np.mean(second.raster != expected) < 0.02, (columns, plane)  # a point at a pixel's edge


def test_planes_without_a_name_do_not_meet_others() -> None:
    pairing = FeedPairing([PriorFeed("p", recorded([0.0]))], Frames())
    with pytest.raises(SpecMismatchError, match="nobody knows how the two lie"):
        pairing.second(frame(0.0, north_up(crs=PLANE.crs)), SPEC)
    with pytest.raises(SpecMismatchError, match="--points-crs"):
        FeedPairing([PriorFeed("p", recorded([0.0]))], Frames(), plane=PLANE)


def test_the_shuttles_of_chicago_replayed_as_a_fleet(real_data: Path, tmp_path: Path) -> None:
    """120 trips of April 2011 in UTM metres, moved to begin a second apart, under a camera that goes where most are."""
    pytest.importorskip("pyproj", reason="pyproj is not installed")
    file = tmp_path / "fleet.csv"
    rows = _trips(real_data / "chicago" / "tracks_chicago.zip", 120)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["vid", "x", "y", "t"])
    table.writerows(rows)
    file.write_text(text.getvalue())
    feed = open_feed(f"replay:{file}", FeedOptions("EPSG:32616"))
    assert feed.utc
    assert feed.noticed["backward"] == 0
    start_s = feed.first_s or 0.0
    pairing = FeedPairing([feed], Frames(start_s))
    xy, t_s = np.array([row[1:3] for row in rows]), np.array([row[3] for row in rows])
    import pyproj

    lonlat = np.stack(pyproj.Transformer.from_crs(32616, 4326, always_xy=True).transform(*xy.T), axis=1)
    plane = LocalPlane.about(lonlat)
    metres = plane.from_lonlat(lonlat)
    spec, size = dataclasses.replace(SPEC, heatmap=HeatmapSpec(window_s=60.0)), (256, 256)
    for second_s in range(0, 600, 20):
        now_s = start_s + second_s
        window = metres[(t_s <= now_s) & (t_s >= now_s - 60)]
        corner = np.round(np.median(window, axis=0) / 0.46 - [128, -128]) * 0.46
        place = north_up(corner[0], corner[1], 0.46, plane.crs)
        second = pairing.second(frame(float(second_s), place, size), spec)
        assert second.skew_ms == pytest.approx(1e3 * np.abs(t_s - now_s).min(), abs=1e-3)
        assert second.paired
        expected = rasterize(place.to_image(window), size, spec.heatmap)
        if not second_s:  # its cells are the pixels of the first frame
            assert np.array_equal(second.raster, expected)
        assert second.points == count_inside(place.to_image(window), size)
        assert np.mean(np.abs(second.raster.astype(int) - expected)) < 0.15
    facts = pairing.describe()["feeds"][0]
    assert facts["alignment"] == "utc"
    assert not facts["dropped"]


def _trips(archive: Path, count: int) -> list[tuple[int, float, float, float]]:
    """vehicle, x, y, t of some trips, moved so that they begin within two minutes of one another."""
    rows = []
    with zipfile.ZipFile(archive) as packed:
        names = sorted(n for n in packed.namelist() if n.startswith("chicago/trips/trip_"))
        for number, name in enumerate(names[:count]):
            trip = [[float(v) for v in line.split()] for line in packed.read(name).decode().splitlines()]
            shift_s = 1301806255.0 + number - trip[0][2]
            rows += [(number, x, y, t + shift_s) for x, y, t in trip]
    return rows
