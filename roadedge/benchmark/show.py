"""The end of a benchmark on the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from roadedge.benchmark.multi import streams_text
from roadedge.latency.table import facts, latency_table, milliseconds, verdict_lines

if TYPE_CHECKING:
    from roadedge.benchmark.outcome import BenchmarkResult

LAYERS_SHOWN = 15
SUSTAINED_S = 600.0


def print_result(result: BenchmarkResult) -> None:
    """Print the tables and the verdict on stdout; without colour where that is no terminal."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    console.print(latency_table(result.measured.profile))
    for line in result_lines(result):
        console.print(line, markup=False)


def result_lines(result: BenchmarkResult) -> list[str]:
    """What stands below the table, most important first."""
    metrics, profile = result.metrics, result.measured.profile
    lines = [headline(result), *facts(profile)]
    lines += batch_lines(metrics["own"].get("batches", ()))
    lines += stream_lines(metrics["own"])
    lines += energy_lines(metrics)
    drift = metrics.get("infer_drift")
    if profile.duration_s < SUSTAINED_S:
        lines.append(
            f"a burst of {profile.duration_s:.0f} s; what a device that heats up sustains takes {SUSTAINED_S:g} s"
        )
    if drift is not None:
        heat = ": thermally limited" if drift > 1.05 else ""
        lines.append(f"last minute / first minute, median inference: {drift:.3f}{heat}")
    lines += layer_lines(metrics["layers"])
    machine = metrics.get("machine") or {}
    if machine.get("lock_commands") and not machine.get("clocks_locked"):
        lines.append(f"clocks are not locked; to lock them: {'; '.join(machine['lock_commands'])}")
    lines += verdict_lines(result.verdict)
    return [*lines, *(f"SLO missed: {line}" for line in result.missed)]


def headline(result: BenchmarkResult) -> str:
    """One line: the figure that the scenario is about, with MLPerf's estimate where there is one."""
    profile = result.measured.profile
    if profile.scenario == "offline":
        return f"{result.measured.throughput_per_s:.2f} images/s"
    percentile = 90.0 if profile.scenario == "single" else 99.0
    value = profile.age.percentiles[percentile]
    safe = profile.age.early_stopping[percentile]
    claim = f"{value:.2f} ms" if value is not None else "n too small"
    estimate = f" (early-stopping estimate {safe:.2f} ms)" if safe is not None else ""
    name = "end to end" if "," in result.metrics["included"] else "inference"
    what = profile.headline if profile.scenario != "single" else name
    return f"{what} p{percentile:g} {claim}{estimate}; {result.measured.throughput_per_s:.2f} images/s"


def batch_lines(batches: Any) -> list[str]:
    """A line for each size of batch."""
    lines = []
    for one in batches:
        joule = one["energy"]
        told = "" if joule is None else f", {joule['j_per_frame']:.3f} J/image"
        call = one["call_ms"]
        lines.append(
            f"batch {one['batch']}: {one['images_per_s']:.2f} images/s, {milliseconds(call['median'])} ms a call{told}"
        )
    return lines


def stream_lines(own: dict[str, Any]) -> list[str]:
    """p99 and loss of each stream, and how many are sustained."""
    lines = []
    for one in own.get("streams", ()):
        age = one["age_ms"]
        tail = f"p99 {milliseconds(age['p99'])}" if age["p99"] is not None else f"max {milliseconds(age['max'])}"
        lines.append(
            f"stream {one['stream']}: age p50 {milliseconds(age['median'])} {tail} ms, n {age['n']}, "
            f"loss {one['loss']:.1%}"
        )
    if own.get("streams_sustained") is not None:
        lines.append(f"{streams_text(own['streams_sustained'])} sustained: each loses less than 5 % of its frames")
    return lines


def energy_lines(metrics: dict[str, Any]) -> list[str]:
    """Watts and joules, where they were read."""
    found = metrics["energy"]
    if found is None:
        return []
    idle = "" if found["idle_w"] is None else f", idle {found['idle_w']:.2f} W"
    return [f"power {found['mean_w']:.2f} W{idle}, {found['j_per_frame']:.3f} J/image; {found['note']}"]


def layer_lines(layers: dict[str, Any] | None) -> list[str]:
    """The slowest layers, and their sum against the whole."""
    if layers is None:
        return []
    total = layers["sum_ms"] or 1.0
    lines = [f"slowest of {len(layers['layers'])} layers ({layers['profiler']}, {layers['runs']} runs of their own):"]
    for one in layers["layers"][:LAYERS_SHOWN]:
        lines.append(f"  {one['ms']:8.3f} ms {one['ms'] / total:6.1%}  {one['name']}  {one['kind']}".rstrip())
    lines.append(f"  layers add up to {layers['sum_ms']:.3f} ms; a run of this pass took {layers['whole_ms']:.3f} ms")
    return lines
