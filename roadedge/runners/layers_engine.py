"""Layers of an engine, as TensorRT reports them to its profiler."""

from __future__ import annotations

from roadedge.errors import EnvironmentFault
from roadedge.preprocess import Feeds
from roadedge.runners.engine_runner import TensorRtRunner
from roadedge.runners.layers import WARM_UP, LayerReport, report_of

PROFILER = "IProfiler of TensorRT"


def profiled(runner: TensorRtRunner, feeds: Feeds, repeats: int) -> LayerReport:
    """Run the engine through a second execution context with a profiler.

    Raises:
        EnvironmentFault: TensorRT reported no layer; an engine built without verbosity still reports numbers.
        UsageError: the runner launches a CUDA graph, which reports nothing.
    """
    runs: list[dict[str, float]] = []
    wholes = []
    with runner.layers_reported() as told:
        for number in range(WARM_UP + repeats):
            told.clear()
            runner.infer(feeds)
            if number >= WARM_UP:
                runs.append(dict(told))
                wholes.append(runner.last_ms.get("gpu", runner.last_ms["infer"]))
    if not any(runs):
        raise EnvironmentFault(f"{runner.name} {runner.version} reported no times of layers; leave --layers out")
    return report_of(runs, {}, wholes, PROFILER)
