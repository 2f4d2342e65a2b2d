"""What the timeline draws: ages, drops, gaps and the machine's series, all in seconds of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.latency.frame_table import FrameTable
from roadedge.latency.profile import Profile

MOST_LINES = 4  # of one strip
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Group:
    """Values of the machine that share a strip; a value's `factor` brings it to the unit."""

    title: str
    unit: str
    from_zero: bool
    names: dict[str, str]  # key of the series → what it is called; a key that ends in * stands for its ending
    factor: float = 1.0


GROUPS = (
    Group(
        "processors in use", "%", True,
        {"cpu_load": "all processors", "process_cpu": "this process (100 % = one)", "gpu_util": "GPU"}, 100.0,
    ),
    Group("clocks", "MHz", True, {"cpu_mhz": "CPU", "gpu_mhz": "GPU", "emc_mhz": "memory", "*_mhz": ""}),
    Group("power", "W", True, {"power_w": "all that is measured", "*_w": ""}),
    Group("temperature", "°C", False, {"temp_c": "hottest", "*_c": ""}),
    Group("memory of the process", "MB", False, {"rss_mb": "resident", "gpu_memory_mb": "on the GPU"}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Track:
    """What is drawn. Seconds of the run; arrays of one length go together.

    `gaps` are (begin, end, what to say), `throttle` (first, last, what), `series` maps a name to (seconds, values).
    """

    done_s: Floats
    age_ms: Floats
    drops_s: Mapping[str, Floats] = field(default_factory=dict)
    warmup_s: float | None = None
    period_ms: float | None = None
    gaps: Sequence[tuple[float, float, str]] = ()
    throttle: Sequence[tuple[float, float, str]] = ()
    series: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)

    @property
    def end_s(self) -> float:
        """The last moment of which anything is known."""
        times = [self.done_s, *self.drops_s.values(), *(t for t, _ in self.series.values())]
        ends = [float(np.max(t)) for t in times if t.size] + [end for _, end, _ in self.gaps]
        return max([*ends, 1e-3])


def track_of(metrics: Mapping[str, Any], frames: FrameTable, profile: Profile) -> Track:
    """What metrics.json and frames.csv of a run tell; what they do not hold is left out."""
    numbers, answered = frames.numbers, frames.answered
    done_s = numbers["done_s"]
    warmup = min(profile.warmup.frames, answered.size)
    machine = metrics.get("machine") or {}
    events = (machine.get("throttle") or {}).get("events") or {}
    began_s = float(metrics.get("run_began_s") or 0.0)  # by the watch of the machine, which may have begun before
    end_s = max(profile.duration_s, float(np.nanmax(done_s)) if len(frames) else 0.0)
    return Track(
        done_s=done_s[answered],
        age_ms=numbers["age_ms"][answered],
        drops_s={cause: done_s[rows] for cause, rows in frames.dropped.items()},
        warmup_s=float(done_s[answered[warmup - 1]]) if warmup > 1 else None,
        period_ms=1e3 / profile.rate_hz if profile.rate_hz else None,
        gaps=[_gap(gap, end_s) for gap in metrics.get("gaps") or ()],
        throttle=[
            (float(e["first_s"]) - began_s, float(e["last_s"]) - began_s, str(what)) for what, e in events.items()
        ],
        series=series_of(machine, began_s, end_s),
    )


def series_of(
    machine: Mapping[str, Any], began_s: float = 0.0, end_s: float = np.inf
) -> dict[str, tuple[Floats, Floats]]:
    """The `series` of a machine's state as (seconds of the run, values); samples without a value are left out.

    Args:
        machine: as `MachineWatch.to_dict`.
        began_s: when the run began by the watch's time; what was sampled before is left out.
        end_s: seconds of the run after which samples are left out, but for one that ends the line.
    """
    columns = machine.get("series") or {}
    times = _floats(columns.get("t_s")) - began_s
    found = {}
    for name, column in columns.items():
        values = _floats(column)
        if name == "t_s" or values.size != times.size:
            continue
        seen = np.isfinite(times) & np.isfinite(values) & (times >= -0.5) & (times <= end_s + 1.0)
        if seen.any():
            found[name] = (times[seen], values[seen])
    return found


def lines_of(group: Group, series: Mapping[str, tuple[Floats, Floats]]) -> list[tuple[str, Floats, Floats]]:
    """(name, seconds, values in the group's unit) of the series that belong to a group, the named ones first."""
    found = [(called, key) for key, called in group.names.items() if key in series]
    endings = tuple(key[1:] for key in group.names if key.startswith("*"))
    if endings:
        known = {key for _, key in found}
        found += [
            (key.rsplit("_", 1)[0].replace("_", " "), key)
            for key in sorted(series)
            if key.endswith(endings) and key not in known and not key.startswith("cpu_mhz")
        ]
    return [(called, series[key][0], series[key][1] * group.factor) for called, key in found[:MOST_LINES]]


def _gap(gap: Mapping[str, Any], end_s: float) -> tuple[float, float, str]:
    begin, end = gap.get("begin_s"), gap.get("end_s")
    begin_s = 0.0 if begin is None else float(begin)
    until_s = end_s if end is None else float(end)
    words = f"no frames for {until_s - begin_s:.2f} s: {gap.get('reason', 'not known')}"
    return begin_s, until_s, words + ("" if end is not None else "; none came after")


def _floats(column: Any) -> Floats:
    return np.array([np.nan if value is None else value for value in column or ()], np.float64)
