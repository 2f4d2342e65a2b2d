"""One benchmark from arguments to a run folder: what `roadedge benchmark` calls."""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from roadedge.benchmark.bench import Bench, Loaded, describe, load, open_bench, open_source_for
from roadedge.benchmark.conclusion import conclude
from roadedge.benchmark.frames import prepare_ring
from roadedge.benchmark.measured import Measured, run_fixed_rate, run_multi, run_offline, run_single
from roadedge.benchmark.offline import sweep
from roadedge.benchmark.options import BenchmarkOptions
from roadedge.benchmark.outcome import BenchmarkResult, check_writable, write_all
from roadedge.benchmark.progress import Tell, silent
from roadedge.benchmark.show import headline, result_lines
from roadedge.benchmark.slo import missed, parse_slo
from roadedge.errors import OutputError
from roadedge.latency.clock import Clock, HostClock
from roadedge.run_folder import open_run_folder
from roadedge.stream.sources import Source


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


def finish(result: BenchmarkResult, options: BenchmarkOptions, tell: Tell) -> None:
    """Write it; where that fails, what was measured is told all the same."""
    try:
        write_all(result.folder, result, None if options.submit is None else options.submit.expanduser())
    except OutputError as error:
        tell("what was measured, since it could not be written whole:")
        for line in result_lines(result):
            tell(line)
        raise OutputError(f"{error}; measured was {headline(result)}") from error


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
