"""Targets: `p99=33ms,drop=1%,throughput=30/s` read before measuring, held against the result after it is written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roadedge.errors import UsageError
from roadedge.latency.profile import Profile
from roadedge.latency.summary import PERCENTILES, label, samples_needed

TIMES = (*(label(p) for p in PERCENTILES), "max", "gap")
FORM = "targets are p50, p90, p99, p99.9, max or gap with us, ms or s; drop with %; throughput with /s; streams"
MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
OF_SCENARIO = {
    "single": (*(label(p) for p in PERCENTILES), "max", "throughput"),
    "fixed-rate": (*TIMES, "drop", "throughput"),
    "offline": ("throughput",),
    "multi": (*TIMES, "drop", "throughput", "streams"),
}


@dataclass(frozen=True, slots=True)
class Target:
    """One target: a time in milliseconds or a share that must not be exceeded, or a count that must be reached."""

    name: str
    limit: float
    text: str  # as it was given

    @property
    def at_least(self) -> bool:
        """Whether more is better."""
        return self.name in ("throughput", "streams")


def parse_slo(text: str | None, scenario: str) -> tuple[Target, ...]:
    """Read `name=value` separated by commas.

    Raises:
        UsageError: an unknown name, a value without its unit, one twice, or a target that the scenario has no figure
            for.
    """
    if text is None:
        return ()
    targets = [_target(part.strip()) for part in text.split(",")]
    names = [target.name for target in targets]
    if len(set(names)) != len(names):
        raise UsageError(f"--slo names one target twice: {text!r}")
    for name in names:
        if name not in OF_SCENARIO[scenario]:
            raise UsageError(
                f"--scenario {scenario} has no {name} to hold against --slo; it has {', '.join(OF_SCENARIO[scenario])}"
            )
    return tuple(targets)


def missed(
    targets: tuple[Target, ...],
    profile: Profile,
    throughput_per_s: float,
    streams: int | None,
    rows: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """One sentence for each target that was not met, or that the count of frames does not allow to be claimed.

    Args:
        targets: as `parse_slo` read them.
        profile: of the run.
        throughput_per_s: images a second.
        streams: that were sustained, None where that is not known.
        rows: of each stream, as `Streams.to_dict` gives them; each of them must meet the targets of ages and drops.
    """
    lines = []
    for target in targets:
        found = _worst(target, rows) if rows else None
        value, why = found or _measured(target, profile, throughput_per_s, streams)
        if value is None:
            lines.append(f"{target.text}: {why}")
        elif (value < target.limit) if target.at_least else (value > target.limit):
            lines.append(f"{target.text}: measured {_shown(target, value)}")
    return lines


def _target(part: str) -> Target:
    name, equals, value = (piece.strip() for piece in part.partition("="))
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s|%|/s)?", value)
    unit = found[2] if found else None
    if not equals or not found:
        raise UsageError(f"--slo does not understand {part!r}; {FORM}, as in p99=33ms,drop=1%")
    number = float(found[1])
    if name in TIMES and unit in MILLISECONDS and number > 0:
        return Target(name, number * MILLISECONDS[unit], part)
    if name == "drop" and unit == "%" and number <= 100:
        return Target(name, number / 100, part)
    if name == "throughput" and unit in ("/s", None) and number > 0:
        return Target(name, number, part)
    if name == "streams" and unit is None and number == math.floor(number) and number > 0:
        return Target(name, number, part)
    raise UsageError(f"--slo does not understand {part!r}; {FORM}, as in p99=33ms,drop=1%")


def _measured(
    target: Target, profile: Profile, throughput_per_s: float, streams: int | None
) -> tuple[float | None, str]:
    if target.name == "throughput":
        return throughput_per_s, ""
    if target.name == "streams":
        return (None, "streams were not counted") if streams is None else (float(streams), "")
    if target.name == "drop":
        dropped = profile.due - profile.answered
        return (dropped / profile.due, "") if profile.due else (None, "no frame was due")
    if target.name == "gap":
        return profile.max_gap_ms, "fewer than two results were measured"
    if target.name == "max":
        return profile.age.maximum, "nothing was measured"
    percentile = float(target.name[1:])
    needed = samples_needed(percentile)
    return profile.age.percentiles[percentile], f"n too small, {profile.age.count} frames of the {needed} it takes"


def _worst(target: Target, rows: Sequence[Mapping[str, Any]]) -> tuple[float | None, str] | None:
    """The value of the stream that is worst off; None for a target that is not one of single streams."""
    if target.name == "drop":
        return max(row["loss"] for row in rows), ""
    if target.name not in rows[0]["age_ms"]:
        return None
    values = [row["age_ms"][target.name] for row in rows]
    if None not in values:
        return max(values), ""
    least = min(row["age_ms"]["n"] for row in rows)
    return None, f"n too small, {least} frames of one stream"


def _shown(target: Target, value: float) -> str:
    if target.name == "drop":
        return f"{value:.2%}"
    if target.name == "throughput":
        return f"{value:.2f}/s"
    return f"{value:.0f}" if target.name == "streams" else f"{value:.2f} ms"
