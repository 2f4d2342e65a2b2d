"""The share of processors that a container may use, and whether it was held back for using more."""

from __future__ import annotations

from pathlib import Path

from roadedge.latency.machine_reading import AbsentError, Reading, text_of, text_or_none


def cgroup_folders(root: Path, text: str) -> list[Path]:
    """Folders that bound this process's processor time, its own first, then those above it.

    Args:
        root: where /sys lies.
        text: what /proc/self/cgroup holds, of version 2 (`0::/path`) or 1 (`4:cpu,cpuacct:/path`).

    Returns:
        Those that exist and count throttling. In a container the path may be the host's: those above it still exist.
    """
    mount = root / "sys/fs/cgroup"
    found: list[Path] = []
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            tops = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            tops = [mount / "cpu", mount / "cpu,cpuacct", mount / controllers]
        else:
            continue
        for top in dict.fromkeys(tops):
            own = top / path.strip("/")
            inside = [own, *own.parents] if ".." not in own.parts else [top]
            found += [one for one in inside if one == top or top in one.parents]
    counted = [one for one in dict.fromkeys(found) if "nr_throttled" in (text_or_none(one / "cpu.stat") or "")]
    return counted


def quota_cpus(folder: Path) -> float | None:
    """Processors that a folder allows, from cpu.max or cpu.cfs_quota_us; None where it sets no bound."""
    words = (text_or_none(folder / "cpu.max") or "").split()
    if not words:
        words = [
            text_or_none(folder / "cpu.cfs_quota_us") or "-1",
            text_or_none(folder / "cpu.cfs_period_us") or "100000",
        ]
    try:
        quota, period = float(words[0]), float(words[1])
    except (ValueError, IndexError):  # "max 100000": no bound
        return None
    return quota / period if quota > 0 and period > 0 else None


def throttled_count(text: str) -> int:
    """`nr_throttled` of a cpu.stat.

    Raises:
        ValueError: it has none.
    """
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "nr_throttled":
            return int(words[1])
    raise ValueError("cpu.stat has no nr_throttled")


class CgroupReader:
    """`cpu_quota` in processors where one is set; being held back for exceeding it is throttling."""

    name, sees_throttle = "cgroup", False  # a quota's throttle says nothing of the hardware's

    def __init__(self, root: Path) -> None:
        text = text_or_none(root / "proc/self/cgroup")
        self._folders = cgroup_folders(root, text) if text else []
        if not self._folders:
            raise AbsentError("no control group that counts throttling")
        self._before: int | None = None

    def read(self, at_s: float) -> Reading:
        """The tightest bound, and whether it held the process back since the look before."""
        now = sum(throttled_count(text_of(folder / "cpu.stat")) for folder in self._folders)
        before, self._before = self._before, now
        bounds = [bound for folder in self._folders if (bound := quota_cpus(folder)) is not None]
        values = {"cpu_quota": min(bounds)} if bounds else {}
        held = before is not None and now > before
        return Reading(values, ("container's processor quota",) if held else ())

    def close(self) -> None:
        """Nothing is held open."""
