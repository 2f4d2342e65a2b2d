"""Decode → heat-map → preprocess → infer → postprocess → sinks, each on a thread of its own, with bounded queues.

The age of a result counts from the moment at which its frame was captured, or was due where frames are due at a rate.
What happens to frames that we are too slow for is the plan's policy; each is counted, with the stage it waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from roadedge.errors import DataError, SourceError
from roadedge.latency.clock import STAGES, Clock, StageTimer
from roadedge.latency.profile import FrameRecord
from roadedge.metrics.pixel import count_pixels
from roadedge.stream.chain import Chain, Infers, Remarks, Work
from roadedge.stream.count_log import CountLog
from roadedge.stream.frame_log import FrameLog
from roadedge.stream.lane import Lane
from roadedge.stream.plan import Plan
from roadedge.stream.sinks import Result, Sink
from roadedge.stream.sources import Frame, Source
from roadedge.stream.synchronisation import Pairing, SourcePairing
from roadedge.stream.turn import Turn

WATCH_S = 0.25
LEAVE_S = 10.0  # after which a source that delivers and does not heed `interrupt` is left behind
QUEUED = 2  # frames that wait for a stage where none may be dropped


@dataclass(slots=True)
class Run:
    """What happened so far. `counts` are the pixels of answers against a simulation's truth."""

    records: FrameLog = field(default_factory=FrameLog)
    failures: list[DataError] = field(default_factory=list)
    remarks: Remarks = field(default_factory=Remarks)
    counts: CountLog = field(default_factory=CountLog)
    first: Result | None = None
    last: Result | None = None
    answered: int = 0
    first_captured_ns: int | None = None
    last_captured_ns: int | None = None
    duration_s: float = 0.0
    interrupted: bool = False

    @property
    def notices(self) -> list[str]:
        """What a person should know."""
        more = self.remarks.more_notices
        return [*self.remarks.notices, *([f"and {more} more notices"] if more else [])]


Watch = Callable[[Run, float], None]  # the run so far, seconds since its start; a few times a second


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
        pairing: Pairing | None = None,
        records: FrameLog | None = None,
        turns: bool = False,
    ) -> None:
        """Join them; with `turns` the network and the sinks share processors and do not compute at the same time."""
        self.run = Run(FrameLog() if records is None else records)
        self._source, self._sinks, self._plan = source, sinks, plan
        self._clock, self._watch = clock, watch
        self._rate_hz = plan.rate_hz or source.rate_hz
        self._realtime = plan.realtime and not source.delivers and self._rate_hz is None
        pairs = pairing or SourcePairing(source)
        self._chain = Chain(runner, pairs, self.run.remarks, plan.threshold, plan.strict)
        self._max_age_ns = None if plan.max_age_ms is None else round(plan.max_age_ms * 1e6)
        self._signal = clock.signal()
        self._lock = threading.Lock()
        self._flying: dict[int, Work] = {}  # frames on their way
        self._due = 0  # frames that were due so far
        self._first_pts_s: float | None = None
        self._start_ns = 0
        self._stopping = self._finished = self._all_read = self._left_behind = self._over = False
        self._stopped_ns: int | None = None
        self._error: BaseException | None = None
        self._lanes: list[Lane[Work]] = []
        self._turn = Turn(clock) if turns and plan.policy != "all" else None

    @property
    def rate_hz(self) -> float | None:
        """Rate at which frames are due, or came; None: as fast as they were answered."""
        if self._rate_hz is not None or not (self._source.delivers or self._realtime):
            return self._rate_hz
        first, last = self.run.first_captured_ns, self.run.last_captured_ns
        if first is None or last is None:
            return None
        over = [gap for gap in self._source.gaps if gap.end_ns is not None]  # no frame was due in them
        passed_ns = last - first - sum((gap.end_ns or 0) - gap.begin_ns for gap in over)
        return (self._due - 1 - len(over)) / (passed_ns / 1e9) if passed_ns > 0 and self._due - 1 > len(over) else None

    @property
    def scenario(self) -> str:
        """Of `profile.SCENARIOS`."""
        if self._source.delivers:
            return "live"
        return "offline" if self._rate_hz is None and not self._realtime else "fixed-rate"

    @property
    def start_ns(self) -> int:
        """When it began, by its clock."""
        return self._start_ns

    def go(self) -> Run:
        """Run until the source ends or the plan's limits.

        Ctrl-C ends it in order: what is on its way is answered. A second one drops that too, a third one waits no
        longer for a call that does not return.

        Raises:
            DataError: a bad frame of a stream, or of a folder under `strict`. `run` holds what came before it.
            SourceError: the source was lost.
            OutputError: a sink cannot write.
            NonFiniteError: the network returned NaN.
        """
        self._start_ns = self._clock.now_ns()
        joins: list[Callable[[], None]] = []
        try:
            try:
                self._start(joins)
                self._watch_over()
            except KeyboardInterrupt:
                if len(joins) <= len(self._lanes):  # not all threads were started, so nobody would see the end
                    raise
                self.run.interrupted = True
                self._stop()
                self._watch_over()
        except KeyboardInterrupt:
            self.run.interrupted = True
            self._abort(None)
        except BaseException as error:
            self._abort(error)
        self._wait_for(joins)
        self.run.duration_s = self._now_s()
        with self._lock:
            self._over = True  # a thread that was left behind adds nothing any more
        for work in sorted(self._flying.values(), key=lambda work: work.index):
            self.run.records.put(work.index, self._dropped(work, "aborted"))
        if self._error is not None:
            raise self._error
        return self.run

    def _wait_for(self, joins: list[Callable[[], None]]) -> None:
        """Until the threads have ended; not for a reader that was left behind, nor beyond one more Ctrl-C."""
        try:
            for join in joins[:-1] if self._left_behind else joins:
                join()
        except KeyboardInterrupt:
            self.run.interrupted = True
            self.run.remarks.notice("a call that did not return was left behind")
            self._abort(None)

    def _start(self, joins: list[Callable[[], None]]) -> None:
        """Start the threads, the last stage first; `joins` takes what waits for each."""
        steps = (*self._chain.steps, ("encode", self._encode))
        latest = self._plan.policy == "latest" and (self._rate_hz or self._source.delivers or self._realtime)
        for name, _ in steps:
            give_way = partial(self._drop, cause=f"latest:{name}") if latest else None
            self._lanes.append(Lane(self._clock, 1 if latest else QUEUED, give_way))
        for (name, step), lane, after in reversed(list(zip(steps, self._lanes, [*self._lanes[1:], None], strict=True))):
            joins.append(self._clock.start(partial(self._stage, name, step, lane, after), name))
        joins.append(self._clock.start(self._read, "decode"))

    def _watch_over(self) -> None:
        """Wait for the end, and show what happens."""
        while True:
            with self._signal:
                if self._finished:
                    return
                self._clock.wait(self._signal, self._next_look_ns())
            if self._watch is not None:
                self._watch(self.run, self._now_s())
            over_s = self._plan.duration_s
            if over_s is not None and not self._rate_hz and self._now_s() >= over_s:
                self._stop()
            self._leave_behind()

    def _next_look_ns(self) -> int:
        """When to look again: soon, and when the time is over."""
        soon_ns, over_s = self._clock.now_ns() + round(WATCH_S * 1e9), self._plan.duration_s
        over_ns = soon_ns if over_s is None else self._start_ns + round(over_s * 1e9)
        return min(soon_ns, over_ns) if over_ns > self._clock.now_ns() else soon_ns

    def _leave_behind(self) -> None:
        """Go on without the reading thread where a source that delivers does not let go of it."""
        if self._stopped_ns is None or self._all_read or self._left_behind or not self._source.delivers:
            return
        if self._clock.now_ns() - self._stopped_ns < LEAVE_S * 1e9:
            return
        self._left_behind = True
        self.run.remarks.notice(f"{self._source.name} did not end within {LEAVE_S:g} s and was left behind")
        self._lanes[0].end()

    def _stop(self) -> None:
        """Read no more; what is on its way is finished."""
        with self._signal:
            self._stopping = True
            if self._stopped_ns is None:
                self._stopped_ns = self._clock.now_ns()
            self._signal.notify_all()
        self._source.interrupt()

    def _abort(self, error: BaseException | None) -> None:
        """Drop everything."""
        with self._lock:
            self._error = self._error or error
        for lane in self._lanes:
            lane.abort()
        self._stop()

    def _read(self) -> None:
        """The thread that reads the source."""
        try:
            while self._next_frame():
                pass
        except (DataError, SourceError) as error:  # what came before it is finished
            self._error = self._error or error
        except BaseException as error:
            self._abort(error)
        finally:
            self._all_read = True
            self._lanes[0].end()

    def _next_frame(self) -> bool:
        due_ns = self._wait_until_due()
        if not self._more():
            return False
        index, begin_ns, timer = self._due, self._clock.now_ns(), StageTimer(self._clock)
        try:
            with timer("decode"):
                frame = self._source.read()
        except DataError as error:
            if self._left_behind:
                return False
            self._due += 1
            self._failed(index, due_ns if due_ns is not None else begin_ns, None, error)
            return not (self._plan.strict or self._source.moving)
        if frame is None or self._left_behind:
            return False
        if self._realtime:
            due_ns = self._present(frame, timer, begin_ns)
            if self._stopping:  # it was not due any more
                return False
        self._due += 1
        work = self._work_of(index, frame, timer, begin_ns, due_ns)
        with self._lock:
            self._flying[index] = work
        return self._lanes[0].put(work)

    def _work_of(self, index: int, frame: Frame, timer: StageTimer, begin_ns: int, due_ns: int | None) -> Work:
        captured_ns, clock = begin_ns, frame.clock or "run"
        if due_ns is not None:
            captured_ns, clock = due_ns, clock if self._realtime else "schedule"
            begin_ns = max(begin_ns, due_ns)
        elif self._source.delivers:
            now_ns = self._clock.now_ns()
            timer.stage_ms["decode"] = frame.decode_ms or 0.0
            begin_ns = now_ns - round((frame.decode_ms or 0.0) * 1e6)
            captured_ns = begin_ns if frame.captured_ns is None else min(frame.captured_ns, begin_ns)
        run = self.run
        run.first_captured_ns = captured_ns if run.first_captured_ns is None else run.first_captured_ns
        run.last_captured_ns = captured_ns
        time_s = frame.capture_s if frame.capture_s is not None else (captured_ns - self._start_ns) / 1e9
        return Work(index, frame, timer, captured_ns, begin_ns, time_s, clock, queued_ns=self._clock.now_ns())

    def _present(self, frame: Frame, timer: StageTimer, begin_ns: int) -> int:
        """Wait until a frame of a file is due by its own time, as if it had been decoded from that moment on.

        Raises:
            SourceError: the frame has no time.
        """
        if frame.capture_s is None:
            raise SourceError(
                f"frame {frame.name} of {self._source.name} has no time of its own; give --rate a number instead of pts"
            )
        if self._first_pts_s is None:
            self._first_pts_s = frame.capture_s
        due_ns = self._start_ns + round((frame.capture_s - self._first_pts_s) * 1e9)
        if begin_ns < due_ns:
            self._sleep_until(due_ns + round(timer.stage_ms["decode"] * 1e6))
        return due_ns

    def _wait_until_due(self) -> int | None:
        """Drop what is late by the policy, then wait; the moment at which the next frame is due, where it has one."""
        if self._rate_hz is None:
            return None
        late_s = self._now_s() - self._due / self._rate_hz
        if self._max_age_ns is not None:
            count, cause = int((late_s - self._max_age_ns / 1e9) * self._rate_hz + 1 - 1e-9), "max-age:decode"
        else:
            count, cause = int(late_s * self._rate_hz + 1e-9), "latest:decode"  # that fell due after this one
        if count > 0 and self._plan.policy != "all":
            for _ in range(self._source.skip(self._allowed(count))):
                self._skipped(self._due_ns(self._due), cause)
        due_ns = self._due_ns(self._due)
        if self._more():
            self._sleep_until(due_ns)
        elif self._plan.duration_s is not None:  # the last frame's period belongs to the time asked for
            self._sleep_until(self._start_ns + round(self._plan.duration_s * 1e9))
        return due_ns

    def _sleep_until(self, moment_ns: int) -> None:
        with self._signal:
            while not self._stopping and self._clock.now_ns() < moment_ns:
                self._clock.wait(self._signal, moment_ns)

    def _due_ns(self, index: int) -> int:
        assert self._rate_hz is not None
        return self._start_ns + round(index / self._rate_hz * 1e9)

    def _allowed(self, count: int) -> int:
        """Never drop beyond the end of the run: a frame that is not due any more was not lost."""
        plan, allowed = self._plan, count
        if plan.max_frames is not None:
            allowed = min(allowed, plan.max_frames - self._due)
        if plan.duration_s is not None and self._rate_hz is not None:
            allowed = min(allowed, max(0, round(plan.duration_s * self._rate_hz) - self._due))
        return allowed

    def _more(self) -> bool:
        """Whether another frame is to be read."""
        plan = self._plan
        if self._stopping or self._error is not None or (plan.max_frames is not None and self._due >= plan.max_frames):
            return False
        if plan.duration_s is None:
            return True
        return (self._now_s() if self._rate_hz is None else self._due / self._rate_hz) < plan.duration_s

    def _stage(self, name: str, step: Callable[[Work], None], lane: Lane[Work], after: Lane[Work] | None) -> None:
        """The thread of a stage."""
        try:
            while (work := self._next(name, lane)) is not None:
                now_ns = self._clock.now_ns()
                if self._max_age_ns is not None and now_ns - work.captured_ns > self._max_age_ns:
                    self._drop(work, f"max-age:{name}")
                    continue
                work.wait_ms += (now_ns - work.queued_ns) / 1e6
                try:
                    with work.timer(name):
                        step(work)
                except DataError as error:
                    self._failed(work.index, work.captured_ns, work, error)
                    continue
                if after is None:
                    self._record(work)
                    continue
                work.queued_ns = self._clock.now_ns()
                after.put(work)
        except BaseException as error:
            self._abort(error)
        finally:
            if after is not None:
                after.end()
            else:
                self._end()

    def _next(self, name: str, lane: Lane[Work]) -> Work | None:
        """What the stage does next, taken when it is its turn."""
        turn = self._turn
        if turn is not None and name == "heatmap":
            lane.wait()  # the turn is waited for with a frame at hand, which a newer one may replace meanwhile
            turn.wait_for_rest()
        elif turn is not None and name == "infer":
            turn.rest()
        work = lane.take()
        if turn is not None and work is not None and name == "infer":
            turn.work(work.index)
        return work

    def _end(self) -> None:
        with self._signal:
            self._finished = True
            self._signal.notify_all()

    def _encode(self, work: Work) -> None:
        """The last stage: give the result to each sink."""
        assert work.mask is not None
        age_ms = (self._clock.now_ns() - work.captured_ns) / 1e6
        result = Result(work.frame, work.mask, work.second, work.time_s, age_ms, work.clock)
        for sink in self._sinks:
            sink.write(result)
        self.run.first = self.run.first or result
        self.run.last = result

    def _record(self, work: Work) -> None:
        done_ns = self._clock.now_ns()
        frame, second, run = work.frame, work.second, self.run
        record = FrameRecord(
            frame.name, self._capture_s(work), work.clock, (done_ns - self._start_ns) / 1e9,
            age_ms=(done_ns - work.captured_ns) / 1e6,
            stage_ms=tuple(work.timer.stage_ms[stage] for stage in STAGES),
            skew_ms=second.skew_ms if second else None, points=second.points if second else None,
            late_ms=(work.begin_ns - work.captured_ns) / 1e6, wait_ms=work.wait_ms,
            paired=second.paired if second else None, device_ms=work.device_ms,
        )  # fmt: skip
        if not self._land(work.index, record, sum(work.timer.stage_ms[stage] for stage in ("postprocess", "encode"))):
            return
        run.answered += 1
        if frame.truth is not None and work.mask is not None:  # scoring is no part of the run's latency
            run.counts.append(count_pixels(work.mask.mask, frame.truth))

    def _capture_s(self, work: Work) -> float:
        return (work.captured_ns - self._start_ns) / 1e9 if work.clock in ("schedule", "run") else work.time_s

    def _drop(self, work: Work, cause: str) -> None:
        self._land(work.index, self._dropped(work, cause))

    def _dropped(self, work: Work, cause: str) -> FrameRecord:
        return FrameRecord(work.frame.name, self._capture_s(work), work.clock, self._now_s(), dropped_by=cause)

    def _skipped(self, due_ns: int, cause: str) -> None:
        """A frame that was never decoded."""
        index, capture_s = self._due, (due_ns - self._start_ns) / 1e9
        self._due += 1
        record = FrameRecord(self._source.name_of(index), capture_s, "schedule", self._now_s(), dropped_by=cause)
        self._land(index, record)

    def _failed(self, index: int, captured_ns: int, work: Work | None, error: DataError) -> None:
        """A bad file of a folder is passed over; a bad frame of a film ends it."""
        clock = work.clock if work else "schedule" if self._rate_hz else "run"
        capture_s = self._capture_s(work) if work else (captured_ns - self._start_ns) / 1e9
        name = work.frame.name if work else self._source.name_of(index)
        self._land(index, FrameRecord(name, capture_s, clock, self._now_s(), dropped_by="error"))
        if self._plan.strict or self._source.moving:
            with self._lock:
                self._error = self._error or error
            self._stop()
        else:
            self.run.failures.append(error)

    def _land(self, index: int, record: FrameRecord, after_ms: float | None = None) -> bool:
        """The frame's way is over, `after_ms` of it after the network; False where the run is over too."""
        if self._turn is not None:
            self._turn.landed(index, after_ms)
        with self._lock:
            if self._over:
                return False
            self._flying.pop(index, None)
        self.run.records.put(index, record)
        return True

    def _now_s(self) -> float:
        return (self._clock.now_ns() - self._start_ns) / 1e9
