"""Milliseconds of one network's files on this CPU, each runner alone in memory, after warm-up."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.export_table.stages import cell_file, onnx_file
from benchmarks.nvidia.child import sentence
from roadedge.atomic import write_json
from roadedge.latency.summary import summarize
from roadedge.runners import open_runner

# The column, the file's precision, the back-end and what it is asked to compute in.
WAYS = (
    ("onnxruntime", "fp32", "onnxruntime", "fp32"),
    ("openvino", "fp32", "openvino", "fp32"),
    ("openvino-bf16", "fp32", "openvino", "bf16"),
    ("onnxruntime-int8", "int8", "onnxruntime", None),
    ("openvino-int8", "int8", "openvino", None),
)
LEAST, MOST, ENOUGH_S = 3, 9, 1.5  # timed calls, and seconds after which no further one is begun


def measure(network: str, work: str, side: int, threads: int) -> None:
    """Time every way that has a file; what fails is a sentence, and the next one goes on."""
    folder = Path(work)
    found: dict[str, Any] = {}
    for column, precision, backend, asked in WAYS:
        path = onnx_file(folder, network, precision)
        if not path.is_file():
            found[column] = {"why": f"there is no {precision} file"}
            continue
        try:
            found[column] = _timed(path, backend, asked, side, threads)
        except Exception as error:  # whatever it is, it is the reason in the table
            found[column] = {"why": sentence(error)}
        write_json(cell_file(folder, network, "time"), found)


def fill(cell: Path, why: str) -> None:
    """Give the ways that a network's cell of times lacks the reason."""
    found = json.loads(cell.read_text()) if cell.is_file() else {}
    lacking = {column: {"why": why or "nothing was found"} for column, *_ in WAYS if column not in found}
    if lacking:
        write_json(cell, found | lacking)


def _timed(path: Path, backend: str, precision: str | None, side: int, threads: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    load = os.getloadavg()[0]
    with open_runner(path, backend, precision, threads) as runner:
        channels = {name: 3 if name == "image" else 1 for name in runner.spec.inputs}
        feeds = {name: generator.integers(0, 256, (1, side, side, c), np.uint8) for name, c in channels.items()}
        runner.infer(feeds)
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < LEAST or (len(times) < MOST and time.perf_counter() - began < ENOUGH_S):
            start = time.perf_counter_ns()
            runner.infer(feeds)
            times.append((time.perf_counter_ns() - start) / 1e6)
        computed = runner.precision
    own = summarize(times)
    calls = {"median_ms": own.median, "min_ms": own.minimum, "calls": len(times)}
    return {**calls, "computed_in": computed, "load_average": round(load, 1)}
