"""Published tiles cut into crops as the papers do it, written as a folder data set of our own layout.

Training does not need them, since it draws its squares from whole tiles. They serve where other tools read on, where
tiles are too large to keep in memory, and where a paper's count of samples is to be met.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.atomic import write_bytes, write_json, write_text
from roadedge.data.folder import Entry, FolderDataset, LabelledSample, read_entry
from roadedge.data.journal import Journal, finished, work_folder
from roadedge.data.layout import Layout
from roadedge.data.layouts import LAYOUTS, layout_of
from roadedge.errors import DataError, UsageError
from roadedge.imagery import encode_png
from roadedge.preprocess import resample
from roadedge.sample import Sample
from roadedge.trajectory.ingest.progress import Progress

COLUMNS = ("image", "mask", "split", "group", "gsd_m")
SCHEMA_VERSION = 1
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CropOptions:
    """How tiles are cut; all lengths in pixels.

    `crop` is the side of the crops, `overlap` that of neighbours in the train split. `resize` brings the longer side of
    each tile to so many pixels first; 0 leaves tiles as they are.
    """

    crop: int = 512
    overlap: int = 256
    resize: int = 0

    def __post_init__(self) -> None:
        if self.crop < 1 or not 0 <= self.overlap < self.crop:
            raise UsageError(
                f"the overlap must be at least 0 and less than the crop of {self.crop} pixels, got {self.overlap}"
            )
        if self.resize < 0:
            raise UsageError(f"tiles are resized to a positive number of pixels, got {self.resize}")


def corners(length: int, crop: int, overlap: int) -> list[int]:
    """Where crops begin along a side: every crop - overlap pixels, the last one moved inside; 0 of a short side."""
    if length <= crop:
        return [0]
    starts = list(range(0, length - crop, crop - overlap))
    return [*starts, length - crop]


def write_crops(
    root: Path,
    output: Path,
    options: CropOptions | None = None,
    resume: bool = False,
    overwrite: bool = False,
    tell: Tell | None = None,
) -> dict[str, int]:
    """Cut all tiles of a published data set; the folder appears at its place when it is whole.

    Tiles of the train split overlap by `options.overlap` pixels, those of the others as little as fits. Tiles that the
    papers leave out for their black or white frame are left out of train. Crops of one tile stay one place (`group`).

    Args:
        root: a data set of a published layout.
        output: a folder that does not exist yet, or is empty.
        options: how.
        resume: go on with a run that was stopped; data and options must be the same.
        overwrite: begin anew, and replace crops that are there.
        tell: takes lines about the progress.

    Returns:
        How many crops of each split were written, and under "left_out" how many tiles were not.

    Raises:
        UsageError: an output that is there, or a run to resume that is not.
        DataError: no published layout, or a file that cannot be read; what is done is kept for `resume`.
        OutputError: the output cannot be written.
    """
    options = options or CropOptions()
    if not root.is_dir():
        raise DataError(f"there is no data set folder {root}")
    layout = layout_of(root)
    if layout is None:
        raise DataError(f"{root} is none of the published layouts {', '.join(LAYOUTS)}; ours is trained on as it is")
    second = layout.lidar or "trajectory"
    entries = FolderDataset(root, None, second).entries
    identity = {"schema_version": SCHEMA_VERSION, "tiles": _digest(entries), **asdict(options)}
    if resume and (manifest := finished(output, identity)) is not None:
        return dict(manifest["counts"])
    with work_folder(output, resume, overwrite, keep=True) as folder:
        journal = Journal(folder, identity, resume)
        try:
            _cut_all(entries, partial(_cut, folder=folder, layout=layout, options=options), journal, tell)
        finally:
            journal.close()
        records = [journal.done[entry.id] for entry in entries]
        counts = _counts(records)
        _write_table(
            folder / "split.csv", [row for record in records for row in record["rows"]], _second_folder(layout)
        )
        write_json(folder / "manifest.json", {**identity, "layout": layout.title, "counts": counts})
    return counts


def _cut_all(entries: list[Entry], cut: Callable[[Entry], dict[str, Any]], journal: Journal, tell: Tell | None) -> None:
    """Cut what is not done, some tiles at a time; decoding and encoding leave the interpreter to others."""
    todo = [entry for entry in entries if entry.id not in journal.done]
    if tell is not None and len(todo) < len(entries):
        tell(f"{len(entries) - len(todo)} of {len(entries)} tiles are done already")
    progress = Progress(tell, "tiles")
    progress.phase("cutting")
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as executor:
        try:
            for number, record in enumerate(executor.map(cut, todo), 1):
                journal.add(record)
                progress.at(number, number / len(todo))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{len(journal.done)} of {len(entries)} tiles are cut; pass --resume to go on"
            ) from None
        finally:
            executor.shutdown(cancel_futures=True)
            progress.done()


def _cut(entry: Entry, folder: Path, layout: Layout, options: CropOptions) -> dict[str, Any]:
    """Write the crops of one tile; its rows of the table, and the digests of its files."""
    item = read_entry(entry)
    record: dict[str, Any] = {"id": entry.id, "files": {}, "rows": []}
    if item.split == "train" and item.sample.image is not None and not layout.usable(item.sample.image):
        return record
    item = _resized(item, options.resize)
    overlap, (height, width) = options.overlap if item.split == "train" else 0, item.mask.shape
    planes = {"image": item.sample.image, "mask": item.mask, _second_folder(layout): item.sample.second}
    for top in corners(height, options.crop, overlap):
        for left in corners(width, options.crop, overlap):
            row = {"split": item.split, "group": item.group, "gsd_m": item.sample.gsd_m or ""}
            for kind, plane in planes.items():
                if plane is not None:
                    name = row[kind] = f"{kind}/{item.id}_{top}_{left}.png"
                    cut = plane[top : top + options.crop, left : left + options.crop]
                    content = encode_png(np.ascontiguousarray(cut))
                    write_bytes(folder / name, content, durable=False)  # a resumed run looks at the digests
                    record["files"][name] = hashlib.sha256(content).hexdigest()
            record["rows"].append(row)
    return record


def _resized(item: LabelledSample, side: int) -> LabelledSample:
    """A tile of another size; of its mask the road is where half of a pixel is, ignored what lies in the middle."""
    height, width = item.mask.shape
    scale = side / max(height, width)
    if not side or scale == 1:
        return item
    grid = (max(1, round(height * scale)), max(1, round(width * scale)))
    road = resample(np.where(item.mask == 255, 255, 0).astype(np.uint8), grid)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(grid, item.mask.shape, strict=True)
    )
    ignored = item.mask[np.ix_(rows, columns)] == 128
    mask = np.where(ignored, 128, np.where(road >= 128, 255, 0)).astype(np.uint8)
    image, second = (None if one is None else resample(one, grid) for one in (item.sample.image, item.sample.second))
    gsd_m = item.sample.gsd_m and item.sample.gsd_m / scale
    return replace(item, sample=Sample(image, second, grid, gsd_m=gsd_m, id=item.id), mask=mask)


def _second_folder(layout: Layout) -> str:
    return f"lidar_{layout.lidar}" if layout.lidar else "heatmap"


def _digest(entries: list[Entry]) -> str:
    """Of the tiles, wherever they lie: a resumed run cuts the same ones."""
    lines = [f"{entry.id}\t{entry.split}\t{entry.image.stat().st_size}" for entry in entries if entry.image.exists()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _counts(records: list[dict[str, Any]]) -> dict[str, int]:
    counts = {"left_out": 0}
    for record in records:
        counts["left_out"] += not record["rows"]
        for row in record["rows"]:
            counts[row["split"]] = counts.get(row["split"], 0) + 1
    return counts


def _write_table(path: Path, rows: list[dict[str, Any]], second: str) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, [*COLUMNS, second], lineterminator="\n", restval="")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())
