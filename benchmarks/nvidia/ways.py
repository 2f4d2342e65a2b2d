"""The ways to run a network: which there are on a machine, and rows for those that there are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

RUNTIMES = ("tensorrt", "tensorrt-rtx")
FAMILIES = ("torch", "onnxruntime", *RUNTIMES)
FILE_OF = {"fp32": "fp32", "tf32": "fp32", "fp16": "fp16", "int8": "int8-fp16"}  # precision → file
WITHOUT_ENGINE = ("fp32", "tf32", "fp16")  # of torch and ONNX Runtime
NO_INT8 = {
    "torch": "torch has no INT8 convolutions on a GPU",
    "onnxruntime": "its CUDA provider computes Q/DQ pairs in float",
}


@dataclass(frozen=True, slots=True)
class Way:
    """How a network is run: by whom, in what, as a CUDA graph or not; `file` is an engine, ONNX file or checkpoint."""

    family: str
    precision: str
    graph: bool
    file: str
    compiled: bool = False

    @property
    def name(self) -> str:
        """`tensorrt fp16, graph`."""
        how = "compiled" if self.compiled else "graph" if self.graph else "no graph"
        return f"{self.family} {self.precision}, {how}"

    def absent(self, why: str) -> dict[str, Any]:
        """Its row where it cannot be had."""
        return asdict(self) | {"way": self.name, "not_available": why}


def absent(family: str, precision: str, why: str) -> dict[str, Any]:
    """A row for all that a family would have done in a precision, or in all of them."""
    named = {"family": family, "precision": precision, "graph": None, "compiled": False}
    return named | {"way": f"{family} {precision}", "not_available": why}


def nothing(why: str) -> list[dict[str, Any]]:
    """Rows where no family has anything."""
    return [absent(family, "all", why) for family in FAMILIES]


def ways_of(
    files: Mapping[str, Any],
    builds: Sequence[Mapping[str, Any]],
    software: Mapping[str, Any],
    torch_on_cpu: bool = False,
) -> tuple[list[Way], list[dict[str, Any]]]:
    """What can be measured, and rows for what cannot.

    Args:
        files: `Files` as JSON values.
        builds: of engines, failed ones included.
        software: what was found, by name.
        torch_on_cpu: torch is used without a GPU, to rehearse.
    """
    ways: list[Way] = []
    rows: list[dict[str, Any]] = []
    for family in FAMILIES:
        found = software[family]
        if not found["available"] and not (family == "torch" and torch_on_cpu):
            rows.append(absent(family, "all", found["why"]))
        elif family not in RUNTIMES:
            own, lacking = _without_engines(family, files, torch_on_cpu)
            ways, rows = [*ways, *own], [*rows, *lacking]
    for one in builds:
        if "engine" in one:
            ways += [Way(one["runtime"], one["precision"], graph, one["engine"]) for graph in (False, True)]
        else:
            rows.append(absent(one["runtime"], one["precision"], one["not_available"]))
    return ways, rows


def _without_engines(family: str, files: Mapping[str, Any], on_cpu: bool) -> tuple[list[Way], list[dict[str, Any]]]:
    ways: list[Way] = []
    rows: list[dict[str, Any]] = []
    for precision in WITHOUT_ENGINE:
        of = FILE_OF[precision]
        file = files["checkpoint"] if family == "torch" else files["onnx"].get(of)
        if file is None:
            why = "no checkpoint lies beside the weights" if family == "torch" else files["missing"].get(of, "no file")
            rows.append(absent(family, precision, why))
            continue
        if on_cpu and precision == "fp16" and files["weights"] != "fresh":
            rows.append(absent(family, precision, "not rehearsed: a pass on a processor takes seconds"))
            continue
        ways += [Way(family, precision, graph, file) for graph in ((False, True) if family == "torch" else (False,))]
    return ways, [*rows, absent(family, "int8", NO_INT8[family])]
