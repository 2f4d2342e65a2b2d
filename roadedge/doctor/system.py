"""Python, processor, memory, disk and clocks."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from roadedge import __version__
from roadedge.doctor.finding import NOTE, OK, WARNING, Finding
from roadedge.doctor.programs import said
from roadedge.environment import processor, usable_cpus
from roadedge.latency.clock import HostClock
from roadedge.latency.machine import MachineWatch
from roadedge.latency.machine_cgroup import cgroup_folders, quota_cpus
from roadedge.latency.machine_clocks import clock_state
from roadedge.latency.machine_jetson import is_jetson, shown_clocks_locked
from roadedge.latency.machine_linux import memory_mb
from roadedge.latency.machine_readers import default_readers
from roadedge.latency.machine_reading import text_or_none

SECTION = "system"
LITTLE_MEMORY_MB = 4096.0  # with swap; building an engine on a smaller module is killed or skips tactics
LITTLE_DISK_MB = 2048.0


def system_findings(root: Path = Path("/"), folder: Path | None = None) -> Iterator[Finding]:
    """What every machine has.

    Args:
        root: where /proc and /sys lie.
        folder: whose disk is looked at; None for the working folder.
    """
    yield _python()
    yield _processor(root)
    yield _memory(root)
    yield _disk(folder or Path())
    yield _watched(root)
    yield _clocks(root)


def _clocks(root: Path) -> Finding:
    state = clock_state(root)
    locked, told = state.locked, state.told
    # To root jetson_clocks shows the memory's clock too; --show changes nothing.
    shown = shown_clocks_locked(said("jetson_clocks", "--show") or "") if is_jetson(root) else None
    if shown is not None:
        locked, told = shown, f"{told}; jetson_clocks --show: {'locked' if shown else 'not locked'}"
    advice = f"for figures to compare: {'; '.join(state.commands)}" if state.commands and locked is not True else None
    detail = {"locked": locked, "commands": list(state.commands)}
    return Finding(SECTION, "clocks", told, OK if locked else NOTE, advice, detail)


def _watched(root: Path) -> Finding:
    readers, absent = default_readers(root)
    names = [reader.name for reader in readers]
    with MachineWatch(HostClock(), readers=readers) as watch:
        watch.sample()
    seeing = [reader.name for reader in readers if reader.sees_throttle]
    throttling = f"throttling by {', '.join(seeing)}" if seeing else "the hardware's throttling cannot be seen here"
    detail = {"read": names, "absent": absent, "sees_throttle": seeing}
    return Finding(SECTION, "sensors", f"{', '.join(names) or 'none'}; {throttling}", detail=detail)


def _python() -> Finding:
    version = platform.python_version()
    detail = {"python": version, "executable": sys.executable, "roadedge": __version__, "system": platform.platform()}
    fits = (3, 10) <= sys.version_info[:2] <= (3, 13)
    environment = "in a virtual environment" if sys.prefix != sys.base_prefix else "the system's own"
    return Finding(
        SECTION,
        "Python",
        f"{version}, {environment}; roadedge {__version__} on {platform.system()} {platform.machine()}",
        OK if fits else WARNING,
        None if fits else "roadedge is tested with Python 3.10 to 3.13",
        detail,
    )


def _processor(root: Path) -> Finding:
    count, quota = usable_cpus(), _quota(root)
    bound = f", of which a container may use {quota:g}" if quota is not None and quota < count else ""
    detail = {"name": processor(), "usable": count, "quota": quota}
    return Finding(SECTION, "processor", f"{processor()}, {count} usable{bound}", detail=detail)


def _quota(root: Path) -> float | None:
    groups = cgroup_folders(root, text_or_none(root / "proc/self/cgroup") or "")
    return min((bound for group in groups if (bound := quota_cpus(group)) is not None), default=None)


def _memory(root: Path) -> Finding:
    try:
        memory = memory_mb((root / "proc/meminfo").read_text())
    except (OSError, ValueError) as error:
        return Finding(SECTION, "memory", f"unknown: {error}", NOTE)
    swap_free = memory["swap_total_mb"] - memory["swap_used_mb"]
    little = memory["memory_available_mb"] + swap_free < LITTLE_MEMORY_MB
    return Finding(
        SECTION,
        "memory",
        f"{_gib(memory['memory_available_mb'])} of {_gib(memory['memory_total_mb'])} GiB available, "
        f"swap {_gib(swap_free)} of {_gib(memory['swap_total_mb'])} GiB free",
        WARNING if little else OK,
        "building an engine may be killed: close programs or add swap" if little else None,
        {key: round(value, 1) for key, value in memory.items()},
    )


def _disk(folder: Path) -> Finding:
    try:
        usage, folder = shutil.disk_usage(folder), folder.resolve()
    except OSError as error:
        return Finding(SECTION, "disk", f"{folder}: {error.strerror}", WARNING)
    free_mb, total_mb = usage.free / 2**20, usage.total / 2**20
    little = free_mb < LITTLE_DISK_MB
    return Finding(
        SECTION,
        "disk",
        f"{_gib(free_mb)} of {_gib(total_mb)} GiB free in {folder}",
        WARNING if little else OK,
        "videos and engines need room: free some, or give -o another disk" if little else None,
        {"folder": str(folder), "free_mb": round(free_mb, 1), "total_mb": round(total_mb, 1)},
    )


def _gib(mb: float) -> str:
    return f"{mb / 1024:.1f}"
