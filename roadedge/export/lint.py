"""What would fail, or run slowly, on a device, found in the ONNX file alone: no TensorRT and no GPU is needed.

A finding with no `lines` holds for every TensorRT; one with lines for these parsers only (see parsers.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from roadedge.errors import ModelFileError, UnknownNameError
from roadedge.export.parsers import ATTRIBUTES, PARSERS

if TYPE_CHECKING:
    import onnx

CONVOLUTIONS = ("Conv", "ConvTranspose")
SHOWN = 8  # findings in the sentence of an error


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a node; advice where it does not `block` a build."""

    rule: str  # opset, operator, attribute, zero point, scale, type, border, residual, remainder
    node: str
    text: str
    lines: tuple[str, ...] = ()  # of PARSERS
    blocks: bool = True

    def sentence(self) -> str:
        """The finding as a line of print."""
        where = f"{self.node}: " if self.node else ""
        lines = f" (TensorRT {', '.join(self.lines)})" if self.lines else ""
        return f"{'refused' if self.blocks else 'advice'}: {where}{self.text}{lines}"


class _Graph:
    """A model with what the rules ask of it: makers and readers of values, constants, types."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.constants = {one.name: one for one in model.graph.initializer}
        self.constants |= {
            node.output[0]: attribute.t
            for node in self.nodes
            if node.op_type == "Constant"
            for attribute in node.attribute
            if attribute.name == "value"
        }
        self.inputs = {one.name for one in model.graph.input} - {one.name for one in model.graph.initializer}
        self.outputs = {one.name for one in model.graph.output}

    @cached_property
    def types(self) -> dict[str, int]:
        import onnx

        graph = onnx.shape_inference.infer_shapes(self.model).graph
        known = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
        return known | {name: tensor.data_type for name, tensor in self.constants.items()}

    def maker(self, value: str) -> str:
        """Operator that makes `value`; empty for an input or a constant."""
        node = self.makers.get(value)
        return "" if node is None else node.op_type

    def before_pair(self, value: str) -> str | None:
        """What a Q/DQ pair that makes `value` quantises; None where there is no such pair."""
        if self.maker(value) != "DequantizeLinear":
            return None
        inner = self.makers[value].input[0]
        return str(self.makers[inner].input[0]) if self.maker(inner) == "QuantizeLinear" else None


def lint_graph(model: onnx.ModelProto) -> tuple[Finding, ...]:
    """All findings of a graph, in the order of the rules; the graph is not changed.

    Raises:
        ModelFileError: the graph cannot be read as ONNX.
    """
    graph = _Graph(model)
    rules = (_opset, _operators, _attributes, _quantizers, _residuals, _border, _remainder)
    try:
        return tuple(finding for rule in rules for finding in rule(graph))
    except (ValueError, IndexError, KeyError) as error:
        raise ModelFileError(f"this ONNX graph cannot be read ({error!r}); export the model again") from error


def blocking(findings: Iterable[Finding], line: str | None) -> list[Finding]:
    """Those that stop a build by the parser `line`, or by any parser at all where `line` is None.

    Raises:
        UnknownNameError: there is no list of this parser.
    """
    if line is not None and line not in PARSERS:
        raise UnknownNameError("parser", line, PARSERS)
    return [one for one in findings if one.blocks and (not one.lines or line in one.lines)]


def check_findings(findings: Sequence[Finding], file: str, lines: Collection[str] = ()) -> None:
    """Raise ModelFileError where the graph cannot be built, by none of the parsers `lines` where these are given."""
    stopped = [blocking(findings, line) for line in lines] or [blocking(findings, None)]
    least = min(stopped, key=len)
    if least:
        told = "; ".join(one.sentence() for one in least[:SHOWN])
        more = f"; and {len(least) - SHOWN} more" if len(least) > SHOWN else ""
        raise ModelFileError(f"{file} cannot be built: {told}{more}")


def _label(node: onnx.NodeProto) -> str:
    return f"{node.name or next(iter(node.output), '?')} ({node.op_type})"


def _opset(graph: _Graph) -> Iterator[Finding]:
    for entry in graph.model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            lines = tuple(line for line, parser in PARSERS.items() if entry.version not in parser.opsets)
            if lines:
                reach = ", ".join(
                    f"{line} reads {PARSERS[line].opsets[0]} to {PARSERS[line].opsets[-1]}" for line in lines
                )
                yield Finding("opset", "", f"the file is of opset {entry.version}; {reach}", lines)


def _operators(graph: _Graph) -> Iterator[Finding]:
    for node in graph.nodes:
        if node.domain not in ("", "ai.onnx"):
            text = f"operator of the domain {node.domain!r}, which needs a plug-in; export without custom operators"
            yield Finding("operator", _label(node), text, tuple(PARSERS))
            continue
        lines = tuple(line for line, parser in PARSERS.items() if node.op_type not in parser.operators)
        if lines:
            text = "operator that the parser does not read; write it with others that it does"
            yield Finding("operator", _label(node), text, lines)


def _attributes(graph: _Graph) -> Iterator[Finding]:
    for node in graph.nodes:
        for attribute in node.attribute:
            allowed = ATTRIBUTES.get((node.op_type, attribute.name))
            value = attribute.s.decode(errors="replace")
            if allowed is not None and value not in allowed:
                text = f"{attribute.name} is {value!r}, the parser takes {', '.join(sorted(allowed))}"
                yield Finding("attribute", _label(node), text, tuple(PARSERS))
        if node.op_type == "MaxPool" and len(node.output) > 1:
            yield Finding("attribute", _label(node), "its second output, the indices, is not supported", tuple(PARSERS))


def _quantizers(graph: _Graph) -> Iterator[Finding]:
    import onnx

    for node in graph.nodes:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale = graph.constants.get(node.input[1])
        if scale is None:
            text = "its scale is computed in the graph; TensorRT needs a constant, so export it from a buffer"
            yield Finding("scale", _label(node), text)
        elif not (onnx.numpy_helper.to_array(scale) > 0).all():
            yield Finding("scale", _label(node), "its scale must be positive; calibrate again")
        yield from _zero_point(graph, node)


def _zero_point(graph: _Graph, node: onnx.NodeProto) -> Iterator[Finding]:
    import onnx

    if len(node.input) < 3 or not node.input[2]:
        if node.op_type == "QuantizeLinear":  # ONNX's default is uint8
            yield Finding("type", _label(node), "without a zero point it makes uint8; give an int8 zero point of 0")
        return
    zero = graph.constants.get(node.input[2])
    if zero is None or np.asarray(onnx.numpy_helper.to_array(zero)).any():
        text = "its zero point is not 0; TensorRT quantises symmetrically, so calibrate with --method of this package"
        yield Finding("zero point", _label(node), text)
    if zero is not None and zero.data_type != onnx.TensorProto.INT8:
        kind = onnx.TensorProto.DataType.Name(zero.data_type).lower()
        yield Finding("type", _label(node), f"it quantises to {kind}, TensorRT to int8 only")


def _residuals(graph: _Graph) -> Iterator[Finding]:
    """DQ → Conv → Q → DQ → Add, with no convolution left that runs into the add unquantised: nothing can be fused."""
    for node in graph.nodes:
        if node.op_type != "Add" or any(name in graph.constants for name in node.input):
            continue
        parted = []
        for operand in node.input:
            behind = graph.before_pair(operand)
            if behind is not None and graph.maker(behind) in CONVOLUTIONS:
                parted.append(_label(graph.makers[behind]))
        if parted and not any(graph.maker(operand) in CONVOLUTIONS for operand in node.input):
            text = (
                f"the output of {' and of '.join(parted)} is quantised before this add, so that convolution, add and "
                "ReLU cannot become one INT8 kernel; quantise the shortcut only"
            )
            yield Finding("residual", _label(node), text)


def _border(graph: _Graph) -> Iterator[Finding]:
    import onnx

    byte = onnx.TensorProto.UINT8
    for node in graph.nodes:
        if node.op_type == "Cast":
            continue
        for name in (*node.input, *node.output):
            if graph.types.get(name) == byte and name not in graph.constants:
                text = f"it touches the uint8 value {name}; uint8 may stand at the border only, behind or before a Cast"
                yield Finding("border", _label(node), text)
                break
    for node in graph.nodes:
        if node.op_type == "Cast" and graph.types.get(node.output[0]) == byte and node.output[0] not in graph.outputs:
            yield Finding(
                "border", _label(node), "it makes a uint8 value inside the graph; cast last, before the output"
            )


def _remainder(graph: _Graph) -> Iterator[Finding]:
    import onnx

    kinds = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16"}
    scales = Counter(
        kinds.get(graph.constants[node.input[1]].data_type, "other")
        for node in graph.nodes
        if node.op_type == "QuantizeLinear" and node.input[1] in graph.constants
    )
    if scales["fp32"]:
        text = (
            "its float remainder is fp32, which a strongly typed build keeps: islands of fp32 between INT8 layers cost "
            "the speed; build NAME.int8-fp16.onnx on a GPU"
        )
        yield Finding("remainder", "", text, blocks=False)
