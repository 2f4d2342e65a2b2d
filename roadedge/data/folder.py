"""The folder data set: `image/`, `mask/`, a second modality, and `split.csv` where the split is given.

`roads/<id>.geojson`, where present, are centre lines in pixels, which labels are drawn from instead of the mask's own.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, PointsError, UsageError
from roadedge.imagery import IMAGE_SUFFIXES, read_image, read_raster
from roadedge.sample import Sample
from roadedge.trajectory import read_points

POINT_SUFFIXES = (".csv", ".csv.gz", ".parquet")
ROAD_SUFFIXES = (".geojson",)
VALIDATION_SHARE = 0.2  # of the places, where the data set brings no split


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one labelled sample lies. Entries of one `group` show the same place and stay on one side of a split."""

    id: str
    group: str
    split: str
    image: Path
    mask: Path
    points: Path | None = None
    raster: Path | None = None
    gsd_m: float | None = None
    label: str = "road-255"  # how the mask is written, a key of label_values.LABELS
    pixels: str = "rgb"  # how the image is written: rgb, or the eight bands of worldview
    roads: Path | None = None  # centre lines


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSample:
    """A sample and its truth: `mask` is (H, W) uint8, 255 road, 0 not, 128 ignored; `roads` a file of centre lines."""

    sample: Sample
    mask: NDArray[np.uint8]
    group: str
    split: str
    roads: Path | None = None

    @property
    def id(self) -> str:
        """The sample's id."""
        return self.sample.id


class FolderDataset:
    """Labelled samples of a folder, read when asked for."""

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        second: str = "trajectory",
        fold: int = 0,
        folds: int = 0,
    ) -> None:
        """List a data set.

        Args:
            root: holds `image/`, `mask/` and, where present, `trajectory/`, `heatmap/`, `lidar_*/`, `split.csv`; or a
                published data set in a layout of `layouts.LAYOUTS`.
            split: `train`, `val` or `test`; None for all.
            second: `trajectory`, or the name of a raster folder such as `lidar_intensity`.
            fold: which part of a cross-validation, from 1 on, is `test`; 0 for the splits as they are.
            folds: how many parts there are.

        Raises:
            DataError: the folder is missing, empty, of another layout, or holds nothing of this split or modality.
        """
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"there is no data set folder {self.root}")
        listed = _listed(self.root, second, fold, folds)
        self.splits = {entry.split for entry in listed}
        self.entries = [e for e in listed if split in (None, e.split)]
        if not self.entries:
            found = sorted({e.split for e in listed}) or "no samples at all"
            raise DataError(f"{self.root} holds no samples of the split {split!r}; it has {found}")

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
        DataError: a file cannot be read, or image, mask and raster differ in size; names the file.
    """
    image, mask = _pixels(entry), _label(entry)
    _check_grid(entry.mask, mask, entry.image, image)
    second: NDArray[Any] | None = None
    if entry.points is not None:
        points = read_points(entry.points)
        if points.crs != "pixel":
            raise PointsError(f"{entry.points} holds points in {points.crs!r}; expected x, y in pixels of the image")
        second = points.to_array()
    elif entry.raster is not None:
        second = read_raster(entry.raster)
        _check_grid(entry.raster, second, entry.image, image)
    sample = Sample(image, second, gsd_m=entry.gsd_m, id=entry.id)
    return LabelledSample(sample, mask, entry.group, entry.split, entry.roads)


def hold_out(entries: list[Entry], groups: int) -> tuple[list[Entry], list[Entry]]:
    """Set `groups` places aside, the same ones each time: (the rest, those set aside).

    Raises:
        DataError: nothing would be left to train on.
    """
    order = sorted({e.group for e in entries}, key=lambda name: (zlib.crc32(name.encode()), name))
    if groups and not 0 <= groups < len(order):
        raise DataError(f"cannot set {groups} of {len(order)} places aside; at least one must be left to train on")
    aside = set(order[:groups])
    return [e for e in entries if e.group not in aside], [e for e in entries if e.group in aside]


def lidar_folder(root: str | Path, quantity: str = "") -> str:
    """The name of the folder with a data set's LiDAR rasters of a quantity, or its first ones; raises DataError."""
    from roadedge.data.layouts import layout_of

    layout = layout_of(root)
    if layout is not None and layout.lidar is not None:
        return layout.lidar
    if quantity:
        return f"lidar_{quantity}"
    found = sorted(p.name for p in Path(root).glob("lidar_*") if p.is_dir())
    if not found:
        raise DataError(f"{root} holds no folder lidar_*, which this network needs; expected such as lidar_intensity/")
    return found[0]


def second_of(root: str | Path, inputs: Collection[str], quantity: str = "") -> str:
    """What FolderDataset calls the second modality of a network with these inputs; raises as `lidar_folder`."""
    return lidar_folder(root, quantity) if "lidar" in inputs else "trajectory"


def _pixels(entry: Entry) -> NDArray[np.uint8]:
    if entry.pixels == "rgb":
        return read_image(entry.image)
    from roadedge.data.spacenet3 import read_worldview

    return read_worldview(entry.image)


def _label(entry: Entry) -> NDArray[np.uint8]:
    from roadedge.data.label_values import LABELS

    return LABELS[entry.label](entry.mask)


def _listed(root: Path, second: str, fold: int, folds: int) -> list[Entry]:
    """All entries of a data set of whatever layout."""
    from roadedge.data.folds import folded
    from roadedge.data.layouts import layout_of

    if fold and not 1 <= fold <= folds:
        raise UsageError(f"the fold must lie in 1 ... {folds}, got {fold}")
    layout, table = layout_of(root), root / "split.csv"
    if layout is not None and layout.folds and fold:
        if folds != layout.folds:
            raise UsageError(f"{root} has {layout.folds} folds of its own, got {folds}; train with that many")
        return layout.entries(root, second, fold)
    if layout is not None:
        listed = layout.entries(root, second, 0)
    else:
        listed = _from_table(table, second) if table.exists() else _from_folders(root, second)
    return folded(listed, fold, folds) if fold else listed


def _check_grid(path: Path, plane: NDArray[Any], image_path: Path, image: NDArray[Any]) -> None:
    if image.shape[:2] != plane.shape:
        raise DataError(
            f"{path} is {plane.shape[0]} x {plane.shape[1]} pixels and its image {image_path.name} "
            f"{image.shape[0]} x {image.shape[1]}; both must lie on one grid"
        )


def _from_table(table: Path, second: str) -> list[Entry]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a mark before the first column
            rows = csv.DictReader(file)
            names = list(rows.fieldnames or ())
            missing = {"image", "mask", "split"} - set(names)
            if missing:
                raise DataError(f"{table} lacks the columns {sorted(missing)}; it has {names}")
            listed = [(rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a table ({error}); expected CSV in UTF-8") from error
    root = table.parent
    points, rasters = _second_files(root, second, listed=names)
    lines = {} if "roads" in names else _by_stem(root / "roads", ROAD_SUFFIXES)
    entries = []
    for line, row in listed:
        image, mask, split = row["image"], row["mask"], row["split"]
        if not (image and mask and split):
            raise DataError(f"{table} has no image, mask or split in line {line}; fill it in or take the line out")
        name, place = Path(image).stem, Path(mask).stem
        track = row.get("trajectory") if second == "trajectory" else None
        raster, roads = row.get("heatmap" if second == "trajectory" else second), row.get("roads")
        entries.append(
            Entry(
                id=name,
                group=row.get("group") or place,
                split=split,
                image=root / image,
                mask=root / mask,
                points=root / track if track else points.get(name, points.get(place)),
                raster=root / raster if raster else rasters.get(name, rasters.get(place)),
                gsd_m=_positive(row.get("gsd_m"), table),
                roads=root / roads if roads else lines.get(name, lines.get(place)),
            )
        )
    return entries


def _second_files(root: Path, second: str, listed: list[str]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Points and rasters by the sample's name, of what is not `listed` in the columns of a table.

    Raises:
        DataError: neither a column nor a folder of this name.
    """
    if second == "trajectory":
        points = {} if second in listed else _by_stem(root / second, POINT_SUFFIXES)
        return points, {} if "heatmap" in listed else _by_stem(root / "heatmap", IMAGE_SUFFIXES)
    if second in listed:
        return {}, {}
    if not (root / second).is_dir():
        found = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise DataError(f"{root} has no folder {second!r}; it has {found}")
    return {}, _by_stem(root / second, IMAGE_SUFFIXES)


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
    points, rasters = _second_files(root, second, listed=[])
    lines = _by_stem(root / "roads", ROAD_SUFFIXES)
    entries = []
    for name, image in sorted(images.items()):
        place = _place_of(name, masks)
        if place is not None:
            track, raster, roads = (files.get(name, files.get(place)) for files in (points, rasters, lines))
            entries.append(Entry(name, place, _split_of(place), image, masks[place], track, raster, roads=roads))
    if not entries:
        raise DataError(
            f"{root} needs image/<id>.png|jpg|tif and mask/<id>.png with the same ids; it has no such pair, "
            "and it is none of the published layouts either"
        )
    return entries


def _place_of(image: str, masks: dict[str, Path]) -> str | None:
    """The mask of an image: of the same name, or without a provider at its end (`tile_7_google` shows `tile_7`)."""
    place, _, provider = image.rpartition("_")
    if image in masks:
        return image
    return place if place in masks and provider.isalpha() else None


def _split_of(group: str) -> str:
    """A split that stays the same when samples are added: by the digest of the place's name."""
    return "val" if zlib.crc32(group.encode()) / 2**32 < VALIDATION_SHARE else "train"


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("[!.]*")) if folder.is_dir() else []:  # not what systems hide beside the files
        suffix = next((s for s in suffixes if path.name.lower().endswith(s)), None)
        if suffix is None:
            continue
        stem = path.name[: -len(suffix)]
        if stem in found:
            raise DataError(f"{folder} holds both {found[stem].name} and {path.name}; keep one of them")
        found[stem] = path
    return found
