"""What `roadedge points ingest` can be told."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from roadedge.errors import UnknownNameError, UsageError
from roadedge.trajectory.datum import DATUMS

FIELDS = ("x", "y", "lon", "lat", "t", "vid", "speed", "heading")
SPEED_UNITS = {"ms": 1.0, "kmh": 1 / 3.6, "mph": 0.44704, "knots": 1852 / 3600}  # in metres per second
TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
MAX_GAP_S = 60.0
ROWS_IN_MEMORY = 2_000_000  # of one run: 96 MB, and about twice that while it is sorted


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How files of points are read and sorted.

    `crs` is that of columns x, y; `columns` maps a name of `FIELDS` to a column's name in the files; `header` names the
    columns of tables without a header. `box` (x0, y0, x1, y1, in the store's CRS) leaves out what lies beyond it. Speed
    and heading are derived between points of a trip that are at most `max_gap_s` apart. `tile` is the side of the tiles
    that rows are sorted by, in the unit of the store's CRS. With `keep_going` a file that cannot be read is named under
    `failed` and the others are read.
    """

    crs: str | None = None
    datum: str = "wgs84"
    columns: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    file_format: str | None = None
    trip_per_file: bool = False
    swap_xy: bool = False
    speed_unit: str = "ms"
    time_unit: str = "s"
    box: tuple[float, float, float, float] | None = None
    max_gap_s: float = MAX_GAP_S
    tile: float | None = None
    rows_in_memory: int = ROWS_IN_MEMORY
    keep_going: bool = False

    def __post_init__(self) -> None:
        checks: list[tuple[str, str, Collection[str]]] = [
            ("datum", self.datum, DATUMS),
            ("speed unit", self.speed_unit, SPEED_UNITS),
            ("time unit", self.time_unit, TIME_UNITS),
            *(("field of points", name, FIELDS) for name in self.columns),
        ]
        for kind, name, known in checks:
            if name not in known:
                raise UnknownNameError(kind, name, known)
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if not (x0 < x1 and y0 < y1 and all(map(math.isfinite, self.box))):
                raise UsageError(f"--box needs x0,y0,x1,y1 with x0 < x1 and y0 < y1, got {self.box}")
        if not 0 <= self.max_gap_s < math.inf:
            raise UsageError(f"--max-gap needs seconds, 0 or more, got {self.max_gap_s}")
        if self.tile is not None and not 0 < self.tile < math.inf:
            raise UsageError(f"--tile needs a positive side, got {self.tile}")
        if self.rows_in_memory < 1000:
            raise UsageError(f"at least 1000 rows are sorted at a time, got {self.rows_in_memory}")


def parse_columns(pairs: list[str]) -> dict[str, str]:
    """`["lon=POS_X", ...]` → {"lon": "POS_X", ...}; raises UsageError where a pair is none."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, mark, column = pair.partition("=")
        if not mark or not column:
            raise UsageError(f"--column needs FIELD=NAME, such as lon=POS_X, got {pair!r}")
        if name in found:
            raise UsageError(f"--column names {name} twice: {found[name]} and {column}")
        found[name] = column
    return found


def parse_box(text: str | None) -> tuple[float, float, float, float] | None:
    """`"x0,y0,x1,y1"` → four numbers; raises UsageError."""
    if text is None:
        return None
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--box needs four numbers x0,y0,x1,y1, got {text!r}") from error
    return x0, y0, x1, y1
