"""Training learns, resumes to the bit after a kill, and stops at a loss that is not finite."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from roadedge.data.augment_spec import AugmentSpec
from roadedge.errors import DataError, NonFiniteError, SpecMismatchError, UsageError
from roadedge.models.checkpoint import load_network, read_archive, write_archive
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.training.batches import DRAWING, OBSERVING, make_batch, training_pools
from roadedge.training.loop import train
from roadedge.training.preparation import density_per_mpx, spec_of
from roadedge.training.rates import rate
from roadedge.training.recipe import Recipe, override, to_toml
from roadedge.training.run import Run
from roadedge.training.step import update_average
from tests.training.conftest import make_folder

TINY = Recipe(
    name="tiny",
    model="roadedge-n",
    steps=8,
    batch=2,
    crop=64,
    precision="fp32",
    warmup_steps=2,
    hold_out={"tiny": 1},
    evaluate_every=4,
    save_every=2,
    panels=1,
)


def quiet(text: str) -> None:
    """Say nothing."""


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_network(path)[0].state_dict()


def test_a_killed_and_resumed_run_ends_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    straight = train(TINY, [folder], tmp_path / "straight", threads=1, report=quiet)
    killed = tmp_path / "killed"
    (tmp_path / "r.toml").write_text(to_toml(TINY))
    script = f"""
import os, signal
from pathlib import Path
from roadedge.training.loop import train
from roadedge.training.recipe import read_recipe
def stop(step, steps, loss):
    if step == 5: os.kill(os.getpid(), signal.SIGKILL)
recipe = read_recipe({str(tmp_path / "r.toml")!r})
train(recipe, [Path({str(folder)!r})], Path({str(killed)!r}), threads=1, on_step=stop)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert read_archive(killed / "state.pt")["step"] == 4
    resumed = train(TINY, [folder], killed, resume=True, threads=1, report=quiet)
    a, b = weights_of(straight.folder / "last.pt"), weights_of(resumed.folder / "last.pt")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert resumed.best_g_iou == straight.best_g_iou
    steps = [int(row["step"]) for row in csv.DictReader((killed / "log.csv").read_text().splitlines())]
    assert steps == sorted(set(steps))


def test_training_lowers_the_loss_and_leaves_a_whole_run_folder(folder: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    recipe = override(TINY, steps=40, evaluate_every=40, save_every=40)
    result = train(recipe, [folder], tmp_path / "run", report=quiet, on_step=lambda s, n, loss: losses.append(loss))
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])
    names = {path.name for path in result.folder.iterdir()}
    assert {
        "recipe.toml",
        "data.json",
        "env.json",
        "metrics.json",
        "log.csv",
        "best.pt",
        "last.pt",
        "state.pt",
    } <= names
    assert {"curves.png", "panels", "best.pt.json"} <= names
    assert not [name for name in names if ".part" in name]
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert metrics["semi_synthetic"] is True
    spec = load_network(result.best)[0].spec
    assert np.allclose(spec.gsd_band_m or (), (0.46 * 0.75, 0.46 * 1.33), atol=1e-4)
    assert spec.density_band_per_mpx is not None


def test_a_batch_depends_on_the_step_and_nothing_else(folder: Path) -> None:
    pools, _ = training_pools(TINY, [folder])
    again, _ = training_pools(TINY, [folder])
    spec = ModelSpec("roadedge-n")
    make_batch(TINY, spec, pools, 6)
    one, two = make_batch(TINY, spec, pools, 3), make_batch(TINY, spec, again, 3)
    other, looked_at = make_batch(TINY, spec, pools, 4), make_batch(TINY, spec, pools, 3, stream=OBSERVING)
    assert all(np.array_equal(one.feeds[name], two.feeds[name]) for name in one.feeds)
    assert np.array_equal(one.target, two.target)
    assert not np.array_equal(one.feeds["image"], other.feeds["image"])
    assert not np.array_equal(one.feeds["image"], looked_at.feeds["image"])


@pytest.mark.parametrize(("only", "other"), [("image", "trajectory"), ("trajectory", "image")])
def test_one_of_two_inputs_is_left_out_now_and_then_and_an_only_one_never(folder: Path, only: str, other: str) -> None:
    pools, _ = training_pools(TINY, [folder])
    never = dataclasses.replace(TINY.augment, drop_image_p=0.0, drop_second_p=0.0)
    always = dataclasses.replace(never, drop_image_p=float(only == "image"), drop_second_p=float(only != "image"))
    for inputs, same in (((only,), True), ((only, other), False)):
        spec = ModelSpec("roadedge-n", inputs)
        whole, left = (make_batch(override(TINY, augment=one), spec, pools, 3).feeds for one in (never, always))
        assert np.array_equal(whole[only], left[only]) is same
        assert len(np.unique(whole[only])) > 1


def test_the_parts_of_a_batch_are_the_batch_and_no_sample_comes_twice(folder: Path) -> None:
    recipe = override(TINY, batch=6)
    pools, _ = training_pools(recipe, [folder])
    spec = ModelSpec("roadedge-n")
    whole = make_batch(recipe, spec, pools, 3)
    parts = [make_batch(recipe, spec, pools, 3, samples) for samples in (range(2), range(2, 4), range(4, 6))]
    for name, value in whole.feeds.items():
        assert np.array_equal(value, np.concatenate([part.feeds[name] for part in parts]))
    assert np.array_equal(whole.target, np.concatenate([part.target for part in parts]))
    assert len({image.tobytes() for image in whole.feeds["image"]}) == 6


def test_the_places_set_aside_are_not_trained_on(folder: Path) -> None:
    pools, validation = training_pools(TINY, [folder])
    trained = {pools[0][i].id for i in range(len(pools[0]))}
    chosen = {validation[i].id for i in range(len(validation))}
    assert len(trained) == 2
    assert len(chosen) == 1
    assert not trained & chosen
    assert "t3" not in trained | chosen  # the validation split is nobody's


def test_with_nothing_set_aside_the_last_step_is_taken(folder: Path, tmp_path: Path) -> None:
    result = train(override(TINY, hold_out={"tiny": 0}, steps=3), [folder], tmp_path / "run", report=quiet)
    assert result.best_g_iou is None
    assert result.best_step == 3
    best, last = weights_of(result.best), weights_of(result.folder / "last.pt")
    assert all(torch.equal(best[key], last[key]) for key in best)


def test_a_loss_that_is_not_finite_stops_with_its_inputs_saved(folder: Path, tmp_path: Path) -> None:
    recipe = override(TINY, lr=1e30, clip=0.0, warmup_steps=1)
    with pytest.raises(NonFiniteError, match="at step"):
        train(recipe, [folder], tmp_path / "run", report=quiet)
    kept = np.load(tmp_path / "run" / "nonfinite.npz")
    assert kept["image"].shape == (2, 64, 64, 3)
    assert kept["target"].shape == (2, 64, 64)


def test_starting_from_other_weights_lists_what_did_not_match(folder: Path, tmp_path: Path) -> None:
    first = train(override(TINY, steps=2, evaluate_every=2), [folder], tmp_path / "first", report=quiet)
    lines: list[str] = []
    recipe = override(TINY, steps=1, inputs=("image",), evaluate_every=1)
    train(recipe, [folder], tmp_path / "second", init=first.best, report=lines.append)
    started = next(line for line in lines if line.startswith("started from"))
    assert "stems.trajectory.first.0.weight: not in this network" in started
    assert "lateral8.0.weight: (32, 64, 1, 1) in the file, (32, 32, 1, 1) here" in started


def test_a_run_is_not_resumed_with_another_recipe(folder: Path, tmp_path: Path) -> None:
    train(override(TINY, steps=2), [folder], tmp_path / "run", report=quiet)
    with pytest.raises(SpecMismatchError, match="another recipe"):
        train(override(TINY, steps=3), [folder], tmp_path / "run", resume=True, report=quiet)
    with pytest.raises(UsageError, match="not empty"):
        train(TINY, [folder], tmp_path / "run", report=quiet)
    with pytest.raises(UsageError, match="no run to resume"):
        train(TINY, [folder], tmp_path / "nothing", resume=True, report=quiet)


def test_setting_aside_places_of_an_absent_data_set_is_an_error(folder: Path) -> None:
    with pytest.raises(DataError, match="tianjin"):
        training_pools(override(TINY, hold_out={"tianjin": 2}), [folder])


def test_densities_are_counted_on_the_grid_of_the_network() -> None:
    sample = Sample(None, np.zeros((30, 2)), (100, 100), gsd_m=0.4)  # 40 m a side: 50 x 50 pixels of 0.8 m
    assert density_per_mpx(sample, 0.8) == pytest.approx(30 / 2500 * 1e6)
    assert density_per_mpx(Sample(None, None, (100, 100), gsd_m=0.4), 0.8) is None


def test_what_images_are_brought_from_is_in_the_band_that_was_trained_in(folder: Path) -> None:
    pools, _ = training_pools(TINY, [folder])  # at 0.46 m
    assert spec_of(TINY, [folder], pools).gsd_band_m == (0.345, 0.6118)
    still = override(TINY, gsd_m=0.4, augment=AugmentSpec(scale=(1.0, 1.0)))
    assert spec_of(still, [folder], pools).gsd_band_m == (0.4, 0.46)
    coarse = override(TINY, gsd_m=1.0, augment=AugmentSpec(zoom=(0.7, 0.9), zoom_p=0.5))
    assert spec_of(coarse, [folder], pools).gsd_band_m == (0.46, 1.33)


def test_a_folder_may_be_called_city(tmp_path: Path) -> None:
    folders = [make_folder(tmp_path / "city"), make_folder(tmp_path / "other")]
    pools, _ = training_pools(override(TINY, hold_out={"city": 0, "other": 0}), folders)
    assert [pool.share for pool in pools] == [3.0, 3.0]
    recipe = override(TINY, hold_out={"city": 0, "other": 0}, city=2.0, city_tiles=2)
    assert [pool.share for pool in training_pools(recipe, folders)[0]] == [3.0, 3.0, 12.0]


def test_where_too_many_are_set_aside_some_of_each_set_are_scored(tmp_path: Path) -> None:
    folders = [make_folder(tmp_path / "a", 9), make_folder(tmp_path / "b", 9)]
    recipe = override(TINY, hold_out={"a": 4, "b": 4}, evaluate_most=4)
    _, validation = training_pools(recipe, folders)
    assert len(validation) == 4


def test_the_rate_warms_up_and_falls_to_a_hundredth() -> None:
    recipe = Recipe(steps=100, warmup_steps=10, lr=1.0)
    rates = [rate(recipe, step) for step in range(101)]
    assert rates[0] == 0.1
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert math.isclose(rates[100], 0.01)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", (1.0, 1.0, 1.0, 1.0)), ("linear", (1.0, 0.5, 0.25, 0.0)), ("steps", (1.0, 0.1, 0.01, 0.01))],
)
def test_the_rate_follows_the_schedule_of_a_paper(schedule: str, expected: tuple[float, ...]) -> None:
    recipe = Recipe(steps=100, warmup_steps=0, lr=1.0, schedule=schedule, drops=(0.5, 0.75))
    assert [rate(recipe, step) for step in (0, 50, 75, 100)] == pytest.approx(expected)


def test_the_average_moves_by_its_decay() -> None:
    run = Run(TINY, ModelSpec("roadedge-n"))
    with torch.no_grad():
        for parameter in run.network.parameters():
            parameter.add_(1.0)
    before = run.average.state_dict()["head.bias"].clone()
    update_average(run.average, run.network, 0.9)
    assert torch.allclose(run.average.state_dict()["head.bias"], before + 0.1)


def test_ctrl_c_is_heard_between_two_steps_and_the_run_goes_on_from_there(folder: Path, tmp_path: Path) -> None:
    def press(step: int, steps: int, loss: float) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        train(TINY, [folder], tmp_path / "run", threads=1, report=lines.append, on_step=press)
    assert "interrupted after step 3" in lines[-1]
    assert read_archive(tmp_path / "run" / "state.pt")["step"] == 3
    state = read_archive(tmp_path / "run" / "state.pt")
    assert state["sampler"] == {"drawing": DRAWING, "seed": 0, "next_step": 3, "processes": 1}
    resumed = train(TINY, [folder], tmp_path / "run", resume=True, threads=1, report=lines.append)
    assert not any("another version" in line for line in lines)
    straight = train(TINY, [folder], tmp_path / "straight", threads=1, report=quiet)
    a, b = weights_of(straight.folder / "last.pt"), weights_of(resumed.folder / "last.pt")
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_state_of_batches_drawn_otherwise_says_so(folder: Path, tmp_path: Path) -> None:
    train(override(TINY, steps=2), [folder], tmp_path / "run", report=quiet)
    state = read_archive(tmp_path / "run" / "state.pt")
    del state["sampler"]  # as before samples were drawn one by one
    write_archive(tmp_path / "run" / "state.pt", state)
    lines: list[str] = []
    train(override(TINY, steps=2), [folder], tmp_path / "run", resume=True, report=lines.append)
    assert any("drawn by another version" in line for line in lines)


def test_what_drops_out_is_the_same_after_a_resume(folder: Path, tmp_path: Path) -> None:
    recipe = override(TINY, model="segnext-t", inputs=("image",), steps=2, save_every=1, evaluate_every=2)
    straight = train(recipe, [folder], tmp_path / "straight", threads=1, report=quiet)

    def press(step: int, steps: int, loss: float) -> None:
        if step == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(recipe, [folder], tmp_path / "run", threads=1, report=quiet, on_step=press)
    resumed = train(recipe, [folder], tmp_path / "run", resume=True, threads=1, report=quiet)
    a, b = weights_of(straight.folder / "last.pt"), weights_of(resumed.folder / "last.pt")
    assert all(torch.equal(a[key], b[key]) for key in a)
