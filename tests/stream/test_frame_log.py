"""The log gives back what was put in, in the order of the frames, however many there are."""

from __future__ import annotations

import csv
import errno
import os
import random
from pathlib import Path

import pytest

from roadedge.errors import OutputError
from roadedge.latency.profile import CSV_COLUMNS, FrameRecord
from roadedge.stream.frame_log import FrameLog


def record(index: int) -> FrameRecord:
    if index % 7 == 3:
        return FrameRecord(f"{index:06d}", index / 10, "schedule", index / 10, dropped_by="latest:infer")
    stages = (1.0, 2.0, 3.0, 20.0 + index, 0.5, 4.0)
    parts = {"gpu": 12.5} if index % 2 else {}
    return FrameRecord(
        f"photo_{index}" if index % 5 == 0 else f"{index:06d}", index / 10, "pts", index / 10 + 0.04, 40.25, stages,
        None if index % 3 else 12.0, None if index % 4 == 0 else index, "", 1.5, 2.5, (None, True, False)[index % 3],
        parts,
    )  # fmt: skip


@pytest.mark.parametrize("on_disk", [False, True])
def test_records_come_back_as_they_went_in(tmp_path: Path, on_disk: bool) -> None:
    records = [record(i) for i in range(3000)]  # more than is kept in memory
    log = FrameLog(tmp_path if on_disk else None)
    order = list(range(3000))
    for start in range(0, 3000, 10):  # frames end in another order than they were due
        order[start : start + 10] = random.Random(start).sample(order[start : start + 10], 10)
    for index in order:
        log.put(index, records[index])
    log.close()
    assert list(log) == records
    assert log[-1] == records[-1]
    assert log[1234] == records[1234]
    assert log[2990:] == records[2990:]
    assert log[5:50:7] == records[5:50:7]
    assert log[::-1] == records[::-1]
    assert log[2999:10] == []
    with pytest.raises(IndexError):
        log[3000]


def test_frames_csv_grows_with_the_run_and_is_whole_in_the_end(tmp_path: Path) -> None:
    log = FrameLog(tmp_path)
    for index in range(100):
        log.append(record(index))
    while_running = (tmp_path / "frames.csv").read_text().splitlines()
    assert len(while_running) > 80  # what a killed run would have left
    log.close()
    rows = list(csv.reader((tmp_path / "frames.csv").read_text().splitlines()))
    assert rows[0] == list(CSV_COLUMNS)
    assert rows[1:] == [record(i).csv_row() for i in range(100)]
    assert [path.name for path in tmp_path.iterdir()] == ["frames.csv"]


def test_a_frame_that_never_ended_holds_back_no_later_one_at_the_end(tmp_path: Path) -> None:
    log = FrameLog(tmp_path)
    for index in (0, 2, 3):
        log.put(index, record(index))
    assert len(log) == 1
    log.close()
    assert [one.frame for one in log] == [record(i).frame for i in (0, 2, 3)]


def test_a_folder_that_cannot_be_written_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        FrameLog(tmp_path / "absent")


def test_a_disk_that_takes_half_of_the_rows_spoils_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FrameLog(tmp_path, csv=False)
    write, room = os.pwrite, [30_000]

    def full(file: int, content: bytes | memoryview, at: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(file, content[: room[0]], at)
        room[0] -= written
        return written

    monkeypatch.setattr("roadedge.stream.frame_log.os.pwrite", full)

    def fill() -> None:
        while len(log) < 3000:
            log.append(record(len(log)))

    errors = []  # as the run keeps the first one until the end
    for _ in range(2):
        with pytest.raises(OutputError, match="disk is full") as caught:
            fill()
        errors.append(caught.value)
    room[0] = 10**9
    fill()
    assert list(log) == [record(i) for i in range(3000)]
