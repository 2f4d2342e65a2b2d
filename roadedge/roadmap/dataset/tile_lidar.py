"""LiDAR on the grid of a scene, tile by tile: rasters, or point clouds drawn as intensity and height."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, UsageError
from roadedge.roadmap.dataset.tiles import Tile
from roadedge.roadmap.scene_reader import SceneReader
from roadedge.roadmap.survey import MapGrid, Scene, survey

Tell = Callable[[str], None]


def parse_lidar(texts: list[str]) -> tuple[tuple[str, Path], ...]:
    """`intensity=FILE.tif` → the folder `lidar_intensity` and its raster; without a name it is the file's.

    Point clouds, and folders of them, have the name "".

    Raises:
        UsageError: two of one name, a point cloud with one, or a name that is none of a folder.
    """
    found: dict[str, Path] = {}
    clouds: list[tuple[str, Path]] = []
    for text in texts:
        name, mark, file = text.partition("=")
        path = Path(file if mark else text)
        plain = (name if mark else path.stem).removeprefix("lidar_")
        if path.is_dir() or path.suffix.lower() in (".las", ".laz"):
            if mark:
                raise UsageError(f"{path} is a point cloud, drawn as intensity and height; give it without {name}=")
            clouds.append(("", path))
            continue
        if not plain.replace("_", "").isalnum():
            raise UsageError(f"--lidar needs NAME=FILE.tif with a name of letters and digits, got {text!r}")
        if f"lidar_{plain}" in found:
            raise UsageError(f"--lidar names {plain} twice: {found[f'lidar_{plain}']} and {path}")
        found[f"lidar_{plain}"] = path
    twice = {"lidar_intensity", "lidar_height"} & found.keys() if clouds else set()
    if twice:
        raise UsageError(f"--lidar gives {sorted(twice)[0]} twice: as a raster and by a point cloud")
    return (*found.items(), *clouds)


class TileLidar:
    """Rasters and drawn point clouds by the name of their folder; `facts` say what was drawn, and by which ranges."""

    def __init__(
        self, files: tuple[tuple[str, Path], ...], grid: MapGrid, crs: str | None, scratch: Path, tell: Tell | None
    ) -> None:
        """Open rasters and draw clouds, into files in the folder `scratch` that go with this object.

        Args:
            files: as `parse_lidar` gives them.
            grid: of the scene.
            crs: of files that do not say their own.
            scratch: a folder on a disk with room for a byte per pixel of the grid, twice.
            tell: takes lines about the progress.

        Raises:
            DataError: one cannot be read, or lies elsewhere than the scene.
            MissingExtraError: the library for point clouds is not installed.
        """
        self._held = contextlib.ExitStack()
        self._readers: dict[str, SceneReader] = {}
        self._drawn: dict[str, NDArray[np.uint8]] = {}
        self.facts: dict[str, Any] = {}
        clouds = [path for name, path in files if not name]
        if clouds:
            self._draw(clouds, grid, crs, scratch, tell)
        for name, path in files:
            if not name:
                continue
            scene = survey(path, grid.gsd_m, crs=crs)
            _check_meets(scene.grid, grid, path)
            warped = tuple(dataclasses.replace(file, box=(0, 0, *grid.size), offset=None) for file in scene.files)
            reader = SceneReader(Scene(grid, warped, scene.white, scene.gsd_m))
            self._readers[name] = self._held.enter_context(reader)

    @property
    def names(self) -> list[str]:
        """The folders, as they stand in the table of the data set."""
        return [*self._readers, *self._drawn]

    def read(self, tile: Tile) -> dict[str, NDArray[np.uint8]]:
        """(H, W) of each folder, 0 where there is no data."""
        box = np.s_[tile.y0 : tile.y1, tile.x0 : tile.x1]
        planes = {name: np.ascontiguousarray(plane[box]) for name, plane in self._drawn.items()}
        for name, reader in self._readers.items():
            pixels, valid = reader.read(tile.y0, tile.x0, tile.y1, tile.x1)
            plane = np.ascontiguousarray(pixels[..., 0])
            planes[name] = plane if valid is None else np.where(valid, plane, np.uint8(0))
        return planes

    def _draw(self, paths: list[Path], grid: MapGrid, crs: str | None, scratch: Path, tell: Tell | None) -> None:
        from roadedge.lidar.cloud import look_at_clouds
        from roadedge.lidar.raster import Drawing, LidarGrid, drawn_strips, study

        clouds = look_at_clouds(paths, crs)
        place = LidarGrid(grid.transform, grid.crs, grid.size, grid.gsd_m)
        studied = study(clouds, place, Drawing(), tell)
        self.facts = {
            "points": studied.points,
            "outside": studied.outside,
            "ranges": {name: dataclasses.asdict(spec) for name, spec in studied.ranges.items()},
        }
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        self._held.callback(shutil.rmtree, scratch, ignore_errors=True)
        with contextlib.ExitStack() as opened:
            files = {name: opened.enter_context((scratch / name).open("wb")) for name in studied.ranges}
            for _, planes in drawn_strips(clouds, place, Drawing(), studied):
                for name, plane in planes.items():  # written, not mapped: a full disk is then an error
                    files[name].write(np.ascontiguousarray(plane).data)
        self._drawn = {f"lidar_{n}": np.memmap(scratch / n, np.uint8, "r", shape=grid.size) for n in studied.ranges}

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
