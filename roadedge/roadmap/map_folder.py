"""The folder of a map while it is being made: its lock, its plan, its finished tiles.

A plan that is there already must be this run's own: so a run goes on where one was killed, and shards share a folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json
from roadedge.errors import DataError, OutputError, UsageError
from roadedge.roadmap.job import Job
from roadedge.roadmap.settings import Shard
from roadedge.roadmap.tile_file import is_whole

WORK, PLAN, DONE = ".tiles", "plan.json", "map.json"
LOCK, JOIN_LOCK = ".lock", ".join.lock"


@contextlib.contextmanager
def locked(folder: Path, shard: Shard | None = None) -> Iterator[None]:
    """Hold a map's folder for one run; of shards, one run each. The system lets go of it however a process ends.

    Raises:
        UsageError: another run holds it.
        OutputError: the folder cannot be written.
    """
    held = [(LOCK, fcntl.LOCK_EX if shard is None else fcntl.LOCK_SH)]
    if shard is not None:
        held.append((f".shard-{shard.index}-of-{shard.count}.lock", fcntl.LOCK_EX))
    with contextlib.ExitStack() as open_files:
        for name, kind in held:
            if not _take(open_files, folder / name, kind | fcntl.LOCK_NB):
                whose = "another run" if shard is None or name == LOCK else f"another run of shard {shard.index}"
                raise UsageError(f"{whose} is at work in {folder}; wait for it, or choose another -o/--output")
        yield


@contextlib.contextmanager
def joining(folder: Path) -> Iterator[bool]:
    """Hold the right to join the shards of a map; False where another run is joining."""
    with contextlib.ExitStack() as open_files:
        yield _take(open_files, folder / JOIN_LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _take(open_files: contextlib.ExitStack, path: Path, kind: int) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open_files.enter_context(path.open("a"))
    except OSError as error:
        raise OutputError.from_os(path, error) from error
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks must say so, not let two runs in
        raise OutputError(
            f"cannot lock {path} ({error.strerror}); choose a folder on a disk with file locks"
        ) from error
    return True


def identity(job: Job, digest: str) -> dict[str, Any]:
    """What must be equal for two runs to share tiles: files by name, size and time; grid; windows; network."""
    files = [file.path for file in job.scene.files]
    drawn = [] if job.second is None else [file.path for file in job.second.files]
    files += job.clouds or drawn  # what is drawn from clouds is there only once a map is begun
    files += [] if job.points is None else [job.points]
    listed = []
    for path in files:
        state = path.stat()
        listed.append([path.name, state.st_size, state.st_mtime_ns])
    grid = job.scene.grid
    return {
        "schema_version": 1,
        "files": hashlib.sha256(json.dumps(listed).encode()).hexdigest(),
        "grid": [grid.crs, grid.x0, grid.y0, grid.gsd_m, grid.height, grid.width],
        "windows": [*job.plan.window, list(job.plan.rows.starts), list(job.plan.columns.starts), job.plan.rows.ramp],
        "network": [digest, job.network.backend, job.network.precision],
    }


def open_work(folder: Path, plan: dict[str, Any], resume: bool) -> Path:
    """The folder of the tiles, made where there is none.

    Raises:
        UsageError: there are tiles of another map, or of this one and `resume` is not set.
        DataError: the plan that is there cannot be read.
    """
    work = folder / WORK
    path = work / PLAN
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is no plan of tiles ({error}); pass --overwrite to begin anew") from error
        other = [key for key in plan if found.get(key) != json.loads(json.dumps(plan[key]))]
        if other:
            raise UsageError(
                f"the tiles in {folder} are of another map: its {', '.join(other)} differ; choose another -o/--output, "
                "or pass --overwrite"
            )
        if not resume:
            raise UsageError(f"{folder} holds a map that was begun; pass --resume to go on, or --overwrite")
    else:
        write_json(path, plan)
    return work


def finished_tiles(job: Job, alone: bool) -> set[int]:
    """The tiles whose files are there and whole; `alone`: parts that a killed run left are cleared away."""
    if alone:
        for part in (*job.folder.glob("*/.*.part.tile"), *job.folder.parent.glob(".*.part*")):
            part.unlink(missing_ok=True)
    return {tile for tile in range(len(job.plan)) if is_whole(job.tile_path(tile))}


def clear_work(folder: Path) -> None:
    """Take the tiles away once the map is whole; the lock stays, since another run may just be asking for it."""
    shutil.rmtree(folder / WORK, ignore_errors=True)
    for lock in (*folder.glob(".shard-*.lock"), folder / JOIN_LOCK):
        lock.unlink(missing_ok=True)
