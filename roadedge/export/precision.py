"""Precision is a property of the graph: which there are, and the FP16 network."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from roadedge.calibration.flow import constants_of
from roadedge.calibration.surgery import with_stored_constants
from roadedge.export.graph import write_graph
from roadedge.export.mixed import FloatGraph
from roadedge.export.parts import NETWORK, parts_of
from roadedge.models.blocks import Normalise, Precise, RoadNet

QUANTIZED = ("int8", "int8-fp16")  # the second part is that of the remainder, where it is not fp32
PRECISIONS = ("fp32", "fp16", *QUANTIZED)
MARK = "stays_float32"  # in the scope of the nodes of a module


class HalfAfter(nn.Module):
    """Runs a module in float32 and hands its result on in float16."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """The module's result, cast; a map in float16 is widened before."""
        out: Tensor = self.module(x.float() if x.dtype == torch.float16 else x)
        return out.half()


def halved(network: RoadNet) -> RoadNet:
    """A copy that computes in float16, but for what is `Precise` and the normalisation, which loses digits for nothing.

    Logits and sigmoid are float32 again, which `Border` sees to.
    """
    half = copy.deepcopy(network).half()
    for path, parent in list(half.named_modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Normalise | Precise):
                original = network.get_submodule(path).get_submodule(name)  # `child` is rounded already
                parent.add_module(name, HalfAfter(copy.deepcopy(original)))
    return half


class _Marked(nn.Module):
    """Writes its mark into the scope of a module's nodes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.add_module(MARK, module)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.get_submodule(MARK)(x)
        return out


def float_graph(
    deployed: RoadNet, size: tuple[int, int] | None, batch: int | None, opset: int, simplify: bool
) -> FloatGraph:
    """Trace a deployed network in float32, and tell what `halved` would keep so from the parts that it would not.

    Raises:
        as `write_graph`.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = write_graph(_marked(deployed), Path(folder) / "float32.onnx", size, batch, opset, simplify)
    model = with_stored_constants(model)
    constant, fixed = constants_of(model), _of_sizes(model)
    for node in model.graph.node:
        steps = node.name.split("/")
        if MARK in steps or (
            node.name.startswith("/") and steps[1] != NETWORK
        ):  # the border is float32 whatever lies between
            fixed.add(node.output[0])
        node.name = "/".join(step for step in steps if step != MARK)
    inner = frozenset(fixed - constant)
    return FloatGraph(model, inner, parts_of(model, inner))


def _marked(network: RoadNet) -> RoadNet:
    marked = copy.deepcopy(network)
    for parent in list(marked.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Normalise | Precise):
                parent.add_module(name, _Marked(child))
    return marked


def _of_sizes(model: Any) -> set[str]:
    """First outputs of nodes that compute with sizes: beyond 2048 float16 does not hold each whole number."""
    known: set[str] = set()
    constant = constants_of(model)
    found = set()
    for node in model.graph.node:
        read = [name for name in node.input if name and name not in constant]
        if node.op_type in ("Shape", "Size") or (read and all(name in known for name in read)):
            known.update(node.output)
            found.add(node.output[0])
    return found
