"""CSV tables of points: comma, semicolon, tab or blanks, packed with gzip or not.

Small files are read in plain Python at once. Large ones by pyarrow where installed, some fourteen times faster and with
the same values; what pyarrow does not take whole goes the plain way, which counts the bad rows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import PointsError
from roadedge.trajectory.columns import EXPECTED, Layout, lay_out
from roadedge.trajectory.files import opened_text
from roadedge.trajectory.iso_time import iso_seconds
from roadedge.trajectory.points import Points

LARGE_BYTES = 1 << 20  # from here on importing pyarrow pays
ABSENT = ("", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None")
_ROWS = 1 << 16  # at a time on the plain way
_Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Table:
    """How a file is to be read: `delimiter` None stands for any blanks; `first` is the first row of data."""

    layout: Layout
    delimiter: str | None
    header: bool
    width: int
    first: tuple[str, ...]


def read_csv(path: Path) -> Points:
    """Read a table with a header (columns as in columns.SPELLINGS), or blank-separated `x y [t]` without one.

    Columns x, y are taken as pixels, lon, lat as degrees of WGS 84, those without a header as metres of a "local"
    plane. Times are seconds, or ISO 8601 (UTC where no zone is said). A cell that is no number is NaN; rows with a
    wrong number of columns or without coordinates are counted in `dropped`.

    Raises:
        PointsError: the file cannot be read or has other columns; the message lists found and expected.
    """
    path = Path(path)
    with opened_text(path) as text:
        table = _inspect(text, path)
    columns: _Columns | None = None
    dropped: dict[str, int] = {}
    if path.stat().st_size >= LARGE_BYTES and table.delimiter is not None:
        columns, dropped = _read_fast(path, table)
    if columns is None:
        columns, dropped = _read_plain(path, table)
    return Points.checked(columns, table.layout.crs, dropped)


def _inspect(text: io.TextIOWrapper, path: Path) -> _Table:
    lines = islice((line for line in text if line.strip()), 2)
    line = next(lines, "")
    delimiter = next((mark for mark in ("\t", ";", ",") if mark in line), None)
    names = _split(line, delimiter)
    if not all(_is_number(name) for name in names):
        first = tuple(_split(next(lines, ""), delimiter))
        return _Table(lay_out(names, path), delimiter, True, len(names), first)
    if delimiter is not None or len(names) not in (2, 3):
        raise PointsError(f"{path} has no header, its first row is {line.strip()[:80]!r}; expected {EXPECTED}")
    fields = dict(zip(("x", "y", "t_s"), range(len(names)), strict=False))
    return _Table(Layout(fields, "local"), None, False, len(names), tuple(names))


def _read_plain(path: Path, table: _Table) -> tuple[_Columns, dict[str, int]]:
    """Row by row, in blocks, so that memory goes to numbers and not to text."""
    wrong = 0
    blocks: dict[str, list[Any]] = {field: [] for field in table.layout.fields}
    try:
        with opened_text(path) as text:
            rows = _rows(text, table)
            while block := list(islice(rows, _ROWS)):
                good = [row for row in block if len(row) == table.width]
                wrong += len(block) - len(good)
                cells = list(zip(*good, strict=True)) or [()] * table.width
                for field, position in table.layout.fields.items():
                    column = cells[position]
                    blocks[field].append(column if field == "vehicle" else _numbers(column, field == "t_s"))
    except csv.Error as error:
        raise PointsError(f"{path} is not a readable table ({error}); expected {EXPECTED}") from error
    columns = {f: _vehicles(b) if f == "vehicle" else np.concatenate([np.zeros(0), *b]) for f, b in blocks.items()}
    return columns, {"wrong_columns": wrong} if wrong else {}


def _rows(text: io.TextIOWrapper, table: _Table) -> Iterator[Sequence[str]]:
    split = (line.split() for line in text) if table.delimiter is None else csv.reader(text, delimiter=table.delimiter)
    rows = (row for row in split if row)
    if table.header:
        next(rows)
    return rows


def _numbers(cells: Sequence[str], time: bool) -> NDArray[np.float64]:
    """The cells as float64; one that is no number becomes NaN."""
    try:
        return np.array([float(cell) for cell in cells], np.float64)
    except ValueError:
        return np.array([_number(cell.strip(), time) for cell in cells], np.float64)


def _number(cell: str, time: bool) -> float:
    try:
        return iso_seconds(cell) if time and not _is_number(cell) else float(cell)
    except ValueError:
        return float("nan")


def _vehicles(blocks: list[list[str]]) -> NDArray[np.int64]:
    """Whole numbers as they are (-1 where absent); any other names by the order of their first row."""
    cells = [cell.strip() for block in blocks for cell in block]
    try:
        return np.array([-1 if cell in ABSENT else int(cell) for cell in cells], np.int64)
    except (ValueError, OverflowError):
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(cell, len(numbers)) for cell in cells], np.int64)


def _read_fast(path: Path, table: _Table) -> tuple[_Columns | None, dict[str, int]]:
    """By pyarrow; None where it is not installed or a cell is not what the first row made us expect."""
    try:
        import pyarrow as pa
        from pyarrow import csv as arrow
    except ImportError:
        return None, {}
    wrong = 0

    def skip(_: Any) -> str:
        nonlocal wrong
        wrong += 1
        return "skip"

    names = [f"column {i}" for i in range(table.width)]
    wanted = {field: names[i] for field, i in table.layout.fields.items()}
    types = {name: _arrow_type(field, table) for field, name in wanted.items()}
    try:
        read = arrow.read_csv(
            path,
            read_options=arrow.ReadOptions(column_names=names, skip_rows=1 if table.header else 0),
            parse_options=arrow.ParseOptions(delimiter=table.delimiter, invalid_row_handler=skip),
            convert_options=arrow.ConvertOptions(
                column_types=types, include_columns=list(wanted.values()), null_values=list(ABSENT)
            ),
        )
    except (pa.ArrowException, OSError):
        return None, {}
    columns = {field: arrow_column(read[name], field) for field, name in wanted.items()}
    return columns, {"wrong_columns": wrong} if wrong else {}


def _arrow_type(field: str, table: _Table) -> Any:
    import pyarrow as pa

    position = table.layout.fields[field]
    cell = table.first[position].strip() if position < len(table.first) else ""
    if field == "vehicle":
        return pa.int64() if cell in ABSENT or cell.lstrip("-").isdigit() else pa.string()
    if field == "t_s" and cell and cell not in ABSENT and not _is_number(cell):
        zoned = cell.endswith("Z") or "+" in cell
        return pa.timestamp("us", "UTC" if zoned else None)
    return pa.float64()


def arrow_column(column: Any, field: str) -> NDArray[Any]:
    """A pyarrow column → the NumPy column of `Points`: seconds from timestamps, NaN or -1 where a cell is null.

    Raises:
        pyarrow.ArrowException: the type has no such meaning.
    """
    import pyarrow as pa
    from pyarrow import compute

    if field == "vehicle":
        if pa.types.is_integer(column.type):
            return np.asarray(compute.fill_null(column.cast(pa.int64()), -1).to_numpy(), np.int64)
        text = compute.fill_null(column.cast(pa.string()), "").combine_chunks()
        return np.asarray(text.dictionary_encode().indices.to_numpy(), np.int64)
    if field == "t_s" and pa.types.is_string(column.type):
        cells = column.to_pylist()
        return _numbers([cell or "" for cell in cells], True)
    if pa.types.is_timestamp(column.type):
        microseconds = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
        return np.asarray(compute.divide(microseconds.cast(pa.float64()), 1e6).to_numpy(), np.float64)
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def _split(line: str, delimiter: str | None) -> list[str]:
    return line.split() if delimiter is None else next(csv.reader([line], delimiter=delimiter), [])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
