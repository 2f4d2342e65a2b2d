"""Engines for the GPU at hand, by `roadedge.export`; and whether one that was built for other GPUs runs here too."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.nvidia.child import sentence
from roadedge.errors import EnvironmentFault, RoadEdgeError
from roadedge.export.engine import build_engine, load_library
from roadedge.export.engine_order import BuildOptions
from roadedge.export.targets import Target, read_target, target_here
from roadedge.runners.base import Requested, Runner
from roadedge.runners.device import Device
from roadedge.runners.device_memory import open_memory
from roadedge.runners.engine_file import check_runtime, read_engine
from roadedge.runners.engine_runner import TensorRtRunner
from roadedge.runners.tensorrt import runtime_module

CURRENT = "current"  # in the place of compute capabilities: the GPU at hand, which TensorRT for RTX asks for itself


class Library:
    """A TensorRT module as it is, but for one thing that a build here needs and `roadedge build` does not offer.

    The compute capability of the GPU at hand, also one that TensorRT for RTX has no name for, can be asked for as a
    number: it stands for `CURRENT`.
    """

    def __init__(self, module: Any, current: str | None = None) -> None:
        self._module, self._current = module, current

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    @property
    def ComputeCapability(self) -> Any:  # the module's own name
        """What the module knows, and the GPU at hand."""
        own = self._module.ComputeCapability
        if self._current is None:
            return own
        digits = self._current.replace(".", "")
        return SimpleNamespace(__members__={**own.__members__, f"SM{digits}": own.CURRENT})


def target_of(runtime: str, here: Device) -> Target:
    """The target that the GPU at hand is; one of its own where no file of `export/` names it, such as an H200."""
    if runtime == "tensorrt-rtx":
        return read_target("rtx")
    found = target_here(runtime)
    assert found is not None, "a runtime was named"
    if here.compute_capability is None or here.compute_capability in found.compute_capabilities:
        return found
    return Target("this-gpu", here.gpu or "this GPU", runtime, (here.compute_capability,))


def build(
    onnx: str, runtime: str, folder: str, tf32: bool = False, capabilities: str = CURRENT, cache: str | None = None
) -> dict[str, Any]:
    """Build one engine; nothing is compared yet.

    Args:
        onnx: the file.
        runtime: `tensorrt` or `tensorrt-rtx`.
        folder: where the engine goes; one for each engine.
        tf32: whether FP32 layers may be computed in TF32.
        capabilities: of TensorRT for RTX, `8.0,8.9`, or CURRENT.
        cache: file of TensorRT's timings, shared by builds that may share them.
    """
    here = Device.here()
    current = here.compute_capability if runtime == "tensorrt-rtx" and capabilities == CURRENT else None
    named: tuple[str, ...] = ()
    if runtime == "tensorrt-rtx":
        if capabilities == CURRENT and current is None:
            raise EnvironmentFault(f"CURRENT asks for a GPU, and {'; '.join(here.absent) or 'there is none'}")
        named = (current,) if current is not None else tuple(capabilities.split(","))
    library = Library(load_library(runtime), current)
    options = BuildOptions(named, check=False, timing_cache=None if cache is None else Path(cache), tf32=tf32)
    began = time.perf_counter()
    made = build_engine(Path(onnx), target_of(runtime, here), Path(folder), options, False, library)
    return {
        "engine": str(made.engine),
        "engine_bytes": made.size_bytes,
        "build_seconds": round(time.perf_counter() - began, 2),
        "layers_by_precision": made.facts.layers_by_precision,
        "precision_effective": made.facts.precision_effective,
        "compute_capabilities": list(made.facts.compute_capabilities),
        "skipped_tactics": made.facts.skipped_tactics,
        "runtime_version": made.facts.runtime_version,
        "tf32_allowed": made.facts.tf32,
        "warnings": list(made.warnings)[:5],
    }


def opened(engine: str, graph: bool) -> TensorRtRunner:
    """A runner of an engine of this very run.

    Whether it was built for this GPU is not asked, unlike `roadedge infer` does: to find out is what the trial is for.
    """
    file, here = read_engine(Path(engine)), Device.here()
    check_runtime(file.facts.runtime, here)
    if here.compute_capability is None:
        raise EnvironmentFault(f"nothing can be run: {'; '.join(here.absent) or 'there is no GPU here'}")
    module = runtime_module(file.facts.runtime)
    return TensorRtRunner(file, Requested(), here, module, lambda: open_memory(here.cuda), graph, frames=1)


def trial(onnx: str, folder: str, capabilities: str) -> dict[str, Any]:
    """Build with TensorRT for RTX for these capabilities, load and run it here; how far it came, and why not on."""
    row: dict[str, Any] = {"capabilities": capabilities, "built": False, "loads": False, "runs": False, "why": ""}
    try:
        made = build(onnx, "tensorrt-rtx", folder, capabilities=capabilities)
        row |= {"built": True, "build_seconds": made["build_seconds"], "engine_bytes": made["engine_bytes"]}
        with opened(made["engine"], graph=False) as runner:
            row["loads"] = True
            row |= _agreement(runner, onnx)
            row["runs"] = True
    except RoadEdgeError as error:
        row["why"] = sentence(error)
    return row


def _agreement(runner: Runner, onnx: str) -> dict[str, Any]:
    from roadedge.export.parity import compare, parity_samples
    from roadedge.runners import open_runner

    with open_runner(onnx, "onnxruntime", accept_rejected=True) as reference:
        table = compare(reference, runner, runner.spec, parity_samples(runner.spec, count=1))
    wanted = ("max_logit_difference", "max_logit", "agreement")
    return {name: value for name, value in table.to_dict().items() if name in wanted}
