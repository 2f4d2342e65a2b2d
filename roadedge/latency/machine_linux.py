"""Processor, memory and temperatures as Linux shows them in /proc and /sys. All paths hang on a root given."""

from __future__ import annotations

import re
import time
from pathlib import Path

from roadedge.latency.machine_reading import (
    AbsentError,
    Reading,
    folders,
    key_of,
    number_of,
    number_or_none,
    reason,
    text_of,
    text_or_none,
)

SHORTEST_S = 0.2  # of an interval that a rate is made of: ticks are 10 ms
COLDEST_C, HOTTEST_C = -60.0, 150.0  # a zone that is powered down reports -256 on Jetson
PROCESSOR_SENSORS = ("coretemp", "k10temp", "zenpower")  # hwmon, where no thermal zone shows the processor
# Cooling devices that cool by slowing down. A fan's state says nothing of the kind.
SLOWING = re.compile(r"^(Processor|.*cpufreq.*|.*devfreq.*|(?!hot-surface).*-alert)$")


def cpu_times(text: str) -> tuple[float, float, float]:
    """Busy, all and stolen ticks of the `cpu` line of /proc/stat.

    Waiting for a disk counts as idle; guest time is already part of user time; stolen is what the host of a virtual
    machine gave to others while this one had work.

    Raises:
        ValueError: there is no such line.
    """
    for line in text.splitlines():
        if line.startswith("cpu "):
            ticks = [float(word) for word in line.split()[1:9]]
            if len(ticks) >= 4:
                return sum(ticks) - sum(ticks[3:5]), sum(ticks), ticks[7] if len(ticks) > 7 else 0.0
    raise ValueError("/proc/stat has no line 'cpu user nice system idle …'")


def memory_mb(text: str) -> dict[str, float]:
    """Megabytes (2^20) from /proc/meminfo: memory available and total, swap used and total.

    Raises:
        ValueError: MemTotal or MemAvailable is missing.
    """
    kib = {
        name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in text.splitlines()) if rest
    }
    missing = [name for name in ("MemTotal", "MemAvailable") if name not in kib]
    if missing:
        raise ValueError(f"/proc/meminfo has no {' and no '.join(missing)}")
    return {
        "memory_total_mb": kib["MemTotal"] / 1024,
        "memory_available_mb": kib["MemAvailable"] / 1024,
        "swap_total_mb": kib.get("SwapTotal", 0.0) / 1024,
        "swap_used_mb": (kib.get("SwapTotal", 0.0) - kib.get("SwapFree", 0.0)) / 1024,
    }


def process_values(text: str) -> dict[str, float]:
    """Resident megabytes, swapped megabytes and threads from /proc/self/status.

    Raises:
        ValueError: there is no VmRSS.
    """
    fields = dict(re.findall(r"^(VmRSS|VmSwap|Threads):\s+(\d+)", text, re.MULTILINE))
    if "VmRSS" not in fields:
        raise ValueError("/proc/self/status has no VmRSS")
    return {
        "rss_mb": float(fields["VmRSS"]) / 1024,
        "process_swap_mb": float(fields.get("VmSwap", 0)) / 1024,
        "threads": float(fields.get("Threads", 1)),
    }


class CpuReader:
    """`cpu_load` and `cpu_stolen`: shares of all processors' time since the look before."""

    name, sees_throttle = "cpu", False

    def __init__(self, root: Path) -> None:
        self._path = root / "proc/stat"
        if not self._path.is_file():
            raise AbsentError(f"no {self._path}")
        self._before: tuple[float, float, float] | None = None
        self._before_s = 0.0

    def read(self, at_s: float) -> Reading:
        """Compare with the look before; the first one has nothing to compare with."""
        now, before = cpu_times(text_of(self._path)), self._before
        if before is not None and at_s - self._before_s < SHORTEST_S:
            return Reading()
        self._before, self._before_s = now, at_s
        if before is None or now[1] <= before[1]:  # no tick since
            return Reading()
        busy, total, stolen = (after - earlier for after, earlier in zip(now, before, strict=True))
        shares = {"cpu_load": busy / total, "cpu_stolen": stolen / total}
        return Reading({key: min(1.0, max(0.0, share)) for key, share in shares.items()})

    def close(self) -> None:
        """Nothing is held open."""


class MemoryReader:
    """Memory of the machine and of this process; `process_cpu` in processors kept busy by it."""

    name, sees_throttle = "memory", False

    def __init__(self, root: Path) -> None:
        self._proc = root / "proc"
        if not (self._proc / "meminfo").is_file():
            raise AbsentError(f"no {self._proc / 'meminfo'}")
        self._before: tuple[float, float] | None = None

    def read(self, at_s: float) -> Reading:
        """Sizes now, and the processor time of this process since the look before."""
        memory = memory_mb(text_of(self._proc / "meminfo"))
        values = {key: memory[key] for key in ("memory_available_mb", "swap_used_mb")}
        values |= process_values(text_of(self._proc / "self/status"))
        now, before = (at_s, time.process_time()), self._before
        if before is None or at_s - before[0] >= SHORTEST_S:
            self._before = now
            if before is not None:
                values["process_cpu"] = (now[1] - before[1]) / (at_s - before[0])
        return Reading(values)

    def close(self) -> None:
        """Nothing is held open."""


class CpuClockReader:
    """`cpu_mhz`, mean over the clock domains, and the slowest of them."""

    name, sees_throttle = "cpufreq", False

    def __init__(self, root: Path) -> None:
        self._policies = cpu_policies(root)
        if not self._policies:
            raise AbsentError("no /sys/devices/system/cpu/cpufreq/policy*: a virtual machine or a container hides them")

    def read(self, at_s: float) -> Reading:
        """Clocks of all domains that are online."""
        clocks = [number_or_none(policy / "scaling_cur_freq") for policy in self._policies]
        mhz = [clock / 1000 for clock in clocks if clock is not None]
        if not mhz:
            return Reading(failed={self.name: "no scaling_cur_freq can be read"})
        governors = sorted({text_or_none(policy / "scaling_governor") or "unknown" for policy in self._policies})
        return Reading(
            {"cpu_mhz": sum(mhz) / len(mhz), "cpu_mhz_min": min(mhz)}, facts={"governor": "+".join(governors)}
        )

    def close(self) -> None:
        """Nothing is held open."""


def cpu_policies(root: Path) -> list[Path]:
    """The clock domains of the processors, one folder each."""
    return folders(root / "sys/devices/system/cpu/cpufreq", "policy*")


class ThermalReader:
    """Temperatures of all zones; `temp_c` is the hottest. Cooling devices that slow something down are throttling."""

    name, sees_throttle = "thermal", False  # until a cooling device that slows something down could be read

    def __init__(self, root: Path) -> None:
        thermal = root / "sys/class/thermal"
        self._zones = folders(thermal, "thermal_zone*")
        self._sensors = [
            sensor
            for sensor in folders(root / "sys/class/hwmon", "hwmon*")
            if text_or_none(sensor / "name") in PROCESSOR_SENSORS
        ]
        coolers = [(text_or_none(path / "type") or "", path) for path in folders(thermal, "cooling_device*")]
        self._coolers = [(kind, path / "cur_state") for kind, path in coolers if SLOWING.match(kind)]
        if not self._zones and not self._sensors and not self._coolers:
            raise AbsentError("no thermal zone in /sys/class/thermal")

    def read(self, at_s: float) -> Reading:
        """All zones; a zone that is powered down fails and is listed."""
        values: dict[str, float] = {}
        failed: dict[str, str] = {}
        for path, name in self._temperatures():
            try:
                celsius = number_of(path) / 1000
            except (OSError, ValueError) as error:
                failed[f"temperature {name}"] = reason(error)
                continue
            if COLDEST_C < celsius < HOTTEST_C:
                key = f"temp_{key_of(name)}_c"
                values[key] = max(celsius, values.get(key, celsius))  # two zones of one type: the hotter
            else:
                failed[f"temperature {name}"] = f"{celsius:g} °C is no temperature of a part that is on"
        if values:
            values["temp_c"] = max(values.values())
        return Reading(values, self._slowed(failed), failed=failed)

    def close(self) -> None:
        """Nothing is held open."""

    def _slowed(self, failed: dict[str, str]) -> tuple[str, ...]:
        slowed = []
        for kind, path in self._coolers:
            try:
                state = number_of(path)
            except (OSError, ValueError) as error:
                failed[f"cooling {kind}"] = reason(error)
                continue
            self.sees_throttle = True
            if state > 0:
                slowed.append(f"{kind} is slowing down")
        return tuple(dict.fromkeys(slowed))

    def _temperatures(self) -> list[tuple[Path, str]]:
        zones = [(zone / "temp", text_or_none(zone / "type") or zone.name) for zone in self._zones]
        return zones + [(sensor / "temp1_input", text_of(sensor / "name")) for sensor in self._sensors]


class ThrottleCountReader:
    """Intel's counters of how often cores and package were slowed down for their heat."""

    name, sees_throttle = "throttle counters", False  # until a counter could be read

    def __init__(self, root: Path) -> None:
        cpus = root / "sys/devices/system/cpu"
        self._counters = sorted(cpus.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
        if not self._counters:
            raise AbsentError("no thermal_throttle counters: this processor does not show when it slows down for heat")
        self._before: dict[Path, float] = {}

    def read(self, at_s: float) -> Reading:
        """What rose since the look before."""
        rose: dict[str, None] = {}
        failed: dict[str, str] = {}
        for path in self._counters:
            try:
                count = number_of(path)
            except (OSError, ValueError) as error:  # a processor that was taken offline
                failed[f"{path.parent.parent.name} {path.name}"] = reason(error)
                continue
            self.sees_throttle = True
            if count > self._before.get(path, count):
                rose[f"processor {path.name.removesuffix('_throttle_count')} too hot"] = None
            self._before[path] = count
        return Reading(throttle=tuple(rose), failed=failed)

    def close(self) -> None:
        """Nothing is held open."""


class PackagePowerReader:
    """`cpu_power_w` from the energy counters of RAPL; many systems let only root read them."""

    name, sees_throttle = "powercap", False

    def __init__(self, root: Path) -> None:
        zones = folders(root / "sys/class/powercap", "*rapl:*")
        # Sub-zones (intel-rapl:0:0) are parts of their package; psys would count the package twice.
        self._zones = [
            zone
            for zone in zones
            if re.fullmatch(r"[a-z-]+:\d+", zone.name) and (text_or_none(zone / "name") or "").startswith("package")
        ]
        if not self._zones:
            raise AbsentError("no RAPL package in /sys/class/powercap")
        self._before: tuple[float, list[float]] | None = None

    def read(self, at_s: float) -> Reading:
        """Mean watts since the look before; a counter that wrapped is unwrapped by its range."""
        now = [number_of(zone / "energy_uj") for zone in self._zones]
        before = self._before
        if before is not None and at_s - before[0] < SHORTEST_S:
            return Reading()
        self._before = (at_s, now)
        if before is None:
            return Reading()
        used = 0.0
        for zone, last, newest in zip(self._zones, before[1], now, strict=True):
            used += newest - last + (number_of(zone / "max_energy_range_uj") if newest < last else 0.0)
        return Reading({"cpu_power_w": used / 1e6 / (at_s - before[0])})

    def close(self) -> None:
        """Nothing is held open."""
