"""What `roadedge export` and `roadedge info` print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roadedge.export.parts import float32_facts, float32_lines
from roadedge.runners.engine_facts import RUNTIMES

if TYPE_CHECKING:
    from roadedge.export.exporter import ExportResult
    from roadedge.export.parity import Parity


def export_lines(result: ExportResult) -> list[str]:
    """The parity tables and what was written, one line each."""
    lines = [line for table in result.parity for line in parity_lines(table)]
    counts = ", ".join(f"{count} {name}" for name, count in result.convolutions.items())
    size = "any size" if result.spec.size is None else f"{result.spec.size[0]}x{result.spec.size[1]}"
    batch = "any batch" if result.spec.batch is None else f"batch {result.spec.batch}"
    lines.append(f"convolutions: {counts}; {size}, {batch}, opset {result.opset}; {mebibytes(result.size_bytes)}")
    if result.float32 is not None:
        lines += float32_lines(result.float32.to_dict())
    if result.weight_bytes:
        both = ", ".join(f"{mebibytes(count)} {name}" for name, count in result.weight_bytes.items())
        lines.append(f"weights: {both}; --no-fold and --fold choose")
    return lines


def parity_lines(table: Parity) -> list[str]:
    """One back-end against torch: a line per sample, then the worst of them and G_IoU both ways."""
    from roadedge.export.parity import NOT_JUDGED

    label = f" ({table.label})" if table.label else ""
    count = "1 sample" if len(table.rows) == 1 else f"{len(table.rows)} samples"
    lines = [f"{table.candidate} against {table.reference} on {count} of {table.origin}{label}"]
    lines.append(f"  {'sample':32s} {'max |d logit|':>14s} {'max |logit|':>12s} {'mask agrees':>12s}")
    rows = [(row.id or "-", row.max_logit_difference, row.max_logit, row.agreement) for row in table.rows]
    rows.append(("worst", table.max_logit_difference, table.max_logit, table.agreement))
    lines += [f"  {name[-32:]:32s} {gap:14.3g} {most:12.3g} {share:12.4%}" for name, gap, most, share in rows]
    if table.untrained:
        lines.append(f"  masks {NOT_JUDGED}; the logits are, by their spread of {table.spread:.3g}")
    if table.g_iou_reference is not None and table.g_iou_candidate is not None:
        lines.append(
            f"  G_IoU {table.g_iou_reference:.3f} with torch, {table.g_iou_candidate:.3f} with this file{label}"
        )
    return lines


def info_lines(info: dict[str, Any]) -> list[str]:
    """What `describe_model` found, one line each."""
    spec = info["spec"]
    size = "any size" if spec["size"] is None else f"{spec['size'][0]}x{spec['size'][1]}"
    gsd = "unknown" if spec["gsd_m"] is None else f"{spec['gsd_m']} m"
    band = "" if spec["gsd_band_m"] is None else f", trained on {spec['gsd_band_m'][0]} to {spec['gsd_band_m'][1]} m"
    lines = [
        f"{info['file']}",
        f"  {mebibytes(info['bytes'])}, sha256 {info['sha256']}",
        f"  network {spec['name']}{', ' + spec['licence'] if spec['licence'] else ''}; "
        + (f"{info['parameters']:,} parameters" if "parameters" in info else ""),
        f"  inputs {', '.join(spec['inputs'])}; {size}, stride {spec['stride']}; threshold {spec['threshold']}",
        f"  ground sample distance {gsd}{band}{_heatmap(spec) if 'trajectory' in spec['inputs'] else ''}",
        f"  sidecar {'beside it' if info['sidecar'] else 'absent'}",
    ]
    lines += [f"  {text}" for text in info["assumed"]]
    return [
        *lines,
        *_graph_lines(info),
        *_engine_lines(info.get("engine")),
        *_origin_lines(info["provenance"]),
        *_gate_lines(info["provenance"].get("gate")),
        *_load_lines(info["loads"]),
    ]


def _heatmap(spec: dict[str, Any]) -> str:
    drawn = spec["heatmap"]
    return f"; heat-map n_max {drawn['n_max']}, sigma {drawn['sigma_px']} px, window {drawn['window_s'] or 'none'}"


def mebibytes(count: int) -> str:
    """Bytes as `8.42 MiB`."""
    return f"{count / 2**20:.2f} MiB"


def _graph_lines(info: dict[str, Any]) -> list[str]:
    if "graph" in info:
        return [f"  graph {info['graph']}"]
    if "nodes" not in info:
        return []
    opset = ", ".join(f"{domain} {version}" for domain, version in info["opset"].items())
    counts = ", ".join(f"{count} {name}" for name, count in info["convolutions"].items())
    lines = [f"  opset {opset}; {info['nodes']} nodes; convolutions: {counts or 'none'}"]
    for kind in ("inputs", "outputs"):
        for port in info[kind]:
            sides = " x ".join("any" if side is None else str(side) for side in port["shape"])
            lines.append(f"    {kind[:-1]:6s} {port['name']:12s} {port['dtype']:8s} {sides}")
    return lines


def _engine_lines(facts: dict[str, Any] | None) -> list[str]:
    if facts is None:
        return []
    made_for = f"compute capability {', '.join(facts['compute_capabilities'])}"
    built = ", ".join(
        f"{name} {facts[key]}"
        for name, key in (("on", "gpu"), ("JetPack", "jetpack"), ("CUDA", "cuda"), ("driver", "driver"))
        if facts[key]
    )
    counts = ", ".join(f"{count} {name}" for name, count in facts["layers_by_precision"].items())
    lines = [
        f"  engine of {RUNTIMES[facts['runtime']]} {facts['runtime_version']} for {made_for}"
        + (f"; built {built}" if built else ""),
        f"  asked for {facts['precision_requested']}, computes in {facts['precision_effective']}; layers: {counts}",
        f"  built from {facts['onnx']}, sha256 {facts['onnx_sha256']}",
    ]
    if facts.get("tf32") is not False and "fp32" in facts["layers_by_precision"]:  # unstated by older builds: allowed
        lines.append("  FP32 layers may be computed in TF32")
    for port in (*facts["inputs"], *facts["outputs"]):
        sides = " x ".join("any" if side is None else str(side) for side in port["shape"])
        lines.append(f"    {port['name']:12s} {port['dtype']:8s} {sides}")
    for profile in facts["profiles"]:
        lines += [
            f"    {name}: {' to '.join(map(str, (span[0], span[2])))}, best {span[1]}" for name, span in profile.items()
        ]
    if facts["skipped_tactics"]:
        lines.append(f"  tactics skipped for want of memory: {facts['skipped_tactics']}; it may be slower for it")
    if facts["fallback_layers"]:
        left = facts["fallback_layers"]
        lines.append(f"  layers left by DLA to the GPU ({len(left)}): {', '.join(left)}")
    return lines


def _origin_lines(provenance: dict[str, Any]) -> list[str]:
    lines = []
    made = provenance.get("made_with", {})
    if made:
        lines.append(
            f"  made {made.get('date', '?')} by roadedge {made.get('roadedge', '?')}: {made.get('command', '?')}"
        )
    checkpoint = provenance.get("checkpoint")
    if isinstance(checkpoint, dict):
        lines.append(f"  from {checkpoint['file']}, sha256 {checkpoint['sha256']}")
    kept = float32_facts(provenance)
    if kept is not None:
        lines.append(f"  precision {provenance['precision']['effective']}, asked for as --keep-float32 {kept['asked']}")
        lines += [f"    {line}" for line in float32_lines(kept)]
    for table in provenance.get("parity", []):
        gap, share = table["max_logit_difference"], table["agreement"]
        lines.append(
            f"  parity {table['candidate']}: max |d logit| {gap:.3g}, mask agrees {share:.4%} ({table['origin']})"
        )
    return lines


def _gate_lines(gate: dict[str, Any] | None) -> list[str]:
    if not gate:
        return ["  accuracy gate: never measured"]
    if gate["verdict"] == "rejected":
        return [f"  accuracy gate: REJECTED, {gate.get('reason', '')}; infer and eval need --accept-rejected"]
    if not gate.get("conditions"):
        return [f"  accuracy gate: {gate['verdict']}"]
    shares = ", ".join(
        f"{name} {100 * found['g_iou']:.2f} ({100 * found['difference']:+.2f})"
        for name, found in gate["conditions"].items()
    )
    label = f", {gate['data']}" if gate.get("data") else ""
    return [f"  accuracy gate: {gate['verdict']}{label}; G_IoU (against {gate.get('reference')}): {shares}"]


def _load_lines(loads: dict[str, Any]) -> list[str]:
    lines = []
    for backend, found in loads.items():
        if found["yes"]:
            lines.append(
                f"  loads here: {backend} {found['version']}, {found['device']}, computes in {found['precision']}"
            )
        else:
            lines.append(f"  does not load here: {backend}: {found['why']}")
    return lines
