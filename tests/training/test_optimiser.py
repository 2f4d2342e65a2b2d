"""Which weights move at which multiple of the rate, and which are decayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from roadedge.errors import RecipeError
from roadedge.models import create_model
from roadedge.spec import ModelSpec
from roadedge.training.batches import make_batch, training_pools
from roadedge.training.optimiser import optimiser_of, weight_groups
from roadedge.training.processes import Processes
from roadedge.training.recipe import Recipe, recipe_from
from roadedge.training.run import Run
from roadedge.training.step import Trainer
from tests.training.test_loop import TINY


class Small(nn.Module):
    """Each kind of weight once."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(4))
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.head = nn.Conv2d(4, 1, 1)
        self.header = nn.Conv2d(4, 1, 1)


def named(recipe: Recipe, network: nn.Module) -> list[tuple[set[str], float, float]]:
    """Of each group its names, decay and multiple of the rate."""
    names = {id(weight): name for name, weight in network.named_parameters()}
    return [
        ({names[id(weight)] for weight in group["params"]}, group["weight_decay"], group.get("pace", 1))
        for group in weight_groups(recipe, network)
    ]


def test_by_default_there_are_two_groups_in_the_order_that_states_know() -> None:
    network = create_model("roadedge-n")
    groups = weight_groups(Recipe(weight_decay=0.3), network)
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert not any("pace" in group for group in groups)
    for group, decayed in zip(groups, (True, False), strict=True):
        expected = [weight for weight in network.parameters() if (weight.ndim > 1) is decayed]
        assert [id(one) for one in group["params"]] == [id(one) for one in expected]


@pytest.mark.parametrize(
    ("decayed", "spared"),
    [
        ("weights", {"0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "3.weight", "3.bias"}),
        ("no-norms", {"1.weight", "1.bias", "2.weight", "2.bias", "3.weight", "3.bias"}),
        ("all", set()),
    ],
)
def test_what_is_decayed(decayed: str, spared: set[str]) -> None:
    own = {"head.bias", "header.bias"} if decayed == "weights" else set()
    groups = named(Recipe(decayed=decayed, weight_decay=0.1), Small())
    assert groups[1][:2] == ({f"trunk.{name}" for name in spared} | own, 0.0)
    assert groups[0][1] == 0.1
    assert len(groups[0][0]) + len(groups[1][0]) == len(list(Small().parameters()))


def test_multiples_of_the_rate_go_by_whole_words_of_names_and_the_longest_wins() -> None:
    groups = named(Recipe(rates={"head": 10, "trunk": 0.5, "trunk.1": 2.0}), Small())
    paced = {name: pace for names, _, pace in groups for name in names}
    assert (paced["head.weight"], paced["head.bias"], paced["header.weight"], paced["scale"]) == (10, 10, 1, 1)
    assert (paced["trunk.0.weight"], paced["trunk.1.weight"], paced["trunk.2.bias"]) == (0.5, 2.0, 0.5)


def test_a_name_that_no_weight_begins_with_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'hed', and no weight of roadedge-s begins so; .* head, header, scale, tr"):
        weight_groups(Recipe(rates={"hed": 10.0}), Small())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"rates": {"head": 0}}, r"\[rates\] has head = 0; expected a multiple"),
        ({"rates": {"head": "fast"}}, r"\[rates\] has head = 'fast'"),
        ({"rates": {"head": float("nan")}}, "expected a multiple"),
        ({"decayed": "biases"}, "decayed must be weights, no-norms or all"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"optimiser": "sgd", "amsgrad": True}, "eps and amsgrad are settings of adam"),
        ({"optimiser": "sgd", "eps": 1e-3}, "eps and amsgrad are settings of adam"),
        ({"final_rate": 1.5}, "final_rate is a share"),
        ({"rate_every": 0}, "rate_every must be at least 1"),
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        recipe_from(settings)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_eps_and_amsgrad_are_those_of_torch(kind: str) -> None:
    recipe = Recipe(optimiser=kind, lr=0.1, eps=1e-3, amsgrad=True, weight_decay=0.0)
    torch.manual_seed(0)
    ours, plain = nn.Linear(3, 2), nn.Linear(3, 2)
    plain.load_state_dict(ours.state_dict())
    theirs = torch.optim.Adam(plain.parameters(), lr=0.1, eps=1e-3, amsgrad=True, foreach=False)
    without = torch.optim.Adam((other := nn.Linear(3, 2)).parameters(), lr=0.1, foreach=False)
    other.load_state_dict(ours.state_dict())
    own = optimiser_of(recipe, ours)
    for size in (1.0, 1e-3, 1e-3, 1e-4):
        for network, optimiser in ((ours, own), (plain, theirs), (other, without)):
            for weight in network.parameters():
                weight.grad = torch.full_like(weight, size)
            optimiser.step()
    assert torch.allclose(ours.weight, plain.weight, rtol=1e-6)
    assert not torch.allclose(ours.weight, other.weight, rtol=1e-3)


def test_a_head_at_ten_times_the_rate_moves_ten_times_as_far(tmp_path: Path) -> None:
    moved: list[dict[str, float]] = []
    for rates in ({}, {"head": 10.0}):
        recipe = Recipe(**{name: getattr(TINY, name) for name in ("model", "crop", "precision", "inputs")}, batch=1,
                        optimiser="sgd", lr=1e-3, schedule="constant", warmup_steps=0, clip=0.0, rates=rates,
                        weight_decay=0.0)  # fmt: skip
        run = Run(recipe, ModelSpec("roadedge-n"))
        before = {name: weight.detach().clone() for name, weight in run.network.named_parameters()}
        pools, _ = training_pools(Recipe(city_tiles=1, city_seeds=1), [])
        Trainer(run, "fp32", Processes(torch.device("cpu"))).step(
            make_batch(recipe, run.network.spec, pools, 0), 0, tmp_path
        )
        moved.append({name: (w.detach() - before[name]).norm().item() for name, w in run.network.named_parameters()})
    heads = {name for name in moved[0] if name.startswith("head.")}
    assert heads
    for name, distance in moved[0].items():
        if distance > 1e-7:
            assert moved[1][name] / distance == pytest.approx(10 if name in heads else 1, rel=1e-2)
