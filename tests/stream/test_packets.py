"""When the packets of a live stream came: told from when they were handed out."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import pytest

from roadedge.stream.packets import _arrivals, _join, _whole, _without_backlog

MS = 1_000_000


@dataclass
class Packet:
    """Of a stream that counts in milliseconds."""

    pts: int | None
    time_base: Fraction = Fraction(1, 1000)
    is_keyframe: bool = False
    parts: int = 1


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


def joined(first: Packet, second: Packet) -> Packet:
    return Packet(second.pts, is_keyframe=True, parts=first.parts + second.parts)


def whole(*stream: tuple[int | None, bool]) -> list[tuple[int | None, int, int]]:
    """Of (presentation time, key frame): presentation time, parts and when it came; packets come each millisecond."""
    handed_out = [(Packet(pts, is_keyframe=key), number) for number, (pts, key) in enumerate(stream)]
    return [(packet.pts, packet.parts, came) for packet, came in _whole(iter(handed_out), joined)]


def test_the_parts_of_one_key_frame_are_one_packet_that_came_with_its_first_part() -> None:
    found = whole(
        (None, True), (0, True), (50, False), (100, False), (150, True), (150, True), (150, True), (200, False)
    )
    assert found == [(0, 2, 0), (50, 1, 2), (100, 1, 3), (150, 3, 4), (200, 1, 7)]


def test_a_stream_of_whole_frames_is_left_as_it_is() -> None:
    stream = [(None, True), (50, False), (100, True), (150, True), (200, False)]
    assert whole(*stream) == [(pts, 1, number) for number, (pts, _) in enumerate(stream)]
    assert whole((0, True)) == [(0, 1, 0)]
    assert whole() == []


def test_a_key_frame_waits_for_the_next_packet_only_where_key_frames_come_in_parts() -> None:
    taken = 0

    def stream(parted: bool) -> Iterator[tuple[Packet, int]]:
        nonlocal taken
        for pts, key in [(0, True), *([(0, True)] if parted else []), (50, False), (100, True), (150, False)]:
            taken += 1
            yield Packet(pts, is_keyframe=key), 0

    for parted, packets_taken in ((False, 3), (True, 5)):
        taken = 0
        for packet, _ in _whole(stream(parted), joined):
            if packet.pts == 100:
                break
        assert taken == packets_taken


def test_parts_are_joined_byte_by_byte() -> None:
    av = pytest.importorskip("av", reason="the video extra is not installed")
    first, second = av.Packet(b"\0\0\1first"), av.Packet(b"\0\0\1second")
    second.pts, second.time_base = 90, Fraction(1, 90_000)
    with av.open(io.BytesIO(), "w", format="h264") as container:
        second.stream = container.add_stream("libx264")
        one = _join(first, second)
    assert bytes(one) == b"\0\0\1first\0\0\1second"
    assert (one.pts, one.time_base, one.is_keyframe) == (90, Fraction(1, 90_000), True)
