"""The artefacts that the accuracy gate compares: named, opened, and checked to be fed alike."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roadedge.errors import SpecMismatchError, UsageError
from roadedge.runners import RejectedArtefactWarning, Runner, open_runner
from roadedge.spec import ModelSpec
from roadedge.weights import find_model

FED_BY = ("inputs", "gsd_m", "gsd_tolerance", "heatmap", "blank_rgb", "threshold")  # of a spec: all but its size


@dataclass(frozen=True, slots=True)
class Candidate:
    """One artefact to be measured, under the name that the tables use: FP32, FP16, INT8-PTQ, INT8-QAT."""

    label: str
    model: Path
    backend: str = "auto"
    precision: str | None = None


def parse_candidates(texts: Sequence[str], backend: str = "auto", precision: str | None = None) -> list[Candidate]:
    """`[LABEL=]FILE` or a carried network's name, each; without a label it is called by its precision.

    Raises:
        UsageError: two of one label.
        and what `find_model` raises.
    """
    found = []
    for text in texts:
        label, equals, file = text.partition("=") if not Path(text).exists() else ("", "", text)
        path = find_model(file if equals else text)
        found.append(Candidate(label if equals else label_of(path), path, backend, precision))
    twice = [c.label for c in found if [o.label for o in found].count(c.label) > 1]
    if twice:
        raise UsageError(f"two candidates are called {twice[0]}; name them: LABEL=FILE")
    return found


def label_of(path: Path) -> str:
    """`roadedge-s.fp16.onnx` → FP16, `.int8-fp16.` → INT8+FP16, no precision in the name → FP32."""
    parts = path.name.split(".")
    kinds = {"int8": "INT8", "fp16": "FP16", "int8-fp16": "INT8+FP16"}
    return next((kinds[part] for part in parts if part in kinds), "FP32")


def check_candidates(candidates: Sequence[Candidate]) -> None:
    """Raise UsageError without a candidate, or where two have one name."""
    labels = [c.label for c in candidates]
    if not labels or len(set(labels)) != len(labels):
        raise UsageError(f"the gate needs candidates with names of their own, the reference first; got {labels}")


def check_asked(candidates: Sequence[Candidate], mark: bool, bootstrap: int) -> None:
    """Raise UsageError where nothing would be judged, or a verdict would be written down without its interval."""
    if len(candidates) < 2:
        names = ", ".join(str(one.model) for one in candidates) or "no file"
        raise UsageError(f"the gate compares candidates with a reference, which comes first; got {names} alone")
    if mark and bootstrap < 1:
        raise UsageError("--mark writes down what the interval's lower end decided; leave --bootstrap 0 out")


def opened(candidate: Candidate, threads: int | None) -> Runner:
    """A runner; one that was rejected before is measured again, which is what this is for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RejectedArtefactWarning)
        return open_runner(candidate.model, candidate.backend, candidate.precision, threads, accept_rejected=True)


def common_spec(runners: dict[str, Runner]) -> ModelSpec:
    """The reference's spec; raises SpecMismatchError where another candidate is fed or read differently."""
    reference, first = next(iter(runners.items()))
    for label, runner in runners.items():
        differing = [name for name in FED_BY if getattr(runner.spec, name) != getattr(first.spec, name)]
        if differing:
            raise SpecMismatchError(
                f"{label} and {reference} are fed differently: their specs differ in {', '.join(differing)}; "
                "compare files that come from one checkpoint"
            )
    return first.spec
