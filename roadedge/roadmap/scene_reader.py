"""Windows of a scene on its map's grid: read as they are, or warped; with what of them is image at all. Extra `geo`."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import SourceError
from roadedge.georeference.raster_place import gdal_errors, opened_raster
from roadedge.roadmap.survey import FINER, Scene, SceneFile

if TYPE_CHECKING:
    from typing_extensions import Self

OPEN_FILES = 12  # of a mosaic's; GDAL keeps decoded blocks for each
CACHE_BYTES = 160 << 20  # of blocks that GDAL keeps; its own limit is a twentieth of the memory


class SceneReader:
    """An open scene. Threads may share one, and then wait for each other; other processes open their own."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._open: OrderedDict[tuple[SceneFile, bool], tuple[Any, contextlib.ExitStack]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, y0: int, x0: int, y1: int, x1: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """A box of the grid that lies on it.

        Returns:
            (H, W, 3) uint8 RGB, 0 where there is no image, and (H, W) bool, where there is some; None: everywhere.

        Raises:
            SourceError: a file can no longer be read.
        """
        image: NDArray[np.uint8] | None = None
        known = np.zeros((y1 - y0, x1 - x0), np.bool_)
        with self._lock:
            for file in self.scene.files:
                box = max(y0, file.box[0]), max(x0, file.box[1]), min(y1, file.box[2]), min(x1, file.box[3])
                if box[0] >= box[2] or box[1] >= box[3]:
                    continue
                pixels, valid = self._part(file, *box)
                if box == (y0, x0, y1, x1) and valid is None and image is None:
                    return pixels, None
                if image is None:
                    image = np.zeros((*known.shape, 3), np.uint8)
                part = np.s_[box[0] - y0 : box[2] - y0, box[1] - x0 : box[3] - x0]
                fresh = ~known[part] if valid is None else valid & ~known[part]
                image[part][fresh] = pixels[fresh]
                known[part] |= fresh
                if known.all():
                    return image, None
        return (np.zeros((*known.shape, 3), np.uint8) if image is None else image), known

    def close(self) -> None:
        """Close all files; twice is no error."""
        while self._open:
            self._open.popitem()[1][1].close()

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _part(
        self, file: SceneFile, y0: int, x0: int, y1: int, x1: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """A box of the grid that lies within a file's."""
        import rasterio

        failures: tuple[type[Exception], ...] = (*gdal_errors(), OSError)
        try:
            with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
                if file.square is not None and file.crs == self.scene.grid.crs:
                    return self._means(file, file.square, y0, x0, y1, x1)
                return self._plain(file, y0, x0, y1, x1)
        except failures as error:
            raise SourceError(
                f"{file.path} can no longer be read ({error}); is it whole, and its disk there?"
            ) from error

    def _plain(
        self, file: SceneFile, y0: int, x0: int, y1: int, x1: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """Pixel by pixel, of the file as it is or as it is warped."""
        from rasterio.windows import Window

        down, across = file.offset or (0, 0)
        window = Window(x0 - across, y0 - down, x1 - x0, y1 - y0)
        raster = self._opened(file, warped=file.offset is None)
        bands = _bands(file)
        raw = np.empty((y1 - y0, x1 - x0, len(bands)), raster.dtypes[0])
        raster.read(bands, window=window, out=raw.transpose(2, 0, 1))  # in the order in which it is stored
        return self._rgb(raw), self._valid(raster, window)

    def _means(
        self, file: SceneFile, square: tuple[float, float, float], y0: int, x0: int, y1: int, x1: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """Means of the file's pixels: what warping gives, to the bit, at a tenth of the time.

        Pixels of the grid that lie only partly on the file, at its far rims, are warped.
        """
        from rasterio.enums import Resampling
        from rasterio.windows import Window

        left, top, step = square
        grid, raster, bands = self.scene.grid, self._opened(file, warped=False), _bands(file)
        ratio = grid.gsd_m / step
        across, down = (grid.x0 - left) / step, (top - grid.y0) / step  # of the grid's corner in the file's pixels
        right = min(x1, int((raster.width - across) / ratio + 1e-6))
        bottom = min(y1, int((raster.height - down) / ratio + 1e-6))
        far_left, far_top = x0 * ratio + across, y0 * ratio + down
        if right <= x0 or bottom <= y0 or min(far_left, far_top) < -1e-6:
            return self._plain(file, y0, x0, y1, x1)
        image, valid = np.empty((y1 - y0, x1 - x0, 3), np.uint8), np.ones((y1 - y0, x1 - x0), np.bool_)
        window = Window(max(far_left, 0.0), max(far_top, 0.0), (right - x0) * ratio, (bottom - y0) * ratio)
        raw = np.empty((bottom - y0, right - x0, len(bands)), raster.dtypes[0])
        raster.read(bands, window=window, out=raw.transpose(2, 0, 1), resampling=Resampling.average)
        image[: bottom - y0, : right - x0] = self._rgb(raw)
        rims = ((y0, right, y1, x1), (bottom, x0, y1, right))
        for a, b, c, d in rims:
            if a < c and b < d:
                part = np.s_[a - y0 : c - y0, b - x0 : d - x0]
                image[part], known = self._plain(file, a, b, c, d)
                valid[part] = True if known is None else known
        return image, None if valid.all() else valid

    def _valid(self, raster: Any, window: Any) -> NDArray[np.bool_] | None:
        from rasterio.enums import MaskFlags

        if all(MaskFlags.all_valid in flags for flags in raster.mask_flag_enums):
            return None
        valid = np.asarray(raster.dataset_mask(window=window) >= 128)
        return None if valid.all() else valid

    def _rgb(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        if raw.dtype != np.uint8:
            raw = np.minimum(raw.astype(np.float32) * (255.0 / self.scene.white), 255).astype(np.uint8)
        return np.ascontiguousarray(raw if raw.shape[2] == 3 else np.repeat(raw, 3, axis=2))

    def _opened(self, file: SceneFile, warped: bool) -> Any:
        key = file, warped
        if key not in self._open:
            held = contextlib.ExitStack()
            raster = held.enter_context(opened_raster(file.path))
            if warped:
                raster = held.enter_context(self._warped(raster, file))
            self._open[key] = raster, held
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1][1].close()
        self._open.move_to_end(key)
        return self._open[key][0]

    def _warped(self, raster: Any, file: SceneFile) -> Any:
        """The file on the map's grid: means of its pixels where they are finer, between them where they are coarser."""
        from rasterio import Affine
        from rasterio.enums import MaskFlags, Resampling
        from rasterio.vrt import WarpedVRT

        grid = self.scene.grid
        has_mask = raster.nodata is not None or any(MaskFlags.alpha in flags for flags in raster.mask_flag_enums)
        x0, dx, rx, y0, ry, dy = grid.transform
        return WarpedVRT(
            raster,
            src_crs=file.crs,
            crs=grid.crs,
            transform=Affine(dx, rx, x0, ry, dy, y0),
            height=grid.height,
            width=grid.width,
            resampling=Resampling.average if file.gsd_m < grid.gsd_m * FINER else Resampling.bilinear,
            add_alpha=not has_mask,
            warp_mem_limit=64,
        )


def _bands(file: SceneFile) -> list[int]:
    return [1, 2, 3] if file.bands >= 3 else [1]
