"""Where a network is quantised: one rule for torch and for ONNX, which both describe themselves as a list of steps.

The rule is TensorRT's: what its kernels fuse must not be parted by a Q/DQ pair.

- Each convolution reads a quantised input and a quantised weight; a value that several of them read is quantised once.
- At a residual add the deepest convolution runs into the add as it is, so that conv + add + ReLU become one INT8
  kernel; the other operand, the shortcut, is quantised.
- Values that are concatenated, or moved about without being changed, share one scale with what becomes of them, and
  are quantized where they are made: the concatenation is then a copy of bytes.
- The first convolutions behind the inputs and the last ones before the outputs stay float unless asked otherwise.
- So do convolutions that read products of two maps, sums that nothing divides: these grow with the count of pixels, and
  what the next norm leaves of them is a small difference of large numbers, which one scale of int8 cannot tell.

Source: NVIDIA's guidance on explicit quantization; the layout of the rule is ours (docs/adr/0007).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import UnknownNameError

LEVELS = 127  # of symmetric int8 on either side of zero
SMALLEST_SCALE = 2.0**-14  # float16's smallest normal number
CONVOLUTIONS = ("conv", "deconv")
TRANSPARENT = ("concat", "pass")


@dataclass(frozen=True, slots=True)
class FlowStep:
    """One operation. Weights and constants are not among its inputs.

    `kind` is `conv`, `deconv`, `add` (of two values), `concat`, `pass` (values moved or left out, not changed: slice,
    gather, transpose, max-pool, depth-to-space), `product` (matrix product of two computed values), `bounded` (softmax,
    sigmoid, tanh, a division by a computed value), or `other`. The name of a convolution is that of its weight without
    `.weight`; where one weight is read more than once, the later steps are called `NAME#2`, `NAME#3`.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True)
class Point:
    """A value that is quantised once for some of its readers; the others get it as it is.

    `readers` are names of steps: a convolution reads its input, an add its shortcut, and a step that only moves values
    hands them on. Points of one `group` share one scale.
    """

    value: str
    readers: tuple[str, ...]
    group: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Which convolutions are quantised, which are not, and which values.

    `reads` says under names that torch and ONNX have in common which group each reading has: a convolution stands for
    its input, `CONVOLUTION:shortcut` for what is added to it, after the convolution that the add is fused with.
    """

    convolutions: tuple[str, ...]
    float_convolutions: tuple[str, ...]
    points: tuple[Point, ...]
    reads: dict[str, int]
    shortcuts: tuple[tuple[str, str], ...]  # the adds, and what each is fused with
    behind_products: tuple[str, ...] = ()  # of the float ones, those that read sums of products of two maps


def place(
    steps: Sequence[FlowStep],
    inputs: Collection[str],
    outputs: Collection[str],
    keep_float: Collection[str] = (),
    borders_float: bool = True,
    products_float: bool = True,
) -> Placement:
    """Decide what is quantised.

    Args:
        steps: in the order of computation.
        inputs: values that the graph is fed.
        outputs: values that it returns.
        keep_float: convolutions that stay float; a name without `#` stands for all readings of that weight.
        borders_float: the first and last convolutions stay float too.
        products_float: convolutions that read sums of products of two maps stay float too.

    Raises:
        UnknownNameError: `keep_float` holds a name that is none of the convolutions.
    """
    graph = _Graph(steps)
    convolutions = [s.name for s in steps if s.kind in CONVOLUTIONS]
    known = {*convolutions, *map(weight_of, convolutions)}
    for name in keep_float:
        if name not in known:
            raise UnknownNameError("convolution", name, known)
    kept = {name for name in convolutions if name in keep_float or weight_of(name) in keep_float}
    if borders_float:
        kept |= graph.first(inputs) | graph.last(outputs)
    behind = graph.behind_products() if products_float else set()
    kept |= behind
    if borders_float or behind:
        kept |= {name for name in convolutions if weight_of(name) in {weight_of(k) for k in kept}}
    quantized = [name for name in convolutions if name not in kept]
    shortcuts = graph.shortcuts(set(quantized))
    readers: dict[str, list[str]] = {}
    for step in steps:
        if step.name in quantized:
            readers.setdefault(step.inputs[0], []).append(step.name)
        for value in shortcuts.get(step.name, ("", ()))[1]:
            readers.setdefault(value, []).append(step.name)
    numbers = _numbers(steps, readers)
    named = {add: f"{fused}:shortcut" for add, (fused, _) in shortcuts.items()}
    return Placement(
        tuple(quantized),
        tuple(name for name in convolutions if name in kept),
        tuple(Point(v, tuple(names), numbers[v]) for v, names in graph.sources(readers, set(outputs)).items()),
        {named.get(name, name): numbers[value] for value, names in readers.items() for name in names},
        tuple((add, fused) for add, (fused, _) in shortcuts.items()),
        tuple(name for name in convolutions if name in behind),
    )


def weight_of(convolution: str) -> str:
    """`NAME#2` → `NAME`: the weight that a step reads."""
    return convolution.partition("#")[0]


def snapped(scale: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scales as float16 can hold them, so that an FP16 and an FP32 emission of a network carry the same numbers."""
    return np.maximum(np.asarray(scale, np.float64), SMALLEST_SCALE).astype(np.float16).astype(np.float32)


def scale_of(largest: NDArray[np.floating] | float) -> NDArray[np.float32]:
    """Scale of symmetric int8 for values up to `largest` in magnitude."""
    return snapped(np.asarray(largest, np.float64) / LEVELS)


def groups(points: Iterable[Point]) -> dict[int, list[Point]]:
    """The points of each scale."""
    found: dict[int, list[Point]] = {}
    for point in points:
        found.setdefault(point.group, []).append(point)
    return found


class _Graph:
    """Who makes a value and who reads it."""

    def __init__(self, steps: Sequence[FlowStep]) -> None:
        self.steps = steps
        self.maker = {step.output: step for step in steps}
        self.readers: dict[str, list[FlowStep]] = {}
        self.depth: dict[str, int] = {}  # convolutions on the longest way from an input
        for step in steps:
            for value in step.inputs:
                self.readers.setdefault(value, []).append(step)
            before = max((self.depth.get(value, 0) for value in step.inputs), default=0)
            self.depth[step.output] = before + (step.kind in CONVOLUTIONS)

    def first(self, inputs: Collection[str]) -> set[str]:
        """Convolutions that an input reaches through no other one."""
        found, reached = set(), set(inputs)
        for step in self.steps:
            if reached.intersection(step.inputs):
                if step.kind in CONVOLUTIONS:
                    found.add(step.name)
                else:
                    reached.add(step.output)
        return found

    def last(self, outputs: Collection[str]) -> set[str]:
        """Convolutions that reach an output through no other one."""
        found, reaching = set(), set(outputs)
        for step in reversed(self.steps):
            if step.output in reaching:
                if step.kind in CONVOLUTIONS:
                    found.add(step.name)
                else:
                    reaching.update(step.inputs)
        return found

    def behind_products(self) -> set[str]:
        """Convolutions that a product of two maps reaches through no other one, and through nothing that bounds it.

        A product one of whose factors is bounded, such as weights from a softmax, does not grow with the pixels.
        """
        found: set[str] = set()
        reached: set[str] = set()
        bounded: set[str] = set()
        for step in self.steps:
            if step.kind == "bounded" or (step.kind == "pass" and bounded.intersection(step.inputs)):
                bounded.add(step.output)
            elif step.kind == "product" and not bounded.intersection(step.inputs):
                reached.add(step.output)
            elif reached.intersection(step.inputs):
                if step.kind in CONVOLUTIONS:
                    found.add(step.name)
                else:
                    reached.add(step.output)
        return found

    def shortcuts(self, quantized: set[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
        """For each add that a quantised convolution runs into: that convolution and the add's other operands."""
        found = {}
        for step in self.steps:
            if step.kind != "add" or len(set(step.inputs)) < 2:
                continue
            fusible = [v for v in step.inputs if self._runs_only_into(v, step, quantized)]
            if fusible:
                fused = max(fusible, key=lambda value: self.depth[value])
                found[step.name] = (self.maker[fused].name, tuple(v for v in step.inputs if v != fused))
        return found

    def sources(self, readers: dict[str, list[str]], outputs: set[str]) -> dict[str, list[str]]:
        """`readers` with each value that was only moved or joined replaced by what was moved or joined.

        Rounding and moving change places without a trace, as both ends have one scale. A value that somebody reads as
        float stays where it is.
        """
        inside: set[str] = set()  # values that nobody reads as float
        for step in reversed(self.steps):
            value, all_read = step.output, self.readers.get(step.output, [])
            here = readers.get(value, [])
            whole = all(one.name in here or (one.kind in TRANSPARENT and one.output in inside) for one in all_read)
            if all_read and whole and value not in outputs:
                inside.add(value)
        found: dict[str, list[str]] = {}
        waiting = [(value, name) for value, names in readers.items() for name in names]
        for value, name in waiting:  # grows while it is read
            maker = self.maker.get(value)
            if maker is None or maker.kind not in TRANSPARENT or value not in inside:
                if name not in found.setdefault(value, []):
                    found[value].append(name)
            else:
                waiting += [(source, maker.name) for source in maker.inputs if (source, maker.name) not in waiting]
        return found

    def _runs_only_into(self, value: str, add: FlowStep, quantized: set[str]) -> bool:
        maker = self.maker.get(value)
        return maker is not None and maker.name in quantized and self.readers[value] == [add]


def _numbers(steps: Sequence[FlowStep], readers: dict[str, list[str]]) -> dict[str, int]:
    """The number of the scale of every value, in the order in which quantised values are read."""
    parent: dict[str, str] = {}

    def root(value: str) -> str:
        while parent.setdefault(value, value) != value:
            value = parent[value]
        return value

    for step in steps:
        if step.kind in TRANSPARENT:
            for value in step.inputs:
                parent[root(value)] = root(step.output)
    numbers: dict[str, int] = {}
    for value in readers:
        numbers.setdefault(root(value), len(numbers))
    values = {value for step in steps for value in (*step.inputs, step.output)}
    return {value: numbers[root(value)] for value in values if root(value) in numbers}
