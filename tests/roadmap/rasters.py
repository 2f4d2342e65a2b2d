"""Probability rasters on the ground, and points on roads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

UTM = "EPSG:32616"
ORIGIN = (445_000.0, 4_640_000.0)


def write_raster(
    path: Path,
    pixels: NDArray[Any],
    gsd_m: float = 0.5,
    crs: str | None = UTM,
    transform: Any = None,
    **options: Any,
) -> Path:
    """One band, north up, its upper left corner at ORIGIN."""
    import rasterio
    from rasterio.transform import Affine

    transform = transform or Affine(gsd_m, 0, ORIGIN[0], 0, -gsd_m, ORIGIN[1])
    height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=pixels.dtype, crs=crs,
        transform=transform, **options,
    ) as raster:  # fmt: skip
        raster.write(pixels, 1)
    return path


def street(size: tuple[int, int] = (400, 600), row: int = 200, width: int = 16, value: int = 230) -> NDArray[np.uint8]:
    """A road from left to right."""
    road = np.zeros(size, np.uint8)
    road[row - width // 2 : row + width // 2] = value
    return road
