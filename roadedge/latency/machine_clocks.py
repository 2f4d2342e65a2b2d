"""Whether clocks are locked, and the commands that would lock them. They are printed, never run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roadedge.latency.machine_jetson import is_jetson, jetson_gpu, power_mode_of_files, power_modes
from roadedge.latency.machine_linux import cpu_policies
from roadedge.latency.machine_reading import number_or_none, text_or_none

FASTEST = ("MAXN_SUPER", "MAXN", "MODE_MAXN")  # names of the mode without caps, the newest first
DRIVER_FILE = "proc/driver/nvidia/version"


@dataclass(frozen=True, slots=True)
class ClockState:
    """Whether clocks are locked: None where this machine does not show it; why; and what would lock them."""

    locked: bool | None
    told: str
    commands: tuple[str, ...]


def clock_state(root: Path = Path("/")) -> ClockState:
    """The clocks of this machine, from the files under `root`."""
    if is_jetson(root):
        return _jetson(root)
    return _desktop(root)


def lock_commands(root: Path = Path("/")) -> tuple[str, ...]:
    """The commands that a user would type to lock the clocks of this machine; none where it shows no clocks."""
    return clock_state(root).commands


def fastest_mode(conf: str) -> int | None:
    """Number of the power mode without caps in /etc/nvpmodel.conf; its number differs from module to module."""
    modes = {name: number for number, name in power_modes(conf).items()}
    return next((modes[name] for name in FASTEST if name in modes), None)


def cpu_locked(root: Path) -> bool | None:
    """Whether each clock domain has its smallest clock at its largest, or the governor that keeps it there."""
    policies = cpu_policies(root)
    if not policies:
        return None
    return all(
        text_or_none(policy / "scaling_governor") == "performance" or _pinned(policy, "scaling_{}_freq")
        for policy in policies
    )


def _jetson(root: Path) -> ClockState:
    conf = text_or_none(root / "etc/nvpmodel.conf") or ""
    mode = power_mode_of_files(text_or_none(root / "var/lib/nvpmodel/status") or "", conf)
    number, gpu, cpu = fastest_mode(conf), jetson_gpu(root), _cpus_pinned(root)
    commands = ("sudo jetson_clocks",) if number is None else (f"sudo nvpmodel -m {number}", "sudo jetson_clocks")
    named = f"power mode {mode}" if mode else "power mode unknown"
    if cpu is None or gpu is None:
        return ClockState(None, f"{named}; clocks are not shown here, a container hides them", commands)
    locked = cpu and _pinned(gpu, "{}_freq")
    told = "processor and GPU clocks are locked" if locked else "clocks follow the load"
    return ClockState(locked, f"{named}; {told}; the memory's clock is shown to root only", commands)


def _cpus_pinned(root: Path) -> bool | None:
    """As jetson_clocks leaves it: its governor stays schedutil, smallest and largest clock are one."""
    policies = cpu_policies(root)
    return all(_pinned(policy, "scaling_{}_freq") for policy in policies) if policies else None


def _desktop(root: Path) -> ClockState:
    locked, commands, told = cpu_locked(root), [], []
    if locked is None:
        told.append("processor clocks are not shown here (a virtual machine or a container): lock them on its host")
    else:
        commands.append("sudo cpupower frequency-set -g performance")
        told.append("processor clocks are held at their largest" if locked else "processor clocks follow the load")
    if (root / DRIVER_FILE).is_file():
        commands += ["sudo nvidia-smi -pm 1", "sudo nvidia-smi -lgc MHZ,MHZ  # one that nvidia-smi -q -d CLOCK lists"]
        told.append("NVIDIA's driver does not say whether the GPU's clocks are locked: see whether gpu_mhz moved")
        locked = None if locked else locked
    return ClockState(locked, "; ".join(told), tuple(commands))


def _pinned(folder: Path, pattern: str) -> bool:
    low, high = (number_or_none(folder / pattern.format(end)) for end in ("min", "max"))
    return low is not None and low == high
