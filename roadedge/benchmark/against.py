"""Two networks in turns, A B A B A B, in one process: what slows the machine for a while slows both."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json
from roadedge.benchmark.bench import Bench, Loaded, describe, load, open_bench, open_source_for
from roadedge.benchmark.bootstrap import difference
from roadedge.benchmark.compare import Comparison
from roadedge.benchmark.conclusion import conclude
from roadedge.benchmark.header import CONTEXT, differing
from roadedge.benchmark.measured import Measured, of_loop, times_of
from roadedge.benchmark.options import BenchmarkOptions
from roadedge.benchmark.outcome import BenchmarkResult
from roadedge.benchmark.progress import Tell, records_after, silent
from roadedge.benchmark.session import finish, prepare_outputs
from roadedge.benchmark.single import Loop, Work, closed_loop
from roadedge.benchmark.slo import missed, parse_slo
from roadedge.errors import SpecMismatchError, UsageError
from roadedge.latency.clock import Clock, HostClock
from roadedge.latency.profile import find_warmup
from roadedge.runners.base import Runner

COMPARED = "roadedge benchmark --against"


def measure_against(
    options: BenchmarkOptions, force: bool = False, tell: Tell = silent, clock: Clock | None = None
) -> tuple[BenchmarkResult, BenchmarkResult, Comparison | None]:
    """Measure `options.model` and `options.against` in turns; the results lie in A and B of the run folder.

    Stopped before both had a whole turn, there is nothing to compare, and no comparison is returned.

    Args:
        options: what to do; each turn lasts `duration_s` after a warm-up of its own.
        force: also where more than the networks differs.
        tell: is given lines for the log.
        clock: of all times.

    Raises:
        UsageError: nothing to compare with.
        SpecMismatchError: back-end, size of input or another respect differs beside the file, and not `force`.
        and what `benchmark` raises.
    """
    options.check()
    if options.against is None:
        raise UsageError("there is nothing to compare with; give --against MODEL")
    targets = parse_slo(options.slo, options.scenario)
    with ExitStack() as stack:
        folder = prepare_outputs(options, stack)
        bench = open_bench(options, clock or HostClock(), tell, stack)
        both = [load(model, bench, stack) for model in (options.model, options.against)]
        sources = [open_source_for(options, one.runner, stack) for one in both]
        check_like(both, [text for _, text, _ in sources], force)
        for name, one in zip("AB", both, strict=True):
            tell(f"{name} {describe(one)}")
        tell(f"{options.repeats} turns of {options.duration_s:g} s each on {sources[0][1]}; results go to {folder}")
        works = []
        for one, (source, _, _) in zip(both, sources, strict=True):
            source.prepare()
            works.append(Work(source, one.runner, options.include))
        probes = [work.ring[0] for work in works]
        measured = take_turns(bench, both, works)
        turns = uuid.uuid4().hex
        results = []
        texts = [text for _, text, _ in sources]
        for name, one, found, text, probe in zip("AB", both, measured, texts, probes, strict=True):
            more = {"turns": turns, "notes": []}
            whole, metrics, verdict = conclude(bench, one, found, text, None, more, probe)
            results.append(BenchmarkResult(folder / name, whole, verdict, metrics))
    comparison = compared(results, [Path(one.name).name for one in both])
    sentences = missed(targets, measured[0].profile, measured[0].throughput_per_s, None)
    results[0] = replace(results[0], missed=tuple(sentences), asked=bool(targets))
    results[0].metrics["comparison"] = None if comparison is None else comparison.to_dict()
    write_json(folder / "metrics.json", {"kind": COMPARED, "comparison": results[0].metrics["comparison"]})
    for result, submit in zip(results, (options.submit, None), strict=True):
        finish(result, replace(options, submit=submit), tell)
    return results[0], results[1], comparison


def check_like(both: list[Loaded], sources: list[str], force: bool) -> None:
    """Raise SpecMismatchError where more than the file differs, before anything is measured."""
    first, second = ({**_known(one.runner), "source": text} for one, text in zip(both, sources, strict=True))
    unlike = [name for name in first if first[name] != second[name]]
    if unlike and not force:
        told = "; ".join(f"{name}: {first[name]} | {second[name]}" for name in unlike)
        raise SpecMismatchError(
            f"{both[0].name} and {both[1].name} would be measured under unlike conditions ({told}); "
            "give both the same --backend and --source, or pass --force"
        )


def take_turns(bench: Bench, both: list[Loaded], works: list[Work]) -> list[Measured]:
    """A B A B …, each turn with its warm-up; Ctrl-C ends it with what there is, and the result is marked."""
    options, clock = bench.options, bench.clock
    loops: list[list[Loop]] = [[], []]
    began_ns = clock.now_ns()
    for turn in range(2 * options.repeats):
        side, name = turn % 2, f"{'AB'[turn % 2]} {turn // 2 + 1}/{options.repeats}"
        loop = closed_loop(works[side], both[side].runner, clock, options.duration_s, bench.tell, name)
        loops[side].append(loop)
        if loop.interrupted:
            break
    return [_joined(turns, one, bench, began_ns) for turns, one in zip(loops, both, strict=True)]


def compared(results: list[BenchmarkResult], names: list[str]) -> Comparison | None:
    """The difference over the turns that both have whole; None where there are none, after Ctrl-C."""
    first, second = (result.measured.samples_ms for result in results)
    whole = min(len(first), len(second))
    if not whole:
        return None
    headers = results[0].metrics["header"], results[1].metrics["header"]
    own, following = differing(*headers)
    values = {name: (headers[0].get(name), headers[1].get(name)) for name in CONTEXT if name in (*own, *following)}
    notes = () if len(own) <= 1 else (f"forced although {len(own)} respects differ",)
    found = difference(first[:whole], second[:whole])
    return Comparison((names[0], names[1]), tuple(own), tuple(following), values, found, notes)


def _joined(loops: list[Loop], one: Loaded, bench: Bench, began_ns: int) -> Measured:
    """The turns of one side as one run: the first with its warm-up, of the others what was measured, end to end."""
    whole, samples = Loop(), []
    for number, loop in enumerate(loops):
        warmup = (loop.warmup or find_warmup(loop.records)).frames
        measured = records_after(loop.records, warmup)
        if not loop.interrupted:
            samples.append(times_of(measured))
        kept = loop.records if number == 0 else measured
        from_s = 0.0 if number == 0 or warmup == 0 else loop.records[warmup - 1].done_s
        shift_s = whole.duration_s - from_s
        for r in kept:
            name = f"{len(whole.records):06d}"
            whole.records.append(replace(r, frame=name, done_s=r.done_s + shift_s, capture_s=r.capture_s + shift_s))
        whole.duration_s = whole.records[-1].done_s if len(whole.records) else 0.0
        whole.interrupted = whole.interrupted or loop.interrupted
        whole.error = whole.error or loop.error
    if loops:
        whole.warmup, whole.warmup_s = loops[0].warmup, loops[0].warmup_s
    found = of_loop(whole, began_ns, bench.options, one.load_ms, bench.options.repeats)
    return replace(found, samples_ms=samples)


def _known(runner: Runner) -> dict[str, Any]:
    return {
        "backend": runner.name,
        "device": runner.device,
        "inputs": ",".join(runner.spec.inputs),
        "size": runner.spec.size,
        "gsd_m": runner.spec.gsd_m,
    }
