"""The state of a Jetson from sysfs: power mode, INA3221 rails, GPU and memory clocks, over-current events."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from roadedge.latency.machine_reading import (
    AbsentError,
    Reading,
    folders,
    key_of,
    number_of,
    number_or_none,
    reason,
    text_or_none,
)

MODULE_RAILS = ("VDD_IN", "POM_5V_IN")  # measure what the whole module draws
# AGX Orin and AGX Xavier have no such rail. These feed the rest; VDDQ_VDD2_1V8AO hangs behind VIN_SYS_5V0.
BEHIND_ANOTHER = ("VDDQ_VDD2_1V8AO",)
# soctherm's three alarms, as NVIDIA's guide to Orin names them.
OVER_CURRENT = {"oc1": "under-voltage", "oc2": "average over-current", "oc3": "instantaneous over-current"}
GPU_NODES = ("gpu", "ga10b", "gv11b", "gp10b", "gm20b", "gb10b")


def is_jetson(root: Path) -> bool:
    """Whether this is a Jetson: by the file of L4T, or by the device tree, which a container sees too."""
    return (root / "etc/nv_tegra_release").is_file() or "nvidia,tegra" in (
        text_or_none(root / "proc/device-tree/compatible") or ""
    )


def power_mode(text: str) -> str | None:
    """`MAXN_SUPER (2)` from what `nvpmodel -q` prints; None where it names no mode."""
    name = re.search(r"NV Power Mode:\s*(\S+)", text)
    if not name:
        return None
    number = re.search(r"^\s*(\d+)\s*$", text[name.end() :], re.MULTILINE)
    return f"{name.group(1)} ({number.group(1)})" if number else name.group(1)


def power_mode_of_files(status: str, conf: str) -> str | None:
    """`MAXN_SUPER (2)` from /var/lib/nvpmodel/status (`pmode:0002`) and the names in /etc/nvpmodel.conf."""
    found = re.search(r"pmode:\s*(\d+)", status)
    if not found:
        return None
    number = int(found.group(1))
    name = power_modes(conf).get(number)
    return f"{name} ({number})" if name else f"mode {number}"


def power_modes(conf: str) -> dict[int, str]:
    """Number → name of the modes that /etc/nvpmodel.conf defines; what it comments out is none."""
    lines = re.findall(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", conf, re.MULTILINE)
    return {int(number): name for number, name in lines}


def shown_clocks_locked(text: str) -> bool | None:
    """Whether the clocks are locked, from what `jetson_clocks --show` prints.

    Locked means that processors and GPU have their smallest clock at their largest, and the memory's is overridden
    (JetPack 7 does not print that override). None where it shows no processor.
    """
    domains = re.findall(r"^\s*(cpu\d+|GPU|EMC)\b.*?MinFreq=(\d+)\s+MaxFreq=(\d+)(.*)$", text, re.MULTILINE)
    online = [row for row in domains if not re.search(rf"^\s*{row[0]}\b.*Online=0", text, re.MULTILINE)]
    if not any(name.startswith("cpu") for name, *_ in online):
        return None
    pinned = all(low == high for name, low, high, _ in online if name != "EMC")
    override = [re.search(r"FreqOverride=(\d)", rest) for name, _, _, rest in online if name == "EMC"]
    return pinned and all(found is None or found.group(1) == "1" for found in override)


class PowerModeReader:
    """The power mode by the files that nvpmodel itself keeps; its program is not run."""

    name, sees_throttle = "nvpmodel", False

    def __init__(self, root: Path) -> None:
        self._status, self._conf = root / "var/lib/nvpmodel/status", root / "etc/nvpmodel.conf"
        if not self._conf.is_file() and not self._status.is_file():
            raise AbsentError("no /etc/nvpmodel.conf: not a Jetson")

    def read(self, at_s: float) -> Reading:
        """The mode now: somebody may change it during a run."""
        status, conf = text_or_none(self._status), text_or_none(self._conf) or ""
        if status is None:
            return Reading(failed={self.name: f"{self._status} cannot be read; run nvpmodel -q"})
        mode = power_mode_of_files(status, conf)
        return Reading(facts={"power_mode": mode}) if mode else Reading(failed={self.name: f"{status!r} is no mode"})

    def close(self) -> None:
        """Nothing is held open."""


class RailReader:
    """Watts of each labelled rail of the INA3221 sensors, and its alarms."""

    name, sees_throttle = "power rails", False

    def __init__(self, root: Path) -> None:
        self._rails = list(_rails(folders(root / "sys/class/hwmon", "hwmon*")))
        if not self._rails:
            raise AbsentError("no INA3221 with labelled rails in /sys/class/hwmon")

    def read(self, at_s: float) -> Reading:
        """Millivolts × milliamperes of each rail; the module's own power where it can be known."""
        watts: dict[str, float] = {}
        failed: dict[str, str] = {}
        alarms = []
        for label, folder, number in self._rails:
            try:
                millivolts, milliamperes = (number_of(folder / f"{kind}{number}_input") for kind in ("in", "curr"))
            except (OSError, ValueError) as error:
                failed[f"rail {label}"] = reason(error)
                continue
            watts[label] = millivolts * milliamperes / 1e6
            if number_or_none(folder / f"curr{number}_crit_alarm"):
                alarms.append(f"{label} above its critical current")
        values = {f"rail_{key_of(label)}_w": value for label, value in watts.items()}
        module = module_power_w(watts, complete=not failed)
        if module is not None:
            values["module_power_w"] = module[0]
        return Reading(values, tuple(alarms), {"module_power": module[1]} if module else {}, failed)

    def close(self) -> None:
        """Nothing is held open."""


def module_power_w(rails_w: dict[str, float], complete: bool = True) -> tuple[float, str] | None:
    """Watts of the module and which rails they are: its input rail, else the sum of the rails that feed it."""
    for name in MODULE_RAILS:
        if name in rails_w:
            return rails_w[name], name
    feeding = {name: watts for name, watts in rails_w.items() if name not in BEHIND_ANOTHER}
    if not feeding or not complete:  # a sum with a rail missing would be too small
        return None
    return sum(feeding.values()), " + ".join(feeding)


class JetsonClockReader:
    """`gpu_mhz`, `gpu_util` and `emc_mhz` from devfreq and the GPU's load file."""

    name, sees_throttle = "gpu and memory clocks", False

    def __init__(self, root: Path) -> None:
        self._gpu = jetson_gpu(root)
        if self._gpu is None:
            raise AbsentError("no integrated NVIDIA GPU in /sys/class/devfreq")
        places = [self._gpu / "device/load", root / "sys/devices/platform/gpu.0/load", root / "sys/devices/gpu.0/load"]
        self._load = next((path for path in places if path.is_file()), None)
        self._emc = root / "sys/kernel/debug/bpmp/debug/clk/emc/rate"  # readable by root only

    def read(self, at_s: float) -> Reading:
        """Hertz and per mille, as the kernel gives them, in the units of the keys."""
        assert self._gpu is not None
        values, failed = {"gpu_mhz": number_of(self._gpu / "cur_freq") / 1e6}, {}
        if self._load is not None:
            try:
                values["gpu_util"] = min(1.0, number_of(self._load) / 1000)
            except (OSError, ValueError) as error:
                failed["gpu load"] = reason(error)
        hertz = number_or_none(self._emc)
        if hertz is None:
            failed["memory clock"] = "root alone may read it; tegrastats shows it to root"
        else:
            values["emc_mhz"] = hertz / 1e6
        return Reading(values, failed=failed)

    def close(self) -> None:
        """Nothing is held open."""


def jetson_gpu(root: Path) -> Path | None:
    """The devfreq folder of a Jetson's GPU, None on other machines."""
    for folder in folders(root / "sys/class/devfreq", "*"):
        node = text_or_none(folder / "device/of_node/name") or folder.name.partition(".")[2] or folder.name
        if node in GPU_NODES or node.startswith("gpu-gpc"):
            return folder
    return None


class OverCurrentReader:
    """Over-current and under-voltage events, each of which makes the module slow itself down for a moment."""

    name, sees_throttle = "over-current events", False  # until a counter could be read

    def __init__(self, root: Path) -> None:
        self._counters = sorted((root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt"))
        if not self._counters:
            raise AbsentError("no over-current counters (soctherm_oc) in /sys/class/hwmon")
        self._before: dict[str, float] = {}

    def read(self, at_s: float) -> Reading:
        """Counts since boot, and which rose since the look before."""
        values: dict[str, float] = {}
        failed: dict[str, str] = {}
        events = []
        for path in self._counters:
            name = path.name.partition("_")[0]
            try:
                count = number_of(path)
            except (OSError, ValueError) as error:
                failed[path.name] = reason(error)
                continue
            values[f"{name}_events"] = count
            self.sees_throttle = True
            if count > self._before.get(name, count):
                events.append(f"{OVER_CURRENT.get(name, name)} event")
            self._before[name] = count
        return Reading(values, tuple(events), failed=failed)

    def close(self) -> None:
        """Nothing is held open."""


def _rails(sensors: Iterable[Path]) -> Iterable[tuple[str, Path, int]]:
    """Label, folder and channel of each rail; `NC` is not connected, the sum of shunt voltages is no rail."""
    for folder in sensors:
        if "ina3221" not in (text_or_none(folder / "name") or ""):
            continue
        for path in folders(folder, "in*_label"):
            label, number = text_or_none(path) or "", int(re.sub(r"\D", "", path.name))
            if label and label != "NC" and "sum of shunt" not in label and (folder / f"curr{number}_input").exists():
                yield label, folder, number
