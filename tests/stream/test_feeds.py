"""Feeds that are files: priors all at once, replays on their own clock, whatever their times look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadedge.errors import PointsError, SourceError, UnknownNameError, UsageError
from roadedge.stream.feeds import FeedOptions, open_feed
from roadedge.stream.feeds_file import ReplayFeed
from roadedge.trajectory.points import Points

DAY_S = 86400.0


def points(t_s: list[float], vehicle: list[int] | None = None, crs: str = "local", step: float = 1.0) -> Points:
    x = np.arange(len(t_s), dtype=np.float64) * np.float64(step)
    number = None if vehicle is None else np.array(vehicle)
    return Points(x, np.zeros(len(t_s)), np.array(t_s), vehicle=number, crs=crs)


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_file_is_a_prior_and_gives_all_its_points_at_once_whatever_their_times(tmp_path: Path) -> None:
    name = write(tmp_path / "p.csv", "lon,lat,t\n2.0,48.0,5\n2.1,48.1,nan\n0,0,6\n")
    for text in (name, f"prior:{name}"):
        feed = open_feed(text)
        assert (feed.timed, feed.live, feed.crs) == (False, False, "lonlat")
        taken = feed.take(-1e9)
        assert taken is not None
        assert taken.x.tolist() == [2.0, 2.1]
        assert taken.t_s is None
        assert feed.dropped == {"no_fix": 1}
        assert feed.take(1e9) is None


def test_a_replay_gives_each_point_when_its_time_has_come_in_order() -> None:
    feed = ReplayFeed("r", points([30.0, 10.0, 20.0]))
    assert (feed.first_s, feed.last_s, feed.next_s, feed.utc) == (10.0, 30.0, 10.0, False)
    assert feed.take(9.99) is None
    for until_s, x in ((10.0, [1.0]), (10.0, None), (35.0, [2.0, 0.0])):
        taken = feed.take(until_s)
        assert (None if taken is None else taken.x.tolist()) == x
    assert feed.next_s is None


@pytest.mark.parametrize("suffix", ["csv", "parquet", "gpx", "nmea"])
def test_every_format_is_replayed_on_its_own_clock(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"track.{suffix}"
    rows = [(1711197319.0, 11.5, 48.25), (1711197321.0, 11.75, 48.5)]
    if suffix == "csv":
        write(file, "t,lon,lat\n" + "".join(f"{t},{lon},{lat}\n" for t, lon, lat in rows))
    elif suffix == "parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        from pyarrow import parquet

        columns = dict(zip(("t", "lon", "lat"), zip(*rows, strict=True), strict=True))
        parquet.write_table(pyarrow.table(columns), file)
    elif suffix == "gpx":
        pytest.importorskip("gpxpy", reason="gpxpy is not installed")
        fixes = "".join(
            f'<trkpt lat="{lat}" lon="{lon}"><time>2024-03-23T12:35:{t - 1711197300:02.0f}Z</time></trkpt>'
            for t, lon, lat in rows
        )
        write(file, f'<gpx version="1.1" creator="x"><trk><trkseg>{fixes}</trkseg></trk></gpx>')
    else:
        pytest.importorskip("pynmea2", reason="pynmea2 is not installed")
        bodies = ("123519.00,A,4815.000,N,01130.000,E,,,230324,,", "123521.00,A,4830.000,N,01145.000,E,,,230324,,")
        write(file, "".join(f"$GPRMC,{body}\r\n" for body in bodies))
    feed = open_feed(f"replay:{file}")
    assert (feed.first_s, feed.last_s, feed.utc, feed.crs) == (rows[0][0], rows[1][0], True, "lonlat")
    for t_s, lon, lat in rows:
        taken = feed.take(t_s)
        assert taken is not None
        assert (taken.x.tolist(), taken.y.tolist()) == ([lon], [lat])


def test_the_fixes_of_a_bag_are_replayed_by_their_headers(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="rosbags is not installed")
    from tests.stream.test_bag import BEGIN_NS, fix
    from tests.stream.test_bag import write as write_bag

    rows = [fix(BEGIN_NS + round(1e9 * step), 8.0 + step, 47.0) for step in range(3)]
    feed = open_feed(f"bag:{write_bag(tmp_path / 'drive', {'/gps': rows})}#/gps")
    assert (feed.first_s, feed.crs, feed.live, feed.utc) == (BEGIN_NS / 1e9, "lonlat", False, True)
    taken = feed.take(BEGIN_NS / 1e9 + 1.5)
    assert taken is not None
    assert taken.x.tolist() == [8.0, 9.0]


def test_rows_that_go_back_are_counted_for_each_vehicle_and_kept() -> None:
    mixed = ReplayFeed("r", points([1.0, 100.0, 2.0, 101.0, 1.5], [7, 9, 7, 9, 7]))
    assert mixed.noticed["backward"] == 1  # 2.0 to 1.5 of vehicle 7; 100 to 2 is another vehicle
    taken = mixed.take(1e3)
    assert taken is not None
    assert len(taken) == 5


def test_a_row_without_a_time_and_a_clock_that_was_not_set_are_left_out() -> None:
    now_s = 1.3e9
    feed = ReplayFeed("r", points([0.0, 1.0, now_s, now_s + 1, float("nan"), now_s + 40 * DAY_S, now_s + 2, 5e9]))
    assert feed.dropped == {"nan_time": 1, "clock_jump": 3}
    assert (feed.first_s, feed.last_s) == (now_s, now_s + 40 * DAY_S)
    assert feed.utc


def test_a_jump_in_place_is_noticed_in_metres_and_kept() -> None:
    far = points([0.0, 1.0, 2.0], [1, 1, 1], step=150.0)
    assert ReplayFeed("r", far).noticed == {"position_jump": 2}
    assert ReplayFeed("r", points([0.0, 1.0, 2.0], [1, 1, 1], "lonlat", 0.001)).noticed == {"position_jump": 2}  # 111 m
    assert not ReplayFeed("r", points([0.0, 1.0, 2.0], [1, 1, 1], "lonlat", 0.0005)).noticed
    assert not ReplayFeed("r", points([0.0, 1.0, 2.0], [1, 2, 3], step=150.0)).noticed
    assert not ReplayFeed("r", points([0.0, 1.0, 2.0], [1, 1, 1], "pixel", 150.0)).noticed


@given(
    st.lists(st.one_of(st.floats(0, 1e5), st.just(float("nan"))), min_size=1, max_size=40),
    st.lists(st.floats(-10, 1.1e5), max_size=10),
)
def test_every_row_with_a_time_comes_exactly_once_and_never_early(t_s: list[float], moments: list[float]) -> None:
    known = [t for t in t_s if not np.isnan(t)]
    if not known:
        with pytest.raises(PointsError, match="no row with a time"):
            ReplayFeed("r", points(t_s))
        return
    feed, given_out = ReplayFeed("r", points(t_s)), []
    for moment in [*sorted(moments), 2e5]:
        taken = feed.take(moment)
        if taken is not None:
            assert taken.t_s is not None
            assert (taken.t_s <= moment).all()
            assert len(np.unique(taken.x)) == len(taken)
            given_out += taken.t_s.tolist()
    assert given_out == sorted(known)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("replay:", UsageError, "names nothing"),
        ("tcp://1.2.3.4:5", UsageError, "tcp: is no source of points.*replay:FILE"),
        ("replay:no.csv", SourceError, "there is no file no.csv"),
        ("no.csv", SourceError, "there is no file no.csv"),
        (".", SourceError, "there is no file"),
        ("bag:no_drive#/fix", SourceError, "there is no bag no_drive"),
        ("udp://127.0.0.1", UsageError, "udp://HOST:PORT"),
        ("udp://127.0.0.1:99999", UsageError, "udp://HOST:PORT"),
        ("udp://127.0.0.1:5000?time=gps", UsageError, "time=arrival"),
        ("udp://127.0.0.1:5000/x", UsageError, "udp://HOST:PORT"),
        ("udp://192.0.2.1:5000", SourceError, "no address of this machine"),
    ],
)
def test_what_cannot_be_opened_is_one_sentence(text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as said:
        open_feed(text)
    assert "\n" not in str(said.value)


def test_a_replay_without_times_names_the_prior(tmp_path: Path) -> None:
    name = write(tmp_path / "p.csv", "x,y\n1,2\n")
    with pytest.raises(PointsError, match="prior:FILE"):
        open_feed(f"replay:{name}")
    empty = write(tmp_path / "e.csv", "x,y,t\n")
    with pytest.raises(PointsError, match="no row with a time"):
        open_feed(f"replay:{empty}")
    assert len(open_feed(empty).take(0.0) or []) == 0


def test_options_name_crs_and_datum(tmp_path: Path) -> None:
    pytest.importorskip("pyproj", reason="pyproj is not installed")
    name = write(tmp_path / "p.csv", "x,y\n446097.6,4636565.4\n")
    assert open_feed(name, FeedOptions("EPSG:32616")).crs == "EPSG:32616"
    with pytest.raises(UnknownNameError, match="wgs84"):
        FeedOptions(datum="wgs48")
    with pytest.raises(UsageError, match="EPSG:32616"):
        open_feed(name, FeedOptions("EPSG:32616", "gcj02"))
