"""What `roadedge train` does around the loop: which recipe, which data, which folder, and a bar to look at."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadedge.errors import (
    DataError,
    MissingExtraError,
    RecipeError,
    SpecMismatchError,
    UnknownNameError,
    UsageError,
)
from roadedge.models import MODELS
from roadedge.models.catalogue import CATALOGUE
from roadedge.resources import recipe_path
from roadedge.run_folder import newest_run, open_run_folder
from roadedge.spec import ModelSpec
from roadedge.training.launch import is_follower, restarted
from roadedge.training.recipe import Recipe, override, read_recipe, to_toml

if TYPE_CHECKING:
    from roadedge.training.processes import Processes

HOW = "pip install 'roadedge[train]'"


@dataclass(frozen=True, slots=True)
class Session:
    """A planned training run."""

    recipe: Recipe
    folders: tuple[Path, ...]
    output: Path | None
    resume: bool = False
    overwrite: bool = False
    init: str | None = None

    @classmethod
    def plan(
        cls,
        data: list[Path],
        recipe: str | None,
        output: Path | None,
        resume: bool,
        overwrite: bool,
        init: str | None,
        epochs: float | None,
        **changes: Any,
    ) -> Session:
        """Settle all that the command line leaves open; nothing is written.

        Args:
            data: folder data sets.
            recipe: a file or the name of a carried recipe.
            output: run folder.
            resume: take recipe and data from the run folder.
            overwrite: empty the run folder first.
            init: weights to start from: a file, an address, or a network's name; instead of the recipe's.
            epochs: instead of steps.
            changes: fields of Recipe, None for unchanged; a model without recipe and inputs has those of its paper.

        Raises:
            UsageError, RecipeError, DataError: options that do not go together, a bad recipe, a missing folder.
        """
        if restarted() and output is not None:  # what is in it, this very command wrote before a process failed
            if (output / "state.pt").exists() or _has_folds(output):
                return cls._resumed([], None, output, False, {})
            overwrite = True
        if resume:
            return cls._resumed(data, recipe, output, overwrite or init is not None, changes)
        chosen = read_recipe(recipe_path(recipe)) if recipe else Recipe()
        if changes.get("model") and not recipe:
            changes["name"] = changes["model"]
            if changes.get("inputs") is None and changes["model"] in CATALOGUE:
                changes["inputs"] = CATALOGUE[changes["model"]].inputs
        chosen = _changed(chosen, changes)
        if chosen.model not in MODELS:
            raise UnknownNameError("model", chosen.model, MODELS)
        _check_inputs(
            chosen, asked=changes.get("inputs") is not None
        )  # refuses inputs that no network has, before any work
        missing = [str(folder) for folder in data if not folder.is_dir()]
        if missing:
            raise DataError(f"there is no data set folder {missing[0]}")
        if epochs is not None:
            if changes.get("steps"):
                raise UsageError("--steps and --epochs say the same thing; give one of them")
            if not 0 < epochs < math.inf:
                raise UsageError(f"--epochs must be above 0, got {epochs:g}")
            counted = override(chosen, fold=max(chosen.fold, 1)) if chosen.folds else chosen
            chosen = override(chosen, steps=max(1, round(epochs * count_samples(data, counted) / chosen.batch)))
        return cls(chosen, tuple(data), output, False, overwrite, init)

    @classmethod
    def _resumed(
        cls, data: list[Path], recipe: str | None, output: Path | None, conflicting: bool, changes: dict[str, Any]
    ) -> Session:
        if recipe or conflicting or any(value is not None for value in changes.values()):
            raise UsageError("--resume continues a run as it was started; leave the other settings out")
        folder = output or newest_run("train", "state.pt")
        if folder is None or not ((folder / "state.pt").exists() or _has_folds(folder)):
            where = folder or "runs/train"
            raise UsageError(f"there is no run to resume in {where}: no state.pt is there; leave --resume out")
        stored = json.loads((folder / "data.json").read_text())["folders"]
        return cls(read_recipe(folder / "recipe.toml"), tuple(data) or tuple(map(Path, stored)), folder, True)

    @property
    def follows(self) -> bool:
        """Whether this is a process of torchrun's that leaves speaking to the first one."""
        return is_follower()

    def toml(self) -> str:
        """The recipe as it will be run."""
        return to_toml(self.recipe)

    def run(
        self, threads: int | None, report: Callable[[str], None], progress: bool, device: str = "auto"
    ) -> dict[str, Any]:
        """Train; returns the result as JSON values, on each process where torchrun started several."""
        try:
            from roadedge.training.processes import joined, one_voice
        except ImportError as error:
            raise MissingExtraError("torch", "train", "training") from error
        with joined(device) as group, one_voice(group):
            tell = report if group.first else lambda text: None
            return self._run(group, threads, tell, progress and group.first, device)

    def _run(
        self, group: Processes, threads: int | None, report: Callable[[str], None], progress: bool, device: str
    ) -> dict[str, Any]:
        from roadedge.training.loop import train

        init = group.from_first(lambda: self._init(report))
        data = [path.resolve() for path in self.folders]
        absent = [name for name in ("matplotlib", "tensorboard") if importlib.util.find_spec(name) is None]
        if self.recipe.folds and not (self.resume and self.recipe.fold):  # else one fold alone is gone on with
            return self._cross_validated(group, data, init, threads, report, progress, device)
        folder = group.from_first(lambda: self._folder(data, init))
        if absent:
            report(f"pictures or TensorBoard's log are left out: they need {' and '.join(absent)}, {HOW}")
        bar = Bar(self.recipe.steps, enabled=progress and sys.stderr.isatty())
        try:
            with bar:
                result = train(self.recipe, data, folder, init, self.resume, threads, report, bar.step, device)
        except BaseException:
            nothing = not any(folder.glob("*.pt")) and not (folder / "nonfinite.npz").exists()
            if group.first and nothing:
                shutil.rmtree(folder, ignore_errors=True)  # nothing was learnt: leave no empty run behind
            raise
        return {key: str(v) if isinstance(v, Path) else v for key, v in dataclasses.asdict(result).items()}

    def _init(self, report: Callable[[str], None]) -> Path | None:
        """The weights to start from: those of the command line, else the recipe's; fetched where they lie elsewhere.

        A run that goes on has started; of folds that go on some may not have. What does not fit is said here, before
        any data are prepared.
        """
        place = self.init or self.recipe.init
        if not place or (self.resume and not self.recipe.folds):
            return None
        from roadedge.models.start import check_start
        from roadedge.weights import find_weights

        path = find_weights(place, report).resolve()
        if not self.recipe.qat.on:
            check_start(self.recipe.model, self.recipe.inputs, path)
        return path

    def _folder(self, data: list[Path], init: Path | None) -> Path:
        """The run folder, empty or to resume."""
        if self.resume and self.output is not None:
            return self.output.resolve()
        needed = data if init is None else [*data, init]
        return open_run_folder("train", self.recipe.name, self.output, self.overwrite, needed)

    def _cross_validated(
        self,
        group: Processes,
        data: list[Path],
        init: Path | None,
        threads: int | None,
        report: Callable[[str], None],
        progress: bool,
        device: str,
    ) -> dict[str, Any]:
        from roadedge.training.cross_validation import cross_validate, open_folds

        if not data:
            raise UsageError("--folds divides the places of a data set; give one, the built-in city has no end")
        folder = group.from_first(lambda: open_folds(self.recipe, data, self.output, self.overwrite, self.resume))
        count = 1 if self.recipe.fold else self.recipe.folds
        with Bar(count * self.recipe.steps, enabled=progress and sys.stderr.isatty()) as bar:
            return cross_validate(self.recipe, data, folder, init, threads, report, bar.step, device)


class Bar:
    """A progress bar with the time left and the loss, on a terminal only."""

    def __init__(self, steps: int, enabled: bool) -> None:
        self.progress: Any = None
        if enabled:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                "train",
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[loss]}"),
            )
            self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self.task = self.progress.add_task("train", total=steps, loss="")

    def __enter__(self) -> Bar:
        """Show it."""
        if self.progress is not None:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        if self.progress is not None:
            self.progress.stop()

    def step(self, step: int, steps: int, loss: float) -> None:
        """Move on."""
        if self.progress is not None:
            self.progress.update(self.task, completed=step, total=steps, loss=f"loss {loss:.3f}")


def _has_folds(folder: Path) -> bool:
    """Whether a folder is that of a cross-validation, to go on with."""
    return (folder / "recipe.toml").exists() and read_recipe(folder / "recipe.toml").folds > 0


def _changed(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """The recipe with the options of the command line; a value out of range is then a wrong option, not a bad file."""
    try:
        return override(recipe, **changes)
    except RecipeError as error:
        raise UsageError(str(error)) from error


def _check_inputs(recipe: Recipe, asked: bool) -> None:
    """Raise UsageError for --inputs that no network has, SpecMismatchError for those of a recipe."""
    try:
        ModelSpec(recipe.model, recipe.inputs)
    except SpecMismatchError as error:
        if asked:
            raise UsageError(f"--inputs: {error}") from error
        raise


def count_samples(data: list[Path], recipe: Recipe) -> int:
    """How many samples one epoch is: those that are trained on, not those set aside."""
    from roadedge.training.batches import divided

    return sum(len(divided(recipe, folder)[0]) for folder in data) or recipe.city_tiles
