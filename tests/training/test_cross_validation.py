"""Cross-validation trains a network for each fold, tests it on places it never saw, and sums up what is done."""

from __future__ import annotations

import fcntl
import json
import statistics
from pathlib import Path

import pytest

from roadedge import cli
from roadedge.errors import DataError, SpecMismatchError, UsageError
from roadedge.training import cross_validation
from roadedge.training.batches import training_pools, unseen_pool
from roadedge.training.cross_validation import cross_validate, open_folds, sum_up
from roadedge.training.loop import train
from roadedge.training.recipe import Recipe, override
from roadedge.training.split_file import split_table
from tests.data.trees import TREES
from tests.training.conftest import make_folder

TINY = Recipe(
    name="cv", model="roadedge-n", steps=1, batch=1, crop=64, precision="fp32", warmup_steps=0, panels=0, folds=2
)
OPTIONS = ["--model", "roadedge-n", "--steps", "1", "--batch", "1", "--crop", "64", "--precision", "fp32", "-q"]


def quiet(text: str) -> None:
    """Say nothing."""


def test_every_place_is_tested_once_and_never_trained_on(folder: Path) -> None:
    tested: list[str] = []
    for fold in (1, 2):
        recipe = override(TINY, fold=fold)
        pools, aside = training_pools(recipe, [folder])
        names = {part: {pool[i].group for i in range(len(pool))} for part, pool in
                 (("train", pools[0]), ("aside", aside), ("test", unseen_pool(recipe, [folder])))}  # fmt: skip
        assert not names["train"] & names["aside"] | names["test"] & (names["train"] | names["aside"])
        tested += names["test"]
    assert sorted(tested) == ["t0", "t1", "t2", "t3"]


def test_folds_from_the_command_line_one_by_one_and_then_the_rest(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cv"
    begin = ["train", str(folder), *OPTIONS, "--folds", "2", "-o", str(out), "--json"]
    assert cli.main([*begin, "--fold", "2"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["done"] == [2]
    assert first["deviation"] == {"g_iou": None, "a_iou": None}
    assert cli.main(["train", "--resume", "-o", str(out), "--json", "-q"]) == 0
    both = json.loads((out / "folds.json").read_text())
    assert both["done"] == [1, 2]
    assert both["per_fold"][1] == first["per_fold"][0]
    values = [one["g_iou"] for one in both["per_fold"]]
    assert both["mean"]["g_iou"] == pytest.approx(statistics.fmean(values))
    assert both["deviation"]["g_iou"] == pytest.approx(statistics.stdev(values))
    assert sum(one["samples"] for one in both["per_fold"]) == 4
    assert all((out / one["checkpoint"]).exists() for one in both["per_fold"])


def test_an_interrupted_fold_is_gone_on_with(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = override(TINY, fold=1)
    out = open_folds(recipe, [folder], tmp_path / "cv", False, False)
    with monkeypatch.context() as patch:
        patch.setattr(cross_validation, "validate", stop)
        with pytest.raises(KeyboardInterrupt):
            cross_validate(recipe, [folder], out, report=quiet)
    said: list[str] = []
    found = cross_validate(recipe, [folder], open_folds(recipe, [folder], out, False, False), report=said.append)
    assert found["done"] == [1]
    assert any(line.startswith("resumed") for line in said)
    said.clear()
    assert cross_validate(recipe, [folder], out, report=said.append)["done"] == [1]
    assert said == ["fold 1 is done already"]


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_folds_of_another_recipe_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    out = open_folds(override(TINY, fold=1), [folder], tmp_path / "cv", False, False)
    with pytest.raises(SpecMismatchError, match="folds of another recipe"):
        open_folds(override(TINY, fold=2, lr=0.5), [folder], out, False, False)
    with pytest.raises(UsageError, match="not empty"):
        open_folds(TINY, [folder], out, False, False)


def test_folds_of_other_data_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    first = override(TINY, fold=1)
    out = open_folds(first, [folder], tmp_path / "cv", False, False)
    moved = folder.rename(tmp_path / "moved")  # the same tiles at another place are the same
    assert open_folds(override(TINY, fold=2), [moved], out, False, False) == out
    other = make_folder(tmp_path / "moved2", count=5)
    with pytest.raises(SpecMismatchError, match=r"holds the folds of other data \(tiny,"):
        open_folds(override(TINY, fold=2), [other], out, False, False)


def test_data_that_cannot_be_divided_leave_no_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="9 folds need as many places"):
        open_folds(override(TINY, folds=9), [folder], tmp_path / "cv", False, False)
    assert not (tmp_path / "cv").exists()


def test_two_runs_do_not_train_one_fold(folder: Path, tmp_path: Path) -> None:
    recipe = override(TINY, fold=1)
    out = open_folds(recipe, [folder], tmp_path / "cv", False, False)
    with (out / ".fold-1.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match=r"another run is at work on .*fold-1"):
            cross_validate(recipe, [folder], out, report=quiet)


@pytest.mark.parametrize("text", ["{cut", "{}", "[]", '{"fold": 1, "g_iou": null, "a_iou": 1}'])
def test_broken_scores_of_a_fold_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "fold-1").mkdir()
    (tmp_path / "fold-1" / "test.json").write_text(text)
    with pytest.raises(DataError, match=r"test\.json holds no scores"):
        sum_up(TINY, [], tmp_path)


def test_a_run_says_which_tile_it_used_for_what(folder: Path, tmp_path: Path) -> None:
    for fold in (0, 1):
        recipe = override(TINY, folds=2 * fold, fold=fold)
        rows = [line.split(",") for line in split_table(recipe, [folder]).splitlines()]
        assert rows[0] == ["data", "use", "id", "group"]
        pools, aside = training_pools(recipe, [folder])
        used = {use: {row[2] for row in rows if row[1] == use} for use in ("train", "set-aside", "test")}
        assert used["train"] == {pools[0][i].id for i in range(len(pools[0]))}
        assert used["set-aside"] == {aside[i].id for i in range(len(aside))}
        assert len(used["test"]) == 2 * fold
        assert not used["train"] & used["test"] | used["set-aside"] & (used["train"] | used["test"])


def test_a_resumed_run_says_that_its_data_have_changed(folder: Path, tmp_path: Path) -> None:
    recipe, out = override(TINY, folds=0), tmp_path / "run"
    train(recipe, [folder], out, report=quiet)
    assert (out / "split.csv").read_text() == split_table(recipe, [folder])
    said: list[str] = []
    train(recipe, [folder], out, resume=True, report=said.append)
    assert not any("its data are not those" in line for line in said)
    table = (folder / "split.csv").read_text().splitlines()
    (folder / "split.csv").write_text("\n".join(table[:2] + table[3:]) + "\n")
    train(recipe, [folder], out, resume=True, report=said.append)
    assert any("its data are not those of its split.csv any more" in line for line in said)


def test_porto_is_tested_by_its_own_lists(tmp_path: Path) -> None:
    root = TREES["porto"](tmp_path / "porto")
    recipe = override(TINY, folds=5, fold=2)
    pools, aside = training_pools(recipe, [root])
    assert len(pools[0]) == 7
    assert [aside[i].id for i in range(len(aside))] == ["004"]
    tested = unseen_pool(recipe, [root])
    assert [tested[i].id for i in range(len(tested))] == ["002", "003"]


def test_data_with_a_test_split_is_chosen_by_its_val_split(tmp_path: Path) -> None:
    root = TREES["bjroad"](tmp_path / "bjroad")
    recipe = override(TINY, folds=0)
    pools, aside = training_pools(recipe, [root])
    assert (len(pools[0]), len(aside)) == (18, 2)
    pools, aside = training_pools(override(recipe, hold_out={"bjroad": 5}), [root])
    assert (len(pools[0]), len(aside)) == (13, 5)


def test_mistakes_are_said_before_any_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--fold", "1"], ["--folds", "1"], ["--folds", "3", "--fold", "4"], ["--folds", "2", "--qat"]):
        assert cli.main(["train", str(folder), *OPTIONS, *options]) == 2
    assert cli.main(["train", "--folds", "2"]) == 2
    assert "--folds divides the places of a data set" in capsys.readouterr().err
