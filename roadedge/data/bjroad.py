"""BJRoad: Beijing at 0.5 m a pixel, images and heat-maps of taxis.

`train_val` and `test`, each with `image/<id>_sat.png`, `mask/<id>_mask.png` and `gps/<id>_gps.jpg`. A tenth of
train_val is `val`. The copy that the authors of CMMPNet share was multiplied by augmentation before; no name tells
which pictures show one place, so a split of it cannot keep them apart: split before augmenting.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from roadedge.data.folder import Entry
from roadedge.data.layout import Layout
from roadedge.data.pairing import disjoint, files_ending, held_out, partners

GSD_M = 0.5
VALIDATION_SHARE = 0.1


def _matches(root: Path) -> bool:
    return all((root / "train_val" / name).is_dir() for name in ("image", "mask"))


def _entries(root: Path, second: str, fold: int) -> list[Entry]:
    found = _part(root / "train_val", second, "train")
    held = held_out((entry.id for entry in found), VALIDATION_SHARE)
    tested = _part(root / "test", second, "test") if (root / "test").is_dir() else []
    disjoint({"train_val": [entry.id for entry in found], "test": [entry.id for entry in tested]}, root)
    return [replace(entry, split="val") if entry.id in held else entry for entry in found] + tested


def _part(folder: Path, second: str, split: str) -> list[Entry]:
    images = files_ending(folder / "image", "_sat.png")
    masks = files_ending(folder / "mask", "_mask.png")
    columns = {"image": images, "mask": masks}
    if second == "trajectory" and (folder / "gps").is_dir():
        columns["gps"] = files_ending(folder / "gps", "_gps.jpg", "_gps.png")
    names = partners(folder, **columns)
    rasters = columns.get("gps", {})
    return [
        Entry(n, n, split, images[n], masks[n], raster=rasters.get(n), gsd_m=GSD_M, label="above-half") for n in names
    ]


LAYOUT = Layout("BJRoad", _matches, _entries, trajectories_measured=True)
