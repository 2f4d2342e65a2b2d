"""DeepGlobe roads: `train/<id>_sat.jpg` with `train/<id>_mask.png`, 1024 pixels at 0.5 m.

Only the folder `train` has labels. As in CU-dGCN 1530 of its 6226 tiles are held out, here as `val`, by the digests of
their names, since the published draw depends on the order of a directory.
"""

from __future__ import annotations

from pathlib import Path

from roadedge.data.folder import Entry
from roadedge.data.layout import Layout
from roadedge.data.pairing import files_ending, held_out, partners

GSD_M = 0.5
HELD_SHARE = 1530 / 6226


def _matches(root: Path) -> bool:
    return any((root / "train").glob("*_sat.jpg"))


def _entries(root: Path, second: str, fold: int) -> list[Entry]:
    images = files_ending(root / "train", "_sat.jpg")
    masks = files_ending(root / "train", "_mask.png")
    names = partners(root / "train", sat=images, mask=masks)
    held = held_out(names, HELD_SHARE)
    return [
        Entry(n, n, "val" if n in held else "train", images[n], masks[n], gsd_m=GSD_M, label="above-half")
        for n in names
    ]


LAYOUT = Layout("DeepGlobe", _matches, _entries)
