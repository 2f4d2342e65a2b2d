"""The stages, each run in a process of its own; what is found is written cell by cell, so that a crash costs one cell.

A cell is a JSON file NETWORK.PRECISION.json in the working folder, beside the ONNX file that it speaks of.
"""

from __future__ import annotations

import functools
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.nvidia.child import sentence
from roadedge.atomic import write_json

FLOATS = ("fp32", "fp16")
QUANTIZED = ("int8", "int8-fp16")
PRECISIONS = (*FLOATS, *QUANTIZED)
HALVES = ("fp16", "int8-fp16")  # what can be refused as it is and go with parts in float32
KEPT = "kept"  # folder of such files, and what is behind the name of their cells
REFUSED = re.compile(r"nothing was written|float16|--keep-float32")  # not a crash, not a missing file
SAMPLES = 2  # windows of the built-in city that ranges are measured on: that it builds and runs, not what INT8 costs
CAPABILITY = "8.6"  # that engines are built for


def cell_file(work: Path, network: str, column: str) -> Path:
    """Where what was found of a network in a column lies."""
    return work / f"{network}.{column}.json"


def onnx_file(work: Path, network: str, precision: str) -> Path:
    """The ONNX file of a network in the working folder."""
    return work / (f"{network}.onnx" if precision == "fp32" else f"{network}.{precision}.onnx")


def refused_halves(work: Path, network: str) -> list[str]:
    """The FP16 precisions of a network that parity refused, of which no file with parts in float32 was tried yet."""
    found = []
    for precision in HALVES:
        path = cell_file(work, network, precision)
        cell: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"built": True}
        wanting = not all(one.is_file() for one in kept_cells(work, network, precision))
        if not cell["built"] and REFUSED.search(cell["why"]) and wanting:
            found.append(precision)
    return found


def kept_cells(work: Path, network: str, precision: str) -> tuple[Path, Path]:
    """Cells of the file with parts in float32: as it was written, and what TensorRT for RTX says of it."""
    return cell_file(work, network, f"{precision}-{KEPT}"), cell_file(work, network, f"rtx-{precision}-{KEPT}")


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
    from roadedge.export.engine import load_library

    folder = Path(work)
    trt = load_library("tensorrt-rtx")
    for precision in PRECISIONS:
        path = onnx_file(folder, network, precision)
        if not path.is_file():
            _cell(folder, network, f"rtx-{precision}", _refusing("there is no such file"))
            continue
        _cell(folder, network, f"rtx-{precision}", functools.partial(_engine, trt, path, precision))


def keep_float32(network: str, work: str, side: int) -> None:
    """What parity refused in FP16, again with `--keep-float32 auto`; the other cells stay as they are."""
    from roadedge.export.engine import load_library

    folder, trt = Path(work), load_library("tensorrt-rtx")
    (folder / KEPT).mkdir(exist_ok=True)
    for precision in refused_halves(folder, network):
        make = functools.partial(_kept_float if precision == "fp16" else _kept_remainder, network, folder, side)
        path = onnx_file(folder / KEPT, network, precision)
        path.unlink(missing_ok=True)
        _cell(folder, network, f"{precision}-{KEPT}", make)
        if path.is_file():
            engine = functools.partial(_engine, trt, path, precision)
            _cell(folder, network, f"rtx-{precision}-{KEPT}", engine)
        else:
            _cell(folder, network, f"rtx-{precision}-{KEPT}", _refusing("there is no such file"))


def _kept_float(network: str, folder: Path, side: int) -> dict[str, Any]:
    from benchmarks.export_table.networks import checkpoint, window
    from roadedge.export import export_model

    source = checkpoint(network, folder)
    try:
        done = export_model(
            source, folder / KEPT, "fp16", (side, side), samples=window(), overwrite=True, keep_float32=("auto",)
        )
    finally:
        if source.parent == folder:
            source.unlink()
    counts = {"nodes": _nodes(done.onnx), "opset": done.opset, "bytes": done.size_bytes}
    kept = None if done.float32 is None else done.float32.to_dict()
    return {**counts, "parity": [table.to_dict() for table in done.parity], "float32": kept}


def _kept_remainder(network: str, folder: Path, side: int) -> dict[str, Any]:
    from roadedge.calibration.ptq import quantize_onnx
    from roadedge.calibration.samples import draw_list
    from roadedge.errors import DataError
    from roadedge.spec import read_sidecar

    source = onnx_file(folder, network, "fp32")
    stated = read_sidecar(source)
    if stated is None:
        raise DataError("there is no FP32 graph to quantize")
    samples = draw_list([], stated[0], SAMPLES)
    done = quantize_onnx(
        source, samples, "max", output_dir=folder / KEPT, overwrite=True, keep_float32=("auto",)
    )  # fmt: skip
    for path in (done.files["int8"], done.cache):  # the same as the ones that lie there already
        path.unlink()
        path.with_name(f"{path.name}.json").unlink(missing_ok=True)
    path = done.files["int8-fp16"]
    counts = {"nodes": _nodes(path), "opset": _opset(path), "bytes": done.size_bytes["int8-fp16"]}
    kept = None if done.float32 is None else done.float32.to_dict()
    return {**counts, "parity": [done.parity[1].to_dict()], "float32": kept}


def _engine(trt: Any, path: Path, precision: str) -> dict[str, Any]:
    """Parse and build, for one compute capability, with no GPU."""
    from roadedge.export.build_progress import Progress
    from roadedge.export.plan import PlanOptions, build_plan

    plan = build_plan(trt, path, PlanOptions("tensorrt-rtx", precision, (CAPABILITY,)), Progress(False))
    found = {"bytes": len(plan.engine), "build_seconds": round(plan.seconds, 2)}
    return {**found, "layers": plan.layers_by_precision, "version": str(trt.__version__)}


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
