"""The line a second says what came in, what came out, how old it was, what was dropped and how well points fitted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from roadedge.latency.machine import MachineSample
from roadedge.latency.profile import FrameRecord
from roadedge.stream.pipeline import Run
from roadedge.stream.status import StatusLine

STAGES_MS = (1.0, 1.0, 1.0, 15.0, 1.0, 1.0)


def answered(index: int, age_ms: float = 20.0, paired: bool | None = True) -> FrameRecord:
    return FrameRecord(f"{index:06d}", index / 30, "pts", index / 30, age_ms, STAGES_MS, 18.0, 7, paired=paired)


def lines_of(run: Run, *moments_s: float, machine: Any = None) -> list[str]:
    told: list[str] = []
    line = StatusLine(told.append, machine)
    for moment_s in moments_s:
        line(run, moment_s)
    return told


def test_the_line_has_all_that_is_known() -> None:
    run = Run()
    for index in range(1000):
        run.records.append(answered(index, 24.0 if index % 50 else 31.0, paired=index >= 3))
    sample = MachineSample(1.0, {"power_w": 14.2, "temp_c": 61.0}, ())
    told = lines_of(run, 0.5, 20.0, machine=SimpleNamespace(newest=lambda: sample))
    assert told == [
        "t=20s in 50.0 fps out 50.0 | age p50 24 p99 31 ms | drop 0 | points 7 | sync 99.7 % skew 18 ms | 14.2 W 61 °C"
    ]


def test_a_percentile_that_too_few_frames_allow_gives_way_to_the_maximum() -> None:
    run = Run()
    for index in range(11):
        run.records.append(answered(index, 40.0 if index == 5 else 20.0, paired=None))
    run.records.append(FrameRecord("000011", 0.4, "pts", dropped_by="latest:infer"))
    assert lines_of(run, 1.0) == ["t=1s in 12.0 fps out 11.0 | age p50 20 max 40 ms | drop 1 | points 7 | skew 18 ms"]


def test_a_line_comes_once_a_second_and_counts_from_the_last_one() -> None:
    run = Run()
    run.records.append(answered(0))
    assert [line[:26] for line in lines_of(run, 0.9, 1.0, 1.5, 2.0)] == [
        "t=1s in 1.0 fps out 1.0 | ", "t=2s in 0.0 fps out 0.0 | "
    ]  # fmt: skip
