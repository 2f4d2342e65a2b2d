"""One benchmark from arguments to a run folder: what `roadedge benchmark` calls."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roadedge.benchmark.energy import idle_watts
from roadedge.benchmark.frames import Prepared, default_source, open_frames, prepare_ring, stacked
from roadedge.benchmark.header import header_of
from roadedge.benchmark.measured import Measured, run_fixed_rate, run_multi, run_offline, run_single
from roadedge.benchmark.offline import sweep
from roadedge.benchmark.options import DEFAULT_RATE_HZ, BenchmarkOptions, included_text
from roadedge.benchmark.outcome import BenchmarkResult, check_writable, metrics_of, write_all
from roadedge.benchmark.progress import Tell, silent
from roadedge.benchmark.show import headline, result_lines
from roadedge.benchmark.slo import missed, parse_slo
from roadedge.environment import environment
from roadedge.errors import NonFiniteError, OutputError, RoadEdgeError, SpecMismatchError, UsageError
from roadedge.latency.clock import Clock, HostClock
from roadedge.latency.drift import infer_drift
from roadedge.latency.machine import MachineWatch
from roadedge.latency.machine_trend import slope_per_min
from roadedge.latency.summary import samples_needed
from roadedge.latency.verdict import Verdict, judge
from roadedge.run_folder import open_run_folder
from roadedge.runners.base import Runner
from roadedge.stream.session import machine_load, model_facts
from roadedge.stream.sources import Source

SLOPE_LEAST_S = 60.0


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


def benchmark(options: BenchmarkOptions, tell: Tell = silent, clock: Clock | None = None) -> BenchmarkResult:
    """Measure a network in a scenario into a run folder; Ctrl-C leaves what there is so far, marked INVALID.

    Args:
        options: what to do; `against` is for `measure_against`.
        tell: is given lines for the log.
        clock: of all times; the host's by default.

    Raises:
        UsageError: options that do not go together, or a batch that the graph does not take.
        OutputError: the folder, or the file of --submit-json, cannot be written.
        EnvironmentFault: --power where no sensor shows watts.
        and what `open_runner`, the source and the back-end raise.
    """
    options.check()
    targets = parse_slo(options.slo, options.scenario)
    with ExitStack() as stack:
        folder = prepare_outputs(options, stack)
        bench = open_bench(options, clock or HostClock(), tell, stack)
        loaded = load(options.model, bench, stack)
        batches, note = sweep(options.batches, loaded.runner, options.model) if _offline(options) else ((1,), "")
        if note:
            tell(f"note: {note}")
        source, text, rate_hz = open_source_for(options, loaded.runner, stack)
        tell(f"{describe(loaded)}; {options.scenario} on {text}; results go to {folder}")
        source.prepare()
        probe = prepare_ring(source, loaded.runner.spec, 1)[0]
        measured = _measure(bench, loaded, source, batches, rate_hz)
        more = {"notes": [note] if note else []}
        measured, metrics, verdict = conclude(bench, loaded, measured, text, rate_hz, more, probe)
    rows = measured.own.get("streams", ())
    failed = tuple(missed(targets, measured.profile, measured.throughput_per_s, measured.streams, rows))
    result = BenchmarkResult(folder, measured, verdict, metrics, failed, bool(targets))
    finish(result, options, tell)
    return result


def prepare_outputs(options: BenchmarkOptions, stack: ExitStack) -> Path:
    """The run folder, made and tested, and the file of --submit-json, tested; the folder goes where nothing came of it.

    Raises:
        UsageError, OutputError: one of them cannot be written.
    """
    name = Path(options.model).name.partition(":")[0].partition(".")[0] or "model"
    needed = [Path(one).expanduser() for one in (options.model, options.source, options.against) if one]
    folder = open_run_folder("benchmark", f"{name}-{options.scenario}", options.output, options.overwrite, needed)
    stack.callback(_remove_if_empty, folder)
    if options.submit is not None:
        check_writable(options.submit)
    return folder


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


def conclude(
    bench: Bench, loaded: Loaded, measured: Measured, source_text: str, rate_hz: float | None,
    more: Mapping[str, Any], probe: Prepared,
) -> tuple[Measured, dict[str, Any], Verdict]:  # fmt: skip
    """Layers, the check for NaN, the verdict and the content of metrics.json.

    What fails or is interrupted here takes nothing of the measurement away: it is marked, and said at the end.
    """
    options, runner = bench.options, loaded.runner
    non_finite, layers = int(isinstance(measured.error, NonFiniteError)), None
    try:
        if not measured.interrupted:
            non_finite = count_non_finite(runner, probe.feeds)
            layers = _layers(bench, runner, probe) if options.layers else None
    except KeyboardInterrupt:
        measured = replace(measured, interrupted=True)
    except RoadEdgeError as error:
        measured = replace(measured, error=error)
    if measured.error is not None:
        more = {**more, "notes": [*more.get("notes", ()), f"it failed: {measured.error}"]}
    machine = bench.watch.to_dict()
    if "turns" in more:  # whose times were put end to end: the machine's series is none of theirs
        machine["series"] = {}
    others = machine["summary"].get("gpu_other_processes", {}).get("max")
    drift = infer_drift(measured.records, measured.profile.warmup.frames)
    verdict = judge(
        measured.profile,
        asked_s=measured.asked_s,
        interrupted=measured.interrupted,
        backend_asked=options.backend,
        backend_used=runner.name,
        accuracy_known=loaded.model["accuracy"] is not None,
        machine_load=bench.busy,
        throttled=bench.watch.throttled(),
        gpu_processes=None if others is None else round(others),
        non_finite=non_finite,
        infer_drift=drift,
        rss_slope_mb_per_min=rss_slope(bench, measured),
    )
    rows = measured.own.get("streams")
    if rows and (few := few_frames(rows)) is not None:
        verdict = replace(verdict, reasons=(*verdict.reasons, few))
    count = None if rows is None else len(rows)
    here = environment()
    height, width = probe.sample.size
    header = header_of(
        options, runner, loaded.model, source_text, (height, width), measured.batch, count, rate_hz, here, machine
    )
    facts = {
        "source": source_text,
        "runner": runner.describe(),
        "model": loaded.model,
        "machine_load_before": bench.busy,
        "included": included_text(options.include, options.scenario),
        "input_size": [height, width],
        "batch": measured.batch,
        "asked_s": measured.asked_s,
        "infer_drift": drift,
        "machine": machine,
        "layers": layers,
        "environment": here,
        **more,
    }
    metrics = metrics_of(measured, verdict, header, facts, bench.watch, bench.watch_began_ns, bench.idle_w)
    return measured, metrics, verdict


def few_frames(streams: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the p99 of each stream may not be claimed, None where it may: all streams together are not one of them."""
    least, needed = min(int(one["age_ms"]["n"]) for one in streams), samples_needed(99.0)
    return None if least >= needed else f"{least} frames of one stream measured; its p99 takes at least {needed}"


def rss_slope(bench: Bench, measured: Measured) -> float | None:
    """Growth of the memory while frames were measured, MB a minute; None for less than a minute of it.

    Loading and warming up are left out: there it grows, as it must.
    """
    begin_s, end_s = ((moment - bench.watch_began_ns) / 1e9 for moment in measured.span_ns)
    if end_s - begin_s < SLOPE_LEAST_S:
        return None
    seen = [s for s in bench.watch.samples if begin_s <= s.t_s <= end_s and "rss_mb" in s.values]
    return slope_per_min([(s.t_s, s.values["rss_mb"]) for s in seen])


def _layers(bench: Bench, runner: Runner, probe: Prepared) -> dict[str, Any]:
    from roadedge.runners.layers import layer_times

    bench.tell("layers: a pass of their own with the back-end's profiler")
    return layer_times(runner, stacked([probe], runner.windows_at_once(1), runner.spec)).to_dict()


def finish(result: BenchmarkResult, options: BenchmarkOptions, tell: Tell) -> None:
    """Write it; where that fails, what was measured is told all the same."""
    try:
        write_all(result.folder, result, None if options.submit is None else options.submit.expanduser())
    except OutputError as error:
        tell("what was measured, since it could not be written whole:")
        for line in result_lines(result):
            tell(line)
        raise OutputError(f"{error}; measured was {headline(result)}") from error


def count_non_finite(runner: Runner, feeds: Mapping[str, Any]) -> int:
    """1 where the network's logits hold NaN or infinity for a frame, else 0; a graph without logits says nothing."""
    import numpy as np

    try:
        outputs = runner.infer(dict(feeds), logits=True)
    except NonFiniteError:
        return 1
    except SpecMismatchError:  # an engine that was built without that output
        outputs = runner.infer(dict(feeds))
    return int(not all(np.isfinite(plane).all() for plane in outputs.values()))


def describe(loaded: Loaded) -> str:
    """Network, back-end and precision in a few words."""
    runner = loaded.runner
    return f"{runner.spec.name} on {runner.name} ({runner.device}), {runner.precision}"


def _measure(bench: Bench, loaded: Loaded, source: Source, batches: tuple[int, ...], rate_hz: float | None) -> Measured:
    from roadedge.benchmark.single import Work

    options, clock, runner = bench.options, bench.clock, loaded.runner
    shared = (runner, options, clock, loaded.load_ms, bench.tell)
    if options.scenario == "fixed-rate":
        assert rate_hz is not None
        return run_fixed_rate(source, runner, options, rate_hz, clock, loaded.load_ms, bench.tell)
    if options.scenario == "offline":
        return run_offline(batches, prepare_ring(source, runner.spec), *shared)
    work = Work(source, runner, options.include)
    if options.scenario == "multi":
        return run_multi(work, runner, replace(options, rate_hz=rate_hz), clock, loaded.load_ms, bench.tell)
    return run_single(work, *shared)


def _offline(options: BenchmarkOptions) -> bool:
    return options.scenario == "offline"


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it holds results
        os.rmdir(folder)
