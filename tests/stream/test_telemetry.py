"""A camera that moves while it delivers: NMEA or JSON of its own receiver, scripted, and a clock moved by hand."""

from __future__ import annotations

import json
import math
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import roadedge.runners
from roadedge.cli import main
from roadedge.errors import DataError, SourceError, UsageError
from roadedge.georeference.camera_file import read_camera
from roadedge.preprocess import Feeds
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.stream.feeds_crs import onto
from roadedge.stream.feeds_udp import HostUtc
from roadedge.stream.gstreamer import LAUNCH
from roadedge.stream.inputs import SourceOptions
from roadedge.stream.joining import open_pairing
from roadedge.stream.locate_camera import CameraLocator
from roadedge.stream.opening import open_source
from roadedge.stream.sources import Frame
from roadedge.stream.telemetry import KEYS, LiveTelemetry
from roadedge.stream.udp_receiver import parse_udp
from roadedge.trajectory.plane import LocalPlane
from tests.stream.fakes import FakeRunner
from tests.stream.feed_fakes import Frames
from tests.stream.test_feeds_udp import sentence

START_S = 1711197319.0  # 23 March 2024, 12:35:19
OWN, OTHER = ("10.0.0.2", 5000), ("10.0.0.3", 5000)
PLANE = LocalPlane(11.5, 48.1)
SIZE = (240, 320)
CAMERA = """
[image]
width = 320
height = 240
[lens]
fx = 200.0
[mount]
height_m = 2.0
pitch_deg = -20.0
"""
RECTIFY = "[rectify]\ngsd_m = 0.25\nnear_m = 4\nfar_m = 28\nwidth_m = 16\n"
SPEC = ModelSpec("fake", gsd_m=None, gsd_band_m=None)


class Clock:
    """UTC of the host, moved by hand."""

    def __init__(self) -> None:
        self.now = START_S

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Iterator[LiveTelemetry]:
    live = LiveTelemetry(parse_udp("udp://127.0.0.1:0"), now_s=clock)
    yield live
    live.close()


def at(east: float, north: float) -> tuple[float, float]:
    lon, lat = PLANE.to_lonlat([[east, north]])[0].tolist()
    return lon, lat


def fix(t_s: float, east: float, north: float, **more: Any) -> bytes:
    lon, lat = at(east, north)
    return json.dumps({"lon": lon, "lat": lat, "t": START_S + t_s, **more}).encode()


def minutes(degrees: float, whole: int) -> str:
    return f"{int(degrees):0{whole}d}{(degrees % 1) * 60:09.6f}"


def rmc(t_s: float, east: float, north: float, speed_kn: str = "", course: str = "") -> bytes:
    lon, lat = at(east, north)
    clock = time.strftime("%H%M%S", time.gmtime(START_S + t_s))
    place = f"{minutes(lat, 2)},N,{minutes(lon, 3)},E"
    return sentence(f"GNRMC,{clock}.00,A,{place},{speed_kn},{course},230324,,".encode())


def gga(t_s: float, east: float, north: float) -> bytes:
    lon, lat = at(east, north)
    clock = time.strftime("%H%M%S", time.gmtime(START_S + t_s))
    place = f"{minutes(lat, 2)},N,{minutes(lon, 3)},E"
    return sentence(f"GNGGA,{clock}.00,{place},1,08,0.9,545.4,M,46.9,M,,".encode())


def frame(capture_s: float | None) -> Frame:
    return Frame("f", Sample(np.full((*SIZE, 3), 90, np.uint8)), capture_s, "pts")


def locator(telemetry: LiveTelemetry, folder: Path, text: str = CAMERA, offset_s: float = 0.0) -> CameraLocator:
    (folder / "cam.toml").write_text(text)
    telemetry.align(Frames(START_S, delivers=True), offset_s)
    return CameraLocator(telemetry, camera=read_camera(folder / "cam.toml"))


def middle(found: Frame) -> list[float]:
    """Metres east and north of PLANE of what the middle of the image shows."""
    place = found.sample.place
    assert place is not None
    height, width = found.sample.size
    east, north = onto(place.to_ground([[width / 2, height / 2]]), place.crs, PLANE.crs)[0].tolist()
    return [east, north]


AHEAD = 2.0 / math.tan(math.radians(20.0))


def test_frames_before_the_first_fix_have_no_place_and_are_counted(
    telemetry: LiveTelemetry, clock: Clock, tmp_path: Path
) -> None:
    locate = locator(telemetry, tmp_path)
    first, second = locate(frame(0.0)), locate(frame(0.1))
    assert first.sample.place is None
    assert "no telemetry has come yet" in first.notice
    assert second.notice == ""
    assert locate.describe()["plane"] is None
    telemetry.receive(fix(1.0, 0, 0), OWN)
    assert "has not moved" in locate(frame(1.0)).notice
    telemetry.receive(fix(2.0, 10, 0), OWN)
    assert middle(locate(frame(2.0))) == pytest.approx([10 + AHEAD, 0], abs=0.02)
    assert dict(locate.misses) == {"before the first fix": 2, "no heading yet": 1}
    assert locate.plane is not None
    origin = [locate.plane.lon_deg, locate.plane.lat_deg]
    assert PLANE.from_lonlat([origin])[0] == pytest.approx([10, 0], abs=0.01)  # where the first frame with a place was


def test_nmea_places_a_camera_ahead_of_its_vehicle(telemetry: LiveTelemetry, tmp_path: Path) -> None:
    locate = locator(telemetry, tmp_path, CAMERA + RECTIFY)
    for t_s in range(4):
        telemetry.receive(gga(t_s, 0, 10 * t_s) + b"\r\n" + rmc(t_s, 0, 10 * t_s, "19.4384", "0.0") + b"\r\n", OWN)
    found = locate(frame(2.5))
    assert found.sample.size == (96, 64)
    assert found.sample.gsd_m == pytest.approx(0.25)
    assert middle(found) == pytest.approx([0, 25 + 16], abs=0.05)
    said = locate.describe()
    assert (said["rows"], said["dropped"], said["alignment"], said["yaw_from"]) == (4, {}, "utc", "course")
    assert "direction of travel" in said["notices"][0]


def test_the_course_of_an_rmc_counts_where_the_position_came_with_the_gga(telemetry: LiveTelemetry) -> None:
    telemetry.receive(gga(0, 0, 0) + b"\r\n" + rmc(0, 0, 0, "10", "123.5"), OWN)
    pose = telemetry.track.at(START_S, 1.0)
    assert pose is not None
    assert pose.yaw_deg == pytest.approx(123.5)
    assert telemetry.track.taken == 1


def test_json_says_where_a_drones_camera_looks(telemetry: LiveTelemetry, tmp_path: Path) -> None:
    drone = CAMERA.replace("height_m = 2.0\npitch_deg = -20.0\n", "")
    locate = locator(telemetry, tmp_path, drone)
    assert "where the telemetry says height_m" in locate.notices[0]
    known = {"height_m": 80.0, "yaw_deg": 90.0, "pitch_deg": -60.0, "roll_deg": 0.0}
    telemetry.receive(fix(0, 5, 7, **known), OWN)
    assert middle(locate(frame(0.0))) == pytest.approx([5 + 80 / math.tan(math.radians(60)), 7], abs=0.05)
    telemetry.receive(fix(5, 5, 7, yaw_deg=90.0), OWN)
    assert locate(frame(5.0)).sample.place is None
    assert dict(locate.misses) == {"height or heading unknown": 1}


def test_a_number_that_is_none_costs_itself_and_not_the_position(telemetry: LiveTelemetry) -> None:
    wrong = b'{"lon": 11.5, "lat": 48.1, "t": 1711197319, "height_m": Infinity, "yaw_deg": "north", "pitch_deg": 95}'
    telemetry.receive(wrong, OWN)
    pose = telemetry.track.at(START_S, 1.0)
    assert pose is not None
    assert (pose.height_m, pose.yaw_deg, pose.pitch_deg) == (None, None, None)
    assert telemetry.describe()["noticed"] == {"bad_height_m": 1, "bad_yaw_deg": 1, "bad_pitch_deg": 1}


def test_the_offset_is_added_to_the_times_of_telemetry(telemetry: LiveTelemetry, tmp_path: Path) -> None:
    locate = locator(telemetry, tmp_path, offset_s=2.0)
    for t_s in range(6):
        telemetry.receive(fix(t_s, 0, 10 * t_s), OWN)
    assert middle(locate(frame(5.0))) == pytest.approx([0, 30 + AHEAD], abs=0.05)


def test_telemetry_that_stops_gives_no_place_two_seconds_later(
    telemetry: LiveTelemetry, clock: Clock, tmp_path: Path
) -> None:
    locate = locator(telemetry, tmp_path)
    for t_s in range(4):
        telemetry.receive(fix(t_s, 0, 10 * t_s), OWN)
    assert middle(locate(frame(4.9))) == pytest.approx([0, 49 + AHEAD], abs=0.05)
    lost = locate(frame(5.5))
    assert lost.sample.place is None
    assert "2.5 s older than the frame" in lost.notice
    assert dict(locate.misses) == {"telemetry stopped": 1}


def test_another_receiver_on_the_port_is_not_our_own_until_ours_is_silent(
    telemetry: LiveTelemetry, clock: Clock
) -> None:
    telemetry.receive(b"garbage", OTHER)
    telemetry.receive(fix(0, 0, 0), OWN)
    telemetry.receive(fix(1, 5000, 0), OTHER)
    clock.now += 11
    telemetry.receive(fix(11, 20, 0), OTHER)
    assert telemetry.describe()["dropped"] == {"unreadable": 1, "other_sender": 1}
    assert telemetry.track.taken == 2


def test_times_of_arrival_put_right_a_sender_without_a_clock(clock: Clock) -> None:
    live = LiveTelemetry(parse_udp("udp://127.0.0.1:0?time=arrival"), now_s=clock)
    live.receive(b'{"lon": 11.5, "lat": 48.1, "t": 1000000000}', OWN)
    live.close()
    assert live.track.at(START_S, 0.1) is not None


def test_points_in_pixels_are_no_telemetry(telemetry: LiveTelemetry) -> None:
    telemetry.receive(b'{"x": 3, "y": 4}', OWN)
    assert telemetry.describe()["dropped"] == {"other_crs": 1}


def test_a_way_of_hundreds_of_kilometres_gets_a_new_plane(
    telemetry: LiveTelemetry, clock: Clock, tmp_path: Path
) -> None:
    locate = locator(telemetry, tmp_path)
    for t_s in range(2):
        telemetry.receive(fix(t_s, 10 * t_s, 0), OWN)
    assert locate(frame(1.0)).sample.place is not None
    for t_s in range(20_000, 20_002):
        clock.now = START_S + t_s
        telemetry.receive(json.dumps({"lon": 17.0 + t_s * 1e-4, "lat": 50.0, "t": clock.now}).encode(), OWN)
    found = locate(frame(20_001.0)).sample.place
    assert found is not None
    assert locate.plane is not None
    assert found.crs == locate.plane.crs
    assert locate.plane.lat_deg == pytest.approx(50.0)


def test_what_telemetry_says_of_a_camera_never_ends_a_run(telemetry: LiveTelemetry, tmp_path: Path) -> None:
    locate = locator(telemetry, tmp_path, CAMERA + RECTIFY)
    telemetry.receive(fix(0, 0, 0, height_m=2.0, yaw_deg=0.0), OWN)
    assert locate(frame(0.0)).sample.place is not None
    telemetry.receive(fix(5, 0, 0, height_m=900, yaw_deg=0.0), OWN)
    telemetry.receive(fix(10, 0, 0, height_m=2.0, yaw_deg=0.0, pitch_deg=80), OWN)
    telemetry.receive(fix(15, 0, 0, height_m=-3, yaw_deg=0.0), OWN)
    assert [locate(frame(t_s)).sample.place for t_s in (5.0, 10.0, 15.0)] == [None] * 3
    assert dict(locate.misses) == {"rectangle out of view": 2, "height or heading unknown": 1}


ODD = st.sampled_from([0, 90, -90, 360, 1e-9])
NUMBERS = st.one_of(st.floats(), st.integers(), st.none(), st.text(max_size=3), ODD)


@given(st.lists(st.dictionaries(st.sampled_from([*KEYS, "lon", "lat", "t"]), NUMBERS), max_size=6), st.booleans())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_a_frame_has_a_place_or_none(tmp_path: Path, rows: list[dict[str, Any]], above: bool) -> None:
    live = LiveTelemetry(parse_udp("udp://127.0.0.1:0"), now_s=lambda: START_S + 5)
    try:
        locate = locator(live, tmp_path, CAMERA + RECTIFY * above)
        for t_s, row in enumerate(rows):
            live.receive(json.dumps(json.loads(fix(t_s, 0, 9 * t_s)) | row).encode(), OWN)
            place = locate(frame(t_s)).sample.place
            assert place is None or np.isfinite(place.homography).all()
        live.receive(json.dumps(rows).encode()[:-2], OWN)
    finally:
        live.close()


# from the command line


def options(folder: Path, telemetry: str, *points: str, text: str = CAMERA, **more: Any) -> SourceOptions:
    (folder / "cam.toml").write_text(text)
    return SourceOptions(points, camera=folder / "cam.toml", telemetry=telemetry, **more)


def test_live_telemetry_without_a_camera_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"give --camera cam\.toml with \[lens\]"):
        open_pairing("gst:x", Frames(), SourceOptions(telemetry="udp://127.0.0.1:0"), print)
    with pytest.raises(UsageError, match="is no address of telemetry"):
        open_pairing("gst:x", Frames(), options(tmp_path, "udp://127.0.0.1"), print)
    with pytest.raises(UsageError, match="takes a file, bag:PATH#topic or udp"):
        open_pairing("gst:x", Frames(), options(tmp_path, "rtsp://127.0.0.1"), print)
    with pytest.raises(UsageError, match="beside live telemetry leave it out"):
        open_pairing("gst:x", Frames(), options(tmp_path, "udp://127.0.0.1:0", headings="check"), print)
    with pytest.raises(DataError, match="focal length"):
        open_pairing("gst:x", Frames(), options(tmp_path, "udp://127.0.0.1:0", text="[mount]\nheight_m = 2\n"), print)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_one_port_is_telemetry_and_points(tmp_path: Path) -> None:
    text = f"udp://127.0.0.1:{free_port()}"
    now_s = HostUtc().now_s()
    source = Frames(now_s, delivers=True)
    pairing = open_pairing("gst:x", source, options(tmp_path, text, text, text=CAMERA + RECTIFY), print)
    assert pairing is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for t_s in range(8):
            lon, lat = at(0, 5.0 * t_s)
            row = json.dumps({"lon": lon, "lat": lat, "t": now_s - 7 + t_s}).encode()
            sender.sendto(row, ("127.0.0.1", parse_udp(text).port))
        end_s = time.monotonic() + 5
        while pairing.describe()["place"]["rows"] < 8 and time.monotonic() < end_s:
            time.sleep(0.01)
    shown = pairing.place(frame(-4.0))
    second = pairing.second(shown, SPEC)
    assert middle(shown) == pytest.approx([0, 15 + 16], abs=0.05)
    assert second.points == 0  # those ahead are of later, those passed lie behind
    assert pairing.second(pairing.place(frame(0.0)), SPEC).skew_ms == pytest.approx(0, abs=1)
    said = pairing.describe()
    assert said["feeds"][0]["points"] == 8
    assert said["place"]["telemetry"] == text
    pairing.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", parse_udp(text).port))  # it was given back


def test_a_port_that_fails_beside_the_telemetry_leaves_none_open(tmp_path: Path) -> None:
    own = f"udp://127.0.0.1:{free_port()}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        taken = f"udp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(SourceError, match="in use"):
            open_pairing("gst:x", Frames(), options(tmp_path, own, taken), print)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", parse_udp(own).port))


def test_fixes_of_a_bag_place_its_pictures(tmp_path: Path) -> None:
    pytest.importorskip("rosbags.rosbag2", reason="the ros extra is not installed")
    from tests.stream.test_bag import BEGIN_NS
    from tests.stream.test_bag import fix as bag_fix
    from tests.stream.test_bag import image as bag_image
    from tests.stream.test_bag import write as write_bag

    pictures = [bag_image(BEGIN_NS + i * 10**9, pixels=np.full((*SIZE, 3), 90, np.uint8)) for i in range(4)]
    fixes = [bag_fix(BEGIN_NS + (i - 2) * 10**9, *at(0, 10.0 * i)) for i in range(8)]
    bag = write_bag(tmp_path / "drive", {"/cam": pictures, "/fix": fixes})
    chosen = options(tmp_path, f"bag:{bag}#/fix")
    text = f"bag:{bag}#/cam"
    with open_source(text, chosen) as source:
        pairing = open_pairing(text, source, chosen, print)
        assert pairing is not None
        placed = [pairing.place(shown) for shown in iter(source.read, None)]
        pairing.close()
    assert [middle(one)[1] for one in placed] == pytest.approx([20 + 10 * i + AHEAD for i in range(4)], abs=0.05)


def test_the_offset_means_the_same_for_telemetry_of_a_file_and_for_points(tmp_path: Path) -> None:
    rows = [(i, *at(0, 10.0 * i)) for i in range(20)]
    track = tmp_path / "track.csv"
    track.write_text("t,lon,lat\n" + "".join(f"{START_S + t},{lon:.9f},{lat:.9f}\n" for t, lon, lat in rows))
    chosen = options(tmp_path, str(track), f"replay:{track}", offset_s=3.0, window_s=0.5, tolerance_s=0.1)
    pairing = open_pairing("film.mp4", Frames(), chosen, print)
    assert pairing is not None
    shown = pairing.place(frame(8.0))
    assert middle(shown) == pytest.approx([0, 50 + AHEAD], abs=0.05)
    second = pairing.second(shown, SPEC)
    assert second.skew_ms == pytest.approx(0, abs=0.1)
    pairing.close()


@pytest.mark.parametrize(("begin_s", "delivers"), [(0.0, False), (START_S - 900.0, True)])
def test_a_track_that_cannot_be_of_the_streams_time_begins_with_it(
    tmp_path: Path, begin_s: float, delivers: bool
) -> None:
    rows = [(i, *at(0, 10.0 * i)) for i in range(20)]
    track = tmp_path / "track.csv"
    track.write_text("t,lon,lat\n" + "".join(f"{begin_s + t},{lon:.9f},{lat:.9f}\n" for t, lon, lat in rows))
    pairing = open_pairing("x", Frames(START_S, delivers), options(tmp_path, str(track)), print)
    assert pairing is not None
    assert middle(pairing.place(frame(8.0))) == pytest.approx([0, 80 + AHEAD], abs=0.05)
    pairing.close()


# a whole run

BEARING = math.radians(30.0)
ASIDE_M = 3.0  # to the right of the vehicle's way runs the road that the others drive on
PIPELINE = "gst:videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=10/1"


def along(ahead_m: float, aside_m: float) -> tuple[float, float]:
    """Longitude and latitude of a place on or beside the vehicle's way."""
    east = ahead_m * math.sin(BEARING) + aside_m * math.cos(BEARING)
    return at(east, ahead_m * math.cos(BEARING) - aside_m * math.sin(BEARING))


class Vehicle(threading.Thread):
    """Goes north-north-east at 10 m/s and says so ten times a second; others say where their road is."""

    def __init__(self, own: int, fleet: int) -> None:
        super().__init__(daemon=True)
        self.own, self.fleet, self.over = own, fleet, threading.Event()
        self.begin_s = time.time()

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self.over.wait(0.1):
                now_s = time.time()
                self.say(sender, self.own, [self.way_m(now_s)], 0.0, now_s)
                self.say(sender, self.fleet, list(np.arange(0, 40, 0.5) + self.way_m(now_s)), ASIDE_M, now_s)

    def way_m(self, now_s: float) -> float:
        return 10.0 * (now_s - self.begin_s)

    def say(self, sender: socket.socket, port: int, ahead_m: list[float], aside_m: float, now_s: float) -> None:
        places = [along(metres, aside_m) for metres in ahead_m]
        rows = [{"lon": lon, "lat": lat, "t": now_s} for lon, lat in places]
        sender.sendto(json.dumps(rows).encode(), ("127.0.0.1", port))


class WherePointsAre(FakeRunner):
    """A network that calls a road what vehicles have driven on."""

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        thick = cv2.dilate(feeds["trajectory"][0, ..., 0], np.ones((7, 7), np.uint8))
        return {"probability": (thick > 0).astype(np.float32)[None]}


def test_a_moving_live_camera_writes_its_roads_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which(LAUNCH) is None:
        pytest.skip("GStreamer is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *arguments: WherePointsAre())
    (tmp_path / "cam.toml").write_text(CAMERA + RECTIFY)
    own, fleet = free_port(), free_port()
    vehicle = Vehicle(own, fleet)
    vehicle.start()
    try:
        code = main([
            "infer", PIPELINE, "--camera", "cam.toml", "--telemetry", f"udp://127.0.0.1:{own}",
            "--trajectory", f"udp://127.0.0.1:{fleet}", "--save", "geojson,csv", "--max-frames", "30", "-o", "out",
        ])  # fmt: skip
    finally:
        vehicle.over.set()
        vehicle.join()
    assert code == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    place = metrics["pairing"]["place"]
    assert place["located"] >= 20
    assert place["alignment"] == "utc"
    assert place["dropped"] == {}
    lines = [json.loads(line) for line in (tmp_path / "out" / "roads.geojsonl").read_text().splitlines()]
    assert len({line["properties"]["frame"] for line in lines}) >= 20
    for line in lines:
        ahead_m, aside_m = np.array([way_of(lon, lat) for lon, lat in line["geometry"]["coordinates"]]).T
        assert np.abs(aside_m - ASIDE_M).max() < 0.75
        then_s = datetime.fromisoformat(line["properties"]["time"].replace("Z", "+00:00")).timestamp()
        assert vehicle.way_m(then_s) + 3.0 < ahead_m.min()
        assert ahead_m.max() < vehicle.way_m(then_s) + 29.0


def way_of(lon: float, lat: float) -> tuple[float, float]:
    """Metres ahead of the vehicle's beginning, and to the right of its way."""
    east, north = PLANE.from_lonlat([[lon, lat]])[0]
    sine, cosine = math.sin(BEARING), math.cos(BEARING)
    return east * sine + north * cosine, east * cosine - north * sine
