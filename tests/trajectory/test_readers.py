"""Trajectory files: the same columns from every format, one sentence for what cannot be read."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.errors import MissingExtraError, PointsError, UnknownNameError, UsageError
from roadedge.trajectory import READERS, Points, csv_file, read_points
from roadedge.trajectory.datum import wgs84_to_gcj02

TABLE = "vid,x,y,t,speed,interval\n7,1.5,2.5,413927,5.2,10\n7,3.25,4,413937,5.5,10\n"
FIELDS = ("x", "y", "t_s", "speed_mps", "interval_s", "vehicle")


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def column(points: Points, name: str) -> list[Any]:
    values: NDArray[Any] | None = getattr(points, name)
    assert values is not None, f"{name} is absent"
    return list(values.tolist())


@pytest.fixture(params=["plain", "pyarrow"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of reading, each on files of any size."""
    if request.param == "pyarrow":
        pytest.importorskip("pyarrow")
        monkeypatch.setattr(csv_file, "LARGE_BYTES", 0)
    else:
        monkeypatch.setattr(csv_file, "LARGE_BYTES", 1 << 60)
    return str(request.param)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.txt", "A.CSV"])
def test_a_table_of_pixels(tmp_path: Path, name: str, way: str) -> None:
    points = read_points(write(tmp_path / name, TABLE))
    assert points.crs == "pixel"
    assert points.xy().tolist() == [[1.5, 2.5], [3.25, 4.0]]
    assert column(points, "t_s") == [413927, 413937]
    assert column(points, "speed_mps") == [5.2, 5.5]
    assert column(points, "interval_s") == [10, 10]
    assert column(points, "vehicle") == [7, 7]
    assert points.dropped == {}


@pytest.mark.parametrize("header", ["lon,lat", "Longitude, Latitude", "LNG,lat", '"lon","lat"', "\ufefflon,lat"])
def test_spellings_of_longitude_and_latitude(tmp_path: Path, header: str, way: str) -> None:
    points = read_points(write(tmp_path / "a.csv", f"{header}\n117.5,39.25\n"))
    assert points.crs == "lonlat"
    assert points.xy().tolist() == [[117.5, 39.25]]


@pytest.mark.parametrize("mark", [";", "\t", ","])
def test_delimiters(tmp_path: Path, mark: str, way: str) -> None:
    points = read_points(write(tmp_path / "a.csv", TABLE.replace(",", mark)))
    assert points.xy().tolist() == [[1.5, 2.5], [3.25, 4.0]]


def test_blank_separated_trips_without_a_header(tmp_path: Path) -> None:
    path = write(
        tmp_path / "trip_1.txt", "446318.628166 4636025.896151 1301919053.0\n446297.1  4636013.0 1301919071.0\n\n"
    )
    points = read_points(path)
    assert points.crs == "local"
    assert column(points, "x") == [446318.628166, 446297.1]
    assert column(points, "t_s") == [1301919053.0, 1301919071.0]
    assert read_points(path, crs="EPSG:32616").crs == "EPSG:32616"


def test_bad_rows_are_counted_and_the_good_ones_kept(tmp_path: Path, way: str) -> None:
    rows = ["117,39,1", "nan,39,2", "117,inf,3", "117", "117,39,4,5", ",39,6", "200,39,7", "0,0,8", "118,40,9"]
    points = read_points(write(tmp_path / "a.csv", "lon,lat,t\n" + "\n".join(rows)))
    assert column(points, "t_s") == [1, 9]
    assert points.dropped == {"wrong_columns": 2, "nan": 2, "infinite": 1, "out_of_range": 1, "no_fix": 1}


def test_a_cell_that_is_no_number_costs_its_row_not_the_file(tmp_path: Path, way: str) -> None:
    points = read_points(write(tmp_path / "a.csv", "x,y,speed\n1,2,3\nabc,2,3\n4,5,fast\n"))
    assert points.xy().tolist() == [[1, 2], [4, 5]]
    assert points.dropped == {"nan": 1}
    assert np.isnan(column(points, "speed_mps")[1])


@pytest.mark.parametrize(
    ("cells", "seconds"),
    [
        (("2008-02-02 15:36:08", "2008-02-02 15:46:08"), (1201966568.0, 1201967168.0)),
        (("2008-02-02T15:36:08Z", "2008-02-02T15:36:08.5Z"), (1201966568.0, 1201966568.5)),
        (("2008-02-02T23:36:08+08:00", "2008-02-02T15:36:08+00:00"), (1201966568.0, 1201966568.0)),
        (("1201966568", "1201966568.25"), (1201966568.0, 1201966568.25)),
    ],
)
def test_times(tmp_path: Path, cells: tuple[str, str], seconds: tuple[float, float], way: str) -> None:
    points = read_points(write(tmp_path / "a.csv", f"x,y,time\n1,2,{cells[0]}\n3,4,{cells[1]}\n"))
    assert column(points, "t_s") == list(seconds)


def test_vehicles_by_name_are_numbered_in_the_order_they_come(tmp_path: Path, way: str) -> None:
    points = read_points(write(tmp_path / "a.csv", "taxi_id,x,y\nB7,1,1\nA2,1,1\nB7,1,1\n"))
    assert column(points, "vehicle") == [0, 1, 0]


def test_pyarrow_and_plain_python_read_the_same_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    values = rng.uniform(-180, 180, (4000, 3)) * 10.0 ** rng.integers(-12, 1, (4000, 3))
    cells = [[repr(float(v)) for v in row] for row in values]
    for i in range(0, 4000, 40):
        cells[i][i % 3] = ["", "NaN", "inf", "-inf", "null"][i // 40 % 5]
    text = "vid,lon,lat,t\n" + "\n".join(f"{i % 50 or ''},{','.join(row)}" for i, row in enumerate(cells))
    path = write(tmp_path / "a.csv", text)
    results = []
    for limit in (0, 1 << 60):
        monkeypatch.setattr(csv_file, "LARGE_BYTES", limit)
        results.append(read_points(path))
    fast, plain = results
    assert fast.dropped == plain.dropped
    for name in ("x", "y", "t_s", "vehicle"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(plain, name))


def test_a_large_file_without_pyarrow_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "LARGE_BYTES", 0)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert len(read_points(write(tmp_path / "a.csv", TABLE))) == 2


def test_a_header_without_rows_is_no_points(tmp_path: Path, way: str) -> None:
    points = read_points(write(tmp_path / "a.csv", "vid,x,y,t,speed,interval\n"))
    assert len(points) == 0
    assert points.to_array().shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "a,b,time\n1,2,3\n", r"neither x, y nor lon, lat among its columns \[a, b, time\]; expected x, y"),
        ("a.csv", "x,y,lon,lat\n1,2,3,4\n", "both x, y and lon, lat"),
        ("a.csv", "x,y,t,time\n1,2,3,4\n", "more than one column for t_s: t, time"),
        ("a.csv", "117.5,39.2,5\n117.6,39.3,6\n", "no header, its first row is '117.5,39.2,5'"),
        ("a.csv", "lon,lat\n512,300\n400,200\n", "none of the 2 points is usable .dropped: out_of_range 2"),
        ("a.csv", "x,y\nhere,there\n", "a.csv: none of the 1 points is usable .dropped: nan 1"),
        ("a.csv", "vid,x,y,t\n1,2\n3,4,5,6,7\n", "none of the 2 points is usable .dropped: wrong_columns 2"),
        ("a.csv", "x,y,t\n1,2,1301919053000\n", "looks like milliseconds"),
        ("a.csv", "", "is empty"),
        ("a.csv", " \n\n", "is empty"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is not a text file"),
        ("a.csv", "x,y\n1,2\n".encode("utf-16"), "is not a text file"),
        ("a.csv.gz", "", "is empty"),
        ("a.gpx", b"\x00\x01\x02", "is not a text file"),
        ("a.gpx", "<gpx><trk><trkseg><trkpt lat='1'", "is not a whole GPX file"),
        ("a.gpx", "<html><body/></html>", "holds neither a track nor a route|is not a whole GPX file"),
        ("a.gpx", "", "is empty"),
        ("a.nmea", "hello\n", "no RMC or GGA sentence"),
        ("a.nmea", "", "is empty"),
        ("a.parquet", "x,y\n1,2\n", "is not a readable Parquet file"),
        ("a.parquet", "", "is not a readable Parquet file|is empty"),
        ("a.xlsx", "x", r"roadedge reads .csv, .csv.gz, .gpx"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(
    tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    with pytest.raises(PointsError, match=says) as caught:
        read_points(write(tmp_path / name, content))
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_gzip_is_not_read_in_part(tmp_path: Path, way: str) -> None:
    rows = "".join(f"{i * 0.37},{i * 0.11}\n" for i in range(30_000))
    packed = gzip.compress(f"x,y\n{rows}".encode())
    path = tmp_path / "a.csv.gz"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(PointsError, match="not a whole gzip file"):
        read_points(path)
    path.write_bytes(b"not gzip at all")
    with pytest.raises(PointsError, match="not a whole gzip file"):
        read_points(path)


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    for suffix in READERS:
        with pytest.raises(PointsError, match="No such file"):
            read_points(tmp_path / f"absent{suffix}")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(PointsError, match=r"folder\.csv"):
        read_points(tmp_path / "folder.csv")


def test_parquet_is_the_table_of_csv(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 512, 100), rng.uniform(0, 512, 100)
    x[3] = np.nan
    time = pa.array(np.arange(100) * 1_000_000_000 + 5, pa.timestamp("ns"))
    table = pa.table(
        {"vid": pa.array(range(100)), "x": x, "y": pa.array(y, pa.float32()), "time": time, "extra": ["a"] * 100}
    )
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=30)
    points = read_points(tmp_path / "a.parquet")
    assert len(points) == 99
    assert points.dropped == {"nan": 1}
    assert column(points, "vehicle")[2:5] == [2, 4, 5]
    assert column(points, "t_s")[2:5] == [2.0, 4.0, 5.0]
    assert points.y == pytest.approx(np.delete(y.astype(np.float32), 3), abs=0)


def test_parquet_with_other_columns_lists_them(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "a.parquet")
    with pytest.raises(PointsError, match=r"\[a, b\]; expected"):
        read_points(tmp_path / "a.parquet")
    parquet.write_table(pa.table({"x": [[1]], "y": [[2]]}), tmp_path / "b.parquet")
    with pytest.raises(PointsError, match="not a readable Parquet file of points"):
        read_points(tmp_path / "b.parquet")


GPX = """<?xml version="1.0"?><gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1">
<trk><trkseg><trkpt lat="39.25" lon="117.5"><time>2008-02-02T15:36:08Z</time></trkpt>
<trkpt lat="39.5" lon="117.75"/></trkseg>
<trkseg><trkpt lat="0" lon="0"/>
<trkpt lat="39.75" lon="117.25"><time>2008-02-02T15:36:09Z</time></trkpt></trkseg></trk></gpx>
"""


@pytest.mark.parametrize("name", ["a.gpx", "a.gpx.gz"])
def test_gpx_tracks(tmp_path: Path, name: str) -> None:
    pytest.importorskip("gpxpy")
    points = read_points(write(tmp_path / name, GPX))
    assert points.crs == "lonlat"
    assert points.xy().tolist() == [[117.5, 39.25], [117.75, 39.5], [117.25, 39.75]]
    assert column(points, "vehicle") == [0, 0, 1]
    assert column(points, "t_s")[::2] == [1201966568.0, 1201966569.0]
    assert np.isnan(column(points, "t_s")[1])
    assert points.speed_mps is None
    assert points.dropped == {"no_fix": 1}


def sentence(body: str) -> str:
    total = 0
    for character in body:
        total ^= ord(character)
    return f"${body}*{total:02X}"


def rmc(clock: str, lat: str = "4807.0380,N", lon: str = "01131.0000,E", day: str = "020208", status: str = "A") -> str:
    return sentence(f"GPRMC,{clock},{status},{lat},{lon},010.0,084.4,{day},003.1,W")


def gga(clock: str, quality: int = 1) -> str:
    return sentence(f"GPGGA,{clock},4807.0380,N,01131.0000,E,{quality},08,0.9,545.4,M,46.9,M,,")


def test_nmea_epochs_are_one_point_each(tmp_path: Path) -> None:
    pytest.importorskip("pynmea2")
    lines = [gga("153608"), rmc("153608"), sentence("GPGSV,1,1,00"), "17:36 " + rmc("153609.50", lon="01130.0000,W")]
    points = read_points(write(tmp_path / "a.nmea", "\r\n".join(lines)))
    assert points.xy() == pytest.approx(np.array([[11 + 31 / 60, 48.1173], [-11.5, 48.1173]]))
    assert column(points, "t_s") == [1201966568.0, 1201966569.5]
    assert column(points, "speed_mps") == pytest.approx([10 * 1852 / 3600] * 2)
    assert points.dropped == {}


def test_nmea_faults_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("pynmea2")
    lines = [
        rmc("153608"),
        rmc("153609").replace("4807", "4907"),  # the checksum no longer fits
        rmc("153610", status="V"),
        gga("153611", quality=0),
        sentence("GPRMC,153612,A,48x7.038,N,01131.000,E,0,0,020208,,"),
        rmc("153613")[:20],
        "\x01\x02 noise $GP",
    ]
    points = read_points(write(tmp_path / "a.nmea", "\n".join(lines)))
    assert len(points) == 1
    assert points.dropped["checksum"] == 1
    assert points.dropped["no_fix"] >= 2
    assert sum(points.dropped.values()) == 5
    with pytest.raises(PointsError, match=r"none of the 1 RMC and GGA sentences .* no_fix 1"):
        read_points(write(tmp_path / "b.nmea", rmc("153610", status="V")))


def test_nmea_time_goes_on_over_midnight_and_before_the_first_date(tmp_path: Path) -> None:
    pytest.importorskip("pynmea2")
    lines = [gga("235957"), rmc("235958"), gga("235959"), gga("000001"), gga("000002"), rmc("000003", day="030208")]
    points = read_points(write(tmp_path / "a.nmea", "\n".join(lines)))
    midnight = 1201996800.0
    assert column(points, "t_s") == [midnight + s for s in (-3, -2, -1, 1, 2, 3)]
    undated = read_points(write(tmp_path / "b.nmea", "\n".join([gga("235959"), gga("000001")])))
    assert column(undated, "t_s") == [86399.0, 86401.0]


def test_a_datum_is_converted(tmp_path: Path) -> None:
    lon, lat = wgs84_to_gcj02(np.array([116.377817]), np.array([39.911954]))
    path = write(tmp_path / "a.csv", f"lon,lat\n{float(lon[0])!r},{float(lat[0])!r}\n")
    assert read_points(path, datum="gcj02").xy()[0] == pytest.approx([116.377817, 39.911954], abs=1e-9)
    assert abs(read_points(path).x[0] - 116.377817) > 1e-3


def test_a_datum_of_pixels_and_an_unknown_one_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TABLE)
    with pytest.raises(UsageError, match="belongs to longitude and latitude"):
        read_points(path, datum="gcj02")
    with pytest.raises(UnknownNameError, match="gcj02"):
        read_points(path, datum="gcj2")


def test_a_crs_is_for_columns_x_and_y(tmp_path: Path) -> None:
    geographic = write(tmp_path / "a.csv", "lon,lat\n117,39\n")
    with pytest.raises(UsageError, match="goes with columns x, y only"):
        read_points(geographic, crs="EPSG:32616")
    plain = write(tmp_path / "b.csv", "x,y\n117,39\n500,39\n")
    assert read_points(plain, crs="lonlat").dropped == {"out_of_range": 1}


@pytest.mark.parametrize(
    ("package", "name", "content"),
    [("pyarrow", "a.parquet", "PAR1"), ("gpxpy", "a.gpx", GPX), ("pynmea2", "a.nmea", "$GPRMC,")],
)
def test_an_absent_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str, content: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*roadedge\[points\]"):
        read_points(write(tmp_path / name, content))


def test_the_real_simulated_sets_are_read_whole(real_data: Path) -> None:
    for path in sorted(real_data.glob("*/trajectory/*.csv.gz"))[::15]:
        points = read_points(path)
        assert len(points) == gzip.decompress(path.read_bytes()).count(b"\n") - 1
        assert not points.dropped
        assert points.crs == "pixel"
        assert all(getattr(points, name) is not None for name in FIELDS)
        assert points.xy().max() <= 512


def test_the_real_chicago_trips_are_read_whole(real_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(real_data / "chicago" / "tracks_chicago.zip") as packed:
        names = [name for name in packed.namelist() if name.startswith("chicago/trips/trip_")]
        assert len(names) == 889
        for name in names[::50]:
            content = packed.read(name)
            points = read_points(write(tmp_path / "trip.txt", content), crs="EPSG:32616")
            assert len(points) == len(content.split()) // 3
            assert not points.dropped
            assert points.x == pytest.approx(446_000, abs=3_000)
