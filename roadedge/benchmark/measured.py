"""One measurement of one network: each scenario brings its frames, its profile and what is its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from roadedge.benchmark.frames import Prepared
from roadedge.benchmark.multi import LOSS, Streams, most_streams, probe_s, run_streams, streams_text
from roadedge.benchmark.offline import BatchResult, run_sweep
from roadedge.benchmark.options import DEFAULT_RATE_HZ, MOST_STREAMS, BenchmarkOptions
from roadedge.benchmark.progress import Tell, records_after
from roadedge.benchmark.single import Loop, Work, closed_loop
from roadedge.errors import RoadEdgeError
from roadedge.latency.clock import Clock
from roadedge.latency.profile import FrameRecord, Profile, Warmup, profile_of
from roadedge.runners.base import Runner
from roadedge.stream.pipeline import Pipeline
from roadedge.stream.plan import Plan
from roadedge.stream.sources import Source
from roadedge.stream.status import StatusLine


@dataclass(frozen=True, slots=True)
class Measured:
    """What a scenario left.

    `asked_s` is how long it had to last, its warm-up included; `began_ns` is when the records begin by the clock of the
    run, `span_ns` their measured part, in which `images` were answered; `own` is what only this scenario has;
    `samples_ms` are the times of single frames by repeats, empty where they are no times of frames.
    """

    records: Sequence[FrameRecord]
    profile: Profile
    asked_s: float
    interrupted: bool
    images: int
    span_ns: tuple[int, int]
    began_ns: int
    batch: str = "1"
    own: dict[str, Any] = field(default_factory=dict)
    samples_ms: list[list[float]] = field(default_factory=list)
    streams: int | None = None
    sweep: Sequence[BatchResult] = ()
    error: RoadEdgeError | None = None  # what broke it off, or failed after it

    @property
    def throughput_per_s(self) -> float:
        """Answered images a second of the measured part; of a sweep those of its best batch."""
        if self.sweep:
            return max(result.images_per_s for result in self.sweep)
        begin_ns, end_ns = self.span_ns
        return self.images / ((end_ns - begin_ns) / 1e9) if end_ns > begin_ns else 0.0


def run_single(
    work: Work, runner: Runner, options: BenchmarkOptions, clock: Clock, load_ms: float, tell: Tell
) -> Measured:
    """The closed loop."""
    begin_ns = clock.now_ns()
    loop = closed_loop(work, runner, clock, options.duration_s, tell)
    return of_loop(loop, begin_ns, options, load_ms)


def of_loop(loop: Loop, begin_ns: int, options: BenchmarkOptions, load_ms: float, repeats: int = 1) -> Measured:
    """What a closed loop left; `repeats` turns of it were joined."""
    profile = profile_of(loop.records, None, "none", load_ms, loop.duration_s, "single", loop.warmup)
    measured = records_after(loop.records, profile.warmup.frames)
    span_ns = _span_ns(loop.records, profile, begin_ns)
    return Measured(
        loop.records, profile, loop.warmup_s + options.duration_s * repeats, loop.interrupted, len(measured), span_ns,
        begin_ns, samples_ms=[times_of(measured)], error=loop.error,
    )  # fmt: skip


def run_fixed_rate(
    source: Source, runner: Runner, options: BenchmarkOptions, rate_hz: float, clock: Clock, load_ms: float, tell: Tell
) -> Measured:
    """The pipeline of a stream without its sinks; its warm-up is part of the duration, as frames are due meanwhile."""
    plan = Plan(options.policy, rate_hz, duration_s=options.duration_s)
    pipeline = Pipeline(source, runner, [], plan, clock, StatusLine(tell))
    error: RoadEdgeError | None = None
    try:
        pipeline.go()
    except RoadEdgeError as broken:
        if not pipeline.run.answered:
            raise
        error = broken
    run = pipeline.run
    profile = profile_of(run.records, rate_hz, options.policy, load_ms, run.duration_s, "fixed-rate")
    measured = records_after(run.records, profile.warmup.frames)
    return Measured(
        run.records, profile, options.duration_s, run.interrupted or error is not None, len(measured),
        _span_ns(run.records, profile, pipeline.start_ns), pipeline.start_ns, samples_ms=[times_of(measured)],
        error=error,
    )  # fmt: skip


def run_offline(
    batches: tuple[int, ...], ring: list[Prepared], runner: Runner, options: BenchmarkOptions, clock: Clock,
    load_ms: float, tell: Tell,
) -> Measured:  # fmt: skip
    """The sweep; its profile is that of the fastest batch."""
    results = run_sweep(batches, ring, runner, clock, options.duration_s, tell)
    best = max(results, key=lambda result: result.images_per_s)
    profile = profile_of(best.loop.records, None, "none", load_ms, best.loop.duration_s, "offline", best.loop.warmup)
    interrupted = any(result.loop.interrupted for result in results)
    return Measured(
        best.loop.records, profile, best.loop.warmup_s + options.duration_s / len(batches), interrupted, best.images,
        (best.begin_ns, best.end_ns), best.loop_began_ns, ",".join(map(str, batches)), sweep=results,
        error=next((result.loop.error for result in results if result.loop.error), None),
    )  # fmt: skip


def run_multi(
    work: Work, runner: Runner, options: BenchmarkOptions, clock: Clock, load_ms: float, tell: Tell
) -> Measured:
    """Warm up, find how many streams are sustained unless a count is given, then measure that many at full length.

    A count that fails at full length is lowered until one holds.
    """
    rate_hz = options.rate_hz or DEFAULT_RATE_HZ
    warm = closed_loop(work, runner, clock, 0.0, tell, "warm-up")
    stopped, count = warm.interrupted, options.streams or 1
    tried: list[dict[str, Any]] = []
    errors = [warm.error]

    def probe(number: int) -> Streams:
        found = run_streams(number, rate_hz, work, runner, clock, probe_s(options.duration_s))
        errors.append(found.error)
        return found

    if options.streams is None and not stopped:
        count, tried, stopped = most_streams(probe, tell, MOST_STREAMS)
    length_s = 0.0 if stopped else options.duration_s
    while True:
        begin_ns = clock.now_ns()
        run = run_streams(max(count, 1), rate_hz, work, runner, clock, length_s, tell)
        held = run.worst_loss < LOSS and count > 0
        if held or options.streams is not None or count <= 1 or run.interrupted or stopped:
            break
        tell(f"{streams_text(count)} lose {run.worst_loss:.1%} at full length; {count - 1} are tried")
        count -= 1
    stopped = stopped or run.interrupted
    sustained = None if stopped else count if held else 0
    before = warm.warmup or Warmup(0, False, None)
    records = run.records
    profile = profile_of(records, rate_hz, "latest", load_ms, run.duration_s, "multi", replace(before, frames=0))
    gaps_ms = [stream.max_gap_ms for stream in run.streams if stream.max_gap_ms is not None]
    load = None if profile.load is None else profile.load * len(run.streams)  # of the one worker by all streams
    profile = replace(profile, load=load, max_gap_ms=max(gaps_ms, default=None))  # the gap is that of one stream
    answered = [record for record in records if record.age_ms is not None]
    own = {
        "streams": run.to_dict(),
        "streams_sustained": sustained,
        "tried": tried,
        "sustained_means": "no stream loses 5 % of its frames",
    }
    return Measured(
        records, profile, options.duration_s, stopped, len(answered),
        (begin_ns, begin_ns + round(run.duration_s * 1e9)), begin_ns, "1", own,
        [times_of(answered)], sustained, error=next((one for one in (*errors, run.error) if one), None),
    )  # fmt: skip


def times_of(records: Sequence[FrameRecord]) -> list[float]:
    """The times of frames for metrics.json, to the microsecond."""
    return [round(record.age_ms, 3) for record in records if record.age_ms is not None]


def _span_ns(records: Sequence[FrameRecord], profile: Profile, begin_ns: int) -> tuple[int, int]:
    answered = [record for record in records if record.age_ms is not None]
    warmup = profile.warmup.frames
    since_s = answered[warmup - 1].done_s if 0 < warmup <= len(answered) else 0.0
    until_s = answered[-1].done_s if answered else 0.0
    return begin_ns + round(since_s * 1e9), begin_ns + round(until_s * 1e9)
