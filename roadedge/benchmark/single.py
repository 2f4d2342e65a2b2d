"""The closed loop: one thread, one frame, the next begins when the last has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from roadedge.benchmark.frames import Prepared, prepare_ring, read_frame
from roadedge.benchmark.progress import INFER, Line, Settling, Tell, silent
from roadedge.errors import RoadEdgeError
from roadedge.latency.clock import STAGES, Clock, StageTimer
from roadedge.latency.profile import DEVICE_PARTS, FrameRecord, Warmup
from roadedge.postprocess import postprocess
from roadedge.preprocess import Feeds, preprocess
from roadedge.runners.base import Runner
from roadedge.stream.frame_log import FrameLog
from roadedge.stream.sources import Source


@dataclass(slots=True)
class Loop:
    """What a closed loop left: a record for each frame, and how much of it was warm-up."""

    records: FrameLog = field(default_factory=FrameLog)  # packed: a long run must not look like a leak
    warmup: Warmup | None = None  # None where it was stopped before it was warm
    warmup_s: float = 0.0
    duration_s: float = 0.0
    interrupted: bool = False
    error: RoadEdgeError | None = None  # what broke it off


Serve = Callable[[StageTimer], None]  # works on one frame inside the timer


def closed_loop(
    serve: Serve,
    runner: Runner,
    clock: Clock,
    duration_s: float,
    tell: Tell = silent,
    label: str = "single",
    images: int = 1,
    settle: bool = True,
) -> Loop:
    """Serve frames back to back until it is warm, and then for `duration_s`; Ctrl-C ends it with what there is.

    So does an error after the first frame: what came before it is kept.

    Args:
        serve: one frame; what it does outside the timer is not timed.
        runner: for the times of its device.
        clock: of all times.
        duration_s: after the warm-up.
        tell: is given a line a second.
        label: for that line.
        images: that one call serves.
        settle: warm up first; without it the time begins at once.

    Raises:
        RoadEdgeError: the very first frame failed.
    """
    loop, settling, line = Loop(), Settling(), Line(tell, label)
    start_ns = clock.now_ns()
    settling.over = not settle
    try:
        while not settling.over or (clock.now_ns() - start_ns) / 1e9 < settling.over_s + duration_s:
            record = _one(serve, runner, clock, start_ns, len(loop.records))
            loop.records.append(record)
            line(record, "" if settling.over else "warm-up", images)
            if not settling.over and settling(record):
                first_ms = loop.records[0].stage_ms[INFER]
                loop.warmup = Warmup(len(loop.records), settling.stable, first_ms)
    except KeyboardInterrupt:
        loop.interrupted = True
    except RoadEdgeError as error:
        if not len(loop.records):
            raise
        loop.interrupted, loop.error = True, error
    loop.warmup_s = settling.over_s
    loop.duration_s = (clock.now_ns() - start_ns) / 1e9
    return loop


def _one(serve: Serve, runner: Runner, clock: Clock, start_ns: int, index: int) -> FrameRecord:
    timer = StageTimer(clock)
    serve(timer)
    done_s = (clock.now_ns() - start_ns) / 1e9
    stages = tuple(timer.stage_ms[stage] for stage in STAGES)
    age_ms = sum(stages)
    parts = {part: runner.last_ms[part] for part in DEVICE_PARTS if part in runner.last_ms}
    return FrameRecord(f"{index:06d}", done_s - age_ms / 1e3, "run", done_s, age_ms, stages, device_ms=parts)


class Work:
    """Serves the frames of a source, timing the network and of the rest what is included.

    Where neither reading nor preprocessing is timed, the frames are prepared beforehand and take turns.
    """

    def __init__(self, source: Source, runner: Runner, include: tuple[str, ...]) -> None:
        """Prepare; what the source needs was done by its `prepare`."""
        self._source, self._runner, self._include = source, runner, include
        self._ring = prepare_ring(source, runner.spec)
        self._count = 0

    @property
    def ring(self) -> list[Prepared]:
        """The prepared frames."""
        return self._ring

    def __call__(self, timer: StageTimer) -> None:
        """One frame."""
        if "pre" not in self._include:
            frame = self._ring[self._count % len(self._ring)]
            self._count += 1
            self._end(frame.feeds, frame, timer)
        else:
            self._fresh(timer)

    def _fresh(self, timer: StageTimer) -> None:
        spec = self._runner.spec
        if "decode" in self._include:
            with timer("decode"):
                frame = read_frame(self._source)
        else:
            frame = read_frame(self._source)
        second = None
        with timer("heatmap"):
            if spec.second is not None:
                second = self._source.second(frame, spec)
        with timer("preprocess"):
            feeds = preprocess(frame.sample, spec, second=None if second is None else second.raster)
        self._end(feeds, Prepared(frame.name, frame.sample, second, feeds), timer)

    def _end(self, feeds: Feeds, frame: Prepared, timer: StageTimer) -> None:
        with timer("infer"):
            outputs = self._runner.infer(feeds)
        if "post" in self._include:
            with timer("postprocess"):
                postprocess(outputs, self._runner.spec, frame.sample)
