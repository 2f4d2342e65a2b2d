"""A store of points: one Parquet file sorted by place, any box of which is read in milliseconds. Extra `points`.

The rows stand in the order of `tile_order`; the least and greatest x and y of each row group are in the file's footer,
so that a box reads only the row groups that touch it. What decoded last is kept, since neighbouring tiles share groups.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import MissingExtraError, PointsError, UsageError

if TYPE_CHECKING:
    from typing_extensions import Self

METADATA_KEY = "roadedge:points"
SCHEMA_VERSION = 1
LONLAT = "OGC:CRS84"
COLUMNS = ("x", "y", "t_s", "vid", "speed_ms", "heading_deg")
CACHE_BYTES = 64 << 20  # of decoded columns


@dataclass(frozen=True, slots=True, eq=False)
class StoredPoints:
    """Points of a store in columns of one length N.

    `x`, `y` in the store's CRS; `t_s` seconds (NaN unknown), `vid` the vehicle or trip (-1 unknown), `speed_ms` metres
    per second and `heading_deg` degrees clockwise from north in [0, 360) (both NaN unknown).
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    t_s: NDArray[np.float64]
    vid: NDArray[np.int64]
    speed_ms: NDArray[np.float32]
    heading_deg: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.x)

    def xy(self) -> NDArray[np.float64]:
        """(N, 2) x, y: a copy."""
        return np.stack([self.x, self.y], axis=1)

    def select(self, rows: NDArray[Any]) -> StoredPoints:
        """The rows that a mask (N,) bool or an index array picks."""
        return StoredPoints(*(getattr(self, field.name)[rows] for field in fields(self)))


DTYPES: dict[str, type] = {
    "x": np.float64, "y": np.float64, "t_s": np.float64, "vid": np.int64, "speed_ms": np.float32,
    "heading_deg": np.float32,
}  # fmt: skip
UNKNOWN: dict[str, float] = {"t_s": np.nan, "vid": -1, "speed_ms": np.nan, "heading_deg": np.nan}


class PointStore:
    """An open store. Threads may share one; other processes open their own (it is pickled by its path)."""

    def __init__(self, path: str | Path) -> None:
        """Open `path`; raises as `open`."""
        self.path = Path(path)
        self._file = _opened(self.path)
        try:
            self.info = _info(self._file, self.path)
            self._boxes, self._counts = _group_boxes(self._file)
        except BaseException:
            self._file.close()
            raise
        self._kept: OrderedDict[tuple[int, str], NDArray[Any]] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str | Path) -> PointStore:
        """Open a store that `roadedge points ingest` or `write_store` made.

        Raises:
            MissingExtraError: pyarrow is not installed.
            PointsError: the file is missing, cut short, or no store.
        """
        return cls(path)

    @property
    def rows(self) -> int:
        """Number of points."""
        return int(self._counts.sum())

    @property
    def crs(self) -> str:
        """What x and y are in: "OGC:CRS84" for longitude and latitude, else a projected CRS."""
        return str(self.info["crs"])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Least x, y and greatest x, y of all points; NaN of an empty store."""
        if not len(self._boxes):
            return (float("nan"),) * 4
        low, high = self._boxes[:, :2].min(axis=0), self._boxes[:, 2:].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def attributes(self) -> tuple[str, ...]:
        """Which of t_s, vid, speed_ms, heading_deg are known for at least one point."""
        return tuple(self.info["attributes"])

    @property
    def row_groups(self) -> int:
        """Number of row groups."""
        return len(self._counts)

    def read(self, x0: float, y0: float, x1: float, y1: float, columns: Sequence[str] | None = None) -> StoredPoints:
        """The points of a box, its borders included, in the order of the store.

        Args:
            x0: least x, in the store's CRS. Of longitudes x0 > x1 is a box across the antimeridian.
            y0: least y.
            x1: greatest x.
            y1: greatest y.
            columns: those wanted beside x, y; others are filled as unknown, which is faster. None: all.

        Raises:
            UsageError: a box with x0 > x1 or y0 > y1 or a bound that is no number, or an unknown column.
            PointsError: the file's content is damaged.
        """
        wanted = _wanted(columns)
        if x0 > x1 and self.crs == LONLAT:
            return _joined([self.read(x0, y0, 180.0, y1, columns), self.read(-180.0, y0, x1, y1, columns)])
        if not (x0 <= x1 and y0 <= y1):
            raise UsageError(f"a box needs x0 <= x1 and y0 <= y1, got {x0}, {y0}, {x1}, {y1}")
        parts = []
        for group in self._groups_of(x0, y0, x1, y1):
            xy = self._columns(group, ("x", "y"))
            x, y = xy["x"], xy["y"]
            inside = np.flatnonzero((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))
            if len(inside):
                parts.append(self._picked(group, inside, wanted))
        return _joined(parts)

    def groups_of(self, x0: float, y0: float, x1: float, y1: float) -> int:
        """How many row groups a box touches: what reading it costs."""
        return len(self._groups_of(x0, y0, x1, y1))

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[StoredPoints]:
        """All points, one row group after the other: a walk over the whole in bounded memory; raises as `read`."""
        wanted = _wanted(columns)
        for group in range(self.row_groups):
            yield self._picked(group, np.arange(self._counts[group]), wanted, keep=False)

    def close(self) -> None:
        """Close the file; twice is no error."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return PointStore, (self.path,)

    def _groups_of(self, x0: float, y0: float, x1: float, y1: float) -> list[int]:
        low_x, low_y, high_x, high_y = self._boxes.T
        touched: list[int] = np.flatnonzero((low_x <= x1) & (high_x >= x0) & (low_y <= y1) & (high_y >= y0)).tolist()
        return touched

    def _picked(self, group: int, rows: NDArray[np.intp], wanted: Sequence[str], keep: bool = True) -> StoredPoints:
        known = [name for name in COLUMNS if name in wanted and (name in ("x", "y") or name in self.attributes)]
        columns = {name: values[rows] for name, values in self._columns(group, known, keep).items()}
        for name in COLUMNS:
            if name not in columns:
                columns[name] = np.full(len(rows), UNKNOWN[name], DTYPES[name])
        return StoredPoints(**columns)

    def _columns(self, group: int, names: Sequence[str], keep: bool = True) -> dict[str, NDArray[Any]]:
        """Columns of a row group, as kept or decoded."""
        with self._lock:
            found = {name: self._kept[group, name] for name in names if (group, name) in self._kept}
            missing = [name for name in names if name not in found]
            found |= self._decoded(group, missing) if missing else {}
            for name in names if keep else ():
                if name in missing:
                    self._kept[group, name] = found[name]
                    self._kept_bytes += found[name].nbytes
                self._kept.move_to_end((group, name))
            while self._kept_bytes > CACHE_BYTES and len(self._kept) > 1:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
            return found

    def _decoded(self, group: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        import pyarrow as pa

        try:
            table = self._file.read_row_group(group, columns=list(names), use_threads=False)
            return {name: np.asarray(table[name].to_numpy(), DTYPES[name]) for name in names}
        except (pa.ArrowException, OSError, ValueError) as error:
            raise PointsError(
                f"{self.path} is damaged in row group {group} ({_first_line(error)}); copy it again, or make it anew "
                "with roadedge points ingest"
            ) from error


def _wanted(columns: Sequence[str] | None) -> tuple[str, ...]:
    unknown = [name for name in columns or () if name not in COLUMNS]
    if unknown:
        raise UsageError(f"a store has no column {unknown[0]!r}; choose from {', '.join(COLUMNS)}")
    return COLUMNS if columns is None else ("x", "y", *columns)


def _joined(parts: Sequence[StoredPoints]) -> StoredPoints:
    if len(parts) == 1:
        return parts[0]
    empty: dict[str, NDArray[Any]] = {name: np.zeros(0, DTYPES[name]) for name in COLUMNS}
    return StoredPoints(**{name: np.concatenate([empty[name], *(getattr(p, name) for p in parts)]) for name in COLUMNS})


def _opened(path: Path) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "points", "reading a store of points") from error
    if not path.is_file():
        raise PointsError(f"there is no file {path}; make a store of points with roadedge points ingest")
    try:
        return parquet.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise PointsError(
            f"{path} is cut short or no Parquet file ({path.stat().st_size} bytes: {_first_line(error)}); "
            "copy it again, or make it anew with roadedge points ingest"
        ) from error


def _info(file: Any, path: Path) -> dict[str, Any]:
    """What `ingest` wrote about the store."""
    written = (file.metadata.metadata or {}).get(METADATA_KEY.encode())
    if written is None or [name for name in COLUMNS if name not in file.schema_arrow.names]:
        raise PointsError(f"{path} is a table, not a store of points; make one: roadedge points ingest {path} -o …")
    info: dict[str, Any] = json.loads(written)
    if info.get("schema_version") != SCHEMA_VERSION:
        raise PointsError(
            f"{path} is a store of version {info.get('schema_version')}, this roadedge reads {SCHEMA_VERSION}; "
            "make it anew with roadedge points ingest"
        )
    return info


def _group_boxes(file: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(G, 4) least x, y, greatest x, y and (G,) rows of each row group, from the footer."""
    metadata = file.metadata
    place = {metadata.schema.column(i).name: i for i in range(metadata.num_columns)}
    boxes = np.zeros((metadata.num_row_groups, 4))
    counts = np.zeros(metadata.num_row_groups, np.int64)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        counts[number] = group.num_rows
        x, y = group.column(place["x"]).statistics, group.column(place["y"]).statistics
        boxes[number] = x.min, y.min, x.max, y.max
    return boxes, counts


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
