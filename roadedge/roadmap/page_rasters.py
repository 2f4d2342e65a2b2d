"""Rasters of the page: tiles in levels of halved resolution, from the coarsest to the finest that its size allows."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, SourceError
from roadedge.georeference.raster_place import opened_raster, place_of_raster
from roadedge.roadmap.page_frame import TILE, Frame, pixel_m
from roadedge.roadmap.page_reader import tile_reader

STEPS = 32  # of a probability or density in the page; the finest difference that an eye tells on a map
SPREAD = 7  # grey values from one step to the next, so that a decoder that rounds does no harm
PHOTO_QUALITY = 72
PHOTO, GREY = "image/webp", "image/png"  # the latter a third larger than WebP without loss, and written 20 times faster
_CACHE_BYTES = 64 << 20
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pyramid:
    """Tiles of a raster: `level/column/row` → a picture of `kind` in base64; missing ones are empty.

    `finest` is the finest level that is there, `gsd_m` how large its pixels are on the ground.
    """

    kind: str
    tiles: dict[str, str]
    finest: int
    gsd_m: float

    @property
    def size_bytes(self) -> int:
        """Of its tiles in the page."""
        return sum(map(len, self.tiles.values()))


def pyramid(
    path: Path, frame: Frame, most_bytes: int, photo: bool, crs: str | None = None, tell: Tell = print
) -> Pyramid:
    """Tiles of a raster on the frame, as fine as fits into `most_bytes`; the coarsest level is always there.

    Args:
        path: one band of uint8 (probability, density), or a picture of any bands with `photo`.
        frame: grid of the page.
        most_bytes: of the tiles as base64.
        photo: colours with loss; else grey in STEPS steps without, where 0 says that there is nothing.
        crs: of a raster that does not say its own.
        tell: called with lines of text.

    Raises:
        DataError, SourceError: it cannot be read, or is of another kind.
    """
    made: dict[str, str] = {}
    own = _own_level(path, frame, crs)
    finest, spent, last = frame.levels - 1, 0, 0
    for level in reversed(range(own, frame.levels)):
        if last and spent + 2.2 * last > most_bytes:  # a level has at least about so much more than the one above it
            break
        tiles: dict[str, str] | None = {}
        size = 0
        for key, tile in _level(path, frame, level, photo, crs):
            size += len(tile)
            if made and spent + size > most_bytes:
                tiles = None
                break
            assert tiles is not None
            tiles[key] = tile
        if tiles is None:
            break
        made |= tiles
        finest, spent, last = level, spent + size, size
    shown = Pyramid(PHOTO if photo else GREY, made, finest, frame.gsd_m * 2**finest)
    if finest > own:
        tell(f"{path.name} is shown at {shown.gsd_m:.3g} m a pixel: finer tiles would not fit into the page's size")
    return shown


def _own_level(path: Path, frame: Frame, crs: str | None) -> int:
    """The level whose pixels are about those of the file itself: finer ones would show nothing more."""
    with opened_raster(path) as raster:
        side_m = pixel_m(place_of_raster(raster, path, crs), frame.crs)
    return min(frame.levels - 1, max(0, round(math.log2(side_m / frame.gsd_m))))


def _level(path: Path, frame: Frame, level: int, photo: bool, crs: str | None) -> Iterator[tuple[str, str]]:
    import rasterio
    import rasterio.errors

    height, width = frame.size(level)
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES), opened_raster(path) as raster:
        place = place_of_raster(raster, path, crs)
        _check(raster, path, photo)
        bands = [1, 2, 3] if photo and raster.count >= 3 else [1]
        draw = _photo if photo else _steps
        try:
            with tile_reader(raster, place, frame, level) as read:
                for top in range(0, height, TILE):
                    for left in range(0, width, TILE):
                        values, known = read((top, left, min(TILE, height - top), min(TILE, width - left)), bands)
                        tile = draw(values, known) if known.any() else None
                        if tile is not None:
                            yield f"{level}/{left // TILE}/{top // TILE}", tile
        except (rasterio.errors.RasterioError, OSError) as error:
            raise SourceError(f"{path} cannot be read ({error}); was it copied whole?") from error


def _check(raster: Any, path: Path, photo: bool) -> None:
    if not photo and (raster.count != 1 or raster.dtypes[0] != "uint8"):
        raise DataError(
            f"{path} has {raster.count} bands of {raster.dtypes[0]}; expected one of uint8, as `roadedge map` writes it"
        )
    if photo and raster.dtypes[0] != "uint8":
        raise DataError(f"{path} has colours of {raster.dtypes[0]}; convert them with gdal_translate -ot Byte -scale")


def _steps(values: NDArray[Any], known: NDArray[np.uint8]) -> str | None:
    """Grey steps as PNG in base64, None where all are 0."""
    value = values[0]
    step = np.where(known >= 128, np.rint(value * ((STEPS - 1) / 255)) + (value > 0), 0).astype(np.uint8)
    return _picture(".png", step * np.uint8(SPREAD), []) if step.any() else None


def _photo(values: NDArray[Any], known: NDArray[np.uint8]) -> str:
    import cv2

    bgr = np.ascontiguousarray(np.moveaxis(values[[-1, len(values) // 2, 0]], 0, -1))
    quality = [cv2.IMWRITE_WEBP_QUALITY, PHOTO_QUALITY]
    return _picture(".webp", bgr if (known == 255).all() else np.dstack([bgr, known]), quality)


def _picture(suffix: str, pixels: NDArray[np.uint8], options: list[int]) -> str:
    """A file in base64."""
    import cv2

    done, content = cv2.imencode(suffix, pixels, options)
    assert done, f"OpenCV writes {suffix} in every wheel of it"
    return base64.b64encode(content.tobytes()).decode()
