from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import DataError, PointsError, UsageError
from roadedge.georeference.raster_place import RasterPlace
from roadedge.georeference.track_file import read_track, track_of
from roadedge.trajectory.points import Points

ROWS = [(7.0 + index * 1e-4, 45.0, 1000.0 + index) for index in range(20)]


def table(folder: Path, rows: list[tuple[float, float, float]], head: str = "lon,lat,t") -> Path:
    path = folder / "track.csv"
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]))
    return path


def test_a_track_looks_where_it_goes_and_begins_at_zero(tmp_path: Path) -> None:
    track = read_track(table(tmp_path, ROWS))
    assert (track.t_s[0], track.t_s[-1], track.epoch_s) == (0, 19, 1000)
    assert track.yaw_deg == pytest.approx(np.full(20, 90), abs=0.1)
    assert track.yaw_from == "course"


def test_rows_of_a_file_may_stand_in_any_order(tmp_path: Path) -> None:
    forward, backward = (read_track(table(tmp_path, rows)) for rows in (ROWS, ROWS[::-1]))
    assert backward.lonlat().tolist() == forward.lonlat().tolist()
    assert not backward.dropped


def test_one_vehicle_of_several_is_taken(tmp_path: Path) -> None:
    rows = [(*row, index % 2) for index, row in enumerate(ROWS)]
    path = tmp_path / "track.csv"
    path.write_text("\n".join(["lon,lat,t,vid", *(",".join(map(str, row)) for row in rows)]))
    assert len(read_track(path)) == 10
    assert read_track(path, vehicle=1).epoch_s == 1001
    with pytest.raises(UsageError, match=r"holds no vehicle 5; its numbers are \[0, 1\]"):
        read_track(path, vehicle=5)


def test_projected_points_go_through_their_crs(tmp_path: Path) -> None:
    pytest.importorskip("pyproj", reason="pyproj is not installed (extra geo)")
    path = table(tmp_path, [(500_000.0 + 5 * index, 4_649_776.0, 1000.0 + index) for index in range(5)], "x,y,t")
    assert read_track(path, crs="EPSG:32616").lonlat()[0] == pytest.approx([-87, 42], abs=1e-4)
    with pytest.raises(PointsError, match="lie nowhere on the Earth"):
        read_track(path)
    with pytest.raises(UsageError, match="EPSG:32616"):
        read_track(path, crs="EPSG:99999999")


def test_no_points_or_no_times_is_one_sentence() -> None:
    none = np.zeros(0)
    with pytest.raises(PointsError, match="holds no points"):
        track_of(Points(none, none, none, crs="lonlat"), "the feed")
    with pytest.raises(PointsError, match="has no times"):
        track_of(Points(np.array([7.0]), np.array([45.0]), crs="lonlat"), "the feed")


def test_a_raster_that_lies_nowhere_on_the_earth_is_named() -> None:
    pytest.importorskip("pyproj", reason="pyproj is not installed (extra geo)")
    with pytest.raises(DataError, match="nowhere on the Earth"):
        RasterPlace((5e5, 1.0, 0.0, 4.6e6, 0.0, -1.0), "EPSG:4326", (10, 10)).centre()
