"""The state of an NVIDIA GPU through NVML (package nvidia-ml-py, extra `nvml`): load, clocks, power, throttling."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadedge.latency.machine_reading import AbsentError, Reading, reason

# nvmlClocksEventReason*: bit → name, and whether it means that the GPU runs slower than its clocks were set to.
REASONS: tuple[tuple[int, str, bool], ...] = (
    (0x001, "idle", False),
    (0x002, "application clocks set", False),
    (0x004, "GPU at its power limit", True),
    (0x008, "GPU slowed down by hardware", True),
    (0x010, "clocks in step with other GPUs", False),
    (0x020, "GPU too hot (software)", True),
    (0x040, "GPU too hot (hardware)", True),
    (0x080, "GPU power brake", True),
    (0x100, "display clock set", False),
)
NVIDIA_SMI = "nvidia-smi"
INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of the kernel


def throttle_reasons(mask: int) -> tuple[str, ...]:
    """Names of the bits that mean throttling; a bit of a newer driver is named by its number."""
    known = sum(bit for bit, _, _ in REASONS)
    names = [name for bit, name, slow in REASONS if slow and mask & bit]
    return (*names, *([f"unknown clock event 0x{mask & ~known:x}"] if mask & ~known else []))


def visible_device(text: str | None) -> int | str:
    """The first GPU that CUDA_VISIBLE_DEVICES leaves: an index or a UUID; 0 where it says nothing.

    Raises:
        AbsentError: it hides all of them.
    """
    if text is None:
        return 0
    first = text.split(",")[0].strip()
    if first.isdigit():
        return int(first)
    if first.startswith(("GPU-", "MIG-")):
        return first
    raise AbsentError(f"CUDA_VISIBLE_DEVICES={text!r} hides all GPUs")


class NvmlReader:
    """One GPU. What a driver does not support is listed once and asked again; the rest is read all the same."""

    name, sees_throttle = "nvml", False  # until the driver has answered why its clocks are what they are

    def __init__(self, root: Path, nvml: Any = None) -> None:
        """Open the GPU that CUDA takes first.

        Args:
            root: where /proc lies.
            nvml: the `pynvml` module; None imports it.

        Raises:
            AbsentError: no package, no driver or no GPU.
        """
        self._nvml = nvml if nvml is not None else _module()
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            raise AbsentError(f"NVML does not start: {reason(error)}") from error
        try:
            wanted = visible_device(os.environ.get("CUDA_VISIBLE_DEVICES"))
            if isinstance(wanted, str):
                self._gpu = self._nvml.nvmlDeviceGetHandleByUUID(wanted)
            else:
                self._gpu = self._nvml.nvmlDeviceGetHandleByIndex(wanted)
        except self._nvml.NVMLError as error:
            self.close()
            raise AbsentError(f"NVML shows no GPU: {reason(error)}") from error
        except AbsentError:
            self.close()
            raise
        self._namespace = root / "proc/self/ns/pid"

    def read(self, at_s: float) -> Reading:
        """Load, clocks, power, temperature, memory, other processes, and why the clocks are what they are."""
        values: dict[str, float] = {}
        failed: dict[str, str] = {}
        for key, ask in self._questions().items():
            try:
                values[key] = ask()
            except (self._nvml.NVMLError, AttributeError) as error:  # AttributeError: an older nvidia-ml-py
                failed[f"nvml {key}"] = reason(error)
        throttle: tuple[str, ...] = ()
        try:
            throttle = throttle_reasons(self._reasons())
            self.sees_throttle = True
        except (self._nvml.NVMLError, AttributeError) as error:
            failed["nvml clock events"] = reason(error)
        facts = {}
        try:
            facts["gpu"] = _text(self._nvml.nvmlDeviceGetName(self._gpu))
        except self._nvml.NVMLError as error:
            failed["nvml name"] = reason(error)
        others = self._other_processes(failed)
        if others is not None:
            values["gpu_other_processes"] = float(others)
        return Reading(values, throttle, facts, failed)

    def close(self) -> None:
        """Shut NVML down, which counts its users."""
        self._nvml.nvmlShutdown()

    def _questions(self) -> dict[str, Callable[[], float]]:
        nvml, gpu = self._nvml, self._gpu
        return {
            "gpu_util": lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
            "gpu_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)),
            "gpu_mhz_max": lambda: float(nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_SM)),
            "emc_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM)),
            "gpu_power_w": lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
            "gpu_temp_c": lambda: float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
            "gpu_memory_mb": lambda: nvml.nvmlDeviceGetMemoryInfo(gpu).used / 2**20,
        }

    def _reasons(self) -> int:
        """The bit mask; drivers before 535 know it by its older name only."""
        try:
            return int(self._nvml.nvmlDeviceGetCurrentClocksEventReasons(self._gpu))
        except (self._nvml.NVMLError, AttributeError):
            return int(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._gpu))

    def _other_processes(self, failed: dict[str, str]) -> int | None:
        """How many other processes compute on the GPU; None where their ids are not ours to compare."""
        try:
            namespace = os.readlink(self._namespace)
        except OSError as error:
            failed["nvml processes"] = reason(error)
            return None
        if namespace != INITIAL_PID_NAMESPACE:
            failed["nvml processes"] = "process ids are the host's and this is a container: run with --pid=host to see"
            return None
        try:
            running = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._gpu)
        except (self._nvml.NVMLError, AttributeError) as error:
            failed["nvml processes"] = reason(error)
            return None
        return len({process.pid for process in running} - {os.getpid()})


def _module() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError as error:
        raise AbsentError(
            "nvidia-ml-py is not installed, which an NVIDIA GPU's state needs; pip install 'roadedge[nvml]'"
        ) from error


def _text(name: str | bytes) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
