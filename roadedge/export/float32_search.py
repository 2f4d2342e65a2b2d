"""Which parts of a network must stay float32 for its FP16 file to say what the network says.

First those whose values or weights leave float16's range. Then each group of parts alone is put into float16 and what
it does to the logits is measured; the worst stay float32, as few as it takes (found by halving), and of these in turn
the parts that need it. The graph is loaded once: the parts are switched from run to run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from roadedge.calibration.emissions import LARGEST_HALF, value_types
from roadedge.calibration.surgery import replace_nodes, stored_weights
from roadedge.errors import ExportError, ParityError
from roadedge.evaluation.progress import steps_bar
from roadedge.export.emulated import EmulatedRunner, switched
from roadedge.export.parts import Part, grouped
from roadedge.preprocess import Feeds
from roadedge.runners.base import Runner

if TYPE_CHECKING:
    import onnx

    from roadedge.runners.face import Face

GROUPS = 40  # that are measured in a round
ROUNDS = 2
REACH = LARGEST_HALF / 2  # other samples may reach twice as far as those at hand
MARGINS = (0.8, 0.6, 0.4)  # of the tolerance: back-ends round in other places than the emulation
WORST = 1e30  # noise of NaN and infinity


@dataclass(slots=True)
class Search:
    """A graph whose parts can be switched, and what is known of them.

    `judge` raises ParityError where a runner is further from the network than a share of the tolerance; `feeds` are
    those of one sample, on which parts are ranked.
    """

    runner: EmulatedRunner
    parts: Mapping[str, Part]
    wide: tuple[str, ...]  # parts that leave float16's range
    judge: Callable[[Runner, float], None]
    feeds: Feeds
    progress: bool = False
    trials: int = 0
    _places: dict[str, int] = field(default_factory=dict)
    _noise: dict[tuple[str, ...], float] = field(default_factory=dict)
    _logits: Any = None

    def __post_init__(self) -> None:
        self._places = {name: place for place, name in enumerate(self.parts)}

    def find(self, margin: float) -> tuple[str, ...]:
        """Parts to keep float32, in the order of the graph, so that the emulation is within `margin` of the tolerance.

        Raises:
            ExportError: not even all of them in float32 would do.
        """
        kept = list(self.wide)
        if self._passes(kept, margin):
            return self._ordered(kept)
        if not self._passes(list(self.parts), margin):
            raise ExportError(
                "no set of parts in float32 brings the file within its tolerance: with all of them there it is not; "
                "export it without FP16"
            )
        rest = [name for name in self.parts if name not in self.wide]
        for _ in range(ROUNDS):
            groups = grouped(rest, GROUPS)
            chosen = self._chosen(kept, groups, margin)
            rest = list(self._ordered([name for group in chosen for name in groups[group]]))
            if all(len(groups[one]) == 1 for one in chosen):
                break
        found = self._ordered([*kept, *rest])
        if len(found) == len(self.parts):
            raise ExportError(
                "every part would have to stay float32, so that nothing is left to FP16; export without it"
            )
        return found

    def _chosen(self, kept: Sequence[str], groups: Mapping[str, Sequence[str]], margin: float) -> list[str]:
        """The groups that stay float32, worst first: the fewest of the ranking, without those that are not needed."""
        steps = len(groups) + 2 * math.ceil(math.log2(len(groups) + 1)) + len(groups)
        with steps_bar("looking for what must stay float32", steps, self.progress) as step:
            noise = {}
            for name, own in groups.items():
                noise[name] = self._alone(own)
                step()
            ranked = sorted(groups, key=lambda name: -noise[name])
            low, high = 1, len(ranked)
            while low < high:
                middle = (low + high) // 2
                fits = self._passes([*kept, *(n for name in ranked[:middle] for n in groups[name])], margin)
                low, high = (low, middle) if fits else (middle + 1, high)
                step()
            chosen = ranked[:low]
            for name in sorted(chosen, key=lambda one: -self._cost(groups[one])):  # the dearest is spared first
                fewer = [one for one in chosen if one != name]
                if len(chosen) > 1 and self._passes([*kept, *(n for one in fewer for n in groups[one])], margin):
                    chosen = fewer
                step()
        return chosen

    def _passes(self, kept: Collection[str], margin: float) -> bool:
        self._switch(set(self.parts) - set(kept))
        self.trials += 1
        try:
            self.judge(self.runner, margin)
        except ParityError:
            return False
        return True

    def _alone(self, half: Sequence[str]) -> float:
        """Power of what these parts alone in float16 do to the logits."""
        key = tuple(half)
        if key not in self._noise:
            if self._logits is None:
                self._switch(())
                self._logits = self.runner.infer(self.feeds, logits=True)["logits"].astype(np.float64)
            self._switch(half)
            self.trials += 1
            found = self.runner.infer(self.feeds, logits=True)["logits"].astype(np.float64)
            gap = np.nan_to_num(found - self._logits, nan=1e12, posinf=1e12, neginf=-1e12)
            self._noise[key] = min(WORST, float((gap**2).sum()))
        return self._noise[key]

    def _switch(self, half: Collection[str]) -> None:
        switches = np.zeros(max(1, len(self.parts)), np.bool_)
        switches[[self._places[name] for name in half]] = True
        self.runner.switches = switches

    def _cost(self, names: Sequence[str]) -> int:
        return sum((self.parts[name].multiply_adds or 0) + self.parts[name].weight_bytes for name in names)

    def _ordered(self, names: Collection[str]) -> tuple[str, ...]:
        return tuple(name for name in self.parts if name in set(names))


def search(
    model: onnx.ModelProto,
    face: Face,
    parts: Mapping[str, Part],
    judge: Callable[[Runner, float], None],
    feeds: Sequence[Feeds],
    threads: int | None = None,
    progress: bool = False,
    reached: Mapping[str, float] | None = None,
) -> Search:
    """Measure which parts leave float16's range, and make ready to look for the others.

    Args:
        model: a prepared float32 graph, or one with Q/DQ pairs and a float32 remainder.
        face: how it is fed.
        parts: of it.
        judge: see `Search`.
        feeds: of samples, as `preprocess` makes them; the first is what parts are ranked on.
        threads: of ONNX Runtime.
        progress: draw bars on stderr where that is a terminal.
        reached: magnitudes of values that are known from more samples.
    """
    runner = EmulatedRunner(switched(model, [part.outputs for part in parts.values()]), face, threads)
    ranges = magnitudes(model, face, feeds, threads)
    for name, value in (reached or {}).items():
        ranges[name] = max(value, ranges.get(name, 0.0))
    return Search(runner, parts, _wide(model, parts, ranges), judge, feeds[0], progress)


def magnitudes(
    model: onnx.ModelProto, face: Face, feeds: Sequence[Feeds], threads: int | None = None
) -> dict[str, float]:
    """The largest magnitude of each float value of a prepared graph over all feeds; infinity for NaN."""
    import onnx

    out = onnx.ModelProto()
    out.CopyFrom(model)
    kinds = value_types(out)
    values = [name for node in model.graph.node for name in values_of(node, kinds)]
    nodes: list[Any] = []
    for node in out.graph.node:
        nodes.append(node)
        for name in values_of(node, kinds):
            nodes.append(onnx.helper.make_node("Abs", [name], [f"{name}_abs"]))
            nodes.append(onnx.helper.make_node("ReduceMax", [f"{name}_abs"], [f"{name}_reach"], keepdims=0))
    replace_nodes(out.graph, nodes)
    del out.graph.output[:]
    out.graph.output.extend(
        onnx.helper.make_tensor_value_info(f"{name}_reach", onnx.TensorProto.FLOAT, []) for name in values
    )
    found = dict.fromkeys(values, 0.0)
    with EmulatedRunner(out, face, threads) as runner:
        for reached in itertools.chain.from_iterable(runner.values(fed) for fed in feeds):
            for port, reach in reached.items():
                name, value = port.removesuffix("_reach"), float(reach) if np.isfinite(reach) else math.inf
                found[name] = max(found[name], value)
    return found


def values_of(node: onnx.NodeProto, kinds: Mapping[str, int]) -> list[str]:
    """The float32 outputs of a node."""
    return [name for name in node.output if name and kinds.get(name) == 1]  # TensorProto.FLOAT


def _wide(model: onnx.ModelProto, parts: Mapping[str, Part], ranges: Mapping[str, float]) -> tuple[str, ...]:
    """Parts that make or read a value, or read a weight, beyond what float16 holds."""
    beyond = {name for name, value in ranges.items() if value > REACH}
    beyond |= {
        name
        for name, array in stored_weights(model).items()
        if array.dtype == np.float32 and array.size and not np.abs(array).max() <= LARGEST_HALF
    }
    part_of = {output: name for name, part in parts.items() for output in part.outputs}
    touched = {
        part_of[node.output[0]]
        for node in model.graph.node
        if node.output[0] in part_of and beyond.intersection((*node.input, *node.output))
    }
    return tuple(name for name in parts if name in touched)
