"""What nvidia-smi says becomes numbers, words, and None where it says nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from benchmarks.nvidia.monitor import nvidia_smi, other_processes, reasons_of, remarks, state

H200 = "NVIDIA H200, 580.159.04, P0, 1980, 3201, 1980, 41, 223.55, 700.00, 93, 1523, 143771, 0x0000000000000004\n"
JETSON = "Orin (nvgpu), 540.4.0, [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A]\n"


class Smi:
    """Answers as a driver does that knows one of the two names of the field with the reasons, or neither."""

    def __init__(self, line: str, knows: str = "clocks_event_reasons.active", pids: str = "") -> None:
        self.line, self.knows, self.pids = line, knows, pids

    def __call__(self, arguments: Sequence[str]) -> tuple[int, str]:
        if arguments[0].startswith("--query-compute-apps"):
            return 0, self.pids
        fields = arguments[0].partition("=")[2].split(",")
        if "reasons" in fields[-1] and fields[-1] != self.knows:
            return 2, f'Field "{fields[-1]}" is not a valid field to query.'
        return 0, self.line if "reasons" in fields[-1] else self.line.rpartition(",")[0]


def test_the_state_of_a_gpu() -> None:
    found = state(Smi(H200, pids=f"{os.getpid()}\n4711\n"))
    assert found["name"] == "NVIDIA H200"
    assert (found["sm_mhz"], found["temperature_c"], found["power_w"]) == (1980.0, 41.0, 223.55)
    assert (found["reasons"], found["throttled"], found["other_processes"]) == (["power cap"], True, 1)


def test_an_older_driver_calls_the_reasons_otherwise() -> None:
    assert state(Smi(H200, knows="clocks_throttle_reasons.active"))["reasons"] == ["power cap"]


def test_a_driver_without_reasons_leaves_them_unknown() -> None:
    found = state(Smi(H200, knows="none"))
    assert (found["reasons"], found["throttled"], found["sm_mhz"]) == (None, None, 1980.0)


def test_what_a_jetson_does_not_tell_is_none() -> None:
    found = state(Smi(JETSON))
    assert found["name"] == "Orin (nvgpu)"
    assert {found[key] for key in ("pstate", "sm_mhz", "temperature_c", "power_w", "reasons", "throttled")} == {None}


def test_no_nvidia_smi_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert nvidia_smi(["-L"]) == (127, "there is no nvidia-smi")
    assert state() == {"not_available": "there is no nvidia-smi"}


def test_a_failing_driver_is_said() -> None:
    failed = state(lambda arguments: (9, "NVIDIA-SMI has failed because it couldn't\ncommunicate with the driver"))
    assert failed == {"not_available": "NVIDIA-SMI has failed because it couldn't communicate with the driver"}


def test_reasons_are_words_and_an_unknown_one_stays_a_number() -> None:
    assert reasons_of(0) == []
    assert reasons_of(0x1 | 0x40) == ["idle", "hardware thermal slowdown"]
    assert reasons_of(0x8000) == ["0x8000"]


def test_an_idle_gpu_and_set_clocks_are_not_throttled() -> None:
    assert not state(Smi(H200.replace("0x0000000000000004", "0x0000000000000003")))["throttled"]


def test_processes_that_are_not_told_are_none() -> None:
    assert other_processes(lambda arguments: (1, "")) is None


def test_what_a_reader_must_know_is_said() -> None:
    cold, hot = state(Smi(H200.replace("0x0000000000000004", "0x0"))), state(Smi(H200, pids="4711\n"))
    assert remarks(cold, cold) == []
    assert remarks(cold, hot) == [
        "throttled after the measurement: power cap",
        "1 other processes used the GPU after the measurement",
    ]
