"""Small changes of an ONNX graph in place: what is stored in it, which nodes it consists of, what nobody reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.calibration.flow import constants_of

if TYPE_CHECKING:
    import onnx


def stored_weights(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """The initializers and constants of a graph as arrays."""
    from onnx import numpy_helper

    found = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def with_stored_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which each Constant node is an initializer, and no weight hides behind an Identity."""
    import onnx
    from onnx import numpy_helper

    out = onnx.ModelProto()
    out.CopyFrom(model)
    returned = {port.name for port in out.graph.output}
    renamed: dict[str, str] = {}
    constant = constants_of(out)
    nodes = []
    for node in out.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if node.op_type == "Constant":
            array = numpy_helper.to_array(node.attribute[0].t) if node.attribute[0].name == "value" else None
            if array is None:
                value = onnx.helper.get_attribute_value(node.attribute[0])
                array = np.asarray(value, np.float32 if node.attribute[0].name.startswith("value_float") else np.int64)
            store(out.graph, node.output[0], array)
        elif node.op_type == "Identity" and node.input[0] in constant and node.output[0] not in returned:
            renamed[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    replace_nodes(out.graph, nodes)
    return out


def quantized(weight: NDArray[Any], scale: NDArray[Any], axis: int = 0) -> NDArray[np.int8]:
    """int8 as ONNX defines it: x / scale, rounded to the even of two neighbours, clipped."""
    shape = spread(scale, weight.ndim, axis)
    with np.errstate(over="ignore"):
        out: NDArray[np.int8] = np.clip(np.rint(weight / shape), -128, 127).astype(np.int8)
    return out


def replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Let a graph consist of these nodes, which may be its own."""
    import onnx

    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def forget_unread(graph: onnx.GraphProto) -> None:
    """Take out nodes of weights and stored tensors that nobody reads any more."""
    returned = {port.name for port in graph.output}
    while True:
        read = {name for node in graph.node for name in node.input} | returned
        kept = [node for node in graph.node if any(name in read for name in node.output)]
        if len(kept) == len(graph.node):
            break
        replace_nodes(graph, kept)
    stored = [one for one in graph.initializer if one.name in read]
    if len(stored) < len(graph.initializer):
        copies = [type(one).FromString(one.SerializeToString()) for one in stored]
        del graph.initializer[:]
        graph.initializer.extend(copies)


def store(graph: onnx.GraphProto, name: str, array: NDArray[Any]) -> None:
    """Keep an array under a name in a graph; where the name is there already, nothing changes."""
    from onnx import numpy_helper

    if name not in {one.name for one in graph.initializer}:
        graph.initializer.append(numpy_helper.from_array(np.asarray(array, order="C"), name))


def spread(scale: NDArray[Any], sides: int, axis: int) -> NDArray[Any]:
    """Scales so shaped that they multiply an array of so many sides along `axis`."""
    if scale.size == 1:
        return scale.reshape(())
    shape = [1] * sides
    shape[axis] = -1
    return scale.reshape(shape)
