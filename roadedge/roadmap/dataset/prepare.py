"""`roadedge data prepare`: a georeferenced scene and vectors of its roads → a folder data set to train on."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import write_json, write_text
from roadedge.data.journal import Journal, digest_of, finished, work_folder
from roadedge.environment import environment
from roadedge.errors import DataError
from roadedge.imagery import write_jpeg, write_png
from roadedge.roadmap.dataset.options import PrepareOptions, PrepareOrder
from roadedge.roadmap.dataset.shapes import IGNORED, ROAD, Shapes, read_areas, read_roads
from roadedge.roadmap.dataset.tile_lidar import TileLidar
from roadedge.roadmap.dataset.tile_points import TilePoints, write_points
from roadedge.roadmap.dataset.tiles import Tile, TileLayout, choose_validation, lay_tiles
from roadedge.roadmap.scene_reader import SceneReader
from roadedge.roadmap.survey import MapGrid, Scene, files_of, survey
from roadedge.trajectory.ingest.progress import Progress
from roadedge.trajectory.point_store import PointStore

SCHEMA_VERSION = 1
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """The folder, and what `manifest.json` in it says."""

    folder: Path
    manifest: dict[str, Any]


@dataclass(slots=True)
class _Work:
    """All that a tile is made of."""

    folder: Path
    options: PrepareOptions
    grid: MapGrid
    reader: SceneReader
    roads: Shapes | None
    areas: Shapes | None
    ignore: Shapes | None
    points: TilePoints | None
    lidar: TileLidar | None

    @property
    def second(self) -> list[str]:
        """The folders of the second modality."""
        return ["trajectory"] if self.points is not None else [] if self.lidar is None else self.lidar.names


def prepare(
    order: PrepareOrder, options: PrepareOptions | None = None, resume: bool = False, overwrite: bool = False,
    tell: Tell | None = None,
) -> PrepareResult:  # fmt: skip
    """Make a folder data set; it appears at its place when it is whole.

    Tiles go row by row over the scene, on the grid that `roadedge map` lays over it too: images come to a network in
    training as they will when it maps. Pixels without an image are ignored in the mask.

    Args:
        order: what it is made of.
        options: how.
        resume: go on with a run that was stopped; inputs and settings must be the same.
        overwrite: replace a data set that is there.
        tell: takes lines about the progress.

    Raises:
        UsageError: options that do not go together, an output that is there.
        DataError, SpecMismatchError, PointsError: inputs that cannot be read or lie at different places.
        OutputError: the output cannot be written.
        MissingExtraError: rasterio, pyproj, pyogrio or shapely is not installed.
    """
    options = options or PrepareOptions()
    say: Tell = tell or (lambda text: None)
    scene = survey(order.scene, options.gsd_m, crs=options.crs)
    layout = lay_tiles(scene.grid, options.size, options.block_m)
    grid = scene.grid
    say(
        f"{grid.width} x {grid.height} pixels of {grid.gsd_m:.3g} m in {grid.crs[:40]}"
        f"{'' if grid.native else ' (resampled)'}: {len(layout.tiles)} tiles in blocks of {layout.block_m:.0f} m"
    )
    roads = None if order.roads is None else read_roads(order.roads, grid, options)
    areas = None if order.areas is None else read_areas(order.areas, grid, "carriageways")
    ignore = None if order.ignore is None else read_areas(order.ignore, grid, "zones to ignore")
    for note in roads.facts["notes"] if roads is not None else []:
        say(note)
    inputs = _inputs(order)
    identity = {"schema_version": SCHEMA_VERSION, "inputs": inputs, **dataclasses.asdict(options)}
    if resume and (manifest := finished(order.output, identity)) is not None:
        say(f"{order.output} is finished already")
        return PrepareResult(order.output.resolve(), manifest)
    with work_folder(order.output, resume, overwrite) as folder, contextlib.ExitStack() as opened:
        store = None if order.points is None else opened.enter_context(PointStore.open(order.points))
        points = None if store is None else TilePoints(store, grid)
        reader = opened.enter_context(SceneReader(scene))
        lidar: TileLidar | None = None
        if order.lidar:
            lidar = opened.enter_context(TileLidar(order.lidar, grid, options.crs, folder / ".lidar", tell))
        work = _Work(folder, options, grid, reader, roads, areas, ignore, points, lidar)
        journal = Journal(folder, identity, resume)
        try:
            _make_tiles(work, layout, journal, tell)
        finally:
            journal.close()
        manifest = _finish(work, scene, layout, journal, identity)
    return PrepareResult(order.output.resolve(), manifest)


def _make_tiles(work: _Work, layout: TileLayout, journal: Journal, tell: Tell | None) -> None:
    todo = [tile for tile in layout.tiles if tile.id not in journal.done]
    if tell is not None and len(todo) < len(layout.tiles):
        tell(f"{len(layout.tiles) - len(todo)} of {len(layout.tiles)} tiles are done already")
    progress = Progress(tell, "tiles")
    progress.phase("preparing")
    try:
        for number, tile in enumerate(todo, 1):
            journal.add(_make_tile(work, tile))
            progress.at(number, number / len(todo))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{len(journal.done)} of {len(layout.tiles)} tiles are done; pass --resume to go on"
        ) from None
    finally:
        progress.done()


def _make_tile(work: _Work, tile: Tile) -> dict[str, Any]:
    """Write a tile's files; the record says what it holds, or why it was left out."""
    size = work.options.size
    image, valid = work.reader.read(tile.y0, tile.x0, tile.y1, tile.x1)
    share = (tile.shape[0] * tile.shape[1] if valid is None else int(valid.sum())) / size**2
    record: dict[str, Any] = {"id": tile.id, "block": tile.block, "valid": round(share, 4)}
    if share < work.options.min_valid:
        return record | {"left_out": "nodata" if share == 0 else "mostly_nodata"}
    mask = _mask(work, tile, valid)
    counted = int((mask != IGNORED).sum())
    if not counted:
        return record | {"left_out": "ignored"}
    files = {f"image/{tile.id}.{work.options.image_format}": _padded(image, size, 0)}
    write = write_jpeg if work.options.image_format == "jpg" else write_png
    for name, picture in files.items():
        write(work.folder / name, picture)
    names = [*files, f"mask/{tile.id}.png"]
    write_png(work.folder / names[-1], _padded(mask, size, IGNORED))
    record |= {"road": round(int((mask == ROAD).sum()) / counted, 5), "ignored": round(1 - counted / size**2, 4)}
    for folder, plane in (work.lidar.read(tile) if work.lidar is not None else {}).items():
        names.append(f"{folder}/{tile.id}.png")
        write_png(work.folder / names[-1], _padded(plane, size, 0))
    if work.points is not None:
        columns = work.points.read(tile)
        names.append(f"trajectory/{tile.id}.{work.options.points_format}")
        write_points(work.folder / names[-1], columns)
        record["points"] = len(columns["x"])
    return record | {"files": {name: digest_of(work.folder / name) for name in names}}


def _mask(work: _Work, tile: Tile, valid: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    road = np.zeros(tile.shape, np.bool_)
    for shapes in (work.roads, work.areas):
        if shapes is not None:
            road |= shapes.draw(work.grid, tile)
    mask = np.where(road, np.uint8(ROAD), np.uint8(0))
    if work.ignore is not None:
        mask[work.ignore.draw(work.grid, tile)] = IGNORED
    if valid is not None:
        mask[~valid] = IGNORED
    return mask


def _padded(plane: NDArray[np.uint8], size: int, value: int) -> NDArray[np.uint8]:
    """A plane of the last row or column, filled up to a whole tile."""
    below, right = size - plane.shape[0], size - plane.shape[1]
    if not below and not right:
        return np.ascontiguousarray(plane)
    return np.pad(plane, [(0, below), (0, right), (0, 0)][: plane.ndim], constant_values=value)


def _finish(
    work: _Work, scene: Scene, layout: TileLayout, journal: Journal, identity: dict[str, Any]
) -> dict[str, Any]:
    """Split, table, manifest and overview of all tiles."""
    from roadedge.roadmap.dataset.overview import write_overview

    records = [journal.done[tile.id] for tile in layout.tiles]
    kept = [record for record in records if "files" in record]
    if not kept:
        reasons = ", ".join(f"{name} {n}" for name, n in Counter(r["left_out"] for r in records).items())
        raise DataError(f"no tile of the scene is left ({reasons}); see --min-valid, --size and the zones to ignore")
    aside = choose_validation(Counter(r["block"] for r in kept), work.options.val_share, work.options.seed)
    split_of = {record["id"]: "val" if record["block"] in aside else "train" for record in kept}
    _write_table(work, kept, split_of)
    manifest = _manifest(work, scene, layout, records, split_of, identity)
    write_overview(work.folder, layout, split_of, work.options)
    write_json(work.folder / "manifest.json", manifest)
    return manifest


def _write_table(work: _Work, kept: list[dict[str, Any]], split_of: dict[str, str]) -> None:
    second = work.second
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "mask", *second, "split", "group", "gsd_m", "road_fraction", "valid_fraction"])
    for record in kept:
        files = {name.split("/")[0]: name for name in record["files"]}
        row = [files["image"], files["mask"], *(files[name] for name in second), split_of[record["id"]]]
        table.writerow([*row, record["block"], f"{work.grid.gsd_m:.6g}", record["road"], record["valid"]])
    write_text(work.folder / "split.csv", text.getvalue())


def _manifest(
    work: _Work, scene: Scene, layout: TileLayout, records: list[dict[str, Any]], split_of: dict[str, str],
    identity: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    grid = work.grid
    kept = [record for record in records if "files" in record]
    counted = [1 - record["ignored"] for record in kept]
    return {
        **identity,
        "grid": {
            "crs": grid.crs,
            "transform": list(grid.transform),
            "size": list(grid.size),
            "gsd_m": grid.gsd_m,
            "resampled": not grid.native,
            "scene_gsd_m": scene.gsd_m,
            "white": scene.white,
        },
        "block_m": layout.block_m,
        "blocks": len({record["block"] for record in kept}),
        "tiles": len(kept),
        "left_out": dict(Counter(record["left_out"] for record in records if "left_out" in record)),
        "split": dict(Counter(split_of.values())),
        "road_fraction": float(np.average([record["road"] for record in kept], weights=counted)),
        "points": sum(record["points"] for record in kept) if work.points is not None else None,
        "roads": work.roads.facts if work.roads is not None else None,
        "areas": work.areas.facts if work.areas is not None else None,
        "ignore": work.ignore.facts if work.ignore is not None else None,
        "lidar": work.lidar.facts if work.lidar is not None else None,
        "made_with": environment(),
        "files": {name: digest for record in kept for name, digest in record["files"].items()},
    }


def _inputs(order: PrepareOrder) -> dict[str, Any]:
    """Name and digest of each file that the data set is made of; raises DataError where one cannot be read."""
    named = {"roads": order.roads, "areas": order.areas, "ignore": order.ignore, "points": order.points}
    found: dict[str, Any] = {"scene": {path.name: _digest(path) for path in files_of(order.scene)}}
    found |= {name: {path.name: _digest(path)} for name, path in named.items() if path is not None}
    if order.lidar:
        inner = {path: sorted(path.glob("*.la[sz]")) if path.is_dir() else [path] for _, path in order.lidar}
        found["lidar"] = {f"{name}/{one.name}": _digest(one) for name, path in order.lidar for one in inner[path]}
    return found


def _digest(path: Path) -> str:
    try:
        return digest_of(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
