"""GStreamer as a child process: its data protocol, its errors in one sentence, its end."""

from __future__ import annotations

import os
import shutil
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import EnvironmentFault, SourceError, UsageError
from roadedge.stream.connection import ConnectionLost, Picture
from roadedge.stream.gdp import HEADER_BYTES, parse_caps, read_pictures
from roadedge.stream.gstreamer import csi_pipeline, explain
from roadedge.stream.live import LiveOptions
from roadedge.stream.schemes import open_scheme
from tests.stream.pixels import pixels

needs_gstreamer = pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="no gst-launch-1.0 on the PATH")
SMALL = "video/x-raw,width=34,height=16,framerate=20/1"


def message(kind: int, payload: bytes, stamp_ns: int = 0, major: int = 1) -> bytes:
    head = struct.pack(">BBBxHIQ", major, 0, 0, kind, len(payload), stamp_ns)
    return head + bytes(HEADER_BYTES - len(head)) + payload


CAPS = message(2, b"video/x-raw, format=(string)RGB, width=(int)2, height=(int)2, framerate=(fraction)10/1\0")
FRAME = message(1, bytes([1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0]), 40_000_000)


def pictures(data: bytes) -> list[Picture]:
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    try:
        return list(read_pictures(read_end, lambda: False))
    finally:
        os.close(read_end)


def test_frames_come_out_of_the_pipe_without_the_padding_of_their_rows() -> None:
    (one,) = pictures(message(10318, b"an event") + CAPS + FRAME)
    assert one.image.tolist() == [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
    assert one.pts_s == 0.04
    assert pictures(CAPS + message(1, bytes(16), 2**64 - 1))[0].pts_s is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (CAPS + FRAME[:-3], "in the middle of a frame"),
        (CAPS + FRAME[:20], "in the middle of a frame"),
        (b"Setting pipeline to PLAYING ...\n" * 9, "not in its data protocol"),
        (message(1, b"", major=0), "not in its data protocol"),
        (FRAME, "without saying its size"),
        (CAPS + message(1, bytes(5)), "5 bytes for a frame of 2 x 2"),
        (message(2, b"audio/x-raw, rate=(int)44100"), "video/x-raw in RGB was expected"),
    ],
)
def test_what_is_no_frame_is_said(data: bytes, reason: str) -> None:
    with pytest.raises(ConnectionLost, match=reason):
        pictures(data)


def test_an_empty_pipe_is_the_end() -> None:
    assert pictures(b"") == []
    assert pictures(CAPS) == []
    assert parse_caps("video/x-raw, format=RGB, width=640, height=480") == (480, 640)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['WARNING: erroneous pipeline: no element "gdppay"'], "no element gdppay .* gstreamer1.0-plugins-bad"),
        (["WARNING: erroneous pipeline: could not link fakesink0 to videoconvert0"], "leave the sink off"),
        (["ERROR: from element /GstPipeline:p/GstX:x: Resource not found."], "GStreamer: Resource not found"),
        (
            ["ERROR: from element /x: Bad.", "Additional debug info:", "x.c(1): f ():", "No such file"],
            "Bad. .No such f",
        ),
        (["ERROR: from element /x: Bad.", "Additional debug info:"], "GStreamer: Bad"),
        (["Segmentation fault"], "Segmentation fault"),
        ([], "no word about it"),
    ],
)
def test_complaints_of_gstreamer_become_one_sentence(lines: list[str], said: str) -> None:
    with pytest.raises(ConnectionLost, match=said):
        raise explain(lines)


def test_a_csi_camera_is_a_pipeline_of_jetpacks_elements() -> None:
    pipeline = " ".join(csi_pipeline(1, {"width": "1280", "height": "720", "fps": "30"}))
    assert pipeline == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1 ! nvvidconv ! "
        "video/x-raw,format=BGRx"
    )
    assert csi_pipeline(0, {})[:4] == ["nvarguscamerasrc", "sensor-id=0", "!", "video/x-raw(memory:NVMM)"]


@pytest.mark.parametrize(
    "text",
    ["csi://", "csi://front", "csi://0?width=0", "csi://0?heigth=720", "gst:", "gst:a 'b", "gst:a ! b !", "gst:! a"],
)
def test_an_address_that_cannot_be_one_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        open_scheme(text, LiveOptions())


@pytest.mark.parametrize("text", ["gst:videotestsrc", "csi://0"])
def test_without_gstreamer_the_sentence_says_what_to_install(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault, match=r"apt-get install gstreamer1\.0-tools"):
        open_scheme(text, LiveOptions())


@needs_gstreamer
def test_a_live_pipeline_delivers_frames_with_their_times() -> None:
    with open_scheme(f"gst:videotestsrc is-live=true pattern=white ! {SMALL}", LiveOptions()) as camera:
        frames = [camera.read() for _ in range(4)]
    times = [frame.captured_ns for frame in frames if frame and frame.captured_ns]
    assert np.diff(times) / 1e6 == pytest.approx([50.0] * 3, abs=30)
    assert [(f.clock, f.sample.size, int(pixels(f).min())) for f in frames if f] == [("pts", (16, 34), 255)] * 4


@needs_gstreamer
def test_the_end_of_a_pipeline_is_the_end_of_the_stream() -> None:
    with open_scheme(f"gst:videotestsrc num-buffers=3 ! {SMALL}", LiveOptions()) as camera:
        assert camera.skip(10) == 3
        assert camera.read() is None
    assert list(camera.gaps) == []


@needs_gstreamer
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gst:nosuchelement", "no element nosuchelement"),
        ("gst:filesrc location=/nowhere ! decodebin", 'Resource not found.*No such file "/nowhere"'),
        ("gst:videotestsrc ! autovideosink", "no element autovideosink|leave the sink off"),
    ],
)
def test_a_pipeline_that_cannot_run_is_told_at_the_first_frame(text: str, said: str) -> None:
    with open_scheme(text, LiveOptions()) as camera, pytest.raises(SourceError, match=said):
        camera.read()


@needs_gstreamer
@pytest.mark.skipif(shutil.which("nvgstcapture-1.0") is not None, reason="this is a Jetson")
def test_a_csi_camera_elsewhere_names_what_is_missing() -> None:
    with (
        open_scheme("csi://0", LiveOptions()) as camera,
        pytest.raises(SourceError, match=r"nvarguscamerasrc.*JetPack"),
    ):
        camera.read()


@needs_gstreamer
def test_a_pipeline_that_delivers_nothing_is_lost_and_its_child_ended() -> None:
    text = f"gst:videotestsrc is-live=true ! {SMALL} ! valve drop=true"
    before = len(os.listdir("/proc/self/fd"))
    with open_scheme(text, LiveOptions(open_s=0.3)) as camera, pytest.raises(SourceError, match="no picture came"):
        camera.read()
    end_s = time.monotonic() + 5
    while [t for t in threading.enumerate() if t.name == "source"] and time.monotonic() < end_s:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before


@needs_gstreamer
def test_a_child_that_dies_is_started_again() -> None:
    with open_scheme(f"gst:videotestsrc is-live=true ! {SMALL}", LiveOptions()) as camera:
        assert camera.read() is not None
        os.kill(child_of_this_process(), 9)
        while not camera.gaps:
            assert camera.read() is not None
    (gap,) = camera.gaps
    assert gap.end_ns is not None
    assert gap.attempts == 1


def child_of_this_process() -> int:
    """Process id of the newest gst-launch that this process started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue
        if "gst-launch" in name and int(rest.split()[1]) == os.getpid():
            found.append(int(folder.name))
    return max(found)
