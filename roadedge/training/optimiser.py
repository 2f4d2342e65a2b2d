"""The optimiser of a recipe: which weights it moves at which multiple of the rate, and which of them it decays."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from roadedge.errors import RecipeError
from roadedge.training.recipe import Recipe

SCALE_PACE = 100  # a step of a learned scale against one of a weight: a fifth of a percent at a rate of 3e-5
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)  # batch-norms and instance-norms are the first


def optimiser_of(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over all weights of a network; raises RecipeError as `weight_groups` does."""
    groups = weight_groups(recipe, network)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, fused=True)
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.lr, eps=recipe.eps, amsgrad=recipe.amsgrad, fused=True)


def weight_groups(recipe: Recipe, network: nn.Module) -> list[dict[str, Any]]:
    """The weights in groups for torch's optimisers, `pace` being the multiple of the rate where it is not one.

    Two groups lead, decayed and not, at the plain rate, as states of runs know them; those of `rates` follow, and
    learned step sizes of fake quantization, which are logarithms, come last.

    Raises:
        RecipeError: `rates` names what no weight of the network begins with.
    """
    named = dict(network.named_parameters())
    _check_names(recipe, named)
    norms = {id(p) for module in network.modules() if isinstance(module, NORMS) for p in module.parameters()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, True): [], (1.0, False): []}
    scales = []
    for name, weight in named.items():
        if name.endswith(".exponent"):
            scales.append(weight)
            continue
        key = (_pace(recipe, name), _decayed(recipe.decayed, weight, id(weight) in norms))
        groups.setdefault(key, []).append(weight)
    found: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": recipe.weight_decay if decayed else 0.0} | _paced(pace)
        for (pace, decayed), weights in groups.items()
    ]
    if scales:
        found.append({"params": scales, "weight_decay": 0.0, "pace": SCALE_PACE})
    return found


def _decayed(which: str, weight: nn.Parameter, of_norm: bool) -> bool:
    return {"weights": weight.ndim > 1, "no-norms": not of_norm, "all": True}[which]


def _paced(pace: float) -> dict[str, float]:
    return {} if pace == 1 else {"pace": pace}


def _pace(recipe: Recipe, name: str) -> float:
    """The multiple of the longest beginning that fits."""
    fitting = [start for start in recipe.rates if _begins(name, start)]
    return recipe.rates[max(fitting, key=len)] if fitting else 1.0


def _begins(name: str, start: str) -> bool:
    return name == start or name.startswith(f"{start}.")


def _check_names(recipe: Recipe, named: dict[str, nn.Parameter]) -> None:
    for start in recipe.rates:
        if not any(_begins(name, start) for name in named):
            known = ", ".join(sorted({name.split(".")[0] for name in named}))
            raise RecipeError(
                f"[rates] names {start!r}, and no weight of {recipe.model} begins so; its parts are {known}"
            )
