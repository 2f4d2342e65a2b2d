"""From what the user asks for to the job that workers take: the network's spec, the grid, the plan of tiles."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from roadedge.errors import DataError, SpecMismatchError, UsageError
from roadedge.georeference.raster_place import to_lonlat
from roadedge.lidar.cloud import is_cloud
from roadedge.preprocess import check_band
from roadedge.roadmap.clouds import CloudOrder, scene_of
from roadedge.roadmap.coarse import coarse_steps
from roadedge.roadmap.job import Job, NetworkChoice
from roadedge.roadmap.settings import DEFAULT_TILE, MapSettings
from roadedge.roadmap.survey import MapGrid, Scene, survey
from roadedge.roadmap.tiling import plan_tiles
from roadedge.roadmap.window import bounds_in
from roadedge.spec import ModelSpec, sha256_of
from roadedge.trajectory.point_store import PointStore

PHASE = 32  # windows start on multiples of it even where a network does not say its stride


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job, the spec, file and digest of its network, and what the user should know."""

    job: Job
    spec: ModelSpec
    model: Path
    digest: str
    has_holes: bool
    notes: tuple[str, ...]
    clouds: CloudOrder | None = None  # to be drawn before the first tile


def prepare(
    scene: Path, settings: MapSettings, folder: Path, points: Path | None = None, lidar: tuple[Path, ...] = ()
) -> Prepared:
    """Look at everything that a map is made of, before anything is written.

    Args:
        scene: a raster or a folder of them.
        settings: of the map.
        folder: for its tiles.
        points: a store of points.
        lidar: point clouds, or a raster or folder of rasters of them, for a network that takes LiDAR.

    Raises:
        DataError, SpecMismatchError, UsageError, MissingExtraError: something does not fit, or is not there.
    """
    _, threads = settings.crew_size()
    network = NetworkChoice(settings.model, settings.backend, settings.precision, threads)
    spec, any_size, path = network.look()
    fixed = None if any_size and settings.tile != _only(spec.size) else spec.size
    if fixed is not None and settings.tile not in (None, _only(fixed)):
        raise UsageError(
            f"{path.name} takes windows of {fixed[0]} x {fixed[1]} pixels alone, got --tile {settings.tile}; leave "
            "it out, export the network with --dynamic, or run it in OpenVINO"
        )
    seen = survey(scene, settings.gsd_m or spec.gsd_m, spec.gsd_tolerance, settings.crs)
    check_band(seen.grid.gsd_m, spec, settings.strict)
    plan = plan_tiles(
        seen.grid.size, math.lcm(spec.stride, PHASE), settings.overlap, fixed, settings.tile or DEFAULT_TILE
    )
    notes = []
    second, clouds = None, None
    if lidar:
        second, clouds = _lidar_on(seen.grid, lidar, spec, settings, folder.parent)
    elif spec.second == "lidar":
        notes.append(f"{spec.name} takes LiDAR and is given none")
    if points is not None:
        notes += _check_points(points, seen.grid, spec)
    elif spec.second == "trajectory":
        notes.append(f"{spec.name} takes points and is given none")
    coarse, dense = coarse_steps(seen.grid)
    drawn_from = () if clouds is None else tuple(cloud.path for cloud in clouds.clouds)
    job = Job(seen, plan, network, folder, points, second, coarse, dense, drawn_from)
    return Prepared(job, spec, path, sha256_of(path), _has_holes(seen), tuple(notes), clouds)


def _only(size: tuple[int, int] | None) -> int | None:
    return size[0] if size is not None and size[0] == size[1] else None


def _check_points(path: Path, grid: MapGrid, spec: ModelSpec) -> list[str]:
    """Notes on the points; raises DataError where they lie elsewhere than the scene."""
    with PointStore.open(path) as store:
        if not store.rows:
            return [f"{path.name} holds no points"]
        bounds, crs, rows = store.bounds, store.crs, store.rows
    x0, y0, x1, y1 = bounds
    left, bottom, right, top = here = grid.bounds(0, 0, grid.height, grid.width)
    west, south, east, north = bounds_in(crs, grid.crs, here)
    beside = west <= east and (x0 > east or x1 < west)  # west > east is a scene across the antimeridian
    if beside or y0 > north or y1 < south:
        at = to_lonlat([[(x0 + x1) / 2, (y0 + y1) / 2]], crs)[0]
        lies = to_lonlat([[(left + right) / 2, (bottom + top) / 2]], grid.crs)[0]
        raise DataError(
            f"none of the {rows} points of {path.name} lies on the scene: they are about {at[0]:.4f}, {at[1]:.4f} and "
            f"it about {lies[0]:.4f}, {lies[1]:.4f} (longitude, latitude); check the order and sign of "
            "their coordinates, and --datum when they are ingested"
        )
    return [] if spec.second == "trajectory" else [f"{spec.name} looks at no points; they serve the roads alone"]


def _lidar_on(
    grid: MapGrid, paths: tuple[Path, ...], spec: ModelSpec, settings: MapSettings, folder: Path
) -> tuple[Scene, CloudOrder | None]:
    """The raster that the network is fed beside the image; of point clouds with the order to draw it in `folder`."""
    if spec.second != "lidar":
        raise SpecMismatchError(f"{spec.name} takes no LiDAR; leave --lidar out, or take a network that does")
    if any(is_cloud(path) for path in paths):
        clouds = CloudOrder.of(paths, grid, spec, settings.crs, folder)
        return scene_of(clouds.path, grid), clouds
    if len(paths) > 1:
        raise UsageError("--lidar takes several point clouds, but only one raster or folder of rasters")
    return _on(grid, survey(paths[0], grid.gsd_m, spec.gsd_tolerance, settings.crs)), None


def _on(grid: MapGrid, other: Scene) -> Scene:
    """The files of another raster, warped to the map's grid."""
    files = tuple(dataclasses.replace(file, box=(0, 0, *grid.size), offset=None) for file in other.files)
    return Scene(grid, files, other.white, other.gsd_m)


def _has_holes(scene: Scene) -> bool:
    """Whether a pixel of the grid may have no image."""
    from rasterio.enums import MaskFlags

    from roadedge.georeference.raster_place import opened_raster

    if len(scene.files) != 1 or scene.files[0].offset is None:
        return True
    with opened_raster(scene.files[0].path) as raster:
        return not all(MaskFlags.all_valid in flags for flags in raster.mask_flag_enums)
