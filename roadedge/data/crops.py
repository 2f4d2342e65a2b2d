"""Published tiles cut into crops as the papers do it, written as a folder data set of our own layout.

Training does not need them, since it draws its squares from whole tiles. They serve where other tools read on, where
tiles are too large to keep in memory, and where a paper's count of samples is to be met.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import write_text
from roadedge.data.folder import FolderDataset, LabelledSample
from roadedge.data.layouts import LAYOUTS, layout_of
from roadedge.errors import DataError, UsageError
from roadedge.imagery import write_png

COLUMNS = ("image", "mask", "split", "group", "gsd_m")


def corners(length: int, crop: int, overlap: int) -> list[int]:
    """Where crops begin along a side: every crop - overlap pixels, the last one moved inside; 0 of a short side."""
    if length <= crop:
        return [0]
    starts = list(range(0, length - crop, crop - overlap))
    return [*starts, length - crop]


def write_crops(root: Path, output: Path, crop: int = 512, overlap: int = 256) -> dict[str, int]:
    """Cut all tiles of a published data set.

    Tiles of the train split overlap by `overlap` pixels, those of the others as little as fits. Tiles that the papers
    leave out for their black or white frame are left out of train. Crops of one tile stay one place (`group`).

    Args:
        root: a data set of a published layout.
        output: a folder that does not exist yet, or is empty.
        crop: side of the crops in pixels.
        overlap: of neighbours in the train split, less than `crop`.

    Returns:
        How many crops of each split were written, and under "left_out" how many tiles were not.

    Raises:
        UsageError: the output is not empty, or an overlap that is no part of the crop.
        DataError: no published layout, or a file that cannot be read.
    """
    layout = layout_of(root)
    if layout is None:
        raise DataError(f"{root} is none of the published layouts {', '.join(LAYOUTS)}; ours is trained on as it is")
    if not 0 <= overlap < crop:
        raise UsageError(f"the overlap must be at least 0 and less than the crop of {crop} pixels, got {overlap}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is not empty; choose another -o/--output")
    second = layout.lidar or "trajectory"
    folder = f"lidar_{second}" if layout.lidar else "heatmap"
    rows: list[dict[str, object]] = []
    counts = {"left_out": 0}
    for item in FolderDataset(root, None, second):
        if item.split == "train" and item.sample.image is not None and not layout.usable(item.sample.image):
            counts["left_out"] += 1
            continue
        made = _cut(item, output, folder, crop, overlap if item.split == "train" else 0)
        rows += made
        counts[item.split] = counts.get(item.split, 0) + len(made)
    text = io.StringIO()
    table = csv.DictWriter(text, [*COLUMNS, folder], lineterminator="\n", restval="")
    table.writeheader()
    table.writerows(rows)
    write_text(output / "split.csv", text.getvalue())  # last: a folder without it was not finished
    return counts


def _cut(item: LabelledSample, output: Path, folder: str, crop: int, overlap: int) -> list[dict[str, object]]:
    height, width = item.mask.shape
    rows: list[dict[str, object]] = []
    for top in corners(height, crop, overlap):
        for left in corners(width, crop, overlap):
            name = f"{item.id}_{top}_{left}.png"
            window = np.s_[top : top + crop, left : left + crop]
            row: dict[str, object] = {"image": f"image/{name}", "mask": f"mask/{name}", "split": item.split}
            row |= {"group": item.group, "gsd_m": item.sample.gsd_m or ""}
            _write(output / "image" / name, item.sample.image, window)
            _write(output / "mask" / name, item.mask, window)
            if item.sample.second is not None:
                _write(output / folder / name, item.sample.second, window)
                row[folder] = f"{folder}/{name}"
            rows.append(row)
    return rows


def _write(path: Path, plane: NDArray[np.uint8] | None, window: tuple[slice, slice]) -> None:
    if plane is not None:
        write_png(path, np.ascontiguousarray(plane[window]))
