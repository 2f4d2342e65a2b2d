"""The folder data set: `image/`, `mask/`, a second modality, and `split.csv` where the split is given."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.imagery import IMAGE_SUFFIXES, read_image, read_mask, read_raster
from roadedge.sample import Sample
from roadedge.trajectory import read_points

POINT_SUFFIXES = (".csv", ".csv.gz", ".parquet")
VALIDATION_SHARE = 0.2  # of the places, where the data set brings no split


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one labelled sample lies. Entries with the same `group` show the same place and stay on one side of a split."""

    id: str
    group: str
    split: str
    image: Path
    mask: Path
    points: Path | None = None
    raster: Path | None = None
    gsd_m: float | None = None


@dataclass(frozen=True, slots=True)
class LabelledSample:
    """A sample and its truth: `mask` is (H, W) uint8, 255 road, 0 not, 128 ignored."""

    sample: Sample
    mask: NDArray[np.uint8]
    group: str
    split: str

    @property
    def id(self) -> str:
        """The sample's id."""
        return self.sample.id


class FolderDataset:
    """Labelled samples of a folder, read when asked for."""

    def __init__(self, root: str | Path, split: str | None = None, second: str = "trajectory") -> None:
        """List a data set.

        Args:
            root: holds `image/`, `mask/` and, where present, `trajectory/`, `heatmap/`, `lidar_*/`, `split.csv`.
            split: `train` or `val`; None for all.
            second: `trajectory`, or the name of a raster folder such as `lidar_intensity`.

        Raises:
            DataError: the folder is missing, empty, of another layout, or holds nothing of this split.
        """
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"there is no data set folder {self.root}")
        table = self.root / "split.csv"
        listed = _from_table(table, second) if table.exists() else _from_folders(self.root, second)
        self.entries = [e for e in listed if split in (None, e.split)]
        if not self.entries:
            found = sorted({e.split for e in listed})
            raise DataError(f"{self.root} holds no samples of the split {split!r}; it has {found or 'no samples at all'}")

    def __len__(self) -> int:
        """Count of samples."""
        return len(self.entries)

    def __getitem__(self, index: int) -> LabelledSample:
        """Read one sample; raises DataError naming the file that is bad."""
        return read_entry(self.entries[index])

    def __iter__(self) -> Iterator[LabelledSample]:
        """Read one sample after the other."""
        return (read_entry(entry) for entry in self.entries)


def read_entry(entry: Entry) -> LabelledSample:
    """Read image, mask and second modality of one entry.

    Raises:
        DataError: a file cannot be read, or image and mask differ in size.
    """
    image, mask = read_image(entry.image), read_mask(entry.mask)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{entry.mask} is {mask.shape[0]} x {mask.shape[1]} pixels and its image {entry.image.name} "
            f"{image.shape[0]} x {image.shape[1]}; both must lie on one grid"
        )
    second: NDArray[Any] | None = None
    if entry.points is not None:
        second = read_points(entry.points).to_array()
    elif entry.raster is not None:
        second = read_raster(entry.raster)
    sample = Sample(image, second, gsd_m=entry.gsd_m, id=entry.id)
    return LabelledSample(sample, mask, entry.group, entry.split)


def hold_out(entries: list[Entry], groups: int) -> tuple[list[Entry], list[Entry]]:
    """Set `groups` places aside, the same ones each time: (the rest, those set aside)."""
    order = sorted({e.group for e in entries}, key=lambda name: zlib.crc32(name.encode()))
    aside = set(order[:groups])
    return [e for e in entries if e.group not in aside], [e for e in entries if e.group in aside]


def _from_table(table: Path, second: str) -> list[Entry]:
    root = table.parent
    entries = []
    with table.open(newline="") as file:
        rows = csv.DictReader(file)
        missing = {"image", "mask", "split"} - set(rows.fieldnames or ())
        if missing:
            raise DataError(f"{table} lacks the columns {sorted(missing)}; it has {rows.fieldnames}")
        for row in rows:
            points = row.get("trajectory") if second == "trajectory" else None
            raster = row.get("heatmap") if second == "trajectory" else row.get(second)
            entries.append(
                Entry(
                    id=Path(row["image"]).stem,
                    group=Path(row["mask"]).stem,
                    split=row["split"],
                    image=root / row["image"],
                    mask=root / row["mask"],
                    points=root / points if points else None,
                    raster=root / raster if raster else None,
                    gsd_m=_positive(row.get("gsd_m"), table),
                )
            )
    return entries


def _positive(text: str | None, table: Path) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise DataError(f"{table} has the gsd_m {text!r}; expected metres per pixel, a number") from error
    if not 0 < value < 1e4:
        raise DataError(f"{table} has the gsd_m {value}; expected positive metres per pixel")
    return value


def _from_folders(root: Path, second: str) -> list[Entry]:
    images = _by_stem(root / "image", IMAGE_SUFFIXES)
    masks = _by_stem(root / "mask", (".png",))
    common = sorted(set(images) & set(masks))
    if not common:
        raise DataError(f"{root} needs image/<id>.png|jpg|tif and mask/<id>.png with the same ids; it has no such pair")
    points = _by_stem(root / "trajectory", POINT_SUFFIXES) if second == "trajectory" else {}
    rasters = _by_stem(root / ("heatmap" if second == "trajectory" else second), IMAGE_SUFFIXES)
    return [
        Entry(name, name, _split_of(name), images[name], masks[name], points.get(name), rasters.get(name)) for name in common
    ]


def _split_of(group: str) -> str:
    """A split that stays the same when samples are added: by the digest of the place's name."""
    return "val" if zlib.crc32(group.encode()) / 2**32 < VALIDATION_SHARE else "train"


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    found = {}
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        for suffix in suffixes:
            if path.name.lower().endswith(suffix):
                found[path.name[: -len(suffix)]] = path
    return found
