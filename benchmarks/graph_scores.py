"""APLS, TOPO and junctions of a network beside its G_IoU: clear and under fog, in FP32 and in INT8.

Each set is scored by itself, by the path that is deployed; the settings stand in the table. The trajectories of these
sets are simulated from the labels: semi-synthetic, and no figure of real GPS.

    ROADEDGE_DATA=DATA python benchmarks/graph_scores.py [MODEL …] [--sets tianjin epfl] [-o benchmarks/results]
"""

from __future__ import annotations

import argparse
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json, write_text
from roadedge.data.corrupt import parse_corruptions
from roadedge.environment import environment
from roadedge.evaluation import EvalSettings, evaluate
from roadedge.metrics.graph_scores import GraphSettings
from roadedge.runners import open_runner

WEIGHTS = Path(__file__).parent.parent / "weights"
MODELS = ("roadedge-s-research.onnx", "roadedge-s-research.int8.onnx")
CONDITIONS = {"clear": [], "fog": ["fog:0.8"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, default=[WEIGHTS / name for name in MODELS])
    parser.add_argument("--sets", nargs="+", default=["tianjin", "epfl"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    folder = os.environ.get("ROADEDGE_DATA")
    if not folder:
        parser.error("set ROADEDGE_DATA to the folder of the data sets")
    rows = [
        measured(model, Path(folder) / name, condition, options.threads)
        for model in options.models
        for name in options.sets
        for condition in CONDITIONS
    ]
    return write(rows, options.output)


def measured(model: Path, data: Path, condition: str, threads: int) -> dict[str, Any]:
    """One row: a model on a set in one condition."""
    settings = EvalSettings(panels=0, corruptions=parse_corruptions(CONDITIONS[condition]), graph=GraphSettings())
    begun, processor = time.perf_counter(), time.process_time()
    with open_runner(model, threads=threads) as runner:
        found = evaluate(runner, [data], settings)
    print(f"{model.name} {data.name} {condition}: {found.pooled.to_dict()}", flush=True)
    return {
        "model": model.name,
        "runs": {name: found.model[name] for name in ("backend", "precision")},
        "set": data.name,
        "condition": condition,
        "seconds": time.perf_counter() - begun,
        "processor_s": time.process_time() - processor,
        "graph_lines": list(found.graph_lines),
        "settings": found.settings,
        "scores": found.pooled.to_dict(),
    }


def write(rows: list[dict[str, Any]], folder: Path) -> int:
    now = datetime.now(timezone.utc)
    record = {"schema_version": 1, "date": now.isoformat(timespec="seconds"), **environment(), "rows": rows}
    first = rows[0]["scores"]
    lines = [
        "# APLS, TOPO and junctions beside G_IoU",
        "",
        f"{record['date']} · {record['processor']} · `graph_scores.py` · {first['data']} · in per cent, 95 % "
        "intervals over places",
        "",
        "| network | set | condition | samples (places) | G_IoU | APLS | TOPO F1 (P, R) | junction F1 (P, R) |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [_row(row) for row in rows]
    lines += ["", *(f"* {line}" for line in rows[0]["graph_lines"])]
    empty = {row["set"]: row["scores"]["graph"]["empty_pairs"] for row in rows}
    lines.append(f"* samples without a road on either side, which score 1 by rule: {empty}")
    path = folder / f"graph-scores-{now:%Y-%m-%d}.md"
    write_text(path, "\n".join(lines) + "\n")
    write_json(path.with_suffix(".json"), record)
    print(path)
    return 0


def _row(row: dict[str, Any]) -> str:
    scores, graph = row["scores"], row["scores"]["graph"]
    cells = [row["model"], row["set"], row["condition"], f"{scores['samples']} ({scores['places']})"]
    cells.append(_interval(scores["G_IoU"], scores["G_IoU_interval_95"]))
    cells.append(_interval(graph["APLS"], graph["APLS_interval_95"]))
    for name in ("TOPO", "junctions"):
        one = graph[name]
        shares = f"({100 * one['precision']:.1f}, {100 * one['recall']:.1f})"
        cells.append(f"{_interval(one['F1'], one['F1_interval_95'])} {shares}")
    return "| " + " | ".join(cells) + " |"


def _interval(value: float, interval: list[float] | None) -> str:
    low_high = "" if interval is None else f" [{100 * interval[0]:.1f}–{100 * interval[1]:.1f}]"
    return f"{100 * value:.1f}{low_high}"


if __name__ == "__main__":
    raise SystemExit(main())
