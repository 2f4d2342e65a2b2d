"""Cameras of this machine: found by path and by name in a recorded tree of the kernel's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadedge.errors import SourceError, UsageError
from roadedge.stream import camera
from roadedge.stream.devices import Device, find_device, list_devices
from roadedge.stream.live import LiveOptions


def add(root: Path, number: int, name: str, hardware: str, index: int = 0) -> None:
    node = root / "class" / f"video{number}"
    node.mkdir(parents=True)
    (node / "name").write_text(name + "\n")
    (node / "index").write_text(f"{index}\n")
    (root / hardware).mkdir(exist_ok=True)
    (node / "device").symlink_to(root / hardware)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two USB cameras of one make, each with its node for metadata, and another one."""
    add(tmp_path, 0, "HD Pro Webcam C920", "usb1")
    add(tmp_path, 1, "HD Pro Webcam C920", "usb1", index=1)
    add(tmp_path, 2, "HD Pro Webcam C920", "usb2")
    add(tmp_path, 3, "HD Pro Webcam C920", "usb2", index=1)
    add(tmp_path, 10, "USB Capture HDMI", "usb3")
    return tmp_path / "class"


def test_each_camera_is_listed_once(tree: Path) -> None:
    assert list_devices(tree) == [
        Device("/dev/video0", "HD Pro Webcam C920"),
        Device("/dev/video2", "HD Pro Webcam C920"),
        Device("/dev/video10", "USB Capture HDMI"),
    ]


def test_a_camera_is_found_by_its_name(tree: Path) -> None:
    assert find_device("USB Capture HDMI", tree) == "/dev/video10"


def test_two_cameras_with_one_name_are_an_error_that_lists_their_paths(tree: Path) -> None:
    with pytest.raises(SourceError, match=r"2 cameras are called .*: /dev/video0, /dev/video2; .*v4l2:///dev/video0"):
        find_device("HD Pro Webcam C920", tree)


def test_a_camera_that_is_not_there_lists_those_that_are(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no camera is called 'C920'; there is /dev/video0 \(HD Pro"):
        find_device("C920", tree)
    with pytest.raises(SourceError, match="there is no camera /dev/nosuch7; the kernel lists no camera"):
        find_device("/dev/nosuch7", tmp_path / "absent")


def test_what_the_address_asks_for_goes_to_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av", reason="the video extra is not installed")
    seen: list[str] = []

    def find(wanted: str) -> str:
        seen.append(wanted)
        return "/dev/video4"

    monkeypatch.setattr(camera, "find_device", find)
    source = camera.open_v4l2("v4l2://USB%20Capture?width=1280&height=720&fps=30&format=mjpeg", LiveOptions())
    assert seen == ["USB Capture"]
    assert (source.name, source.label) == ("v4l2-USB-Capture", "v4l2://USB Capture")
    wanted, options = camera._v4l2_parts("v4l2:///dev/video0?width=1280&height=720&fps=30&format=mjpeg")
    assert wanted == "/dev/video0"
    assert options == {"video_size": "1280x720", "framerate": "30", "input_format": "mjpeg"}


def test_a_file_that_is_no_camera_is_told() -> None:
    pytest.importorskip("av", reason="the video extra is not installed")
    with (
        camera.open_v4l2("v4l2:///dev/null", LiveOptions()) as source,
        pytest.raises(SourceError, match="is no camera"),
    ):
        source.read()


@pytest.mark.parametrize("rest", ["", "?width=640", "/dev/video0?fps=fast", "/dev/video0?size=640x480"])
def test_an_address_that_cannot_be_one_is_a_usage_error(rest: str) -> None:
    pytest.importorskip("av", reason="the video extra is not installed")
    with pytest.raises(UsageError, match="a camera is written v4l2:"):
        camera.open_v4l2(f"v4l2://{rest}", LiveOptions())
