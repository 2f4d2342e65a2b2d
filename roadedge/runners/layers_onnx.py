"""Layers of ONNX Runtime, from the JSON that its profiler writes."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roadedge.preprocess import Feeds
from roadedge.runners.layers import WARM_UP, LayerReport, report_of
from roadedge.runners.onnx_runner import OnnxRunner, half_pairs, open_session

PROFILER = "ONNX Runtime profiling"
SUFFIX = "_kernel_time"


def profiled(runner: OnnxRunner, feeds: Feeds, repeats: int) -> LayerReport:
    """Run a second session of the same file with profiling on."""
    face = runner.face
    with tempfile.TemporaryDirectory() as folder:
        session: Any = open_session(
            Path(runner.file), runner.requested.threads, Path(folder) / "layers", half_pairs(runner.provenance)
        )
        fed, names = face.fed(feeds), face.wanted(False)
        for _ in range(WARM_UP + repeats):
            session.run(names, fed)
        events = json.loads(Path(session.end_profiling()).read_text())
    return read_events(events, WARM_UP)


def read_events(events: Sequence[dict[str, Any]], skipped: int) -> LayerReport:
    """Layers from a profile's events, without its first `skipped` runs. Durations are microseconds."""
    wholes = [one["dur"] / 1e3 for one in events if one.get("cat") == "Session" and one["name"] == "model_run"]
    runs: list[dict[str, float]] = [{} for _ in wholes]
    seen: Counter[str] = Counter()
    kinds: dict[str, str] = {}
    titles: dict[str, set[str]] = defaultdict(set)
    nodes = [one for one in events if one.get("cat") == "Node" and one["name"].endswith(SUFFIX)]
    for one in nodes:
        titles[one["name"]].add(str(one["args"].get("node_index", "")))
    for one in nodes:
        index = str(one["args"].get("node_index", ""))
        title = one["name"].removesuffix(SUFFIX)
        name = title if len(titles[one["name"]]) == 1 else f"{title} #{index}"  # a file may name two nodes alike
        runs[seen[name]][name] = one["dur"] / 1e3
        kinds[name] = one["args"].get("op_name", "")
        seen[name] += 1
    return report_of(runs[skipped:], kinds, wholes[skipped:], PROFILER)
