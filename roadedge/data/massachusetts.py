"""Massachusetts roads: `tiff/{train,val,test}/<id>.tiff`, `tiff/{train,val,test}_labels/<id>.tif`, 1500 px at 1 m."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.data.folder import Entry
from roadedge.data.layout import Layout, share_of_frame
from roadedge.data.pairing import files_ending, partners
from roadedge.errors import DataError

GSD_M = 1.0
SPLITS = ("train", "val", "test")
_ENDINGS = (".tiff", ".tif", ".png")


def _matches(root: Path) -> bool:
    return (root / "tiff" / "train").is_dir() and (root / "tiff" / "train_labels").is_dir()


def _entries(root: Path, second: str, fold: int) -> list[Entry]:
    found, seen = [], set()
    for split in SPLITS:
        folder = root / "tiff" / split
        if not folder.is_dir():
            continue
        images, masks = files_ending(folder, *_ENDINGS), files_ending(folder.with_name(f"{split}_labels"), *_ENDINGS)
        for name in partners(folder, image=images, label=masks):
            if name in seen:
                raise DataError(f"{root} has {name} in two splits; take it out of one of them")
            seen.add(name)
            found.append(Entry(name, name, split, images[name], masks[name], gsd_m=GSD_M, label="above-half"))
    return found


def _usable(image: NDArray[np.uint8]) -> bool:
    return share_of_frame(image, 255) <= 0.001


LAYOUT = Layout("Massachusetts roads", _matches, _entries, usable=_usable)
