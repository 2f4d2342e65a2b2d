"""The study's pure parts: what is compared, how its page follows from the numbers, what a killed run goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.study import CONTENDERS, RECIPE, alone, recipe_for, train_one
from benchmarks.study_page import WHAT, draw_curves, draw_scores, page, sentences
from benchmarks.study_scores import CONDITIONS, concerns, difference, read_run
from roadedge.atomic import write_json
from roadedge.errors import DataError
from roadedge.metrics.pixel import PixelCounts, score
from roadedge.models import MODELS
from roadedge.training.recipe import read_recipe


def scored(tp: int, places: int = 6) -> dict[str, Any]:
    """A condition in which each place finds about `tp` of 100 road pixels and invents none."""
    counts = [PixelCounts(tp + i % 3, 0, 100 - tp - i % 3, 900) for i in range(places)]
    names = [f"p{i}" for i in range(places)]
    pooled = score(counts).to_dict() | {"places": places, "G_IoU_interval_95": [tp / 100, (tp + 2) / 100]}
    samples = [["tianjin", n, n, c.tp, c.fp, c.fn, c.tn, c.ignored] for n, c in zip(names, counts, strict=True)]
    return {"pooled": pooled, "sets": {"tianjin": pooled, "epfl": pooled}, "samples": samples}


def run(name: str, clear: int, fog: int | None, points: int | None) -> dict[str, Any]:
    contender = next(one for one in CONTENDERS if one.name == name)
    same = {"same_as_clear": True}
    conditions = {"clear": scored(clear), "fog:0.8": same if fog is None else scored(fog)}
    conditions["points:0.05"] = same if points is None else scored(points)
    recipe = read_recipe(RECIPE)
    settings = ("steps", "batch", "crop", "precision", "optimiser", "lr", "seed")
    return {
        "name": name, "inputs": list(contender.inputs), "model": contender.model, "conditions": conditions,
        "cost": {"parameters": 2_000_000, "gmac": 1.8}, "recipe": {key: getattr(recipe, key) for key in settings},
        "environment": {"processor": "one", "cpu_count": 2, "packages": {"torch": "2"}, "date": "2026-01-01T00:00"},
        "log": {"columns": ["step", "loss", "g_iou"], "rows": [[25.0, 1.2, None], [50.0, 0.9, 0.4]]},
    }  # fmt: skip


RUNS = [run("early-fusion", 80, 70, 60), run("image-only", 50, 30, None), run("cmipnet", 81, 75, 40)]


def test_every_contender_is_a_network_that_we_have_and_is_named_on_the_page() -> None:
    assert {one.name for one in CONTENDERS} == set(WHAT)
    assert all(one.model in MODELS for one in CONTENDERS)


def test_the_recipes_of_two_contenders_differ_in_name_network_and_inputs_alone() -> None:
    recipe = read_recipe(RECIPE)
    made = [recipe_for(one, recipe) for one in CONTENDERS]
    fields = [{k: getattr(r, k) for k in r.__slots__ if k not in ("name", "model", "inputs")} for r in made]
    assert all(one == fields[0] for one in fields)
    assert len({(r.model, r.inputs) for r in made}) == len(CONTENDERS)


def test_the_recipe_is_the_one_that_was_asked_for() -> None:
    recipe = read_recipe(RECIPE)
    assert (recipe.steps, recipe.crop, recipe.precision) == (1500, 192, "bf16")


@pytest.mark.parametrize(
    ("inputs", "fog", "points"),
    [(("image",), True, False), (("trajectory",), False, True), (("image", "trajectory"), True, True)],
)
def test_a_condition_concerns_what_changes_something_that_is_fed(
    inputs: tuple[str, ...], fog: bool, points: bool
) -> None:
    assert concerns(CONDITIONS["fog:0.8"], inputs) is fog
    assert concerns(CONDITIONS["points:0.05"], inputs) is points


def test_a_clear_difference_is_told_apart_and_a_network_from_itself_is_not() -> None:
    early, image, _ = RUNS
    found = difference(early, image, "clear")
    assert found.value == pytest.approx(0.30)
    assert found.told_apart
    assert not difference(early, early, "fog:0.8").told_apart


def test_a_network_that_a_condition_does_not_concern_is_compared_by_its_clear_score() -> None:
    early, image, _ = RUNS
    assert difference(early, image, "points:0.05").value == pytest.approx(0.10)


def test_runs_of_other_samples_are_not_compared() -> None:
    other = run("cmmpnet", 70, 60, 50)
    other["conditions"]["clear"]["samples"].pop()
    with pytest.raises(DataError, match="other samples; score both again"):
        difference(RUNS[0], other, "clear")


def test_the_page_says_what_the_numbers_say() -> None:
    lines = sentences(RUNS)
    assert lines[0].startswith("**clear**: cmipnet leads with 82.00")
    assert lines[2].startswith("**points:0.05**: early-fusion leads with 61.00, told apart from all others")
    assert lines[3].endswith("of 2 networks with both inputs: early-fusion, cmipnet.")


def test_the_page_names_what_is_not_trained_yet_and_what_is_simulated() -> None:
    text = page(RUNS)
    assert "**Not trained yet**: trajectory-only, late-fusion, cmmpnet, roadedge-s;" in text
    assert "Semi-synthetic" in text
    assert "| image-only | D-LinkNet34 on images | 2.00 | 1.80 | **51.00** 50.0–52.0 |" in text
    assert "{" not in text


def test_the_page_tells_which_networks_of_one_input_were_trained_on_blanks() -> None:
    assert "**A flaw of these runs**: image-only saw" in page(RUNS)
    assert "A flaw" not in page([one | {"drawing": 3} for one in RUNS])


def test_both_pictures_are_drawn(tmp_path: Path) -> None:
    draw_scores(RUNS, tmp_path / "scores.png")
    draw_curves(RUNS, tmp_path / "curves.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("scores.png", "curves.png"))


def test_a_file_that_is_no_run_is_told_in_a_sentence(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"kind": "evaluation"})
    with pytest.raises(DataError, match="not a run of the study"):
        read_run(tmp_path / "x.json")


def test_two_studies_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with alone(tmp_path / ".lock"), pytest.raises(SystemExit, match="another study"), alone(tmp_path / ".lock"):
        pass


def test_a_run_that_has_ended_is_not_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    train_one(read_recipe(RECIPE), [tmp_path / "no data"], tmp_path)
    assert "trained already" in capsys.readouterr().err


def test_a_folder_of_something_else_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(SystemExit, match="no run of the study"):
        train_one(read_recipe(RECIPE), [tmp_path / "no data"], tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"
