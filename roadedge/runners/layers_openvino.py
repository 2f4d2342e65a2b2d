"""Layers of OpenVINO, from the performance counters of an inference request."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from roadedge.preprocess import Feeds
from roadedge.runners.layers import WARM_UP, LayerReport, report_of
from roadedge.runners.openvino_runner import OpenVinoRunner, compile_network, read_network

PROFILER = "OpenVINO performance counters"


def profiled(runner: OpenVinoRunner, feeds: Feeds, repeats: int) -> LayerReport:
    """Compile the same file once more, with its counters on."""
    import openvino

    core = openvino.Core()
    compiled = compile_network(core, read_network(core, Path(runner.file)), runner.requested, PERF_COUNT=True)
    request: Any = compiled.create_infer_request()
    fed = runner.face.fed(feeds)
    runs: list[dict[str, float]] = []
    wholes: list[float] = []
    kinds: dict[str, str] = {}
    for number in range(WARM_UP + repeats):
        began = time.perf_counter_ns()
        request.infer(fed)
        whole_ms = (time.perf_counter_ns() - began) / 1e6
        if number < WARM_UP:
            continue
        executed = [one for one in request.get_profiling_info() if one.status.name == "EXECUTED"]
        runs.append({one.node_name: one.real_time.total_seconds() * 1e3 for one in executed})
        wholes.append(whole_ms)
        kinds |= {one.node_name: f"{one.node_type} {one.exec_type}" for one in executed}
    return report_of(runs, kinds, wholes, PROFILER)
