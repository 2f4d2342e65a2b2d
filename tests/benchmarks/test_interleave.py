"""Ways that take turns, and what may be said of their times."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.nvidia.interleave import Stages, advice, compared, take_turns, times_of


class Calls:
    """Ways that cost what they are told by a clock of their own, and write down who was called."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.now_s = 0.0

    def way(self, name: str, ms: float, fail_at: int | None = None) -> Callable[[], Stages]:
        def call() -> Stages:
            self.order.append(name)
            self.now_s += ms / 1e3
            if fail_at is not None and self.order.count(name) == fail_at:
                raise RuntimeError("CUDA error:\nan illegal memory access")
            return {"infer": ms + 1, "gpu": ms, "h2d": 0.25, "d2h": 0.5}

        return call


def test_the_ways_take_turns_within_a_round() -> None:
    calls = Calls()
    ways = {"a": calls.way("a", 1.0), "b": calls.way("b", 2.0)}
    turns = take_turns(ways, 2, 3, lambda: False, warm_up=1, settle=2, now=lambda: calls.now_s)
    assert "".join(calls.order) == "ab" + 2 * ("aaaaa" + "bbbbb")
    assert [len(one) for one in turns.rounds["a"]] == [3, 3]
    assert not turns.stopped


def test_a_way_that_fails_falls_out_and_the_others_go_on() -> None:
    calls = Calls()
    ways = {"a": calls.way("a", 1.0, fail_at=8), "b": calls.way("b", 2.0)}
    turns = take_turns(ways, 3, 2, lambda: False, warm_up=1, settle=1, now=lambda: calls.now_s)
    assert turns.failed == {"a": "RuntimeError: CUDA error: an illegal memory access"}
    assert "a" not in turns.rounds
    assert len(turns.rounds["b"]) == 3


def test_when_the_time_is_up_whole_rounds_are_kept() -> None:
    calls = Calls()
    ways = {"a": calls.way("a", 10.0), "b": calls.way("b", 10.0)}
    turns = take_turns(ways, 100, 10, lambda: calls.now_s > 0.5, warm_up=0, settle=0, now=lambda: calls.now_s)
    assert turns.stopped
    assert len(turns.rounds["a"]) == len(turns.rounds["b"]) == 3


def test_a_slow_way_is_called_less_often() -> None:
    calls = Calls()
    ways = {"slow": calls.way("slow", 2000.0), "quick": calls.way("quick", 1.0)}
    turns = take_turns(ways, 1, 20, lambda: False, warm_up=0, settle=0, now=lambda: calls.now_s)
    assert [len(turns.rounds[name][0]) for name in ("slow", "quick")] == [3, 20]


def test_times_of_a_way_that_is_timed_on_the_device() -> None:
    times = times_of([[{"infer": 5.0, "h2d": 0.5, "gpu": 3.0, "d2h": 0.25}] * 350] * 2)
    assert (times["n"], times["rounds"], times["variation"]) == (700, 2, 0.0)
    assert [times[f"{kind}_ms"]["p99"] for kind in ("device", "with_transfers", "host")] == [3.0, 3.75, 5.0]
    assert (times["h2d_ms"], times["d2h_ms"]) == (0.5, 0.25)
    assert times["round_medians_ms"]["with_transfers"] == [3.75, 3.75]


def test_a_percentile_that_the_count_does_not_allow_is_none() -> None:
    times = times_of([[{"infer": 5.0, "h2d": 0.5, "gpu": 3.0, "d2h": 0.25}] * 100])
    assert times["device_ms"]["p90"] == 3.0
    assert times["device_ms"]["p99"] is None


def test_what_is_timed_by_the_host_alone_has_no_time_of_the_device() -> None:
    times = times_of([[{"infer": 5.0}, {"infer": 7.0}]])
    assert times["device_ms"] is times["with_transfers_ms"] is times["variation"] is times["h2d_ms"] is None
    assert list(times["round_medians_ms"]) == ["host"]


@pytest.mark.parametrize(
    ("int8", "said"),
    [
        ([1.0] * 10, "INT8 is 41 % faster than FP16 on this device (1.41×, faster in 10 of 10 rounds; here)"),
        ([2.82] * 10, "INT8 is 50 % slower than FP16 on this device (0.50×, slower in 10 of 10 rounds; here)"),
        (
            [1.3, 1.5] * 5,
            "INT8 and FP16 cannot be told apart on this device (1.01×, faster in 5 of 10 rounds; here)",
        ),
        ([1.0] * 4, "INT8 and FP16: 4 rounds are too few to say which is faster (here)"),
    ],
)
def test_what_is_faster_is_said_where_the_rounds_agree(int8: list[float], said: str) -> None:
    assert compared("INT8", int8, "FP16", [1.41] * len(int8), "here") == said


def test_equal_times_cannot_be_told_apart() -> None:
    assert "cannot be told apart" in compared("INT8", [1.0] * 9, "FP16", [1.0] * 9, "here")


def test_less_than_a_tenth_is_not_worth_it() -> None:
    assert advice("INT8", [1.0] * 9, "FP16", [1.2] * 9) == ""
    assert advice("INT8", [1.0] * 9, "FP16", [1.05] * 9) == ("take FP16 on this device: INT8 gains less than 10 % here")
