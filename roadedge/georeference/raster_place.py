"""Places of georeferenced rasters, and coordinates of any CRS on the one plane of a run. Extra `geo`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roadedge.errors import DataError, MissingExtraError, UsageError
from roadedge.place import Place
from roadedge.trajectory.plane import LocalPlane


@dataclass(frozen=True, slots=True)
class RasterPlace:
    """Geotransform by GDAL's order, CRS and (H, W) of a raster file."""

    transform: tuple[float, float, float, float, float, float]
    crs: str
    size: tuple[int, int]

    def on(self, plane: LocalPlane) -> Place:
        """Where its pixels lie on `plane`: the affine map that fits best; what it misses by is the uncertainty."""
        return affine_on(self.transform, self.crs, self.size, plane)

    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of its middle; raises DataError where that is nowhere on the Earth."""
        height, width = self.size
        middle = _apply(self.transform, np.array([[width / 2, height / 2]]))
        lon, lat = to_lonlat(middle, self.crs)[0].tolist()
        if 180 < abs(lon) <= 360:  # degrees that go on beyond the antimeridian, as scenes across it are written
            lon -= math.copysign(360, lon)
        if not (abs(lon) <= 180 and abs(lat) < 90):
            raise DataError(
                f"by geotransform and CRS ({self.crs.split(',')[0][:60]}) the image's middle lies at "
                f"{middle[0, 0]:g}, {middle[0, 1]:g}, which is nowhere on the Earth; check both"
            )
        return lon, lat


def read_raster_place(path: str | Path, crs: str | None = None) -> RasterPlace:
    """Georeference of a file by its own tags or a world file beside it.

    Args:
        path: of the raster.
        crs: of a file that does not say its own.

    Raises:
        MissingExtraError: rasterio is not installed.
        DataError: the file cannot be read, or has no geotransform or CRS.
    """
    with opened_raster(path) as raster:
        return place_of_raster(raster, path, crs)


def opened_raster(path: str | Path) -> Any:
    """The file opened by rasterio, whose absent georeference is no warning here but the caller's error.

    Raises:
        MissingExtraError: rasterio is not installed.
        DataError: the file cannot be read.
    """
    try:
        import rasterio
        import rasterio.errors
    except ImportError as error:
        raise MissingExtraError("rasterio", "geo", "reading a georeferenced image") from error
    import warnings

    if not Path(path).is_file():
        raise DataError(f"there is no file {path}; expected a georeferenced image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            return rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        raise DataError(f"{path} is no raster that can be read ({error}); was it copied whole?") from error


def gdal_errors() -> tuple[type[Exception], ...]:
    """What GDAL fails with: rasterio wraps most of its errors, but not those of a copy."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    return RasterioError, CPLE_BaseError


def place_of_raster(raster: Any, path: str | Path, crs: str | None = None) -> RasterPlace:
    """As `read_raster_place`, of an open file."""
    transform = raster.transform
    if transform.is_identity:
        raise DataError(
            f"{path} has no geotransform; write one with gdal_translate -a_ullr, or put a world file beside it"
        )
    stated = raster.crs.to_wkt() if raster.crs else None
    if stated is None and crs is None:
        raise DataError(
            f"{path} does not say its CRS; write it with gdal_edit.py -a_srs EPSG:…, or name it: crs=EPSG:…"
        )
    six = (transform.c, transform.a, transform.b, transform.f, transform.d, transform.e)
    return RasterPlace(six, stated or crs or "", (raster.height, raster.width))


def affine_on(
    transform: tuple[float, ...], crs: str, size: tuple[int, int], plane: LocalPlane, window: ArrayLike | None = None
) -> Place:
    """The affine map from pixels to metres of `plane` that fits best over `window` (x0, y0, x1, y1), by default all."""
    height, width = size
    x0, y0, x1, y1 = (0.0, 0.0, width, height) if window is None else np.asarray(window, np.float64)
    share = np.array([[x, y] for y in np.linspace(0, 1, 5) for x in np.linspace(0, 1, 5)])
    pixels = share * [x1 - x0, y1 - y0] + [x0, y0]
    ground = plane.from_lonlat(to_lonlat(_apply(transform, pixels), crs))
    if not np.isfinite(ground).all():
        raise DataError(f"the image does not lie on the Earth by its geotransform and CRS {crs[:40]!r}; check both")
    middle = pixels.mean(axis=0)
    design = np.column_stack([pixels - middle, np.ones(len(pixels))])
    solved = np.linalg.lstsq(design, ground, rcond=None)[0]
    missed = design @ solved - ground
    matrix = np.eye(3)
    matrix[:2, :2] = solved[:2].T
    matrix[:2, 2] = solved[2] - solved[:2].T @ middle
    return Place(matrix, plane.crs, float(np.sqrt(np.mean(np.sum(missed**2, axis=1)))))


def to_lonlat(xy: ArrayLike, crs: str) -> NDArray[np.float64]:
    """(N, 2) coordinates of `crs` → (N, 2) longitude, latitude in degrees; infinite where it does not reach.

    Raises:
        MissingExtraError: pyproj is not installed.
        UsageError: no CRS of that name is known.
    """
    return _transformed(xy, crs, "EPSG:4326")


def from_lonlat(lonlat: ArrayLike, crs: str) -> NDArray[np.float64]:
    """(N, 2) longitude, latitude in degrees → (N, 2) coordinates of `crs`; raises as `to_lonlat`."""
    return _transformed(lonlat, "EPSG:4326", crs)


def _transformed(xy: ArrayLike, source: str, target: str) -> NDArray[np.float64]:
    points = np.asarray(xy, np.float64).reshape(-1, 2)
    return np.stack(_transformer(source, target).transform(points[:, 0], points[:, 1]), axis=1)


@lru_cache(maxsize=16)
def _transformer(source: str, target: str) -> Any:
    try:
        import pyproj
    except ImportError as error:
        raise MissingExtraError("pyproj", "geo", f"converting coordinates of {source[:40]}") from error
    try:
        return pyproj.Transformer.from_crs(source, target, always_xy=True)
    except pyproj.exceptions.CRSError as error:
        raise UsageError(f"no coordinate reference system {source!r} is known; give one as EPSG:32616") from error
    except pyproj.exceptions.ProjError as error:  # of a building site, of another planet
        raise DataError(
            f"coordinates of {source[:60]!r} cannot be converted to those of {target[:60]!r}; give the file a CRS of "
            "the Earth"
        ) from error


def _apply(transform: tuple[float, ...], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    x0, dx, rx, y0, ry, dy = transform
    return np.asarray(pixels @ np.array([[dx, ry], [rx, dy]]) + [x0, y0])
