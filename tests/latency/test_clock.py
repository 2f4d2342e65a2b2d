"""Stages add up on any clock, also when a stage ends in an error; waiting ends at the moment asked for."""

from __future__ import annotations

import pytest

from roadedge.latency.clock import STAGES, HostClock, StageTimer
from tests.latency.hand_clock import HandClock


def test_a_stage_that_is_entered_twice_adds_up() -> None:
    clock = HandClock()
    timer = StageTimer(clock)
    for _ in range(2):
        with timer("infer"):
            clock.pass_ms(7)
    assert timer.stage_ms == {**dict.fromkeys(STAGES, 0.0), "infer": 14.0}


def test_a_stage_that_fails_is_timed_all_the_same() -> None:
    clock = HandClock()
    timer = StageTimer(clock)

    def decode() -> None:
        with timer("decode"):
            clock.pass_ms(3)
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        decode()
    assert timer.stage_ms["decode"] == 3.0


def test_the_host_clock_wakes_no_earlier_than_asked() -> None:
    clock = HostClock()
    moment = clock.now_ns() + 2_000_000
    clock.sleep_until_ns(moment)
    assert clock.now_ns() >= moment
    clock.sleep_until_ns(moment)  # past: returns at once
