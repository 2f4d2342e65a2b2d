"""From the records of single frames to what a run shows: stages, age of the result, drops, warm-up, load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roadedge.latency.clock import STAGES
from roadedge.latency.summary import Summary, summarize

CSV_COLUMNS = ("frame", "capture_s", "clock", "age_ms", *(f"{s}_ms" for s in STAGES), "skew_ms", "points", "dropped_by")
WARMUP_LEAST_S, WARMUP_MOST_S = 3.0, 30.0
WARMUP_WINDOW = 50  # frames whose median is compared with that of the 50 before
WARMUP_CHANGE = 0.02
RESIDUAL_WARNING = 0.05


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What happened to one frame. Seconds count from the start of the run unless `clock` says otherwise.

    `age_ms` runs from the intended capture to the last sink; `busy_ms` from the moment work on the frame began.
    A dropped or failed frame has no times and says why in `dropped_by`.
    """

    frame: str
    capture_s: float
    clock: str
    done_s: float = 0.0
    age_ms: float | None = None
    busy_ms: float = 0.0
    stage_ms: tuple[float, ...] = ()  # in the order of STAGES
    skew_ms: float | None = None
    points: int | None = None
    dropped_by: str = ""

    def csv_row(self) -> list[str]:
        """The cells of frames.csv; empty where there is no value."""
        stages = self.stage_ms or (None,) * len(STAGES)
        times = [_cell(t) for t in (self.age_ms, *stages, self.skew_ms)]
        points = "" if self.points is None else str(self.points)
        return [self.frame, f"{self.capture_s:.6f}", self.clock, *times, points, self.dropped_by]


@dataclass(frozen=True, slots=True)
class Warmup:
    """Frames at the start that the figures leave out; `settled` says whether the rule of stability was met."""

    frames: int
    settled: bool
    first_infer_ms: float | None


@dataclass(frozen=True, slots=True)
class Profile:
    """The latency of a run. Milliseconds; `age`, `stages`, `gap` and `misses` leave the warm-up out, counts do not."""

    scenario: str  # "fixed-rate": frames are due at a rate; "single": one after the other
    rate_hz: float | None
    policy: str
    model_load_ms: float
    warmup: Warmup
    stages: dict[str, Summary]
    age: Summary
    residual: float | None  # share of the busy time that no stage explains, median
    due: int
    answered: int
    dropped_by: dict[str, int]
    misses: int  # answers older than one period of the rate
    max_gap_ms: float | None  # longest time between two answers
    load: float | None  # rate x mean time of the slowest stage; above 1 it cannot keep up
    duration_s: float
    skew: Summary = field(default_factory=lambda: summarize([]))
    image_only: int = 0  # answered without a single point

    @property
    def headline(self) -> str:
        """What `age` is called: the age of a result where frames are due at a rate, end to end else."""
        return "age of result" if self.scenario == "fixed-rate" else "end to end"

    @property
    def answered_per_s(self) -> float:
        """Answers a second over the whole run."""
        return self.answered / self.duration_s if self.duration_s > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "scenario": self.scenario,
            "rate_hz": self.rate_hz,
            "policy": self.policy,
            "model_load_ms": self.model_load_ms,
            "warmup": {
                "frames": self.warmup.frames,
                "settled": self.warmup.settled,
                "first_infer_ms": self.warmup.first_infer_ms,
            },
            "duration_s": self.duration_s,
            "due": self.due,
            "answered": self.answered,
            "answered_per_s": self.answered_per_s,
            "dropped_by": self.dropped_by,
            "image_only": self.image_only,
            "deadline_misses": self.misses,
            "max_gap_ms": self.max_gap_ms,
            "load": self.load,
            "residual": self.residual,
            "age_ms": self.age.to_dict(),
            "skew_ms": self.skew.to_dict(),
            "stages_ms": {stage: summary.to_dict() for stage, summary in self.stages.items()},
        }


def find_warmup(answered: Sequence[FrameRecord]) -> Warmup:
    """How many answered frames to leave out.

    Until at least 3 s have passed and the median inference of the last 50 frames differs by less than 2 % from that
    of the 50 before; at most 30 s. A run that ends before that leaves out its first frame only and is not settled; a
    run of one frame leaves out nothing.
    """
    infer_ms = np.array([record.stage_ms[STAGES.index("infer")] for record in answered])
    first = float(infer_ms[0]) if infer_ms.size else None
    for count, record in enumerate(answered, 1):
        if record.done_s < WARMUP_LEAST_S or count < 2 * WARMUP_WINDOW:
            continue
        if record.done_s > WARMUP_MOST_S:
            return Warmup(count, False, first)
        before = np.median(infer_ms[count - 2 * WARMUP_WINDOW : count - WARMUP_WINDOW])
        if abs(np.median(infer_ms[count - WARMUP_WINDOW : count]) - before) < WARMUP_CHANGE * before:
            return Warmup(count, True, first) if count < len(answered) else Warmup(1, False, first)
    return Warmup(min(1, max(0, len(answered) - 1)), False, first)


def profile_of(
    records: Sequence[FrameRecord], rate_hz: float | None, policy: str, model_load_ms: float, duration_s: float
) -> Profile:
    """Sum up the records of a run, those of dropped frames included."""
    answered = [record for record in records if record.age_ms is not None]
    warmup = find_warmup(answered)
    measured = answered[warmup.frames :]
    stages = {s: summarize([r.stage_ms[i] for r in measured]) for i, s in enumerate(STAGES)}
    ages = [r.age_ms for r in measured if r.age_ms is not None]
    slowest_ms = max((s.mean or 0.0 for s in stages.values()), default=0.0)
    done_s = [r.done_s for r in measured]
    return Profile(
        scenario="single" if rate_hz is None else "fixed-rate",
        rate_hz=rate_hz,
        policy=policy,
        model_load_ms=model_load_ms,
        warmup=warmup,
        stages=stages,
        age=summarize(ages),
        residual=_residual(measured),
        due=len(records),
        answered=len(answered),
        dropped_by=dict(Counter(r.dropped_by for r in records if r.dropped_by)),
        misses=0 if rate_hz is None else sum(age > 1e3 / rate_hz for age in ages),
        max_gap_ms=float(np.diff(done_s).max() * 1e3) if len(done_s) > 1 else None,
        load=None if rate_hz is None else rate_hz * slowest_ms / 1e3,
        duration_s=duration_s,
        skew=summarize([r.skew_ms for r in measured if r.skew_ms is not None]),
        image_only=sum(r.points == 0 for r in answered),
    )


def worst_frame(records: Sequence[FrameRecord], profile: Profile) -> FrameRecord | None:
    """The frame at the p99 of the age, or the oldest result where the count does not allow a p99."""
    measured = [r for r in records if r.age_ms is not None][profile.warmup.frames :]
    if not measured:
        return None
    wanted = profile.age.percentiles[99.0]
    return next((r for r in measured if r.age_ms == wanted), max(measured, key=lambda r: r.age_ms or 0.0))


def _residual(measured: Sequence[FrameRecord]) -> float | None:
    shares = [1 - sum(r.stage_ms) / r.busy_ms for r in measured if r.busy_ms > 0]
    return float(np.median(shares)) if shares else None


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
