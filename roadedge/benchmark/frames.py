"""What a benchmark feeds: frames of a source, prepared before the clock starts wherever they are not to be timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from roadedge.errors import DataError, SourceError, UsageError
from roadedge.preprocess import Feeds, preprocess
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.stream.sources import Frame, Second, Source

RING = 16  # frames that take turns where reading is not timed: one frame again and again would stay in the caches
RING_BYTES = 1 << 28  # of feeds: large images in many windows take fewer turns
STEP_S = 1.0  # of a flight between two of them


@dataclass(frozen=True, slots=True)
class Prepared:
    """One frame, ready: its sample, the raster of its second modality, and what the network is fed."""

    name: str
    sample: Sample
    second: Second | None
    feeds: Feeds


class Repeating(Source):
    """A source that begins anew at its end, so that a few files last as long as the benchmark does."""

    def __init__(self, make: Callable[[], Source]) -> None:
        """Open the source; `make` opens another one."""
        self._make, self._now = make, make()
        self.name, self.rate_hz, self.moving = self._now.name, self._now.rate_hz, self._now.moving
        self._given = 0

    def prepare(self) -> None:
        """Prepare the source."""
        self._now.prepare()

    def read(self) -> Frame | None:
        """The next frame, or the first one again.

        Raises:
            DataError: it holds no frame at all, or a bad one.
        """
        frame = self._now.read()
        if frame is None and self._given:
            self._again()
            frame = self._now.read()
        if frame is None:
            raise DataError(f"{self.name} gave no frame; take a source that has one")
        self._given += 1
        return frame

    def skip(self, count: int) -> int:
        """Pass over frames, over the end too; a source without any passes over none."""
        left = count
        for _ in range(2 * count + 2):
            left -= self._now.skip(left)
            if not left:
                break
            self._again()
        self._given += count - left
        return count - left

    def second(self, frame: Frame, spec: ModelSpec) -> Second:
        """As the source draws it."""
        return self._now.second(frame, spec)

    def interrupt(self) -> None:
        """Interrupt the source."""
        self._now.interrupt()

    def close(self) -> None:
        """Close it."""
        self._now.close()

    def _again(self) -> None:
        self._now.close()
        self._now = self._make()
        self._now.prepare()


def default_source(spec: ModelSpec, rate_hz: float) -> str:
    """A synthetic flight whose frames are one window of the network."""
    height, width = spec.size or (512, 512)
    return f"synth:{width}x{height}@{rate_hz:g}"


def open_frames(text: str) -> Source:
    """Open a source that does not end.

    Raises:
        UsageError: a live source, which no benchmark can repeat.
        SourceError, DataError: it cannot be opened.
    """
    from roadedge.stream.inputs import SourceOptions
    from roadedge.stream.opening import open_source

    source = open_source(text, SourceOptions())
    if source.delivers:
        source.close()
        raise UsageError(
            f"{text} delivers frames on its own, and no benchmark can repeat it; "
            "take files or synth:WxH@RATE, and `roadedge infer` for a live source"
        )
    if source.live:
        return source
    source.close()
    return Repeating(lambda: open_source(text, SourceOptions()))


def read_frame(source: Source) -> Frame:
    """The next frame of a source that has no end; SourceError where it ended all the same."""
    frame = source.read()
    if frame is None:
        raise SourceError(f"{source.name} ended; a benchmark needs a source that can be repeated")
    return frame


def prepare_frame(frame: Frame, source: Source, spec: ModelSpec) -> Prepared:
    """Draw and preprocess a frame, untimed."""
    second = source.second(frame, spec) if spec.second is not None else None
    feeds = preprocess(frame.sample, spec, second=None if second is None else second.raster)
    return Prepared(frame.name, frame.sample, second, feeds)


def prepare_ring(source: Source, spec: ModelSpec, count: int = RING) -> list[Prepared]:
    """At most `count` frames ready to be fed, as many as RING_BYTES hold; those of a flight lie a second apart."""
    ring: list[Prepared] = []
    apart = round(STEP_S * source.rate_hz) - 1 if source.live and source.rate_hz else 0
    for _ in range(count):
        ring.append(prepare_frame(read_frame(source), source, spec))
        if (len(ring) + 1) * max(sum(plane.nbytes for plane in one.feeds.values()) for one in ring) > RING_BYTES:
            break
        if apart > 0:
            source.skip(apart)
    return ring


def stacked(ring: list[Prepared], batch: int, spec: ModelSpec) -> Feeds:
    """The first window of each prepared frame in turn as one batch."""
    windows = [ring[number % len(ring)].feeds for number in range(batch)]
    return {name: np.concatenate([feeds[name][:1] for feeds in windows]) for name in spec.inputs}
