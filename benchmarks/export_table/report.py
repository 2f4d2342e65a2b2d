"""The cells of all networks as one JSON document and one Markdown table, reasons as notes under it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.export_table.stages import CAPABILITY, HALVES, KEPT, PRECISIONS, SAMPLES, cell_file
from benchmarks.export_table.timing import WAYS
from roadedge.export.parity import NOT_JUDGED
from roadedge.export.parts import float32_lines, mixed_name
from roadedge.models.catalogue import CATALOGUE

TITLES = {"fp32": "ONNX", "fp16": "FP16", "int8": "INT8", "int8-fp16": "INT8, FP16 rest"}
MS = {
    "onnxruntime": "ORT f32", "openvino": "OV f32", "openvino-bf16": "OV bf16",
    "onnxruntime-int8": "ORT INT8", "openvino-int8": "OV INT8",
}  # fmt: skip


def collect(work: Path, networks: Sequence[str]) -> list[dict[str, Any]]:
    """What is known of each network; a network of which nothing is known yet is left out."""
    rows = []
    for name in networks:
        cells = {precision: _read(work, name, precision) for precision in PRECISIONS}
        if any(cells.values()):
            rtx = {precision: _read(work, name, f"rtx-{precision}") for precision in PRECISIONS}
            cost = CATALOGUE[name].cost
            weights = next((cell["weights"] for cell in cells.values() if cell and "weights" in cell), "fresh")
            row = {"network": name, "weights": weights, "parameters": cost.parameters}
            row |= {"graph_gmac": cost.gmac, "exports": cells, "tensorrt_rtx": rtx}
            kept = {precision: _read(work, name, f"{precision}-{KEPT}") for precision in HALVES}
            built = {precision: _read(work, name, f"rtx-{precision}-{KEPT}") for precision in HALVES}
            row |= {"keep_float32": kept, "tensorrt_rtx_keep_float32": built}
            rows.append(row | {"ms": _read(work, name, "time")})
    return rows


def document(rows: list[dict[str, Any]], settings: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """The JSON file."""
    return {"schema_version": 1, **settings, "rows": rows, "environment": made}


def markdown(found: dict[str, Any]) -> str:
    """The table and its notes."""
    notes = _Notes()
    rows = [_line(row, notes) for row in found["rows"]]
    head = ["network", *TITLES.values(), "TensorRT-RTX takes", *(f"{title}, ms" for title in MS.values())]
    made, side = found["environment"], found["side"]
    packages = made["packages"]
    versions = ", ".join(f"{n} {packages[n]}" for n in ("torch", "onnx", "onnxruntime", "openvino") if n in packages)
    loads = [cell["load_average"] for row in found["rows"] for cell in _times(row) if "load_average" in cell]
    busy = f"; load average while timing {min(loads)} to {max(loads)}" if loads else "; nothing was timed yet"
    return "\n".join(
        [
            "# Exports of all networks",
            "",
            f"{side} × {side}, batch 1. A number under a precision: the largest difference of the logits from torch in "
            "FP32 (of INT8: from the FP32 file), over all back-ends, and in brackets as a share of how far the logits "
            "lie apart. Weights are fresh, with norms that fit, but where another name stands; their masks are "
            f"{NOT_JUDGED.removesuffix(' weights')}, since all logits lie at the threshold. Where FP16 was refused, "
            "behind the reason stands the file of `--keep-float32 auto`, with so many parts in float32. INT8 is "
            f"post-training quantization on {SAMPLES} windows of the built-in city: it shows that the file is built "
            "and runs, not what INT8 costs a trained network, and with fresh weights the differences are larger. "
            f"TensorRT for RTX parsed and built for compute capability {CAPABILITY} with no GPU; none was run. ms are "
            "medians of "
            f"{found['calls']} calls of `Runner.infer`, {found['threads']} threads; in brackets what an INT8 file was "
            "computed in where that was not INT8.",
            "",
            "| " + " | ".join(head) + " |",
            "|---" * (len(TITLES) + 2) + "|---:" * len(MS) + "|",
            *rows,
            "",
            *notes.lines(),
            "",
            f"{made['date']} · {made['processor']}, {made['cpu_count']} CPUs, no GPU{busy} · Python {made['python']}, "
            f"{versions} · `python benchmarks/{made['command']}`",
            "",
        ]
    )


class _Notes:
    """Reasons, each once, numbered in the order in which they are needed."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def mark(self, reason: str) -> str:
        """`no [3]`."""
        return f"no [{self._known.setdefault(reason, len(self._known) + 1)}]"

    def lines(self) -> list[str]:
        """`[3] why`, a list of Markdown."""
        return [f"- [{number}] {reason}" for reason, number in self._known.items()]


def _line(row: dict[str, Any], notes: _Notes) -> str:
    name = row["network"] if row["weights"] == "fresh" else f"{row['network']} ({row['weights']})"
    cells = [name, *(_exported(row, precision, notes) for precision in PRECISIONS), _taken(row, notes)]
    times = row["ms"] or {}
    for column, *_ in WAYS:
        cell = times.get(column)
        if cell is None:
            cells.append("–")
        else:
            cells.append(_milliseconds(column, cell) if "median_ms" in cell else notes.mark(cell["why"]))
    return "| " + " | ".join(cells) + " |"


def _milliseconds(column: str, cell: dict[str, Any]) -> str:
    """The median, and where an INT8 file was not computed in INT8, in what it was."""
    computed = cell["computed_in"]
    other = f" ({computed})" if column.endswith("int8") and "int8" not in computed else ""
    return f"{cell['median_ms']:.1f}{other}"


def _difference(cell: dict[str, Any] | None, notes: _Notes) -> str:
    if cell is None:
        return "–"
    if not cell["built"]:
        return notes.mark(cell["why"])
    gap = max(table["max_logit_difference"] for table in cell["parity"])
    share = max(table["max_logit_difference"] / table["spread"] for table in cell["parity"] if table["spread"])
    return f"{gap:.1e} ({share:.1e})"


def _exported(row: dict[str, Any], precision: str, notes: _Notes) -> str:
    """How far the file lies from its reference, or why there is none, and that of the one with parts in float32."""
    own = _difference(row["exports"][precision], notes)
    kept = row.get("keep_float32", {}).get(precision)
    if kept is None:
        return own
    if not kept["built"]:
        return f"{own}; with parts float32 {notes.mark(kept['why'])}"
    facts = kept["float32"]
    if facts is None:  # plain FP16 went, on another day
        return f"{own}; again {_difference(kept, notes)}"
    parts, *work = float32_lines(facts)
    named = notes.mark(f"{row['network']}, {TITLES[precision]}: {parts}; {''.join(work).strip()}").removeprefix("no ")
    return f"{own}; {mixed_name('', len(facts['parts'])).strip()} {named} {_difference(kept, notes)}"


def _taken(row: dict[str, Any], notes: _Notes) -> str:
    found = row["tensorrt_rtx"]
    if not any(found.values()):
        return "–"
    takes = [name for name, cell in found.items() if cell and cell["built"]]
    built = {name for name, cell in row["exports"].items() if cell and cell["built"]}
    refused = [f"{name} {notes.mark(cell['why'])}" for name, cell in found.items() if cell and not cell["built"]
               and name in built]  # fmt: skip
    kept = {name: cell for name, cell in row.get("tensorrt_rtx_keep_float32", {}).items() if cell}
    made = {name for name, cell in row.get("keep_float32", {}).items() if cell and cell["built"]}
    takes += [f"{name} with parts float32" for name, cell in kept.items() if cell["built"]]
    refused += [f"{name} with parts float32 {notes.mark(cell['why'])}" for name, cell in kept.items()
                if not cell["built"] and name in made]  # fmt: skip
    return ", ".join(["all" if takes == list(PRECISIONS) else ", ".join(takes) or "none", *refused])


def _times(row: dict[str, Any]) -> list[dict[str, Any]]:
    return list((row["ms"] or {}).values())


def _read(work: Path, network: str, column: str) -> dict[str, Any] | None:
    path = cell_file(work, network, column)
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found
