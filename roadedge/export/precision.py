"""Precision is a property of the graph: the FP16 network, and the count of convolutions in each precision."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING

from torch import Tensor, nn

from roadedge.models.blocks import Normalise, RoadNet

if TYPE_CHECKING:
    import onnx

CONVOLUTIONS = ("Conv", "ConvTranspose")
QUANTIZED = ("int8", "int8-fp16")  # the second part is that of the remainder, where it is not fp32
PRECISIONS = ("fp32", "fp16", *QUANTIZED)


class HalfAfter(nn.Module):
    """Runs a module in float32 and hands its result on in float16."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """The module's result, cast."""
        out: Tensor = self.module(x)
        return out.half()


def halved(network: RoadNet) -> RoadNet:
    """A copy that computes in float16, but for the normalisation: (v - mean) / std loses digits there for nothing.

    Logits and sigmoid are float32 again, which `Border` sees to.
    """
    half = copy.deepcopy(network).half()
    for parent in list(half.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Normalise):
                parent.add_module(name, HalfAfter(child.float()))
    return half


def convolution_precisions(model: onnx.ModelProto) -> Counter[str]:
    """Convolutions of a graph by the type of their weights, an int8 one being fed by DequantizeLinear."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    types |= {weights.name: weights.data_type for weights in inferred.graph.initializer}
    makers = {name: node.op_type for node in inferred.graph.node for name in node.output}
    names = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.BFLOAT16: "bf16"}
    counts: Counter[str] = Counter()
    for node in inferred.graph.node:
        if node.op_type in CONVOLUTIONS:
            weight = node.input[1]
            quantized = makers.get(weight) == "DequantizeLinear"
            counts["int8" if quantized else names.get(types.get(weight, 0), "unknown")] += 1
    return counts
