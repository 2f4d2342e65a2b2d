"""Small scenes and stores of points for the tests of maps."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

UTM = "EPSG:32633"
CORNER = (440_000.0, 5_810_000.0)


def smooth(height: int, width: int, seed: int = 0, bands: int = 3) -> NDArray[np.uint8]:
    """(H, W, bands) something like a picture: coarse noise, grown."""
    import cv2

    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, bands), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height)), np.uint8).reshape(height, width, bands)


def write_scene(
    path: Path,
    pixels: NDArray[Any],
    crs: str | None = UTM,
    gsd: float = 0.46,
    corner: tuple[float, float] = CORNER,
    transform: Any = None,
    **more: Any,
) -> Path:
    """A GeoTIFF of (H, W, bands)."""
    import rasterio
    import rasterio.errors

    place = transform or rasterio.Affine(gsd, 0, corner[0], 0, -gsd, corner[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=pixels.shape[0], width=pixels.shape[1], count=pixels.shape[2],
            dtype=pixels.dtype, crs=crs, transform=place, **more,
        ) as raster:  # fmt: skip
            raster.write(np.moveaxis(pixels, 2, 0))
    return path


def write_points(path: Path, xy: NDArray[np.float64], crs: str = UTM) -> Path:
    """A store of points without attributes."""
    from roadedge.trajectory.store_writer import write_store

    count = len(xy)
    unknown = np.full(count, np.nan)
    write_store(
        path,
        {
            "x": xy[:, 0], "y": xy[:, 1], "t_s": unknown, "vid": np.full(count, -1), "speed_ms": unknown,
            "heading_deg": unknown,
        },
        crs,
    )  # fmt: skip
    return path


def read_band(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The first band of a raster and its mask."""
    import rasterio

    with contextlib.closing(rasterio.open(path)) as raster:
        return raster.read(1), raster.read_masks(1)
