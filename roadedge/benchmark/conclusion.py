"""After the measurement: layers, the check for NaN, the verdict, and all of it as metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from roadedge.benchmark.bench import Bench, Loaded
from roadedge.benchmark.frames import Prepared, stacked
from roadedge.benchmark.header import header_of
from roadedge.benchmark.measured import Measured
from roadedge.benchmark.options import included_text
from roadedge.benchmark.outcome import metrics_of
from roadedge.environment import environment
from roadedge.errors import NonFiniteError, RoadEdgeError, SpecMismatchError
from roadedge.latency.drift import infer_drift
from roadedge.latency.machine_trend import slope_per_min
from roadedge.latency.summary import samples_needed
from roadedge.latency.verdict import Verdict, judge
from roadedge.runners.base import Runner

SLOPE_LEAST_S = 60.0


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
