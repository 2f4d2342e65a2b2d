"""GeoJSON of a run: true longitudes, whole lines after a kill or a full disk, nothing invented where nobody knows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadedge.place import Place
from roadedge.sample import RoadMask
from roadedge.stream.road_lines import RoadLine, RoadLines
from roadedge.stream.sink_geojson import GeoJsonSink, geometry_of
from roadedge.trajectory.plane import LocalPlane
from tests.stream.results import PLANE, nadir, result

ROOT = Path(__file__).parents[2]
ROAD = RoadLine(np.array([[0.0, 48.0], [128.0, 48.0]]), 0.8)


def one_road(mask: RoadMask, gsd_m: float | None) -> list[RoadLine]:
    return [ROAD] if mask.mask.any() else []


def write(path: Path, *places: Place | None, epoch_s: float | None = None) -> GeoJsonSink:
    with GeoJsonSink(path, RoadLines(one_road), lambda: epoch_s) as sink:
        for index, place in enumerate(places):
            sink.write(result(index, place))
    return sink


def features(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_frame_gives_its_roads_in_longitude_and_latitude(tmp_path: Path) -> None:
    write(tmp_path / "roads.geojsonl", nadir(), nadir(centre=(10.0, 0.0)), epoch_s=1_700_000_000.0)
    first, second = features(tmp_path / "roads.geojsonl")
    assert first["type"] == "Feature"
    assert first["geometry"]["type"] == "LineString"
    assert PLANE.from_lonlat(first["geometry"]["coordinates"]) == pytest.approx(np.array([[-32, 0], [32, 0]]), abs=0.02)
    assert PLANE.from_lonlat(second["geometry"]["coordinates"])[0] == pytest.approx([-22, 0], abs=0.02)
    assert second["properties"] == {
        "frame": "000001", "capture_s": 0.1, "clock": "pts", "time": "2023-11-14T22:13:20.100Z",
        "length_m": 64.0, "confidence": 0.8,
    }  # fmt: skip


def test_the_run_ends_with_one_collection_of_all(tmp_path: Path) -> None:
    sink = write(tmp_path / "roads.geojsonl", *(nadir(centre=(i, i)) for i in range(5)))
    collection = json.loads((tmp_path / "roads.geojson").read_text())
    assert collection["type"] == "FeatureCollection"
    assert collection["features"] == features(tmp_path / "roads.geojsonl")
    size = (tmp_path / "roads.geojsonl").stat().st_size
    assert sink.describe() == {
        "sink": "geojson", "frames": 5, "bytes": size, "features": 5, "frames_without_place": 0,
        "frames_in_local_plane": 0,
    }  # fmt: skip
    assert not sink.notices()
    sink.close()  # twice is no error


def test_gdal_reads_both_files(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio", reason="the geo extra is not installed")
    write(tmp_path / "roads.geojsonl", nadir(), nadir(LocalPlane(180.0, -17.0).crs), epoch_s=0.0)
    for name in ("roads.geojsonl", "roads.geojson"):
        facts = pyogrio.read_info(tmp_path / name)
        assert (facts["features"], facts["crs"]) == (2, "EPSG:4326")
        assert set(facts["fields"]) == {"frame", "capture_s", "clock", "time", "length_m", "confidence"}


def test_frames_without_a_road_leave_an_empty_collection(tmp_path: Path) -> None:
    with GeoJsonSink(tmp_path / "roads.geojsonl", RoadLines(lambda mask, gsd_m: [])) as sink:
        sink.write(result(0, nadir()))
    assert (tmp_path / "roads.geojsonl").read_bytes() == b""
    assert json.loads((tmp_path / "roads.geojson").read_text()) == {"type": "FeatureCollection", "features": []}


def test_where_nobody_knows_the_place_nothing_is_invented(tmp_path: Path) -> None:
    sink = write(tmp_path / "roads.geojsonl", None, nadir("local"), None)
    assert list(tmp_path.iterdir()) == []
    assert (sink.describe()["frames_without_place"], sink.describe()["frames_in_local_plane"]) == (2, 1)
    assert "roads of 2 frames are not in roads.geojsonl" in sink.notices()[0]
    assert "no longitude was invented" in sink.notices()[1]


def test_a_place_that_comes_and_goes_is_used_where_it_is(tmp_path: Path) -> None:
    write(tmp_path / "roads.geojsonl", None, nadir(), None, nadir())
    assert [one["properties"]["frame"] for one in features(tmp_path / "roads.geojsonl")] == ["000001", "000003"]


@pytest.mark.parametrize("lon", [180.0, -180.0, 179.9999])
def test_a_road_over_the_antimeridian_is_cut_there(tmp_path: Path, lon: float) -> None:
    plane = LocalPlane(lon, -17.0)
    write(tmp_path / "roads.geojsonl", nadir(plane.crs))
    geometry = features(tmp_path / "roads.geojsonl")[0]["geometry"]
    assert geometry["type"] == "MultiLineString"
    west, east = geometry["coordinates"]
    assert (west[-1][0], east[0][0]) == (180.0, -180.0)
    assert west[-1][1] == east[0][1] == pytest.approx(-17.0, abs=1e-5)
    assert 0 < west[0][0] <= 180
    assert -180 <= east[-1][0] < 0


longitudes = st.lists(st.tuples(st.floats(-0.01, 0.01), st.floats(-60, 60)), min_size=2, max_size=8)


@given(longitudes, st.sampled_from([0.0, 180.0, -180.0, 540.0]))
def test_longitudes_stay_in_range_and_no_vertex_is_lost(steps: list[tuple[float, float]], about: float) -> None:
    geometry = geometry_of(np.array([[about + lon, lat] for lon, lat in steps]))
    single = geometry["type"] == "LineString"
    parts = [geometry["coordinates"]] if single else geometry["coordinates"]
    assert all(-180 <= lon <= 180 for part in parts for lon, _ in part)
    assert all(len(part) >= 2 for part in parts)
    assert all(abs(a[0] - b[0]) < 1 for part in parts for a, b in pairwise(part))
    kept = [tuple(vertex) for part in parts for vertex in part]
    wanted = [(about + lon, lat) for lon, lat in steps]
    assert len(kept) == len(wanted) + 2 * (len(parts) - 1)
    for lon, lat in wanted:
        assert any(abs((a - lon + 180) % 360 - 180) < 1e-6 and abs(b - lat) < 1e-6 for a, b in kept)


CHILD = """
import os, resource, sys
from pathlib import Path
from roadedge.errors import OutputError
from roadedge.stream.road_lines import RoadLines
from roadedge.stream.sink_geojson import GeoJsonSink
from tests.stream.results import many_lines, nadir, result

limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
lines = many_lines(30)
sink = GeoJsonSink(Path(sys.argv[1]), RoadLines(lambda mask, gsd_m: lines))
index = 0
try:
    while True:
        sink.write(result(index, nadir()))
        index += 1
        if index == 3:
            print("begun", flush=True)
except OutputError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def child(path: Path, limit: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(path), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_run_that_is_killed_leaves_whole_lines(tmp_path: Path) -> None:
    with child(tmp_path / "roads.geojsonl", 0) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "begun\n"
        run.kill()
        assert run.wait(30) == -signal.SIGKILL
    content = (tmp_path / "roads.geojsonl").read_bytes()
    assert content.endswith(b"\n")
    assert len(features(tmp_path / "roads.geojsonl")) % 30 == 0


def test_a_disk_that_fills_up_leaves_whole_frames_and_one_sentence(tmp_path: Path) -> None:
    with child(tmp_path / "roads.geojsonl", 200_000) as run:
        out, _ = run.communicate(timeout=60)
        assert run.returncode == 9
    assert "cannot write" in out
    assert 100_000 < (tmp_path / "roads.geojsonl").stat().st_size <= 200_000
    assert len(features(tmp_path / "roads.geojsonl")) % 30 == 0
