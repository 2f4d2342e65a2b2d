"""What a map is made of and where it goes; and whether it can go there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.errors import DataError, OutputError, UsageError
from roadedge.roadmap.map_folder import DONE, WORK, locked
from roadedge.roadmap.preparing import Prepared
from roadedge.roadmap.settings import Shard
from roadedge.run_folder import open_run_folder

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class MapOrder:
    """What a map is made of and where: beside the settings, which decide how.

    `resume`: go on with what is there; `shard`: this run's share of the tiles; `join`: compute none.
    """

    scene: Path
    output: Path
    points: Path | None = None
    lidar: tuple[Path, ...] = ()  # point clouds, or rasters of them
    resume: bool = False
    overwrite: bool = False
    shard: Shard | None = None
    join: bool = False

    def __post_init__(self) -> None:
        if self.overwrite and (self.resume or self.shard or self.join):
            raise UsageError("--overwrite begins anew, and does not go with --resume, --shard or --join")
        if self.join and self.shard:
            raise UsageError("--join joins what shards have made; leave --shard out")


@dataclass(frozen=True, slots=True)
class MapResult:
    """A finished map, `metrics` as in map.json; of a shard that others have still to join, `missing` tiles."""

    folder: Path
    metrics: dict[str, Any]
    missing: int = 0


def finished_before(folder: Path, order: MapOrder, prepared: Prepared, tell: Tell) -> MapResult:
    """The map that is there, where it is the one asked for and --resume, --shard or --join was given."""
    try:
        metrics = json.loads((folder / DONE).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / DONE} cannot be read ({error}); pass --overwrite to make the map again") from error
    grid = prepared.job.scene.grid
    same = {"sha256": prepared.digest, "crs": grid.crs, "size": list(grid.size), "transform": list(grid.transform)}
    if not (order.resume or order.shard or order.join) or any(metrics.get(key) != same[key] for key in same):
        raise UsageError(f"{folder} holds a finished map; choose another -o/--output, or pass --overwrite")
    tell(f"the map in {folder} is finished; nothing to do")
    return MapResult(folder, metrics)


def open_folder(order: MapOrder) -> Path:
    """The output folder, absolute; what is in it is checked once it is locked."""
    folder = order.output.absolute()
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    begun = (folder / WORK).is_dir() or (folder / DONE).exists()
    if order.overwrite and (inside or begun):
        needed = [path for path in (order.scene, order.points, *order.lidar) if path is not None]
        with locked(folder):
            open_run_folder("map", "map", folder, overwrite=True, needed=needed)
    elif inside and not begun:
        raise UsageError(f"{folder} is not empty and holds no map; choose another -o/--output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError.from_os(folder, error) from error
    return folder.resolve()
