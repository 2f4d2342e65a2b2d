"""frames.csv as columns: what the charts are drawn from, of a run that has just ended or of a folder found later."""

from __future__ import annotations

import array
import csv
import io
import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.latency.clock import STAGES
from roadedge.latency.profile import CSV_COLUMNS, DEVICE_PARTS, FrameRecord

TEXTS = ("frame", "clock", "dropped_by")
NEEDED = ("frame", "capture_s", "clock", "age_ms", *(f"{s}_ms" for s in STAGES), "dropped_by")
CHUNK_ROWS = 50_000
BEYOND = 1e12  # 30 000 years: no time, and the sum of such numbers would overflow


@dataclass(frozen=True, slots=True, eq=False)
class FrameTable:
    """One row a frame, in the order of frames.csv.

    `texts` holds the columns of TEXTS, `numbers` all other columns of CSV_COLUMNS as (n,) float64, NaN where a cell is
    empty. `unread` counts rows that could not be read, such as the last one of a run that was killed.
    """

    texts: dict[str, list[str]]
    numbers: dict[str, NDArray[np.float64]]
    unread: int = 0

    def __len__(self) -> int:
        """Frames, dropped ones included."""
        return len(self.texts["frame"])

    @property
    def answered(self) -> NDArray[np.intp]:
        """Rows of the frames that have an age, ascending."""
        return np.flatnonzero(np.isfinite(self.numbers["age_ms"]))

    @property
    def dropped(self) -> dict[str, NDArray[np.intp]]:
        """Rows of the frames that were dropped or failed, by cause, the most frequent first."""
        rows: dict[str, list[int]] = {}
        for row, cause in enumerate(self.texts["dropped_by"]):
            if cause:
                rows.setdefault(cause, []).append(row)
        ordered = sorted(rows.items(), key=lambda one: -len(one[1]))
        return {cause: np.array(found, np.intp) for cause, found in ordered}

    def record(self, row: int) -> FrameRecord:
        """One row as the record that it was written from."""
        known = {name: float(column[row]) for name, column in self.numbers.items() if np.isfinite(column[row])}
        points, paired, age_ms = known.get("points"), known.get("paired"), known.get("age_ms")
        stages = () if age_ms is None else tuple(known.get(f"{stage}_ms", 0.0) for stage in STAGES)
        return FrameRecord(
            *(self.texts["frame"][row], known.get("capture_s", 0.0), self.texts["clock"][row]),
            done_s=known.get("done_s", 0.0), age_ms=age_ms, stage_ms=stages, skew_ms=known.get("skew_ms"),
            points=None if points is None else int(points), dropped_by=self.texts["dropped_by"][row],
            late_ms=known.get("late_ms", 0.0), wait_ms=known.get("wait_ms", 0.0),
            paired=None if paired is None else bool(paired),
            device_ms={part: known[f"{part}_ms"] for part in DEVICE_PARTS if f"{part}_ms" in known},
        )  # fmt: skip

    def records(self) -> Iterator[FrameRecord]:
        """All rows as records."""
        return map(self.record, range(len(self)))


def table_of(records: Iterable[FrameRecord]) -> FrameTable:
    """The records as a table; what frames.csv of the same run is read back as, but for its rounding."""
    texts: dict[str, list[str]] = {name: [] for name in TEXTS}
    names = [name for name in CSV_COLUMNS if name not in TEXTS]
    rows = array.array("d")
    for one in records:
        texts["frame"].append(one.frame)
        texts["clock"].append(one.clock)
        texts["dropped_by"].append(one.dropped_by)
        answered = one.age_ms is not None
        stages = one.stage_ms or (None,) * len(STAGES)
        waits = (one.late_ms, one.wait_ms) if answered else (None, None)
        parts = (one.device_ms.get(part) for part in DEVICE_PARTS)
        cells = (one.capture_s, one.age_ms, *stages, one.skew_ms, one.points, one.done_s, *waits, one.paired, *parts)
        rows.extend(math.nan if cell is None else cell for cell in cells)
    columns = np.array(rows, np.float64).reshape(-1, len(names))
    return FrameTable(texts, {name: columns[:, at].copy() for at, name in enumerate(names)})


def read_frames(path: str | Path) -> FrameTable:
    """Read frames.csv, also one that was cut short; an empty file has no frames.

    Raises:
        DataError: it cannot be read, or lacks columns.
    """
    try:
        cut = _is_cut(Path(path))
        with Path(path).open(newline="", encoding="utf-8", errors="replace") as file:
            rows = csv.reader(file)
            header = next(rows, None)
            if header is None:
                return table_of([])
            missing = [name for name in NEEDED if name not in header]
            if missing:
                raise DataError(
                    f"{path} has no column {', '.join(missing)}; expected the frames.csv of a run of `roadedge infer`"
                )
            return _from_rows(header, _all_but_last(rows) if cut else rows, int(cut))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except csv.Error as error:
        raise DataError(f"{path} is no CSV file: {error}") from error


def _is_cut(path: Path) -> bool:
    """Whether a file ends without the end of a line: its last row may look whole and end in half a number."""
    with path.open("rb") as file:
        if file.seek(0, io.SEEK_END) == 0:
            return False
        file.seek(-1, io.SEEK_END)
        return file.read(1) != b"\n"


def _all_but_last(rows: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    return (earlier for earlier, _ in itertools.pairwise(rows))


def _from_rows(header: Sequence[str], rows: Iterable[Sequence[str]], unread: int) -> FrameTable:
    texts: dict[str, list[str]] = {name: [] for name in TEXTS}
    blocks: dict[str, list[NDArray[np.float64]]] = {name: [] for name in CSV_COLUMNS if name not in TEXTS}
    left = iter(rows)
    while chunk := list(itertools.islice(left, CHUNK_ROWS)):
        whole = [row for row in chunk if len(row) == len(header)]
        try:
            found = _numbers(header, whole)
        except ValueError:
            whole = [row for row in whole if _is_readable(header, row)]
            found = _numbers(header, whole)
        unread += len(chunk) - len(whole)
        for name, column in texts.items():
            at = header.index(name)
            column.extend(row[at] if name == "frame" else sys.intern(row[at]) for row in whole)
        for name, block in found.items():
            blocks[name].append(block)
    numbers = {name: np.concatenate(column) if column else np.empty(0) for name, column in blocks.items()}
    presumed_s = numbers["capture_s"] + np.nan_to_num(numbers["age_ms"]) / 1e3  # of runs that did not write done_s yet
    numbers["done_s"] = np.where(np.isfinite(numbers["done_s"]), numbers["done_s"], presumed_s)
    return FrameTable(texts, numbers, unread)


def _numbers(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, NDArray[np.float64]]:
    """The columns of numbers; NaN for an empty cell, a column that is missing, and what is no time."""
    found = {}
    for name in CSV_COLUMNS:
        if name in TEXTS:
            continue
        at = header.index(name) if name in header else None
        column = np.full(len(rows), np.nan) if at is None else np.array([float(row[at] or "nan") for row in rows])
        found[name] = np.where(np.abs(column) < BEYOND, column, np.nan).astype(np.float64)
    return found


def _is_readable(header: Sequence[str], row: Sequence[str]) -> bool:
    try:
        _numbers(header, [row])
    except ValueError:
        return False
    return True
