"""Quantization-aware fine-tuning: observed ranges, weights that adapt, runs that resume."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from roadedge.errors import RecipeError, SpecMismatchError, UnknownNameError, UsageError
from roadedge.models import create_model
from roadedge.models.checkpoint import load_network, save_network
from roadedge.models.quantized import Quantization, QuantizedNet
from roadedge.spec import ModelSpec
from roadedge.training.loop import train
from roadedge.training.qat import distance, fine_tuned_spec, qat_recipe, quantized
from roadedge.training.recipe import QatSpec, Recipe, override, read_recipe, to_toml
from tests.models.networks import disturb_norms
from tests.training.test_loop import TINY, quiet

QAT = QatSpec(on=True, observe=2, method="max")
SHORT = override(TINY, name="short", steps=4, lr=1e-3, qat=QAT)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A float checkpoint."""
    torch.manual_seed(0)
    network = create_model("roadedge-n")
    disturb_norms(network)
    save_network(tmp_path / "float.pt", network.eval(), {"recipe": to_toml(TINY)})
    return tmp_path / "float.pt"


def feeds(seed: int, count: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.integers(0, 256, (count, 64, 64, c), np.uint8) for n, c in (("image", 3), ("trajectory", 1))}


def test_by_max_no_value_of_the_observed_batches_is_clipped(start: Path) -> None:
    network, _ = load_network(start)
    out = quantized(network, QAT, [feeds(0), feeds(1)])
    largest: dict[int, float] = {}

    class Recorder:
        def __init__(self, group: int) -> None:
            self.group = group

        def add(self, values: np.ndarray) -> None:
            largest[self.group] = max(largest.get(self.group, 0.0), float(np.abs(values).max()))

    out.observe({number: Recorder(number) for number in out.points()})
    with torch.no_grad():
        for seed in (0, 1):
            out({name: torch.from_numpy(value) for name, value in feeds(seed).items()})
    assert largest.keys() == out.points().keys()
    for number, point in out.points().items():
        assert float(point.scale[0]) == pytest.approx(largest[number] / 127, rel=1e-3)


def test_fine_tuning_moves_the_weights_and_leaves_the_ranges(folder: Path, start: Path, tmp_path: Path) -> None:
    result = train(SHORT, [folder], tmp_path / "run", init=start, threads=1, report=quiet)
    network, provenance = load_network(result.best)
    assert isinstance(network, QuantizedNet)
    untouched, _ = load_network(tmp_path / "run" / "start.pt")
    before = quantized(untouched, QAT, [])
    moved = [
        not torch.equal(network.state_dict()[key], value)
        for key, value in before.state_dict().items()
        if key.endswith("weight")
    ]
    assert all(moved)
    assert "[qat]" in provenance["recipe"]
    for name, scales in network.scales()[1].items():
        conv = network.body.get_submodule(name)
        weight = conv.weight.detach().abs().amax((1, 2, 3)).numpy()  # type: ignore[operator]
        np.testing.assert_allclose(scales, np.maximum(weight / 127, 2.0**-14), rtol=1e-3)


def test_a_resumed_fine_tuning_ends_with_the_same_weights(folder: Path, start: Path, tmp_path: Path) -> None:
    straight = train(SHORT, [folder], tmp_path / "straight", init=start, threads=1, report=quiet)

    class Stop(Exception):
        pass

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 3:
            raise Stop

    with pytest.raises(Stop):
        train(SHORT, [folder], tmp_path / "cut", init=start, threads=1, report=quiet, on_step=stop)
    start.unlink()  # the run folder holds its own copy
    resumed = train(SHORT, [folder], tmp_path / "cut", resume=True, threads=1, report=quiet)
    one, other = (load_network(result.best)[0].state_dict() for result in (straight, resumed))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_learned_step_sizes_move(folder: Path, start: Path, tmp_path: Path) -> None:
    recipe = override(SHORT, qat=QatSpec(on=True, observe=2, method="max", learned=True))
    result = train(recipe, [folder], tmp_path / "run", init=start, threads=1, report=quiet)
    network, _ = load_network(result.best)
    assert isinstance(network, QuantizedNet)
    values, _ = network.scales()
    fixed = train(SHORT, [folder], tmp_path / "fixed", init=start, threads=1, report=quiet)
    other, _ = load_network(fixed.best)
    assert isinstance(other, QuantizedNet)
    assert values.keys() == other.scales()[0].keys()
    assert values != other.scales()[0]
    deployed = network.deployed()
    assert isinstance(deployed, QuantizedNet)
    for scale in deployed.scales()[0].values():
        assert float(np.float16(scale)) == scale


def test_learned_step_sizes_stay_near_where_they_began(folder: Path, start: Path, tmp_path: Path) -> None:
    """Adam's steps are as long as the rate: eight of 1e-3 on the scales themselves would leave most below zero."""
    learned = QatSpec(on=True, observe=2, method="max", learned=True)
    recipe = override(SHORT, steps=8, lr=1e-3, warmup_steps=0, ema=0.0, qat=learned)
    result = train(recipe, [folder], tmp_path / "run", init=start, threads=1, report=quiet)
    after, _ = load_network(result.folder / "last.pt")
    before, _ = load_network(start)
    began = QuantizedNet(before, Quantization(learned=True))
    assert isinstance(after, QuantizedNet)
    for name, scales in after.scales()[1].items():
        ratio = scales / began.scales()[1][name]
        assert 0.5 < ratio.min() <= ratio.max() < 2, name


def test_the_distance_from_the_teacher_is_zero_where_they_agree_and_ignores_the_ignored() -> None:
    teacher = torch.tensor([[[[2.0, -1.0], [0.0, 4.0]]]])
    target = torch.tensor([[[255, 0], [128, 0]]], dtype=torch.uint8)
    assert distance(teacher, teacher, target).item() == pytest.approx(0, abs=1e-6)
    off = teacher.clone()
    off[0, 0, 1, 0] = 9
    assert distance(off, teacher, target).item() == pytest.approx(0, abs=1e-6)
    off[0, 0, 0, 0] = 0
    assert distance(off, teacher, target).item() > 0.1


def test_the_licence_of_a_network_does_not_speak_for_pixels_it_never_saw(folder: Path, tmp_path: Path) -> None:
    network = create_model("roadedge-n")
    network.spec = dataclasses.replace(network.spec, licence="Apache-2.0; generated pixels")
    told = {"recipe": to_toml(override(TINY, licence=network.spec.licence)), "data": ["built-in city"]}
    save_network(tmp_path / "free.pt", network.eval(), told)
    recipe = override(SHORT, licence=network.spec.licence)
    result = train(recipe, [folder], tmp_path / "run", init=tmp_path / "free.pt", threads=1, report=quiet)
    tuned, _ = load_network(result.best)
    assert tuned.spec.licence == f"{recipe.licence}; fine-tuned on {folder.name}, whose licence is not stated"


def test_what_was_for_research_only_stays_so() -> None:
    bound = ModelSpec("roadedge-s", ("image", "trajectory"), licence="research-only: somebody's imagery")
    assert fine_tuned_spec(bound, Recipe(licence="CC BY 4.0"), ["mine"]).research_only
    assert fine_tuned_spec(bound, Recipe(), []).licence == bound.licence
    own = dataclasses.replace(bound, licence="Apache-2.0")
    assert fine_tuned_spec(own, Recipe(licence="CC BY 4.0"), ["mine"]).licence == "CC BY 4.0"


def test_the_recipe_of_fine_tuning_is_that_of_training_but_short() -> None:
    recipe = qat_recipe({"recipe": to_toml(TINY)}, "tiny-int8", steps=7, method="mse", lr=None)
    assert (recipe.crop, recipe.batch, recipe.hold_out) == (TINY.crop, TINY.batch, TINY.hold_out)
    assert (recipe.steps, recipe.qat.method, recipe.qat.on) == (7, "mse", True)
    assert recipe.lr < TINY.lr / 10
    assert qat_recipe({}, "x").qat.on


def test_a_recipe_with_fine_tuning_survives_being_written(tmp_path: Path) -> None:
    recipe = override(Recipe(), qat=QatSpec(on=True, keep_float=("head", "a.b"), learned=True, distil=0.5))
    (tmp_path / "r.toml").write_text(to_toml(recipe))
    assert read_recipe(tmp_path / "r.toml") == recipe


def test_bad_settings_are_refused(start: Path, folder: Path, tmp_path: Path) -> None:
    network, _ = load_network(start)
    with pytest.raises(UnknownNameError, match="calibration method"):
        quantized(network, QatSpec(on=True, method="magic"), [])
    with pytest.raises(RecipeError, match=r"qat\.observe"):
        QatSpec(observe=0)
    with pytest.raises(UsageError, match="float checkpoint"):
        train(SHORT, [folder], tmp_path / "none", threads=1, report=quiet)
    with pytest.raises(SpecMismatchError, match="roadedge-s"):
        train(override(SHORT, model="roadedge-s"), [folder], tmp_path / "other", init=start, threads=1, report=quiet)
    save_network(tmp_path / "q.int8.pt", QuantizedNet(network, Quantization()), {})
    with pytest.raises(UsageError, match="quantized already"):
        train(SHORT, [folder], tmp_path / "twice", init=tmp_path / "q.int8.pt", threads=1, report=quiet)
