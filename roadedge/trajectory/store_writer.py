"""Writing a store of points: rows that come in the order of `tile_order`, cut into row groups. Extra `points`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import replacing
from roadedge.errors import MissingExtraError, ShapeError, UsageError
from roadedge.trajectory.point_store import COLUMNS, DTYPES, LONLAT, METADATA_KEY, SCHEMA_VERSION, UNKNOWN
from roadedge.trajectory.tile_order import LARGEST_TILE, tile_keys

ROW_GROUP = 32_768
LONLAT_TILE_DEG = 360 / 2**16  # 611 m at the equator
PROJECTED_TILE = 512.0  # units of the CRS

Columns = dict[str, NDArray[Any]]


def default_tile(crs: str) -> float:
    """Side of the tiles that a store in `crs` is sorted by, in its unit."""
    return LONLAT_TILE_DEG if crs == LONLAT else PROJECTED_TILE


class StoreWriter:
    """An open Parquet file that takes sorted rows; `finish` writes the footer with what is known of the whole."""

    def __init__(self, path: Path, crs: str, tile: float, row_group: int = ROW_GROUP) -> None:
        """Begin a file; the caller renames it into place (atomic.replacing)."""
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError("pyarrow", "points", "writing a store of points") from error
        self._schema = pa.schema([(name, pa.from_numpy_dtype(DTYPES[name])) for name in COLUMNS])
        self._crs, self._tile, self._row_group = crs, tile, row_group
        self.rows = 0
        self._known: set[str] = set()
        self._writer = parquet.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=["vid"],
            use_byte_stream_split=["x", "y", "t_s", "speed_ms", "heading_deg"],
            write_page_checksum=True,
        )

    def write(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows, sorted after those before; each call begins a row group, so give many rows at a time."""
        import pyarrow as pa

        arrays: list[NDArray[Any]] = [np.asarray(columns[name], DTYPES[name]) for name in COLUMNS]
        for name, array in zip(COLUMNS, arrays, strict=True):
            if name in UNKNOWN and name not in self._known:
                known = array != -1 if name == "vid" else ~np.isnan(array)
                if known.any():
                    self._known.add(name)
        self._writer.write_table(pa.table(arrays, schema=self._schema), row_group_size=self._row_group)
        self.rows += len(arrays[0])

    def finish(self, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Write the footer and close; `more` goes into the metadata beside what the writer knows, which is returned."""
        info = {
            "schema_version": SCHEMA_VERSION,
            "crs": self._crs,
            "tile": self._tile,
            "rows": self.rows,
            "attributes": [name for name in UNKNOWN if name in self._known],
            **(more or {}),
        }
        self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(info, allow_nan=False)})
        self._writer.close()
        return info

    def abandon(self) -> None:
        """Close without a footer, after an error; never fails."""
        import contextlib

        with contextlib.suppress(Exception):  # the first error counts, and the file is thrown away
            self._writer.close()


def write_store(
    path: str | Path,
    columns: Mapping[str, NDArray[Any]],
    crs: str,
    tile: float | None = None,
    row_group: int = ROW_GROUP,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write points that fit into memory as a store, whole or not at all.

    Args:
        path: of the Parquet file.
        columns: x, y (N,) and any of t_s, vid, speed_ms, heading_deg, as in `StoredPoints`.
        crs: "OGC:CRS84" for longitude and latitude, else a projected CRS.
        tile: side of the tiles that the rows are sorted by, in the unit of the CRS.
        row_group: most rows of a row group.
        overwrite: replace a file that is there.

    Returns:
        The store's metadata.

    Raises:
        ShapeError: columns of different lengths, or x, y that are not finite or absurdly far from 0.
        UsageError: the file is there.
        OutputError: it cannot be written.
    """
    side = tile or default_tile(crs)
    x, y = (np.asarray(columns[name], np.float64) for name in ("x", "y"))
    rows = _filled(columns, len(x))
    if len(x) and not (np.abs(np.concatenate([x, y])) < LARGEST_TILE * side).all():
        raise ShapeError("x and y of a store must be finite; take the rows without a position out")
    if Path(path).exists() and not overwrite:
        raise UsageError(f"{path} is there already; choose another -o/--output or pass --overwrite")
    order = np.argsort(tile_keys(x, y, side), kind="stable")
    with replacing(path) as temporary:
        writer = StoreWriter(temporary, crs, side, row_group)
        try:
            if len(x):
                writer.write({name: column[order] for name, column in rows.items()})
            return writer.finish()
        except BaseException:
            writer.abandon()
            raise


def _filled(columns: Mapping[str, NDArray[Any]], length: int) -> Columns:
    """All columns of a store, unknown ones filled."""
    filled: Columns = {}
    for name in COLUMNS:
        given = columns.get(name)
        column: NDArray[Any] = (
            np.full(length, UNKNOWN[name], DTYPES[name]) if given is None else np.asarray(given, DTYPES[name])
        )
        if column.shape != (length,):
            raise ShapeError(f"columns of points must be of one length; x has {length}, {name} {column.shape}")
        filled[name] = column
    return filled
