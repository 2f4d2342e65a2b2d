"""The way of one frame: `Work` is what each stage fills in, `Chain` holds the stages between source and sinks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from roadedge.errors import DataError
from roadedge.latency.clock import StageTimer
from roadedge.postprocess import postprocess
from roadedge.preprocess import Feeds, band_complaint, outside_density, preprocess
from roadedge.sample import RoadMask
from roadedge.spec import ModelSpec
from roadedge.stream.sources import Frame, Second
from roadedge.stream.synchronisation import Pairing


class Infers(Protocol):
    """What the pipeline needs of a runner."""

    spec: ModelSpec

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        """Feeds → {"probability": (N, H, W) uint8}."""


@dataclass(slots=True)
class Work:
    """One frame on its way. `captured_ns` is the intended capture by the run's clock, `begin_ns` when decoding began.

    `queued_ns` is when the last stage let go of it; `wait_ms` adds up how long it then stood in line.
    """

    index: int
    frame: Frame
    timer: StageTimer
    captured_ns: int
    begin_ns: int
    time_s: float
    clock: str
    queued_ns: int = 0
    wait_ms: float = 0.0
    second: Second | None = None
    feeds: Feeds | None = None
    outputs: Feeds | None = None
    mask: RoadMask | None = None
    device_ms: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Remarks:
    """What there is to say about the frames of a run, counted; `notices` are sentences, told once each.

    `network_size` is the (H, W) that the network was last fed.
    """

    notices: list[str] = field(default_factory=list)
    more_notices: int = 0
    outside_band: int = 0
    outside_density: int = 0
    network_size: tuple[int, int] | None = None

    def notice(self, text: str) -> None:
        """Keep a sentence; of a stream's thousands the first hundred and a count."""
        if len(self.notices) < 100:
            self.notices.append(text)
        else:
            self.more_notices += 1


class Chain:
    """The stages from a decoded frame to its road mask, each a function that fills in its part of a `Work`."""

    def __init__(
        self, runner: Infers, pairing: Pairing, remarks: Remarks, threshold: float | None = None, strict: bool = False
    ) -> None:
        self._runner, self._pairing, self._remarks = runner, pairing, remarks
        self._threshold, self._strict = threshold, strict
        self._bands: dict[float | None, str | None] = {}

    @property
    def steps(self) -> tuple[tuple[str, Callable[[Work], None]], ...]:
        """The stages by name, in their order."""
        return (
            ("heatmap", self.pair),
            ("preprocess", self.preprocess),
            ("infer", self.infer),
            ("postprocess", self.postprocess),
        )

    def pair(self, work: Work) -> None:
        """Give the frame its place and draw the points that belong to it."""
        spec = self._runner.spec
        if work.frame.capture_s is None and work.clock == "schedule":  # points in time go by when it was due
            work.frame = dataclasses.replace(work.frame, capture_s=work.time_s)
        work.frame = self._pairing.place(work.frame)
        self._check_band(work.frame.sample.gsd_m)
        if work.frame.notice:
            self._remarks.notice(work.frame.notice)
        if spec.second is not None:
            work.second = self._pairing.second(work.frame, spec)
            self._check_points(work.frame, work.second)

    def preprocess(self, work: Work) -> None:
        """Resample, rasterise, pad."""
        raster = None if work.second is None else work.second.raster
        work.feeds = preprocess(work.frame.sample, self._runner.spec, self._strict, raster, checked=True)
        height, width = next(iter(work.feeds.values())).shape[1:3]
        self._remarks.network_size = (height, width)

    def infer(self, work: Work) -> None:
        """Call the network."""
        assert work.feeds is not None
        work.outputs = self._runner.infer(work.feeds)
        work.feeds = None  # its memory is wanted by the next frame
        last_ms: dict[str, float] = getattr(self._runner, "last_ms", {})
        work.device_ms = {name: value for name, value in last_ms.items() if name != "infer"}

    def postprocess(self, work: Work) -> None:
        """Blend, crop, resample back, threshold."""
        assert work.outputs is not None
        work.mask = postprocess(work.outputs, self._runner.spec, work.frame.sample, self._threshold)
        work.outputs = None

    def _check_band(self, gsd_m: float | None) -> None:
        key = None if gsd_m is None else float(f"{gsd_m:.3g}")  # a drone that climbs has a new one in each frame
        if key not in self._bands:
            complaint = band_complaint(gsd_m, self._runner.spec)
            if complaint is not None:
                if self._strict:
                    raise DataError(complaint)
                if not any(self._bands.values()):
                    self._remarks.notice(complaint)
            self._bands[key] = complaint
        self._remarks.outside_band += self._bands[key] is not None

    def _check_points(self, frame: Frame, second: Second) -> None:
        """Points that all miss the image are dropped by contract, but they hint at a wrong unit or a wrong pair."""
        sample = frame.sample
        self._remarks.outside_density += outside_density(second.points, second.raster.shape, self._runner.spec)
        if second.points == 0 and sample.second is not None and len(sample.second):
            height, width = sample.size
            self._remarks.notice(
                f"none of the {len(sample.second)} points of {sample.id} lies on its image of {width} x {height} "
                "pixels; it was run on the image alone"
            )
