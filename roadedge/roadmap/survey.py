"""What a scene is, one raster or a folder of them, of any CRS; and the metric grid of its map. Extra `geo`."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.georeference.raster_place import RasterPlace, gdal_errors, opened_raster, place_of_raster
from roadedge.roadmap.grid import converted, metric_crs, short_name
from roadedge.trajectory.plane import LocalPlane

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2")
SQUARE = 1e-4  # relative difference of a pixel's sides, or skew, that is none
ALIGNED_PX = 1e-3  # how far a file's pixels may lie from the grid's and still be the grid's
FINER = 0.98  # a pixel of less than this share of the grid's is averaged, others are interpolated
COARSEST = 4.0  # a scene whose pixels are so many times the network's shows no road as the network knows it
LOOKED_AT = 32  # files of a 16-bit mosaic whose range is looked at


@dataclass(frozen=True, slots=True)
class MapGrid:
    """The pixels of a map: square, north up, (height, width) of them, `gsd_m` wide, in a metric CRS.

    `x0`, `y0` is the upper left corner of the first one. `native` says that they are the scene's own.
    """

    crs: str
    x0: float
    y0: float
    gsd_m: float
    height: int
    width: int
    native: bool

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Geotransform by GDAL's order."""
        return self.x0, self.gsd_m, 0.0, self.y0, 0.0, -self.gsd_m

    @property
    def area_km2(self) -> float:
        """Of the whole grid."""
        return self.height * self.width * self.gsd_m**2 / 1e6

    def bounds(self, y0: float, x0: float, y1: float, x1: float) -> tuple[float, float, float, float]:
        """Least x, y and greatest x, y in the CRS of a box of pixels."""
        left, top = self.x0 + x0 * self.gsd_m, self.y0 - y0 * self.gsd_m
        return left, top - (y1 - y0) * self.gsd_m, left + (x1 - x0) * self.gsd_m, top


@dataclass(frozen=True, slots=True)
class SceneFile:
    """A raster of the scene, and where it lies on the grid: `box` (y0, x0, y1, x1) in whole pixels.

    `offset` is the (y, x) of its first pixel where its pixels are the grid's. `square` is its (least x, greatest y,
    metres of a pixel) where they are finer, and square in the grid's CRS: then means of them are the grid's. Where both
    are None it must be warped.
    """

    path: Path
    crs: str
    gsd_m: float
    bands: int
    box: tuple[int, int, int, int]
    offset: tuple[int, int] | None
    square: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a worker must know to read any window of the scene; where files overlap the first one counts."""

    grid: MapGrid
    files: tuple[SceneFile, ...]
    white: int  # what counts as 255: of 16 bits by the scene's own range
    gsd_m: float  # of the finest file


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    place: RasterPlace  # its CRS by a short name, where it has one
    gsd_m: float
    kind: str
    bands: int
    is_whole: bool  # an image everywhere


def survey(
    path: str | Path, gsd_m: float | None = None, tolerance: float = 0.02, crs: str | None = None, planes: int = 4
) -> Scene:
    """Look at a scene, and lay the grid of its map.

    The grid's CRS is the scene's own where that is metric, else the UTM zone of its middle. Where the scene's pixels
    are square, north up and within `tolerance` of `gsd_m` they are the grid's, and nothing is resampled.

    Args:
        path: a GeoTIFF, COG or VRT, or a folder of them.
        gsd_m: metres per pixel that the network is to be fed; None for the scene's own.
        tolerance: relative difference of that which is none.
        crs: of files that do not say their own.
        planes: bands that a file may have at most.

    Raises:
        MissingExtraError: rasterio or pyproj is not installed.
        DataError: no raster, or one without geotransform or CRS, of other bands, or far coarser than the network asks.
    """
    found = [_look_at(file, crs, planes) for file in files_of(Path(path))]
    odd = next((one for one in found if one.kind != found[0].kind), None)
    if odd is not None:
        raise DataError(
            f"{odd.path.name} is of {odd.kind} and {found[0].path.name} of {found[0].kind}; a scene is of one kind: "
            "convert with gdal_translate -ot"
        )
    finest = min(one.gsd_m for one in found)
    wanted = gsd_m or finest
    if finest > COARSEST * wanted:
        raise DataError(
            f"the scene has {finest:.3g} m per pixel and the network is to be fed {wanted:.3g} m: what it "
            "knows as a road is not to be seen; take a finer scene, or a network of that ground sample distance"
        )
    grid, boxes = _lay_grid(found, wanted, tolerance)
    files = tuple(_placed(one, grid, box) for one, box in zip(found, boxes, strict=True))
    return Scene(grid, files, _white(found), finest)


def files_of(path: Path) -> list[Path]:
    """The rasters of a scene, by name; raises DataError where there are none."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not files:
            raise DataError(f"the folder {path} holds no raster; expected files that end in {', '.join(SUFFIXES)}")
        return files
    if not path.is_file():
        raise DataError(f"there is no scene {path}; expected a GeoTIFF, a VRT, or a folder of them")
    return [path]


def _look_at(path: Path, crs: str | None, planes: int) -> _Found:
    from rasterio.enums import MaskFlags

    with opened_raster(path) as raster:
        kinds = sorted(set(raster.dtypes))
        if raster.count > planes or kinds not in (["uint8"], ["uint16"]):
            raise DataError(
                f"{path} has {raster.count} bands of {', '.join(kinds)}; expected 1 to {planes} of uint8 or uint16: "
                "choose with gdal_translate -b 1 -b 2 -b 3"
            )
        if raster.colorinterp[0].name == "palette":
            raise DataError(f"{path} holds numbers of a palette, not colours; gdal_translate -expand rgb makes them")
        if raster.crs is None and crs is None and not raster.transform.is_identity:
            raise DataError(
                f"{path} does not say its CRS; write it with gdal_edit.py -a_srs EPSG:…, or pass --crs EPSG:…"
            )
        place, bands = place_of_raster(raster, path, crs), raster.count
        whole = all(MaskFlags.all_valid in flags for flags in raster.mask_flag_enums)
    gsd_m = place.on(LocalPlane(*place.centre())).gsd_m(place.size)
    if not (math.isfinite(gsd_m) and gsd_m > 0):
        raise DataError(f"{path} has pixels of {gsd_m:g} m by its geotransform and CRS; check both")
    return _Found(path, dataclasses.replace(place, crs=short_name(place.crs)), gsd_m, kinds[0], bands, whole)


def _lay_grid(
    found: Sequence[_Found], wanted: float, tolerance: float
) -> tuple[MapGrid, list[tuple[int, int, int, int]]]:
    crs = metric_crs(found[0].place)
    corners = np.array([_bounds(one, crs) for one in found])
    if not np.isfinite(corners).all():
        bad = found[int(np.flatnonzero(~np.isfinite(corners).all(axis=1))[0])]
        raise DataError(f"{bad.path} does not lie in {crs} by its geotransform and CRS; check both")
    x0, y0 = float(corners[:, 0].min()), float(corners[:, 3].max())
    step = found[0].place.transform[1]
    native = abs(step / wanted - 1) <= tolerance and all(
        one.place.crs == crs and _is_square(one.place.transform, step) and _is_aligned(box, x0, y0, step)
        for one, box in zip(found, corners, strict=True)
    )
    gsd = step if native else wanted
    boxes = [_box(corner, x0, y0, gsd) for corner in corners]
    height, width = max(box[2] for box in boxes), max(box[3] for box in boxes)
    return MapGrid(crs, x0, y0, gsd, height, width, native), boxes


def _placed(one: _Found, grid: MapGrid, box: tuple[int, int, int, int]) -> SceneFile:
    x0, step, _, y0, _, _ = one.place.transform
    finer = one.place.crs == grid.crs and _is_square(one.place.transform, step) and step < FINER * grid.gsd_m
    square = (x0, y0, step) if finer and one.is_whole and not grid.native else None
    offset = box[:2] if grid.native else None
    return SceneFile(one.path.resolve(), _unwrapped(one.place), one.gsd_m, one.bands, box, offset, square)


def _unwrapped(place: RasterPlace) -> str:
    """The CRS to warp from: of longitudes that go on beyond 180 degrees one that counts about their middle."""
    import pyproj

    height, width = place.size
    x0, dx, rx, *_ = place.transform
    ends = [x0 + dx * x + rx * y for x in (0, width) for y in (0, height)]
    crs = pyproj.CRS.from_user_input(place.crs)
    if not crs.is_geographic or max(map(abs, ends)) <= 180:
        return place.crs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what PROJ strings cannot say is no part of a plain longitude
        return f"{crs.to_proj4()} +lon_wrap={round(sum(ends) / 4)}"


def _is_square(transform: tuple[float, ...], step: float) -> bool:
    """Whether pixels are north up, square and `step` wide."""
    _, dx, rx, _, ry, dy = transform
    return step > 0 and max(abs(rx), abs(ry)) <= SQUARE * step and max(abs(dx / step - 1), abs(-dy / step - 1)) <= 1e-6


def _is_aligned(bounds: NDArray[np.float64], x0: float, y0: float, gsd: float) -> bool:
    across, down = (bounds[0] - x0) / gsd, (y0 - bounds[3]) / gsd
    return bool(max(abs(across - round(across)), abs(down - round(down))) <= ALIGNED_PX)


def _bounds(one: _Found, crs: str) -> tuple[float, float, float, float]:
    """Least x, y and greatest x, y in `crs`, along the rim."""
    height, width = one.place.size
    share = np.linspace(0, 1, 22)
    rim = np.concatenate([np.column_stack(side) for side in (
        (share, 0 * share), (share, 0 * share + 1), (0 * share, share), (0 * share + 1, share)
    )])  # fmt: skip
    x0, dx, rx, y0, ry, dy = one.place.transform
    xy = (rim * [width, height]) @ np.array([[dx, ry], [rx, dy]]) + [x0, y0]
    xy = converted(xy, one.place.crs, crs)
    low, high = xy.min(axis=0), xy.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _box(bounds: NDArray[np.float64], x0: float, y0: float, gsd: float) -> tuple[int, int, int, int]:
    left, bottom, right, top = bounds.tolist()
    near = 1e-4  # of a pixel: what rounding makes of a whole number
    return (
        math.floor((y0 - top) / gsd + near),
        math.floor((left - x0) / gsd + near),
        max(1, math.ceil((y0 - bottom) / gsd - near)),
        max(1, math.ceil((right - x0) / gsd - near)),
    )


def _white(found: Sequence[_Found]) -> int:
    """What counts as white of 16 bits, once for the whole scene: by its own maximum, looked at coarsely."""
    if found[0].kind == "uint8":
        return 255
    top = 0
    for one in found[:: max(1, len(found) // LOOKED_AT)]:
        try:
            with opened_raster(one.path) as raster:
                top = max(top, _top(raster))
        except gdal_errors() as error:
            raise DataError(f"{one.path} cannot be read ({error}); was it copied whole?") from error
    return 65535 if top > 4095 else 4095 if top > 1023 else 1023


def _top(raster: Any) -> int:
    """The greatest value with data, of every so many pixels."""
    shape = min(512, raster.height), min(512, raster.width)
    values = raster.read(1, out_shape=shape, masked=True).compressed()
    return int(values.max(initial=0))
