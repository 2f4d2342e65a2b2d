"""LiDAR rasters on the grid of a scene, tile by tile."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, UsageError
from roadedge.roadmap.dataset.tiles import Tile
from roadedge.roadmap.scene_reader import SceneReader
from roadedge.roadmap.survey import MapGrid, Scene, survey


def parse_lidar(texts: list[str]) -> tuple[tuple[str, Path], ...]:
    """`intensity=FILE.tif` → the folder `lidar_intensity` and its raster; without a name it is the file's.

    Raises:
        UsageError: two of one name, point clouds, or a name that is none of a folder.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, mark, file = text.partition("=")
        path = Path(file if mark else text)
        plain = (name if mark else path.stem).removeprefix("lidar_")
        if path.suffix.lower() in (".las", ".laz"):
            raise UsageError(f"{path} is a point cloud; --lidar takes rasters of it: --lidar intensity=FILE.tif")
        if not plain.replace("_", "").isalnum():
            raise UsageError(f"--lidar needs NAME=FILE.tif with a name of letters and digits, got {text!r}")
        if f"lidar_{plain}" in found:
            raise UsageError(f"--lidar names {plain} twice: {found[f'lidar_{plain}']} and {path}")
        found[f"lidar_{plain}"] = path
    return tuple(found.items())


class TileLidar:
    """Open rasters by the name of their folder."""

    def __init__(self, rasters: tuple[tuple[str, Path], ...], grid: MapGrid, crs: str | None) -> None:
        """Open them; `crs` is that of files that do not say their own.

        Raises:
            DataError: one cannot be read, or lies elsewhere than the scene.
        """
        self._held = contextlib.ExitStack()
        self._grid = grid
        self._readers: dict[str, SceneReader] = {}
        for name, path in rasters:
            scene = survey(path, grid.gsd_m, crs=crs)
            _check_meets(scene.grid, grid, path)
            files = tuple(dataclasses.replace(file, box=(0, 0, *grid.size), offset=None) for file in scene.files)
            reader = SceneReader(Scene(grid, files, scene.white, scene.gsd_m))
            self._readers[name] = self._held.enter_context(reader)

    def read(self, tile: Tile) -> dict[str, NDArray[np.uint8]]:
        """(H, W) of each raster, 0 where it has no data."""
        planes = {}
        for name, reader in self._readers.items():
            pixels, valid = reader.read(tile.y0, tile.x0, tile.y1, tile.x1)
            plane = np.ascontiguousarray(pixels[..., 0])
            planes[name] = plane if valid is None else np.where(valid, plane, np.uint8(0))
        return planes

    def __enter__(self) -> TileLidar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def _check_meets(lidar: MapGrid, grid: MapGrid, path: Path) -> None:
    from roadedge.roadmap.dataset.shapes import lonlat_box

    here, there = lonlat_box(grid), lonlat_box(lidar)
    if here[0] > there[2] or there[0] > here[2] or here[1] > there[3] or there[1] > here[3]:
        raise DataError(
            f"{path} lies about {there[0]:.4f}, {there[1]:.4f} and the scene about {here[0]:.4f}, {here[1]:.4f} "
            "(longitude, latitude): they have no place in common; check the CRS of both"
        )
