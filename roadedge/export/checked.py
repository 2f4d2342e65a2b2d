"""The accuracy gate behind an export: the written file against the checkpoint's own FP32 graph, on labelled samples."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadedge.errors import DataError, UsageError
from roadedge.export.exporter import DynamicSize, ExportResult, export_model
from roadedge.spec import ModelSpec, read_sidecar, sha256_of

if TYPE_CHECKING:
    from roadedge.evaluation.gate import GateResult
    from roadedge.evaluation.settings import EvalSettings

WINDOWS = 8  # of the built-in city: enough to find a broken file, quick enough for every export
START = "start.pt"  # of a fine-tuning
LABELS = {"fp32": "FP32", "fp16": "FP16", "int8": "INT8", "int8-fp16": "INT8+FP16"}


def gate_export(
    result: ExportResult,
    checkpoint: Path,
    data: str | Path | None = None,
    min_ratio: float = 0.99,
    reference: Path | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> GateResult:
    """Judge what `export_model` wrote and mark its sidecar; the caller lets the exit code follow with `check()`.

    Args:
        result: of the export.
        checkpoint: that was exported.
        data: a labelled data set; without labels, or without data, windows of the built-in city.
        min_ratio: share of G_IoU that must be kept, see `run_gate`.
        reference: FP32 to compare with; default the graph that the float checkpoint gives.
        threads: of the back-ends.
        progress: draw a bar on stderr where that is a terminal.

    Raises:
        UsageError: a quantized checkpoint whose float one does not lie beside it.
        and what `run_gate` raises.
    """
    from roadedge.evaluation.gate import Candidate, run_gate

    label = LABELS[result.precision]
    with _reference(result, checkpoint, reference) as fp32:
        candidates = [Candidate("FP32", fp32)]
        if fp32 != result.onnx:
            candidates.append(Candidate(label, result.onnx))
        root, settings = labelled(data, result.spec)
        found = run_gate(candidates, [root], min_ratio, settings, threads, progress=progress)
    found.mark([label])
    return found


def check_gate(checkpoint: Path, data: str | Path | None) -> None:
    """Before an export: can its result be judged?

    Raises:
        UsageError: the float checkpoint of a quantized one is not there, or LiDAR is to be judged without samples.
        ModelFileError: its sidecar is broken.
    """
    float_checkpoint(checkpoint)
    found = read_sidecar(checkpoint, check_digest=False)
    if found is not None:
        _judged_on(data, found[0])


def float_checkpoint(checkpoint: Path) -> Path:
    """The float checkpoint that a quantized one came from: of its name without `.int8`, or what its run started from.

    Raises:
        UsageError: there is none.
    """
    if not checkpoint.stem.endswith(".int8"):
        return checkpoint
    path = checkpoint.with_name(f"{checkpoint.stem.removesuffix('.int8')}.pt")
    known = (path, checkpoint.with_name("qat") / START)  # beside it, or in the folder that `roadedge quantize` left
    for one in known:
        if one.is_file():
            return one
    raise UsageError(
        f"{checkpoint.name} is judged against its float checkpoint, and {path} is not there; put it there, or give "
        "--no-gate"
    )


def _judged_on(data: str | Path | None, spec: ModelSpec) -> str | Path:
    root = "city" if data is None or _unlabelled(Path(data)) else data
    if root == "city" and spec.second == "lidar":
        raise UsageError(
            f"{spec.name} takes LiDAR, which the built-in city has not, so it cannot be judged there; give labelled "
            "samples with --data, or --no-gate"
        )
    return root


def labelled(data: str | Path | None, spec: ModelSpec) -> tuple[str | Path, EvalSettings]:
    """Labelled samples to judge on: the validation split of `data`, else all of it, else a few windows of the city.

    A plain folder of images, which is enough for parity, says nothing about accuracy.
    """
    from roadedge.evaluation.settings import EvalSettings
    from roadedge.evaluation.sources import open_sources

    root = _judged_on(data, spec)
    settings = EvalSettings(split="val", windows=WINDOWS)
    try:
        open_sources([root], spec, settings)
    except DataError:  # a set that was never split
        return root, EvalSettings(split="all", windows=WINDOWS)
    return root, settings


def _unlabelled(root: Path) -> bool:
    return root.is_dir() and not (root / "mask").is_dir() and not (root / "split.csv").exists()


def exported_document(result: ExportResult, found: GateResult | None) -> dict[str, Any]:
    """What `roadedge export --json` prints; the digest is that of the file as it lies there, marked or not."""
    gate = None if found is None else found.to_dict()
    return {**result.to_dict(), "sha256": sha256_of(result.onnx), "gate": gate}


@contextlib.contextmanager
def _reference(result: ExportResult, checkpoint: Path, given: Path | None) -> Iterator[Path]:
    """FP32 as ONNX: the given one, the exported one itself, one that lies beside it, or one made for the occasion."""
    if given is not None or result.precision == "fp32":
        yield given or result.onnx
        return
    origin = float_checkpoint(checkpoint)
    beside = result.onnx.with_name(result.onnx.name.replace(f".{result.precision}.onnx", ".onnx"))
    if _is_of(beside, origin, result.spec):
        yield beside
        return
    from roadedge.export.parity import blanks

    dynamic = _bounds(result)
    size = result.spec.size or (512, 512)
    with tempfile.TemporaryDirectory() as folder:
        yield export_model(origin, folder, "fp32", size, result.spec.batch or 1, dynamic, samples=blanks(size)).onnx


def _bounds(result: ExportResult) -> DynamicSize | None:
    """Those of a graph of free size, as its sidecar states them."""
    stated = read_sidecar(result.onnx)
    bounds = stated[1].get("dynamic") if stated else None
    return None if bounds is None else DynamicSize(*(tuple(bounds[f.name]) for f in dataclasses.fields(DynamicSize)))


def _is_of(onnx: Path, checkpoint: Path, spec: ModelSpec) -> bool:
    """Whether `onnx` is the FP32 graph of this very checkpoint in the same size."""
    stated = read_sidecar(onnx) if onnx.is_file() else None
    if stated is None:
        return False
    own, provenance = stated
    origin = provenance.get("checkpoint", {}).get("sha256")
    return origin == sha256_of(checkpoint) and (own.size, own.batch) == (spec.size, spec.batch)
