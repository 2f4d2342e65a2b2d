"""What an ONNX graph holds: ports, operators, convolutions by precision. Needs no torch, which a device lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

CONVOLUTIONS = ("Conv", "ConvTranspose")


def ports_of(model: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """Names, shapes and types of a graph's inputs and outputs as JSON values; null stands for a free side."""
    return {"inputs": _ports(model.graph.input), "outputs": _ports(model.graph.output)}


def operators(model: onnx.ModelProto) -> dict[str, int]:
    """Count of nodes by operator, most frequent first."""
    return dict(Counter(node.op_type for node in model.graph.node).most_common())


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


def _ports(values: Sequence[onnx.ValueInfoProto]) -> list[dict[str, Any]]:
    import onnx

    found = []
    for value in values:
        tensor = value.type.tensor_type
        shape = [side.dim_value if side.HasField("dim_value") else None for side in tensor.shape.dim]
        kind = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        found.append({"name": value.name, "shape": shape, "dtype": kind})
    return found
