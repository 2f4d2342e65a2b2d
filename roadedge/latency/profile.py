"""From the records of single frames to what a run shows: stages, age of the result, drops, warm-up, load."""

from __future__ import annotations

import array
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What happened to one frame.

    `capture_s` is the intended capture by `clock`; `done_s` the second of the run at which the last sink was done with
    it, or at which it was dropped. `age_ms` runs from the intended capture to the last sink. It is made up of
    `late_ms`, from the capture to the moment at which decoding began, `wait_ms`, in the queues between the stages, the
    stages, and a rest that nobody claims. A dropped or failed frame has no times and says why in `dropped_by`:
    `latest:STAGE` (a newer frame took its place while it waited for the stage), `max-age:STAGE`, `error`, or `aborted`
    (it was on its way when the run broke off). `paired`
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
    max_gap_ms: float | None  # longest time between two answers, or from the last one to the end of the run
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
    return _find_warmup(infer_ms, np.array([record.done_s for record in answered]))


def _find_warmup(infer_ms: Floats, done_s: Floats) -> Warmup:
    first, answered = float(infer_ms[0]) if infer_ms.size else None, infer_ms.size
    for count, moment_s in enumerate(done_s, 1):
        if moment_s > WARMUP_MOST_S:
            return Warmup(count, False, first) if count < answered else Warmup(1, False, first)
        if moment_s < WARMUP_LEAST_S or count < 2 * WARMUP_WINDOW:
            continue
        before = np.median(infer_ms[count - 2 * WARMUP_WINDOW : count - WARMUP_WINDOW])
        if abs(np.median(infer_ms[count - WARMUP_WINDOW : count]) - before) < WARMUP_CHANGE * before:
            return Warmup(count, True, first) if count < answered else Warmup(1, False, first)
    return Warmup(min(1, max(0, answered - 1)), False, first)


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
    frames = _Frames(records)
    warmup = warmup or _find_warmup(frames.column("infer"), frames.column("done_s"))
    measured = {name: frames.column(name)[warmup.frames :] for name in _COLUMNS}
    stages = {stage: summarize(measured[stage]) for stage in STAGES}
    slowest_ms = max((s.mean or 0.0 for s in stages.values()), default=0.0)
    parts = {part: _known(measured[part]) for part in DEVICE_PARTS}
    points, paired = frames.column("points"), frames.column("paired")
    return Profile(
        scenario=scenario or ("single" if rate_hz is None else "fixed-rate"),
        rate_hz=rate_hz,
        policy=policy,
        model_load_ms=model_load_ms,
        warmup=warmup,
        stages=stages,
        age=summarize(measured["age"]),
        residual=_residual(measured),
        due=frames.due,
        answered=len(points),
        dropped_by=dict(frames.dropped),
        misses=0 if rate_hz is None else int(np.count_nonzero(measured["age"] > 1e3 / rate_hz)),
        max_gap_ms=_max_gap_ms(measured["done_s"], 0.0 if rate_hz is None else duration_s),
        load=None if rate_hz is None else rate_hz * slowest_ms / 1e3,
        duration_s=duration_s,
        skew=summarize(_known(measured["skew"])),
        image_only=int(np.count_nonzero(points == 0)),
        paired=int(np.count_nonzero(paired == 1)),
        unpaired=int(np.count_nonzero(paired == 0)),
        late=summarize(measured["late"]),
        wait=summarize(measured["wait"]),
        device={part: summarize(times) for part, times in parts.items() if times.size},
        clock=frames.clocks.most_common(1)[0][0] if frames.clocks else "",
    )


class _Frames:
    """The records as columns, since a stream of days holds millions: NaN where there is no value."""

    def __init__(self, records: Iterable[FrameRecord]) -> None:
        self.due, self.dropped, self.clocks = 0, Counter[str](), Counter[str]()
        rows = array.array("d")
        for record in records:
            self.due += 1
            if record.dropped_by:
                self.dropped[record.dropped_by] += 1
            if record.age_ms is not None:
                self.clocks[record.clock] += 1
                rows.extend(_row(record, record.age_ms))
        self._table = np.frombuffer(rows, np.float64).reshape(-1, len(_COLUMNS))

    def column(self, name: str) -> Floats:
        """Of the answered frames."""
        return self._table[:, _COLUMNS.index(name)]


_COLUMNS = ("done_s", "age", "late", "wait", "skew", "points", "paired", *STAGES, *DEVICE_PARTS)


def _row(record: FrameRecord, age_ms: float) -> list[float]:
    some = (record.skew_ms, record.points, record.paired, *record.stage_ms)
    parts = (record.device_ms.get(part) for part in DEVICE_PARTS)
    known = [math.nan if value is None else float(value) for value in (*some, *parts)]
    return [record.done_s, age_ms, record.late_ms, record.wait_ms, *known]


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _max_gap_ms(done_s: Floats, end_s: float) -> float | None:
    """Between two answers, or after the last one: a stream that falls silent ends in a gap."""
    return float(max(np.diff(done_s).max(), end_s - done_s[-1]) * 1e3) if done_s.size > 1 else None


def worst_frame(records: Sequence[FrameRecord], profile: Profile) -> FrameRecord | None:
    """The frame at the p99 of the age, or the oldest result where the count does not allow a p99."""
    wanted, worst = profile.age.percentiles[99.0], None
    answered = (record for record in records if record.age_ms is not None)
    for record in itertools.islice(answered, profile.warmup.frames, None):
        if record.age_ms == wanted:
            return record
        if worst is None or (record.age_ms or 0.0) > (worst.age_ms or 0.0):
            worst = record
    return worst


def _residual(measured: Mapping[str, Floats]) -> float | None:
    age = measured["age"]
    rest = age - measured["late"] - measured["wait"] - sum(measured[stage] for stage in STAGES)
    shares = rest[age != 0] / age[age != 0]
    return float(np.median(shares)) if shares.size else None


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
