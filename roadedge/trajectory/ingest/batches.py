"""Files of points, a batch of rows at a time: what a reader yields, and which reader a file has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import PointsError, UnknownNameError
from roadedge.trajectory.ingest.cells import name_number
from roadedge.trajectory.ingest.options import SPEED_UNITS, IngestOptions
from roadedge.trajectory.points import Points
from roadedge.trajectory.readers import READERS

ROWS = 1 << 18  # of a batch


@dataclass(slots=True)
class Batch:
    """Rows of a file as they were written: `crs` None stands for longitude and latitude, else x, y are in that CRS.

    `dropped` counts rows that are not among them by reason, `unparsable` marks rows whose position is no number,
    `share` is how much of the file has been read.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    t_s: NDArray[np.float64] | None = None
    vid: NDArray[np.int64] | None = None
    speed_ms: NDArray[Any] | None = None
    heading_deg: NDArray[Any] | None = None
    crs: str | None = None
    unparsable: NDArray[np.bool_] | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    share: float = 0.0


Reader = Callable[[Path, IngestOptions], Iterator[Batch]]


def batches_of(path: Path, options: IngestOptions) -> Iterator[Batch]:
    """Read a file of any known format; raises PointsError where it cannot be read, MissingExtraError."""
    from roadedge.trajectory.ingest.csv_batches import csv_batches
    from roadedge.trajectory.ingest.parquet_batches import parquet_batches

    suffix = format_of(path, options)
    if suffix.startswith((".csv", ".txt")):
        yield from csv_batches(path, options)
    elif suffix == ".parquet":
        yield from parquet_batches(path, options)
    else:
        yield from _whole_file(path, suffix)


def format_of(path: Path, options: IngestOptions) -> str:
    """The key of `READERS` by `--format` or the file's name; raises PointsError where neither says."""
    name = path.name.lower()
    if options.file_format is not None:
        suffix = f".{options.file_format.lstrip('.')}" + (".gz" if name.endswith(".gz") else "")
        if suffix not in READERS:
            raise UnknownNameError("format", options.file_format, {key.split(".")[1] for key in READERS})
        return suffix
    found = next((key for key in sorted(READERS, key=len, reverse=True) if name.endswith(key)), None)
    if found is None:
        raise PointsError(
            f"{path} has no suffix of a file of points ({', '.join(sorted(READERS))}); say what it is: --format csv"
        )
    return found


def listed_files(paths: list[Path], options: IngestOptions) -> list[Path]:
    """The files among `paths`, and those of a known suffix in folders among them, each once.

    Raises:
        PointsError: one is missing, a folder holds none, a suffix is unknown, or one file is named twice.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            known = [p for p in inside if p.name.lower().endswith(tuple(READERS))]
            if not known:
                raise PointsError(f"the folder {path} holds no file of points; expected {', '.join(sorted(READERS))}")
            files += known
        elif not path.is_file():
            raise PointsError(f"there is no file {path}")
        else:
            format_of(path, options)
            files.append(path)
    seen: set[Path] = set()
    for path in files:
        if path.resolve() in seen:
            raise PointsError(f"{path} is named twice; its points would count double")
        seen.add(path.resolve())
    return files


def _whole_file(path: Path, suffix: str) -> Iterator[Batch]:
    """GPX and NMEA, which are small: by their readers, cut into batches; each segment or log is a trip of its own."""
    try:
        points = READERS[suffix](path)
    except PointsError as error:
        raise PointsError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    trips = _trip_numbers(points, path)
    rows = max(len(points), 1)
    for start in range(0, rows, ROWS):
        part = slice(start, start + ROWS)
        yield Batch(
            points.x[part],
            points.y[part],
            None if points.t_s is None else points.t_s[part],
            trips[part],
            None if points.speed_mps is None else points.speed_mps[part],
            dropped=dict(points.dropped) if start == 0 else {},
            share=min(1.0, (start + ROWS) / rows),
        )


def _trip_numbers(points: Points, path: Path) -> NDArray[np.int64]:
    """(N,) numbers that no other file's trips have: by the file's name and the segment's number within it."""
    within = np.zeros(len(points), np.int64) if points.vehicle is None else points.vehicle
    segments, inverse = np.unique(within, return_inverse=True)
    return np.array([trip_of_file(path, int(segment)) for segment in segments] or [-1], np.int64)[inverse]


def trip_of_file(path: Path, segment: int = 0) -> int:
    """The number of a trip that has a file, or a segment of one, to itself."""
    return name_number(f"{path.parent.name}/{path.name}#{segment}")


def speed_in_ms(values: NDArray[np.float64], options: IngestOptions) -> NDArray[np.float64]:
    """Speeds of a table in metres per second."""
    return values * SPEED_UNITS[options.speed_unit]
