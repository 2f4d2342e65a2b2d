"""A lane is bounded: it makes the hasty wait, or keeps the newest."""

from __future__ import annotations

import threading

from roadedge.latency.clock import HostClock
from roadedge.latency.virtual_clock import START_NS, VirtualClock
from roadedge.stream.lane import Lane


def test_put_waits_for_room_and_the_order_is_kept() -> None:
    clock = VirtualClock()
    lane: Lane[int] = Lane(clock, 2)
    put_at_ms: list[float] = []

    def put_all() -> None:
        for number in range(5):
            lane.put(number)
            put_at_ms.append((clock.now_ns() - START_NS) / 1e6)
        lane.end()

    clock.start(put_all, "put")
    taken = []
    while (item := lane.take()) is not None:
        taken.append(item)
        clock.pass_ms(10.0)
    assert taken == [0, 1, 2, 3, 4]
    assert put_at_ms == [0.0, 0.0, 0.0, 10.0, 20.0]


def test_an_overwriting_lane_keeps_the_newest_and_names_the_lost() -> None:
    lost: list[int] = []
    lane: Lane[int] = Lane(VirtualClock(), 1, lost.append)
    for number in range(4):
        assert lane.put(number)
    lane.end()
    assert (lane.take(), lane.take(), lost) == (3, None, [0, 1, 2])


def test_an_aborted_lane_lets_both_sides_go() -> None:
    lane: Lane[int] = Lane(HostClock(), 1)
    lane.put(1)
    said: list[bool] = []
    waiting = threading.Thread(target=lambda: said.append(lane.put(2)))
    waiting.start()
    lane.abort()
    waiting.join(5)
    assert said == [False]
    assert lane.take() is None


def test_threads_of_the_host_hand_over_every_item() -> None:
    clock = HostClock()
    lane: Lane[int] = Lane(clock, 2)

    def put_all() -> None:
        for number in range(2000):
            lane.put(number)
        lane.end()

    join = clock.start(put_all, "put")
    taken = []
    while (item := lane.take()) is not None:
        taken.append(item)
    join()
    assert taken == list(range(2000))
