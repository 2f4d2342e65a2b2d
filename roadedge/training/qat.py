"""Quantization-aware fine-tuning: a trained network with fake quantization, its ranges observed, a teacher beside it.

The float network is folded and quantized, observers look at some batches of the recipe's own stream (fog, sparse and
blank ones among them) before the first step and stay as they are from then on; the weights adapt in the ordinary loop.
The float network goes along as a teacher, so that what it knows beyond the labels is not unlearnt on the way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from roadedge.calibration.ranges import Histogram, parse_method
from roadedge.errors import SpecMismatchError, UsageError
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import load_network
from roadedge.models.placement import scale_of
from roadedge.models.quantized import Quantization, QuantizedNet
from roadedge.preprocess import Feeds
from roadedge.spec import ModelSpec
from roadedge.training.losses import IGNORED, Across, alone, totals
from roadedge.training.plateau import PlateauSpec
from roadedge.training.recipe import QatSpec, Recipe, recipe_of_text

START = "start.pt"  # in the run folder: the float network that fine-tuning started from
WARM_UP = 20  # steps


def qat_recipe(provenance: dict[str, Any], name: str, **changes: Any) -> Recipe:
    """The recipe that fine-tunes a network: that of its training, shorter and slower, with `qat` on.

    Args:
        provenance: of the checkpoint; without a recipe the defaults are taken.
        name: of the run.
        changes: fields of Recipe, or of QatSpec; None for unchanged.

    Raises:
        RecipeError: a value out of range, or a recipe that cannot be read.
    """
    stated = provenance.get("recipe")
    before = recipe_of_text(stated, "the checkpoint's recipe") if isinstance(stated, str) else Recipe()
    given = {key: value for key, value in changes.items() if value is not None}
    own = {f.name for f in dataclasses.fields(QatSpec)} - {"steps", "lr"}
    qat = dataclasses.replace(before.qat, on=True, **{key: given.pop(key) for key in own & given.keys()})
    steps = given.pop("steps", qat.steps)
    short = {"warmup_steps": min(WARM_UP, steps), "ema": 0.99, "evaluate_every": max(1, steps // 3), "panels": 0}
    # What was counted in epochs and evaluations of the long training, and a pace of weights that start from nothing.
    plain = {"rate_every": 1, "rates": {}, "plateau": PlateauSpec()}
    return dataclasses.replace(before, name=name, steps=steps, qat=qat, **{"lr": qat.lr} | short | plain | given)


def load_start(path: Path) -> tuple[RoadNet, tuple[str, ...]]:
    """The float network to fine-tune, and the names of the data sets that it was trained on, as far as it says.

    Raises:
        UsageError: it is quantized already.
    """
    network, provenance = load_network(path)
    if isinstance(network, QuantizedNet):
        raise UsageError(f"{path} is quantized already; give the float checkpoint that it came from")
    return network, tuple(map(str, provenance.get("data", ())))


def quantized(network: RoadNet, qat: QatSpec, batches: Iterable[Feeds]) -> QuantizedNet:
    """A quantized copy of a float network whose ranges were read off `batches`.

    Raises:
        UnknownNameError: no such method, or no convolution of a name to keep float.
    """
    out = QuantizedNet(network, Quantization(qat.keep_float, learned=qat.learned)).eval()
    observe(out, batches, qat.method)
    return out


@torch.no_grad()
def observe(network: QuantizedNet, batches: Iterable[Feeds], method: str) -> None:
    """Set the scales of all values by what they are on `batches`; weights are quantized meanwhile, values are not."""
    chosen = parse_method(method)
    histograms = {number: Histogram() for number in network.points()}
    network.observe(dict(histograms))
    try:
        for feeds in batches:
            network({name: torch.from_numpy(value) for name, value in feeds.items()})
    finally:
        network.observe(None)
    for number, point in network.points().items():
        point.set(torch.tensor(scale_of(chosen.range_of(histograms[number]))))


def distance(logits: Tensor, teacher: Tensor, target: Tensor, across: Across = alone) -> Tensor:
    """How far the probabilities are from the teacher's: binary Kullback-Leibler divergence, ignored pixels left out.

    Args:
        logits: (N, 1, H, W).
        teacher: (N, 1, H, W) logits.
        target: (N, H, W) uint8, of which 128 is ignored.
        across: sums over the processes that share the batch, see `losses`.
    """
    known = (target != IGNORED).unsqueeze(1)
    said = torch.sigmoid(teacher.float())
    cross = nn.functional.binary_cross_entropy_with_logits(logits.float(), said, reduction="none")
    own = nn.functional.binary_cross_entropy_with_logits(teacher.float(), said, reduction="none")
    apart, pixels = totals(across, ((cross - own) * known).sum(), known.sum())
    return apart / pixels.clamp(min=1)


def fine_tuned_spec(before: ModelSpec, recipe: Recipe, added: Sequence[str] = ()) -> ModelSpec:
    """The spec after fine-tuning: that of before, with the licence of the new data where it has one.

    A recipe that came with the network says nothing of pixels that its training did not see, and what was for research
    only stays so.

    Args:
        before: of the float network.
        recipe: of the fine-tuning.
        added: names of data sets that the float network was not trained on.

    Raises:
        SpecMismatchError: the recipe is of another network.
    """
    if (before.name, before.inputs) != (recipe.model, recipe.inputs):
        raise SpecMismatchError(
            f"the recipe trains {recipe.model} on {recipe.inputs}, the checkpoint is {before.name} on {before.inputs}"
        )
    licence = recipe.licence or before.licence
    if before.research_only and not licence.startswith("research-only"):
        licence = f"{before.licence}; fine-tuned: {licence}"
    if added and licence and licence == before.licence:
        licence = f"{licence}; fine-tuned on {', '.join(added)}, whose licence is not stated"
    return dataclasses.replace(before, licence=licence)
