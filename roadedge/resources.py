"""Recipes, export targets and calibration lists by name, in a checkout or in an installed package."""

from __future__ import annotations

from pathlib import Path

from roadedge.errors import UnknownNameError, UsageError

STAGES = ("training", "export", "calibration")
SUFFIXES = (".toml", ".txt")
_PACKAGE = Path(__file__).resolve().parent


def stage_folder(stage: str) -> Path:
    """The folder of what a person edits for `stage`: `<checkout>/<stage>`, or `roadedge/stages/<stage>` in the wheel.

    Raises:
        UnknownNameError: not one of STAGES.
    """
    if stage not in STAGES:
        raise UnknownNameError("stage", stage, STAGES)
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / stage).is_dir():
        return checkout / stage
    return _PACKAGE / "stages" / stage


def recipe_names(stage: str = "training") -> list[str]:
    """Names that `recipe_path` knows for `stage`, in alphabetical order."""
    return sorted(path.stem for path in stage_folder(stage).glob("*") if path.suffix in SUFFIXES)


def recipe_path(name: str | Path, stage: str = "training") -> Path:
    """The file behind a recipe, a target or a sample list.

    Args:
        name: a path to a file, or the name of one that the project carries (`roadedge-s` for `roadedge-s.toml`).
        stage: where to look a name up, one of STAGES.

    Raises:
        UnknownNameError: neither a file nor a carried name; the message lists the names.
        UsageError: a path where no file is.
    """
    if Path(name).is_file():
        return Path(name)
    folder = stage_folder(stage)
    for path in (folder / f"{name}{suffix}" for suffix in ("", *SUFFIXES)):
        if path.suffix in SUFFIXES and path.is_file():
            return path
    if Path(name).suffix in SUFFIXES or len(Path(name).parts) > 1:
        raise UsageError(f"there is no file {name}; give one that is there, or the name of one in {folder}")
    raise UnknownNameError(f"{stage} recipe", str(name), recipe_names(stage))
