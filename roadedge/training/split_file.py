"""`split.csv` of a run folder: which tile was trained on, which set aside to choose by, which tested."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from roadedge.data.folder import FolderDataset, second_of
from roadedge.training.batches import divided
from roadedge.training.recipe import Recipe

SPLIT = "split.csv"
COLUMNS = ("data", "use", "id", "group")


def split_table(recipe: Recipe, folders: Sequence[Path]) -> str:
    """CSV of all tiles of the data sets that a run uses: `use` is train, set-aside, or of a fold also test.

    Where the data sets lie does not matter, so that a table can be compared with one of another machine.

    Raises:
        DataError: a data set that cannot be listed.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for folder in folders:
        trained, aside = divided(recipe, folder)
        parts = {"train": trained, "set-aside": aside}
        if recipe.fold:
            second = second_of(folder, recipe.inputs, recipe.lidar.quantity)
            parts["test"] = FolderDataset(folder, "test", second, recipe.fold, recipe.folds).entries
        for use, entries in parts.items():
            table.writerows((folder.name, use, entry.id, entry.group) for entry in entries)
    return text.getvalue()
