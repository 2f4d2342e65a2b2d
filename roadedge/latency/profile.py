"""From the records of single frames to what a run shows: stages, age of the result, drops, warm-up, load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roadedge.latency.clock import STAGES
from roadedge.latency.summary import Summary, summarize

# Of the call of the runner, where its back-end times its device: copies and kernels by the device's events, and what
# handing the call over took the processor, which runs beside them.
DEVICE_PARTS = ("h2d", "gpu", "d2h", "enqueue")
CSV_COLUMNS = (
    "frame", "capture_s", "clock", "age_ms", *(f"{s}_ms" for s in STAGES), "skew_ms", "points", "dropped_by",
    "done_s", "late_ms", "wait_ms", "paired", *(f"{part}_ms" for part in DEVICE_PARTS),
)  # fmt: skip
WARMUP_LEAST_S, WARMUP_MOST_S = 3.0, 30.0
WARMUP_WINDOW = 50  # frames whose median is compared with that of the 50 before
WARMUP_CHANGE = 0.02
RESIDUAL_WARNING = 0.05


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What happened to one frame.

    `capture_s` is the intended capture by `clock`; `done_s` the second of the run at which the last sink was done with
    it, or at which it was dropped. `age_ms` runs from the intended capture to the last sink. It is made up of
    `late_ms`, from the capture to the moment at which decoding began, `wait_ms`, in the queues between the stages, the
    stages, and a rest that nobody claims. A dropped or failed frame has no times and says why in `dropped_by`:
    `latest:STAGE` (a newer frame took its place while it waited for the stage), `max-age:STAGE`, or `error`. `paired`
    says whether its points lie within the tolerance in time, None where they have none. `device_ms` are parts of
    `infer` (DEVICE_PARTS).
    """

    frame: str
    capture_s: float
    clock: str
    done_s: float = 0.0
    age_ms: float | None = None
    stage_ms: tuple[float, ...] = ()  # in the order of STAGES
    skew_ms: float | None = None
    points: int | None = None
    dropped_by: str = ""
    late_ms: float = 0.0
    wait_ms: float = 0.0
    paired: bool | None = None
    device_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def rest_ms(self) -> float:
        """What of the age neither the stages nor the waiting explain; 0 for a frame without an age."""
        return 0.0 if self.age_ms is None else self.age_ms - self.late_ms - self.wait_ms - sum(self.stage_ms)

    def csv_row(self) -> list[str]:
        """The cells of frames.csv; empty where there is no value."""
        stages = self.stage_ms or (None,) * len(STAGES)
        times = [_cell(t) for t in (self.age_ms, *stages, self.skew_ms)]
        points = "" if self.points is None else str(self.points)
        waits = (None, None) if self.age_ms is None else (self.late_ms, self.wait_ms)
        paired = "" if self.paired is None else str(int(self.paired))
        parts = [_cell(self.device_ms.get(part)) for part in DEVICE_PARTS]
        head = [self.frame, f"{self.capture_s:.6f}", self.clock, *times, points, self.dropped_by]
        return [*head, f"{self.done_s:.6f}", *map(_cell, waits), paired, *parts]


# fixed-rate: frames are due at a rate; live: they come on their own; single: one after the other, in one thread;
# offline: files through the pipeline as fast as it takes them; multi: several streams at once
SCENARIOS = ("fixed-rate", "live", "single", "offline", "multi")


@dataclass(frozen=True, slots=True)
class Warmup:
    """Frames at the start that the figures leave out; `settled` says whether the rule of stability was met."""

    frames: int
    settled: bool
    first_infer_ms: float | None


@dataclass(frozen=True, slots=True)
class Profile:
    """The latency of a run. Milliseconds; `age`, `stages`, `gap` and `misses` leave the warm-up out, counts do not."""

    scenario: str  # of SCENARIOS
    rate_hz: float | None
    policy: str
    model_load_ms: float
    warmup: Warmup
    stages: dict[str, Summary]
    age: Summary
    residual: float | None  # share of the age that neither stages nor waiting explain, median
    due: int
    answered: int
    dropped_by: dict[str, int]
    misses: int  # answers older than one period of the rate
    max_gap_ms: float | None  # longest time between two answers
    load: float | None  # rate x mean time of the slowest stage; above 1 it cannot keep up
    duration_s: float
    skew: Summary = field(default_factory=lambda: summarize([]))
    image_only: int = 0  # answered without a single point
    paired: int = 0  # answered with points within the tolerance in time
    unpaired: int = 0  # answered with points whose time lies too far off
    late: Summary = field(default_factory=lambda: summarize([]))  # from the capture until decoding began
    wait: Summary = field(default_factory=lambda: summarize([]))  # in the queues between the stages
    device: Mapping[str, Summary] = field(default_factory=dict)  # parts of infer, by DEVICE_PARTS
    clock: str = ""  # where the capture times of the answered frames come from

    @property
    def headline(self) -> str:
        """What `age` is called: the age of a result where time passes while we work, end to end else."""
        return "end to end" if self.scenario in ("single", "offline") else "age of result"

    @property
    def paired_share(self) -> float | None:
        """Share of the frames with a common time whose points lie within the tolerance; None where none has one."""
        known = self.paired + self.unpaired
        return self.paired / known if known else None

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
            "paired": self.paired,
            "unpaired": self.unpaired,
            "paired_share": self.paired_share,
            "capture_clock": self.clock,
            "deadline_misses": self.misses,
            "max_gap_ms": self.max_gap_ms,
            "load": self.load,
            "residual": self.residual,
            "age_ms": self.age.to_dict(),
            "skew_ms": self.skew.to_dict(),
            "late_ms": self.late.to_dict(),
            "wait_ms": self.wait.to_dict(),
            "stages_ms": {stage: summary.to_dict() for stage, summary in self.stages.items()},
            "device_ms": {part: summary.to_dict() for part, summary in self.device.items()},
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
        if record.done_s > WARMUP_MOST_S:
            return Warmup(count, False, first) if count < len(answered) else Warmup(1, False, first)
        if record.done_s < WARMUP_LEAST_S or count < 2 * WARMUP_WINDOW:
            continue
        before = np.median(infer_ms[count - 2 * WARMUP_WINDOW : count - WARMUP_WINDOW])
        if abs(np.median(infer_ms[count - WARMUP_WINDOW : count]) - before) < WARMUP_CHANGE * before:
            return Warmup(count, True, first) if count < len(answered) else Warmup(1, False, first)
    return Warmup(min(1, max(0, len(answered) - 1)), False, first)


def profile_of(
    records: Iterable[FrameRecord],
    rate_hz: float | None,
    policy: str,
    model_load_ms: float,
    duration_s: float,
    scenario: str | None = None,
    warmup: Warmup | None = None,
) -> Profile:
    """Sum up the records of a run, those of dropped frames included.

    Args:
        records: in the order in which the frames were due.
        rate_hz: at which frames are due; for frames that come on their own the rate at which they came, None else.
        policy: of the run.
        model_load_ms: how long loading the model took.
        duration_s: of the run.
        scenario: of SCENARIOS; default `fixed-rate` where there is a rate, else `single`.
        warmup: what to leave out, where the frames of a warm-up are no part of the records; default `find_warmup`.
    """
    kept = list(records)
    answered = [record for record in kept if record.age_ms is not None]
    warmup = warmup or find_warmup(answered)
    measured = answered[warmup.frames :]
    stages = {s: summarize([r.stage_ms[i] for r in measured]) for i, s in enumerate(STAGES)}
    ages = [r.age_ms for r in measured if r.age_ms is not None]
    slowest_ms = max((s.mean or 0.0 for s in stages.values()), default=0.0)
    done_s = [r.done_s for r in measured]
    parts = {p: [r.device_ms[p] for r in measured if p in r.device_ms] for p in DEVICE_PARTS}
    return Profile(
        scenario=scenario or ("single" if rate_hz is None else "fixed-rate"),
        rate_hz=rate_hz,
        policy=policy,
        model_load_ms=model_load_ms,
        warmup=warmup,
        stages=stages,
        age=summarize(ages),
        residual=_residual(measured),
        due=len(kept),
        answered=len(answered),
        dropped_by=dict(Counter(r.dropped_by for r in kept if r.dropped_by)),
        misses=0 if rate_hz is None else sum(age > 1e3 / rate_hz for age in ages),
        max_gap_ms=float(np.diff(done_s).max() * 1e3) if len(done_s) > 1 else None,
        load=None if rate_hz is None else rate_hz * slowest_ms / 1e3,
        duration_s=duration_s,
        skew=summarize([r.skew_ms for r in measured if r.skew_ms is not None]),
        image_only=sum(r.points == 0 for r in answered),
        paired=sum(r.paired is True for r in answered),
        unpaired=sum(r.paired is False for r in answered),
        late=summarize([r.late_ms for r in measured]),
        wait=summarize([r.wait_ms for r in measured]),
        device={part: summarize(times) for part, times in parts.items() if times},
        clock=Counter(r.clock for r in answered).most_common(1)[0][0] if answered else "",
    )


def worst_frame(records: Sequence[FrameRecord], profile: Profile) -> FrameRecord | None:
    """The frame at the p99 of the age, or the oldest result where the count does not allow a p99."""
    measured = [r for r in records if r.age_ms is not None][profile.warmup.frames :]
    if not measured:
        return None
    wanted = profile.age.percentiles[99.0]
    return next((r for r in measured if r.age_ms == wanted), max(measured, key=lambda r: r.age_ms or 0.0))


def _residual(measured: Sequence[FrameRecord]) -> float | None:
    shares = [r.rest_ms / r.age_ms for r in measured if r.age_ms]
    return float(np.median(shares)) if shares else None


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
