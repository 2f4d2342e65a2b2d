"""A georeferenced raster that is too large to hold: the view of a camera over it, window by window. Extra `geo`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, ShapeError, SourceError
from roadedge.georeference.birdseye import FILL_RGB
from roadedge.georeference.raster_place import from_lonlat, opened_raster, place_of_raster
from roadedge.imagery import to_rgb8
from roadedge.place import Place
from roadedge.trajectory.plane import LocalPlane

CACHE_BYTES = 64 << 20  # of blocks that GDAL keeps; its own limit is a twentieth of the memory, filled on the way


class Scene:
    """An open raster of 1 to 4 bands of 8 or 16 bits: views of any place on it, read window by window."""

    def __init__(self, path: Path, crs: str | None = None) -> None:
        """Open the file; `crs` is that of a file that does not say its own.

        Raises:
            MissingExtraError: rasterio or pyproj is not installed.
            DataError: the file cannot be read, has other bands, or no geotransform or CRS.
        """
        self._raster = opened_raster(path)
        self.path = path
        try:
            self.georeference = place_of_raster(self._raster, path, crs)
            self._check_bands()
            self._full = self._full_scale()
        except BaseException:
            self.close()
            raise
        x0, dx, rx, y0, ry, dy = self.georeference.transform
        self._to_crs = np.array([[dx, rx, x0], [ry, dy, y0], [0, 0, 1.0]])

    @property
    def centre_text(self) -> str:
        """Longitude and latitude of the scene's middle, for messages."""
        lon, lat = self.georeference.centre()
        return f"{lon:.5f}, {lat:.5f}"

    def gsd_m(self) -> float:
        """Metres per pixel at the scene's middle."""
        return self.georeference.on(LocalPlane(*self.georeference.centre())).gsd_m(self.georeference.size)

    def holds(self, lonlat: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of (N, 2) longitudes and latitudes lie on the scene, (N,)."""
        height, width = self.georeference.size
        x, y = self._pixels(lonlat).T
        with np.errstate(invalid="ignore"):
            return np.asarray((x >= 0) & (x < width) & (y >= 0) & (y < height))

    def window_sides(self, place: Place, size: tuple[int, int], plane: LocalPlane) -> tuple[float, float]:
        """Width and height in the scene's pixels of the part that lies under an image of `size` (H, W)."""
        corners = self._to_scene(place, size, plane) @ _corners(size)
        return float(np.ptp(corners[0])), float(np.ptp(corners[1]))

    def view(self, place: Place, size: tuple[int, int], plane: LocalPlane) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of the ground at `place`; what the scene does not hold is `FILL_RGB`.

        Raises:
            SourceError: the file can no longer be read.
        """
        import cv2
        import rasterio.errors
        from rasterio.enums import Resampling
        from rasterio.windows import Window

        to_scene = self._to_scene(place, size, plane)
        height, width = self.georeference.size
        corners = to_scene @ _corners(size)
        x0, y0 = np.maximum(np.floor(corners.min(axis=1)) - 2, 0).astype(int).tolist()
        x1, y1 = np.minimum(np.ceil(corners.max(axis=1)) + 2, [width, height]).astype(int).tolist()
        if x1 <= x0 or y1 <= y0:
            return np.full((*size, 3), FILL_RGB, np.uint8)
        coarser = max(1, int(math.sqrt(abs(np.linalg.det(to_scene[:, :2])))))  # the scene's pixels along one of ours
        rows, columns = max(1, (y1 - y0) // coarser), max(1, (x1 - x0) // coarser)
        bands = list(range(1, min(self._raster.count, 3) + 1)) if self._raster.count != 2 else [1]
        try:
            with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
                raw = self._raster.read(
                    bands,
                    window=Window(x0, y0, x1 - x0, y1 - y0),
                    out_shape=(len(bands), rows, columns),
                    resampling=Resampling.average if coarser > 1 else Resampling.nearest,
                )
        except (rasterio.errors.RasterioError, OSError) as error:
            raise SourceError(f"{self.path} can no longer be read ({error}); is its disk still there?") from error
        scale_x, scale_y = columns / (x1 - x0), rows / (y1 - y0)
        to_read = np.diag([scale_x, scale_y]) @ (to_scene - [[0, 0, x0], [0, 0, y0]])
        to_read = to_read @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]]) - [[0, 0, 0.5], [0, 0, 0.5]]
        drawn = cv2.warpAffine(
            self._rgb(np.moveaxis(raw, 0, 2)),
            to_read,
            (size[1], size[0]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=FILL_RGB,
        )
        return np.asarray(drawn, np.uint8)

    def close(self) -> None:
        """Close the file; twice is no error."""
        self._raster.close()

    def _to_scene(self, place: Place, size: tuple[int, int], plane: LocalPlane) -> NDArray[np.float64]:
        """(2, 3): the frame's corner pixel coordinates → the scene's, the affine map that fits best."""
        height, width = size
        grid = np.array([[x * width, y * height] for y in (0, 0.5, 1) for x in (0, 0.5, 1)])
        target = self._pixels(plane.to_lonlat(place.to_ground(grid)))
        design = np.column_stack([grid, np.ones(len(grid))])
        return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0].T)

    def _pixels(self, lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) longitude, latitude → (N, 2) the scene's corner pixel coordinates."""
        xy = from_lonlat(lonlat, self.georeference.crs)
        return np.asarray((np.column_stack([xy, np.ones(len(xy))]) @ np.linalg.inv(self._to_crs).T)[:, :2])

    def _check_bands(self) -> None:
        kinds = set(self._raster.dtypes)
        if self._raster.count > 4 or not kinds <= {"uint8", "uint16"} or len(kinds) != 1:
            raise DataError(
                f"{self.path} has {self._raster.count} bands of {', '.join(sorted(kinds))}; expected 1, 3 or 4 of "
                "uint8 or uint16: choose with gdal_translate -b 1 -b 2 -b 3"
            )

    def _full_scale(self) -> int:
        """What counts as white of 16 bits, once for the whole scene: by its own maximum, looked at coarsely."""
        if self._raster.dtypes[0] == "uint8":
            return 255
        shape = min(512, self._raster.height), min(512, self._raster.width)
        top = int(self._raster.read(1, out_shape=shape).max())
        return 65535 if top > 4095 else 4095 if top > 1023 else 1023

    def _rgb(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        if self._full != 255:
            raw = np.minimum(raw.astype(np.float32) * (255.0 / self._full), 255).astype(np.uint8)
        try:
            return to_rgb8(np.ascontiguousarray(raw))
        except ShapeError as error:
            raise DataError(f"{self.path}: {error}") from error


def _corners(size: tuple[int, int]) -> NDArray[np.float64]:
    height, width = size
    return np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], np.float64)
