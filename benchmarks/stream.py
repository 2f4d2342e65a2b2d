"""The live pipeline under load, held against its bounds: throughput, the age at 80 and 200 %, memory over minutes.

A synthetic flight of 512 x 512 pixels goes through `roadedge infer` with all that it does by default: masks, overlay
video, frames.csv. Load is the rate times the slowest stage's mean time within that very run.

    python benchmarks/stream.py [--model roadedge-s] [--seconds 100] [--soak 300] [-o benchmarks/results]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json, write_text
from roadedge.environment import environment, usable_cpus
from roadedge.stream.outcome import InferOptions, InferResult
from roadedge.stream.plan import Plan
from roadedge.stream.session import infer

SIDE = "512x512"
FASTEST_HZ = 1000.0  # more than any machine answers: with `all` the pipeline runs at what it can
TRIES, LOAD_TOLERANCE = 4, 0.04
BOUNDS = {80: 2.0, 200: 3.5}  # load in percent → frame periods that the p99 of the age may have beside the other stages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="roadedge-s")
    parser.add_argument("--seconds", type=float, default=100.0, help="of each run under load")
    parser.add_argument("--soak", type=float, default=300.0, help="seconds of the run at 10 frames a second")
    parser.add_argument("--only", nargs="*", choices=("soak", "unloaded", "throughput", "load"))
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    wanted = options.only or ("soak", "unloaded", "throughput", "load")
    found: dict[str, Any] = {"environment": environment(), "model": options.model, "load_average": os.getloadavg()}
    if "soak" in wanted:
        found["soak"] = soak(options.model, options.soak)
    if "throughput" in wanted:
        found["throughput"] = throughput(options.model)
    if "load" in wanted or "unloaded" in wanted:
        found["unloaded"] = stages_of(run(options.model, 2.0, Plan(duration_s=40.0)))
    if "load" in wanted:
        found["load"] = [loaded(options.model, percent, options.seconds, found["unloaded"]) for percent in BOUNDS]
        found["all at 200 %"] = overrun(options.model, found["load"][-1]["rate_hz"], options.seconds / 2)
    name = f"stream-{options.model}-{found['environment']['date'][:10]}"
    write_json(options.output / f"{name}.json", found)
    write_text(options.output / f"{name}.md", report(found))
    print(report(found))
    return 0


def run(model: str, rate_hz: float, plan: Plan) -> InferResult:
    with tempfile.TemporaryDirectory() as folder:
        request = InferOptions(f"synth:{SIDE}@{rate_hz:g}", model, plan=plan, output=Path(folder) / "run")
        return infer(request)


def stages_of(result: InferResult) -> dict[str, float]:
    """Median milliseconds of each stage."""
    return {name: summary.median or 0.0 for name, summary in result.profile.stages.items()}


def soak(model: str, seconds: float) -> dict[str, Any]:
    result = run(model, 10.0, Plan(duration_s=seconds))
    metrics = result.metrics
    rss = metrics["machine"]["series"]["t_s"], metrics["machine"]["series"]["rss_mb"]
    after = [(t, mb) for t, mb in zip(*rss, strict=True) if t >= 60 and mb is not None]
    return {
        "seconds": seconds,
        "verdict": metrics["verdict"]["result"],
        "reasons": metrics["verdict"]["reasons"],
        "warnings": metrics["verdict"]["warnings"],
        "age_ms": {name: metrics["age_ms"][name] for name in ("n", "p50", "p90", "p99", "max")},
        "due": metrics["due"],
        "answered": metrics["answered"],
        "dropped_by": metrics["dropped_by"],
        "rss_mb_at_60_s_and_end": [after[0][1], after[-1][1]] if after else None,
        "rss_slope_mb_per_min_after_60_s": slope_per_min(after) if len(after) > 2 else None,
        "residual": metrics["residual"],
    }


def slope_per_min(points: list[tuple[float, float]]) -> float:
    """Least squares through (seconds, value)."""
    mean_t = sum(t for t, _ in points) / len(points)
    mean_v = sum(v for _, v in points) / len(points)
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    return 60.0 * sum((t - mean_t) * (v - mean_v) for t, v in points) / spread


def throughput(model: str, frames: int = 800) -> dict[str, Any]:
    """Frames a second with `all` against what the slowest stage, and the processor's time, allow."""
    began_cpu, began = time.process_time(), time.perf_counter()
    result = run(model, FASTEST_HZ, Plan("all", max_frames=frames))
    whole = {"cpu_s": time.process_time() - began_cpu, "seconds": time.perf_counter() - began}
    profile, series = result.profile, result.metrics["machine"]["series"]
    cpu = [value for value in series["process_cpu"][1:] if value is not None]
    busy = sum(cpu) / len(cpu)  # processors that were kept busy during the run itself, drawing the city left out
    slowest_ms = max(summary.mean or 0.0 for summary in profile.stages.values())
    reached = profile.answered / profile.duration_s
    by_stage, by_processor = 1e3 / slowest_ms, usable_cpus() / (busy / reached)
    return {
        "frames": profile.answered,
        "reached_hz": reached,
        "slowest_stage_ms": slowest_ms,
        "cpu_s_per_frame": busy / reached,
        "bound_by_stage_hz": by_stage,
        "bound_by_processor_hz": by_processor,
        "share": reached / min(by_stage, by_processor),
        "whole_process": whole,
    }


def loaded(model: str, percent: int, seconds: float, unloaded: dict[str, float]) -> dict[str, Any]:
    """The age under `latest` at a load of so many percent, found by trying."""
    rate_hz = round(percent / 100 * 1e3 / max(unloaded.values()), 2)
    for _ in range(TRIES):
        profile = run(model, rate_hz, Plan(duration_s=seconds)).profile
        load = profile.load or 1.0
        if abs(load / (percent / 100) - 1) < LOAD_TOLERANCE:
            break
        rate_hz = round(rate_hz * (percent / 100 / load) ** 0.8, 2)  # the stages slow down with the load too
    rate_hz = profile.rate_hz or rate_hz
    slowest = max(profile.stages, key=lambda name: profile.stages[name].mean or 0.0)
    others_ms = sum(ms for name, ms in unloaded.items() if name != slowest)
    bound_ms = BOUNDS[percent] * 1e3 / rate_hz + others_ms
    age = profile.age
    p99 = age.percentiles[99.0]
    return {
        "asked_percent": percent,
        "load": profile.load,
        "rate_hz": rate_hz,
        "n": age.count,
        "age_p50_ms": age.median,
        "age_p99_ms": p99,
        "bound_ms": bound_ms,
        "held": p99 is not None and p99 <= bound_ms,
        "periods": None if p99 is None else (p99 - others_ms) * rate_hz / 1e3,
        "slowest_stage": slowest,
        "others_unloaded_ms": others_ms,
        "due": profile.due,
        "dropped_by": profile.dropped_by,
    }


def overrun(model: str, rate_hz: float, seconds: float) -> dict[str, Any]:
    """`all` at the rate of the overload: every frame is answered, ever later."""
    profile = run(model, rate_hz, Plan("all", duration_s=seconds)).profile
    return {
        "rate_hz": rate_hz,
        "due": profile.due,
        "answered": profile.answered,
        "age_p50_ms": profile.age.median,
        "age_max_ms": profile.age.maximum,
        "seconds_due": seconds,
        "seconds_taken": profile.duration_s,
    }


def report(found: dict[str, Any]) -> str:
    """What was found, as Markdown."""
    where = found["environment"]
    lines = [
        f"# The live pipeline, {found['model']}, {where['date'][:10]}",
        "",
        f"{where['processor']}, {where['cpu_count']} processors; load average before {found['load_average'][0]:.1f}; "
        f"`{where['command']}`",
        "",
    ]
    if (one := found.get("soak")) is not None:
        age = one["age_ms"]
        slope = one["rss_slope_mb_per_min_after_60_s"]
        lines += [
            f"- {one['seconds']:g} s at 10 Hz: **{one['verdict']}** {'; '.join(one['reasons'])}; age p50 "
            f"{age['p50']:.1f}, p99 {age['p99'] or float('nan'):.1f}, max {age['max']:.1f} ms (n = {age['n']}); "
            f"{one['answered']} of {one['due']} answered, dropped {one['dropped_by'] or 'none'}; memory "
            f"{'–' if slope is None else f'{slope:+.3f}'} MB a minute after the first",
        ]
    if (one := found.get("throughput")) is not None:
        lines += [
            f"- `all`, as fast as it goes: {one['reached_hz']:.1f} Hz, **{one['share']:.2f}** of the lower of "
            f"{one['bound_by_stage_hz']:.1f} (slowest stage, {one['slowest_stage_ms']:.1f} ms) and "
            f"{one['bound_by_processor_hz']:.1f} (processors / {1e3 * one['cpu_s_per_frame']:.1f} ms of their time)",
        ]
    for one in found.get("load", ()):
        lines += [
            f"- `latest` at load {one['load']:.2f} ({one['rate_hz']:.1f} Hz, n = {one['n']}): age p50 "
            f"{one['age_p50_ms']:.1f}, p99 {one['age_p99_ms'] or float('nan'):.1f} ms; bound {one['bound_ms']:.1f} ms: "
            f"**{'held' if one['held'] else 'missed'}** ({one['periods'] or float('nan'):.2f} periods beside the other "
            f"stages); dropped {one['dropped_by'] or 'none'} of {one['due']}",
        ]
    if (one := found.get("all at 200 %")) is not None:
        lines += [
            f"- `all` at {one['rate_hz']:.1f} Hz: all {one['answered']} of {one['due']} answered, age p50 "
            f"{one['age_p50_ms']:.0f}, max {one['age_max_ms']:.0f} ms; {one['seconds_due']:g} s of frames took "
            f"{one['seconds_taken']:.1f} s",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
