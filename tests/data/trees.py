"""Tiny trees in the exact layouts of the published data sets; the left third of every tile is road."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import write_bytes
from roadedge.imagery import write_jpeg, write_png

SIDE = 48
ROAD = np.zeros((SIDE, SIDE), np.bool_)
ROAD[:, : SIDE // 3] = True
MASK = np.where(ROAD, 255, 0).astype(np.uint8)
IMAGE = np.repeat(np.where(ROAD, 140, 60).astype(np.uint8)[..., None], 3, 2)
HEAT = np.where(ROAD, 90, 0).astype(np.uint8)


def bjroad(root: Path) -> Path:
    for part, ids in (("train_val", range(20)), ("test", range(20, 24))):
        for i in ids:
            write_png(root / part / "image" / f"{i}_7_sat.png", IMAGE)
            write_png(root / part / "mask" / f"{i}_7_mask.png", MASK)
            write_jpeg(root / part / "gps" / f"{i}_7_gps.jpg", np.repeat(HEAT[..., None], 3, 2))
    return root


def porto(root: Path) -> Path:
    ids = [f"{i:03d}" for i in range(10)]
    for name in ids:
        write_png(root / "rgb" / f"{name}.png", IMAGE)
        write_png(root / "mask" / f"{name}.png", MASK)
        write_png(root / "gps" / f"{name}.png", HEAT)
    for fold in range(5):
        test, valid = ids[2 * fold : 2 * fold + 2], [ids[(2 * fold + 2) % 10]]
        train = [name for name in ids if name not in (*test, *valid)]
        folder = root / f"split_{fold + 1}"
        folder.mkdir(parents=True)
        (folder / "train.txt").write_bytes("\r\n".join(train).encode())
        (folder / "valid.txt").write_text("\n".join(valid))
        (folder / "test.txt").write_text("\n".join(test) + "\n")
    return root


def tlcgis(root: Path) -> Path:
    for i in range(6):
        write_png(root / "rgb" / f"{i}.png", IMAGE)
        write_png(root / "mask" / f"{i}.png", np.where(ROAD, 0, 1).astype(np.uint8))
        write_png(root / "depth_lpu" / f"{i}.png", HEAT)
    for name, ids in (("train", "0123"), ("valid", "4"), ("test", "5")):
        (root / f"{name}.txt").write_text("\n".join(ids))
    return root


def spacenet3(root: Path) -> Path:
    """The layout of eight bands."""
    import rasterio

    for i in range(8):
        path = root / "trainval" / f"SN3_roads_train_AOI_2_Vegas_PS-MS_img{i}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        bands = np.stack([np.where(ROAD, 100 + band, 20 + band) for band in range(8)]).astype(np.uint8)
        shape = {"width": SIDE, "height": SIDE, "count": 8, "dtype": "uint8"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the file is not georeferenced
            with rasterio.open(path, "w", driver="GTiff", **shape) as file:
                file.write(bands)
        soft = np.where(ROAD, 255, 160).astype(np.uint8)  # 160 of 255 is below 0.76
        write_png(root / "trainval_labels" / "train_masks" / f"SN3_roads_train_AOI_2_Vegas_PS-MS_img{i}.png", soft)
    (root / "test").mkdir()
    return root


def joint_spacenet3(root: Path) -> Path:
    for i in range(8):
        write_tiff(root / "images" / f"RGB-PanSharpen_AOI_4_Shanghai_img{i}.tif", IMAGE)
        write_png(root / "masks" / f"RGB-PanSharpen_AOI_4_Shanghai_img{i}.png", MASK)
    return root


def deepglobe(root: Path) -> Path:
    for i in range(8):
        write_jpeg(root / "train" / f"{100 + i}_sat.jpg", IMAGE)
        near = np.where(ROAD, 250, 3).astype(np.uint8)  # the challenge's masks are not quite 0 and 255
        write_png(root / "train" / f"{100 + i}_mask.png", np.repeat(near[..., None], 3, 2))
    write_jpeg(root / "valid" / "900_sat.jpg", IMAGE)
    return root


def massachusetts(root: Path) -> Path:
    for split, count in (("train", 4), ("val", 1), ("test", 2)):
        for i in range(count):
            write_tiff(root / "tiff" / split / f"{split}{i}_15.tiff", IMAGE)
            write_tiff(root / "tiff" / f"{split}_labels" / f"{split}{i}_15.tif", MASK)
    return root


def open_pit(root: Path) -> Path:
    index = np.where(ROAD, 1, 0).astype(np.uint8)
    index[0] = 255
    for i in range(5):
        write_png(root / "JPEGImages" / f"m{i}.png", IMAGE)
        content = palette_png(index) if i % 2 else None
        path = root / "SegmentationClass" / f"m{i}.png"
        write_png(path, index) if content is None else write_bytes(path, content)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, ids in (("train", "012"), ("val", "3"), ("test", "4")):
        (lists / f"{split}.txt").write_text("".join(f"m{i}\n" for i in ids))
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "bjroad": bjroad,
    "porto": porto,
    "tlcgis": tlcgis,
    "spacenet3": spacenet3,
    "deepglobe": deepglobe,
    "massachusetts": massachusetts,
    "open-pit": open_pit,
}


def write_tiff(path: Path, array: NDArray[np.uint8]) -> None:
    """Grey or RGB."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)


def palette_png(index: NDArray[np.uint8]) -> bytes:
    """A PNG of class numbers with VOC's palette: 1 is dark red, 255 nearly white."""
    palette = np.zeros((256, 3), np.uint8)
    palette[:, 1] = np.arange(256)
    palette[0], palette[1], palette[255] = (0, 0, 0), (128, 0, 0), (224, 224, 192)
    rows = b"".join(b"\0" + row.tobytes() for row in index)
    head = struct.pack(">IIBBBBB", index.shape[1], index.shape[0], 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", palette.tobytes()), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
