"""Evaluations that bring nothing better cut the rate and end the training; both survive an interruption."""

from __future__ import annotations

import csv
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from roadedge import cli
from roadedge.errors import RecipeError
from roadedge.models.checkpoint import load_network, read_archive, write_archive
from roadedge.resources import recipe_path
from roadedge.training import loop
from roadedge.training.log import Log
from roadedge.training.loop import train
from roadedge.training.plateau import Plateau, PlateauSpec
from roadedge.training.rates import rate
from roadedge.training.recipe import Recipe, override, read_recipe, to_toml

TINY = Recipe(
    name="tiny", model="roadedge-n", steps=9, batch=2, crop=64, lr=1e-2, schedule="constant", precision="fp32",
    warmup_steps=0, ema=0.0, hold_out={"tiny": 1}, evaluate_every=1, save_every=2, panels=0,
    plateau=PlateauSpec(cut_after=2, factor=0.5),
)  # fmt: skip


def quiet(text: str) -> None:
    """Say nothing."""


def rates_of(folder: Path) -> list[float]:
    return [float(row["lr"]) for row in csv.DictReader((folder / "log.csv").read_text().splitlines())]


def weights_of(folder: Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    return load_network(folder / name)[0].state_dict()


def equal(one: Path, other: Path) -> bool:
    a, b = weights_of(one), weights_of(other)
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every evaluation says the same, so that after the first none is better."""
    monkeypatch.setattr(loop, "global_iou", lambda counts: 0.5)


def test_evaluations_are_counted_since_the_best_and_since_the_last_cut() -> None:
    plateau, spec = Plateau(), PlateauSpec(cut_after=2, stop_after=5)
    better = [True, False, True, False, False, False, False, False, True]
    cut = [plateau.note(spec, one, step) for step, one in enumerate(better[:-1], 1)]
    assert cut == [False, False, False, False, True, False, True, False]
    assert (plateau.cuts, plateau.cut_at, plateau.ended(spec)) == (2, 7, True)
    plateau.note(spec, better[-1], 9)
    assert (plateau.since_best, plateau.cuts, plateau.ended(spec)) == (0, 2, False)
    assert not plateau.ended(PlateauSpec())


def test_a_cut_lowers_the_rate_of_any_schedule() -> None:
    plain = Recipe(steps=100, warmup_steps=10, lr=1.0, schedule="cosine")
    cut = override(plain, plateau=PlateauSpec(cut_after=1, factor=0.2))
    for step in (5, 40, 99):
        assert rate(cut, step, Plateau(cuts=2, cut_at=3)) == pytest.approx(0.04 * rate(plain, step))
        assert rate(cut, step, Plateau()) == rate(plain, step)


def test_cmipnets_cut_goes_back_to_the_full_rate_and_then_as_torchs_cosine_goes_on() -> None:
    recipe = read_recipe(recipe_path("cmipnet-bjroad"))
    recipe = override(recipe, steps=30, rate_every=1)  # an epoch a step
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=2e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=30)
    plateau = Plateau()
    for epoch in range(30):
        if epoch == 25:
            assert rate(recipe, epoch, plateau) == pytest.approx(1.3e-5, rel=0.04)
            optimiser.param_groups[0]["lr"] = 2e-4 / 5
            plateau = Plateau(cuts=1, cut_at=25)
            assert rate(recipe, epoch, plateau) == pytest.approx(4.0e-5)
        assert rate(recipe, epoch, plateau) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6)
        optimiser.step()
        cosine.step()


@pytest.mark.usefixtures("level")
def test_a_resumed_run_cuts_as_one_that_was_not_interrupted(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    straight = train(TINY, [folder], tmp_path / "straight", threads=1, report=lines.append)
    assert rates_of(straight.folder) == [0.01, 0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025, 0.00125, 0.00125]
    assert sum("2 evaluations brought no better G_IoU: the rate goes on at" in line for line in lines) == 3

    def press(step: int, steps: int, loss: float) -> None:
        if step == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(TINY, [folder], tmp_path / "run", threads=1, report=quiet, on_step=press)
    resumed = train(TINY, [folder], tmp_path / "run", resume=True, threads=1, report=quiet)
    assert rates_of(resumed.folder) == rates_of(straight.folder)
    assert equal(resumed.folder, straight.folder)
    uncut = train(override(TINY, plateau=PlateauSpec()), [folder], tmp_path / "uncut", threads=1, report=quiet)
    assert not equal(uncut.folder, straight.folder)


@pytest.mark.usefixtures("level")
def test_an_early_end_is_a_whole_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = override(TINY, plateau=PlateauSpec(stop_after=3)), tmp_path / "run"
    (tmp_path / "r.toml").write_text(to_toml(recipe))
    command = ["train", str(folder), "--recipe", str(tmp_path / "r.toml"), "--threads", "1", "-o", str(out)]
    assert cli.main([*command, "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (
        "ended after step 4 of 9 (plateau.stop_after): 3 evaluations brought no better G_IoU than 50.00 at step 1"
        in (told.err)
    )
    assert (found["steps"], found["best_step"], found["ended_early"]) == (4, 1, True)
    assert {"best.pt", "last.pt", "metrics.json", "curves.png"} <= {path.name for path in out.iterdir()}
    assert read_archive(out / "state.pt")["step"] == 4
    before = weights_of(out)
    assert cli.main(["train", "--resume", "-o", str(out), "--json", "-q"]) == 0  # there is nothing to go on with
    assert json.loads(capsys.readouterr().out)["steps"] == 4
    assert all(torch.equal(before[key], value) for key, value in weights_of(out).items())


def test_a_run_that_reaches_its_last_step_did_not_end_early(folder: Path, tmp_path: Path) -> None:
    result = train(override(TINY, steps=2), [folder], tmp_path / "run", threads=1, report=quiet)
    assert not result.ended_early
    assert json.loads((result.folder / "metrics.json").read_text())["rate_cuts"] == 0


def test_a_state_from_before_there_were_cuts_is_gone_on_with(folder: Path, tmp_path: Path) -> None:
    recipe = override(TINY, steps=2, plateau=PlateauSpec())
    train(recipe, [folder], tmp_path / "run", threads=1, report=quiet)
    state = read_archive(tmp_path / "run" / "state.pt")
    del state["plateau"]
    write_archive(tmp_path / "run" / "state.pt", state)
    assert train(recipe, [folder], tmp_path / "run", resume=True, threads=1, report=quiet).steps == 2


@pytest.mark.parametrize("spec", [PlateauSpec(cut_after=1), PlateauSpec(stop_after=1)])
def test_with_nothing_set_aside_a_plateau_is_refused(folder: Path, tmp_path: Path, spec: PlateauSpec) -> None:
    recipe = override(TINY, hold_out={"tiny": 0}, plateau=spec)
    with pytest.raises(RecipeError, match="samples set aside, and none are"):
        train(recipe, [folder], tmp_path / "run", threads=1, report=quiet)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"cut_after": -1}, r"plateau\.cut_after must be 0"),
        ({"stop_after": -2}, r"plateau\.stop_after must be 0"),
        ({"factor": 1.0}, r"plateau\.factor must lie between 0 and 1"),
        ({"factor": float("nan")}, r"plateau\.factor"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        PlateauSpec(**settings)


def test_a_return_to_the_full_rate_and_a_warm_up_exclude_each_other() -> None:
    with pytest.raises(RecipeError, match="set warmup_steps = 0"):
        Recipe(plateau=PlateauSpec(cut_after=1, restart=True))


def test_a_rate_that_was_cut_often_is_logged_with_its_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log = Log(tmp_path, 0)
    log.add({"step": 1, "loss": 0.25, "lr": 3.2e-8})
    assert rates_of(tmp_path) == [3.2e-8]
