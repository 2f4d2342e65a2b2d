"""The examination as a whole: the trial, the table, the exit code."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from roadedge.cli import main
from roadedge.doctor import Examination, examination, runtimes
from roadedge.doctor.finding import FAULT, NOTE, OK, WARNING, Finding
from roadedge.doctor.runtimes import try_backend
from roadedge.errors import EnvironmentFault, UnknownNameError
from roadedge.runners.device import Device


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "here", lambda: Device(absent=("there is no NVIDIA driver here",)))


def test_a_frame_is_really_run() -> None:
    found = try_backend("onnxruntime")
    assert found.state == OK
    assert (found.detail["backend"], found.detail["precision"]) == ("onnxruntime", "fp32")
    assert found.detail["first_frame_ms"] > 0


def test_an_engine_without_a_gpu_is_a_fault_with_the_reason(no_gpu: None) -> None:
    found = try_backend("tensorrt")
    assert found.state == FAULT
    assert "there is no NVIDIA driver here" in found.value
    assert found.advice == "choose another --backend"


def test_a_library_that_breaks_in_its_own_way_is_a_fault_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError("undefined symbol:\n  _ZN3fooE")

    monkeypatch.setattr(runtimes, "open_runner", broken)
    found = try_backend("onnxruntime")
    assert found.state == FAULT
    assert "RuntimeError: undefined symbol: _ZN3fooE" in found.value


def test_an_unknown_back_end_is_usage() -> None:
    with pytest.raises(UnknownNameError, match="unknown backend 'onnxruntim'"):
        try_backend("onnxruntim")


def found(*findings: Finding, trial: Finding) -> Examination:
    return Examination((*findings, trial), trial)


def test_the_table_groups_by_section_and_puts_advice_below() -> None:
    trial = Finding("runtimes", "trial", "ran")
    lines = found(
        Finding("system", "Python", "3.11"), Finding("system", "disk", "full", WARNING, "free some"), trial=trial
    ).lines()
    assert lines == [
        "system",
        "  Python  3.11",
        "! disk    full",
        "          -> free some",
        "",
        "runtimes",
        "  trial   ran",
    ]


def test_a_trial_that_fails_is_exit_3_and_notes_are_not() -> None:
    found(Finding("a", "b", "absent", NOTE), trial=Finding("runtimes", "trial", "ran")).check()
    sick = found(trial=Finding("runtimes", "trial", "does not run", FAULT, "do this"))
    with pytest.raises(EnvironmentFault, match="does not run; do this") as fault:
        sick.check()
    assert fault.value.exit_code == 3
    assert not sick.able


def test_the_command_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--backend", "onnxruntime", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema_version"], told["able"]) == (1, True)
    names = {finding["name"] for finding in told["findings"]}
    assert names >= {
        "Python",
        "processor",
        "memory",
        "disk",
        "clocks",
        "GPU",
        "TensorRT",
        "OpenCV",
        "PyAV",
        "GStreamer",
    }
    assert names >= {"ONNX Runtime", "OpenVINO", "trial of onnxruntime", "video", "sensors"}


def test_the_command_gives_the_table_and_then_exit_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_gpu: None
) -> None:
    monkeypatch.setattr(examination, "system_findings", lambda root: ())
    assert main(["doctor", "--backend", "tensorrt"]) == 3
    told = capsys.readouterr()
    assert "X trial of tensorrt" in told.out
    assert told.err.startswith("error: roadedge-s does not run: an engine needs an NVIDIA GPU")
    assert "\x1b" not in told.out  # no colour where nobody looks


def test_on_a_terminal_the_table_has_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setitem(os.environ, "FORCE_COLOR", "1")
    monkeypatch.setitem(os.environ, "TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    found(
        Finding("system", "disk", "full [bold]", WARNING, "free some"), trial=Finding("runtimes", "trial", "ran")
    ).show()
    told = capsys.readouterr().out
    assert "\x1b[" in told
    assert "full [bold]" in told  # a value is no markup
