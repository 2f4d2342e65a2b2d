"""Scores of one trained network of the study, as the JSON that is committed, and how two of them compare."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.data.corrupt import CHANGES, parse_corruptions
from roadedge.errors import DataError
from roadedge.evaluation.report import EvalResult
from roadedge.metrics.pixel import PixelCounts, paired_bootstrap
from roadedge.spec import ModelSpec, sha256_of
from roadedge.training.recipe import read_recipe

SCHEMA_VERSION = 1
CONDITIONS: dict[str, tuple[str, ...]] = {"clear": (), "fog:0.8": ("fog:0.8",), "points:0.05": ("points:0.05",)}
SETS = ("tianjin", "epfl")  # those with a validation split
CHECKPOINT = "last.pt"


@dataclass(frozen=True, slots=True)
class Difference:
    """G_IoU of the first minus that of the second on the same samples; `interval` over places, 95 %."""

    value: float
    interval: tuple[float, float]

    @property
    def told_apart(self) -> bool:
        """The interval does not hold zero."""
        return not self.interval[0] <= 0 <= self.interval[1]


def score_run(name: str, folder: Path, data: Path) -> dict[str, Any]:
    """Score the last checkpoint of a run folder under every condition, in float on the processor.

    Returns:
        What `benchmarks/results/study/NAME.json` holds. A condition that changes nothing which the network is fed is
        not scored again: it says `same_as_clear`.
    """
    from roadedge.evaluation import EvalSettings, evaluate
    from roadedge.runners import open_runner

    checkpoint = folder / CHECKPOINT
    found: dict[str, Any] = {}
    with open_runner(checkpoint, "torch", "fp32") as runner:
        for condition, texts in CONDITIONS.items():
            if condition != "clear" and not concerns(texts, runner.spec.inputs):
                found[condition] = {"same_as_clear": True}
                continue
            settings = EvalSettings(split="val", corruptions=tuple(parse_corruptions(list(texts))), panels=0)
            found[condition] = kept(evaluate(runner, [data / one for one in SETS], settings))
        inputs = list(runner.spec.inputs)
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "study run",
        "name": name,
        "inputs": inputs,
        "semi_synthetic": "trajectory" in inputs,
        "checkpoint": {"file": CHECKPOINT, "sha256": sha256_of(checkpoint)},
        **training_of(folder),
        "conditions": found,
    }


def concerns(texts: Sequence[str], inputs: Sequence[str]) -> bool:
    """Whether a network that is fed these inputs sees anything of these corruptions."""
    changed = [CHANGES[one.name] for one in parse_corruptions(list(texts))]
    return any(("image" in inputs) if what == "image" else any(i != "image" for i in inputs) for what in changed)


def kept(result: EvalResult) -> dict[str, Any]:
    """Of an evaluation, what the study needs; counts of each sample, so that any two networks can be compared later."""
    result.check_complete()
    document = result.to_dict()
    columns = ("set", "id", "place", "tp", "fp", "fn", "tn", "ignored")
    samples = [[row[key] for key in columns] for row in document["samples"]]
    own = {key: document[key] for key in ("semi_synthetic", "pooled", "sets", "settings", "notes", "environment")}
    return {**own, "columns": list(columns), "samples": samples}


def training_of(folder: Path) -> dict[str, Any]:
    """Recipe, network, size and curve of a run folder."""
    from roadedge.models import create_model
    from roadedge.models.catalogue import cost
    from roadedge.models.checkpoint import read_archive

    recipe = read_recipe(folder / "recipe.toml")
    counted = cost(create_model(recipe.model, ModelSpec(recipe.model, recipe.inputs)))
    with (folder / "log.csv").open(newline="") as file:
        log = list(csv.DictReader(file))
    columns = ("step", "loss", "g_iou")
    rows = [[float(row[key]) if row[key] else None for key in columns] for row in log]
    return {
        "model": recipe.model,
        "cost": dataclasses.asdict(counted),
        "recipe": dataclasses.asdict(recipe),
        "trained": json.loads((folder / "metrics.json").read_text()),
        "drawing": read_archive(folder / "state.pt").get("sampler", {}).get("drawing", 1),  # how batches were drawn
        "environment": json.loads((folder / "env.json").read_text()),
        "log": {"columns": list(columns), "rows": rows},
    }


def read_run(path: Path) -> dict[str, Any]:
    """A run's JSON; raises DataError where it is none of this study."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a run of the study ({error}); delete it and score again") from error
    if content.get("kind") != "study run" or content.get("schema_version") != SCHEMA_VERSION:
        raise DataError(f"{path} is not a run of the study of schema {SCHEMA_VERSION}; delete it and score again")
    return content


def condition_of(run: dict[str, Any], condition: str) -> dict[str, Any]:
    """What a run scored under a condition; that of clear samples where the condition changes nothing that it is fed."""
    found: dict[str, Any] = run["conditions"][condition]
    return run["conditions"]["clear"] if found.get("same_as_clear") else found


def difference(first: dict[str, Any], second: dict[str, Any], condition: str) -> Difference:
    """Compare two runs on the same samples, whole places drawn again.

    Raises:
        DataError: they were scored on other samples, or on fewer than two places.
    """
    ours, theirs = condition_of(first, condition), condition_of(second, condition)
    keys = [[tuple(row[:3]) for row in one["samples"]] for one in (ours, theirs)]
    if keys[0] != keys[1]:
        raise DataError(f"{first['name']} and {second['name']} were scored on other samples; score both again")
    counts = [[PixelCounts(*row[3:]) for row in one["samples"]] for one in (ours, theirs)]
    intervals = paired_bootstrap(counts[0], counts[1], [(row[0], row[2]) for row in ours["samples"]])
    if intervals is None:
        raise DataError("an interval needs samples of at least two places")
    return Difference(ours["pooled"]["G_IoU"] - theirs["pooled"]["G_IoU"], intervals.difference)
