"""Roads as lines: traced once, put on the globe where that is known, cut at the horizon, never invented."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import DataError, MissingExtraError
from roadedge.place import Place
from roadedge.sample import RoadMask
from roadedge.stream.road_lines import Ground, RoadLine, RoadLines, trace_lines
from roadedge.trajectory.plane import LocalPlane
from tests.stream.results import PLANE, SIZE, nadir, result

ACROSS = np.array([[0.0, 48.0], [64.0, 48.0], [128.0, 48.0]])


def test_a_straight_road_is_one_line_down_its_middle() -> None:
    lines = trace_lines(result().mask, 0.5)
    assert len(lines) == 1
    assert np.abs(lines[0].pixels[:, 1] - 48).max() <= 1
    assert np.ptp(lines[0].pixels[:, 0]) > 100
    assert lines[0].confidence == pytest.approx(0.8)


@pytest.mark.parametrize("level", [1, 60, 128, 255])
def test_the_threshold_is_that_of_the_mask(level: int) -> None:
    probability = np.zeros(SIZE, np.uint8)
    probability[40:54] = level
    assert len(trace_lines(RoadMask(probability, probability > 0), None)) == 1
    assert trace_lines(RoadMask(probability, np.zeros(SIZE, bool)), None) == []


@pytest.mark.parametrize(("size", "gsd_m"), [((3000, 4000), 0.015), ((1500, 2000), None), ((40, 3000), 0.5)])
def test_a_large_picture_is_traced_small_and_its_lines_lie_in_its_own_pixels(
    size: tuple[int, int], gsd_m: float | None
) -> None:
    height, width = size
    probability = np.zeros(size, np.uint8)
    probability[height // 2 - height // 12 : height // 2 + height // 12] = 200
    begin = time.perf_counter()
    [line] = trace_lines(RoadMask(probability, probability >= 128), gsd_m)
    assert time.perf_counter() - begin < 3
    assert line.pixels[:, 1] == pytest.approx(np.full(len(line.pixels), height / 2), abs=height / 100 + 2)
    assert np.ptp(line.pixels[:, 0]) > 0.8 * width
    assert line.pixels[:, 0].max() <= width


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99), st.sampled_from([None, 0.01, 0.5, 30.0]))
def test_any_mask_can_be_traced(height: int, width: int, seed: int, gsd_m: float | None) -> None:
    rng = np.random.default_rng(seed)
    probability = (rng.random((height, width)) ** rng.integers(0, 4) * 255).astype(np.uint8)
    for line in trace_lines(RoadMask(probability, probability >= rng.integers(0, 256)), gsd_m):
        assert len(line.pixels) >= 2
        assert (line.pixels >= 0).all()
        assert (line.pixels <= [width, height]).all()


def test_a_result_is_traced_once_for_all_sinks() -> None:
    calls = []

    def trace(mask: RoadMask, gsd_m: float | None) -> list[RoadLine]:
        calls.append(gsd_m)
        return [RoadLine(ACROSS)]

    roads, first, second = RoadLines(trace), result(0, nadir()), result(1)
    assert roads(first) is roads(first)
    roads(second)
    assert calls == [pytest.approx(0.5), None]


def test_what_tracing_needs_is_missed_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "skimage" or name.startswith("skimage.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtraError, match="scikit-image"):
        RoadLines()


def test_a_frame_lies_on_the_globe_in_a_plane_or_nowhere() -> None:
    assert [Ground(place, SIZE).known for place in (nadir(), nadir("local"), None)] == ["lonlat", "plane", ""]
    assert Ground(None, SIZE).lay([ACROSS, ACROSS]) == [[], []]
    [[stretch]] = Ground(nadir("local"), SIZE).lay([ACROSS])
    assert stretch.lonlat is None
    assert stretch.metres.tolist() == [[-32, 0], [0, 0], [32, 0]]
    assert stretch.length_m == pytest.approx(64)


def test_longitude_and_latitude_are_those_of_the_plane() -> None:
    [[stretch]] = Ground(nadir(), SIZE).lay([ACROSS])
    assert stretch.lonlat is not None
    assert PLANE.from_lonlat(stretch.lonlat) == pytest.approx(np.array([[-32, 0], [0, 0], [32, 0]]), abs=1e-6)


def test_other_coordinate_systems_go_through_pyproj_and_lengths_are_true() -> None:
    pyproj = pytest.importorskip("pyproj", reason="the geo extra is not installed")
    easting, northing = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(10.0, 60.0)
    [[stretch]] = Ground(nadir("EPSG:3857", centre=(easting, northing)), SIZE).lay([ACROSS])
    assert stretch.lonlat is not None
    assert stretch.lonlat[1] == pytest.approx([10.0, 60.0], abs=1e-9)
    assert stretch.length_m == pytest.approx(32.0, rel=0.01)  # 64 m of the map's own


def test_a_coordinate_system_that_is_none_is_one_sentence() -> None:
    pytest.importorskip("pyproj", reason="the geo extra is not installed")
    with pytest.raises(DataError, match="'EPSG:0', which is no coordinate system"):
        Ground(nadir("EPSG:0"), SIZE)


def test_without_pyproj_our_own_planes_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyproj", None)
    assert Ground(nadir(), SIZE).known == "lonlat"
    with pytest.raises(MissingExtraError, match=r"EPSG:32632.*pyproj"):
        Ground(nadir("EPSG:32632"), SIZE)


def tilted(height_m: float = 10.0, pitch_deg: float = -20.0, focal_px: float = 100.0) -> Place:
    """A camera that looks north and down by `pitch_deg`; its horizon runs through the picture."""
    tilt = np.radians(pitch_deg)
    camera = np.array([[1, 0, 0], [0, np.sin(tilt), -np.cos(tilt)], [0, np.cos(tilt), np.sin(tilt)]])  # world → camera
    lens = np.array([[focal_px, 0, SIZE[1] / 2], [0, focal_px, SIZE[0] / 2], [0, 0, 1]])
    image = lens @ np.column_stack([camera[:, 0], camera[:, 1], -height_m * camera[:, 2]])  # ground z = 0
    return Place(np.linalg.inv(image), PLANE.crs)


def test_a_road_towards_the_horizon_ends_before_it() -> None:
    place = tilted()
    up = np.stack([np.full(97, 64.0), np.arange(96.0, -1.0, -1.0)], 1)  # from the camera's feet into the sky
    [stretches] = Ground(place, SIZE).lay([up])
    assert len(stretches) == 1
    north = stretches[0].metres[:, 1]
    assert (np.diff(north) > 0).all()  # further and further away; beyond the horizon it would come back from behind
    assert 0 < north[0] < 20
    assert 100 < north[-1] < 2000
    assert stretches[0].lonlat is not None
    assert np.isfinite(stretches[0].lonlat).all()


def test_a_road_in_the_sky_is_nowhere() -> None:
    assert Ground(tilted(), SIZE).lay([np.array([[10.0, 2.0], [110.0, 2.0]])]) == [[]]


def test_a_road_over_the_crest_of_the_picture_is_two() -> None:
    arch = np.array([[10.0, 90], [12, 80], [40, 1], [60, 1], [100, 80], [102, 90]])
    [stretches] = Ground(tilted(), SIZE).lay([arch])
    assert [len(one.metres) for one in stretches] == [2, 2]


def test_a_raster_stored_upside_down_has_no_horizon() -> None:
    place = Place.from_geotransform((0.0, 0.5, 0.0, 0.0, 0.0, 0.5), PLANE.crs)
    [[stretch]] = Ground(place, SIZE).lay([ACROSS])
    assert len(stretch.metres) == 3


def test_no_latitude_lies_beyond_a_pole() -> None:
    pole = nadir(LocalPlane(0.0, 89.9999).crs)  # 11 m away
    [stretches] = Ground(pole, SIZE).lay([np.array([[64.0, 90.0], [64.0, 50.0], [64.0, 10.0]])])
    assert [len(one.metres) for one in stretches] == [2]
    mercator = Place.from_geotransform((0.0, 0.5, 0.0, 1e9, 0.0, -0.5), "EPSG:3857")
    pytest.importorskip("pyproj", reason="the geo extra is not installed")
    assert Ground(mercator, SIZE).lay([ACROSS]) == [[]]


def test_what_lies_beyond_the_globe_is_nowhere() -> None:
    assert Ground(nadir(centre=(9e6, 0.0)), SIZE).lay([ACROSS]) == [[]]
