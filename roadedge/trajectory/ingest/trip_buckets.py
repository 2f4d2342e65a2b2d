"""Rows brought together by trip: a trip's points go into one bucket on disk, and a bucket fits into memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from roadedge.trajectory.ingest.cleaning import ROW, Rows

BUCKETS = 128
MOST_OF_BUCKET = 4  # times the rows that are held at once
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: neighbouring numbers of vehicles go to different buckets


class TripBuckets:
    """Takes rows in any order, gives them back bucket by bucket; nothing goes to disk while all of them fit."""

    def __init__(self, folder: Path, rows_in_memory: int) -> None:
        """Buckets are files in `folder`; `rows_in_memory` rows are held before they are written out."""
        self._folder = folder
        self._most = rows_in_memory
        self._held: list[Rows] = []
        self._held_rows = 0
        self._spilled = False
        self.rows = 0

    def add(self, rows: Rows) -> None:
        """Take rows; raises OSError where the disk is full."""
        if not len(rows):
            return
        self._held.append(rows)
        self._held_rows += len(rows)
        self.rows += len(rows)
        if self._held_rows >= self._most:
            self._spill()

    def buckets(self) -> Iterator[tuple[Rows, bool]]:
        """The rows of one bucket after the other, in the order they came; each file is removed once read.

        True goes with a whole bucket. One that holds more than four times `rows_in_memory`, as where all rows have one
        number, comes in parts, with False: its trips cannot be put together.
        """
        if not self._spilled:
            if self._held:
                yield np.concatenate(self._held), True
            self._held = []
            return
        self._spill()
        for number in range(BUCKETS):
            path = self._path(number)
            if path.exists():
                rows = path.stat().st_size // ROW.itemsize
                whole = rows <= MOST_OF_BUCKET * self._most
                for start in range(0, rows, rows if whole else self._most):
                    count = rows if whole else min(self._most, rows - start)
                    yield np.fromfile(path, ROW, count, offset=start * ROW.itemsize), whole
                path.unlink()

    def _spill(self) -> None:
        self._spilled = True
        if not self._held:
            return
        rows = np.concatenate(self._held)
        self._held, self._held_rows = [], 0
        bucket = ((rows["vid"].astype(np.uint64) * _MIXER) >> np.uint64(57)).astype(np.uint8)
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=BUCKETS))
        rows = rows[order]
        for number in range(BUCKETS):
            part = rows[ends[number - 1] if number else 0 : ends[number]]
            if len(part):
                with self._path(number).open("ab") as file:
                    file.write(part.view(np.uint8).data)

    def _path(self, number: int) -> Path:
        return self._folder / f"trips-{number:03d}"
