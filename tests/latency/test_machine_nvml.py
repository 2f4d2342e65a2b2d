"""NVML against a module of make-believe with the names of nvidia-ml-py."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roadedge.latency.machine_nvml import INITIAL_PID_NAMESPACE, NvmlReader, throttle_reasons, visible_device
from roadedge.latency.machine_reading import AbsentError


class NVMLError(Exception):
    """As pynvml's: the message is the driver's."""


class FakeNvml:
    """One GPU. `broken` maps a function to the driver's message; `old` is a driver before 535."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, reasons: int = 0, broken: dict[str, str] | None = None, old: bool = False) -> None:
        self.reasons, self.broken, self.old, self.shut, self.asked = reasons, broken or {}, old, 0, ""

    def _check(self, name: str) -> None:
        if name in self.broken:
            raise NVMLError(self.broken[name])

    def nvmlInit(self) -> None:
        self._check("nvmlInit")

    def nvmlShutdown(self) -> None:
        self.shut += 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        self._check("nvmlDeviceGetHandleByIndex")
        self.asked = f"index {index}"
        return "gpu"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self.asked = uuid
        return "gpu"

    def nvmlDeviceGetName(self, gpu: str) -> bytes:
        return b"NVIDIA GeForce RTX 4090"

    def nvmlDeviceGetUtilizationRates(self, gpu: str) -> Any:
        return SimpleNamespace(gpu=84, memory=30)

    def nvmlDeviceGetClockInfo(self, gpu: str, kind: int) -> int:
        return {1: 2520, 2: 10501}[kind]

    def nvmlDeviceGetMaxClockInfo(self, gpu: str, kind: int) -> int:
        return 3105

    def nvmlDeviceGetPowerUsage(self, gpu: str) -> int:
        self._check("nvmlDeviceGetPowerUsage")
        return 312500

    def nvmlDeviceGetTemperature(self, gpu: str, sensor: int) -> int:
        return 66

    def nvmlDeviceGetMemoryInfo(self, gpu: str) -> Any:
        return SimpleNamespace(used=2**30)

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: str) -> int:
        if self.old:
            raise NVMLError("Function Not Found")
        self._check("nvmlDeviceGetCurrentClocksEventReasons")
        return self.reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu: str) -> int:
        self._check("nvmlDeviceGetCurrentClocksThrottleReasons")
        return self.reasons

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: str) -> list[Any]:
        return [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=999999)]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/self/ns/pid").symlink_to(INITIAL_PID_NAMESPACE)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_gpu_under_load(host: Path) -> None:
    reading = NvmlReader(host, FakeNvml()).read(0.0)
    assert reading.values == {
        "gpu_util": 0.84,
        "gpu_mhz": 2520,
        "gpu_mhz_max": 3105,
        "emc_mhz": 10501,
        "gpu_power_w": 312.5,
        "gpu_temp_c": 66,
        "gpu_memory_mb": 1024,
        "gpu_other_processes": 1,
    }
    assert reading.facts == {"gpu": "NVIDIA GeForce RTX 4090"}
    assert (reading.throttle, reading.failed) == ((), {})


def test_throttling_is_seen_once_the_driver_answered(host: Path) -> None:
    reader = NvmlReader(host, FakeNvml())
    reader.read(0.0)
    assert reader.sees_throttle


def test_bits_are_named_and_idling_is_no_throttle() -> None:
    assert throttle_reasons(0x0) == ()
    assert throttle_reasons(0x1 | 0x2 | 0x10 | 0x100) == ()
    assert throttle_reasons(0x4 | 0x40) == ("GPU at its power limit", "GPU too hot (hardware)")
    assert throttle_reasons(0x8 | 0x20 | 0x80) == (
        "GPU slowed down by hardware",
        "GPU too hot (software)",
        "GPU power brake",
    )
    assert throttle_reasons(0x1000) == ("unknown clock event 0x1000",)


def test_a_driver_of_before_535_is_asked_by_the_older_name(host: Path) -> None:
    reading = NvmlReader(host, FakeNvml(reasons=0x20, old=True)).read(0.0)
    assert reading.throttle == ("GPU too hot (software)",)


def test_what_a_driver_does_not_support_is_listed_and_the_rest_is_read(host: Path) -> None:
    nvml = FakeNvml(
        broken={
            "nvmlDeviceGetPowerUsage": "Not Supported",
            "nvmlDeviceGetCurrentClocksEventReasons": "Not Supported",
            "nvmlDeviceGetCurrentClocksThrottleReasons": "Not Supported",
        }
    )
    reader = NvmlReader(host, nvml)
    reading = reader.read(0.0)
    assert not reader.sees_throttle  # or the verdict would say that nothing throttled
    assert reading.failed == {"nvml gpu_power_w": "Not Supported", "nvml clock events": "Not Supported"}
    assert reading.values["gpu_temp_c"] == 66


def test_in_a_container_other_processes_cannot_be_told(host: Path) -> None:
    link = host / "proc/self/ns/pid"
    link.unlink()
    link.symlink_to("pid:[4026532198]")
    reading = NvmlReader(host, FakeNvml()).read(0.0)
    assert "gpu_other_processes" not in reading.values
    assert "--pid=host" in reading.failed["nvml processes"]


def test_the_gpu_is_the_first_that_cuda_takes(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert visible_device(None) == 0
    assert visible_device("2,0") == 2
    assert visible_device("GPU-abc,1") == "GPU-abc"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-7")
    nvml = FakeNvml()
    NvmlReader(host, nvml)
    assert nvml.asked == "GPU-7"


@pytest.mark.parametrize("hidden", ["", "-1", "none"])
def test_hidden_gpus_are_absent_and_nvml_is_shut(host: Path, monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    nvml = FakeNvml()
    with pytest.raises(AbsentError, match="hides all GPUs"):
        NvmlReader(host, nvml)
    assert nvml.shut == 1


def test_no_driver_no_gpu_and_no_package_are_sentences(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AbsentError, match="NVML does not start: Driver Not Loaded"):
        NvmlReader(host, FakeNvml(broken={"nvmlInit": "Driver Not Loaded"}))
    nvml = FakeNvml(broken={"nvmlDeviceGetHandleByIndex": "Invalid Argument"})
    with pytest.raises(AbsentError, match="NVML shows no GPU"):
        NvmlReader(host, nvml)
    assert nvml.shut == 1
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(AbsentError, match=r"pip install 'roadedge\[nvml\]'"):
        NvmlReader(host)
