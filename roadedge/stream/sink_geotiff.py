"""Masks on the map: each frame whose place is known as a GeoTIFF, north up, all of a run on one grid. Extra `geo`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import write_bytes
from roadedge.errors import MissingExtraError
from roadedge.georeference.raster_place import from_lonlat
from roadedge.place import Place
from roadedge.stream.road_lines import Ground, projection
from roadedge.stream.sinks import Result, Sink
from roadedge.trajectory.plane import LocalPlane

COARSEST = 8.0  # towards the horizon of a tilted camera a pixel covers more and more; beyond so many times, no data
LARGEST_PX = 1 << 26  # of one file: a frame of which more would come is drawn coarser, by halves
_LATTICE = 33  # places of a frame that are looked at for where it lies
ROAD, PROBABILITY = 1, 2  # bands


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A frame on the ground: (H, W) mask of 0 and 255, probability, and where there is data; its upper left corner."""

    mask: NDArray[np.uint8]
    probability: NDArray[np.uint8]
    valid: NDArray[np.uint8]
    corner: tuple[float, float]
    gsd_m: float


class GeoTiffSink(Sink):
    """`<folder>/<frame>.tif`: band 1 the road mask (255 = road), band 2 its probability (255 = certain).

    The first frame that has a place decides the UTM zone and the metres per pixel of all, and pixels of all lie on one
    grid, so that gdalbuildvrt makes one picture of a flight. What a frame does not show is masked. Frames that nobody
    can put on the globe are counted, and have no file.
    """

    name = "geotiff"

    def __init__(self, folder: Path) -> None:
        """Prepare.

        Raises:
            MissingExtraError: rasterio or pyproj is not installed.
        """
        try:
            import pyproj  # noqa: F401  before the first frame, not after it
            import rasterio  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(str(error.name), "geo", "writing masks as GeoTIFF") from error
        self._folder = folder
        self._crs = ""
        self._gsd_m = 0.0
        self.without_place = 0

    def write(self, result: Result) -> None:
        """Write the frame; raises OutputError."""
        sample = result.frame.sample
        place = result.mask.place or sample.place
        if place is None or Ground(place, sample.size).known != "lonlat":
            self.without_place += 1
            return
        metric = self._on_map(place, sample.size)
        laid = lay(result.mask.mask, result.mask.probability, metric, self._gsd_m)
        path = self._folder / f"{result.frame.name}.tif"
        content = encoded(laid, self._crs, result.frame.name, place.uncertainty_m)
        write_bytes(path, content, durable=False)
        self._count(len(content))

    def describe(self) -> dict[str, Any]:
        """What was written, where, and how many frames could not be put on a map."""
        facts = {"crs": self._crs or None, "gsd_m": self._gsd_m or None, "frames_without_place": self.without_place}
        return {**super().describe(), **facts}

    def notices(self) -> Sequence[str]:
        """A sentence where frames have no file."""
        if not self.without_place:
            return []
        return [
            f"{self.without_place} frames have no GeoTIFF: where they lie on the globe is not known; telemetry, a "
            "georeferenced source, or --centre with --gsd would say it"
        ]

    def _on_map(self, place: Place, size: tuple[int, int]) -> Place:
        """The frame's place in metres of the run's UTM zone.

        A plane that touches the Earth and a UTM zone differ, over a frame, by a turn and a scale; these are fitted.
        """
        height, width = size
        share = np.array([[x, y] for x in (0.3, 0.5, 0.7) for y in (0.3, 0.5, 0.7)])
        plane = place.to_ground(share * [width, height])
        lonlat = projection(place.crs)(plane)
        if not self._crs:
            lon, lat = lonlat[len(lonlat) // 2].tolist()
            self._crs = utm_of(lon, lat)
            self._gsd_m = _rounded(place.gsd_m(size))
        metres = from_lonlat(lonlat, self._crs)
        middle = plane.mean(axis=0)
        design = np.column_stack([plane - middle, np.ones(len(plane))])
        solved = np.linalg.lstsq(design, metres, rcond=None)[0]
        fitted = np.eye(3)
        fitted[:2, :2] = solved[:2].T
        fitted[:2, 2] = solved[2] - solved[:2].T @ middle
        return Place(fitted @ place.homography, self._crs, place.uncertainty_m)


def lay(mask: NDArray[np.bool_], probability: NDArray[np.uint8], place: Place, gsd_m: float) -> Laid:
    """Turn a frame north up on a grid whose pixels lie at whole multiples of `gsd_m`.

    Args:
        mask: (H, W) bool, drawn pixel for pixel.
        probability: (H, W) uint8, drawn by the mean of the four pixels about a place.
        place: in the metres of a map.
        gsd_m: metres per pixel.
    """
    import cv2

    height, width = mask.shape
    shown = _near_enough(place, (height, width))
    x0, y0, x1, y1 = _bounds(place, shown)
    while ((x1 - x0) / gsd_m + 2) * ((y1 - y0) / gsd_m + 2) > LARGEST_PX:
        gsd_m *= 2
    left, top = math.floor(x0 / gsd_m) * gsd_m, math.ceil(y1 / gsd_m) * gsd_m
    columns, rows = math.ceil((x1 - left) / gsd_m), math.ceil((top - y0) / gsd_m)
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # arrays count from pixels' centres
    to_grid = np.array([[1 / gsd_m, 0, -left / gsd_m], [0, -1 / gsd_m, top / gsd_m], [0, 0, 1.0]])
    matrix = np.linalg.inv(half) @ to_grid @ place.homography @ half
    size = (columns, rows)
    drawn = [
        np.asarray(cv2.warpPerspective(pixels, matrix, size, flags=way), np.uint8)
        for pixels, way in (
            (mask.astype(np.uint8) * np.uint8(255), cv2.INTER_NEAREST),
            (probability, cv2.INTER_LINEAR),
            (shown, cv2.INTER_NEAREST),
        )
    ]
    valid = drawn[2] * _in_front(matrix, (rows, columns), (height, width))
    return Laid(np.where(valid > 0, drawn[0], 0).astype(np.uint8), drawn[1], valid, (left, top), gsd_m)


def encoded(laid: Laid, crs: str, name: str, uncertainty_m: float) -> bytes:
    """The bytes of the file, with an internal mask and what its bands are."""
    import rasterio
    from rasterio.io import MemoryFile

    height, width = laid.mask.shape
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=height, width=width, count=2, dtype="uint8", crs=crs, compress="deflate", tiled=True,
            blockxsize=256, blockysize=256,
            transform=rasterio.Affine(laid.gsd_m, 0, laid.corner[0], 0, -laid.gsd_m, laid.corner[1]),
        ) as raster:  # fmt: skip
            raster.write(laid.mask, ROAD)
            raster.write(laid.probability, PROBABILITY)
            raster.write_mask(laid.valid)
            raster.set_band_description(ROAD, "road, 255 = yes")
            raster.set_band_description(PROBABILITY, "probability, 255 = certain")
            raster.update_tags(frame=name, uncertainty_m=f"{uncertainty_m:.2f}")
        return bytes(memory.read())


def utm_of(lon: float, lat: float) -> str:
    """The UTM zone of a place, or beyond 84 degrees the plane that touches there."""
    if abs(lat) > 84:
        return LocalPlane(lon, lat).crs
    return f"EPSG:{(32601 if lat >= 0 else 32701) + int((lon + 180) // 6) % 60}"


def _rounded(gsd_m: float) -> float:
    """Two digits, so that the grid has plain coordinates; downwards, so that no detail goes."""
    step = 10.0 ** (math.floor(math.log10(gsd_m)) - 1)
    return round(math.floor(gsd_m / step + 1e-9) * step, 12)


def _near_enough(place: Place, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) 255 where a pixel lies before the horizon and covers at most COARSEST times the finest one's side."""
    matrix = place.homography
    if not matrix[2, :2].any():
        return np.full(size, 255, np.uint8)
    height, width = size
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    depth = (x * matrix[2, 0] + y * matrix[2, 1] + matrix[2, 2]) * -np.sign(np.linalg.det(matrix))
    nearest = depth.max()  # of a map that a camera sees mirrored, the depth is positive before the horizon
    return np.where(depth > nearest * COARSEST ** (-2 / 3), 255, 0).astype(np.uint8)


def _bounds(place: Place, shown: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    height, width = shown.shape
    x, y = (np.linspace(0, side, _LATTICE) for side in (width, height))
    lattice = np.array([(a, b) for a in x for b in y])
    columns, rows = np.minimum(lattice, [width - 1, height - 1]).astype(np.int64).T
    rows_shown, columns_shown = np.nonzero(shown)
    ends = np.array([
        (columns_shown[at] + dx, rows_shown[at] + dy)
        for at in (np.argmin(rows_shown), np.argmax(rows_shown), np.argmin(columns_shown), np.argmax(columns_shown))
        for dx in (0, 1) for dy in (0, 1)
    ])  # fmt: skip
    ground = place.to_ground(np.concatenate([lattice[shown[rows, columns] > 0], ends]))
    (x0, y0), (x1, y1) = ground.min(axis=0).tolist(), ground.max(axis=0).tolist()
    return x0, y0, x1, y1


def _in_front(matrix: NDArray[np.float64], grid: tuple[int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w) 1 where a place of the grid lies before the camera, not mirrored behind it."""
    inverse = np.linalg.inv(matrix)
    if not inverse[2, :2].any():
        return np.ones(grid, np.uint8)
    middle = matrix @ [size[1] / 2, size[0] / 2, 1.0]
    rows, columns = grid
    depth = np.arange(columns) * inverse[2, 0] + np.arange(rows)[:, None] * inverse[2, 1] + inverse[2, 2]
    return np.asarray(depth * (inverse[2] @ (middle / middle[2])) > 0, np.uint8)
