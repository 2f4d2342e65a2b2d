"""What the report of a benchmark has beside that of a stream: batches, streams, energy, layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from roadedge.latency.report_sections import definitions, flat
from roadedge.latency.summary import Summary, label
from roadedge.latency.table import milliseconds, percentile_cell

MOST_LAYERS = 15
SHOWN = (50.0, 90.0, 99.0)


def benchmark_section(metrics: Mapping[str, Any]) -> str:
    """Tables and facts of a benchmark; empty for another run."""
    if "throughput_per_s" not in metrics:
        return ""
    own = dict(metrics.get("own") or {})
    tables = [
        _rows("streams", own.pop("streams", None), _stream),
        _rows("batches", own.pop("batches", None), _batch),
        _rows("tried", own.pop("tried", None), _tried),
    ]
    facts = definitions(
        {
            "images a second": f"{metrics['throughput_per_s']:.2f}",
            **flat({"energy": metrics.get("energy") or {}, "idle_w": metrics.get("idle_w")}),
            **flat(own),
            **flat({"note": metrics.get("notes") or []}),
        }
    )
    return facts + "".join(tables) + _layers(metrics.get("layers"))


def _rows(title: str, found: Any, cells_of: Any) -> str:
    if not isinstance(found, list) or not found:
        return ""
    rows = [cells_of(one) for one in found]
    return f"<h3>{escape(title)}</h3>{table(list(rows[0]), [list(row.values()) for row in rows])}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a row of heads; all cells are escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _times(values: Mapping[str, Any]) -> dict[str, str]:
    summary = Summary.from_dict(values)
    cells = {f"{label(p)}, ms": percentile_cell(summary, p) for p in SHOWN}
    return {"n": str(summary.count), **cells, "max, ms": milliseconds(summary.maximum)}


def _stream(one: Mapping[str, Any]) -> dict[str, str]:
    return {"stream": str(one["stream"]), "due": str(one["due"]), "lost": f"{one['loss']:.1%}", **_times(one["age_ms"])}


def _batch(one: Mapping[str, Any]) -> dict[str, str]:
    energy = one.get("energy") or {}
    joules = {"J an image": f"{energy['j_per_frame']:.3g}"} if "j_per_frame" in energy else {}
    return {
        "batch": str(one["batch"]), "images a second": f"{one['images_per_s']:.2f}", **_times(one["call_ms"]), **joules,
    }  # fmt: skip


def _tried(one: Mapping[str, Any]) -> dict[str, str]:
    return {
        "streams": str(one["streams"]),
        "worst loss": f"{one['worst_loss']:.1%}",
        "sustained": "yes" if one["sustained"] else "no",
    }


def _layers(found: Any) -> str:
    if not isinstance(found, Mapping) or not found.get("layers"):
        return ""
    layers, total = found["layers"], found["sum_ms"] or 1.0
    rows = [
        [str(one["name"]), str(one["kind"]), f"{one['ms']:.3f}", f"{one['ms'] / total:.1%}"]
        for one in layers[:MOST_LAYERS]
    ]
    note = (
        f"The slowest {len(rows)} of {len(layers)}, by {found['profiler']}: medians of {found['runs']} runs in a pass "
        f"of their own. All layers add up to {found['sum_ms']:.2f} ms; a run of it took {found['whole_ms']:.2f} ms."
    )
    shown = table(["layer", "kind", "ms", "share"], rows)
    return f'<h3>layers</h3>{shown}<p class="soft">{escape(note)}</p>'
