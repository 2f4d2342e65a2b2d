"""Open-pit mine roads in VOC's layout, which D-SegNeXt's copy of DeepGlobe has too once its labels are 0 and 1.

`JPEGImages/<id>.png`, `SegmentationClass/<id>.png` (1 road, 0 not, 255 ignored; palette or grey), and
`ImageSets/Segmentation/{train,val,test}.txt`. Where `test` repeats `val`, it is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from roadedge.data.folder import Entry
from roadedge.data.label_values import read_index
from roadedge.data.layout import Layout
from roadedge.data.pairing import disjoint, files_ending, read_ids
from roadedge.errors import DataError

LISTS = Path("ImageSets") / "Segmentation"
_LOOKED_AT = 16  # masks, until one has a road


def _matches(root: Path) -> bool:
    folders = ("JPEGImages", "SegmentationClass")
    return all((root / name).is_dir() for name in folders) and (root / LISTS / "train.txt").is_file()


def _entries(root: Path, second: str, fold: int) -> list[Entry]:
    named = {s: read_ids(root / LISTS / f"{s}.txt") for s in ("train", "val", "test") if _listed(root, s)}
    if "val" in named and set(named.get("test", ())) == set(named["val"]):
        del named["test"]
    disjoint(named, root / LISTS)
    images = files_ending(root / "JPEGImages", ".png", ".jpg")
    masks = files_ending(root / "SegmentationClass", ".png")
    found = []
    for split, names in named.items():
        for name in names:
            if name not in images or name not in masks:
                folder = "JPEGImages" if name not in images else "SegmentationClass"
                raise DataError(f"{root / LISTS / split}.txt lists {name}, and there is no {root / folder / name}.png")
            found.append(Entry(name, name, split, images[name], masks[name], label="index"))
    _check_classes(entry.mask for entry in found)
    return found


def _check_classes(masks: Iterable[Path]) -> None:
    """Raise DataError where roads are 255, as a script of D-SegNeXt leaves them: in this layout that is ignored."""
    ignored = None
    for path in islice(masks, _LOOKED_AT):
        mask = read_index(path)
        if (mask == 255).any():
            return
        ignored = path if ignored is None and (mask == 128).any() else ignored
    if ignored is not None:
        raise DataError(
            f"{ignored} and its neighbours hold 0 and 255 and never 1, which is road in this layout (255 is ignored); "
            "write 1 where they have 255"
        )


def _listed(root: Path, split: str) -> bool:
    return split == "train" or (root / LISTS / f"{split}.txt").is_file()


LAYOUT = Layout("open-pit mine roads", _matches, _entries)
