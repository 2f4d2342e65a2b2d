"""SpaceNet 3: Vegas, Paris, Shanghai and Khartoum, tiles of 1300 pixels at 0.3 m.

Two layouts are in use. Road connectivity's successors: `trainval/*.tif` of eight bands with
`trainval_labels/train_masks/*.png`. Joint connectivity: `images/*.tif` in RGB with `masks/*.png`. Image and mask are
partners by the area and number in their names (`AOI_2_Vegas_img7`), else by their whole stems: other data sets in the
second layout, whose GSD nobody knows.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.data.folder import Entry
from roadedge.data.layout import Layout, share_of_frame
from roadedge.data.pairing import files_ending, held_out, partners
from roadedge.errors import DataError, MissingExtraError
from roadedge.imagery import read_image

GSD_M = 0.3
HELD_SHARE = 1050 / 2780  # tiles held out by CU-dGCN, of all that are published with labels
RED_GREEN_BLUE = (5, 3, 2)  # bands of WorldView-3, counted from one
_NAME = re.compile(r"AOI_(\d+)_([A-Za-z]+).*?img_?(\d+)$")


def read_worldview(path: Path) -> NDArray[np.uint8]:
    """A GeoTIFF of eight bands as (H, W, 3) uint8 RGB, each band stretched from its 2nd to its 98th percentile.

    Pixels that are zero are no data, stay out of the percentiles and stay zero; no others become zero. A file of three
    or four bands is read as it is.

    Raises:
        DataError: unreadable, or another number of bands.
        MissingExtraError: rasterio is not installed.
    """
    try:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError
    except ImportError as error:
        raise MissingExtraError("rasterio", "geo", "reading satellite images of eight bands") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                if file.count in (3, 4):
                    return read_image(path)
                if file.count != 8:
                    raise DataError(f"{path} has {file.count} bands; expected 8 of WorldView-3, or RGB")
                planes = file.read(RED_GREEN_BLUE)
    except RasterioError as error:
        raise DataError(f"cannot read the image {path}: {error}") from error
    return np.stack([_stretched(plane) for plane in planes], axis=2)


def _stretched(plane: NDArray[np.generic]) -> NDArray[np.uint8]:
    known = plane[plane != 0]
    low, high = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
    scaled = (plane.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
    return np.where(plane == 0, 0, np.rint(scaled.clip(1, 255))).astype(np.uint8)


def _key(stem: str) -> str:
    match = _NAME.search(stem)
    return f"AOI_{match[1]}_{match[2]}_img{match[3]}" if match else stem


def _of_eight_bands(root: Path) -> bool:
    return (root / "trainval").is_dir() and (root / "trainval_labels" / "train_masks").is_dir()


def _matches(root: Path) -> bool:
    plain = (root / "images").is_dir() and (root / "masks").is_dir()
    return _of_eight_bands(root) or (plain and any((root / "images").glob("*.tif")))


def _entries(root: Path, second: str, fold: int) -> list[Entry]:
    eight = _of_eight_bands(root)
    image_folder = root / ("trainval" if eight else "images")
    mask_folder = root / "trainval_labels" / "train_masks" if eight else root / "masks"
    images, masks = _keyed(image_folder, ".tif", ".tiff"), _keyed(mask_folder, ".png", ".tif")
    names = partners(root, image=images, mask=masks)
    held = held_out(names, HELD_SHARE)
    label, pixels = ("gaussian", "worldview") if eight else ("above-half", "rgb")
    found = []
    for n in names:
        split, gsd_m = "val" if n in held else "train", GSD_M if eight or _NAME.search(n) else None
        found.append(Entry(n, n, split, images[n], masks[n], gsd_m=gsd_m, label=label, pixels=pixels))
    return found


def _keyed(folder: Path, *endings: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for stem, path in files_ending(folder, *endings).items():
        key = _key(stem)
        if key in found:
            raise DataError(f"{folder} holds both {found[key].name} and {path.name}, which are one tile; keep one")
        found[key] = path
    return found


def _usable(image: NDArray[np.uint8]) -> bool:
    return share_of_frame(image, 0) <= 0.25


LAYOUT = Layout("SpaceNet 3", _matches, _entries, usable=_usable)
