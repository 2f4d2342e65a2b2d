"""Cross-validation: one run for each fold, each scored on the places it never saw, and all of them in one file."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json, write_text
from roadedge.data.folder import FolderDataset, second_of
from roadedge.errors import DataError, SpecMismatchError, UsageError
from roadedge.metrics.pixel import global_iou, mean_sample_iou
from roadedge.models.checkpoint import load_network
from roadedge.run_folder import open_run_folder
from roadedge.training.batches import unseen_pool
from roadedge.training.loop import TrainResult, train
from roadedge.training.processes import Processes, joined
from roadedge.training.recipe import Recipe, override, read_recipe, to_toml
from roadedge.training.run import Report
from roadedge.training.validation import validate

SUMMARY, TESTED = "folds.json", "test.json"
SCORES = ("g_iou", "a_iou")


def cross_validate(
    recipe: Recipe,
    folders: Sequence[Path],
    output: Path,
    init: Path | None = None,
    threads: int | None = None,
    report: Report = print,
    on_step: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    device: str = "auto",
) -> dict[str, Any]:
    """Train and test the recipe's fold, or each fold that is not done yet, and sum up all that are.

    Where torchrun started several processes, they train and test each fold together.

    Args:
        recipe: with `folds`, and `fold` where one alone is wanted.
        folders: data sets.
        output: from `open_folds`; a fold lies in `fold-N`, one that was interrupted is gone on with.
        init: checkpoint that every fold starts from.
        threads: of torch.
        report: called with lines of text.
        on_step: called after each step with (step, steps, loss), counted over all folds.
        device: as of `train`.

    Returns:
        What stands in `folds.json`: the scores of each fold, their mean and their standard deviation over the folds
        (n - 1; null of one fold alone).
    """
    numbers = [recipe.fold] if recipe.fold else list(range(1, recipe.folds + 1))
    with joined(device) as group:
        tell = report if group.first else lambda text: None
        for nth, number in enumerate(numbers):
            own, folder = override(recipe, fold=number), output / f"fold-{number}"

            def step_of_all(step: int, steps: int, loss: float, done: int = nth) -> None:
                on_step(done * steps + step, len(numbers) * steps, loss)

            with ExitStack() as held:
                group.from_first(partial(_hold, held, folder))
                done, began = group.from_first(partial(_looked_at, folder))
                if done:
                    tell(f"fold {number} is done already")
                    continue
                tell(f"fold {number} of {recipe.folds}")
                start = None if began else init
                result = train(own, list(folders), folder, start, began, threads, report, step_of_all, device)
                scores = _tested(own, list(folders), result.best, group)
                tell(f"fold {number}: G_IoU {100 * scores['g_iou']:.2f} on {scores['samples']} samples never seen")
                group.from_first(partial(_keep, recipe, folders, output, number, scores, result))
        return group.from_first(lambda: sum_up(recipe, folders, output))


def _hold(held: ExitStack, folder: Path) -> None:
    held.enter_context(_locked(folder))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a fold for this run; the system lets go of it however the process ends."""
    with folder.with_name(f".{folder.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another run is at work on {folder}; wait for it, or take another --fold") from error
        yield


def _looked_at(folder: Path) -> tuple[bool, bool]:
    """Whether a fold is done, and whether it was begun; what was interrupted before its first state is gone."""
    if (folder / TESTED).exists():
        return True, True
    began = (folder / "state.pt").exists()
    if folder.exists() and not began:
        shutil.rmtree(folder)
    return False, began


def _keep(
    recipe: Recipe, folders: Sequence[Path], output: Path, number: int, scores: dict[str, Any], result: TrainResult
) -> None:
    folder = output / f"fold-{number}"
    facts = {"checkpoint": f"{folder.name}/{result.best.name}", "best_step": result.best_step}
    write_json(folder / TESTED, {"fold": number, **scores, **facts, "seconds": round(result.seconds, 1)})
    sum_up(recipe, folders, output)


def open_folds(recipe: Recipe, folders: Sequence[Path], output: Path | None, overwrite: bool, resume: bool) -> Path:
    """The folder of a cross-validation; a new one, or the one that `output` names where this recipe is at work in it.

    Raises:
        UsageError: `output` holds something else.
        DataError: the data cannot be divided; nothing is written then.
        SpecMismatchError: it holds the folds of another recipe, or of other data.
    """
    plain, listing = override(recipe, fold=0), _listing(recipe, folders)
    known = output is not None and (output / "recipe.toml").exists() and (output / "data.json").exists()
    if output is not None and known and not overwrite and (resume or recipe.fold):
        if read_recipe(output / "recipe.toml") != plain:
            raise SpecMismatchError(f"{output} holds the folds of another recipe; choose another -o/--output")
        before = json.loads((output / "data.json").read_text())
        if before.get("listing", listing) != listing:
            names = ", ".join(Path(path).name for path in before["folders"])
            raise SpecMismatchError(
                f"{output} holds the folds of other data ({names}, or its samples were others then); their means would "
                "be of two things; choose another -o/--output"
            )
        return output.resolve()
    folder = open_run_folder("train", recipe.name, output, overwrite, list(folders))
    write_text(folder / "recipe.toml", to_toml(plain))
    write_json(folder / "data.json", {"folders": [str(path) for path in folders], "listing": listing})
    return folder


def _listing(recipe: Recipe, folders: Sequence[Path]) -> list[str]:
    """A digest of the samples of each data set and of the places that they show, wherever it lies."""
    digests = []
    for folder in folders:
        second = second_of(folder, recipe.inputs, recipe.lidar.quantity)
        entries = FolderDataset(folder, None, second, max(recipe.fold, 1), recipe.folds).entries
        lines = sorted(f"{entry.id}\t{entry.group}" for entry in entries)
        digests.append(hashlib.sha256("\n".join(lines).encode()).hexdigest())
    return digests


def sum_up(recipe: Recipe, folders: Sequence[Path], output: Path) -> dict[str, Any]:
    """Write `folds.json` from the folds that are done, and return it; raises DataError where a score is broken."""
    done = []
    for number in range(1, recipe.folds + 1):
        path = output / f"fold-{number}" / TESTED
        if path.exists():
            try:
                one = json.loads(path.read_text())
                done.append({**one, **{key: float(one[key]) for key in SCORES}, "fold": int(one["fold"])})
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path} holds no scores ({error!r}); delete it and run that fold again") from error
    if not done:
        raise UsageError(f"no fold in {output} is done")
    values = {name: [one[name] for one in done] for name in SCORES}
    found = {
        "schema_version": 1,
        "folds": recipe.folds,
        "done": [one["fold"] for one in done],
        "data": [folder.name for folder in folders],
        "per_fold": done,
        "mean": {name: statistics.fmean(several) for name, several in values.items()},
        "deviation": {
            name: statistics.stdev(several) if len(several) > 1 else None for name, several in values.items()
        },
    }
    write_json(output / SUMMARY, found)
    return {**found, "folder": str(output)}


def _tested(recipe: Recipe, folders: list[Path], checkpoint: Path, group: Processes) -> dict[str, Any]:
    network = group.from_first(lambda: load_network(checkpoint)[0]).to(group.device)
    pool = group.agreed(lambda: unseen_pool(recipe, folders))
    counts = validate(network, pool, group)
    return {"samples": len(pool), "g_iou": global_iou(counts), "a_iou": mean_sample_iou(counts)}
