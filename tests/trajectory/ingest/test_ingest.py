"""Files of points of many kinds become one store that holds each good row once."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import PointsError, UnknownNameError, UsageError
from roadedge.trajectory.datum import wgs84_to_gcj02
from roadedge.trajectory.ingest.options import IngestOptions, parse_box, parse_columns
from roadedge.trajectory.ingest.run import ingest
from roadedge.trajectory.point_store import LONLAT, PointStore, StoredPoints

UTM = "EPSG:32616"


def stored(path: Path) -> StoredPoints:
    """All points of a store, by time."""
    with PointStore.open(path) as store:
        whole = store.read(-1e9, -1e9, 1e9, 1e9)
    return whole.select(np.argsort(whole.t_s, kind="stable"))


def read_text(text: str, folder: Path, name: str = "points.csv", **options: Any) -> tuple[StoredPoints, dict[str, Any]]:
    """A file of this text, ingested."""
    (folder / name).write_text(text)
    info = ingest([folder / name], folder / "store.parquet", IngestOptions(**options), overwrite=True)
    return stored(folder / "store.parquet"), info


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 9000), files=st.integers(1, 3))
def test_each_good_row_is_stored_once_however_little_fits_into_memory(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, files: int
) -> None:
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(500_000, 2000, rows), 2)
    y = np.round(rng.normal(4_600_000, 2000, rows), 2)
    vid = rng.integers(0, 40, rows)
    for part in range(files):
        lines = [f"{x[i]},{y[i]},{i},{vid[i]}" for i in range(part, rows, files)]
        (folder / f"{part}.csv").write_text("\n".join(["x,y,t,vid", *lines]) + "\n")
    names = [folder / f"{part}.csv" for part in range(files)]
    info = ingest(names, folder / "store.parquet", IngestOptions(crs=UTM, rows_in_memory=1000))
    read = stored(folder / "store.parquet")
    assert read.t_s.tolist() == list(range(rows))
    assert read.x.tolist() == x.tolist()
    assert read.y.tolist() == y.tolist()
    assert read.vid.tolist() == vid.tolist()
    assert info["trips"] == len(np.unique(vid))
    assert sorted(p.name for p in folder.iterdir()) == sorted([*(p.name for p in names), "store.parquet"])


def test_sorting_on_disk_and_in_memory_write_the_same_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    lines = [f"{a:.1f},{b:.1f},{i},5.0,90.0" for i, (a, b) in enumerate(rng.uniform(0, 3000, (8000, 2)))]
    (tmp_path / "p.csv").write_text("\n".join(["x,y,t,speed,heading", *lines, *lines[:3000]]))
    for name, rows in (("disk", 1000), ("memory", 10**6)):
        ingest([tmp_path / "p.csv"], tmp_path / f"{name}.parquet", IngestOptions(crs=UTM, rows_in_memory=rows))
    assert (tmp_path / "disk.parquet").read_bytes() == (tmp_path / "memory.parquet").read_bytes()


def test_a_parked_car_with_more_points_than_fit_into_memory_is_sorted_too(tmp_path: Path) -> None:
    lines = [f"100.0,200.0,{i},0.0,0.0" for i in range(7000)]
    (tmp_path / "p.csv").write_text("\n".join(["x,y,t,speed,heading", *lines, "900,900,9000,1,1"]))
    ingest([tmp_path / "p.csv"], tmp_path / "store.parquet", IngestOptions(crs=UTM, rows_in_memory=1000))
    assert len(stored(tmp_path / "store.parquet")) == 7001


def test_bad_rows_are_counted_by_reason(tmp_path: Path) -> None:
    rows = ["lon,lat,t", "-87.6,41.8,1", "nan,41.8,2", ",41.8,3", "abc,41.8,4", "-87.6,91.5,5", "0,0,6", "inf,41.8,7"]
    rows += ["-87.6,41.8,8,9", "-87.6,41.8", "-87.7,41.9,10", "-87.7,41.9,soon"]
    read, info = read_text("\n".join(rows), tmp_path)
    assert info["dropped"] == {
        "infinite": 1, "nan": 2, "no_fix": 1, "out_of_range": 1, "unparsable": 1, "wrong_columns": 2,
    }  # fmt: skip
    assert info["noted"] == {"unknown_time": 1}
    assert (info["read"], info["rows"], len(read)) == (11, 3, 3)
    assert np.isnan(read.t_s[2])


def test_no_usable_row_says_why(tmp_path: Path) -> None:
    with pytest.raises(PointsError, match=r"none of the 2 rows .* \(left out: nan 1, no_fix 1\)"):
        read_text("lon,lat\n0,0\nnan,1\n", tmp_path)
    with pytest.raises(PointsError, match="no rows"):
        read_text("lon,lat\n", tmp_path)
    with pytest.raises(PointsError, match="is empty"):
        read_text("", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "Taxi_ID;Longitude;Latitude;when\n7;116,5;39,9;2008-02-02 15:36:08\n",
        "lon\tlat\ttimestamp\tvid\n116.5\t39.9\t2008-02-02T15:36:08Z\t7\n",
        "\ufefflat,lng,datetime,id\n39.9,116.5,2008-02-02T16:36:08+01:00,7\n",
        "lat,lng,datetime,id\n39.9, 116.5 ,2008/02/02 15:36:08,7.0\n",
    ],
)
def test_tables_of_many_dialects_are_understood(tmp_path: Path, text: str) -> None:
    columns = {"t": "when"} if "when" in text else {}
    read, _ = read_text(text, tmp_path, columns=columns)
    assert (read.x[0], read.y[0], read.t_s[0], read.vid[0]) == (116.5, 39.9, 1201966568.0, 7)


def test_a_table_without_a_header_is_named(tmp_path: Path) -> None:
    text = "1,2008-02-02 15:36:08,116.51172,39.92123\n1,2008-02-02 15:46:08,116.51135,39.93883\n"
    with pytest.raises(PointsError, match="--header vid,t,lon,lat"):
        read_text(text, tmp_path)
    read, _ = read_text(text, tmp_path, header=("vid", "t", "lon", "lat"))
    assert len(read) == 2
    with pytest.raises(PointsError, match=r"4 columns .* --header names 2"):
        read_text(text, tmp_path, header=("lon", "lat"))


def test_columns_can_be_named(tmp_path: Path) -> None:
    text = "x,y,POS_X,POS_Y,dir\n1,2,-87.5,41.5,370\n"
    with pytest.raises(PointsError, match=r"no column 'POS_Z' for lon"):
        read_text(text, tmp_path, columns={"lon": "POS_Z", "lat": "POS_Y"})
    read, info = read_text(text, tmp_path, columns=parse_columns(["lon=POS_X", "lat=POS_Y"]))
    assert (info["crs"], read.x[0], read.heading_deg[0]) == (LONLAT, -87.5, 10.0)
    with pytest.raises(PointsError, match="neither x, y nor lon, lat"):
        read_text("a,b\n1,2\n", tmp_path)
    with pytest.raises(UsageError, match="FIELD=NAME"):
        parse_columns(["lon"])


def test_units_are_brought_to_seconds_and_metres_per_second(tmp_path: Path) -> None:
    text = "lon,lat,t,speed\n8,50,1300000000000,36\n"
    read, _ = read_text(text, tmp_path, time_unit="ms", speed_unit="kmh")
    assert (read.t_s[0], read.speed_ms[0]) == (1300000000.0, 10.0)
    with pytest.raises(PointsError, match="--time-unit ms"):
        read_text(text, tmp_path)
    with pytest.raises(UnknownNameError, match="knots"):
        IngestOptions(speed_unit="knot")


def test_names_of_vehicles_have_one_number_in_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("lon,lat,vid,t\n8,50,car A,1\n8,50,12,2\n8,50,,3\n")
    (tmp_path / "b.csv").write_text("lon,lat,vid,t\n8,50,12,4\n8,50,car B,5\n8,50,car A,6\n")
    ingest([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "store.parquet")
    vid = stored(tmp_path / "store.parquet").vid.tolist()
    assert vid[0] == vid[5] > 1000
    assert vid[1:4] == [12, -1, 12]
    assert vid[4] not in (vid[0], -1)


def test_latin_letters_of_another_time_cost_nothing(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"lon,lat,vid\n8,50,7\n" + b"8,51,M\xfcller\n8,5\xfc,9\n")
    info = ingest([tmp_path / "p.csv"], tmp_path / "store.parquet")
    assert (info["rows"], info["dropped"]) == (2, {"unparsable": 1})


def test_gzip_is_read_and_a_broken_one_is_one_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    text = "lon,lat\n" + "".join(f"{a:.6f},{b:.6f}\n" for a, b in rng.uniform(1, 9, (20_000, 2)))
    packed = gzip.compress(text.encode())
    (tmp_path / "p.csv.gz").write_bytes(packed)
    assert ingest([tmp_path / "p.csv.gz"], tmp_path / "store.parquet")["rows"] == 20_000
    (tmp_path / "q.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(PointsError, match=r"q\.csv\.gz .*whole"):
        ingest([tmp_path / "q.csv.gz"], tmp_path / "other.parquet")
    assert sorted(os.listdir(tmp_path)) == ["p.csv.gz", "q.csv.gz", "store.parquet"]


def test_parquet_is_read_and_a_short_one_is_one_sentence(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"lng": [8.0, 8.1], "lat": [50.0, 50.1], "time": pa.array([10**9, 2 * 10**9], pa.timestamp("s"))})
    parquet.write_table(table, tmp_path / "p.parquet")
    ingest([tmp_path / "p.parquet"], tmp_path / "store.parquet")
    assert stored(tmp_path / "store.parquet").t_s.tolist() == [1e9, 2e9]
    content = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "short.parquet").write_bytes(content[:-50])
    with pytest.raises(PointsError, match=r"short\.parquet is cut short"):
        ingest([tmp_path / "short.parquet"], tmp_path / "other.parquet")


def test_points_of_geoparquet_are_read(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    shapely = pytest.importorskip("shapely", reason="shapely is not installed")
    geo = (
        b'{"version":"1.1.0","primary_column":"geom","columns":{"geom":{"encoding":"WKB","geometry_types":["Point"]}}}'
    )
    wkb = shapely.to_wkb(shapely.points([[8.0, 50.0], [9.0, 51.0]])).tolist()
    table = pa.table({"geom": [*wkb, None], "t": [1.0, 2.0, 3.0]}).replace_schema_metadata({b"geo": geo})
    parquet.write_table(table, tmp_path / "p.parquet")
    info = ingest([tmp_path / "p.parquet"], tmp_path / "store.parquet")
    assert stored(tmp_path / "store.parquet").x.tolist() == [8.0, 9.0]
    assert info["dropped"] == {"nan": 1}


def test_stores_can_be_joined(tmp_path: Path) -> None:
    read_text("x,y,t,vid,speed,heading\n1,2,3,4,5,6\n", tmp_path, crs=UTM)
    (tmp_path / "store.parquet").rename(tmp_path / "a.parquet")
    read_text("x,y,t,vid,speed,heading\n7,8,9,1,2,3\n", tmp_path, crs=UTM)
    info = ingest([tmp_path / "a.parquet", tmp_path / "store.parquet"], tmp_path / "both.parquet")
    both = stored(tmp_path / "both.parquet")
    assert (info["crs"], both.x.tolist(), both.heading_deg.tolist()) == (UTM, [1.0, 7.0], [6.0, 3.0])


def test_columns_x_y_need_a_crs_and_all_files_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--crs EPSG:32616"):
        read_text("x,y\n1,2\n", tmp_path)
    (tmp_path / "a.csv").write_text("lon,lat\n8,50\n")
    (tmp_path / "b.csv").write_text("x,y\n8,50\n")
    with pytest.raises(UsageError, match="a store has one CRS"):
        ingest([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "s.parquet", IngestOptions(crs=UTM))
    with pytest.raises(UsageError, match="no coordinate reference system"):
        read_text("x,y\n1,2\n", tmp_path, crs="EPSG:999999")
    with pytest.raises(UsageError, match="datum gcj02"):
        read_text("x,y\n1,2\n", tmp_path, crs=UTM, datum="gcj02")


def test_degrees_in_columns_x_y_are_longitude_and_latitude(tmp_path: Path) -> None:
    read, info = read_text("x,y\n8,50\n", tmp_path, crs="EPSG:4326")
    assert (info["crs"], read.x[0], read.y[0]) == (LONLAT, 8.0, 50.0)


def test_chinese_datums_are_converted(tmp_path: Path) -> None:
    lon, lat = wgs84_to_gcj02(np.array([116.4]), np.array([39.9]))
    read, _ = read_text(f"lon,lat\n{lon[0]:.9f},{lat[0]:.9f}\n", tmp_path, datum="gcj02")
    np.testing.assert_allclose([read.x[0], read.y[0]], [116.4, 39.9], atol=1e-8)


def test_what_lies_beyond_the_box_is_left_out(tmp_path: Path) -> None:
    _, info = read_text("lon,lat\n8,50\n9,50\n8,51\n", tmp_path, box=parse_box("7.5,49.5,8.5,50.5"))
    assert (info["rows"], info["dropped"]) == (1, {"outside_box": 2})
    for bad in ("1,2,3", "3,0,1,4", "1,2,3,x"):
        with pytest.raises(UsageError, match="--box"):
            IngestOptions(box=parse_box(bad))


def test_an_output_that_is_there_stays(tmp_path: Path) -> None:
    read_text("lon,lat\n8,50\n", tmp_path)
    before = (tmp_path / "store.parquet").read_bytes()
    for output, match in (("store.parquet", "--overwrite"), ("points.csv", r"NAME\.parquet")):
        with pytest.raises(UsageError, match=match):
            ingest([tmp_path / "points.csv"], tmp_path / output)
    with pytest.raises(UsageError, match="one of the files to read"):
        ingest([tmp_path / "store.parquet"], tmp_path / "store.parquet", overwrite=True)
    (tmp_path / "points.csv").write_text("lon,lat\nx,y\n")
    with pytest.raises(PointsError):
        ingest([tmp_path / "points.csv"], tmp_path / "store.parquet", overwrite=True)
    assert (tmp_path / "store.parquet").read_bytes() == before


def test_missing_doubled_and_unknown_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("lon,lat\n8,50\n")
    (tmp_path / "a.xlsx").write_text("lon,lat\n8,50\n")
    (tmp_path / "empty").mkdir()
    for files, match in (
        (["b.csv"], "there is no file"), (["a.csv", "a.csv"], "named twice"), (["a.xlsx"], "--format csv"),
        (["empty"], "holds no file of points"),
    ):  # fmt: skip
        with pytest.raises(PointsError, match=match):
            ingest([tmp_path / name for name in files], tmp_path / "store.parquet")
    info = ingest([tmp_path / "a.xlsx"], tmp_path / "store.parquet", IngestOptions(file_format="csv"))
    assert info["rows"] == 1


def test_folders_stand_for_the_files_within(tmp_path: Path) -> None:
    (tmp_path / "trips").mkdir()
    for number in range(3):
        (tmp_path / "trips" / f"trip_{number}.txt").write_text("".join(f"{i * 10} {number} {i}\n" for i in range(5)))
    info = ingest([tmp_path / "trips"], tmp_path / "s.parquet", IngestOptions(crs=UTM, trip_per_file=True))
    assert (info["files"], info["trips"], info["rows"]) == (3, 3, 15)


def test_the_store_knows_its_sources(tmp_path: Path) -> None:
    import hashlib

    _, info = read_text("lon,lat\n8,50\n0,0\n", tmp_path)
    digest = hashlib.sha256(b"lon,lat\n8,50\n0,0\n").hexdigest()
    assert info["sources"] == [{"name": "points.csv", "bytes": 17, "sha256": digest, "rows": 2, "kept": 1}]


def test_gpx_and_nmea_have_their_own_trips_and_may_have_any_name(tmp_path: Path) -> None:
    fix = '<trkpt lat="50.{0}" lon="8.0"><time>2024-01-01T00:00:{0}Z</time></trkpt>'
    gpx = '<gpx version="1.1" creator="x"><trk>' + "".join(
        f"<trkseg>{fix.format(10 + n)}{fix.format(20 + n)}</trkseg>" for n in range(2)
    )
    for name in ("a.gpx", "b.track"):
        (tmp_path / name).write_text(gpx + "</trk></gpx>")
    info = ingest([tmp_path / "a.gpx"], tmp_path / "a.parquet")
    assert (info["rows"], info["trips"]) == (4, 2)
    info = ingest([tmp_path / "b.track"], tmp_path / "b.parquet", IngestOptions(file_format="gpx"))
    assert set(stored(tmp_path / "b.parquet").vid).isdisjoint(stored(tmp_path / "a.parquet").vid)


def test_files_that_cannot_be_read_are_left_out_where_that_is_asked(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("lon,lat\n8,50\n")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    (tmp_path / "c.gpx").write_text("<gpx")
    files = [tmp_path / name for name in ("a.csv", "b.parquet", "c.gpx")]
    with pytest.raises(PointsError, match=r"b\.parquet is cut short"):
        ingest(files, tmp_path / "s.parquet")
    info = ingest(files, tmp_path / "s.parquet", IngestOptions(keep_going=True))
    assert (info["rows"], sorted(info["failed"])) == (1, ["b.parquet", "c.gpx"])
    with pytest.raises(PointsError, match="none of the 2 files can be read"):
        ingest(files[1:], tmp_path / "t.parquet", IngestOptions(keep_going=True))


def test_real_tracks_of_chicago_are_all_stored(real_data: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(real_data / "chicago" / "tracks_chicago.zip") as packed:
        trips = [name for name in packed.namelist() if name.startswith("chicago/trips/trip_")]
        packed.extractall(tmp_path, trips)
        brute = np.concatenate([np.loadtxt(packed.open(name), ndmin=2) for name in trips[:100]])
    options = IngestOptions(crs=UTM, trip_per_file=True)
    info = ingest([tmp_path / "chicago" / "trips"], tmp_path / "store.parquet", options)
    assert (info["rows"], info["trips"], info["dropped"]) == (118_360, 889, {})
    x0, y0 = np.median(brute[:, :2], axis=0) - 150
    with PointStore.open(tmp_path / "store.parquet") as store:
        read = store.read(x0, y0, x0 + 300, y0 + 300)
        assert set(store.attributes) == {"t_s", "vid", "speed_ms", "heading_deg"}
    inside = brute[(np.abs(brute[:, :2] - [x0 + 150, y0 + 150]) <= 150).all(axis=1)]
    assert len(inside) > 10
    assert {tuple(row) for row in inside.tolist()} <= set(zip(read.x, read.y, read.t_s, strict=True))
