"""What a result was made with: enough to make it again, nothing that tells on the user."""

from __future__ import annotations

import datetime
import json
import platform
import shlex
import sys
from pathlib import Path

import pytest

import roadedge
from roadedge.environment import command_line, environment, installed, processor, usable_cpus


def test_the_environment_is_plain_json_with_versions_and_date() -> None:
    found = json.loads(json.dumps(environment()))
    assert found["roadedge"] == roadedge.__version__
    assert found["python"] == platform.python_version()
    assert found["packages"]["numpy"] == installed("numpy")
    assert datetime.datetime.fromisoformat(found["date"]).utcoffset() == datetime.timedelta(0)
    assert found["cpu_count"] >= 1
    assert found["processor"] == processor() != ""


def test_an_absent_package_has_no_version() -> None:
    assert installed("no-such-package-at-all") is None


def test_the_processors_are_those_that_this_process_may_use() -> None:
    assert 1 <= usable_cpus()


def test_a_machine_without_cpuinfo_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    assert processor() == (platform.processor() or platform.machine())


def test_a_command_can_be_typed_again() -> None:
    line = command_line(["/opt/bin/roadedge", "infer", "my model.pt", "*.png", "--gsd", "0.5"])
    assert line == "roadedge infer 'my model.pt' '*.png' --gsd 0.5"
    assert shlex.split(line)[2] == "my model.pt"


def test_a_password_in_a_url_is_not_recorded() -> None:
    line = command_line(["roadedge", "infer", "rtsp://admin:s@cret@10.0.0.7:554/live", "--trajectory=udp://u:pw@h:1"])
    assert not any(word in line for word in ("admin", "s@", "cret", "pw"))
    assert "10.0.0.7:554/live" in line


def test_folders_are_not_recorded() -> None:
    line = command_line(["roadedge", "train", "/home/alice/data", "--output=/home/alice/x y", "/mnt/lab7/z/", "a/b"])
    assert line == "roadedge train data '--output=x y' z a/b"


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("../lab7/data/tianjin", "tianjin"),
        ("../../x", "x"),
        ("~/data/x", "x"),
        ("A=../x/net.onnx", "A=net.onnx"),
        ("/x", "x"),
    ],
)
def test_folders_outside_the_working_one_are_not_told(word: str, kept: str) -> None:
    assert command_line(["roadedge", word]) == f"roadedge {kept}"


def test_a_command_of_nothing_is_nothing() -> None:
    assert command_line([]) == ""


def test_the_environment_tells_neither_host_nor_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/someone/roadedge", "train", "/home/someone/data"])
    monkeypatch.setenv("USER", "someone")
    monkeypatch.setattr(platform, "node", lambda: "a-host-of-that-name")
    text = json.dumps(environment())
    assert "someone" not in text
    assert "a-host-of-that-name" not in text


def test_a_password_is_masked_wherever_an_address_hides_it() -> None:
    for word in ("rtsp://user:p@ss/word@camera/1", "rtsp://camera/1?password=secret&x=1", "gst:rtspsrc user-pw=secret"):
        told = command_line(["roadedge", "infer", word])
        assert "ss/word" not in told
        assert "secret" not in told
        assert "***" in told
