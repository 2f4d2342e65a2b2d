"""The results as a table and as sentences; each sentence that says faster or slower comes from times of this run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.nvidia.interleave import advice, compared

TITLES = {"torch": "torch", "tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT for RTX", "onnxruntime": "ONNX Runtime"}
PRECISIONS = {"fp32": "FP32, TF32 off", "tf32": "TF32", "fp16": "FP16", "int8": "INT8", "all": "all"}
PAIRS = (("int8", "INT8", "fp16", "FP16"), ("fp16", "FP16", "fp32", "FP32"))
REHEARSAL = "no GPU: script rehearsal"
HEAD = (
    "| run by | precision | CUDA graph | network alone, p50 / p90 / p99 | with transfers, p50 / p90 / p99 "
    "| host p50 | n | logits differ by | mask agrees |"
)
MISSING = "–"


def sentences(document: dict[str, Any]) -> list[str]:
    """`INT8 is x % faster than FP16 on this device (…)`, for each network and each family that ran both."""
    lines: list[str] = []
    for network in document["networks"]:
        rows = {
            (r["family"], r["precision"], r["graph"]): r
            for r in network["rows"]
            if r.get("round_medians_ms") and not r["compiled"]
        }
        for (family, precision, graph), row in rows.items():
            for ours, name, theirs, other in PAIRS:
                against = rows.get((family, theirs, graph))
                if precision != ours or against is None:
                    continue
                where = f"{network['network']}, {TITLES[family]}{', CUDA graph' if graph else ''}"
                lines += _compared(name, row, other, against, where)
    return [f"{REHEARSAL}: {line}" for line in lines] if document["rehearsal"] else lines


def _compared(name: str, row: dict[str, Any], other: str, against: dict[str, Any], where: str) -> Iterator[str]:
    kinds = (("device", "the network alone"), ("with_transfers", "with transfers"), ("host", "by the host's clock"))
    both = [(k, words) for k, words in kinds if k in row["round_medians_ms"] and k in against["round_medians_ms"]]
    shown = [one for one in both if one[0] != "host"] or both
    for number, (kind, words) in enumerate(shown):
        ours, theirs = row["round_medians_ms"][kind], against["round_medians_ms"][kind]
        count = min(len(ours), len(theirs))
        yield compared(name, ours[:count], other, theirs[:count], f"{where}, {words}")
        told = advice(name, ours[:count], other, theirs[:count]) if name == "INT8" and not number else ""
        if told:
            yield told


def markdown(document: dict[str, Any]) -> str:
    """All of a run as Markdown."""
    device, state = document["device"], document["state"]
    name = REHEARSAL if document["rehearsal"] else device["gpu"]
    lines = [f"# {name}", ""]
    if document["rehearsal"]:
        lines += [
            "**Not a result.** The script ran on a processor to see that it runs; no time below is a GPU's.",
            "",
        ]
    lines += [_machine(device, state), "", *_software(document["software"]), ""]
    lines += [*_trial(document["rtx_trial"]), ""]
    for network in document["networks"]:
        lines += [*_network(network), ""]
    said = sentences(document)
    lines += ["## What may be said", "", *([f"- {line}" for line in said] or ["Nothing: no two precisions ran."]), ""]
    lines += ["## How", "", HOW, ""]
    made = document["environment"]
    lines.append(
        f"{made['date']} · {made['processor']}, {made['cpu_count']} CPUs · Python {made['python']} · "
        f"{document['seconds']:.0f} s of {document['budget_s']:.0f} s · `{made['command']}`"
    )
    return "\n".join(lines) + "\n"


HOW = (
    "Milliseconds, batch 1. All ways of one network take turns in one process. *Network alone* lies between two events "
    "of the device; *with transfers* adds putting the planes into page-locked memory, the copy in and the copy of the "
    "probability out; *host* is the whole call by the host's clock. Without a CUDA graph the launches of a small "
    "network can take longer than its kernels, and then the time of the network alone is that of the launches. A "
    f"percentile is shown where the count of samples allows one, else {MISSING}. Logits are compared with FP32 on the "
    "CPU, relative to the largest one."
)


def _machine(device: dict[str, Any], state: dict[str, Any]) -> str:
    if device["compute_capability"] is None:
        return f"No GPU: {'; '.join(device['absent'])}."
    told = [
        f"{device['gpu']}, compute capability {device['compute_capability']}",
        f"driver {device['driver'] or 'unknown'}, CUDA {device['cuda']}",
    ]
    told += [f"JetPack {device['jetpack']}"] if device["jetpack"] else []
    return ", ".join(told) + ". At the start: " + _state(state) + "."


def _state(state: dict[str, Any]) -> str:
    if "not_available" in state:
        return f"clocks not available: {state['not_available']}"
    units = (("sm_mhz", "MHz"), ("memory_mhz", "MHz memory"), ("temperature_c", "°C"), ("power_w", "W"))
    told = [f"{state[name]:g} {unit}" for name, unit in units if state[name] is not None]
    why = ", ".join(state["reasons"]) if state["reasons"] else "nothing" if state["reasons"] == [] else "unknown"
    return ", ".join([*told, f"clocks held down by: {why}"])


def _software(software: dict[str, Any]) -> Iterator[str]:
    yield "| | |"
    yield "| --- | --- |"
    for name, one in software.items():
        yield f"| {name} | {one['version'] if one['available'] else 'not available: ' + _cell(one['why'])} |"


def _trial(trial: dict[str, Any]) -> Iterator[str]:
    yield "## Does an engine of TensorRT for RTX run here?"
    yield ""
    if not trial:
        yield "not available: the run ended before it was tried"
        return
    if "not_available" in trial:
        yield f"not available: {trial['not_available']}"
        return
    yield "| built for | built | loads | runs | mask agrees with its ONNX file | why not |"
    yield "| --- | --- | --- | --- | --: | --- |"
    for row in trial["rows"]:
        told = ["yes" if row[name] else "no" for name in ("built", "loads", "runs")]
        agreement = f"{100 * row['agreement']:.2f} %" if "agreement" in row else MISSING
        yield f"| {row['capabilities']} | {' | '.join(told)} | {agreement} | {_cell(row['why'])} |"


def _network(network: dict[str, Any]) -> Iterator[str]:
    yield f"## {network['network']}"
    yield ""
    size = " × ".join(map(str, network.get("size") or ())) or "size unknown"
    scales = "" if network["calibrated"] else "; INT8 with constant scales, not calibrated, for its time alone"
    yield f"Weights: {network['weights']}; {size}; compared with {network.get('reference') or 'nothing'}{scales}."
    for when in ("before", "after"):
        if f"state_{when}" in network:
            yield f"{when.capitalize()}: {_state(network[f'state_{when}'])}."
    for line in network["remarks"]:
        yield f"**{line}**"
    yield ""
    yield HEAD
    yield "| --- | --- | --- | --: | --: | --: | --: | --: | --: |"
    yield from (_row(row) for row in network["rows"] if "not_available" not in row)
    yield from _absent([row for row in network["rows"] if "not_available" in row])
    builds = [one for one in network["builds"] if "engine" in one]
    if builds:
        yield ""
        yield "| engine | built in, s | MiB | convolutions | |"
        yield "| --- | --: | --: | --- | --- |"
        yield from (_build(one) for one in builds)


def _absent(rows: list[dict[str, Any]]) -> Iterator[str]:
    """One line for all rows of a family that lack for the same reason."""
    by_reason: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_reason.setdefault((row["family"], row["not_available"]), []).append(row)
    for (family, why), same in by_reason.items():
        precisions = dict.fromkeys(PRECISIONS[row["precision"]] for row in same)
        graphs = {row["graph"] for row in same}
        how = "compiled" if any(row["compiled"] for row in same) else "yes" if graphs == {True} else MISSING
        yield f"| {TITLES[family]} | {' · '.join(precisions)} | {how} | not available: {_cell(why)} | | | | | |"


def _row(row: dict[str, Any]) -> str:
    how = "compiled" if row["compiled"] else "yes" if row["graph"] else "no"
    start = f"| {TITLES[row['family']]} | {PRECISIONS[row['precision']]} | {how} |"
    parity = row["parity"]
    differs = f"{100 * parity['relative_difference']:.3g} %" if "relative_difference" in parity else _cell(_why(parity))
    differs += "" if parity.get("agrees", True) else " (**too much**)"
    agrees = f"{100 * parity['mask_agreement']:.2f} %" if parity.get("mask_judged") else MISSING
    host = row["host_ms"]["median"]
    return (
        f"{start} {_percentiles(row['device_ms'])} | {_percentiles(row['with_transfers_ms'])} | {host:.3f} "
        f"| {row['n']} | {differs} | {agrees} |"
    )


def _why(parity: dict[str, Any]) -> str:
    return str(parity.get("not_available") or parity.get("why") or MISSING)


def _percentiles(summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "not available"
    told = [summary["median"], summary["p90"], summary["p99"]]
    return " / ".join(MISSING if value is None else f"{value:.3f}" for value in told)


def _build(one: dict[str, Any]) -> str:
    start = f"| {TITLES[one['runtime']]} {PRECISIONS[one['precision']]} |"
    counts = ", ".join(f"{count} {kind}" for kind, count in one["layers_by_precision"].items())
    skipped = f"{one['skipped_tactics']} tactics skipped" if one["skipped_tactics"] else ""
    return f"{start} {one['build_seconds']:.1f} | {one['engine_bytes'] / 2**20:.2f} | {counts} | {skipped} |"


def _cell(text: str) -> str:
    return text.replace("|", "/")
