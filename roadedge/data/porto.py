"""Porto: images and heat-maps of 442 taxis, in five folds.

`rgb/<id>.png`, `mask/<id>.png`, `gps/<id>.png`, and `split_1` to `split_5` with `train.txt`, `valid.txt`, `test.txt`.
One fold is named by its folder, `porto/split_3`, or by the number of a cross-validation.
"""

from __future__ import annotations

from pathlib import Path

from roadedge.data.folder import Entry
from roadedge.data.layout import Layout
from roadedge.data.pairing import disjoint, files_ending, read_ids
from roadedge.errors import DataError

FOLDS = 5
LISTS = {"train": "train.txt", "val": "valid.txt", "test": "test.txt"}


def _home(root: Path) -> Path:
    return root.parent if root.resolve().name.startswith("split_") else root


def _matches(root: Path) -> bool:
    home = _home(root.resolve())
    return all((home / name).is_dir() for name in ("rgb", "mask", "gps")) and any(home.glob("split_*/train.txt"))


def _entries(root: Path, second: str, fold: int) -> list[Entry]:
    root = root.resolve()
    home = _home(root)
    if root == home and not fold:
        raise DataError(f"{root} holds {FOLDS} folds; name one, such as {root.name}/split_1, or train with --folds 5")
    lists = home / f"split_{fold}" if fold else root
    named = {split: read_ids(lists / name) for split, name in LISTS.items()}
    disjoint(named, lists)
    images, masks = files_ending(home / "rgb", ".png"), files_ending(home / "mask", ".png")
    columns = {"rgb": images, "mask": masks}
    if second == "trajectory":
        columns["gps"] = files_ending(home / "gps", ".png")
    rasters = columns.get("gps", {})
    found = []
    for split, names in named.items():
        for name in names:
            _check(home, name, columns, lists / LISTS[split])
            found.append(
                Entry(name, name, split, images[name], masks[name], raster=rasters.get(name), label="above-half")
            )
    return found


def _check(home: Path, name: str, columns: dict[str, dict[str, Path]], where: Path) -> None:
    for folder, files in columns.items():
        if name not in files:
            raise DataError(f"{where} lists {name}, and there is no {home / folder / name}.png")


LAYOUT = Layout("Porto", _matches, _entries, folds=FOLDS, trajectories_measured=True)
