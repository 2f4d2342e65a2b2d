"""Parquet of any size, batch by batch: tables with columns of coordinates, GeoParquet points, and stores of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import MissingExtraError, PointsError
from roadedge.trajectory.ingest.batches import ROWS, Batch
from roadedge.trajectory.ingest.csv_batches import batch_of
from roadedge.trajectory.ingest.options import IngestOptions
from roadedge.trajectory.ingest.table import TableColumns, find_columns
from roadedge.trajectory.point_store import LONLAT, METADATA_KEY

_BUFFER_BYTES = 1 << 20  # read ahead per column, instead of whole column chunks, which may be the whole file
_WKB_POINT = np.dtype([("order", "u1"), ("type", "<u4"), ("x", "<f8"), ("y", "<f8")])


def parquet_batches(path: Path, options: IngestOptions) -> Iterator[Batch]:
    """Read a Parquet file.

    Raises:
        PointsError: it is cut short, damaged, or has no columns of points.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "points", "reading Parquet") from error
    try:
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            yield from _rows(file, path, options)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, PointsError):
            raise
        said = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise PointsError(f"{path} is cut short, damaged or no Parquet file ({said}); copy it again") from error


def _rows(file: Any, path: Path, options: IngestOptions) -> Iterator[Batch]:
    names = list(file.schema_arrow.names)
    metadata = file.metadata.metadata or {}
    geometry: str | None = None
    try:
        found = find_columns(names, path, options)
        places, crs = found.places, _store_crs(metadata, found, options)
    except PointsError:
        geometry, crs = _geometry(metadata, names, path)
        if geometry is None:
            raise
        found = find_columns([*names, "lon", "lat"], path, options)
        places = {name: i for name, i in found.places.items() if i < len(names)}
    wanted = sorted({*(names[i] for i in places.values()), *([geometry] if geometry else [])})
    rows, done = max(file.metadata.num_rows, 1), 0
    for part in file.iter_batches(batch_size=ROWS, columns=wanted, use_threads=False):
        done += part.num_rows
        columns = {name: part.column(part.schema.get_field_index(names[i])) for name, i in places.items()}
        if geometry is not None:
            columns |= _coordinates(part.column(part.schema.get_field_index(geometry)), path)
        batch = batch_of(columns, found, options, {}, done / rows)
        batch.crs = crs
        yield batch


def _store_crs(metadata: dict[bytes, bytes], found: TableColumns, options: IngestOptions) -> str | None:
    """What x, y are: as the columns' names and --crs say, and of a store of our own as it says itself."""
    if METADATA_KEY.encode() in metadata and options.crs is None:
        stored = str(json.loads(metadata[METADATA_KEY.encode()])["crs"])
        return None if stored == LONLAT else stored
    return None if found.geographic else options.crs or ""


def _geometry(metadata: dict[bytes, bytes], names: list[str], path: Path) -> tuple[str | None, str | None]:
    """The column of WKB points of a GeoParquet file and its CRS (None: longitude and latitude), where it is one."""
    if b"geo" not in metadata:
        return None, None
    geo = json.loads(metadata[b"geo"])
    name = geo.get("primary_column", "geometry")
    column = geo.get("columns", {}).get(name, {})
    if name not in names:
        return None, None
    kinds = column.get("geometry_types", [])
    if column.get("encoding", "WKB") != "WKB" or not set(kinds) <= {"Point"}:
        raise PointsError(f"{path} is GeoParquet of {kinds or column.get('encoding')}; expected points in WKB")
    crs = column.get("crs")
    if crs is None or crs.get("type", "").startswith("Geographic"):
        return name, None
    return name, json.dumps(crs)


def _coordinates(column: Any, path: Path) -> dict[str, Any]:
    """WKB of points with two coordinates each → arrow columns x, y; null and empty ones are NaN."""
    import pyarrow as pa

    cells: list[bytes | None] = column.to_pylist()
    blank = b"\x01\x01\x00\x00\x00" + np.array([np.nan, np.nan], "<f8").tobytes()
    filled = [blank if cell is None else cell for cell in cells]
    if any(len(cell) != _WKB_POINT.itemsize or cell[:5] != blank[:5] for cell in filled):
        raise PointsError(
            f"{path} holds geometries that are no points with x and y in little-endian WKB; export them so"
        )
    points: NDArray[Any] = np.frombuffer(b"".join(filled), _WKB_POINT)
    return {"x": pa.array(points["x"].astype(np.float64)), "y": pa.array(points["y"].astype(np.float64))}
