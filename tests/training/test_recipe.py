"""Recipes are read into frozen values, and a wrong one says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadedge.errors import RecipeError
from roadedge.training.recipe import Recipe, override, read_recipe, recipe_from, to_toml


def test_a_recipe_survives_toml(tmp_path: Path) -> None:
    recipe = Recipe(name='quo"ted', lr=3e-4, inputs=("image",), hold_out={"tianjin": 12}, weights={"a b": 0.5})
    path = tmp_path / "r.toml"
    path.write_text(to_toml(recipe))
    assert read_recipe(path) == recipe


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(RecipeError, match="learning_rate"):
        recipe_from({"learning_rate": 0.1})


def test_an_unknown_key_of_a_table_is_named() -> None:
    with pytest.raises(RecipeError, match=r"\[augment\].*fog"):
        recipe_from({"augment": {"fog": 0.1}})


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("crop", 100, "multiple of 32"),
        ("steps", 0, "at least 1"),
        ("optimiser", "rmsprop", "adam, adamw or sgd"),
        ("schedule", "plateau", "cosine, linear, steps or constant"),
        ("drops", [0.5, 1.5], "between 0 and 1"),
        ("fold", 3, "1 ... folds"),
        ("loss", {"road": "dice"}, "bce-dice or soft-iou"),
        ("precision", "fp16", "auto, bf16 or fp32"),
        ("lr", 0.0, "positive"),
        ("batch", "8", "expected int"),
        ("plateau", 3, r"expected a table, \[plateau\] and its keys"),
    ],
)
def test_a_wrong_value_is_refused(key: str, value: object, text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        recipe_from({key: value})


def test_whole_numbers_pass_for_floats() -> None:
    assert recipe_from({"city": 1}).city == 1.0


def test_none_leaves_a_setting() -> None:
    assert override(Recipe(), steps=None, lr=0.5) == Recipe(lr=0.5)


def test_missing_and_broken_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(RecipeError, match="is not TOML"):
        read_recipe(tmp_path / "bad.toml")
