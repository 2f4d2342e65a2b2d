"""What stands before the first step: the network and its spec, what all processes must agree on, what is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

import roadedge
from roadedge.errors import RecipeError, UsageError
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.training.batches import CITY, OBSERVING, Pool, make_batch
from roadedge.training.processes import Processes
from roadedge.training.qat import START, fine_tuned_spec, load_start, quantized
from roadedge.training.recipe import Recipe
from roadedge.training.run import Run
from roadedge.training.tasks import idle_weights


def new_run(
    recipe: Recipe,
    folders: list[Path],
    pools: list[Pool],
    output: Path,
    init: Path | None,
    resume: bool,
    device: torch.device,
) -> Run:
    """A run before its first step, on `device`: of a fresh network, or of the quantized one to fine-tune."""
    if recipe.qat.on:
        return fine_tuning(recipe, pools, init, output, resume, device)
    return Run(recipe, spec_of(recipe, folders, pools), device=device)


def fine_tuning(
    recipe: Recipe, pools: list[Pool], init: Path | None, output: Path, resume: bool, device: torch.device
) -> Run:
    """A run of quantization-aware fine-tuning; its float network is kept in the run folder as `start.pt`.

    Raises:
        UsageError: there is nothing to start from, or it is quantized already.
    """
    path = output / START if resume else init
    if path is None or not path.exists():
        raise UsageError(f"fine-tuning needs a float checkpoint to start from, got {path}; give one with --init")
    start, seen = load_start(path)
    added = [pool.name for pool in pools if pool.name not in (*seen, CITY)]
    spec = start.spec = fine_tuned_spec(start.spec, recipe, added)
    looked_at = (make_batch(recipe, spec, pools, i, stream=OBSERVING).feeds for i in range(recipe.qat.observe))
    # when resumed the scales come from the saved state
    network = quantized(start, recipe.qat, list(looked_at)[:1] if resume else looked_at)
    run = Run(recipe, spec, network, device)
    run.start = None if resume else path
    if recipe.qat.distil:
        run.teacher = start.deployed().requires_grad_(False).to(device)
    return run


def spec_of(recipe: Recipe, folders: list[Path], pools: list[Pool]) -> ModelSpec:
    """The ModelSpec that this training makes true: its band of ground sample distances and of densities included.

    The band holds what crops are scaled to and what images are brought from: those of BJRoad, at half a metre, are
    trained on at one.
    """
    looked_at = [
        (sample.gsd_m, density_per_mpx(sample, recipe.gsd_m))
        for sample in (pool[i].sample for pool in pools for i in range(0, len(pool), 7))
    ]
    densities = [density for _, density in looked_at if density]
    drawn = [round(recipe.gsd_m * factor, 4) for factor in recipe.augment.scales]
    steps = [*drawn, *(gsd_m for gsd_m, _ in looked_at if gsd_m)]
    band = None
    if densities and "trajectory" in recipe.inputs:
        band = (min(densities) * recipe.augment.density[0], max(densities))
    return ModelSpec(
        recipe.model,
        recipe.inputs,
        gsd_m=recipe.gsd_m,
        gsd_band_m=(min(steps), max(steps)),
        density_band_per_mpx=band,
        licence=recipe.licence,
        semi_synthetic="trajectory" in recipe.inputs and not _measured(recipe, folders),
        lidar=recipe.lidar if "lidar" in recipe.inputs and recipe.lidar.quantity else None,
    )


def _measured(recipe: Recipe, folders: list[Path]) -> bool:
    """Whether all trajectories that are trained on were measured by receivers; those of the city are not."""
    from roadedge.evaluation.sources import declared_origin

    return bool(folders) and recipe.city == 0 and all(declared_origin(folder) == "measured" for folder in folders)


def density_per_mpx(sample: Sample, gsd_m: float) -> float | None:
    """GPS points per megapixel of the network's grid of `gsd_m`, None where the sample has no points."""
    if sample.second is None or not sample.has_points:
        return None
    grid_pixels = sample.size[0] * sample.size[1] * ((sample.gsd_m or gsd_m) / gsd_m) ** 2
    return len(sample.second) / grid_pixels * 1e6


def check_watched(recipe: Recipe, validation: Pool) -> None:
    """Raise RecipeError where the recipe goes by evaluations and there is nothing to evaluate on."""
    if recipe.plateau.watches and not len(validation):
        raise RecipeError(
            "[plateau] goes by the samples set aside, and none are; set some aside ([hold_out]), or leave it out"
        )


def given(
    recipe: Recipe, pools: list[Pool], validation: Pool, precision: str, resume: bool, group: Processes
) -> dict[str, Any]:
    """What must be the same on all processes, by its name in a sentence."""
    return {
        "roadedge": roadedge.__version__,
        "torch": torch.__version__,
        "data": {pool.name: len(pool) for pool in (*pools, validation)},
        "precision": precision,
        "resume": resume,
        "device": group.device.type,
        **{f"{name} (recipe)": value for name, value in dataclasses.asdict(recipe).items()},
    }


def greeting(run: Run, pools: list[Pool], validation: Pool, precision: str, group: Processes) -> list[str]:
    """What a training says of itself before its first step."""
    data = ", ".join(f"{pool.name}: {len(pool)} samples" for pool in pools)
    weights = sum(p.numel() for p in run.network.parameters())
    facts, recipe = group.facts(), run.recipe
    parts = f", in {recipe.accumulate} parts one after the other" if recipe.accumulate > 1 else ""
    lines = [
        f"{data}; chosen by {len(validation)} set aside",
        f"{recipe.model} of {' and '.join(recipe.inputs)}, {weights:,} parameters, {precision}, channels-last, "
        f"on {facts['device']}",
    ]
    idle = [] if recipe.qat.on else idle_weights(run.network, recipe)
    if idle:
        lines.append(f"{', '.join(idle)} counts for nothing: {recipe.model} has no such output")
    if group.count > 1:
        lines.append(
            f"{group.count} processes: a batch of {recipe.batch} samples is {recipe.batch // group.count} on each"
            f"{parts}; loss and batch-norms are over all of them"
        )
    elif parts:
        lines.append(f"a batch of {recipe.batch} samples{parts}; loss and batch-norms are of each part")
    return lines
