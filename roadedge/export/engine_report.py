"""What `roadedge build` and `roadedge export --target` print."""

from __future__ import annotations

from roadedge.export.building import Built, Delivery
from roadedge.export.engine import EngineResult
from roadedge.export.lint import Finding
from roadedge.export.report import mebibytes
from roadedge.export.targets import Target
from roadedge.runners.engine_facts import RUNTIMES

LISTED = 12  # fallen-back layers shown; the sidecar has all


def build_lines(built: Built) -> list[str]:
    """What `roadedge build` made, or what the lint says."""
    if built.engine is not None:
        lines = engine_lines(built.engine)
    else:
        told = (
            f"can be built for {built.target.device}" if built.target else "breaks no rule that holds for every release"
        )
        lines = [f"{built.onnx.name} {told}", *lint_lines(built.findings)]
    return lines + ([] if built.target is None else clock_lines(built.target))


def engine_lines(result: EngineResult) -> list[str]:
    """An engine: what it is, what it cost, and what was lost on the way."""
    facts = result.facts
    counts = ", ".join(f"{count} {name}" for name, count in facts.layers_by_precision.items()) or "none"
    capabilities = ", ".join(facts.compute_capabilities)
    lines = [
        f"{RUNTIMES[facts.runtime]} {facts.runtime_version} for compute capability {capabilities}"
        + (f" ({facts.gpu})" if facts.gpu else ""),
        f"asked for {facts.precision_requested}, made {facts.precision_effective}; convolutions and matrix products of "
        f"the parsed network: {counts}",
    ]
    if result.reused:
        lines.append(f"{mebibytes(result.size_bytes)}; an engine of the same key lay there and is used again")
    else:
        lines.append(f"{mebibytes(result.size_bytes)}, built in {facts.build_seconds} s; {result.checked}")
    if result.replaced:
        lines.append(f"the engine that lay there was built again: {result.replaced}")
    if facts.workspace_bytes is not None:
        lines.append(f"workspace {mebibytes(facts.workspace_bytes)}")
    if facts.tf32:
        single = "fp32" in facts.layers_by_precision
        lines.append(
            "FP32 layers may be computed in TF32, as --tf32 allows"
            if single
            else "--tf32 changes nothing: no convolution or matrix product is in FP32"
        )
    if facts.skipped_tactics:
        lines.append(
            f"{facts.skipped_tactics} tactics were skipped for want of memory: the engine may be slower than it could "
            "be; close other programs and build with --overwrite"
        )
    if facts.dla:
        lines += _fallback_lines(facts.fallback_layers)
    return lines + lint_lines(result.findings) + [f"TensorRT warns: {text}" for text in result.warnings]


def lint_lines(findings: tuple[Finding, ...]) -> list[str]:
    """A line for each finding; the ones of a parser that is not asked are for the record."""
    return [one.sentence() for one in findings]


def clock_lines(target: Target) -> list[str]:
    """How a person holds the clocks still for a measurement; nothing is changed by this package."""
    return [f"for steady clocks on {target.device}, by hand:", *(f"  {command}" for command in target.clocks)]


def delivery_lines(delivery: Delivery) -> list[str]:
    """What was made beside the ONNX file, or how it is made on the device."""
    lines = [] if delivery.engine is None else engine_lines(delivery.engine)
    if delivery.why:
        lines.append(f"no engine was built here: {delivery.why}")
    if delivery.command and delivery.target is not None:
        lines.append(
            f"copy {delivery.onnx.name} and {delivery.onnx.name}.json to {delivery.target.device} and build there: "
            f"{delivery.command}"
        )
    if delivery.target is not None and delivery.target.note:
        lines.append(f"{delivery.target.name}: {delivery.target.note}")
    return lines


def _fallback_lines(layers: tuple[str, ...]) -> list[str]:
    if not layers:
        return ["all layers run on DLA"]
    more = f", and {len(layers) - LISTED} more in the sidecar" if len(layers) > LISTED else ""
    return [f"{len(layers)} layers fell back from DLA to the GPU: {', '.join(layers[:LISTED])}{more}"]
