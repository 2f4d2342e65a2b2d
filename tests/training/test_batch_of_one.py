"""Norms behind a mean over the whole map want more than one sample, and say so before a run begins."""

from __future__ import annotations

import pytest
import torch

from roadedge.errors import UsageError
from roadedge.models import create_model
from roadedge.spec import ModelSpec
from roadedge.training.recipe import Recipe
from roadedge.training.tasks import labels_wanted


@pytest.mark.parametrize("name", ["cu-dgcn-tiny", "deeplabv3plus"])
def test_a_norm_that_would_see_one_value_is_named(name: str) -> None:
    with torch.device("meta"):
        network = create_model(name, ModelSpec(name, inputs=("image",)))
    alone = Recipe(name="one", model=name, inputs=("image",), batch=1, crop=64)
    with pytest.raises(UsageError, match=f"{name} has a batch-norm .* a batch of 1 .*--batch 2 or more"):
        labels_wanted(network, alone)


def test_other_networks_learn_from_single_samples() -> None:
    with torch.device("meta"):
        network = create_model("joint-connectivity-mb", ModelSpec("joint-connectivity-mb", inputs=("image",)))
    wanted = [
        labels_wanted(network, Recipe(name="n", model="joint-connectivity-mb", inputs=("image",), batch=batch, crop=64))
        for batch in (1, 2)
    ]
    assert wanted == [(("connectivity", 1), ("connectivity", 4))] * 2
