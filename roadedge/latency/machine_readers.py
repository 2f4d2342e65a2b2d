"""All readers of the machine's state that find something to read here, and why the others do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from roadedge.latency.machine_cgroup import CgroupReader
from roadedge.latency.machine_jetson import JetsonClockReader, OverCurrentReader, PowerModeReader, RailReader
from roadedge.latency.machine_linux import (
    CpuClockReader,
    CpuReader,
    MemoryReader,
    PackagePowerReader,
    ThermalReader,
    ThrottleCountReader,
)
from roadedge.latency.machine_nvml import NvmlReader
from roadedge.latency.machine_reading import Reader, reason
from roadedge.latency.tegrastats import TegrastatsReader

# Of two that know a value the first is believed: sysfs before tegrastats, which averages and rounds.
READERS: dict[str, Callable[[Path], Reader]] = {
    "cpu": CpuReader,
    "memory": MemoryReader,
    "cpufreq": CpuClockReader,
    "thermal": ThermalReader,
    "throttle counters": ThrottleCountReader,
    "cgroup": CgroupReader,
    "powercap": PackagePowerReader,
    "nvpmodel": PowerModeReader,
    "power rails": RailReader,
    "gpu and memory clocks": JetsonClockReader,
    "over-current events": OverCurrentReader,
    "nvml": NvmlReader,
    "tegrastats": TegrastatsReader,
}


def default_readers(root: Path = Path("/")) -> tuple[list[Reader], dict[str, str]]:
    """Open what this machine has.

    Returns:
        The readers, and for each part that is absent why.
    """
    found: list[Reader] = []
    absent: dict[str, str] = {}
    for name, open_reader in READERS.items():
        try:
            found.append(open_reader(root))
        except Exception as error:  # AbsentError, or a driver's library that breaks: no sensor may prevent a run
            absent[name] = reason(error)
    return found, absent
