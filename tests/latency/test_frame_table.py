"""frames.csv read back is what was written, also where a kill cut it short."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import DataError
from roadedge.latency.frame_table import read_frames, table_of
from roadedge.latency.profile import CSV_COLUMNS, FrameRecord
from tests.latency.test_profile import dropped, record

RECORDS = [
    record(0),
    dropped(1),
    FrameRecord("a,b\"c'é", 0.2, "pts", 0.25, 31.5, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0), None, None, paired=False,
                late_ms=4.0, wait_ms=2.0, device_ms={"gpu": 3.5}),
]  # fmt: skip


def csv_text(records: list[FrameRecord]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CSV_COLUMNS)
    table.writerows(one.csv_row() for one in records)
    return text.getvalue()


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "frames.csv"
    path.write_text(csv_text(RECORDS))
    read = read_frames(path)
    assert list(read.records()) == RECORDS == list(table_of(RECORDS).records())
    assert read.unread == 0
    assert read.answered.tolist() == [0, 2]
    assert {cause: rows.tolist() for cause, rows in read.dropped.items()} == {"latest:infer": [1]}


def test_a_row_that_a_kill_cut_short_is_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "frames.csv"
    path.write_text(csv_text([record(i) for i in range(5)])[:-2])  # the last number has lost its end
    read = read_frames(path)
    assert (len(read), read.unread) == (4, 1)


def test_rows_of_nonsense_are_counted_and_infinities_are_no_ages(tmp_path: Path) -> None:
    lines = csv_text([record(i) for i in range(4)]).splitlines()
    lines[2] = lines[2].replace("30.000", "thirty")
    lines[3] = lines[3].replace("30.000", "inf")
    path = tmp_path / "frames.csv"
    path.write_text("\n".join([*lines, "1,2,3"]) + "\n")
    read = read_frames(path)
    assert (len(read), read.unread) == (3, 2)
    assert read.answered.tolist() == [0, 2]


def test_the_columns_of_older_runs_are_enough(tmp_path: Path) -> None:
    rows = [row.split(",")[:13] for row in csv_text([record(7)]).splitlines()]
    path = tmp_path / "frames.csv"
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    assert read_frames(path).record(0).done_s == pytest.approx(record(7).done_s)


@pytest.mark.parametrize("text", ["frame,capture_s\n", "\x00\x01\x02", "a\nb\n"])
def test_another_file_of_that_name_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frames.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"has no column|is no CSV"):
        read_frames(path)


def test_a_table_without_rows_has_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "frames.csv"
    path.write_text("")  # killed before anything was written
    assert len(read_frames(path)) == 0
    path.write_text(csv_text([]))
    assert len(read_frames(path)) == 0
    assert read_frames(path).answered.size == 0
    assert np.isnan(read_frames(path).numbers["age_ms"]).all()
