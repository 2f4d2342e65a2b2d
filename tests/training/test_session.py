"""`roadedge train` settles recipe, data and folder before it touches anything."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from roadedge import cli
from roadedge.errors import DataError, UsageError
from roadedge.training.recipe import read_recipe
from roadedge.training.session import Session

ROOT = Path(__file__).parents[2]


def plan(data: list[Path], **changes: object) -> Session:
    options = {"recipe": None, "output": None, "resume": False, "overwrite": False, "init": None, "epochs": None}
    return Session.plan(data, **(options | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", sorted((ROOT / "training").glob("*.toml")), ids=lambda path: path.stem)
def test_committed_recipes_can_be_read_and_bear_their_own_name(path: Path) -> None:
    assert read_recipe(path).name == path.stem
    assert plan([], recipe=path.stem).recipe == read_recipe(path)


def test_a_model_names_its_run() -> None:
    assert plan([], model="roadedge-n").recipe.name == "roadedge-n"


def test_epochs_become_steps(folder: Path) -> None:
    assert plan([folder], epochs=4, batch=2).recipe.steps == 4
    with pytest.raises(UsageError, match="--steps and --epochs"):
        plan([folder], epochs=4, steps=5)
    for none in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="--epochs must be above 0"):
            plan([folder], epochs=none)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        plan([tmp_path / "nowhere"])


def test_resume_takes_no_other_settings(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave the other settings out"):
        plan([], output=tmp_path, resume=True, lr=0.1)
    with pytest.raises(UsageError, match="no run to resume"):
        plan([], output=tmp_path, resume=True)


def test_a_command_that_torchrun_starts_anew_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "recipe.toml").write_text('name = "begun"\nsteps = 7\n')
    (out / "data.json").write_text(json.dumps({"folders": [str(folder)]}))
    assert not plan([folder], output=out, steps=7).overwrite
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    begun_anew = plan([folder], output=out, steps=7)
    assert (begun_anew.resume, begun_anew.overwrite) == (False, True)
    (out / "state.pt").write_bytes(b"")
    gone_on = plan([folder], output=out, steps=7, model="roadedge-n")
    assert (gone_on.resume, gone_on.overwrite, gone_on.recipe.name) == (True, False, "begun")
    assert gone_on.folders == (folder,)


def test_train_and_resume_from_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = [
        "--model",
        "roadedge-n",
        "--steps",
        "2",
        "--batch",
        "2",
        "--crop",
        "64",
        "--precision",
        "fp32",
        "--json",
        "-q",
    ]
    assert cli.main(["train", str(folder), *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 2
    assert Path(result["best"]).parent == tmp_path / "runs" / "train" / "roadedge-n"
    assert cli.main(["train", "--resume", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == result["folder"]


def test_absent_packages_of_pictures_and_logs_are_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else there(name))
    monkeypatch.setattr("roadedge.training.loop.train", Mock(side_effect=KeyboardInterrupt))
    assert cli.main(["train", str(folder), "-o", str(tmp_path / "run")]) == 130
    assert "they need matplotlib, pip install 'roadedge[train]'" in capsys.readouterr().err


def test_mistakes_have_their_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", str(tmp_path / "none")]) == 8
    assert cli.main(["train", "--model", "roadedge-x"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert cli.main(["train", "--recipe", str(tmp_path / "none.toml")]) == 2
    for option, value in (("--inputs", "radar"), ("--steps", "0"), ("--precision", "fp8"), ("--crop", "50")):
        assert cli.main(["train", option, value, "-o", str(tmp_path / "run")]) == 2
    (tmp_path / "bad.toml").write_text('name = "bad"\nsteps = 0\n')
    assert cli.main(["train", "--recipe", str(tmp_path / "bad.toml")]) == 8
    assert not (tmp_path / "run").exists()


def test_a_recipe_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--steps", "7", "--dump-recipe"]) == 0
    assert "steps = 7\n" in capsys.readouterr().out


def test_a_model_has_the_inputs_of_its_paper_unless_others_are_asked_for() -> None:
    def planned(recipe: str | None = None, **changes: Any) -> tuple[str, ...]:
        return Session.plan([], recipe, None, False, False, None, None, **changes).recipe.inputs

    assert planned(model="segnext-t") == ("image",)
    assert planned(model="cmipnet") == ("image", "trajectory")
    assert planned(model="segnext-t", inputs=("image", "trajectory")) == ("image", "trajectory")
    assert planned("roadedge-s", model="segnext-t") == ("image", "trajectory")  # a recipe says what it is fed
    assert planned() == ("image", "trajectory")


def test_the_city_trains_no_network_of_lidar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--model", "roadedge-n", "--inputs", "image, lidar", "--steps", "1", "-o", "run"]) == 2
    assert "no LiDAR" in capsys.readouterr().err
    assert not Path("run").exists()
