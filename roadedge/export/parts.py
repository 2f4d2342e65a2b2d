"""The parts of a graph that can stay float32 in an FP16 file: found by name, counted, and told in few words.

A part is what one module of the network computes, by the scope that torch's exporter writes into the names of nodes
(`/network/stages.0/stages.0.1/Conv` is of `stages.0.1`); of a foreign graph each node is a part by its own name.
"""

from __future__ import annotations

import difflib
import fnmatch
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roadedge.calibration.flow import KINDS, canonical, constants_of, makers_of, weight_of_node
from roadedge.errors import UsageError

if TYPE_CHECKING:
    import onnx

AUTO = "auto"
NETWORK = "network"  # what `Border` calls the network in a scope
SHOWN = 24  # names in the sentence of an error
PAIRS = ("QuantizeLinear", "DequantizeLinear")
PRODUCTS = ("MatMul", "Gemm")


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes of one module. `outputs` are the first outputs of its nodes, `also` other names that it goes by.

    `multiply_adds` are those of its convolutions and matrix products that are not INT8, None where the size is free;
    `weight_bytes` those of what it reads from the file, in float32.
    """

    name: str
    outputs: tuple[str, ...]
    also: frozenset[str]
    multiply_adds: int | None
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class KeptFloat32:
    """What stays float32 in an FP16 file. `asked` is `auto` or patterns; `parts` are told with all below them.

    `multiply_adds` (None where the size is free) are out of `multiply_adds_of` in the float part of the whole graph;
    `weight_bytes` of the parts' weights in float32; `trials` were made to find them.
    """

    asked: tuple[str, ...]
    parts: tuple[str, ...]
    outputs: frozenset[str]
    nodes: int
    multiply_adds: int | None
    multiply_adds_of: int | None
    weight_bytes: int
    trials: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; the names of single nodes are left out."""
        return {
            "asked": ",".join(self.asked),
            "parts": list(self.parts),
            "nodes": self.nodes,
            "multiply_adds": self.multiply_adds,
            "multiply_adds_of": self.multiply_adds_of,
            "weight_bytes": self.weight_bytes,
            "trials": self.trials,
        }


def check_asked(asked: Sequence[str], precision: str) -> None:
    """Raise UsageError where `--keep-float32` does not go with a precision, or is not `auto` or patterns."""
    if not asked:
        return
    if precision not in ("fp16", "int8-fp16"):
        raise UsageError(f"--keep-float32 belongs to an FP16 graph, {precision} was asked for; give --fp16, or leave "
                         "it out")  # fmt: skip
    if AUTO in asked and len(asked) > 1:
        raise UsageError("--keep-float32 is auto or patterns of names, not both")
    if any(not pattern.strip() for pattern in asked):
        raise UsageError("--keep-float32 holds an empty pattern; separate names with single commas")


def parts_of(model: onnx.ModelProto, float_values: Collection[str]) -> dict[str, Part]:
    """The parts of a prepared graph by name, in its order.

    Args:
        model: float32, or with Q/DQ pairs and a float32 remainder; constants are stored tensors.
        float_values: first outputs of nodes that are float32 in any case; no part has them.
    """
    named = _names(model, float_values)
    costs = _multiply_adds(model)
    stored = {one.name: math.prod(one.dims) for one in model.graph.initializer if one.data_type == 1}
    makers, weights = makers_of(model), set(stored) | {one.name for one in model.graph.initializer}
    nodes: dict[str, list[Any]] = {}
    for node in model.graph.node:
        if node.output[0] in named:
            nodes.setdefault(named[node.output[0]], []).append(node)
    found = {}
    for name, own in nodes.items():
        also = {node.name for node in own if node.name}
        heavy = [node for node in own if node.op_type in KINDS and _stored(node, makers)]
        also |= {canonical(weight_of_node(node, makers, weights)) for node in heavy}
        read = {value for node in own for value in node.input if value in stored}
        macs = [costs[node.output[0]] for node in own if node.output[0] in costs]
        total = None if any(count is None for count in macs) else sum(count or 0 for count in macs)
        outputs = tuple(node.output[0] for node in own)
        found[name] = Part(name, outputs, frozenset(also), total, 4 * sum(stored[value] for value in read))
    return found


def matching(parts: Mapping[str, Part], patterns: Iterable[str]) -> list[str]:
    """Names of the parts that patterns stand for: a name, one of modules above it, or such with `*`, `?` and `[…]`.

    Raises:
        UsageError: a pattern stands for no part; the sentence lists what there is.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        own = [name for name, part in parts.items() if any(_stands(pattern, one) for one in (name, *part.also))]
        if not own:
            raise UsageError(_unknown(pattern, parts))
        found |= dict.fromkeys(own)
    return list(found)


def kept_float32(
    asked: Sequence[str], parts: Mapping[str, Part], names: Collection[str], trials: int = 0
) -> KeptFloat32:
    """What is said of the parts `names`."""
    own = [part for name, part in parts.items() if name in names]
    counts, of = [p.multiply_adds for p in own], [p.multiply_adds for p in parts.values()]
    return KeptFloat32(
        tuple(asked),
        tuple(collapsed(names, list(parts))),
        frozenset(output for part in own for output in part.outputs),
        sum(len(part.outputs) for part in own),
        None if None in counts else sum(count or 0 for count in counts),
        None if None in of else sum(count or 0 for count in of),
        sum(part.weight_bytes for part in own),
        trials,
    )


def collapsed(names: Collection[str], everything: Sequence[str]) -> list[str]:
    """Fewest names that stand for `names`: a module for all of its parts where all of them are among these."""
    wanted, found = set(names), []
    done: set[str] = set()
    for name in everything:
        if name not in wanted or name in done:
            continue
        steps = name.split(".")
        for length in range(1, len(steps) + 1):
            above = ".".join(steps[:length])
            inside = [one for one in everything if one == above or one.startswith(f"{above}.")]
            if wanted.issuperset(inside):
                found.append(above)
                done.update(inside)
                break
        else:
            found.append(f"{name} without what is below it")
    return found


def grouped(names: Sequence[str], most: int) -> dict[str, list[str]]:
    """At most about `most` groups of parts by the modules that hold them, the largest split as long as it goes.

    Returns:
        {name of a module: its parts}; groups do not overlap.
    """
    groups = _below("", names)
    fixed: set[str] = set()
    while len(groups) < most:
        splittable = [one for one in groups if len(groups[one]) > 1 and one not in fixed]
        if not splittable:
            break
        largest = max(splittable, key=lambda one: len(groups[one]))
        inner = _below(largest, groups[largest])
        if len(groups) - 1 + len(inner) > most and len(groups) > 1:
            fixed.add(largest)
            continue
        groups = {n: p for one, own in groups.items() for n, p in (inner if one == largest else {one: own}).items()}
        fixed |= {one for one in inner if one == largest}
    return groups


def float32_facts(provenance: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an FP16 file's provenance says of parts that stay float32; None where there are none."""
    stated = provenance.get("precision")
    found = stated.get("float32") if isinstance(stated, dict) else None
    return found if isinstance(found, dict) else None


def mixed_name(precision: str, count: int) -> str:
    """`fp16 with 3 parts float32`."""
    return f"{precision} with {count} part{'s' * (count != 1)} float32" if count else precision


def float32_lines(facts: Mapping[str, Any]) -> list[str]:
    """Which parts stay float32 and how much of the work they are, two lines; one where there are none."""
    parts = list(facts["parts"])
    if not parts:
        return ["no part had to stay float32"]
    names = ", ".join(parts[:SHOWN]) + (f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else "")
    if facts["multiply_adds"] is None or not facts["multiply_adds_of"]:
        work = "multiply-adds not counted"
    else:
        share = facts["multiply_adds"] / facts["multiply_adds_of"]
        work = f"{facts['multiply_adds'] / 1e6:.1f} M multiply-adds ({share:.1%} of those in float)"
    how = f"; found in {facts['trials']} trial{'s' * (facts['trials'] != 1)}" if facts["trials"] else ""
    nodes = f"{facts['nodes']} node{'s' * (facts['nodes'] != 1)}"
    size = f"{facts['weight_bytes'] / 2**20:.2f} MiB of weights"
    return [f"{len(parts)} part{'s' * (len(parts) != 1)} float32: {names}", f"  {nodes}, {work}, {size}{how}"]


def scope_of(name: str) -> str:
    """`/network/a/a.0/b/Conv` → `a.0.b`; of a node of the network itself its own name, of another graph's all of it."""
    steps = [step for step in name.split("/") if step]
    if not name.startswith("/") or len(steps) < 2:
        return name
    path: list[str] = []
    for step in steps[1:-1] if steps[0] == NETWORK else steps[:-1]:
        if path and step.startswith(f"{path[-1]}."):
            path[-1] = step
        else:
            path.append(step)
    return ".".join(path) or steps[-1]


def _names(model: onnx.ModelProto, float_values: Collection[str]) -> dict[str, str]:
    """{first output: part}. A Q belongs to what makes its value, a DQ to the first that reads it."""
    constant, makers = constants_of(model), makers_of(model)
    inner = [n for n in model.graph.node if n.output[0] not in float_values and n.output[0] not in constant]
    found = {node.output[0]: scope_of(node.name or node.output[0]) for node in inner if node.op_type not in PAIRS}
    readers: dict[str, str] = {}
    for node in inner:
        for name in node.input:
            readers.setdefault(name, found.get(node.output[0], ""))
    for node in model.graph.node:
        value = node.output[0]
        if node.op_type == "DequantizeLinear" and value not in float_values and readers.get(value):
            found[value] = readers[value]
        elif node.op_type == "QuantizeLinear" and value not in float_values:
            made = makers.get(node.input[0])
            above = "" if made is None else found.get(made.output[0], "")
            found[value] = above or scope_of(node.name or value)
    return found


def _multiply_adds(model: onnx.ModelProto) -> dict[str, int | None]:
    """{output: count} of convolutions and products that are computed in float; None where a side is free."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes: dict[str, list[int | None]] = {one.name: list(one.dims) for one in inferred.initializer}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        sides = value.type.tensor_type.shape.dim
        shapes[value.name] = [side.dim_value if side.HasField("dim_value") else None for side in sides]
    makers = makers_of(model)
    found: dict[str, int | None] = {}
    for node in model.graph.node:
        if node.op_type not in (*KINDS, *PRODUCTS):
            continue
        if all(makers[name].op_type == PAIRS[1] if name in makers else False for name in node.input[:2]):
            continue  # INT8
        read, weight, made = shapes.get(node.input[0]), shapes.get(node.input[1]), shapes.get(node.output[0])
        over = read if node.op_type == "ConvTranspose" else made
        if read is None or weight is None or over is None or None in (*over, *weight) or not read:
            found[node.output[0]] = None
        else:
            each = math.prod(n or 0 for n in weight[1:]) if node.op_type in KINDS else (read[-1] or 0)
            found[node.output[0]] = math.prod(n or 0 for n in over) * each
    return found


def _stored(node: onnx.NodeProto, makers: Mapping[str, Any]) -> bool:
    name = node.input[1]
    return name not in makers or makers[name].op_type in PAIRS


def _stands(pattern: str, name: str) -> bool:
    return name == pattern or name.startswith(f"{pattern}.") or any(
        fnmatch.fnmatchcase(name, one) for one in (pattern, f"{pattern}.*")
    )  # fmt: skip


def _unknown(pattern: str, parts: Mapping[str, Part]) -> str:
    known = [*parts, *(name for part in parts.values() for name in part.also if "/" not in name)]
    above = {".".join(steps[:length]) for steps in (n.split(".") for n in known) for length in range(1, len(steps) + 1)}
    near = difflib.get_close_matches(pattern, sorted(above), n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    listed = list(grouped(list(parts), SHOWN))
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return (
        f"--keep-float32: no part in float16 is called {pattern!r}{hint}; there are {', '.join(listed[:SHOWN])}{more}, "
        "each with all that is below it"
    )


def _below(above: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Parts by the next step of their names under `above`; one that has no further step stands by itself."""
    depth = len(above.split(".")) + 1 if above else 1
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(".".join(name.split(".")[:depth]), []).append(name)
    return found
