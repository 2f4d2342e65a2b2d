"""The learning rate of a step: a pure function of the recipe, the step and the cuts on a plateau so far."""

from __future__ import annotations

import math

from roadedge.training.plateau import Plateau
from roadedge.training.recipe import Recipe


def rate(recipe: Recipe, step: int, plateau: Plateau | None = None) -> float:
    """Learning rate of a step, counted from 0.

    Args:
        recipe: its schedule, and what a cut does.
        step: of which the schedule's rate is taken, or of the last multiple of `rate_every` before it.
        plateau: the cuts that were made before this step; default none.
    """
    planned = _planned(recipe, step)
    if plateau is None or not plateau.cuts:
        return planned
    share = plateau.share(recipe.plateau)
    if recipe.plateau.restart:  # from the full rate, by the form that the schedule has from the cut on
        return recipe.lr * share * planned / _planned(recipe, plateau.cut_at)
    return planned * share


def _planned(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then the schedule; or, with `warmup_within`, the schedule, and in the beginning a share of it."""
    step -= step % recipe.rate_every
    if step >= recipe.warmup_steps:
        return _scheduled(recipe, step)
    reached = _scheduled(recipe, step) if recipe.warmup_within else recipe.lr
    return reached * (step + 1) / recipe.warmup_steps


def _scheduled(recipe: Recipe, step: int) -> float:
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "steps":
        drops = sum(step >= round(share * recipe.steps) for share in recipe.drops)
        return float(recipe.lr * 0.1**drops)
    before = 0 if recipe.warmup_within else recipe.warmup_steps
    share = (step - before) / max(1, recipe.steps - before)
    if recipe.schedule == "linear":
        return recipe.lr * max(0.0, 1 - share)
    final = recipe.final_rate
    return recipe.lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))
