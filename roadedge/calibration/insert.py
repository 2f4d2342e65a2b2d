"""Q/DQ pairs into a float graph, the scales out of one again, and weights between their two written forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.calibration.flow import KINDS, makers_of, moves, steps_and_nodes, weight_of_node
from roadedge.calibration.surgery import (
    forget_unread,
    quantized,
    replace_nodes,
    spread,
    store,
    stored_weights,
    with_stored_constants,
)
from roadedge.errors import ModelFileError, SpecMismatchError
from roadedge.models.placement import Placement, scale_of

if TYPE_CHECKING:
    import onnx

QUANTIZED_OPERATORS = (
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
    "MatMulInteger",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scales:
    """Scales of values by their names in the graph, and of weights, (C_out,) or (1,), by those of the convolutions."""

    activations: dict[str, float]
    weights: dict[str, NDArray[np.float32]]


def check_float(model: onnx.ModelProto) -> None:
    """Raise ModelFileError where a graph is quantized already, or its convolutions are not float32."""
    import onnx

    found = sorted({node.op_type for node in model.graph.node} & set(QUANTIZED_OPERATORS))
    if found:
        raise ModelFileError(f"the graph is quantized already: it holds {', '.join(found)}; give the float32 file")
    types = {one.name: one.data_type for one in model.graph.initializer}
    read = {node.input[1] for node in model.graph.node if node.op_type in KINDS}
    if any(types.get(name, onnx.TensorProto.FLOAT) != onnx.TensorProto.FLOAT for name in read):
        raise ModelFileError("the weights of the graph are not float32; give the float32 file, not the FP16 one")


def weight_scales(model: onnx.ModelProto, placement: Placement) -> dict[str, NDArray[np.float32]]:
    """Scales of the weights by their largest magnitudes: per output channel, of a transposed convolution as a whole."""
    found = {}
    weights, makers = stored_weights(model), makers_of(model)
    for step, node in steps_and_nodes(model):
        if step.name in placement.convolutions:
            magnitude = np.abs(weights[weight_of_node(node, makers, set(weights))])
            rows = magnitude.reshape(len(magnitude) if step.kind == "conv" else 1, -1)
            found[step.name] = scale_of(rows.max(1))
    return found


def insert_qdq(model: onnx.ModelProto, placement: Placement, scales: Scales) -> onnx.ModelProto:
    """A copy of a float graph with a Q/DQ pair behind each point, and int8 weights behind a DequantizeLinear.

    Biases stay float. Of a value that some readers take as it is, the others read the pair.

    Raises:
        ModelFileError: the graph is quantized already.
        SpecMismatchError: a scale is missing.
    """
    check_float(model)
    missing = [p.value for p in placement.points if p.value not in scales.activations]
    missing += [name for name in placement.convolutions if name not in scales.weights]
    if missing:
        raise SpecMismatchError(f"no scale was given for {missing[:3]}; calibrate this very graph")
    out = with_stored_constants(model)
    graph = out.graph
    nodes = {step.name: (step, node) for step, node in steps_and_nodes(out)}
    before: dict[str, list[Any]] = {}  # nodes to write ahead of the node that makes this value
    behind: dict[str, list[Any]] = {}
    weights, makers = stored_weights(out), makers_of(out)
    for name in placement.convolutions:
        step, node = nodes[name]
        stored = weight_of_node(node, makers, set(weights))
        before[step.output] = [_int8_weight(graph, node, stored, weights[stored], scales.weights[name], name)]
    for point in placement.points:
        pair = _pair(graph, point.value, scales.activations[point.value])
        behind[point.value] = pair
        for reader in point.readers:
            node = nodes[reader][1]
            node.input[:] = [pair[1].output[0] if value == point.value else value for value in node.input]
    _lay_out(graph, before, behind)
    forget_unread(graph)
    return out


def scales_by_reader(model: onnx.ModelProto) -> tuple[dict[str, float], dict[str, NDArray[np.float32]]]:
    """The scales of any Q/DQ graph, of whichever origin and precision, under the names of the convolutions.

    Returns:
        ({reader: scale}, {convolution: scales of its weight}). A convolution stands for its input; a quantized operand
        of an add is `CONVOLUTION:shortcut`, after the convolution that runs into the other operand.
    """
    makers, stored = makers_of(model), stored_weights(model)
    steps = steps_and_nodes(model)
    by_output = {step.output: step for step, _ in steps}
    values: dict[str, float] = {}
    weights: dict[str, NDArray[np.float32]] = {}
    for step, node in steps:
        if step.kind in KINDS.values():
            if (scale := _scale_behind(node.input[0], makers, stored)) is not None:
                values[step.name] = float(scale.reshape(-1)[0])
            if (scale := _scale_behind(node.input[1], makers, stored)) is not None:
                weights[step.name] = scale.reshape(-1).astype(np.float32)
        elif step.kind == "add":
            for value, other in (node.input[:2], node.input[1::-1]):
                if (scale := _scale_behind(value, makers, stored)) is not None:
                    fused = by_output.get(_before_casts(other, makers))
                    named = fused.name if fused is not None and fused.kind in KINDS.values() else step.name
                    values[f"{named}:shortcut"] = float(scale.reshape(-1)[0])
    return values, weights


def int8_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights that are float and quantized in the graph (W → Q → DQ) stored as int8 (W → DQ), equal to the bit."""
    out = with_stored_constants(model)
    stored, makers = stored_weights(out), makers_of(out)
    written: dict[tuple[str, bytes], str] = {}  # two readings of one weight by one scale are one tensor
    for node in out.graph.node:
        quantize = makers.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if quantize is None or quantize.op_type != "QuantizeLinear" or quantize.input[0] not in stored:
            continue
        source, scale = quantize.input[0], stored[quantize.input[1]]
        key = (source, scale.tobytes())
        if key not in written:
            taken = sum(one == source for one, _ in written)
            written[key] = f"{source}_int8" + (f"_{taken + 1}" if taken else "")
            store(out.graph, written[key], quantized(stored[source], scale, _axis(quantize)))
        node.input[0] = written[key]
    forget_unread(out.graph)
    return out


def float_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The reverse of `int8_weights`, for TensorRT 8.6, which reads W → Q → DQ; the int8 values stay the same."""
    import onnx

    out = with_stored_constants(model)
    stored = stored_weights(out)
    nodes = []
    for node in out.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            name, scale, axis = node.input[0], stored[node.input[1]], _axis(node)
            shape = spread(scale, stored[name].ndim, axis)
            plain = name.removesuffix("_int8") if name.endswith("_int8") else f"{name}_float"
            store(out.graph, plain, (stored[name].astype(np.float32) * shape).astype(scale.dtype))
            quantize = onnx.helper.make_node(
                "QuantizeLinear",
                [plain, *node.input[1:]],
                [f"{node.output[0]}_quantized"],
                f"{node.output[0]}/quantize",
            )
            quantize.attribute.extend(node.attribute)
            nodes.append(quantize)
            node.input[0] = quantize.output[0]
        nodes.append(node)
    replace_nodes(out.graph, nodes)
    forget_unread(out.graph)
    return out


def _int8_weight(
    graph: onnx.GraphProto, node: onnx.NodeProto, name: str, weight: NDArray[Any], scale: NDArray[np.float32], step: str
) -> onnx.NodeProto:
    """Store a weight as int8 and let `node` read it through the DequantizeLinear that is returned."""
    from onnx import helper

    per_channel = len(scale) > 1 or (node.op_type == "Conv" and weight.shape[0] == 1)
    suffix = step.partition("#")[2]
    if not suffix:  # a second reading of the same weight shares the tensors of the first
        store(graph, f"{name}_int8", quantized(weight, scale if per_channel else scale.reshape(())))
        zero = np.zeros(len(scale) if per_channel else (), np.int8)
        store(graph, f"{name}_scale", scale if per_channel else scale.reshape(()))
        store(graph, f"{name}_zero", zero)
    output = f"{name}_dequantized{suffix}"
    node.input[1] = output
    reads = [f"{name}_int8", f"{name}_scale", f"{name}_zero"]
    made = helper.make_node("DequantizeLinear", reads, [output], f"{output}/node")
    if per_channel:
        made.attribute.append(helper.make_attribute("axis", 0))
    return made


def _pair(graph: onnx.GraphProto, value: str, scale: float) -> list[onnx.NodeProto]:
    from onnx import helper

    store(graph, f"{value}_scale", np.asarray(scale, np.float32))
    store(graph, f"{value}_zero", np.asarray(0, np.int8))
    rest = [f"{value}_scale", f"{value}_zero"]
    return [
        helper.make_node("QuantizeLinear", [value, *rest], [f"{value}_quantized"], f"{value}/quantize"),
        helper.make_node(
            "DequantizeLinear", [f"{value}_quantized", *rest], [f"{value}_dequantized"], f"{value}/dequantize"
        ),
    ]


def _lay_out(graph: onnx.GraphProto, before: dict[str, list[Any]], behind: dict[str, list[Any]]) -> None:
    """Put the new nodes where the order of computation wants them."""
    made = {name for node in graph.node for name in node.output}
    nodes = [node for value, pair in behind.items() if value not in made for node in pair]  # of the graph's own inputs
    for node in graph.node:
        for name in node.output:
            nodes += before.get(name, [])
        nodes.append(node)
        for name in node.output:
            nodes += behind.get(name, [])
    replace_nodes(graph, nodes)


def _scale_behind(value: str, makers: dict[str, Any], stored: dict[str, NDArray[Any]]) -> NDArray[Any] | None:
    maker = makers.get(value)
    while maker is not None and (maker.op_type in ("Cast", "Concat") or moves(maker)):  # what is moved keeps its scale
        maker = makers.get(maker.input[0])
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    if maker.input[1] not in stored:
        raise ModelFileError(f"the scale of {value} is computed in the graph; export it with constant scales")
    return stored[maker.input[1]]


def _before_casts(value: str, makers: dict[str, Any]) -> str:
    while value in makers and makers[value].op_type == "Cast":
        value = makers[value].input[0]
    return value


def _axis(node: onnx.NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "axis"), 1)
