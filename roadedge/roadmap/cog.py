"""GeoTIFFs out: a plain one that is written window by window, and the Cloud-Optimised one that is made of it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from roadedge.atomic import replacing
from roadedge.errors import MissingExtraError, OutputError
from roadedge.georeference.raster_place import gdal_errors
from roadedge.roadmap.survey import MapGrid

BLOCK = 512
LEVEL = 1  # of DEFLATE: level 6 takes twice the time and saves a seventh
CACHE_BYTES = 96 << 20  # of blocks that GDAL keeps; its own limit is a twentieth of the memory


@contextlib.contextmanager
def open_plain(path: Path, grid: MapGrid) -> Iterator[Any]:
    """A tiled GeoTIFF of one band of uint8, to be written to; blocks that are never written take no room.

    Raises:
        OutputError: it cannot be written, or was not written whole.
    """
    try:
        import rasterio
    except ImportError as error:
        raise MissingExtraError("rasterio", "geo", "writing a GeoTIFF") from error
    x0, dx, rx, y0, ry, dy = grid.transform
    options: dict[str, Any] = {
        "driver": "GTiff", "dtype": "uint8", "count": 1, "width": grid.width, "height": grid.height, "crs": grid.crs,
        "transform": rasterio.Affine(dx, rx, x0, ry, dy, y0), "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK,
        "BIGTIFF": "IF_SAFER", "SPARSE_OK": "TRUE",
    }  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_TIFF_INTERNAL_MASK=True):
            with rasterio.open(path, "w", **options) as raster:
                yield raster
    except gdal_errors() as error:
        raise OutputError(f"cannot write {path}: {error}; is the disk full?") from error


def write_cog(plain: Path, target: Path, tags: Mapping[str, str], threads: int, resampling: str = "AVERAGE") -> None:
    """Copy a GeoTIFF as a Cloud-Optimised one with overviews, whole or not at all; its mask comes along.

    Raises:
        OutputError: it cannot be written, a full disk among others.
    """
    import rasterio

    check_room(target, plain.stat().st_blocks * 512 // 8)
    try:
        with rasterio.open(plain, "r+") as raster:
            raster.update_tags(**tags)
        # In a thread, so that Ctrl-C is noticed at once; it then waits for GDAL, which cannot be stopped.
        with replacing(target) as temporary, ThreadPoolExecutor(1) as aside:
            aside.submit(_copy, plain, temporary, target.parent, threads, resampling).result()
    except gdal_errors() as error:
        raise OutputError(f"cannot write {target}: {error}; is the disk full?") from error


def _copy(plain: Path, temporary: Path, scratch: Path, threads: int, resampling: str) -> None:
    import rasterio
    import rasterio.shutil

    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, CPL_TMPDIR=str(scratch)):
        rasterio.shutil.copy(
            plain, temporary, driver="COG", COMPRESS="DEFLATE", LEVEL=LEVEL, BLOCKSIZE=BLOCK, RESAMPLING=resampling,
            NUM_THREADS=threads, BIGTIFF="IF_SAFER", STATISTICS="NO",
        )  # fmt: skip


def check_room(path: Path, wanted: int) -> None:
    """Raise OutputError where the disk of `path` has less room than `wanted` bytes."""
    free = shutil.disk_usage(path.parent if path.parent.exists() else os.curdir).free
    if free < wanted:
        raise OutputError(
            f"cannot write {path}: the disk is full; {wanted / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free"
        )
