"""Several streams on one network: how late each one's results are, and how many streams it keeps up with.

One worker serves all streams, one frame at a time: the network, with preprocessing and postprocessing where they are
included. The frames of each stream are due at the rate, the streams evenly shifted against each other; of each
stream only the newest frame waits, the one before it is dropped. Served is the stream that was served longest ago.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from roadedge.benchmark.options import MOST_STREAMS
from roadedge.benchmark.progress import Line, Tell, silent
from roadedge.benchmark.single import Serve
from roadedge.errors import RoadEdgeError
from roadedge.latency.clock import STAGES, Clock, StageTimer
from roadedge.latency.profile import DEVICE_PARTS, FrameRecord
from roadedge.latency.summary import Summary, summarize
from roadedge.runners.base import Runner
from roadedge.stream.frame_log import FrameLog

LOSS = 0.05  # of its frames that a sustained stream may lose: ros2_benchmark's limit
PROBE_SHARE = 0.25  # of the duration, for each count of streams that is tried
SHORTEST_PROBE_S = 2.0


@dataclass(slots=True)
class Stream:
    """One stream: when its first frame is due, and what became of its frames."""

    number: int
    offset_ns: int
    next_index: int = 0  # the oldest frame that was neither served nor dropped
    served_ns: int = -1
    dropped: int = 0
    records: FrameLog = field(default_factory=FrameLog)

    @property
    def loss(self) -> float:
        """Share of the due frames without a result."""
        return self.dropped / len(self.records) if len(self.records) else 0.0

    @property
    def max_gap_ms(self) -> float | None:
        """Longest time between two of its results."""
        done_s = [r.done_s for r in self.records if r.age_ms is not None]
        return float(np.diff(done_s).max()) * 1e3 if len(done_s) > 1 else None

    def age(self) -> Summary:
        """Age of its results, milliseconds."""
        return summarize([r.age_ms for r in self.records if r.age_ms is not None])


@dataclass(slots=True)
class Streams:
    """What a run of several streams left."""

    streams: list[Stream]
    duration_s: float
    interrupted: bool = False
    error: RoadEdgeError | None = None  # what broke it off

    @property
    def worst_loss(self) -> float:
        """Of the stream that lost the most."""
        return max(stream.loss for stream in self.streams)

    @property
    def records(self) -> list[FrameRecord]:
        """Of all streams, as STREAM/FRAME, in the order in which frames were answered or dropped."""
        named = (replace(r, frame=f"{s.number}/{r.frame}") for s in self.streams for r in s.records)
        return sorted(named, key=lambda r: r.done_s)

    def to_dict(self) -> list[dict[str, Any]]:
        """A row for each stream, as JSON values."""
        return [
            {
                "stream": s.number,
                "due": len(s.records),
                "loss": s.loss,
                "max_gap_ms": s.max_gap_ms,
                "age_ms": s.age().to_dict(),
            }
            for s in self.streams
        ]


def run_streams(
    count: int, rate_hz: float, serve: Serve, runner: Runner, clock: Clock, duration_s: float, tell: Tell = silent
) -> Streams:
    """Serve `count` streams at `rate_hz` for `duration_s`; Ctrl-C or an error ends it with what there is.

    Frames that are due by then are still served: one that waits at the end is not lost.
    """
    period_ns = 1e9 / rate_hz
    streams = [Stream(n, round(n * period_ns / count)) for n in range(count)]
    run, line = Streams(streams, duration_s), Line(tell, streams_text(count))
    start_ns = clock.now_ns()
    last_ns = round(duration_s * 1e9)
    try:
        while True:
            now_ns = clock.now_ns() - start_ns
            waiting = [s for s in streams if _newest(s, min(now_ns, last_ns - 1), period_ns) >= s.next_index]
            if waiting:
                stream = min(waiting, key=lambda s: s.served_ns)
                _serve(stream, min(now_ns, last_ns - 1), period_ns, serve, runner, clock, start_ns)
                line(stream.records[-1], f"worst loss {run.worst_loss:.1%}")
                continue
            if now_ns >= last_ns:
                break
            due_ns = min(_due_ns(s, s.next_index, period_ns) for s in streams)
            clock.sleep_until_ns(start_ns + min(due_ns, last_ns))
    except KeyboardInterrupt:
        run.interrupted = True
    except RoadEdgeError as error:
        run.interrupted, run.error = True, error
    run.duration_s = (clock.now_ns() - start_ns) / 1e9
    return run


def most_streams(
    probe: Callable[[int], Streams], tell: Tell = silent, limit: int = MOST_STREAMS
) -> tuple[int, list[dict[str, Any]], bool]:
    """The most streams of which none loses 5 % of its frames, by doubling and then by halving the interval.

    Args:
        probe: runs so many streams for a while.
        tell: is given a line for each count that was tried.
        limit: no more are tried.

    Returns:
        The count, 0 where not even one is sustained; what was tried; whether Ctrl-C ended it.
    """
    tried: list[dict[str, Any]] = []
    interrupted = False

    def holds(count: int) -> bool:
        nonlocal interrupted
        run = probe(count)
        interrupted = run.interrupted
        held = run.worst_loss < LOSS and not interrupted
        tried.append({"streams": count, "worst_loss": run.worst_loss, "sustained": held})
        tell(f"{streams_text(count)}: worst loss {run.worst_loss:.1%}, {'sustained' if held else 'too many'}")
        return held

    good, bad = 0, 1
    while bad <= limit and holds(bad):
        good, bad = bad, bad * 2
    bad = min(bad, limit + 1)
    while bad - good > 1 and not interrupted:
        middle = (good + bad) // 2
        if holds(middle):
            good = middle
        else:
            bad = middle
    return good, tried, interrupted


def streams_text(count: int) -> str:
    """`1 stream`, `4 streams`."""
    return f"{count} stream{'' if count == 1 else 's'}"


def probe_s(duration_s: float) -> float:
    """How long each count of streams is tried."""
    return max(min(SHORTEST_PROBE_S, duration_s), PROBE_SHARE * duration_s)


def _newest(stream: Stream, now_ns: int, period_ns: float) -> int:
    """Number of the newest frame that is due; -1 before the first."""
    index = int((now_ns - stream.offset_ns) // period_ns)
    while _due_ns(stream, index + 1, period_ns) <= now_ns:  # the division may fall short by a rounding
        index += 1
    return max(index, -1)


def _due_ns(stream: Stream, index: int, period_ns: float) -> int:
    return stream.offset_ns + round(index * period_ns)


def _serve(
    stream: Stream, now_ns: int, period_ns: float, serve: Serve, runner: Runner, clock: Clock, start_ns: int
) -> None:
    newest = _newest(stream, now_ns, period_ns)
    for index in range(stream.next_index, newest):
        due_s = _due_ns(stream, index, period_ns) / 1e9
        name = f"{index:06d}"
        stream.records.append(FrameRecord(name, due_s, "schedule", now_ns / 1e9, dropped_by="latest:infer"))
        stream.dropped += 1
    stream.next_index = newest + 1
    begin_ns = clock.now_ns() - start_ns
    due_ns = _due_ns(stream, newest, period_ns)
    timer = StageTimer(clock)
    serve(timer)
    done_ns = clock.now_ns() - start_ns
    stages = tuple(timer.stage_ms[stage] for stage in STAGES)
    stream.served_ns = done_ns
    stream.records.append(
        FrameRecord(
            f"{newest:06d}", due_ns / 1e9, "schedule", done_ns / 1e9, (done_ns - due_ns) / 1e6, stages,
            late_ms=(begin_ns - due_ns) / 1e6,
            device_ms={part: runner.last_ms[part] for part in DEVICE_PARTS if part in runner.last_ms},
        )
    )  # fmt: skip
