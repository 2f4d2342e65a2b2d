"""One frame after the other: decode → heat-map → preprocess → infer → postprocess → sinks, each stage timed.

One thread, so that the way of a frame can be read from top to bottom. Where frames are due at a rate, the age of a
result counts from the moment at which its frame was due, and frames that fall due while another is worked on are
dropped and counted (`latest`), or wait their turn (`all`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from roadedge.errors import DataError
from roadedge.latency.clock import STAGES, Clock, StageTimer
from roadedge.latency.profile import FrameRecord
from roadedge.metrics.pixel import PixelCounts, count_pixels
from roadedge.postprocess import postprocess
from roadedge.preprocess import Feeds, OutsideBandWarning, check_band, outside_density, preprocess
from roadedge.sample import RoadMask
from roadedge.spec import ModelSpec
from roadedge.stream.sinks import Result, Sink
from roadedge.stream.sources import Frame, Second, Source

POLICIES = ("latest", "all")


class Infers(Protocol):
    """What the pipeline needs of a runner."""

    spec: ModelSpec

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        """Feeds → {"probability": (N, H, W) uint8}."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to go on, and what to do with frames that are late, bad or outside the trained band."""

    policy: str = "latest"
    rate_hz: float | None = None  # None: the source's own, or one frame after the other
    max_frames: int | None = None
    duration_s: float | None = None
    threshold: float | None = None  # None: the model's
    strict: bool = False


@dataclass(slots=True)
class Run:
    """What happened so far. `counts` are the pixels of answers against a simulation's truth."""

    records: list[FrameRecord] = field(default_factory=list)
    failures: list[DataError] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    counts: list[PixelCounts] = field(default_factory=list)
    first: Result | None = None
    last: Result | None = None
    outside_band: int = 0
    outside_density: int = 0
    duration_s: float = 0.0
    interrupted: bool = False

    @property
    def answered(self) -> int:
        """Frames with a result."""
        return sum(record.age_ms is not None for record in self.records)


Watch = Callable[[Run, float], None]  # the run so far, seconds since its start


class Pipeline:
    """A source, a runner and sinks, joined; `go` runs it once."""

    def __init__(
        self,
        source: Source,
        runner: Infers,
        sinks: Sequence[Sink],
        plan: Plan,
        clock: Clock,
        watch: Watch | None = None,
    ) -> None:
        self.run = Run()
        self._source, self._runner, self._sinks, self._plan = source, runner, sinks, plan
        self._clock, self._watch = clock, watch
        self._rate_hz = plan.rate_hz or source.rate_hz
        self._start_ns = 0
        self._bands: dict[float | None, bool] = {}

    @property
    def rate_hz(self) -> float | None:
        """Rate at which frames are due; None: one after the other."""
        return self._rate_hz

    def go(self) -> Run:
        """Run until the source ends or the plan's limits; Ctrl-C ends it in order, with what there is so far.

        Raises:
            DataError: a bad frame of a stream, or of a folder under `strict`. `run` holds what came before it.
            OutputError: a sink cannot write.
            NonFiniteError: the network returned NaN.
        """
        self._start_ns = self._clock.now_ns()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OutsideBandWarning)  # counted, and told once, by _check_band
                while self._more() and self._next_frame():
                    if self._watch is not None:
                        self._watch(self.run, self._now_s())
        except KeyboardInterrupt:
            self.run.interrupted = True
        finally:
            self.run.duration_s = self._now_s()
        return self.run

    def _more(self) -> bool:
        due, plan = len(self.run.records), self._plan
        if plan.max_frames is not None and due >= plan.max_frames:
            return False
        if plan.duration_s is None:
            return True
        at_s = self._now_s() if self._rate_hz is None else due / self._rate_hz
        if at_s < plan.duration_s:
            return True
        if self._rate_hz is not None:  # the last frame's period belongs to the time asked for
            self._clock.sleep_until_ns(self._start_ns + round(plan.duration_s * 1e9))
        return False

    def _next_frame(self) -> bool:
        due_s = None if self._rate_hz is None else self._wait_until_due(self._rate_hz)
        if not self._more_after_drops():
            return False
        index = len(self.run.records)
        begin_ns = self._clock.now_ns()
        timer = StageTimer(self._clock)
        try:
            with timer("decode"):
                frame = self._source.read()
            if frame is None:
                return False
            time_s = due_s if due_s is not None else self._since_start_s(begin_ns)
            result = self._answer(frame, timer, time_s)
        except DataError as error:
            self._failed(index, due_s, error)
            return True
        with timer("encode"):
            for sink in self._sinks:
                sink.write(result)
        self._record(result, timer, begin_ns, due_s)
        return True

    def _wait_until_due(self, rate_hz: float) -> float:
        """Drop what is late under `latest`, then wait; seconds after the start at which the next frame is due."""
        due_s = len(self.run.records) / rate_hz
        if self._plan.policy == "latest":
            newer = int((self._now_s() - due_s) * rate_hz + 1e-9)  # frames that fell due after this one
            if newer > 0:
                for _ in range(self._source.skip(self._allowed(newer))):
                    self._drop(len(self.run.records) / rate_hz, "policy")
                due_s = len(self.run.records) / rate_hz
        self._clock.sleep_until_ns(self._start_ns + round(due_s * 1e9))
        return due_s

    def _allowed(self, newer: int) -> int:
        """Never drop beyond the end of the run: a frame that is not due any more was not lost."""
        left = newer
        if self._plan.max_frames is not None:
            left = min(left, self._plan.max_frames - len(self.run.records))
        if self._plan.duration_s is not None and self._rate_hz is not None:
            left = min(left, max(0, round(self._plan.duration_s * self._rate_hz) - len(self.run.records)))
        return left

    def _more_after_drops(self) -> bool:
        plan, due = self._plan, len(self.run.records)
        late = plan.duration_s is not None and self._rate_hz is not None and due / self._rate_hz >= plan.duration_s
        return not late and (plan.max_frames is None or due < plan.max_frames)

    def _answer(self, frame: Frame, timer: StageTimer, time_s: float) -> Result:
        sample, spec = frame.sample, self._runner.spec
        self._check_band(sample.gsd_m)
        second = None
        with timer("heatmap"):
            if spec.second is not None:
                second = self._source.second(frame, spec)
                self._check_points(frame, second)
        with timer("preprocess"):
            feeds = preprocess(sample, spec, self._plan.strict, None if second is None else second.raster)
        with timer("infer"):
            outputs = self._runner.infer(feeds)
        with timer("postprocess"):
            mask: RoadMask = postprocess(outputs, spec, sample, self._plan.threshold)
        shown_s = frame.capture_s if frame.capture_s is not None else time_s
        return Result(frame, mask, second, shown_s)

    def _record(self, result: Result, timer: StageTimer, begin_ns: int, due_s: float | None) -> None:
        done_ns = self._clock.now_ns()
        frame, second, run = result.frame, result.second, self.run
        done_s = self._since_start_s(done_ns)
        busy_ms = (done_ns - begin_ns) / 1e6
        clock = "schedule" if due_s is not None else frame.clock or "run"
        capture_s = due_s if due_s is not None else result.time_s
        run.records.append(
            FrameRecord(
                frame.name, capture_s, clock, done_s,
                age_ms=busy_ms if due_s is None else (done_s - due_s) * 1e3,
                stage_ms=tuple(timer.stage_ms[stage] for stage in STAGES),
                skew_ms=second.skew_ms if second else None, points=second.points if second else None,
                late_ms=0.0 if due_s is None else (begin_ns - self._start_ns) / 1e6 - due_s * 1e3,
            )
        )  # fmt: skip
        run.first = run.first or result
        run.last = result
        if frame.truth is not None:  # after the clock was read: scoring is no part of the run's latency
            run.counts.append(count_pixels(result.mask.mask, frame.truth))

    def _failed(self, index: int, due_s: float | None, error: DataError) -> None:
        capture_s = due_s if due_s is not None else self._now_s()
        name = self._source.name_of(index)
        self.run.records.append(
            FrameRecord(name, capture_s, "schedule" if due_s is not None else "run", dropped_by="error")
        )
        if self._plan.strict or self._source.moving:
            raise error
        self.run.failures.append(error)

    def _drop(self, due_s: float, cause: str) -> None:
        name = self._source.name_of(len(self.run.records))
        self.run.records.append(FrameRecord(name, due_s, "schedule", dropped_by=cause))

    def _check_band(self, gsd_m: float | None) -> None:
        if gsd_m not in self._bands:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", OutsideBandWarning)
                check_band(gsd_m, self._runner.spec, self._plan.strict)
            self._bands[gsd_m] = bool(caught)
            self.run.notices += [str(one.message) for one in caught]
        self.run.outside_band += self._bands[gsd_m]

    def _check_points(self, frame: Frame, second: Second) -> None:
        """Points that all miss the image are dropped by contract, but they hint at a wrong unit or a wrong pair."""
        sample = frame.sample
        self.run.outside_density += outside_density(second.points, second.raster.shape, self._runner.spec)
        if frame.notice:
            self.run.notices.append(frame.notice)
        if second.points == 0 and sample.second is not None and len(sample.second):
            height, width = sample.size
            self.run.notices.append(
                f"none of the {len(sample.second)} points of {sample.id} lies on its image of {width} x {height} "
                "pixels; it was run on the image alone"
            )

    def _now_s(self) -> float:
        return self._since_start_s(self._clock.now_ns())

    def _since_start_s(self, moment_ns: int) -> float:
        return (moment_ns - self._start_ns) / 1e9
