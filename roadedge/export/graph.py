"""Network → ONNX graph: uint8 NHWC in, uint8 probability and float32 logits out, normalisation inside.

Both outputs are written. The logits cost nothing that could be measured in ONNX Runtime and OpenVINO (they are computed
anyway), and so what is checked is the very file that is deployed; a TensorRT build may leave that output out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from roadedge.atomic import write_bytes
from roadedge.errors import ExportError, MissingExtraError, OutputError
from roadedge.models.blocks import RoadNet
from roadedge.models.border import OUTPUTS, Border

if TYPE_CHECKING:
    import onnx

# Of onnxsim's passes: which scales are folded into a weight is the network's decision. Folding a private scale into a
# shared weight stores that weight twice (CMIPNet: 209 MB, not 125).
NOT_OURS_TO_FOLD = ["fuse_mul_into_conv", "fuse_preceding_mul_into_conv"]
TRACE_SIZE = 128  # of the frame that a graph of any size is traced with


def write_graph(
    network: RoadNet,
    path: Path,
    size: tuple[int, int] | None,
    batch: int | None,
    opset: int = 17,
    simplify: bool = True,
) -> onnx.ModelProto:
    """Trace a deployed network, simplify, check and write it; the metadata is left empty.

    Args:
        network: from `RoadNet.deployed()`.
        path: of the file to write.
        size: (H, W) of a static graph; None leaves both free.
        batch: count of windows of a static graph; None leaves it free.
        opset: of the default ONNX domain.
        simplify: fold constants and identities with onnxsim.

    Raises:
        MissingExtraError: onnx or onnxsim is not installed.
        ExportError: the graph cannot be written in this opset or without a size, or is not valid.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "export", "writing ONNX") from error
    if size is None and any(getattr(module, "fixed_size", False) for module in network.modules()):
        raise ExportError(f"{network.spec.name} cannot be written as a graph of any size; export one for each size")
    names = list(network.spec.inputs)
    height, width = size or (TRACE_SIZE, TRACE_SIZE)
    planes = tuple(torch.zeros(batch or 1, height, width, 3 if n == "image" else 1, dtype=torch.uint8) for n in names)
    try:
        with warnings.catch_warnings():
            # torch announces the end of its older exporter, whose graphs TensorRT's older parsers know
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(
                Border(network).eval(),
                planes,
                str(path),
                opset_version=opset,
                dynamo=False,
                input_names=names,
                output_names=list(OUTPUTS),
                dynamic_axes=_free_axes(names, size, batch),
            )
        model = onnx.load(path)
        if simplify:
            model = _simplified(model)
        del model.metadata_props[:]
        onnx.checker.check_model(model, full_check=True)
    except MissingExtraError:  # a RuntimeError too
        raise
    except (RuntimeError, ValueError, onnx.checker.ValidationError, torch.onnx.OnnxExporterError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"{network.spec.name} cannot be written as ONNX of opset {opset}: {reason}") from error
    except OSError as error:
        raise OutputError.from_os(path, error) from error
    write_bytes(path, model.SerializeToString())
    return model


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        import onnxsim
    except ImportError as error:
        raise MissingExtraError("onnxsim", "export", "simplifying the graph (or give --no-simplify)") from error
    simple, same = onnxsim.simplify(model, skipped_optimizers=NOT_OURS_TO_FOLD)
    if not same:
        raise ExportError("onnxsim changed what the graph computes; export with --no-simplify")
    out: onnx.ModelProto = simple
    return out


def _free_axes(names: Sequence[str], size: tuple[int, int] | None, batch: int | None) -> dict[str, dict[int, str]]:
    axes: dict[str, dict[int, str]] = {name: {} for name in (*names, *OUTPUTS)}
    if batch is None:
        for sides in axes.values():
            sides[0] = "batch"
    if size is None:
        for name in names:
            axes[name] |= {1: "height", 2: "width"}
        axes["probability"] |= {1: "height", 2: "width"}
        axes["logits"] |= {2: "height", 3: "width"}
    return axes
