"""An ONNX graph as the steps that `place` reads: who makes a value, who reads it, and what is weight, not value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from roadedge.errors import ModelFileError
from roadedge.models.placement import FlowStep

if TYPE_CHECKING:
    import onnx

KINDS = {"Conv": "conv", "ConvTranspose": "deconv"}
MOVES = (
    "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
PRODUCTS = ("MatMul", "Gemm", "Einsum")
BOUNDED = ("HardSigmoid", "LogSoftmax", "Sigmoid", "Softmax", "Tanh")
CONTROL = ("If", "Loop", "Scan")
OUTER = ("network.", "body.")  # what torch's exporter puts before the name of a module of ours


def flow_of(model: onnx.ModelProto) -> list[FlowStep]:
    """The steps of a graph in its order. A convolution has the name of its weight, any other step that of its output.

    Raises:
        ModelFileError: the graph holds control flow, or a convolution whose weight is computed.
    """
    return [step for step, _ in steps_and_nodes(model)]


def steps_and_nodes(model: onnx.ModelProto) -> list[tuple[FlowStep, onnx.NodeProto]]:
    """`flow_of`, each step with its node; a node of several outputs comes several times."""
    constant = constants_of(model)
    weights = {weights.name for weights in model.graph.initializer}
    makers = makers_of(model)
    seen: dict[str, int] = {}
    found = []
    for node in model.graph.node:
        if node.op_type in CONTROL:
            raise ModelFileError(f"node {node.name or node.output[0]} is {node.op_type}: graphs with control flow are "
                                 "not quantized; export the network without it")  # fmt: skip
        if all(name in constant for name in node.output):
            continue
        values = tuple(name for name in node.input if name and name not in constant)
        kind = _kind(node, values)
        for output in filter(None, node.output):
            name = output
            if kind in KINDS.values():
                name = canonical(weight_of_node(node, makers, weights))
                seen[name] = seen.get(name, 0) + 1
                name = name if seen[name] == 1 else f"{name}#{seen[name]}"
            found.append((FlowStep(name, kind, values[:1] if kind == "pass" else values, output), node))
    return found


def ends_of(model: onnx.ModelProto) -> tuple[set[str], set[str]]:
    """Names of what a graph is fed and of what it returns."""
    weights = {one.name for one in model.graph.initializer}
    return {port.name for port in model.graph.input} - weights, {port.name for port in model.graph.output}


def constants_of(model: onnx.ModelProto) -> set[str]:
    """Values that are the same for every input: weights, constants, and what is computed from them alone."""
    known = {one.name for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" or (node.input and all(name in known for name in node.input if name)):
            known.update(node.output)
    return known


def makers_of(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each value."""
    return {name: node for node in model.graph.node for name in node.output if name}


def weight_of_node(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto], weights: set[str]) -> str:
    """The stored tensor behind the weight of a convolution, be it read as it is or through a Q/DQ pair.

    Raises:
        ModelFileError: it is computed from other values.
    """
    name = str(node.input[1])
    while name not in weights and name in makers:
        maker = makers[name]
        if maker.op_type == "Constant":
            return name
        if maker.op_type not in ("QuantizeLinear", "DequantizeLinear", "Identity"):
            break
        name = str(maker.input[0])
    if name not in weights:
        raise ModelFileError(
            f"the weight of convolution {node.name or node.output[0]} is computed, not stored; simplify the graph first"
        )
    return name


def canonical(weight: str) -> str:
    """`network.body.eighth.0.first.0.weight` → `eighth.0.first.0`, the name of the module in torch."""
    name = weight
    for outer in OUTER:
        name = name.removeprefix(outer)
    return re.sub(r"_(int8(_\d+)?|quantized)$", "", name).removesuffix(".weight")


def _kind(node: onnx.NodeProto, values: tuple[str, ...]) -> str:
    if node.op_type in KINDS:
        return KINDS[node.op_type]
    if node.op_type in ("Add", "Sum") and len(values) == 2:
        return "add"
    if node.op_type == "Concat":
        return "concat"
    if node.op_type in PRODUCTS and len(values) > 1:
        return "product"
    if node.op_type in BOUNDED or (node.op_type == "Div" and node.input[1] in values):
        return "bounded"
    return "pass" if moves(node) and node.input[0] in values else "other"


def moves(node: onnx.NodeProto) -> bool:
    """Whether a node hands values on without changing them."""
    return node.op_type in MOVES or (node.op_type == "Resize" and _mode(node) == "nearest")


def _mode(node: onnx.NodeProto) -> str:
    return next((a.s.decode() for a in node.attribute if a.name == "mode"), "nearest")
