"""Tiles → one Cloud-Optimised GeoTIFF, cell by cell while the tiles are still coming, in memory that does not grow."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import OutputError, RoadEdgeError, SourceError
from roadedge.georeference.raster_place import gdal_errors
from roadedge.roadmap.blending import blend_cell
from roadedge.roadmap.coarse import Coarse
from roadedge.roadmap.cog import open_plain
from roadedge.roadmap.job import Job
from roadedge.roadmap.tile_file import OpenTile

KEPT_TILES = 6  # open at once: a cell asks for four, and its neighbour for two of them again


class Assembly:
    """Writes the cells of a map in their order, each as soon as the tiles that it asks for are done.

    A thread of its own does it, so that what writes the last cell has written all others already.
    """

    def __init__(self, job: Job, path: Path, has_holes: bool) -> None:
        """Begin to write the plain GeoTIFF `path`; `has_holes`: with a mask of where there is data."""
        self.coarse = Coarse(job)
        self.pixels = self.points = 0  # with an image, and on the scene
        self._job, self._path, self._has_holes = job, path, has_holes
        self._done: set[int] = set()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._stopped = False
        self._tiles: OrderedDict[int, OpenTile] = OrderedDict()
        self._thread = threading.Thread(target=self._work, name="map-assembly")
        self._thread.start()

    def done(self, tile: int) -> None:
        """A tile's file is there; raises what went wrong with the cells before."""
        with self._changed:
            if self._error is not None:
                raise self._error
            self._done.add(tile)
            self._changed.notify()

    def finish(self) -> None:
        """Wait until all cells are written; raises OutputError, SourceError."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Leave it; what was written is of no use."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            with open_plain(self._path, self._job.scene.grid) as raster:
                for tile in range(len(self._job.plan)):
                    if not self._await(tile):
                        return
                    self._write(raster, tile)
        except BaseException as error:  # handed to the thread that waits
            with self._changed:
                self._error = error
        finally:
            while self._tiles:
                self._tiles.popitem()[1].close()

    def _await(self, tile: int) -> bool:
        needed = set(self._job.plan.needed(tile))
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or needed <= self._done)
            return not self._stopped

    def _write(self, raster: Any, tile: int) -> None:
        from rasterio.windows import Window

        y0, x0, y1, x1 = self._job.plan.cell(tile)
        window = Window(x0, y0, x1 - x0, y1 - y0)
        with self._broken_tiles():
            own = self._open(tile)
            cell = blend_cell(self._job.plan, tile, self._fetch)
            if self._has_holes:
                valid = np.zeros(cell.shape, np.bool_) if own.is_blank else own.valid()
                if valid is not None:
                    cell[~valid] = 0
                mask = np.full(cell.shape, 255, np.uint8) if valid is None else valid.astype(np.uint8) * 255
                raster.write_mask(mask, window=window)
            raster.write(cell, 1, window=window)
            self.coarse.add(tile, own)
            self.pixels += own.about["pixels"]
            self.points += own.about["points"]

    def _fetch(self, tile: int, y0: int, x0: int, y1: int, x1: int) -> NDArray[np.uint8]:
        opened = self._open(tile)
        if opened.is_blank:
            return np.zeros((y1 - y0, x1 - x0), np.uint8)
        top, left = self._job.plan.corner(tile)
        return opened.rows(y0 - top, y1 - top)[:, x0 - left : x1 - left]

    def _open(self, tile: int) -> OpenTile:
        if tile not in self._tiles:
            self._tiles[tile] = OpenTile(self._job.tile_path(tile))
            if len(self._tiles) > KEPT_TILES:
                self._tiles.popitem(last=False)[1].close()
        self._tiles.move_to_end(tile)
        return self._tiles[tile]

    @contextlib.contextmanager
    def _broken_tiles(self) -> Iterator[None]:
        try:
            yield
        except RoadEdgeError:
            raise
        except gdal_errors() as error:
            raise OutputError(f"cannot write {self._path}: {error}; is the disk full?") from error
        except (OSError, ValueError) as error:
            raise SourceError(f"a finished tile cannot be read ({error}); go on with --resume") from error
