"""`roadedge points ingest`: files of points → one store, sorted by place, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.atomic import replacing
from roadedge.errors import MissingExtraError, PointsError, UsageError
from roadedge.trajectory.ingest.batches import Batch, batches_of, listed_files, trip_of_file
from roadedge.trajectory.ingest.cleaning import Rows, Tally, clean
from roadedge.trajectory.ingest.ground import Ground, ground_of
from roadedge.trajectory.ingest.hints import hints_of
from roadedge.trajectory.ingest.motion import by_trip_and_time, derive_motion
from roadedge.trajectory.ingest.options import IngestOptions
from roadedge.trajectory.ingest.progress import Progress
from roadedge.trajectory.ingest.scratch import scratch_folder
from roadedge.trajectory.ingest.summary import Summary
from roadedge.trajectory.ingest.tile_sort import TileSort
from roadedge.trajectory.ingest.trip_buckets import TripBuckets
from roadedge.trajectory.point_store import COLUMNS
from roadedge.trajectory.store_writer import ROW_GROUP, StoreWriter, default_tile

Tell = Callable[[str], None]


@dataclass(slots=True)
class _Intake:
    """What the reading of all files has led to so far."""

    options: IngestOptions
    progress: Progress
    ground: Ground | None = None
    tile: float = 0.0
    tally: Tally = field(default_factory=Tally)
    sources: list[dict[str, Any]] = field(default_factory=list)


def ingest(
    files: list[Path], output: str | Path, options: IngestOptions | None = None, overwrite: bool = False,
    tell: Tell | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Sort files of points into a store.

    Rows are read in batches, cleaned, brought together by trip where speed or heading has to be derived, sorted by tile
    in runs on disk and merged. Memory holds a few million rows at a time, whatever the size of the files.

    Args:
        files: tables, logs, or folders of them.
        output: the store, a `.parquet`; temporary files lie beside it.
        options: how to read and sort.
        overwrite: replace a store that is there.
        tell: takes lines about the progress.

    Returns:
        The store's metadata (`PointStore.info`) with `hints`, sentences about what looks wrong.

    Raises:
        UsageError: the output is there, is an input, or options do not go with the files.
        PointsError: a file cannot be read, or no row of all is usable.
        OutputError: the disk is full; nothing is left behind.
        MissingExtraError: a format's library is not installed.
    """
    options = options or IngestOptions()
    output = Path(output)
    listed = listed_files(files, options)
    _check_output(output, listed, overwrite)
    progress = Progress(tell)
    intake = _Intake(options, progress)
    try:
        with scratch_folder(output) as folder, replacing(output) as temporary:
            trips = TripBuckets(folder, options.rows_in_memory)
            tiles: TileSort | None = None
            progress.phase("reading")
            for rows, unknown_motion in _cleaned(listed, intake):
                tiles = tiles or TileSort(folder, intake.tile, options.rows_in_memory)
                known = rows["vid"] != -1 if unknown_motion else np.zeros(len(rows), np.bool_)
                trips.add(rows[known])
                tiles.add(rows[~known])
            _check_any(intake, listed)
            assert tiles is not None
            assert intake.ground is not None
            summary = Summary(intake.tile)
            _derive(trips, tiles, intake, summary)
            return _write(temporary, tiles, intake, summary)
    finally:
        progress.done()


def _check_output(output: Path, files: list[Path], overwrite: bool) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("pyarrow", "points", "a store of points") from error
    if output.suffix.lower() != ".parquet":
        raise UsageError(f"a store of points is a Parquet file; give -o NAME.parquet, got {output}")
    if output.exists() and output.resolve() in {path.resolve() for path in files}:
        raise UsageError(f"{output} is one of the files to read; choose another -o/--output")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} is there already; choose another -o/--output or pass --overwrite")


def _cleaned(files: list[Path], intake: _Intake) -> Iterator[tuple[Rows, bool]]:
    """Good rows, batch by batch, and whether their speed or heading can be derived from their trip."""
    sizes = [max(path.stat().st_size, 1) for path in files]
    total, before = sum(sizes), 0
    for path, size in zip(files, sizes, strict=True):
        rows_before, kept_before = intake.tally.rows, intake.tally.kept
        source: dict[str, Any] = {"name": path.name, "bytes": size, "sha256": _digest(path)}
        try:
            for batch, rows in _rows_of(path, intake):
                known = batch.speed_ms is not None and batch.heading_deg is not None
                yield rows, batch.vid is not None and batch.t_s is not None and not known
                intake.progress.at(intake.tally.rows, (before + size * batch.share) / total)
        except PointsError as error:
            if not intake.options.keep_going:
                raise
            source["failed"] = str(error)
        before += size
        source |= {"rows": intake.tally.rows - rows_before, "kept": intake.tally.kept - kept_before}
        intake.sources.append(source)


def _rows_of(path: Path, intake: _Intake) -> Iterator[tuple[Batch, Rows]]:
    """The batches of a file and their good rows."""
    for batch in batches_of(path, intake.options):
        _settle_ground(intake, batch, path)
        assert intake.ground is not None
        if intake.options.trip_per_file:
            batch.vid = np.full(len(batch.x), trip_of_file(path), np.int64)
        yield batch, clean(batch, intake.ground, intake.options, intake.tile, intake.tally, path)


def _settle_ground(intake: _Intake, batch: Batch, path: Path) -> None:
    """The first batch says what the store is in; the others must agree."""
    ground = ground_of(batch.crs, intake.options.datum)
    if intake.ground is None:
        intake.ground = ground
        intake.tile = intake.options.tile or default_tile(ground.crs)
    elif ground.crs != intake.ground.crs:
        raise UsageError(
            f"{path} is in {ground.crs[:60]} and the files before it in {intake.ground.crs[:60]}; a store has one CRS: "
            "make one of each kind"
        )
    elif ground != intake.ground:
        intake.ground = ground


def _check_any(intake: _Intake, files: list[Path]) -> None:
    tally = intake.tally
    if tally.kept:
        return
    reasons = ", ".join(f"{name} {count}" for name, count in sorted(tally.dropped.items()))
    failed = [source["failed"] for source in intake.sources if "failed" in source]
    if failed and len(failed) == len(files):
        raise PointsError(f"none of the {len(files)} files can be read: {failed[0]}")
    read = f"{len(files)} files" if len(files) > 1 else str(files[0])
    if not tally.rows:
        raise PointsError(f"{read} hold no rows of points")
    raise PointsError(f"none of the {tally.rows} rows of {read} is usable (left out: {reasons})")


def _derive(trips: TripBuckets, tiles: TileSort, intake: _Intake, summary: Summary) -> None:
    """Fill in speed and heading trip by trip, and pass the rows on."""
    assert intake.ground is not None
    intake.progress.phase("speed and heading by trip")
    done = 0
    for rows, whole in trips.buckets():
        if whole:
            rows = by_trip_and_time(rows)
            summary.add_trips(rows, *derive_motion(rows, intake.ground, intake.options.max_gap_s))
        else:
            intake.tally.noted["trip_too_long"] += len(rows)
        tiles.add(rows)
        done += len(rows)
        intake.progress.at(done, done / trips.rows)


def _write(temporary: Path, tiles: TileSort, intake: _Intake, summary: Summary) -> dict[str, Any]:
    """Merge the runs into the file, full row groups at a time."""
    assert intake.ground is not None
    intake.progress.phase("sorting by tile and writing")
    writer = StoreWriter(temporary, intake.ground.crs, intake.tile)
    try:
        held: Rows | None = None
        for keys, piece in tiles.pieces():
            summary.add(keys, piece)
            rows = piece if held is None else np.concatenate([held, piece])
            full = len(rows) // ROW_GROUP * ROW_GROUP
            if full:
                writer.write({name: rows[name][:full] for name in COLUMNS})
            held = rows[full:].copy()
            intake.progress.at(writer.rows, writer.rows / tiles.rows)
        if held is not None and len(held):
            writer.write({name: held[name] for name in COLUMNS})
        more = summary.metadata(intake.tally, intake.sources, intake.options)
        hints = hints_of(intake.tally, intake.ground.crs, summary.box)
        return {**writer.finish({**more, "hints": hints})}
    except BaseException:
        writer.abandon()
        raise


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
