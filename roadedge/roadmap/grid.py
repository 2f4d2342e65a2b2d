"""What of a probability raster is traced: cells of about a metre, read band by band, and where they lie in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roadedge.errors import DataError, MissingExtraError, SourceError, UsageError
from roadedge.georeference.raster_place import (
    RasterPlace,
    from_lonlat,
    opened_raster,
    place_of_raster,
    to_lonlat,
)
from roadedge.trajectory.plane import LocalPlane

CHUNK_ROWS = 512  # of cells, read at once: whole blocks of a COG
SQUARE = 0.02  # pixels whose sides differ by less count as square
METRIC = 0.0025  # a CRS whose metre differs by less from a true one is kept (UTM: 0.0004 to 0.001)
_CACHE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class TracingGrid:
    """Cells of `sx` x `sy` pixels of a raster: (H, W) of them, `gsd_m` metres wide.

    `crs` is the metric one that roads are given in; `raster_crs` that of the raster, whose geotransform by GDAL's order
    is `transform`.
    """

    path: Path
    size: tuple[int, int]
    pixels: tuple[int, int]
    sx: float
    sy: float
    gsd_m: float
    transform: tuple[float, ...]
    raster_crs: str
    crs: str
    band: int = 1

    @classmethod
    def of(cls, path: Path, cell_m: float) -> TracingGrid:
        """Look at a raster; `cell_m` is the coarsest cell.

        Square pixels are taken as many whole ones to a cell as fit into `cell_m`; others (of longitudes and latitudes)
        are resampled to squares, by their mean too.

        Raises:
            DataError: it cannot be read, is no probability, or does not say where it lies.
            MissingExtraError: rasterio or pyproj is not installed.
        """
        with opened_raster(path) as raster:
            band = _band(raster, path)
            place = place_of_raster(raster, path)
        height, width = place.size
        x_m, y_m = _pixel_sides(place, path)
        if abs(x_m / y_m - 1) <= SQUARE:
            sx = sy = float(max(1, math.floor(cell_m / max(x_m, y_m) + 1e-6)))
        else:
            cell = max(cell_m, x_m, y_m)
            sx, sy = cell / x_m, cell / y_m
        fitting = math.ceil if sx == int(sx) and sx == sy else math.floor  # a resampled cell at the border is whole
        size = max(1, fitting(height / sy)), max(1, fitting(width / sx))
        gsd_m = math.sqrt(x_m * sx * y_m * sy)
        known, metric = short_name(place.crs), short_name(metric_crs(place))
        return cls(path, size, (height, width), sx, sy, gsd_m, place.transform, known, metric, band)

    def to_raster(self, cells: ArrayLike) -> NDArray[np.float64]:
        """(N, 2) corner coordinates of cells → x, y in the raster's CRS."""
        x0, dx, rx, y0, ry, dy = self.transform
        pixels = np.asarray(cells, np.float64) * [self.sx, self.sy]
        return np.asarray(pixels @ np.array([[dx, ry], [rx, dy]]) + [x0, y0])

    def to_metres(self, cells: ArrayLike) -> NDArray[np.float64]:
        """(N, 2) corner coordinates of cells → metres of `crs`."""
        place = self.to_raster(cells)
        return place if self.crs == self.raster_crs else converted(place, self.raster_crs, self.crs)

    def to_cells(self, metres: ArrayLike) -> NDArray[np.float64]:
        """(N, 2) metres of `crs` → corner coordinates of cells."""
        xy = np.asarray(metres, np.float64)
        place = xy if self.crs == self.raster_crs else converted(xy, self.crs, self.raster_crs)
        x0, dx, rx, y0, ry, dy = self.transform
        pixels = (place - [x0, y0]) @ np.linalg.inv(np.array([[dx, ry], [rx, dy]]))
        return np.asarray(pixels / [self.sx, self.sy])

    def mean_along(self, line: NDArray[np.float64]) -> float:
        """Mean probability in [0, 1] along a straight line of two ends in metres of `crs`, one cell after another."""
        first, last = self.to_cells(line[[0, -1]])
        steps = math.ceil(float(np.linalg.norm(last - first))) + 1
        columns, rows = np.floor(np.linspace(first, last, steps)).astype(np.int64).T
        rows, columns = rows.clip(0, self.size[0] - 1), columns.clip(0, self.size[1] - 1)
        top = int(rows.min())
        cells, _ = self.read(top, int(rows.max()) + 1)
        return float(cells[rows - top, columns].mean(dtype=np.float64) / 255)

    def read(self, start: int, stop: int) -> tuple[NDArray[np.uint8], int]:
        """Rows `start` to `stop` of cells: (h, W) mean probability of pixels with data, 0 where most have none.

        Returns:
            The cells, and how many of them have no data.

        Raises:
            SourceError: the file can no longer be read.
        """
        import rasterio
        import rasterio.errors

        bands, blank = [], 0
        try:
            with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES), rasterio.open(self.path) as raster:
                for at in range(start, stop, CHUNK_ROWS):
                    cells, empty = self._chunk(raster, at, min(at + CHUNK_ROWS, stop))
                    bands.append(cells)
                    blank += empty
        except (rasterio.errors.RasterioError, OSError) as error:
            raise SourceError(f"{self.path} cannot be read ({error}); was it copied whole?") from error
        return np.concatenate(bands), blank

    def _chunk(self, raster: Any, start: int, stop: int) -> tuple[NDArray[np.uint8], int]:
        from rasterio.enums import MaskFlags, Resampling
        from rasterio.windows import Window

        height, width = self.pixels
        shape = stop - start, self.size[1]
        top, bottom, right = start * self.sy, min(stop * self.sy, height), min(shape[1] * self.sx, width)
        window = Window(0, top, right, bottom - top)
        whole = MaskFlags.all_valid in raster.mask_flag_enums[self.band - 1]
        if self.sx == self.sy == int(self.sx):
            road = _as_bytes(raster.read(self.band, window=window), self.path)
            valid = None if whole else raster.read_masks(self.band, window=window)
            return _means(road, valid, int(self.sx), shape)
        average = {"window": window, "out_shape": shape, "resampling": Resampling.average}
        road = _as_bytes(raster.read(self.band, masked=True, **average).filled(0), self.path)
        valid = np.ones(shape, np.bool_) if whole else raster.read_masks(self.band, **average) >= 128
        return np.where(valid, road, 0).astype(np.uint8), int((~valid).sum())


def metric_crs(place: RasterPlace) -> str:
    """The raster's own CRS where its unit is a true metre, else the UTM zone of its middle; a plane beyond 84 degrees.

    Web Mercator is measured like all others, and is none.
    """
    x_m, y_m = _pixel_sides(place, Path("the raster"))
    _, dx, rx, _, ry, dy = place.transform
    if abs(x_m / math.hypot(dx, ry) - 1) <= METRIC and abs(y_m / math.hypot(rx, dy) - 1) <= METRIC:
        return place.crs
    lon, lat = place.centre()
    return utm_crs(lon, lat)


def utm_crs(lon: float, lat: float) -> str:
    """The UTM zone of a place, or beyond 84 degrees the plane that touches there."""
    if abs(lat) > 84:
        return LocalPlane(lon, lat).crs
    return f"EPSG:{(32601 if lat >= 0 else 32701) + int((lon + 180) // 6) % 60}"


@lru_cache(maxsize=64)
def short_name(crs: str) -> str:
    """EPSG:… of a CRS that has such a code, else the text as it came; raises UsageError of one that is none."""
    try:
        import pyproj
    except ImportError as error:
        raise MissingExtraError("pyproj", "geo", "naming a coordinate reference system") from error
    try:
        code = pyproj.CRS.from_user_input(crs).to_epsg()
    except pyproj.exceptions.CRSError as error:
        raise UsageError(f"no coordinate reference system {crs[:60]!r} is known; give one as EPSG:32616") from error
    return crs if code is None else f"EPSG:{code}"


def converted(xy: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    """(N, 2) coordinates of one CRS in another."""
    if source == target:
        return xy
    return from_lonlat(to_lonlat(xy, source), target)


def _pixel_sides(place: RasterPlace, path: Path) -> tuple[float, float]:
    """Metres that a step to the next column and to the next row makes in the middle of the raster."""
    height, width = place.size
    plane = LocalPlane(*place.centre())
    x0, dx, rx, y0, ry, dy = place.transform
    steps = np.array([[0.0, 0], [1, 0], [0, 1]]) + np.array([width / 2, height / 2])
    xy = steps @ np.array([[dx, ry], [rx, dy]]) + [x0, y0]
    ground = plane.from_lonlat(to_lonlat(xy, place.crs))
    x_m, y_m = np.linalg.norm(ground[1:] - ground[0], axis=1).tolist()
    if not (np.isfinite([x_m, y_m]).all() and x_m > 0 and y_m > 0):
        raise DataError(f"{path} has pixels of {x_m:g} x {y_m:g} m by its geotransform and CRS; check both")
    return x_m, y_m


def _band(raster: Any, path: Path) -> int:
    """The number of the band that is a probability: the only one, or the one that says so."""
    named = [number for number, text in enumerate(raster.descriptions, 1) if (text or "").startswith("probability")]
    band = 1 if raster.count == 1 else named[0] if named else 0
    if not band or raster.dtypes[band - 1] not in ("uint8", "float32", "float64"):
        raise DataError(
            f"{path} has {raster.count} bands of {raster.dtypes[0]}; expected a probability: one band of uint8 with "
            "255 = certain, or floating in 0 ... 1"
        )
    return band


def _as_bytes(road: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if road.dtype == np.uint8:
        return np.asarray(road)
    road = np.nan_to_num(road, nan=0.0)  # what is no number has no data: the mask says so where the file does
    if road.size and not (road.min() >= 0 and road.max() <= 1):
        raise DataError(f"{path} holds {road.min():g} ... {road.max():g}; a floating probability lies in 0 ... 1")
    return np.asarray(np.rint(road * 255), np.uint8)


def _means(
    road: NDArray[np.uint8], valid: NDArray[np.uint8] | None, factor: int, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], int]:
    """Means of `factor` x `factor` pixels, over those that have data; cells at the far borders may have fewer."""
    import cv2

    if factor == 1:
        return (road, 0) if valid is None else (np.where(valid > 0, road, 0).astype(np.uint8), int((valid == 0).sum()))
    right, down = shape[1] * factor - road.shape[1], shape[0] * factor - road.shape[0]
    cells = (shape[1], shape[0])
    if valid is None or valid.all():
        padded = cv2.copyMakeBorder(road, 0, down, 0, right, cv2.BORDER_REPLICATE)
        return np.asarray(cv2.resize(padded, cells, interpolation=cv2.INTER_AREA), np.uint8), 0
    known = cv2.copyMakeBorder(np.where(valid > 0, np.uint8(1), np.uint8(0)), 0, down, 0, right, cv2.BORDER_REPLICATE)
    padded = cv2.copyMakeBorder(np.where(valid > 0, road, np.uint8(0)), 0, down, 0, right, cv2.BORDER_REPLICATE)
    share = cv2.resize(known.astype(np.float32), cells, interpolation=cv2.INTER_AREA)
    total = cv2.resize(padded.astype(np.float32), cells, interpolation=cv2.INTER_AREA)
    blank = share < 0.5
    mean = np.rint(total / np.maximum(share, 0.5))
    return np.where(blank, 0, mean).astype(np.uint8), int(blank.sum())
