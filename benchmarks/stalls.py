"""The stall simulation: how late results are where calls look quick, through our own pipeline, clock and statistics.

    python benchmarks/stalls.py [--seconds 600] [-o benchmarks/results/stalls-DATE]

A camera of 30 frames a second, a network of N(22, 1.2²) ms which stands still for 400 ms once in ten seconds, and one
of N(40, 2.1²) ms that cannot keep up. Nothing is waited for: the clock is simulated, the pipeline and its threads not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.atomic import write_json, write_text
from roadedge.benchmark.single import closed_loop
from roadedge.environment import environment
from roadedge.latency.clock import StageTimer
from roadedge.latency.profile import Warmup, profile_of
from roadedge.latency.summary import Summary, summarize
from roadedge.latency.virtual_clock import VirtualClock
from roadedge.preprocess import Feeds
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.stream.pipeline import Pipeline
from roadedge.stream.plan import Plan
from roadedge.stream.sources import Frame, Source

RATE_HZ, SECONDS, SEED = 30.0, 600.0, 0
STALL_MS, STALL_EVERY_S = 400.0, 10.0
SHOWN = (50.0, 90.0, 99.0)
SIDE = 32  # pixels of a frame: its content plays no part


@dataclass(frozen=True, slots=True)
class Service:
    """How long a call takes, milliseconds; `stalls` adds the stand-stills."""

    mean_ms: float
    deviation_ms: float
    stalls: bool


TYPICAL, OVERLOAD = Service(22.0, 1.2, True), Service(40.0, 2.1, False)
# name: what serves, how it is measured, and the figures of the reference simulation: p50, p90, p99, max, drops
ROWS: dict[str, tuple[Service, str, tuple[float, float, float, float, float]]] = {
    "closed loop": (TYPICAL, "call", (22.0, 23.5, 24.8, 424.0, 0.0)),
    "age, all": (TYPICAL, "all", (22.2, 83.1, 391.9, 424.0, 0.0)),
    "age, latest": (TYPICAL, "latest", (22.0, 23.5, 30.0, 425.0, 649 / 18000)),
    "overload: closed loop": (OVERLOAD, "call", (40.0, 42.7, 45.0, 48.0, 0.0)),
    "overload: age, all": (OVERLOAD, "all", (60844.0, 109346.0, 120056.0, 121242.0, 0.0)),
    "overload: age, latest": (OVERLOAD, "latest", (56.8, 70.1, 74.7, 79.0, 0.17)),
}


@dataclass(frozen=True, slots=True)
class Row:
    """What one way of measuring says: milliseconds, and the share of frames without a result."""

    name: str
    times: Summary
    dropped: float
    frames: int

    def figures(self) -> tuple[float | None, ...]:
        """p50, p90, p99, max, share dropped: as in ROWS."""
        return (*(self.times.percentiles[p] for p in SHOWN), self.times.maximum, self.dropped)


class Stalling:
    """A network that takes time of the simulated clock and computes nothing."""

    spec = ModelSpec("stalling", inputs=("image",), gsd_m=None, gsd_band_m=None)

    def __init__(self, clock: VirtualClock, service: Service) -> None:
        self._clock, self._service = clock, service
        self._random = np.random.default_rng(SEED)
        self._start_ns = clock.now_ns()
        self._stall_s = STALL_EVERY_S  # of ten minutes 59 are seen
        self.last_ms: dict[str, float] = {}
        self._blank = np.zeros((1, SIDE, SIDE), np.uint8)

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        """Take the time of one call."""
        took_ms = float(self._random.normal(self._service.mean_ms, self._service.deviation_ms))
        if self._service.stalls and (self._clock.now_ns() - self._start_ns) / 1e9 >= self._stall_s:
            self._stall_s += STALL_EVERY_S
            took_ms += STALL_MS
        self._clock.pass_ms(took_ms)
        return {"probability": self._blank}


class Camera(Source):
    """Black frames at a rate."""

    name, rate_hz, moving, live = "camera", RATE_HZ, True, True

    def __init__(self) -> None:
        self._image = np.zeros((SIDE, SIDE, 3), np.uint8)
        self._index = 0

    def read(self) -> Frame:
        """The next frame."""
        name = self.name_of(self._index)
        self._index += 1
        return Frame(name, Sample(self._image, id=name))

    def skip(self, count: int) -> int:
        """Pass over frames."""
        self._index += count
        return count


def simulate(name: str, seconds: float = SECONDS) -> Row:
    """One row of the table."""
    service, how, _ = ROWS[name]
    clock = VirtualClock()
    runner: Any = Stalling(clock, service)
    if how == "call":
        return _closed(name, runner, clock, seconds)
    run = Pipeline(Camera(), runner, [], Plan(how, RATE_HZ, duration_s=seconds), clock).go()
    nothing = Warmup(0, True, None)  # is left out: the simulated network is warm from the start
    profile = profile_of(run.records, RATE_HZ, how, 0.0, run.duration_s, "fixed-rate", nothing)
    return Row(name, profile.age, (profile.due - profile.answered) / profile.due, profile.due)


def _closed(name: str, runner: Any, clock: VirtualClock, seconds: float) -> Row:
    def serve(timer: StageTimer) -> None:
        with timer("infer"):
            runner.infer({})

    loop = closed_loop(serve, runner, clock, seconds, settle=False)
    times = [record.age_ms for record in loop.records if record.age_ms is not None]
    return Row(name, summarize(times), 0.0, len(times))


def deviations(row: Row) -> list[float]:
    """Of each figure from the reference, as a share of it; drops as a difference of shares."""
    *times, dropped = ROWS[row.name][2]
    *found, share = row.figures()
    return [
        *(float("inf") if value is None else abs(value / want - 1) for value, want in zip(found, times, strict=True)),
        abs((share or 0.0) - dropped),
    ]


def table(rows: Sequence[Row]) -> str:
    """As Markdown, the reference in brackets."""
    lines = ["| measured how | p50 | p90 | p99 | max | dropped |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        want = ROWS[row.name][2]
        pairs = zip(row.figures()[:4], want[:4], strict=True)
        cells = [f"– ({w:g})" if v is None else f"{v:.1f} ({w:g})" for v, w in pairs]
        lines.append(f"| {row.name} | {' | '.join(cells)} | {row.dropped:.1%} ({want[4]:.1%}) |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    began = time.perf_counter()
    rows = [simulate(name, options.seconds) for name in ROWS]
    print(table(rows), end="")
    print(f"\n{time.perf_counter() - began:.1f} s for {len(rows)} x {options.seconds:g} s; milliseconds (reference)")
    if options.output is not None:
        found = [{"name": r.name, "frames": r.frames, "dropped": r.dropped, "age_ms": r.times.to_dict()} for r in rows]
        write_json(
            options.output.with_suffix(".json"),
            {"seconds": options.seconds, "seed": SEED, "environment": environment(), "rows": found},
        )
        write_text(options.output.with_suffix(".md"), table(rows))


if __name__ == "__main__":
    main()
