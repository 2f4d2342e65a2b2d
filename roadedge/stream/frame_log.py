"""The records of a run's frames: on disk, not in memory, so that a stream may last as long as it likes."""

from __future__ import annotations

import csv
import errno
import math
import os
import struct
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO, overload

from roadedge.errors import OutputError
from roadedge.latency.clock import STAGES
from roadedge.latency.profile import CSV_COLUMNS, DEVICE_PARTS, FrameRecord

_VALUES = 8 + len(STAGES) + len(DEVICE_PARTS)
_ROW = struct.Struct(f"<{_VALUES}d2H")
_KEPT_BYTES = 1 << 16  # written to the file together
_FLUSH_S = 1.0  # a killed run has lost no more of frames.csv than this


class FrameLog(Sequence[FrameRecord]):
    """Records in the order in which their frames were due, though they may come in another one.

    With a folder, rows lie in a nameless file of it, and `frames.csv` grows there while the run goes on where `csv` is
    set; without one, they lie in memory. For use from several threads.
    """

    def __init__(self, folder: Path | None = None, csv: bool = True) -> None:
        """Open the log; raises OutputError."""
        self._lock = threading.RLock()
        self._names: dict[int, str] = {}  # of frames that are not called by their number
        self._words: list[str] = []  # clocks and causes, which rows hold by their place here
        self._early: dict[int, FrameRecord] = {}  # those whose forerunners are still on their way
        self._length = 0
        self._tail = bytearray()
        self._flushed_s = 0.0
        self._folder = folder
        self._table: TextIO | None = None
        try:
            self._rows = _Rows(folder)
            if folder is not None and csv:
                self._table = (folder / "frames.csv").open("w", newline="", encoding="utf-8")
                self._write_cells(CSV_COLUMNS)
        except OSError as error:
            raise OutputError.from_os(folder, error) from error

    def put(self, index: int, record: FrameRecord) -> None:
        """Take the record of the frame of this index, from 0; raises OutputError."""
        with self._lock:
            self._early[index] = record
            while self._length in self._early:
                self._append(self._early.pop(self._length))

    def append(self, record: FrameRecord) -> None:
        """Take the record of the next frame; raises OutputError."""
        with self._lock:
            self.put(self._length, record)

    def close(self) -> None:
        """Finish frames.csv, with the frames whose forerunners never ended; the records can still be read."""
        with self._lock:
            for index in sorted(self._early):
                self._append(self._early.pop(index))
            if self._table is not None:
                table, self._table = self._table, None
                try:
                    table.close()
                except OSError as error:
                    raise OutputError.from_os(table.name, error) from error

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> FrameRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[FrameRecord]: ...

    def __getitem__(self, index: int | slice) -> FrameRecord | list[FrameRecord]:
        with self._lock:
            if isinstance(index, slice):
                start, stop, step = index.indices(self._length)
                return self._read(start, max(start, stop))[::step] if step > 0 else list(self)[index]
            if not -self._length <= index < self._length:
                raise IndexError(index)
            return self._read(index % self._length, index % self._length + 1)[0]

    def __iter__(self) -> Iterator[FrameRecord]:
        for start in range(0, self._length, 4096):
            yield from self[start : start + 4096]

    def _append(self, record: FrameRecord) -> None:
        index = self._length
        if record.frame != f"{index:06d}":
            self._names[index] = record.frame
        self._tail += _ROW.pack(*_values(record), self._word(record.clock), self._word(record.dropped_by))
        self._length += 1
        try:
            if len(self._tail) >= _KEPT_BYTES:
                self._empty_tail()
            if self._table is not None:
                self._write_cells(record.csv_row())
                if abs(record.done_s - self._flushed_s) >= _FLUSH_S:
                    self._table.flush()
                    self._flushed_s = record.done_s
        except OSError as error:
            raise OutputError.from_os(self._folder, error) from error

    def _empty_tail(self) -> None:
        self._rows.append(self._tail)
        self._tail = bytearray()

    def _read(self, start: int, stop: int) -> list[FrameRecord]:
        on_disk = self._length - len(self._tail) // _ROW.size
        rows = b""
        if start < on_disk:
            rows = self._rows.read(start * _ROW.size, min(stop, on_disk) * _ROW.size)
        if stop > on_disk:
            rows += self._tail[max(0, start - on_disk) * _ROW.size : (stop - on_disk) * _ROW.size]
        return [self._record(start + i, row) for i, row in enumerate(_ROW.iter_unpack(rows))]

    def _record(self, index: int, row: tuple[float, ...]) -> FrameRecord:
        capture_s, done_s, age, skew, points, late_ms, wait_ms, paired = row[:8]
        stages, parts = row[8 : 8 + len(STAGES)], row[8 + len(STAGES) : _VALUES]
        return FrameRecord(
            self._names.get(index, f"{index:06d}"), capture_s, self._words[int(row[_VALUES])], done_s, _known(age),
            () if math.isnan(stages[0]) else stages, _known(skew), None if math.isnan(points) else int(points),
            self._words[int(row[_VALUES + 1])], late_ms, wait_ms, None if math.isnan(paired) else bool(paired),
            {part: value for part, value in zip(DEVICE_PARTS, parts, strict=True) if not math.isnan(value)},
        )  # fmt: skip

    def _word(self, word: str) -> int:
        if word not in self._words:
            self._words.append(word)
        return self._words.index(word)

    def _write_cells(self, cells: Sequence[str]) -> None:
        assert self._table is not None
        csv.writer(self._table, lineterminator="\n").writerow(cells)


class _Rows:
    """Bytes that are appended and read back: in a nameless file, which ends with this object, or in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._memory, self._file, self._length = bytearray(), None, 0
        if folder is not None:
            with tempfile.TemporaryFile(dir=folder) as file:
                self._file = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._file)

    def append(self, content: bytes | bytearray) -> None:
        if self._file is None:
            self._memory += content
            return
        left, at = bytes(content), self._length  # a copy: an error on its way would keep a view, and `content` its size
        while left:  # at its place, so that what a full disk took half of is written anew
            written = os.pwrite(self._file, left, at)
            left, at = left[written:], at + written
        self._length = at

    def read(self, start: int, stop: int) -> bytes:
        if self._file is None:
            return bytes(self._memory[start:stop])
        content = b""
        while len(content) < stop - start:
            part = os.pread(self._file, stop - start - len(content), start + len(content))
            if not part:
                raise OSError(errno.EIO, "the file of the frames' records became shorter")
            content += part
        return content


def _values(record: FrameRecord) -> tuple[float, ...]:
    some = (record.capture_s, record.done_s, record.age_ms, record.skew_ms, record.points)
    more = (record.late_ms, record.wait_ms, record.paired)
    stages = record.stage_ms or (None,) * len(STAGES)
    parts = [record.device_ms.get(part) for part in DEVICE_PARTS]
    return tuple(math.nan if value is None else float(value) for value in (*some, *more, *stages, *parts))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
