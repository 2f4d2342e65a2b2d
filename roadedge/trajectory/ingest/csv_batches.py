"""CSV of any size, batch by batch: parsed by pyarrow as text, so that a bad cell costs its row and not the file."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from roadedge.errors import MissingExtraError, PointsError
from roadedge.trajectory.csv_file import ABSENT
from roadedge.trajectory.files import opened
from roadedge.trajectory.ingest.batches import Batch, speed_in_ms
from roadedge.trajectory.ingest.cells import floats, times, vehicles
from roadedge.trajectory.ingest.options import TIME_UNITS, IngestOptions
from roadedge.trajectory.ingest.table import TableColumns, find_columns

BLOCK_BYTES = 8 << 20
ROWS_OF_BLANKS = 1 << 16
_HEAD = 1 << 16


@dataclass(slots=True)
class Table:
    """How a CSV is to be read: `delimiter` None stands for any blanks, `width` is the number of columns."""

    columns: TableColumns
    delimiter: str | None
    has_header: bool
    width: int
    decimal_comma: bool
    wrong: dict[str, int] = field(default_factory=dict)


def csv_batches(path: Path, options: IngestOptions) -> Iterator[Batch]:
    """Read a table: comma, semicolon, tab or blanks, gzip by its name.

    Raises:
        PointsError: the file cannot be read, is cut short, or lacks columns.
        MissingExtraError: pyarrow is not installed.
    """
    with _opened_text(path) as text:
        lines = [line for line in islice((line for line in text if line.strip()), 3)]
    table = inspect(lines, path, options)
    yield from (_by_blanks if table.delimiter is None else _by_arrow)(path, table, options)


def inspect(lines: list[str], path: Path, options: IngestOptions) -> Table:
    """What the first lines of a table say of it; raises PointsError where its columns cannot be told."""
    first = lines[0].rstrip("\r\n") if lines else ""
    delimiter = next((mark for mark in ("\t", ";", ",") if mark in first), None)
    cells = _split(first, delimiter)
    numbers = any(_is_number(cell, delimiter) for cell in cells)  # no column's name is a number
    if options.header:
        names, has_header = list(options.header), False
        if len(names) != len(cells):
            raise PointsError(f"{path} has {len(cells)} columns ({first[:60]!r}), --header names {len(names)}")
    elif numbers and delimiter is None and len(cells) in (2, 3):
        names, has_header = ["x", "y", "t"][: len(cells)], False
    elif numbers:
        raise PointsError(
            f"{path} has no header, its first row is {first[:80]!r}; name its columns in order: --header vid,t,lon,lat"
        )
    else:
        names, has_header = cells, True
    columns = find_columns(names, path, options)
    sample = _split(lines[-1].rstrip("\r\n"), delimiter)
    place = columns.places["x"]
    comma = delimiter == ";" and place < len(sample) and "," in sample[place]
    return Table(columns, delimiter, has_header, len(names), comma)


def _by_arrow(path: Path, table: Table, options: IngestOptions) -> Iterator[Batch]:
    try:
        import pyarrow as pa
        from pyarrow import csv as arrow
    except ImportError as error:
        raise MissingExtraError("pyarrow", "points", "sorting files of points") from error
    size = max(path.stat().st_size, 1)
    names = [f"column {i}" for i in range(table.width)]
    wanted = {name: names[i] for name, i in table.columns.places.items()}
    wrong = 0

    def skip(_: Any) -> str:
        nonlocal wrong
        wrong += 1
        return "skip"

    try:
        with pa.OSFile(str(path)) as raw:
            stream = pa.CompressedInputStream(raw, "gzip") if path.suffix.lower() == ".gz" else raw
            reader = arrow.open_csv(
                stream,
                read_options=arrow.ReadOptions(
                    column_names=names, skip_rows=1 if table.has_header else 0, block_size=BLOCK_BYTES, use_threads=True
                ),
                parse_options=arrow.ParseOptions(delimiter=table.delimiter, invalid_row_handler=skip),
                convert_options=arrow.ConvertOptions(
                    column_types=dict.fromkeys(wanted.values(), pa.string()),
                    include_columns=list(dict.fromkeys(wanted.values())),
                    null_values=list(ABSENT),
                    strings_can_be_null=True,
                    check_utf8=False,
                ),
            )
            for rows in reader:
                dropped, wrong = ({"wrong_columns": wrong} if wrong else {}), 0
                columns = {name: rows[column] for name, column in wanted.items()}
                yield batch_of(
                    columns, table.columns, options, dropped, min(1.0, raw.tell() / size), table.decimal_comma
                )
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        if isinstance(error, PointsError):
            raise
        said = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise PointsError(f"{path} cannot be read to its end ({said}); was it copied whole?") from error
    if wrong:
        empty = np.zeros(0)
        yield Batch(empty, empty, crs=_crs(table.columns, options), dropped={"wrong_columns": wrong}, share=1.0)


def _by_blanks(path: Path, table: Table, options: IngestOptions) -> Iterator[Batch]:
    """Tables with blanks between the cells, in plain Python."""
    import pyarrow as pa

    with _opened_text(path) as text:
        rows = (line.split() for line in text if line.strip())
        if table.has_header:
            next(rows, None)
        while block := list(islice(rows, ROWS_OF_BLANKS)):
            good = [row for row in block if len(row) == table.width]
            dropped = {"wrong_columns": len(block) - len(good)} if len(good) < len(block) else {}
            cells = list(zip(*good, strict=True)) or [()] * table.width
            columns = {
                name: pa.array([None if cell in ABSENT else cell for cell in cells[i]], pa.string())
                for name, i in table.columns.places.items()
            }
            yield batch_of(columns, table.columns, options, dropped, 0.0, False)


def batch_of(
    columns: dict[str, Any],
    found: TableColumns,
    options: IngestOptions,
    dropped: dict[str, int],
    share: float,
    decimal_comma: bool = False,
) -> Batch:
    """Arrow columns by field → a batch."""
    x, bad_x = floats(columns["x"], decimal_comma)
    y, bad_y = floats(columns["y"], decimal_comma)
    bad = bad_x if bad_y is None else bad_y if bad_x is None else bad_x | bad_y
    batch = Batch(x, y, crs=_crs(found, options), unparsable=bad, dropped=dropped, share=share)
    if "t" in columns:
        batch.t_s = times(columns["t"], TIME_UNITS[options.time_unit])
    if "vid" in columns:
        batch.vid = vehicles(columns["vid"])
    if "speed" in columns:
        batch.speed_ms = speed_in_ms(floats(columns["speed"], decimal_comma)[0], options)
    if "heading" in columns:
        batch.heading_deg = floats(columns["heading"], decimal_comma)[0]
    return batch


def _crs(found: TableColumns, options: IngestOptions) -> str | None:
    return None if found.geographic else options.crs or ""


@contextlib.contextmanager
def _opened_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """The file as text of any encoding that leaves digits alone; raises PointsError where it is empty or no text."""
    with opened(path) as file:
        head = io.BufferedReader(cast(io.RawIOBase, file), _HEAD)
        first = head.peek(_HEAD)
        if not first.strip():
            raise PointsError(f"{path} is empty; expected a table of points")
        if b"\0" in first:
            raise PointsError(f"{path} is no table in text (it begins {first[:8]!r}); say what it is: --format parquet")
        yield io.TextIOWrapper(head, "utf-8-sig", errors="replace", newline="")


def _split(line: str, delimiter: str | None) -> list[str]:
    return line.split() if delimiter is None else next(csv.reader(io.StringIO(line), delimiter=delimiter), [])


def _is_number(cell: str, delimiter: str | None) -> bool:
    try:
        float(cell.replace(",", ".") if delimiter == ";" else cell)
    except ValueError:
        return False
    return True
