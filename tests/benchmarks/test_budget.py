"""The time of `make gpu`: shares of what is left, and nothing begun that cannot end."""

from __future__ import annotations

from benchmarks.nvidia.budget import LEAST_S, Budget


class HandClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_what_is_spent_is_no_longer_left() -> None:
    clock = HandClock()
    budget = Budget(540.0, clock)
    clock.now_s += 40.0
    assert (budget.spent_s, budget.left_s) == (40.0, 500.0)
    clock.now_s += 1000.0
    assert budget.left_s == 0.0


def test_a_share_is_an_equal_part_of_what_is_left_and_begins_now() -> None:
    clock = HandClock()
    budget = Budget(500.0, clock)
    clock.now_s += 100.0
    share = budget.share(4)
    assert share.left_s == 100.0
    assert budget.share(4, most_s=30.0).left_s == 30.0
    clock.now_s += 60.0
    assert share.left_s == 40.0
    assert share.part(0.5).left_s == 20.0


def test_nothing_is_begun_in_the_last_seconds_and_the_reason_says_so() -> None:
    clock = HandClock()
    budget = Budget(10.0, clock)
    assert budget.why_not == ""
    clock.now_s += 10.0 - LEAST_S + 1.0
    assert budget.why_not == "skipped: 4 s were left of its share of the time, less than the 5 s needed"
