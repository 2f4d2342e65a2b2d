"""Throughput: batches of growing size, back to back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.benchmark.frames import Prepared, stacked
from roadedge.benchmark.options import BATCHES
from roadedge.benchmark.progress import Tell, records_after, silent
from roadedge.benchmark.single import Loop, closed_loop
from roadedge.errors import UsageError
from roadedge.latency.clock import Clock, StageTimer
from roadedge.latency.profile import find_warmup
from roadedge.latency.summary import Summary, summarize
from roadedge.runners.base import Runner


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One size of batch: `images_per_s` over the calls after the warm-up; `call` in milliseconds of one batch."""

    batch: int
    images: int
    seconds: float
    call: Summary
    begin_ns: int  # of the measured part, by the clock of the run, to find the watts that belong to it
    end_ns: int
    loop_began_ns: int  # its warm-up included
    loop: Loop

    @property
    def images_per_s(self) -> float:
        """Images in the measured time."""
        return self.images / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "batch": self.batch,
            "images": self.images,
            "seconds": self.seconds,
            "images_per_s": self.images_per_s,
            "call_ms": self.call.to_dict(),
            "warmup_s": self.loop.warmup_s,
        }


def sweep(asked: tuple[int, ...] | None, runner: Runner, model: str) -> tuple[tuple[int, ...], str]:
    """The sizes of batch to measure, and what must be said about them.

    A graph of a fixed batch would be run several times for a larger one, or padded for a smaller one, and neither is
    that batch: what was asked for and cannot be had is refused, and what nobody asked for is left out aloud.

    Raises:
        UsageError: the graph does not take a size that was asked for.
    """
    wanted = asked or BATCHES
    taken = tuple(batch for batch in wanted if takes(runner, batch))
    if len(taken) == len(wanted):
        return wanted, ""
    fixed = runner.spec.batch
    refused = ", ".join(str(batch) for batch in wanted if batch not in taken)
    name = _checkpoint(model)
    side = "x".join(str(s) for s in runner.spec.size or (512, 512))
    mend = f"roadedge export {name} --size {side} --batch {max(wanted)}"
    if asked is None:
        only = taken or (fixed or 1,)
        return only, f"the graph takes {', '.join(map(str, only))} windows at once, no other; for more: {mend}"
    raise UsageError(
        f"{model} does not take {refused} windows at once"
        f"{f', its batch is fixed at {fixed}' if fixed else ''}; make a graph that does: {mend}"
    )


def takes(runner: Runner, batch: int) -> bool:
    """Whether that many windows go through the back-end in one call, no more and no less."""
    return runner.windows_at_once(batch) == batch


def run_sweep(
    batches: tuple[int, ...],
    ring: list[Prepared],
    runner: Runner,
    clock: Clock,
    duration_s: float,
    tell: Tell = silent,
) -> list[BatchResult]:
    """Measure each size of batch for its share of the duration, after a warm-up of its own."""
    results = []
    for batch in batches:
        feeds = stacked(ring, batch, runner.spec)

        def serve(timer: StageTimer, feeds: Any = feeds) -> None:
            with timer("infer"):
                runner.infer(feeds)

        begin_ns = clock.now_ns()
        loop = closed_loop(serve, runner, clock, duration_s / len(batches), tell, f"batch {batch}", batch)
        results.append(_result(batch, loop, begin_ns))
        if loop.interrupted:
            break
    return results


def _result(batch: int, loop: Loop, begin_ns: int) -> BatchResult:
    warmup = (loop.warmup or find_warmup(loop.records)).frames
    measured = records_after(loop.records, warmup)
    since_s = loop.records[warmup - 1].done_s if 0 < warmup <= len(loop.records) else 0.0
    until_s = measured[-1].done_s if measured else since_s
    return BatchResult(
        batch,
        batch * len(measured),
        until_s - since_s,
        summarize([record.age_ms for record in measured if record.age_ms is not None]),
        begin_ns + round(since_s * 1e9),
        begin_ns + round(until_s * 1e9),
        begin_ns,
        loop,
    )


def _checkpoint(model: str) -> str:
    """What to export: the checkpoint beside a file, or a carried network's name without its precision."""
    path = Path(model)
    if path.suffix in (".onnx", ".engine", ".pt"):
        return str(path.with_name(path.name.partition(".")[0] + ".pt"))
    return model.partition(":")[0]
