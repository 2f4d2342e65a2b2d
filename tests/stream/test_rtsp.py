"""RTSP through a real server on loopback, killed, frozen and started again under the reader."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from roadedge.errors import SourceError, UsageError
from roadedge.stream.camera import rtsp_address
from roadedge.stream.live import LiveOptions
from roadedge.stream.schemes import open_scheme
from roadedge.stream.sources import Frame, Source
from tests.stream.pixels import pixels
from tests.stream.rtsp_server import RtspServer, has_coder, missing, moment_ms

pytest.importorskip("av", reason="the video extra is not installed")
needs_server = pytest.mark.skipif(bool(missing()), reason=missing())
PERIOD_MS = 50.0
QUICK = LiveOptions(timeout_s=4.0, open_s=20.0, give_up_s=30.0)  # a busy machine must not look like a lost stream


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer() as one:
        one.start()
        yield one


def take(source: Source, count: int) -> list[Frame]:
    frames = [source.read() for _ in range(count)]
    assert all(frame is not None for frame in frames)
    return [frame for frame in frames if frame is not None]


def moments(frames: list[Frame]) -> list[int]:
    return [moment_ms(pixels(frame)) for frame in frames]


def late_ms(frame: Frame) -> float:
    """How long after the frame was really made its capture is said to be; the server's clock is ours."""
    assert frame.captured_ns is not None
    return float(frame.captured_ns / 1e6 % 2**32) - moment_ms(pixels(frame))


@needs_server
@pytest.mark.parametrize("transport", ["", "?transport=udp"])
def test_frames_come_in_order_with_their_capture_times(server: RtspServer, transport: str) -> None:
    with open_scheme(server.url() + transport, QUICK) as cam:
        cam.prepare()
        frames = take(cam, 12)
    made = moments(frames)
    assert made == sorted(set(made))
    assert {frame.sample.size for frame in frames} == {(64, 256)}
    assert {frame.clock for frame in frames[1:]} == {"pts"}
    assert -5 < min(late_ms(frame) for frame in frames) < 300
    assert cam.delivers
    assert cam.rate_hz is None


@needs_server
@pytest.mark.parametrize("coder", ["h264", "hevc"])
def test_a_frame_that_ffmpeg_holds_until_the_next_one_is_as_old_as_it_is(coder: str) -> None:
    if not has_coder(coder):
        pytest.skip(f"GStreamer has no encoder for {coder}")
    with RtspServer(coder) as server:
        server.start()
        with open_scheme(server.url(), QUICK) as cam:
            frames = take(cam, 15)
    assert -5 < min(late_ms(frame) for frame in frames[1:]) < PERIOD_MS / 2


@needs_server
def test_killed_twice_it_comes_back_twice_and_no_frame_is_invented(server: RtspServer) -> None:
    with open_scheme(server.url(), QUICK) as cam:
        frames = take(cam, 5)
        for size in ((512, 64), (256, 128)):  # width, height: it comes back as another size
            server.kill()
            killed_ms = time.perf_counter_ns() // 1_000_000
            server.start(size)
            while moment_ms(pixels(frames[-1])) < killed_ms:  # what was on its way when the server died
                frames += take(cam, 1)
            assert frames[-1].sample.size == (size[1], size[0])
            frames += take(cam, 4)
        made = moments(frames)
        assert made == sorted(set(made))  # no frame twice, none out of order
        assert len(cam.gaps) == 2
        for gap in cam.gaps:
            assert gap.end_ns is not None
            assert gap.attempts >= 1
            between = [f for f in frames if gap.begin_ns < (f.captured_ns or 0) < gap.end_ns]
            assert between == []


@needs_server
def test_a_server_that_freezes_is_lost_and_one_that_stays_away_is_given_up(server: RtspServer) -> None:
    with open_scheme(server.url(), LiveOptions(timeout_s=1.5, open_s=20, attempts=0)) as cam:
        take(cam, 3)
        server.freeze()
        with pytest.raises(SourceError, match=r"was lost .* given up after 0 attempts"):
            take(cam, 1000)
    begin_s = time.monotonic()
    deaf = LiveOptions(timeout_s=0.4, open_s=0.4)
    with (
        open_scheme(server.url(), deaf) as cam,
        pytest.raises(SourceError, match="cannot be read: no"),
    ):
        cam.prepare()
    assert time.monotonic() - begin_s < 5


def test_a_server_that_accepts_and_never_answers_is_told_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"rtsp://me:geheim@127.0.0.1:{deaf.getsockname()[1]}/cam"
        with open_scheme(url, LiveOptions(open_s=0.3)) as cam, pytest.raises(SourceError) as raised:
            cam.read()
    assert "cannot be read" in str(raised.value)
    assert "geheim" not in str(raised.value)


@needs_server
def test_another_thread_ends_a_read_of_a_frozen_server(server: RtspServer) -> None:
    with open_scheme(server.url(), LiveOptions(timeout_s=30)) as cam:
        take(cam, 2)
        server.freeze()
        timer = threading.Timer(0.3, cam.interrupt)
        timer.start()
        begin_s = time.monotonic()
        while cam.read() is not None:
            pass
        assert time.monotonic() - begin_s < 5
        timer.join()
        server.kill()


@needs_server
def test_a_wrong_password_is_told_and_not_shown() -> None:
    with RtspServer(password="geheim") as server:
        server.start()
        for user in ("", "viewer:falsch@"):
            with (
                open_scheme(server.url(user=user), QUICK) as cam,
                pytest.raises(SourceError, match="password") as raised,
            ):
                cam.read()
            assert "falsch" not in str(raised.value)
        with open_scheme(server.url(user="viewer:geheim@"), QUICK) as cam:
            take(cam, 1)
            assert "geheim" not in cam.name + str(vars(cam)["label"])


@needs_server
def test_a_path_that_the_server_does_not_know_and_a_port_where_nobody_listens(server: RtspServer) -> None:
    with open_scheme(server.url("nowhere"), QUICK) as cam, pytest.raises(SourceError, match="no such path"):
        cam.read()
    server.kill()
    with open_scheme(server.url(), QUICK) as cam, pytest.raises(SourceError, match="Connection refused"):
        cam.read()


@needs_server
def test_nothing_stays_open(server: RtspServer) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with open_scheme(server.url(), QUICK) as cam:
            take(cam, 1)
    end_s = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < end_s:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before
    assert not [thread for thread in threading.enumerate() if thread.name == "source"]


def test_an_address_says_the_transport_and_names_the_run() -> None:
    address, name = rtsp_address("rtsp://me:pw@cam.local:8554/live/1?channel=2&transport=udp")
    assert address.text == "rtsp://me:pw@cam.local:8554/live/1?channel=2"
    assert address.options["rtsp_transport"] == "udp"
    assert rtsp_address("RTSP://Cam/1")[0].text == "rtsp://Cam/1"
    assert name == "rtsp-cam.local-8554-live-1"
    assert rtsp_address("rtsp://cam/1")[0].options["rtsp_transport"] == "tcp"


@pytest.mark.parametrize(
    "text", ["rtsp://", "rtsp:///1", "rtsp://a:geheim@cam:x/1", "rtsp://a:geheim@cam/?transport=x"]
)
def test_an_address_that_cannot_be_one_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_scheme(text, QUICK)
    assert "geheim" not in str(raised.value)
