"""Windows of a raster on a level of the page's grid: decimated where both grids are parallel, else warped."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.georeference.raster_place import RasterPlace
from roadedge.roadmap.grid import short_name
from roadedge.roadmap.page_frame import Frame

Box = tuple[int, int, int, int]  # top, left, height, width in pixels of the level
Read = Callable[
    [Box, list[int]], tuple[NDArray[Any], NDArray[np.uint8]]
]  # → (bands, H, W), and 255 where there is data


@contextmanager
def tile_reader(raster: Any, place: RasterPlace, frame: Frame, level: int) -> Iterator[Read]:
    """A function that reads boxes of a level from an open raster, each pixel the mean of what lies under it."""
    _, dx, rx, _, ry, dy = place.transform
    if rx == ry == 0 and dx > 0 > dy and short_name(place.crs) == frame.crs:
        yield functools.partial(_decimated, raster, place, frame, level)
        return
    from rasterio.enums import Resampling
    from rasterio.transform import Affine
    from rasterio.vrt import WarpedVRT

    height, width = frame.size(level)
    gsd_m = frame.gsd_m * 2**level
    options = {
        "src_crs": place.crs,
        "crs": frame.crs,
        "transform": Affine(gsd_m, 0, frame.x0, 0, -gsd_m, frame.y1),
        "width": width,
        "height": height,
        "resampling": Resampling.average,
    }
    if not any("alpha" in str(kind) for kind in raster.colorinterp):
        options["add_alpha"] = True
    with WarpedVRT(raster, **options) as warped:
        yield functools.partial(_warped, warped)


def _decimated(
    raster: Any, place: RasterPlace, frame: Frame, level: int, box: Box, bands: list[int]
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Read what of a box the raster covers; a COG answers from its overviews."""
    from rasterio.enums import Resampling
    from rasterio.windows import Window

    top, left, height, width = box
    x0, dx, _, y1, _, dy = place.transform
    side = frame.gsd_m * 2**level
    right_of, below = (x0 - frame.x0) / side, (frame.y1 - y1) / side  # the raster's corner in pixels of the level
    c0, c1 = _covered(left, width, right_of, raster.width * dx / side)
    r0, r1 = _covered(top, height, below, raster.height * -dy / side)
    found = np.zeros((len(bands), height, width), raster.dtypes[0])
    known = np.zeros((height, width), np.uint8)
    if c0 >= c1 or r0 >= r1:
        return found, known
    across, down = side / dx, side / -dy  # pixels of the raster to one of the level
    x, y = max(0.0, (c0 - right_of) * across), max(0.0, (r0 - below) * down)
    wide, high = min((c1 - c0) * across, raster.width - x), min((r1 - r0) * down, raster.height - y)
    window = Window(x, y, wide, high)
    part = np.s_[r0 - top : r1 - top, c0 - left : c1 - left]
    shape = (r1 - r0, c1 - c0)
    found[(slice(None), *part)] = raster.read(
        bands, window=window, out_shape=(len(bands), *shape), resampling=Resampling.average
    )
    known[part] = raster.dataset_mask(window=window, out_shape=shape, resampling=Resampling.average)
    return found, known


def _covered(start: int, length: int, corner: float, extent: float) -> tuple[int, int]:
    """The pixels of a box, along one axis, whose middles a raster covers."""
    first = max(start, math.ceil(corner - 0.5 - 1e-6))
    last = min(start + length, math.ceil(corner + extent - 0.5 - 1e-6))
    return first, last


def _warped(warped: Any, box: Box, bands: list[int]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    from rasterio.windows import Window

    top, left, height, width = box
    window = Window(left, top, width, height)
    return warped.read(bands, window=window), warped.read(warped.count, window=window)
