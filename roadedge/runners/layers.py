"""Times of single layers, from each back-end's own profiler, in a pass of its own: profiling slows the network down."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from roadedge.errors import UsageError
from roadedge.preprocess import Feeds
from roadedge.runners.base import Runner

REPEATS, WARM_UP = 20, 3
PROFILERS = {
    "onnxruntime": "layers_onnx",
    "openvino": "layers_openvino",
    "torch": "layers_torch",
    "tensorrt": "layers_engine",
    "tensorrt-rtx": "layers_engine",
}


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer as the back-end calls it after its own fusions; `ms` is the median over the runs of the pass."""

    name: str
    kind: str
    ms: float


@dataclass(frozen=True, slots=True)
class LayerReport:
    """All layers of a pass, slowest first.

    `whole_ms` is the median of a run of that pass by `clock`; `sum_ms` that of the layers of a run added up. What is
    missing between them belongs to no layer: copies, scheduling, the profiler itself. Layers that run side by side add
    up to more than the whole.
    """

    layers: tuple[LayerTime, ...]
    sum_ms: float
    whole_ms: float
    runs: int
    profiler: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "profiler": self.profiler,
            "runs": self.runs,
            "sum_ms": self.sum_ms,
            "whole_ms": self.whole_ms,
            "layers": [{"name": one.name, "kind": one.kind, "ms": one.ms} for one in self.layers],
        }


def layer_times(runner: Runner, feeds: Feeds, repeats: int = REPEATS) -> LayerReport:
    """Run a network with its back-end's profiler on, beside the one that is timed.

    Args:
        runner: as `open_runner` gives it; its own session is not touched, an engine's is used without being changed.
        feeds: one batch.
        repeats: runs of the pass, at least one, after three that are left out.

    Raises:
        UsageError: no repeats, or a runner that tells no layers.
        and what the back-end raises.
    """
    if repeats < 1:
        raise UsageError(f"times of layers need at least one run, got {repeats}")
    if runner.name not in PROFILERS:
        raise UsageError(f"{runner.name} tells no times of layers; leave --layers out")
    module = importlib.import_module(f"roadedge.runners.{PROFILERS[runner.name]}")  # which loads its own back-end
    report: LayerReport = module.profiled(runner, feeds, repeats)
    return report


def report_of(
    runs: Sequence[Mapping[str, float]], kinds: Mapping[str, str], wholes_ms: Iterable[float], profiler: str
) -> LayerReport:
    """Medians over runs of milliseconds by layer; a layer that is missing in a run took none of its time."""
    names = dict.fromkeys(name for run in runs for name in run)
    layers = [LayerTime(name, kinds.get(name, ""), median(run.get(name, 0.0) for run in runs)) for name in names]
    layers.sort(key=lambda one: (-one.ms, one.name))
    return LayerReport(tuple(layers), median(sum(run.values()) for run in runs), median(wholes_ms), len(runs), profiler)
