"""The second emission of a quantized graph: FP16 between the INT8 layers, for GPUs, with the very same scales.

In a strongly typed TensorRT network an FP32 island between INT8 layers costs the speed that INT8 won. What `halved`
keeps in float32 in torch stays float32 here too: the normalisation behind the inputs, what turns the last convolution's
map into logits and probability, and products of two maps, whose sums over all pixels leave the range of float16.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.calibration.flow import KINDS, MOVES, constants_of
from roadedge.calibration.insert import scales_by_reader
from roadedge.calibration.surgery import forget_unread, replace_nodes, with_stored_constants
from roadedge.errors import ExportError, ParityError

if TYPE_CHECKING:
    import onnx

OPSET = 19  # the first whose QuantizeLinear takes float16
LARGEST_HALF = 65504.0
FLOAT_INPUTS = {"Resize": (1, 2)}  # inputs of an operator that are float32 whatever it computes in
PAIRS = ("QuantizeLinear", "DequantizeLinear")
PRODUCTS = ("MatMul", "Gemm", "Einsum")


def half_remainder(model: onnx.ModelProto, kept: Collection[str] = ()) -> onnx.ModelProto:
    """`int8.onnx` → `int8-fp16.onnx`: opset 19 or later, all between the first and last convolutions in float16.

    Args:
        model: a Q/DQ graph with a float32 remainder and scales that float16 can hold.
        kept: first outputs of further nodes that stay float32.

    Raises:
        ParityError: a weight does not fit into float16.
        ExportError: the scales would differ, or the graph cannot be raised to opset 19.
    """
    out = prepared(model)
    type_half(out, remainder_float(out) | _with_own_pairs(out, kept))
    differing = compare_scales(model, out)
    if differing:
        raise ExportError(f"the FP16 emission would not hold the same scales: {'; '.join(differing[:3])}")
    return out


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in opset 19 or later whose constants are stored tensors: what `remainder_float` and `type_half` take."""
    return with_stored_constants(raised(model))


def remainder_float(model: onnx.ModelProto) -> set[str]:
    """First outputs of the nodes of a prepared Q/DQ graph that stay float32 beside an FP16 remainder."""
    nodes = list(model.graph.node)
    return {nodes[number].output[0] for number in _float_nodes(model)}


def type_half(model: onnx.ModelProto, float_values: Collection[str]) -> None:
    """Type a prepared float32 graph in place: all in float16 but the nodes whose first output is in `float_values`.

    Raises:
        ParityError: a stored tensor of a float16 node does not fit into it.
    """
    import onnx

    kinds = value_types(model)
    names = _Halves(model, kinds)
    nodes: list[Any] = []
    for node in list(model.graph.node):
        if node.output[0] in float_values:
            nodes += names.casts(node, range(len(node.input)), onnx.TensorProto.FLOAT)
            names.float_values.update(node.output)
        else:
            kept = FLOAT_INPUTS.get(node.op_type, ())
            inner = [i for i in range(len(node.input)) if i not in kept]
            nodes += names.casts(node, kept, onnx.TensorProto.FLOAT)
            nodes += names.casts(node, inner, onnx.TensorProto.FLOAT16)
            _retarget(node)
        nodes.append(node)
    nodes += names.returned(nodes)
    replace_nodes(model.graph, nodes)
    forget_unread(model.graph)
    del model.graph.value_info[:]


def half_values(model: onnx.ModelProto) -> set[str]:
    """Names that values of the float32 graph have in an FP16 emission and are float16 there, if only for a reader."""
    import onnx

    half = {name for name, kind in value_types(model).items() if kind == onnx.TensorProto.FLOAT16}
    return half | {name.removesuffix("_half") for name in half}


def compare_scales(left: onnx.ModelProto, right: onnx.ModelProto) -> list[str]:
    """What differs between the scales of two Q/DQ graphs, one line each; empty where they are equal to the bit."""
    lines = []
    (values, weights), (other_values, other_weights) = scales_by_reader(left), scales_by_reader(right)
    sides: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
        ("value", values, other_values),
        ("weight", weights, other_weights),
    ]
    for kind, one, other in sides:
        for name in sorted(one.keys() | other.keys()):
            if name not in one or name not in other:
                lines.append(f"{kind} {name} is quantized in one of them only")
            elif not np.array_equal(np.asarray(one[name]), np.asarray(other[name])):
                lines.append(f"{kind} {name}: {_first(one[name])} against {_first(other[name])}")
    return lines


def raised(model: onnx.ModelProto, opset: int = OPSET) -> onnx.ModelProto:
    """The same graph in at least this opset.

    Raises:
        ExportError: ONNX's converter knows no way for an operator in it.
    """
    from onnx import version_converter

    own = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if own >= opset:
        return model
    try:
        out: onnx.ModelProto = version_converter.convert_version(model, opset)
    except Exception as error:  # the converter's errors are RuntimeError and worse
        reason = " ".join(str(error).split())[:200]
        raise ExportError(f"the graph of opset {own} cannot be written in opset {opset}: {reason}") from error
    known = {entry.key for entry in out.metadata_props}
    out.metadata_props.extend(entry for entry in model.metadata_props if entry.key not in known)
    return out


class _Halves:
    """Values and stored tensors in float16 or float32, cast where a node reads them in the other one."""

    def __init__(self, model: onnx.ModelProto, kinds: dict[str, int]) -> None:
        import onnx

        self.graph = model.graph
        self.kinds = kinds
        self.float_values = {port.name for port in model.graph.input}
        self.stored = {one.name: one for one in model.graph.initializer}
        self.written: dict[str, str] = {}
        self.FLOAT = onnx.TensorProto.FLOAT

    def casts(self, node: onnx.NodeProto, places: Sequence[int], target: int) -> list[onnx.NodeProto]:
        """Let `node` read the inputs at `places` in type `target`; the casts that this takes."""
        made = []
        for place in places:
            name = node.input[place] if place < len(node.input) else ""
            if not name or self.kinds.get(name) != self.FLOAT:
                continue
            to_half = target != self.FLOAT
            if name in self.stored:
                node.input[place] = self._stored_half(name) if to_half else name
            elif (name in self.float_values) == to_half:
                alias = f"{name}_{'half' if to_half else 'float'}"
                if alias not in self.written:
                    self.written[alias] = name
                    made.append(_cast(name, alias, target))
                node.input[place] = alias
        return made

    def returned(self, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """Casts of outputs that are float32 at the border of the graph and float16 inside."""
        made = []
        for port in self.graph.output:
            if port.type.tensor_type.elem_type != self.FLOAT or port.name in self.float_values:
                continue
            inner = f"{port.name}_inner"
            for node in nodes:
                node.input[:] = [inner if name == port.name else name for name in node.input]
                node.output[:] = [inner if name == port.name else name for name in node.output]
            made.append(_cast(inner, port.name, self.FLOAT))
        return made

    def _stored_half(self, name: str) -> str:
        from onnx import numpy_helper

        alias = f"{name}_half"
        if alias not in self.written:
            self.written[alias] = name
            array: NDArray[Any] = numpy_helper.to_array(self.stored[name])
            if array.size and np.abs(array).max() > LARGEST_HALF:
                raise ParityError(f"{name} holds {np.abs(array).max():.3g}, which float16 cannot (65504 at most)")
            self.graph.initializer.append(numpy_helper.from_array(array.astype(np.float16), alias))
        return alias


def _float_nodes(model: onnx.ModelProto) -> set[int]:
    """Numbers of the nodes that stay float32: ahead of all convolutions and pairs, behind them, and around products.

    Of those behind what only moves values is half still: it is cheaper, and torch's FP16 network does the same.
    """
    nodes = list(model.graph.node)
    heavy = [node.op_type in KINDS or node.op_type in PAIRS for node in nodes]
    constant = constants_of(model)
    after: set[str] = set()
    for node, is_heavy in zip(nodes, heavy, strict=True):
        if is_heavy or after.intersection(node.input):
            after.update(node.output)
    ahead: set[str] = set()
    for node, is_heavy in zip(reversed(nodes), reversed(heavy), strict=True):
        if is_heavy or ahead.intersection(node.output):
            ahead.update(node.input)
    found: set[int] = set()
    tail: set[str] = set()
    for number, node in enumerate(nodes):
        if heavy[number] or all(name in constant for name in node.output):
            continue
        if not after.intersection(node.output):
            found.add(number)
        elif not ahead.intersection(node.output):
            moves = node.op_type in MOVES and not tail.intersection(node.input)
            if not moves:
                found.add(number)
                tail.update(node.output)
    pairs = {name for node in nodes if node.op_type in PAIRS for name in node.output}
    parting = [is_heavy and (node.op_type in PAIRS or node.input[1] in pairs)
               for node, is_heavy in zip(nodes, heavy, strict=True)]  # fmt: skip
    return found | _around_products(nodes, parting, constant)


def _around_products(nodes: Sequence[onnx.NodeProto], parting: Sequence[bool], constant: set[str]) -> set[int]:
    """Numbers of the products of two computed values, and of all that no pair or INT8 convolution parts from them.

    Such are factorisations and graphs of pixels: their sums run over all pixels, and what they are divided by may lie
    below float16's smallest number.
    """
    touching: dict[str, list[int]] = {}  # the other nodes that make or read a value
    for number, node in enumerate(nodes):
        if not parting[number]:
            for name in {*node.input, *node.output} - constant - {""}:
                touching.setdefault(name, []).append(number)
    waiting = [
        number
        for number, node in enumerate(nodes)
        if node.op_type in PRODUCTS and sum(name not in constant for name in node.input if name) > 1
    ]
    found: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            names = {*nodes[number].input, *nodes[number].output} - constant - {""}
            waiting += [other for name in names for other in touching[name] if other not in found]
    return found


def value_types(model: onnx.ModelProto) -> dict[str, int]:
    """ONNX's number of the type of each value and stored tensor of a graph."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {one.name: one.data_type for one in inferred.initializer}
    for port in (*inferred.value_info, *inferred.input, *inferred.output):
        found[port.name] = port.type.tensor_type.elem_type
    return found


def _with_own_pairs(model: onnx.ModelProto, kept: Collection[str]) -> set[str]:
    """Give each kept convolution a DequantizeLinear of its own where it shares one with others: no cast parts the two.

    Returns:
        `kept` and the first outputs of the DequantizeLinear that they read.
    """
    import onnx

    found = set(kept)
    if not found:
        return found
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.output[0])
    pairs = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    nodes: list[Any] = []
    for node in model.graph.node:
        if node.output[0] in kept and node.op_type in KINDS:
            for place, name in enumerate(node.input):
                if name in pairs and readers[name] <= found:
                    found.add(name)
                elif name in pairs:
                    twin = onnx.NodeProto.FromString(pairs[name].SerializeToString())
                    twin.output[0], twin.name = f"{name}_for_{node.output[0]}", f"{node.output[0]}/dequantize"
                    nodes.append(twin)
                    node.input[place] = twin.output[0]
                    found.add(twin.output[0])
        nodes.append(node)
    replace_nodes(model.graph, nodes)
    return found


def _retarget(node: onnx.NodeProto) -> None:
    """A cast to float32 amid the network becomes one to float16."""
    import onnx

    if node.op_type == "Cast":
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = onnx.TensorProto.FLOAT16


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node("Cast", [source], [target], f"{target}/cast", to=kind)


def _first(scale: Any) -> str:
    flat = np.asarray(scale).reshape(-1)
    return f"{flat[0]:.9g}" + (f" … ({flat.size})" if flat.size > 1 else "")
