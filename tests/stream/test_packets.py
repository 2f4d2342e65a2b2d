"""When the packets of a live stream came: told from when they were handed out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import pytest

from roadedge.stream.packets import _arrivals, _without_backlog

MS = 1_000_000


@dataclass
class Packet:
    """Of a stream that counts in milliseconds."""

    pts: int | None
    time_base: Fraction = Fraction(1, 1000)


def test_a_packet_that_is_held_until_the_next_one_came_when_the_one_before_it_was_handed_out() -> None:
    handed_out = []

    def stream() -> Iterator[Packet]:
        for number in range(4):
            time.sleep(0.005)
            yield Packet(number)
            handed_out.append(time.perf_counter_ns())

    arrivals = [arrived_ns for _, arrived_ns in _arrivals(stream(), held_back=True)]
    assert arrivals[2] < handed_out[1] < arrivals[3] < handed_out[2]
    assert [packet.pts for packet, _ in _arrivals(stream(), held_back=False)] == [0, 1, 2, 3]


def test_what_waited_for_the_connection_gets_the_arrival_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three frames of 100 ms come at once, then one that is waited for."""
    now = [1000 * MS, 1001 * MS, 1001 * MS, 1001 * MS, 1060 * MS]
    moments = iter(now)
    monkeypatch.setattr("roadedge.stream.packets.time.perf_counter_ns", lambda: next(moments))
    handed_out = [
        (Packet(None), 1001 * MS),
        (Packet(100), 1001 * MS),
        (Packet(200), 1001 * MS),
        (Packet(300), 1060 * MS),
    ]
    later = [(Packet(400), 1160 * MS), (Packet(500), 1300 * MS)]
    found = list(_without_backlog(iter(handed_out + later)))
    assert [packet.pts for packet, _ in found] == [None, 100, 200, 300, 400, 500]
    assert [arrived_ns // MS for _, arrived_ns in found] == [860, 860, 960, 1060, 1160, 1300]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_stream_without_times_or_that_ends_at_once_is_left_as_it_is(count: int) -> None:
    handed_out = [(Packet(None), number * MS) for number in range(count)]
    assert [packet for packet, _ in _without_backlog(iter(handed_out))] == [packet for packet, _ in handed_out]
