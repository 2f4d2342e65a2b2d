"""The stages, each run in a process of its own; what is found is written cell by cell, so that a crash costs one cell.

A cell is a JSON file NETWORK.PRECISION.json in the working folder, beside the ONNX file that it speaks of.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.nvidia.child import sentence
from roadedge.atomic import write_json

FLOATS = ("fp32", "fp16")
QUANTIZED = ("int8", "int8-fp16")
PRECISIONS = (*FLOATS, *QUANTIZED)
SAMPLES = 2  # windows of the built-in city that ranges are measured on: that it builds and runs, not what INT8 costs
CAPABILITY = "8.6"  # that engines are built for


def cell_file(work: Path, network: str, column: str) -> Path:
    """Where what was found of a network in a column lies."""
    return work / f"{network}.{column}.json"


def onnx_file(work: Path, network: str, precision: str) -> Path:
    """The ONNX file of a network in the working folder."""
    return work / (f"{network}.onnx" if precision == "fp32" else f"{network}.{precision}.onnx")


def export_floats(network: str, work: str, side: int) -> None:
    """FP32 and FP16 as `roadedge export` writes them, with its parity on one window of the built-in city."""
    from benchmarks.export_table.networks import checkpoint, window
    from roadedge.export import export_model

    folder = Path(work)
    source = checkpoint(network, folder)
    for precision in PRECISIONS:
        onnx_file(folder, network, precision).unlink(missing_ok=True)  # of an earlier run: it may not go now
    samples = window()
    trained = f"study-{source.parent.name}" if source.stem == "last" else source.stem
    weights = "fresh" if source.parent == folder else trained
    for precision in FLOATS:

        def export(precision: str = precision) -> dict[str, Any]:
            done = export_model(source, folder, precision, (side, side), samples=samples, overwrite=True)
            found = {"nodes": _nodes(done.onnx), "opset": done.opset, "bytes": done.size_bytes, "weights": weights}
            return {**found, "parity": [table.to_dict() for table in done.parity]}

        _cell(folder, network, precision, export)
    if source.parent == folder:
        source.unlink()  # hundreds of megabytes, and made again in no time


def quantize(network: str, work: str, side: int) -> None:
    """INT8 by post-training quantization, with both remainders; where the FP16 one does not go, without it."""
    from roadedge.calibration.ptq import PtqResult, quantize_onnx
    from roadedge.calibration.samples import draw_list
    from roadedge.errors import ExportError
    from roadedge.spec import read_sidecar

    folder = Path(work)
    source = onnx_file(folder, network, "fp32")
    stated = read_sidecar(source)
    if stated is None:
        for precision in QUANTIZED:
            _cell(folder, network, precision, _refusing("there is no FP32 graph to quantize"))
        return
    samples = draw_list([], stated[0], SAMPLES)
    refused = ""

    def run(half: bool) -> PtqResult:
        return quantize_onnx(source, samples, "max", output_dir=folder, half=half, overwrite=True)

    began = time.perf_counter()
    try:
        done = run(half=True)
    except ExportError as error:
        refused = sentence(error)
        began = time.perf_counter()
        try:
            done = run(half=False)
        except Exception as failed:  # whatever it is, it is the reason in the table
            for precision in QUANTIZED:
                _cell(folder, network, precision, _refusing(sentence(failed)))
            return
    seconds = time.perf_counter() - began
    for precision, table in zip(QUANTIZED, done.parity, strict=False):
        path = done.files[precision]
        counts = {"nodes": _nodes(path), "opset": _opset(path), "bytes": done.size_bytes[precision]}
        found = {**counts, "parity": [table.to_dict()], "convolutions": done.convolutions}
        _cell(folder, network, precision, lambda found=found: found, seconds)  # type: ignore[misc]
    if refused:
        onnx_file(folder, network, "int8-fp16").unlink(missing_ok=True)  # of an earlier run
        _cell(folder, network, "int8-fp16", _refusing(refused))


def engines(network: str, work: str, side: int) -> None:
    """Which of the files TensorRT for RTX takes: parsed and built for one compute capability, with no GPU."""
    from roadedge.export.build_progress import Progress
    from roadedge.export.engine import load_library
    from roadedge.export.plan import PlanOptions, build_plan

    folder = Path(work)
    trt = load_library("tensorrt-rtx")
    for precision in PRECISIONS:
        path = onnx_file(folder, network, precision)
        if not path.is_file():
            _cell(folder, network, f"rtx-{precision}", _refusing("there is no such file"))
            continue

        def build(path: Path = path, precision: str = precision) -> dict[str, Any]:
            plan = build_plan(trt, path, PlanOptions("tensorrt-rtx", precision, (CAPABILITY,)), Progress(False))
            found = {"bytes": len(plan.engine), "build_seconds": round(plan.seconds, 2)}
            return {**found, "layers": plan.layers_by_precision, "version": str(trt.__version__)}

        _cell(folder, network, f"rtx-{precision}", build)


def _cell(
    work: Path, network: str, column: str, make: Callable[[], dict[str, Any]], seconds: float | None = None
) -> None:
    """Do one thing and write what came of it, whatever came of it."""
    began = time.perf_counter()
    try:
        found: dict[str, Any] = {"built": True, "why": "", **make()}
    except Exception as error:  # whatever it is, it is the reason in the table
        found = {"built": False, "why": sentence(error)}
    taken = time.perf_counter() - began if seconds is None else seconds
    load = round(os.getloadavg()[0], 1)
    write_json(cell_file(work, network, column), {**found, "seconds": round(taken, 1), "load_average": load})


def _refusing(why: str) -> Callable[[], dict[str, Any]]:
    def refuse() -> dict[str, Any]:
        return {"built": False, "why": why}

    return refuse


def _nodes(path: Path) -> int:
    import onnx

    return len(onnx.load(path, load_external_data=False).graph.node)


def _opset(path: Path) -> int:
    import onnx

    return int(onnx.load(path, load_external_data=False).opset_import[0].version)
