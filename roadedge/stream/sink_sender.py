"""What all ways of sending a frame's roads share: making messages, counting those that were lost, by cause."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from roadedge.latency.clock import Clock
from roadedge.stream.road_lines import RoadLines
from roadedge.stream.sink_geojson import Epoch
from roadedge.stream.sink_message import COORDINATES, Message, message_of
from roadedge.stream.sinks import Result, Sink


@dataclass(frozen=True, slots=True)
class Way:
    """What both ways of sending share."""

    roads: RoadLines
    epoch: Epoch
    clock: Clock
    kinds: Sequence[str] = COORDINATES


class SendSink(Sink):
    """What both ways of sending share: making messages, counting those that were lost, by cause."""

    def __init__(self, to: str, way: Way, limit: int | None, end: bytes) -> None:
        self.name = f"send {to}"
        self.dropped: Counter[str] = Counter()
        self.truncated = self.largest = 0
        self._way, self._limit, self._end = way, limit, end
        self._made = 0

    def _message(self, result: Result) -> Message:
        """Encode the next message; its age goes on counting from here."""
        way, made_ns = self._way, self._way.clock.now_ns()
        lines = way.roads(result)
        message = message_of(result, lines, self._made, made_ns, way.kinds, self._limit, way.epoch(), self._end)
        self._made += 1
        self.truncated += message.truncated
        return message

    def _leaving(self, message: Message) -> bytes:
        content = message.leaving(self._way.clock.now_ns(), time.time())
        self.largest = max(self.largest, len(content))
        return content

    def describe(self) -> dict[str, Any]:
        """What was sent, what was not and why."""
        lost = {"dropped": dict(self.dropped), "truncated": self.truncated, "largest_bytes": self.largest}
        return {**super().describe(), "made": self._made, **lost}
