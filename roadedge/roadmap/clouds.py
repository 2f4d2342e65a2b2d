"""Point clouds drawn as GeoTIFF on the grid of a map: what `--lidar FILES` becomes before a network is fed it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.atomic import replacing
from roadedge.errors import DataError, OutputError, SpecMismatchError, UsageError
from roadedge.georeference.raster_place import RasterPlace, from_lonlat, gdal_errors, opened_raster, to_lonlat
from roadedge.lidar.cloud import Cloud, is_cloud, look_at_clouds
from roadedge.lidar.raster import Drawing, LidarGrid, Studied, check_meet, drawn_strips, study
from roadedge.roadmap.grid import metric_crs, short_name
from roadedge.roadmap.survey import MapGrid, Scene, SceneFile, survey
from roadedge.spec import LIDAR_QUANTITIES, LidarSpec, ModelSpec

MOST_PIXELS = 2_000_000_000  # of a grid laid about the points alone: a wrong --gsd is said, not drawn
KEY = "ROADEDGE_KEY"
_GROUND = {True: "above points of class 2", False: "above the lowest points of 2 m, houses and trees taken away"}

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The rasters by quantity, and what was found on the way."""

    files: dict[str, Path]
    grid: MapGrid
    studied: Studied

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        ground = self.studied.ground
        return {
            "files": {name: str(path) for name, path in self.files.items()},
            "crs": self.grid.crs,
            "gsd_m": self.grid.gsd_m,
            "size": list(self.grid.size),
            "points": self.studied.points,
            "points_outside": self.studied.outside,
            "ranges": {name: [spec.low, spec.high] for name, spec in self.studied.ranges.items()},
            "ground": None if ground is None else "classified" if ground.classified else "opened",
        }

    def lines(self) -> list[str]:
        """What was drawn, for people."""
        height, width = self.grid.size
        ground = self.studied.ground
        told = [
            f"{self.studied.points} points on {height} x {width} px at {self.grid.gsd_m:.3g} m in {self.grid.crs}, "
            f"{self.studied.outside} beside them"
        ]
        for name, spec in self.studied.ranges.items():
            by = "" if name != "height" or ground is None else f", {_GROUND[ground.classified]}"
            told.append(f"{name}: levels 1 to 255 are {spec.low:g} to {spec.high:g}{' m' * (name == 'height')}{by}")
        return told


@dataclass(frozen=True, slots=True)
class RasterOrder:
    """Files of points, or folders of them, the folder of the rasters, and on which pixels: a scene's, or `gsd_m`."""

    files: tuple[Path, ...]
    output: Path
    like: Path | None = None
    gsd_m: float | None = None
    crs: str | None = None

    def __post_init__(self) -> None:
        if self.gsd_m is not None and not 0.01 <= self.gsd_m <= 100:
            raise UsageError(f"--gsd is metres per pixel, 0.01 to 100, got {self.gsd_m}")


@dataclass(frozen=True, slots=True)
class CloudOrder:
    """Clouds that are drawn to `path` for a network, on the grid of its map."""

    clouds: tuple[Cloud, ...]
    grid: MapGrid
    path: Path
    drawing: Drawing

    @classmethod
    def of(cls, paths: Sequence[Path], grid: MapGrid, spec: ModelSpec, crs: str | None, folder: Path) -> CloudOrder:
        """Look at the clouds; `crs` is that of files that do not say their own.

        Raises:
            UsageError: not all of `paths` are clouds.
            SpecMismatchError: the network does not say what its raster shows.
            DataError, MissingExtraError: as `look_at_clouds`.
        """
        plain = next((path for path in paths if not is_cloud(path)), None)
        if plain is not None:
            raise UsageError(f"--lidar takes point clouds or a raster, not both; {plain} is no LAS or LAZ file")
        if spec.lidar is None:
            raise SpecMismatchError(
                f"{spec.name} does not say how its LiDAR was drawn; draw the clouds as its data set was and give the "
                "raster: roadedge lidar FILES --like SCENE -o FOLDER"
            )
        drawing = Drawing({spec.lidar.quantity: spec.lidar})
        path = folder / f"lidar_{spec.lidar.quantity}.tif"
        clouds = look_at_clouds(paths, crs)
        check_meet(clouds, _lidar_grid(grid))
        return cls(clouds, grid, path, drawing)

    def draw(self, tell: Tell) -> None:
        """Draw them, unless that was done before; raises as `draw`."""
        if is_drawn(self.path, key_of(self.clouds, self.grid, self.drawing)):
            return
        name = next(iter(self.drawing.ranges))
        drawn = draw(self.clouds, self.grid, {name: self.path}, self.drawing, tell)
        beside = f", {drawn.studied.outside} beside it" if drawn.studied.outside else ""
        tell(f"{drawn.studied.points} LiDAR points on the scene{beside}, drawn as {name}: {self.path.name}")


def grid_about(clouds: Sequence[Cloud], gsd_m: float) -> MapGrid:
    """A grid about all points, in their CRS where its unit is a true metre, else in their UTM zone.

    Raises:
        UsageError: it would have more pixels than any map.
    """
    there = [cloud for cloud in clouds if cloud.points]
    x0, y0, x1, y1 = there[0].bounds
    across, down = max(x1 - x0, 1e-6), max(y1 - y0, 1e-6)
    crs = short_name(metric_crs(RasterPlace((x0, across, 0, y1, 0, -down), there[0].crs, (1, 1))))
    corners = np.concatenate([_corners(cloud, crs) for cloud in there])
    left, bottom = np.floor(corners.min(axis=0) / gsd_m) * gsd_m
    right, top = np.ceil(corners.max(axis=0) / gsd_m) * gsd_m
    width, height = max(1, round((right - left) / gsd_m)), max(1, round((top - bottom) / gsd_m))
    if width * height > MOST_PIXELS:
        raise UsageError(f"--gsd {gsd_m} makes {width} x {height} pixels of these clouds; give more metres per pixel")
    return MapGrid(crs, float(left), float(top), gsd_m, height, width, True)


def rasterise(order: RasterOrder, drawing: Drawing, overwrite: bool = False, tell: Tell | None = None) -> Drawn:
    """Draw clouds to `lidar_intensity.tif` and `lidar_height.tif` in a folder, on a scene's grid or about the points.

    Raises:
        UsageError: neither a scene nor metres per pixel, or rasters are there and `overwrite` is not set.
        DataError, MissingExtraError, OutputError: as the parts say.
    """
    paths = {name: order.output / f"lidar_{name}.tif" for name in drawing.ranges}
    there = [path for path in paths.values() if path.exists()]
    if there and not overwrite:
        raise UsageError(f"{there[0]} is there already; choose another -o/--output, or pass --overwrite")
    clouds = look_at_clouds(order.files, order.crs)
    if order.like is not None:
        grid = survey(order.like, order.gsd_m, crs=order.crs).grid
    elif order.gsd_m is not None:
        grid = grid_about(clouds, order.gsd_m)
    else:
        raise UsageError("say which pixels to draw on: --like SCENE, --gsd METRES, or both")
    return draw(clouds, grid, paths, drawing, tell)


def draw(
    clouds: Sequence[Cloud], grid: MapGrid, paths: dict[str, Path], drawing: Drawing, tell: Tell | None = None
) -> Drawn:
    """Draw each quantity of `drawing` to its GeoTIFF of `paths`, whole or not at all; 0 is no data.

    Raises:
        DataError: a cloud cannot be read, or none of its points lies on the grid.
        OutputError: a raster cannot be written.
    """
    on = _lidar_grid(grid)
    studied = study(clouds, on, drawing, tell)
    tags = {KEY: key_of(clouds, grid, drawing), "points": str(studied.points)}
    with contextlib.ExitStack() as held:
        temporary = {name: held.enter_context(replacing(paths[name])) for name in studied.ranges}
        try:
            with contextlib.ExitStack() as written:
                rasters = {}
                for name, part in temporary.items():
                    rasters[name] = written.enter_context(_created(part, grid))
                    spec = studied.ranges[name]
                    unit = "m above the ground" if name == "height" else "of the files"
                    rasters[name].update_tags(**tags, quantity=name, low=spec.low, high=spec.high, unit=unit)
                for start, planes in drawn_strips(clouds, on, drawing, studied):
                    for name, plane in planes.items():
                        rasters[name].write(plane, 1, window=((start, start + len(plane)), (0, grid.width)))
                    if tell is not None and start:
                        tell(f"drew {start} of {grid.height} rows")
        except gdal_errors() as error:
            where = next(iter(paths.values())).parent
            raise OutputError(f"cannot write rasters into {where} ({error}); is the disk full?") from error
    return Drawn({name: paths[name] for name in studied.ranges}, grid, studied)


def parse_range(text: str | None, quantity: str) -> LidarSpec | None:
    """`0,255` → the range that levels 1 to 255 stand for; raises UsageError."""
    if text is None:
        return None
    low, _, high = text.partition(",")
    try:
        return LidarSpec(quantity, float(low), float(high))
    except ValueError as error:  # no number, or low above high, which LidarSpec says as a kind of it
        raise UsageError(f"--{quantity}-range is LOW,HIGH such as 0,255, got {text!r}") from error


def parse_quantities(text: str) -> tuple[str, ...]:
    """`intensity,height` → both; raises UsageError."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if any(name not in LIDAR_QUANTITIES for name in names):
        raise UsageError(f"--quantity is some of {', '.join(LIDAR_QUANTITIES)}, got {text!r}")
    return names


def key_of(clouds: Sequence[Cloud], grid: MapGrid, drawing: Drawing) -> str:
    """What must be equal for two rasters to be the same."""
    states = [
        (cloud.path.name, cloud.path.stat().st_size, cloud.path.stat().st_mtime_ns, cloud.crs) for cloud in clouds
    ]
    asked = {name: None if spec is None else [spec.low, spec.high] for name, spec in drawing.ranges.items()}
    value = [states, [grid.crs, *grid.transform, *grid.size], asked, drawing.fill_m]
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def is_drawn(path: Path, key: str) -> bool:
    """Whether a raster is there that was drawn from the same files on the same grid."""
    if not path.is_file():
        return False
    try:
        with opened_raster(path) as raster:
            return bool(raster.tags().get(KEY) == key)
    except DataError:
        return False


def scene_of(path: Path, grid: MapGrid) -> Scene:
    """A raster on the grid itself, as `survey` would find it once it is drawn."""
    return Scene(
        grid, (SceneFile(path.resolve(), grid.crs, grid.gsd_m, 1, (0, 0, *grid.size), (0, 0)),), 255, grid.gsd_m
    )


def _lidar_grid(grid: MapGrid) -> LidarGrid:
    return LidarGrid(grid.transform, grid.crs, grid.size, grid.gsd_m)


def _created(path: Path, grid: MapGrid) -> Any:
    import rasterio

    return rasterio.open(
        path, "w", driver="GTiff", height=grid.height, width=grid.width, count=1, dtype="uint8", nodata=0,
        crs=grid.crs, transform=rasterio.Affine.from_gdal(*grid.transform), tiled=True, blockxsize=512, blockysize=512,
        compress="deflate", BIGTIFF="IF_SAFER",
    )  # fmt: skip


def _corners(cloud: Cloud, crs: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    x0, y0, x1, y1 = cloud.bounds
    share = np.linspace(0, 1, 5)
    rim = np.array([[x0 + a * (x1 - x0), y0 + b * (y1 - y0)] for a in share for b in share])
    return rim if cloud.crs == crs else from_lonlat(to_lonlat(rim, cloud.crs), crs)
