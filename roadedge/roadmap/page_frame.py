"""Where the page of a map lies: one metric grid that its rasters and roads share, in levels of halved resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.georeference.raster_place import RasterPlace, opened_raster, place_of_raster, to_lonlat
from roadedge.roadmap.grid import METRIC, converted, metric_crs, short_name, utm_crs

TILE = 512  # pixels along a side of a tile of the page
LONLAT_CELLS = 8  # of the lattice by which the page tells longitude and latitude
PLAIN_GSD_M = 0.5  # of a map that has no raster


@dataclass(frozen=True, slots=True)
class Frame:
    """`width` x `height` pixels of `gsd_m` metres; the upper left corner lies at `x0`, `y1` of `crs`, north is up."""

    crs: str
    x0: float
    y1: float
    gsd_m: float
    width: int
    height: int

    @property
    def levels(self) -> int:
        """How many there are; the last one, the coarsest, fits into one tile."""
        return max(0, math.ceil(math.log2(max(self.width, self.height) / TILE) - 1e-9)) + 1

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 in `crs`."""
        return self.x0, self.y1 - self.height * self.gsd_m, self.x0 + self.width * self.gsd_m, self.y1

    def size(self, level: int) -> tuple[int, int]:
        """(height, width) in pixels of a level; level 0 is the finest."""
        return math.ceil(self.height / 2**level), math.ceil(self.width / 2**level)

    def local(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) coordinates of `crs` → metres to the right of and above the upper left corner."""
        return np.asarray(xy, np.float64) - [self.x0, self.y1]

    def lonlat(self) -> list[list[list[float]]]:
        """Longitude and latitude at the corners of a lattice over the frame, rows from the top."""
        x0, y0, x1, y1 = self.bounds
        share = np.linspace(0, 1, LONLAT_CELLS + 1)
        xy = np.stack(np.meshgrid(x0 + share * (x1 - x0), y1 + share * (y0 - y1)), axis=-1)
        found = to_lonlat(xy.reshape(-1, 2), self.crs).reshape(xy.shape)
        if not np.isfinite(found).all():
            raise DataError(f"by its CRS {self.crs[:60]} the map lies nowhere on the Earth; check its georeference")
        found[..., 0] = np.unwrap(
            np.unwrap(found[..., 0], period=360, axis=0), period=360, axis=1
        )  # over the date line
        lattice: list[list[list[float]]] = np.round(found, 7).tolist()
        return lattice


def frame_of_raster(path: Path, crs: str | None = None) -> Frame:
    """The grid of a raster, where it is metric and upright; else a grid of its resolution in a metric CRS.

    Args:
        path: of a georeferenced raster.
        crs: of the roads that are shown with it; default its own where its unit is a metre, else its UTM zone.

    Raises:
        DataError: it cannot be read, or does not say where it lies.
        MissingExtraError: rasterio or pyproj is not installed.
    """
    with opened_raster(path) as raster:
        place = place_of_raster(raster, path)
        own = short_name(place.crs)
        target = crs or short_name(metric_crs(place))
        x0, dx, rx, y1, ry, dy = place.transform
        if own == target and rx == ry == 0 and dx > 0 > dy and abs(dx / -dy - 1) < 1e-6:
            return Frame(target, x0, y1, dx, place.size[1], place.size[0])
        return _warped_frame(place, target)


def frame_of_bounds(bounds: tuple[float, float, float, float], crs: str) -> Frame:
    """A grid around (x0, y0, x1, y1) of a metric CRS, with a margin; of one pixel at least."""
    x0, y0, x1, y1 = bounds
    if not np.isfinite(bounds).all():
        raise DataError(f"the roads lie at {bounds}, which is no place; check the file")
    margin = max(10.0, 0.02 * max(x1 - x0, y1 - y0))
    width, height = (math.ceil((b - a + 2 * margin) / PLAIN_GSD_M) for a, b in ((x0, x1), (y0, y1)))
    return Frame(crs, x0 - margin, y1 + margin, PLAIN_GSD_M, width, height)


def metric_name(crs: str, middle: tuple[float, float]) -> str:
    """A CRS in metres for vectors of `crs` around a place of it: their own where its unit is one there, else UTM.

    Web Mercator counts in metres of the equator, and is none.

    Raises:
        DataError: the place is nowhere on the Earth.
    """
    steps = np.array(middle) + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    lonlat = to_lonlat(steps[:1], crs)
    lon, lat = lonlat[0].tolist()
    if not (abs(lon) <= 180 and abs(lat) < 90):
        raise DataError(f"the roads lie at {middle[0]:g}, {middle[1]:g} of {crs[:40]}, which is nowhere on the Earth")
    utm = utm_crs(lon, lat)
    ground = converted(steps, crs, utm)
    sides = np.linalg.norm(ground[1:] - ground[0], axis=1)
    return short_name(crs) if (np.abs(sides - 1) <= METRIC).all() else utm


def pixel_m(place: RasterPlace, crs: str) -> float:
    """Side of a raster's pixel in metres of a metric CRS: the shorter one, in its middle.

    Raises:
        DataError: it does not lie where that CRS reaches.
    """
    height, width = place.size
    steps = np.array([width / 2, height / 2]) + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ground = converted(_placed(place, steps), place.crs, crs)
    side = float(np.linalg.norm(ground[1:] - ground[0], axis=1).min())
    if not (np.isfinite(side) and side > 0):
        raise DataError(f"a raster does not lie where {crs} reaches; check its georeference")
    return side


def _warped_frame(place: RasterPlace, target: str) -> Frame:
    """A grid of about the raster's resolution around its outline in another CRS."""
    height, width = place.size
    share = np.linspace(0, 1, 33)
    rim = [np.stack([share * width, share * 0 + y], 1) for y in (0, height)]
    rim += [np.stack([share * 0 + x, share * height], 1) for x in (0, width)]
    ground = converted(_placed(place, np.concatenate(rim)), place.crs, target)
    gsd_m = pixel_m(place, target)
    if not np.isfinite(ground).all():
        raise DataError(f"a raster does not lie where {target} reaches; check its georeference")
    (x0, y0), (x1, y1) = ground.min(axis=0).tolist(), ground.max(axis=0).tolist()
    return Frame(target, x0, y1, gsd_m, math.ceil((x1 - x0) / gsd_m), math.ceil((y1 - y0) / gsd_m))


def _placed(place: RasterPlace, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    x0, dx, rx, y0, ry, dy = place.transform
    return np.asarray(pixels @ np.array([[dx, ry], [rx, dy]]) + [x0, y0])
