"""What the outputs of a network are, by the words of their names, and which labels training them needs.

`logits` and every `*_logits` are roads, `connectivity` and `orientation` in a name are those tasks: `half_orientation`,
`connectivity_1`. The scale of an output is read off its size.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from roadedge.data.road_labels import LABELS, Wanted
from roadedge.errors import SpecMismatchError, UsageError
from roadedge.models.blocks import RoadNet
from roadedge.training.recipe import LossSpec, Recipe

ROAD = "road"


def task_of(name: str) -> str | None:
    """Road, connectivity or orientation; None for an output of another kind, which is not trained."""
    words = name.split("_")
    return next((task for task in LABELS if task in words), ROAD if "logits" in words else None)


def labels_wanted(network: RoadNet, recipe: Recipe) -> Wanted:
    """Task and scale of all labels that this network's outputs need. Nothing is computed, shapes are only followed.

    Raises:
        SpecMismatchError: an output whose size does not divide that of the crop.
        UsageError: a batch of one, which a norm behind a mean over the whole map cannot be trained on.
    """
    try:
        with torch.no_grad():
            _, outputs = _followed(network, recipe, samples=min(2, recipe.batch))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UsageError(
            f"{recipe.model} has a batch-norm that sees one value of each sample of {recipe.crop} pixels, and a batch "
            f"of {recipe.batch} leaves it nothing to compare: take --batch 2 or more"
        ) from error
    found = set()
    for name, output in outputs.items():
        task = task_of(name)
        if task in LABELS and recipe.loss.weight(task):
            scale, rest = divmod(recipe.crop, output.shape[-1])
            if rest or not scale:
                raise SpecMismatchError(
                    f"the output {name} has {output.shape[-1]} pixels a side and a crop {recipe.crop}; "
                    "take a crop that is a multiple of it"
                )
            found.add((task, scale))
    return tuple(sorted(found))


def idle_weights(network: RoadNet, recipe: Recipe) -> list[str]:
    """Weights of the recipe's [loss] that were set and that no output of this network is trained with."""
    ours, usual = recipe.loss, LossSpec()
    changed = [task for task in LABELS if ours.weight(task) not in (0.0, usual.weight(task))]
    if not changed:
        return []
    with torch.no_grad():
        _, outputs = _followed(network, recipe)
    there = {task_of(name) for name in outputs}
    return [f"loss.{task} = {ours.weight(task):g}" for task in changed if task not in there]


def has_untrained(network: RoadNet, recipe: Recipe) -> bool:
    """Whether some weights are reached by no loss of the recipe."""
    probe, outputs = _followed(network, recipe, "cpu" if recipe.qat.on else "meta")  # where fake quantization runs
    tasks = {name: task_of(name) for name in outputs}
    reached = [name for name, task in tasks.items() if name == "logits" or (task and recipe.loss.weight(task))]
    loss = sum((outputs[name].float().sum() for name in reached), probe.penalty())
    loss.backward()  # type: ignore[no-untyped-call]
    return any(p.requires_grad and p.grad is None for p in probe.parameters())


def _followed(
    network: RoadNet, recipe: Recipe, device: str = "meta", samples: int = 2
) -> tuple[RoadNet, dict[str, Tensor]]:
    """A copy of a network, on torch's meta device where nothing is computed, and what it gives for some crops."""
    probe = copy.deepcopy(network).to(device).train()
    sides = (samples, recipe.crop, recipe.crop)
    feeds = {
        name: torch.zeros(*sides, 3 if name == "image" else 1, dtype=torch.uint8, device=device)
        for name in network.spec.inputs
    }
    return probe, probe(feeds)
