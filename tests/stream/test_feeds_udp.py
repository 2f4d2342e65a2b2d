"""Live points on loopback: formats by content, checksums, times, garbage, floods, and an end that is quick."""

from __future__ import annotations

import json
import math
import socket
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadedge.errors import MissingExtraError, SourceError, UsageError
from roadedge.stream.feeds import FeedOptions, open_feed
from roadedge.stream.feeds_udp import UdpFeed
from roadedge.trajectory.points import Points

RMC = b"GPRMC,123519.50,A,4807.038,N,01131.000,E,022.4,084.4,230324,003.1,W"  # 23 March 2024, 12:35:19.5
RMC_S = 1711197319.5
ARRIVAL_S = 1_711_200_000.0


def sentence(body: bytes) -> bytes:
    checksum = 0
    for byte in body:
        checksum ^= byte
    return b"$%s*%02X" % (body, checksum)


def gga(clock: str, lat: str = "4807.038", quality: str = "1") -> bytes:
    return sentence(f"GPGGA,{clock},{lat},N,01131.000,E,{quality},08,0.9,545.4,M,46.9,M,,".encode())


@pytest.fixture
def feed() -> Iterator[UdpFeed]:
    yield from opened(FeedOptions())


def opened(options: FeedOptions, own_times: bool = True, held_points: int = 1000) -> Iterator[UdpFeed]:
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.bind(("127.0.0.1", 0))
    with UdpFeed(connection, "udp", options, own_times, lambda: ARRIVAL_S, held_points) as live:
        yield live


def taken(feed: UdpFeed) -> list[tuple[float, float, float]]:
    points = feed.take(math.inf)
    if points is None:
        return []
    assert points.t_s is not None
    return list(zip(points.t_s.tolist(), points.x.tolist(), points.y.tolist(), strict=True))


def wait_for(feed: UdpFeed, count: int) -> Points:
    """The points of a feed once `count` of them have arrived."""
    parts: list[Points] = []
    end_s = time.monotonic() + 5
    while sum(len(p) for p in parts) < count and time.monotonic() < end_s:
        part = feed.take(math.inf)
        parts += [] if part is None else [part]
        time.sleep(0.002)
    assert sum(len(p) for p in parts) == count
    return Points(
        np.concatenate([p.x for p in parts]),
        np.concatenate([p.y for p in parts]),
        np.concatenate([np.asarray(p.t_s) for p in parts]),
        crs=parts[0].crs,
    )


def test_points_arrive_over_loopback_in_both_formats() -> None:
    with open_feed("udp://127.0.0.1:0") as feed, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        assert isinstance(feed, UdpFeed)
        sender.sendto(sentence(RMC) + b"\r\n", feed.address)
        sender.sendto(json.dumps({"lon": 2.5, "lat": 48.5}).encode(), feed.address)
        points = wait_for(feed, 2)
    assert points.crs == "lonlat"
    assert points.x.tolist() == pytest.approx([11 + 31 / 60, 2.5])
    assert points.y.tolist() == pytest.approx([48 + 7.038 / 60, 48.5])
    assert points.t_s is not None
    assert points.t_s[0] == RMC_S
    assert abs(points.t_s[1] - time.time()) < 5


def test_rmc_and_gga_of_one_moment_are_one_point_and_a_gga_gets_its_date(feed: UdpFeed) -> None:
    feed.receive(b"\r\n".join([sentence(RMC), gga("123519.50"), gga("123520.50")]), "a")
    assert [t for t, _, _ in taken(feed)] == [RMC_S, RMC_S + 1]
    feed.receive(gga("123520.50"), "b")  # another receiver
    feed.receive(gga("123520.50", lat="4808.038"), "b")  # a gateway: another vehicle at the same moment
    assert len(taken(feed)) == 2


def test_a_gga_without_any_date_gets_that_nearest_to_its_arrival_and_midnight_is_passed(feed: UdpFeed) -> None:
    feed.receive(gga("132000"), "a")
    assert taken(feed)[0][0] == ARRIVAL_S  # 2024-03-23 13:20:00
    feed.receive(sentence(RMC.replace(b"123519.50", b"235959.00")), "c")
    feed.receive(gga("000000.00"), "c")
    first, second = (t for t, _, _ in taken(feed))
    assert second - first == 1.0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (sentence(RMC)[:-2] + b"00", "checksum"),
        (b"$" + RMC, "checksum"),
        (sentence(RMC.replace(b",A,", b",V,")), "no_fix"),
        (gga("120000", quality="0"), "no_fix"),
        (gga("120000", lat=""), "no_fix"),
        (gga("250000"), "unreadable"),
        (gga("120000", lat="4860.038"), "unreadable"),
        (gga("120000", lat="9107.000"), "out_of_range"),
        (sentence(RMC.replace(b"230324", b"310224")), "unreadable"),
        (sentence(b"GPRMC,1"), "unreadable"),
        (b"$$$$", "unreadable"),
        (b"hello", "unreadable"),
        (b"\xff\xfe\x00", "unreadable"),
        (b"{", "unreadable"),
        (b'{"lon": 1}', "unreadable"),
        (b'{"lon": "1", "lat": 2}', "unreadable"),
        (b'{"lon": true, "lat": 2}', "unreadable"),
        (b"[1, 2]", "unreadable"),
        (b"[" * 60000, "unreadable"),
        (b'{"lon": NaN, "lat": 2}', "nan"),
        (b'{"lon": 1e999, "lat": 2}', "infinite"),
        (b'{"x": 1' + b"0" * 400 + b', "y": 2}', "infinite"),
        (b'{"lon": 190, "lat": 2}', "out_of_range"),
        (b'{"lon": 0, "lat": 0}', "no_fix"),
        (b'{"lon": 1, "lat": 2, "t": "noon"}', "bad_time"),
        (b'{"lon": 1, "lat": 2, "t": NaN}', "bad_time"),
        (b'{"lon": 1, "lat": 2, "t": [1]}', "bad_time"),
        (b'{"lon": 1, "lat": 2, "t": 1711197319500}', "milliseconds"),
        (b'{"lon": 1, "lat": 2, "t": 12.5}', "not_utc"),
    ],
)
def test_garbage_is_counted_and_not_fatal(feed: UdpFeed, line: bytes, reason: str) -> None:
    feed.receive(line, "a")
    assert taken(feed) == []
    assert reason in feed.dropped
    feed.receive(sentence(RMC), "a")
    assert len(taken(feed)) == 1


@given(st.binary(max_size=200))
def test_no_datagram_breaks_the_receiver(datagram: bytes) -> None:
    for feed in opened(FeedOptions()):
        for prefix in (b"", b"$GPRMC,", b"{", b'[{"lon":1,"lat":'):
            feed.receive(prefix + datagram, "a")
        for _, x, y in taken(feed):
            assert math.isfinite(x)
            assert math.isfinite(y)
        break


def test_other_sentences_are_passed_over_and_stamps_before_a_sentence_too(feed: UdpFeed) -> None:
    others = (
        sentence(b"GPGSV,1,1,00"),
        sentence(b"PUBX,00,1"),
        b"!" + sentence(b"AIVDM,1,1,,A,13u?etPv2;0n:dDPwUM1U1Cb069D,0")[1:],
    )
    feed.receive(b"\n".join(others), "a")
    feed.receive(others[2], "a")
    feed.receive(rb"\s:gps,c:1711197319*00" + b"\\" + sentence(RMC), "a")
    assert len(taken(feed)) == 1
    assert not feed.dropped


def test_json_takes_lists_lines_spellings_and_dates(feed: UdpFeed) -> None:
    feed.receive(
        b'[{"lng": 1, "latitude": 2, "t": "2024-03-23T12:35:19.5Z"}, {"lon": 3, "lat": 4, "vehicle": "v"}]', "a"
    )
    feed.receive(b'{"lon": 5, "lat": 6, "t": null}\n\n{"lon": 7, "lat": 8, "t": 1711197320}\nx\n', "a")
    assert taken(feed) == [(RMC_S, 1, 2), (ARRIVAL_S, 3, 4), (ARRIVAL_S, 5, 6), (1711197320.0, 7, 8)]
    assert feed.dropped == {"unreadable": 1}
    assert feed.noticed == {"time_of_arrival": 2}


def test_the_first_point_decides_between_pixels_and_degrees() -> None:
    for feed in opened(FeedOptions()):
        feed.receive(b'{"x": 10, "y": 20}', "a")
        feed.receive(b'{"lon": 1, "lat": 2}', "a")
        assert taken(feed) == [(ARRIVAL_S, 10, 20)]
        assert feed.crs == "pixel"
        assert feed.dropped == {"other_crs": 1}
    for feed in opened(FeedOptions("EPSG:32616")):
        feed.receive(b'{"x": 446097, "y": 4636565}', "a")
        assert len(taken(feed)) == 1
        assert feed.crs == "EPSG:32616"


def test_times_of_arrival_are_taken_where_they_are_asked_for() -> None:
    for feed in opened(FeedOptions(), own_times=False):
        feed.receive(sentence(RMC), "a")
        feed.receive(b'{"lon": 1, "lat": 2, "t": 12.5}', "a")
        assert [t for t, _, _ in taken(feed)] == [ARRIVAL_S, ARRIVAL_S]


def test_a_datum_is_brought_to_wgs84() -> None:
    for feed in opened(FeedOptions(datum="gcj02")):
        feed.receive(b'{"lon": 116.4, "lat": 39.9}', "a")
        _, lon, lat = taken(feed)[0]
        assert 300 < math.hypot((lon - 116.4) * 85e3, (lat - 39.9) * 111e3) < 700


def test_a_flood_is_bounded_and_counted() -> None:
    for feed in opened(FeedOptions(), held_points=100):
        for _ in range(1000):
            feed.receive(b'{"lon": 1, "lat": 2}', "a")
        assert len(taken(feed)) == 100
        assert feed.dropped == {"overflow": 900}
        for sender in range(5000):  # as many senders as you like
            feed.receive(sentence(RMC), sender)
        assert len(feed._nmea._last) <= 256


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what it dropped")
def test_what_the_system_drops_is_counted() -> None:
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.bind(("127.0.0.1", 0))
    for _ in range(500):  # before anybody reads
        connection.sendto(b'{"lon": 1, "lat": 2}', connection.getsockname())
    with UdpFeed(connection, "udp", FeedOptions()) as feed:
        end_s, count = time.monotonic() + 5, 0
        while count + feed.dropped["lost_in_system"] < 500 and time.monotonic() < end_s:
            count += len(taken(feed))
    assert count > 0
    assert feed.dropped["lost_in_system"] == 500 - count


def test_without_pyproj_a_projected_crs_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from roadedge.stream import feeds_crs

    monkeypatch.setitem(sys.modules, "pyproj", None)
    feeds_crs._transformer.cache_clear()
    with pytest.raises(MissingExtraError, match=r"roadedge\[geo\]"):
        open_feed("udp://127.0.0.1:0", FeedOptions("EPSG:32616"))


def test_a_port_in_use_is_one_sentence_and_closing_is_quick_and_gives_it_back() -> None:
    feed = open_feed("udp://127.0.0.1:0")
    assert isinstance(feed, UdpFeed)
    text = f"udp://127.0.0.1:{feed.address[1]}"
    with pytest.raises(SourceError, match=r"in use by another program; end that one or choose another port"):
        open_feed(text)
    begin_s = time.monotonic()
    feed.close()
    feed.close()
    assert time.monotonic() - begin_s < 1.0
    open_feed(text).close()


def test_a_crs_that_does_not_exist_is_refused_before_the_first_point() -> None:
    pytest.importorskip("pyproj", reason="pyproj is not installed")
    with pytest.raises(UsageError, match="EPSG:32616"):
        open_feed("udp://127.0.0.1:0", FeedOptions("EPSG:99999999"))
    with pytest.raises(UsageError, match="columns lon, lat"):
        open_feed("udp://127.0.0.1:0", FeedOptions("EPSG:4326"))
