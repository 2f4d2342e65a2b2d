"""A network with more outputs than its logits is trained on all of them by the one loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from roadedge.errors import SpecMismatchError
from roadedge.models import MODELS, create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import read_archive
from roadedge.resources import recipe_path
from roadedge.roadgraph import RoadGraph, write_geojson
from roadedge.spec import ModelSpec
from roadedge.training.batches import make_batch, training_pools
from roadedge.training.loop import train
from roadedge.training.recipe import LossSpec, Recipe, read_recipe
from roadedge.training.tasks import idle_weights, labels_wanted, task_of

RECIPE = Recipe(
    name="many", model="many-heads", inputs=("image",), steps=12, batch=2, crop=64, precision="fp32", warmup_steps=1,
    optimiser="sgd", schedule="steps", drops=(0.5,), lr=0.05, loss=LossSpec("soft-iou"), evaluate_every=12,
    save_every=12, panels=0,
)  # fmt: skip


class ManyHeads(RoadNet):
    """One convolution and a head for each task, at full size and at a quarter."""

    def __init__(self, spec: ModelSpec, pool: int = 4) -> None:
        super().__init__(spec)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.heads = nn.ModuleDict({"road": nn.Conv2d(8, 2, 1), "connectivity": nn.Conv2d(8, 5, 1),
                                    "orientation": nn.Conv2d(8, 37, 1)})  # fmt: skip
        self.pool = pool

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        x = torch.relu(self.stem(feeds["image"].float().permute(0, 3, 1, 2) / 255))
        road = self.heads["road"](x)
        out = {"logits": road[:, 1:] - road[:, :1]}
        if self.training:
            small = nn.functional.avg_pool2d(x, self.pool)
            out |= {"quarter_logits": self.heads["road"](small), "connectivity": self.heads["connectivity"](x)}
            out |= {f"quarter_{task}": self.heads[task](small) for task in ("connectivity", "orientation")}
        return out


@pytest.fixture(autouse=True)
def _many_heads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="roads are traced by scikit-image (extra graph)")
    monkeypatch.setitem(MODELS, "many-heads", ManyHeads)
    monkeypatch.setenv("ROADEDGE_CACHE", str(tmp_path / "cache"))


def network() -> ManyHeads:
    return ManyHeads(ModelSpec("many-heads", ("image",)))


def test_names_say_the_task() -> None:
    named = {
        "logits": "road",
        "half_logits": "road",
        "connectivity_1": "connectivity",
        "half_orientation": "orientation",
    }
    assert {name: task_of(name) for name in named} == named
    assert task_of("edges") is None


def test_a_weight_that_was_set_for_an_output_that_is_not_there_is_told() -> None:
    plain = create_model("dlinknet34-slim", ModelSpec("dlinknet34-slim", ("image",)))
    asked = replace(RECIPE, loss=LossSpec(connectivity=3.0))
    assert idle_weights(plain, asked) == ["loss.connectivity = 3"]
    assert idle_weights(network(), asked) == []
    assert idle_weights(plain, RECIPE) == []
    assert idle_weights(plain, replace(RECIPE, loss=LossSpec(connectivity=0.0))) == []


def test_the_labels_are_those_of_the_outputs() -> None:
    assert labels_wanted(network(), RECIPE) == (("connectivity", 1), ("connectivity", 4), ("orientation", 4))
    silent = replace(RECIPE, loss=LossSpec(connectivity=0.0))
    assert labels_wanted(network(), silent) == (("orientation", 4),)
    with pytest.raises(SpecMismatchError, match=r"has 21 pixels a side and a crop 64"):
        labels_wanted(ManyHeads(ModelSpec("many-heads", ("image",)), pool=3), RECIPE)


def test_labels_lie_on_the_crop_of_their_batch(folder: Path) -> None:
    pools, _ = training_pools(RECIPE, [folder])
    wanted = labels_wanted(network(), RECIPE)
    spec = ModelSpec("many-heads", ("image",))
    for step in range(4):
        batch, again = (make_batch(RECIPE, spec, pools, step, wanted=wanted) for _ in range(2))
        plain = make_batch(RECIPE, spec, pools, step)
        assert np.array_equal(plain.target, batch.target)
        assert {key: plane.shape for key, plane in batch.labels.items()} == {
            "connectivity/1": (2, 64, 64), "connectivity/4": (2, 16, 16), "orientation/4": (2, 16, 16),
        }  # fmt: skip
        ways = batch.labels["connectivity/1"]
        assert ((ways == 255) == (batch.target == 128)).all()
        on_road = (ways > 0) & (ways < 255)
        assert (batch.target[on_road] == 255).mean() > 0.95 if on_road.any() else True
        assert all(np.array_equal(batch.labels[key], again.labels[key]) for key in batch.labels)


def test_centre_lines_beside_a_tile_are_what_is_learnt(folder: Path) -> None:
    line = np.array([[5.5, 5.5], [90.5, 80.5]])
    for i in range(4):
        write_geojson(folder / "roads" / f"t{i}.geojson", RoadGraph(line, np.array([0]), np.array([1]), (line,)))
    pools, _ = training_pools(RECIPE, [folder])
    assert all(np.array_equal(pools[0].roads(i).lines[0], line) for i in range(len(pools[0])))
    (folder / "roads" / "t0.geojson").unlink()
    pools, _ = training_pools(RECIPE, [folder])
    drawn = [pools[0].roads(i).lines[0] for i in range(len(pools[0])) if pools[0][i].id == "t0"]
    assert all(not np.array_equal(one, line) for one in drawn)


def test_all_heads_learn_in_the_one_loop(folder: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    train(RECIPE, [folder], tmp_path / "run", threads=1, report=lambda text: None,
          on_step=lambda step, steps, loss: losses.append(loss))  # fmt: skip
    assert losses[-1] < losses[0]
    torch.manual_seed(RECIPE.seed)
    fresh = network().state_dict()
    trained = read_archive(tmp_path / "run" / "state.pt")["network"]
    assert all(not torch.equal(fresh[name], trained[name]) for name in fresh)
    assert len(list((tmp_path / "cache").rglob("*.geojson"))) <= 3  # one for each tile that is trained on


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        ("cu-dgcn-deepglobe", {("orientation", 1), ("orientation", 2), ("orientation", 4)}),
        ("joint-connectivity-spacenet3", {("connectivity", 1), ("connectivity", 4)}),
        ("d-segnext-t-open-pit", set()),
    ],
)
def test_recipes_of_papers_train_the_tasks_of_their_papers(recipe: str, wanted: set[tuple[str, int]]) -> None:
    chosen = read_recipe(recipe_path(recipe))
    network = create_model(chosen.model.replace("cu-dgcn", "cu-dgcn-tiny"), ModelSpec(chosen.model, chosen.inputs))
    assert set(labels_wanted(network, chosen)) == wanted
