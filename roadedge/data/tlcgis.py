"""TLCGIS: Leon County, Florida, images of 500 pixels at half a foot and rasters of LiDAR depth.

`rgb/<id>.png`, `mask/<id>.png` (0 is road), `depth_lpu/<id>.png`, and `train.txt`, `valid.txt`, `test.txt`.
"""

from __future__ import annotations

from pathlib import Path

from roadedge.data.folder import Entry
from roadedge.data.layout import Layout
from roadedge.data.pairing import disjoint, files_ending, read_ids
from roadedge.errors import DataError

GSD_M = 0.1524
DEPTH = "depth_lpu"
LISTS = {"train": "train.txt", "val": "valid.txt", "test": "test.txt"}


def _matches(root: Path) -> bool:
    return all((root / name).is_dir() for name in ("rgb", "mask", DEPTH)) and (root / "train.txt").is_file()


def _entries(root: Path, second: str, fold: int) -> list[Entry]:
    if second not in ("trajectory", DEPTH):
        raise DataError(f"{root} has no folder {second!r}; its LiDAR lies in {DEPTH!r}")
    named = {split: read_ids(root / name) for split, name in LISTS.items()}
    disjoint(named, root)
    columns = {folder: files_ending(root / folder, ".png") for folder in ("rgb", "mask", DEPTH)}
    found = []
    for split, names in named.items():
        for name in names:
            missing = next((folder for folder, files in columns.items() if name not in files), None)
            if missing is not None:
                raise DataError(f"{root / LISTS[split]} lists {name}, and there is no {root / missing / name}.png")
            image, mask, depth = (files[name] for files in columns.values())
            raster = depth if second == DEPTH else None
            found.append(Entry(name, name, split, image, mask, raster=raster, gsd_m=GSD_M, label="inverted"))
    return found


LAYOUT = Layout("TLCGIS", _matches, _entries, lidar=DEPTH)
