"""What a measurement stands on: the machine watched, the network loaded, the source open."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from roadedge.benchmark.energy import idle_watts
from roadedge.benchmark.frames import default_source, open_frames
from roadedge.benchmark.options import DEFAULT_RATE_HZ, BenchmarkOptions
from roadedge.benchmark.progress import Tell
from roadedge.errors import UsageError
from roadedge.latency.clock import Clock
from roadedge.latency.machine import MachineWatch
from roadedge.runners.base import Runner
from roadedge.stream.session import machine_load, model_facts
from roadedge.stream.sources import Source


@dataclass(frozen=True, slots=True)
class Bench:
    """What a measurement stands on: opened, checked, and the same for each repeat."""

    options: BenchmarkOptions
    clock: Clock
    tell: Tell
    watch: MachineWatch
    watch_began_ns: int
    idle_w: float | None
    busy: float | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """One network, ready: `name` as it was given, `model` the facts of its file."""

    name: str
    runner: Runner
    load_ms: float
    model: dict[str, Any]


def open_bench(options: BenchmarkOptions, clock: Clock, tell: Tell, stack: ExitStack) -> Bench:
    """Watch the machine; idle power is measured now, before anything is loaded."""
    busy = machine_load()
    watch = MachineWatch(clock)
    began_ns = clock.now_ns()  # from which the watch counts, too
    stack.enter_context(watch)
    idle_w = None
    if options.power:
        tell("idle power first: nothing runs for 5 s")
        idle_w = idle_watts(watch, clock, began_ns)
    return Bench(options, clock, tell, watch, began_ns, idle_w, busy)


def load(model: str, bench: Bench, stack: ExitStack) -> Loaded:
    """Open the runner of a model and time it; the caller's stack closes it."""
    from roadedge.runners import open_runner

    options, clock = bench.options, bench.clock
    began_ns = clock.now_ns()
    runner = stack.enter_context(
        open_runner(model, options.backend, options.precision, options.threads, options.accept_rejected)
    )
    load_ms = (clock.now_ns() - began_ns) / 1e6
    return Loaded(model, runner, load_ms, model_facts(model, runner.provenance))


def open_source_for(options: BenchmarkOptions, runner: Runner, stack: ExitStack) -> tuple[Source, str, float | None]:
    """The source, what it is called in the header, and the rate at which its frames are due.

    Raises:
        UsageError: a rate is given twice.
    """
    rated = options.scenario in ("fixed-rate", "multi")
    rate_hz = options.rate_hz or DEFAULT_RATE_HZ
    text = options.source or default_source(runner.spec, rate_hz)
    source = stack.enter_context(open_frames(text))
    if rated and source.live and source.rate_hz is not None:
        if options.rate_hz is not None and options.rate_hz != source.rate_hz:
            raise UsageError(
                f"the source says {source.rate_hz:g} frames a second and --rate {options.rate_hz:g}; give one of them"
            )
        rate_hz = source.rate_hz
    shown = text if text.startswith("synth:") else f"files: {source.name}"
    return source, shown, rate_hz if rated else None


def describe(loaded: Loaded) -> str:
    """Network, back-end and precision in a few words."""
    runner = loaded.runner
    return f"{runner.spec.name} on {runner.name} ({runner.device}), {runner.precision}"
