"""Recipes and targets are found by name in a checkout and in a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadedge import resources
from roadedge.errors import UnknownNameError, UsageError
from roadedge.resources import recipe_names, recipe_path, stage_folder


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder as the wheel installs it: no checkout around it, the stages inside."""
    package = tmp_path / "site-packages" / "roadedge"
    recipes = package / "stages" / "training"
    recipes.mkdir(parents=True)
    (recipes / "small.toml").write_text("steps = 1\n")
    (recipes / "README.md").write_text("not a recipe\n")
    monkeypatch.setattr(resources, "_PACKAGE", package)
    return recipes


def test_a_checkout_uses_the_folders_at_its_root() -> None:
    root = Path(__file__).parent.parent
    assert [stage_folder(stage) for stage in resources.STAGES] == [root / stage for stage in resources.STAGES]


def test_a_wheel_uses_the_folders_inside_the_package(wheel: Path) -> None:
    assert recipe_path("small") == wheel / "small.toml"
    assert recipe_path("small.toml") == wheel / "small.toml"
    assert recipe_names() == ["small"]


def test_a_file_wins_over_a_carried_name(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small").write_text("steps = 2\n")
    monkeypatch.chdir(tmp_path)
    assert recipe_path("small").read_text() == "steps = 2\n"


@pytest.mark.usefixtures("wheel")
def test_an_unknown_name_lists_the_known_ones() -> None:
    told = r"unknown training recipe 'smal' \(did you mean 'small'\?\); choose from small"
    with pytest.raises(UnknownNameError, match=told):
        recipe_path("smal")


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown stage 'weights'"):
        stage_folder("weights")


@pytest.mark.parametrize("name", ["mine.toml", "recipes/mine", "/nowhere/mine.toml"])
def test_a_path_where_no_file_is_is_told_as_a_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"there is no file {name};"):
        recipe_path(name)
