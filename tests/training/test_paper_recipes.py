"""The recipes of the papers say what the papers say: each number here is published, each network can be built."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from roadedge.data.augment import draw_crop
from roadedge.data.folder import LabelledSample
from roadedge.data.tlcgis import GSD_M
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.preprocess import fit
from roadedge.resources import recipe_names, recipe_path
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.training.optimiser import weight_groups
from roadedge.training.plateau import PlateauSpec
from roadedge.training.recipe import Recipe, read_recipe
from roadedge.training.tasks import labels_wanted


@dataclass(frozen=True)
class Published:
    """What a paper or its scripts give; an update is a batch, an epoch all training tiles (or their crops) once."""

    model: str
    inputs: tuple[str, ...]
    optimiser: str
    lr: float
    batch: int
    crop: int
    epochs: int = 0
    tiles: int = 0
    iterations: int = 0
    weight_decay: float = 0.0
    schedule: str = "constant"
    drops_at: tuple[int, ...] = ()  # epochs
    warmup: int = 0
    road: str = "bce-dice"
    dice: float = 1.0
    folds: int = 0
    labels: tuple[tuple[str, int], ...] = ()  # beside roads, with their scales
    eps: float = 1e-8
    amsgrad: bool = False
    decayed: str = "all"  # where anything is
    final_rate: float = 0.0  # of a cosine, which changes once an epoch
    rates: dict[str, float] = field(default_factory=dict)
    plateau: PlateauSpec = field(default_factory=PlateauSpec)
    warmup_within: bool = False
    turns: tuple[float, float] = (0.5, 1.0)  # of flips, and of quarter turns
    hsv: tuple[float, float, float] = (0.0, 0.0, 0.0)
    distort_p: float = 0.0
    redraws: tuple[float, bool] = (1.0, False)

    @property
    def updates(self) -> float:
        """Of the whole training."""
        return self.iterations or self.epochs * self.tiles / self.batch


BOTH, LIDAR, IMAGE = ("image", "trajectory"), ("image", "lidar"), ("image",)


HSV = (30.0, 5.0, 15.0)


def adam(model: str, inputs: tuple[str, ...], tiles: int, epochs: int, folds: int = 0) -> Published:
    """CMIPNet, and with half its rate and no cosine CMMPNet and its early fusion; nothing is augmented but BJRoad."""
    first, augmented = model.startswith("cmipnet"), tiles == 250
    lr, schedule = (2e-4, "cosine") if first else (1e-4, "constant")
    cuts = PlateauSpec(5, 1 / 5, restart=True) if first else PlateauSpec(6, 1 / 10)  # at more than 4 and 5 epochs
    return Published(
        model, inputs, "adam", lr, 8, 512, epochs, tiles, schedule=schedule, folds=folds, plateau=cuts,
        turns=(0.5, 1.0) if augmented else (0.0, 0.0), hsv=HSV if augmented else (0.0, 0.0, 0.0),
    )  # fmt: skip


def mining(size: str, lr: float) -> Published:
    """D-SegNeXt by its size, on the data set of a rate."""
    long = size == "b"
    return Published(
        f"d-segnext-{size}", IMAGE, "adamw", lr, 4 if long else 8, 1024, iterations=40000 if long else 20000,
        weight_decay=0.01, schedule="linear", warmup=1500, dice=0.0, decayed="no-norms", warmup_within=True,
        rates={"head": 10.0, "classify": 10.0}, turns=(0.5, 0.0), distort_p=1.0, redraws=(0.75, False),
    )  # fmt: skip


def reasoned(tiles: int) -> Published:
    """CU-dGCN by the tiles of a data set, each cut into nine crops."""
    return Published(
        "cu-dgcn", IMAGE, "sgd", 0.01, 11, 256, 120, 9 * tiles, weight_decay=1e-4, schedule="steps",
        drops_at=(50, 90, 110), road="soft-iou", labels=(("orientation", 1), ("orientation", 2), ("orientation", 4)),
    )  # fmt: skip


PUBLISHED = {
    "cmipnet-bjroad": adam("cmipnet", BOTH, 250, 30),
    "cmipnet-porto": adam("cmipnet-hrnet18", BOTH, 4234, 50, folds=5),
    "cmipnet-tlcgis": adam("cmipnet", LIDAR, 2640, 50),
    "cmmpnet-bjroad": adam("cmmpnet", BOTH, 250, 30),
    "cmmpnet-porto": adam("cmmpnet", BOTH, 4234, 50, folds=5),
    "cmmpnet-tlcgis": adam("cmmpnet", LIDAR, 2640, 50),
    "dlinknet34-bjroad": adam("dlinknet34", BOTH, 250, 30),
    "cu-dgcn-deepglobe": reasoned(4696),
    "cu-dgcn-massachusetts": reasoned(1108),
    "cu-dgcn-spacenet3": reasoned(1730),
    **{f"d-segnext-{size}-open-pit": mining(size, 6e-5) for size in "tsb"},
    **{f"d-segnext-{size}-deepglobe": mining(size, 6e-4) for size in "tsb"},
    "joint-connectivity-spacenet3": Published(
        "joint-connectivity", IMAGE, "adam", 1e-3, 1, 256, 100, 1730, schedule="steps", drops_at=(50,),
        road="soft-iou", labels=(("connectivity", 1), ("connectivity", 4)), eps=1e-3, amsgrad=True, hsv=HSV,
        plateau=PlateauSpec(stop_after=10), redraws=(1.0, True),
    ),
}  # fmt: skip
OURS = {"cmipnet-research", "study"}


def on_meta(recipe: Recipe) -> RoadNet:
    """The network of a recipe, without its weights."""
    with torch.device("meta"):
        return create_model(recipe.model, ModelSpec(recipe.model, recipe.inputs, gsd_m=recipe.gsd_m))


def test_each_recipe_of_a_paper_is_held_against_it() -> None:
    assert {name for name in recipe_names() if not name.startswith("roadedge-")} == PUBLISHED.keys() | OURS


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_names_itself_and_its_network_can_be_built(name: str) -> None:
    recipe = read_recipe(recipe_path(name))
    assert recipe.name == name
    assert sum(p.numel() for p in on_meta(recipe).parameters()) > 1e5


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_the_published_ones(name: str) -> None:
    recipe, paper = read_recipe(recipe_path(name)), PUBLISHED[name]
    same = ("model", "inputs", "optimiser", "lr", "batch", "crop", "weight_decay", "schedule", "dice", "folds", "eps",
            "amsgrad", "rates", "plateau", "warmup_within")  # fmt: skip
    assert {key: getattr(recipe, key) for key in same} == {key: getattr(paper, key) for key in same}
    assert recipe.steps == pytest.approx(paper.updates, rel=3e-3)
    assert recipe.warmup_steps == paper.warmup
    assert recipe.loss.road == paper.road
    assert [round(share * paper.epochs) for share in recipe.drops] == list(paper.drops_at)
    assert (recipe.accumulate, recipe.ema, recipe.clip, recipe.precision) == (1, 0.0, 0.0, "fp32")
    assert labels_wanted(on_meta(recipe), recipe) == paper.labels


@pytest.mark.parametrize("name", PUBLISHED)
def test_decay_and_augmentation_are_the_published_ones(name: str) -> None:
    recipe, paper = read_recipe(recipe_path(name)), PUBLISHED[name]
    spec = recipe.augment
    if paper.weight_decay:
        assert recipe.decayed == paper.decayed
    if paper.schedule == "cosine":
        assert recipe.final_rate == paper.final_rate
    assert (spec.flip_p, spec.turn_p) == paper.turns
    assert (spec.hsv, spec.distort_p, spec.redraw_above, spec.redraw_empty) == (
        paper.hsv, paper.distort_p, *paper.redraws,
    )  # fmt: skip
    assert spec.hsv_p == 0.5 or not any(spec.hsv)
    ours = ("rotate_p", "colour", "trees_p", "fog_p", "density_p", "perturb_p", "shift_p", "omission_p", "coarse_p",
            "drop_second_p", "drop_image_p")  # fmt: skip
    assert not any(getattr(spec, one) for one in ours)


@pytest.mark.parametrize("name", [name for name, paper in PUBLISHED.items() if paper.plateau.watches])
def test_where_evaluations_decide_there_is_one_in_each_epoch(name: str) -> None:
    recipe, paper = read_recipe(recipe_path(name)), PUBLISHED[name]
    assert recipe.evaluate_every == int(paper.tiles / paper.batch)
    assert recipe.rate_every == (recipe.evaluate_every if recipe.schedule == "cosine" else 1)


def test_the_head_of_dsegnext_is_all_behind_its_trunk() -> None:
    recipe = read_recipe(recipe_path("d-segnext-t-open-pit"))
    network = on_meta(recipe)
    trunk = sum(p.numel() for name, p in network.named_parameters() if name.startswith("stages."))
    groups = weight_groups(recipe, network)
    plain, head = (sum(p.numel() for g in groups for p in g["params"] if g.get("pace", 1) == pace) for pace in (1, 10))
    assert (plain, head) == (trunk, sum(p.numel() for p in network.parameters()) - trunk)
    assert len(groups) == 4  # of each the norms apart


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.startswith("d-segnext")])
def test_dsegnext_sees_tiles_of_1280_pixels_at_half_to_twice_their_size(name: str) -> None:
    recipe = read_recipe(recipe_path(name))
    of_tiles = 0.5 if name.endswith("deepglobe") else recipe.gsd_m  # the mine's do not say theirs
    steps = [recipe.gsd_m / of_tiles * scale for scale in recipe.augment.scale]  # source pixels for one of a crop
    assert [1024 / step for step in steps] == pytest.approx([1280 * 2.0, 1280 * 0.5])


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.endswith("bjroad")])
def test_crops_of_bjroad_are_seven_to_nine_tenths_of_a_tile_and_a_tenth_more_or_less(name: str) -> None:
    spec = read_recipe(recipe_path(name)).augment
    assert (spec.scale, spec.scale_p, spec.aspect) == ((0.9, 1.1), 0.5, 0.1)
    assert (spec.zoom, spec.zoom_p) == ((0.7, 0.9), 0.5)
    assert spec.scales == pytest.approx((0.9 * 0.7, 1.1))


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.endswith("tlcgis")])
def test_tiles_of_tlcgis_are_stretched_to_the_crop(name: str) -> None:
    recipe = read_recipe(recipe_path(name))
    mask = np.zeros((500, 500), np.uint8)
    mask[:250, :100] = 255
    item = LabelledSample(Sample(np.repeat(mask[..., None], 3, 2), gsd_m=GSD_M), mask, "a", "train")
    moved, truth = draw_crop(item, recipe.crop, recipe.gsd_m, recipe.augment, np.random.default_rng(0))
    assert moved.size == (512, 512)
    assert not (truth == 128).any()
    assert ((truth[:256, :102] == 255).mean(), (truth == 255).mean()) == pytest.approx((1, 0.1), abs=2e-3)
    spec = ModelSpec(recipe.model, recipe.inputs, gsd_m=recipe.gsd_m)
    assert fit((500, 500), GSD_M, spec).grid == (512, 512)  # when scored too
