"""FP16 files in which named parts stay float32: typed node by node from a graph in float32, and proved.

The graph says it in types and casts and nothing else, so that a strongly typed TensorRT network computes it as written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from roadedge.calibration.emissions import half_remainder, prepared, remainder_float, type_half
from roadedge.errors import ParityError, UsageError
from roadedge.export.float32_search import MARGINS, Search
from roadedge.export.parts import AUTO, KeptFloat32, Part, kept_float32, matching, mixed_name, parts_of
from roadedge.preprocess import Feeds
from roadedge.runners.base import Runner

if TYPE_CHECKING:
    import onnx

T = TypeVar("T")
WAY_OUT = "--keep-float32 auto finds the parts that must stay float32, --keep-float32 NAME,NAME names them"


@dataclass(frozen=True, slots=True)
class FloatGraph:
    """A graph in float32, or INT8 with a float32 remainder, whose constants are stored tensors.

    `float_values` are first outputs of the nodes that its FP16 file has in float32 in any case; the others are `parts`.
    """

    model: onnx.ModelProto
    float_values: frozenset[str]
    parts: dict[str, Part]
    quantized: bool = False

    def typed(self, kept: Collection[str]) -> onnx.ModelProto:
        """The FP16 graph, with the nodes of first outputs `kept` in float32 too.

        Raises:
            ParityError: a weight in float16 does not fit into it.
        """
        import onnx

        if self.quantized:
            return half_remainder(self.model, kept)
        out = onnx.ModelProto()
        out.CopyFrom(self.model)
        type_half(out, self.float_values | set(kept))
        return out


def remainder_graph(model: onnx.ModelProto) -> FloatGraph:
    """The float remainder of a Q/DQ graph and its parts."""
    out = prepared(model)
    float_values = frozenset(remainder_float(out))
    return FloatGraph(out, float_values, parts_of(out, float_values), quantized=True)


def attempted(
    asked: Sequence[str],
    attempt: Callable[[FloatGraph | None, KeptFloat32 | None], T],
    source: Callable[[], FloatGraph],
    begin: Callable[[FloatGraph], Search],
) -> T:
    """What `attempt` makes of an FP16 file, with parts in float32 where that is asked for.

    Args:
        asked: nothing: plain FP16 or the refusal; patterns of names; or `auto`: plain FP16, and only where that is
            refused the fewest parts that a search finds.
        attempt: makes and proves a file; raises ParityError.
        source: the graph that parts are told by.
        begin: a search in it.

    Raises:
        ParityError: the file is refused; the sentence names the way out.
        UsageError: a pattern stands for no part, or all of them together for all.
        ExportError: the search found nothing.
    """
    if asked and AUTO not in asked:
        graph = source()
        kept = kept_float32(asked, graph.parts, matching(graph.parts, asked))
        if len(kept.outputs) == sum(len(part.outputs) for part in graph.parts.values()):
            raise UsageError("--keep-float32 leaves nothing in float16; name fewer parts, or export without FP16")
        return attempt(graph, kept)
    try:
        return attempt(None, None)
    except ParityError as error:
        if not asked:
            raise ParityError(f"{error}; {WAY_OUT}") from error
    graph = source()
    looked = begin(graph)
    with looked.runner:
        for margin in MARGINS:
            names = looked.find(margin)
            try:
                return attempt(graph, kept_float32(asked, graph.parts, names, looked.trials))
            except ParityError as error:
                refusal = error
    raise ParityError(
        f"{refusal}; {len(names)} of {len(graph.parts)} parts stayed float32, found by --keep-float32 auto"
    )


def said(precision: dict[str, Any], kept: KeptFloat32 | None) -> dict[str, Any]:
    """What provenance says of a precision, and which parts stay float32."""
    if kept is None or not kept.parts:
        return precision
    named = str(precision["requested"]).replace("-", "+")
    return {**precision, "effective": mixed_name(named, len(kept.parts)), "float32": kept.to_dict()}


class Remembered:
    """A runner that computes the same feeds once: what a search compares with again and again."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._known: dict[bytes, Feeds] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        """As the runner does."""
        digest = hashlib.sha256(bytes([logits]))
        for name in sorted(feeds):
            digest.update(feeds[name].tobytes())
        key = digest.digest()
        if key not in self._known:
            self._known[key] = self._runner.infer(feeds, logits)
        return self._known[key]
