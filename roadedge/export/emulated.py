"""FP16 as a device computes it, on a CPU that has none: values rounded where an FP16 node reads or makes them.

ONNX Runtime computes FP16 files in float32 on most processors, which hides rounding and what leaves the range. Here a
graph is rewritten in float32 with a cast to float16 and back wherever a device would hold a value in float16: beyond
65504 it becomes infinite. Sums inside one operator are added up in float32, as matrix units do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.calibration.emissions import FLOAT_INPUTS, value_types
from roadedge.calibration.surgery import replace_nodes, store, with_stored_constants
from roadedge.errors import ModelFileError
from roadedge.preprocess import Feeds
from roadedge.runners.base import CheckedRunner, Requested
from roadedge.runners.face import Face

if TYPE_CHECKING:
    import onnx

SWITCHES = "float16_switches"  # the input of a switched graph: (count of parts,) bool, True for float16


class EmulatedRunner(CheckedRunner):
    """A graph of `emulated` or `switched` in ONNX Runtime; `switches` can be set between two calls."""

    name = "onnxruntime"
    precision = "emulating fp16"
    graph_precision = "unknown"

    def __init__(self, model: onnx.ModelProto, face: Face, threads: int | None = None) -> None:
        """Load a graph; `face` says how the file that it was made of is fed.

        Raises:
            ModelFileError: ONNX Runtime does not load it.
        """
        import onnxruntime

        super().__init__()
        self.requested, self.provenance = Requested("onnxruntime", None, threads), face.provenance
        self.spec, self.version = face.spec, str(onnxruntime.__version__)
        self.switches: NDArray[np.bool_] | None = None
        self._face = face
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # biases would be rounded by scales
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session: Any = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's errors have no common base below Exception
            reason = " ".join(str(error).split())[:200]
            raise ModelFileError(f"ONNX Runtime does not load the emulation of {face.spec.name}: {reason}") from error

    def values(self, feeds: Feeds) -> Iterator[dict[str, NDArray[Any]]]:
        """All outputs of the graph by name, of one batch after the other; the last window is repeated at the end."""
        names = [port.name for port in self._session.get_outputs()]
        windows = len(next(iter(feeds.values())))
        step = self.windows_at_once(windows)
        for start in range(0, windows, step):
            rows = np.minimum(np.arange(start, start + step), windows - 1)
            part = {name: np.ascontiguousarray(plane[rows]) for name, plane in feeds.items()}
            yield dict(zip(names, self._session.run(names, self._fed(part)), strict=True))

    def _fed(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        fed: dict[str, NDArray[Any]] = dict(self._face.fed(feeds))
        return fed if self.switches is None else {**fed, SWITCHES: self.switches}

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        names = self._face.wanted(logits)
        outputs = self._session.run(names, self._fed(feeds))
        return self._face.read(dict(zip(names, outputs, strict=True)), logits)

    def _release(self) -> None:
        self._session = None


def emulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """A typed FP16 graph in float32, each value that it holds in float16 rounded to that and no further."""
    import onnx
    from onnx import numpy_helper

    out = with_stored_constants(model)
    half, kinds = onnx.TensorProto.FLOAT16, value_types(out)
    for one in out.graph.initializer:
        if one.data_type == half:
            one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one).astype(np.float32), one.name))
    nodes: list[Any] = []
    for node in out.graph.node:
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name and kinds.get(name) == half:
                exact = f"{name}_exact"
                for attribute in node.attribute:
                    if node.op_type == "Cast" and attribute.name == "to":
                        attribute.i = onnx.TensorProto.FLOAT
                node.output[place] = exact
                nodes += _rounding(exact, f"{name}_in_half", name)
    replace_nodes(out.graph, nodes)
    for port in (*out.graph.input, *out.graph.output):
        if port.type.tensor_type.elem_type == half:
            port.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    del out.graph.value_info[:]
    return out


def switched(model: onnx.ModelProto, parts: Sequence[Collection[str]]) -> onnx.ModelProto:
    """A prepared float32 graph in which each part can be put into float16 from call to call, by the input `SWITCHES`.

    A value is rounded where the part that makes it or that reads it is in float16, a weight where its reader is.

    Args:
        model: float32, its constants stored tensors.
        parts: first outputs of the nodes of each; nodes of none stay float32.
    """
    import onnx

    out = onnx.ModelProto()
    out.CopyFrom(model)
    writer = _Switches(out, {output: number for number, part in enumerate(parts) for output in part})
    nodes: list[Any] = []
    for node in out.graph.node:
        nodes += writer.rounded_inputs(node)
        nodes.append(node)
    returned = writer.returned()
    for port, chosen in returned.items():
        nodes += writer.choice(port)
        for node in nodes:
            for names in (node.input, node.output):
                names[:] = [f"{port}_inner" if name == port else name for name in names]
        nodes.append(_node("Identity", [chosen], port))
    replace_nodes(out.graph, nodes)
    out.graph.input.append(onnx.helper.make_tensor_value_info(SWITCHES, onnx.TensorProto.BOOL, [max(1, len(parts))]))
    del out.graph.value_info[:]
    return out


class _Switches:
    """Writes the roundings; each is written once."""

    def __init__(self, model: onnx.ModelProto, part_of: Mapping[str, int]) -> None:
        import onnx

        self.graph = model.graph
        self.part_of = part_of
        self.kinds = value_types(model)
        self.makers = {name: part_of.get(node.output[0]) for node in model.graph.node for name in node.output}
        self.written: set[str] = set()
        self.FLOAT = onnx.TensorProto.FLOAT

    def rounded_inputs(self, node: onnx.NodeProto) -> list[Any]:
        """Let a node read what its own part, and what makes the value, leave of it."""
        own = self.part_of.get(node.output[0])
        nodes: list[Any] = []
        for place, name in enumerate(node.input):
            wide = place in FLOAT_INPUTS.get(node.op_type, ())
            numbers = sorted({n for n in (self.makers.get(name), None if wide else own) if n is not None})
            if name and numbers and self.kinds.get(name) == self.FLOAT:
                nodes += self._choice(name, numbers)
                node.input[place] = _choice_name(name, numbers)
        return nodes

    def returned(self) -> dict[str, str]:
        """{output of the graph that a part makes in float: the name of what its part leaves of it}."""
        return {
            port.name: _choice_name(port.name, [number])
            for port in self.graph.output
            if (number := self.makers.get(port.name)) is not None and port.type.tensor_type.elem_type == self.FLOAT
        }

    def choice(self, port: str) -> list[Any]:
        """The nodes of `returned` that are not written yet."""
        number = self.makers[port]
        assert number is not None
        return self._choice(port, [number])

    def _choice(self, name: str, numbers: Sequence[int]) -> list[Any]:
        """`name` or its rounding, by the switches `numbers`; nothing where that stands already."""
        target = _choice_name(name, numbers)
        if target in self.written:
            return []
        self.written.add(target)
        nodes: list[Any] = []
        rounded = f"{name}_rounded"
        if rounded not in self.written:
            self.written.add(rounded)
            nodes += _rounding(name, f"{name}_in_half", rounded)
        switch = "_or_".join(f"{SWITCHES}_{n}" for n in numbers)
        for number in numbers:
            one = f"{SWITCHES}_{number}"
            if one not in self.written:
                self.written.add(one)
                store(self.graph, f"{one}_place", np.asarray(number, np.int64))
                nodes.append(_node("Gather", [SWITCHES, f"{one}_place"], one))
        if switch not in self.written:
            self.written.add(switch)
            nodes.append(_node("Or", [f"{SWITCHES}_{n}" for n in numbers], switch))
        return [*nodes, _node("Where", [switch, rounded, name], target)]


def _choice_name(name: str, numbers: Sequence[int]) -> str:
    return f"{name}_as_{'_'.join(map(str, numbers))}"


def _rounding(source: str, between: str, target: str) -> list[Any]:
    import onnx

    return [
        _node("Cast", [source], between, to=onnx.TensorProto.FLOAT16),
        _node("Cast", [between], target, to=onnx.TensorProto.FLOAT),
    ]


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(kind, list(inputs), [output], f"{output}/{kind}", **attributes)
