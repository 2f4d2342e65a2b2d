"""What a benchmark is asked to do, checked before anything is measured."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roadedge.errors import UsageError
from roadedge.stream.plan import Plan

SCENARIOS = ("single", "fixed-rate", "offline", "multi")
INCLUDABLE = ("decode", "pre", "post")
SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "": 1.0}
DEFAULT_SIZE = (512, 512)  # (H, W) of a frame for a network of any size
DEFAULT_RATE_HZ = 30.0
BATCHES = (1, 2, 4, 8)  # of the sweep, where the graph takes them
MOST_STREAMS = 64


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """What is measured, how long, and what it is held against.

    `source` None is a synthetic flight of the network's own size; `rate_hz` None is 30, or the source's own; `include`
    is what is timed beside the network in `single` and `multi`, `batches` None the sweep that the graph allows,
    `streams` None a search. `slo` are targets as `parse_slo` reads them.
    """

    model: str
    scenario: str = "single"
    source: str | None = None
    rate_hz: float | None = None
    duration_s: float = 60.0
    policy: str = "latest"
    include: tuple[str, ...] = ()
    batches: tuple[int, ...] | None = None
    streams: int | None = None
    backend: str = "auto"
    precision: str | None = None
    threads: int | None = None
    accept_rejected: bool = False
    layers: bool = False
    power: bool = False
    slo: str | None = None
    against: str | None = None
    repeats: int = 3
    output: Path | None = None
    overwrite: bool = False
    submit: Path | None = None

    def check(self) -> None:
        """Raise UsageError for values out of range and options that do not go together."""
        if self.scenario not in SCENARIOS:
            raise UsageError(f"--scenario is one of {', '.join(SCENARIOS)}, got {self.scenario!r}")
        if not 0 < self.duration_s <= 86400:
            raise UsageError(f"--duration must lie between 0 and a day, got {self.duration_s:g} s")
        if self.rate_hz is not None and not 0 < self.rate_hz <= 1000:
            raise UsageError(f"--rate must lie between 0 and 1000 frames a second, got {self.rate_hz:g}")
        if self.streams is not None and not 1 <= self.streams <= MOST_STREAMS:
            raise UsageError(f"--streams must lie between 1 and {MOST_STREAMS}, got {self.streams}")
        if self.against is not None and not 3 <= self.repeats <= 50:
            raise UsageError(f"--repeats must lie between 3 and 50: fewer give no interval; got {self.repeats}")
        Plan(self.policy)  # which refuses what is none
        self._check_scenario()

    def _check_scenario(self) -> None:
        allowed = {
            "--rate": (self.rate_hz is not None, ("fixed-rate", "multi")),
            "--batch": (self.batches is not None, ("offline",)),
            "--streams": (self.streams is not None, ("multi",)),
            "--policy": (self.policy != "latest", ("fixed-rate",)),
            "--include": (bool(self.include), ("single", "multi")),
            "--against": (self.against is not None, ("single",)),
        }
        for name, (given, scenarios) in allowed.items():
            if given and self.scenario not in scenarios:
                raise UsageError(
                    f"{name} belongs to --scenario {' or '.join(scenarios)}, not to {self.scenario}"
                    + ("; everything is timed there" if name == "--include" and self.scenario == "fixed-rate" else "")
                )
        if "decode" in self.include and (self.scenario == "multi" or "pre" not in self.include):
            raise UsageError(
                "--include decode goes with pre, in --scenario single: what lies between would be run and not timed"
            )


def parse_duration(text: str) -> float:
    """`60`, `60s`, `10min`, `500ms`, `1h` in seconds; raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h)?", text.strip())
    if not found or not math.isfinite(float(found[1])):
        raise UsageError(f"a duration is a number with ms, s, min or h, as in 60s or 10min; got {text!r}")
    return float(found[1]) * SECONDS[found[2] or ""]


def parse_batches(text: str | None) -> tuple[int, ...] | None:
    """`1,2,4,8` as ascending numbers without repetition; raises UsageError."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and 1 <= int(part) <= 1024 for part in parts):
        raise UsageError(f"--batch is a list of numbers from 1 to 1024, as in 1,2,4,8; got {text!r}")
    return tuple(sorted({int(part) for part in parts}))


def parse_include(text: str | None) -> tuple[str, ...]:
    """`decode,pre,post` in the order of a frame's way; raises UsageError."""
    asked = [] if text is None else [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in asked if part not in (*INCLUDABLE, "infer")]
    if unknown:
        raise UsageError(f"--include takes some of {','.join(INCLUDABLE)} beside infer, got {','.join(unknown)}")
    return tuple(name for name in INCLUDABLE if name in asked)


def included_text(include: Sequence[str], scenario: str) -> str:
    """What a time of this scenario is made of, for the header of a report."""
    if scenario == "fixed-rate":
        return "decode, heat-map, preprocess, infer, postprocess; nothing is written"
    if scenario == "offline":
        return "infer"
    names = {"decode": "decode", "pre": "heat-map, preprocess", "post": "postprocess"}
    before = [names[name] for name in ("decode", "pre") if name in include]
    return ", ".join([*before, "infer", *([names["post"]] if "post" in include else [])])
