"""A runner without a network and a source without files, on a clock that is moved by hand."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from typing_extensions import Self

from roadedge.preprocess import Feeds
from roadedge.runners.base import Requested
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.stream.sources import Frame, Source
from tests.latency.hand_clock import HandClock

SPEC = ModelSpec("fake", gsd_m=None, gsd_band_m=None)


class FakeRunner:
    """Says road where the image is brighter than half; takes `service_ms` of the clock for each call in turn."""

    name, version, device, precision, graph_precision = "fake", "1", "CPU", "fp32", "fp32"

    def __init__(
        self, clock: HandClock | None = None, service_ms: tuple[float, ...] = (), spec: ModelSpec = SPEC
    ) -> None:
        self.spec = spec
        self.requested = Requested()
        self.provenance: dict[str, Any] = {"path": str(Path(__file__)), "accuracy": {"G_IoU": 0.9}}
        self.last_ms: dict[str, float] = {}
        self.feeds: list[Feeds] = []
        self.closed = False
        self._clock, self._service_ms = clock, service_ms

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        if self._clock is not None and self._service_ms:
            self._clock.pass_ms(self._service_ms[min(len(self.feeds), len(self._service_ms) - 1)])
        self.feeds.append(feeds)
        if "image" in feeds:
            return {"probability": feeds["image"].max(axis=3)}
        return {"probability": feeds["trajectory"][..., 0]}

    def describe(self) -> dict[str, Any]:
        return {"model": "fake", "backend": self.name, "device": self.device, "precision": self.precision}

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FakeSource(Source):
    """`count` black frames of 32 x 32 pixels; each takes `decode_ms` of the clock."""

    moving = True

    def __init__(self, clock: HandClock, count: int, rate_hz: float | None = None, decode_ms: float = 0.0) -> None:
        self.name, self.count, self.rate_hz = "fake", count, rate_hz
        self._clock, self._decode_ms = clock, decode_ms
        self.index = 0

    def read(self) -> Frame | None:
        if self.index >= (self.count or 0):
            return None
        self._clock.pass_ms(self._decode_ms)
        name = self.name_of(self.index)
        self.index += 1
        return Frame(name, Sample(np.zeros((32, 32, 3), np.uint8), id=name))

    def skip(self, count: int) -> int:
        passed = min(count, (self.count or 0) - self.index)
        self.index += passed
        return passed
