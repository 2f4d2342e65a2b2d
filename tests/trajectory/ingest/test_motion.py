"""Speed and heading follow from successive points of a trip, wherever on the Earth and in whatever projection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge.trajectory.ingest.cleaning import ROW, Rows
from roadedge.trajectory.ingest.ground import ground_of
from roadedge.trajectory.ingest.motion import by_trip_and_time, derive_motion
from roadedge.trajectory.ingest.options import IngestOptions
from roadedge.trajectory.ingest.run import ingest
from roadedge.trajectory.point_store import LONLAT, PointStore

LOCAL = "EPSG:32616"


def rows_of(*columns: list[float]) -> Rows:
    """Rows of x, y, t and vid, speed and heading unknown."""
    rows = np.zeros(len(columns[0]), ROW)
    for name, values in zip(("x", "y", "t_s", "vid"), columns, strict=True):
        rows[name] = values
    rows["speed_ms"] = rows["heading_deg"] = np.nan
    return rows


@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [
        ("EPSG:32616", -87.65, 41.87), ("EPSG:3857", -87.65, 41.87), ("EPSG:2992", -123.07, 44.056),
        ("EPSG:27700", -3.2, 55.9), ("EPSG:2193", 174.8, -41.3), (LONLAT, -3.2, 55.9), (LONLAT, 18.9, 69.6),
    ],
)  # fmt: skip
def test_steps_are_those_on_the_ellipsoid(crs: str, lon: float, lat: float) -> None:
    import pyproj

    rng = np.random.default_rng(0)
    start = np.array([lon, lat]) + rng.uniform(-0.1, 0.1, (40, 2))
    end = start + rng.normal(0, 5e-4, (40, 2))
    azimuth, _, metres = pyproj.Geod(ellps="WGS84").inv(*start.T, *end.T)
    there = pyproj.Transformer.from_crs(LONLAT, crs, always_xy=True)
    (x, y), (x1, y1) = there.transform(*start.T), there.transform(*end.T)
    east, north = ground_of(None if crs == LONLAT else crs, "wgs84").steps(x, y, x1 - x, y1 - y)
    within = 3e-3 if crs == "EPSG:3857" else 1e-4  # Mercator on a sphere: an ellipsoid's scale depends on the direction
    np.testing.assert_allclose(np.hypot(east, north), metres, rtol=within)
    turned = (np.degrees(np.arctan2(east, north)) - azimuth + 180) % 360 - 180
    assert np.abs(turned).max() < (0.2 if crs == "EPSG:3857" else 0.02)


def test_a_car_that_drives_round_a_corner() -> None:
    rows = rows_of([0, 0, 0, 100, 200], [0, 100, 200, 200, 200], [0, 10, 20, 30, 40], [7] * 5)
    rows["x"] += 500_000
    assert derive_motion(rows, ground_of(LOCAL, "wgs84"), 60.0) == (5, 5)
    np.testing.assert_allclose(rows["speed_ms"], 10, rtol=1e-3)
    heading = (rows["heading_deg"] + 1) % 360 - 1  # a hair west of north is a hair below 0
    np.testing.assert_allclose(heading, [0, 0, 45, 90, 90], atol=0.5)


def test_gaps_jumps_and_standing_still_are_not_driving() -> None:
    x = [0, 50, 100, 5100, 5100.5, 5101]  # then a jump of 5 km in 10 s, then parked
    rows = rows_of(x, [0.0] * 6, [0, 5, 100, 110, 120, 130], [1] * 6)
    rows["x"] += 500_000
    derive_motion(rows, ground_of(LOCAL, "wgs84"), 60.0)
    known = ~np.isnan(rows["speed_ms"])
    assert known.tolist() == [True, True, False, True, True, True]
    assert np.isnan(rows["heading_deg"]).tolist() == [False, False, True, True, True, True]
    np.testing.assert_allclose(rows["speed_ms"][3:], 0.05, rtol=1e-2)


def test_trips_are_not_joined_and_what_is_known_stays() -> None:
    rows = rows_of([0, 10, 20, 30], [0.0] * 4, [0, 1, 2, 3], [1, 1, 2, -1])
    rows["speed_ms"][0] = 33.0
    derive_motion(rows, ground_of(LOCAL, "wgs84"), 60.0)
    assert rows["speed_ms"][0] == 33.0
    assert np.isnan(rows["speed_ms"]).tolist() == [False, False, True, True]


def test_two_fixes_of_one_moment_are_no_step() -> None:
    rows = rows_of([0, 10, 20], [0.0] * 3, [0, 0, 0], [1] * 3)
    derive_motion(rows, ground_of(LOCAL, "wgs84"), 60.0)
    assert np.isnan(rows["speed_ms"]).all()


def test_rows_come_by_trip_and_time_however_they_were_mixed() -> None:
    rng = np.random.default_rng(4)
    rows = rows_of(*[rng.permutation(100).tolist() for _ in range(3)], (rng.permutation(100) % 5).tolist())
    by_trip = by_trip_and_time(rows)
    assert (np.diff(by_trip["vid"]) >= 0).all()
    assert ((np.diff(by_trip["t_s"]) > 0) | (np.diff(by_trip["vid"]) > 0)).all()


def test_interleaved_trips_across_batches_files_and_buckets(tmp_path: Path) -> None:
    """Forty cars, each east at its own speed, their points by time in one file, by car in another."""
    step, cars = np.arange(120), np.arange(40)
    lines = [f"{500_000 + t * (c + 1) / 2:.2f},{c * 1000},{t},{c}" for t in step[:60] for c in cars]
    more = [f"{500_000 + t * (c + 1) / 2:.2f},{c * 1000},{t},{c}" for c in cars for t in step[60:][::-1]]
    (tmp_path / "by_time.csv").write_text("\n".join(["x,y,t,vid", *lines]))
    (tmp_path / "by_car.csv").write_text("\n".join(["x,y,t,vid", *more]))
    files = [tmp_path / "by_time.csv", tmp_path / "by_car.csv"]
    info = ingest(files, tmp_path / "store.parquet", IngestOptions(crs=LOCAL, rows_in_memory=1000))
    assert info["derived"]["speed_ms"] == 40 * 120
    with PointStore.open(tmp_path / "store.parquet") as store:
        read = store.read(*store.bounds)
    np.testing.assert_allclose(read.speed_ms, (read.vid + 1) / 2, rtol=0.03)
    moving = read.vid >= 6  # slower ones go less than 3 m between two points
    np.testing.assert_allclose(read.heading_deg[moving], 90, atol=1.5)


def test_one_file_is_one_trip_where_it_is_said(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.txt").write_text("".join(f"{500_000 + 10 * i} {number * 99} {i}\n" for i in range(5)))
    files = [tmp_path / "0.txt", tmp_path / "1.txt"]
    apart = ingest(files, tmp_path / "a.parquet", IngestOptions(crs=LOCAL, trip_per_file=True))
    assert (apart["trips"], apart["derived"]["speed_ms"]) == (2, 10)
    unknown = ingest(files, tmp_path / "b.parquet", IngestOptions(crs=LOCAL))
    assert (unknown["trips"], unknown["derived"]["speed_ms"]) == (None, 0)


def test_one_number_for_all_rows_is_said_and_takes_no_more_memory(tmp_path: Path) -> None:
    lines = [f"{500_000 + i % 977},{i % 800},{i},7" for i in range(6000)]
    (tmp_path / "p.csv").write_text("\n".join(["x,y,t,vid", *lines, "1,2,3,"]))
    info = ingest([tmp_path / "p.csv"], tmp_path / "s.parquet", IngestOptions(crs=LOCAL, rows_in_memory=1000))
    assert (info["rows"], info["noted"], info["derived"]["speed_ms"]) == (6001, {"trip_too_long": 6000}, 0)
    assert "is the number of the vehicle the same for all?" in info["hints"][0]
