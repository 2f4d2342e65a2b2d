"""INT8 graphs as OpenVINO computes them right: a rewriting ahead of compilation that changes no value.

Symmetric int8, which TensorRT asks for, reaches OpenVINO's CPU plugin as unsigned bytes around 128. Where such values
are concatenated it loses their scale: the result is wrong by tens of percent, without a word (seen with 2026.4.1, where
a concatenation of two ReLU maps differs by 0.55 at a scale of 0.05; exact with its low-precision passes off). What
follows a ReLU is never negative, and over [0, 127 s] clamping and an unsigned quantizer of the same step are the same
function; that form it concatenates exactly, and no zero point has to be compensated for. What may be negative is
concatenated in float: a maximum with the smallest value that there is changes nothing, and the passes end at it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOVES = (
    "Convert",
    "Slice",
    "StridedSlice",
    "MaxPool",
    "Reshape",
    "Transpose",
    "Gather",
    "VariadicSplit",
    "Split",
    "Squeeze",
)
LOWEST, HIGHEST, LEVELS = -128, 127, 256


def rewritten(model: Any) -> int:
    """Write symmetric quantizers of values that are never negative as unsigned ones, part the others; in place.

    Args:
        model: an `openvino.Model` as it was read.

    Returns:
        How many quantizers were rewritten, or parted from a concatenation.
    """
    from openvino import opset13 as ops

    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize" or not _makes_int8(node):
            continue
        value, ends = node.input_value(0), _dequantized(node)
        if not ends:
            continue
        high = float(_numbers(node, 2)[0])
        step = (high - float(_numbers(node, 1)[0])) / (LEVELS - 1)
        if not (_never_negative(value) and all(_gives_back(end, step) for end in ends)):
            count += _joined_in_float(node, ends)
            continue
        zero, top = (ops.constant(np.array([edge], np.float32)) for edge in (0.0, step * (LEVELS - 1)))
        single = value if _is_single(value) else ops.convert(value, "f32")
        unsigned = ops.fake_quantize(ops.clamp(single, 0.0, high), zero, top, zero, top, LEVELS)
        for end in ends:
            out = end.output(0)
            same = unsigned if _is_single(out) else ops.convert(unsigned, out.get_element_type().get_type_name())
            for reader in list(out.get_target_inputs()):
                reader.replace_source_output(same.output(0))
        count += 1
    if count:
        model.validate_nodes_and_infer_types()
    return count


def _makes_int8(node: Any) -> bool:
    """Whether this is QuantizeLinear to int8 with one scale; its zero point may be another than 0."""
    if any(node.input_value(i).get_node().get_type_name() != "Constant" for i in range(1, 5)):
        return False
    low, high, out_low, out_high = (_numbers(node, i) for i in range(1, 5))
    one = low.size == high.size == out_low.size == out_high.size == 1
    return bool(one and out_low[0] == LOWEST and out_high[0] == HIGHEST and low[0] < 0)


def _is_single(value: Any) -> bool:
    return bool(value.get_element_type().get_type_name() == "f32")


def _numbers(node: Any, place: int) -> Any:
    return np.asarray(node.input_value(place).get_node().data).reshape(-1)


def _dequantized(node: Any) -> list[Any]:
    """The multiplications by which what `node` quantized becomes float again; none where something else reads it."""
    found, waiting = [], [node]
    while waiting:
        for reader in waiting.pop().output(0).get_target_inputs():
            after = reader.get_node()
            kind = after.get_type_name()
            if kind in ("Convert", "Subtract"):
                waiting.append(after)
            elif kind == "Multiply":
                found.append(after)
            else:
                return []
    return found


def _gives_back(end: Any, step: float) -> bool:
    """Whether a multiplication takes the levels back by the step that made them: a foreign graph may take another."""
    before = end.input_value(0).get_node()
    while before.get_type_name() in ("Convert", "Subtract"):
        if before.get_type_name() == "Subtract" and not _is_constant(before.input_value(1), 0.0):
            return False
        before = before.input_value(0).get_node()
    return _is_constant(end.input_value(1), step)


def _is_constant(value: Any, wanted: float) -> bool:
    node = value.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    same = node.get_type_name() == "Constant" and np.allclose(node.data, wanted, rtol=1e-3, atol=0)
    return bool(same)


def _never_negative(value: Any) -> bool:
    node = value.get_node()
    kind = node.get_type_name()
    if kind in ("Relu", "Sigmoid"):
        return True
    if kind == "Clamp":
        return bool(node.get_attributes()["min"] >= 0)
    if kind == "Concat":
        return all(_never_negative(one.get_source_output()) for one in node.inputs())
    return kind in MOVES and _never_negative(node.input_value(0))


def _joined_in_float(node: Any, ends: list[Any]) -> bool:
    """Part a quantizer of values that may be negative from concatenations before and behind it, where there are any."""
    from openvino import opset13 as ops

    parted = False
    lowest = -np.finfo(np.float16).max
    before = node.input_value(0).get_node()
    while before.get_type_name() in MOVES:
        before = before.input_value(0).get_node()
    if before.get_type_name() == "Concat":
        value = node.input_value(0)
        floor = ops.constant(np.array([lowest], np.float32))
        node.input(0).replace_source_output(ops.maximum(value, _like(floor, value)).output(0))
        parted = True
    for end in ends:
        joining = [reader for reader in end.output(0).get_target_inputs() if _leads_to_concat(reader.get_node())]
        if joining:
            floor = ops.constant(np.array([lowest], np.float32))
            same = ops.maximum(end.output(0), _like(floor, end.output(0)))
            for reader in joining:
                reader.replace_source_output(same.output(0))
            parted = True
    return parted


def _like(constant: Any, value: Any) -> Any:
    from openvino import opset13 as ops

    return constant if _is_single(value) else ops.convert(constant, value.get_element_type().get_type_name())


def _leads_to_concat(node: Any) -> bool:
    return node.get_type_name() == "Concat" or (node.get_type_name() in MOVES and _reaches_concat(node))


def _reaches_concat(node: Any) -> bool:
    return any(_leads_to_concat(reader.get_node()) for reader in node.output(0).get_target_inputs())
