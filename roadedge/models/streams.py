"""An encoder-decoder in steps, so that two of them can be run side by side, and the networks that one or two make.

Early fusion is one stream that takes all channels, with one input the single-modality network; late fusion is a stream
for each input whose finest maps are concatenated before the last convolution.

Source: the baselines of the CMMPNet paper (TNNLS 2022) and of Sun et al. (CVPR 2019).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from roadedge.models.blocks import Normalise, RoadNet
from roadedge.spec import ModelSpec

GREY_MEAN, GREY_STD = 127.5, 255 / 3.2  # v / 255 * 3.2 - 1.6, of all networks here


class Stream(nn.Module, abc.ABC):
    """An encoder-decoder in steps: `enter`, some of `down`, `turn` at the deepest place, as many of `up`, `finish`.

    `widths` are the channels after each `down`, `up_widths` after each `up`, `fine` after `finish`; `skips` says after
    which `down` the map is that an `up` takes in, None where it takes none.
    """

    widths: tuple[int, ...]
    up_widths: tuple[int, ...]
    skips: tuple[int | None, ...]
    fine: int

    @abc.abstractmethod
    def enter(self, x: Tensor) -> Tensor:
        """(N, C, H, W) of normalised grey levels → what `down` takes first."""

    @abc.abstractmethod
    def down(self, step: int, x: Tensor) -> Tensor:
        """A step of the encoder."""

    @abc.abstractmethod
    def turn(self, x: Tensor) -> Tensor:
        """The deepest map → what `up` takes first."""

    @abc.abstractmethod
    def up(self, step: int, x: Tensor, skip: Tensor | None) -> Tensor:
        """A step of the decoder, with the map that it takes in."""

    @abc.abstractmethod
    def finish(self, x: Tensor) -> Tensor:
        """→ (N, fine, H, W), or where `last` pads otherwise a pixel less."""

    @abc.abstractmethod
    def last(self, channels: int) -> nn.Conv2d:
        """A fresh last convolution, channels → 1 logit."""


Between = Callable[[list[Tensor]], list[Tensor]]


def walk(streams: Sequence[Stream], maps: list[Tensor], between: Sequence[Between] = ()) -> list[Tensor]:
    """Run streams side by side to their finest maps.

    Args:
        streams: of equal layout.
        maps: the normalised input of each, (N, C, H, W).
        between: what the maps of all streams go through together after each `down` and each `up`, in this order; what
            comes out is also what the decoder takes in. None by default.
    """
    first = streams[0]
    maps = [stream.enter(x) for stream, x in zip(streams, maps, strict=True)]
    kept: list[list[Tensor]] = []
    for i in range(len(first.widths)):
        maps = [stream.down(i, x) for stream, x in zip(streams, maps, strict=True)]
        maps = between[i](maps) if between else maps
        kept.append(maps)
    maps = [stream.turn(x) for stream, x in zip(streams, maps, strict=True)]
    for i, source in enumerate(first.skips):
        skips: Sequence[Tensor | None] = [None] * len(streams) if source is None else kept[source]
        maps = [stream.up(i, x, skip) for stream, x, skip in zip(streams, maps, skips, strict=True)]
        maps = between[len(first.widths) + i](maps) if between else maps
    return [stream.finish(x) for stream, x in zip(streams, maps, strict=True)]


class GreyNet(RoadNet):
    """A network that takes grey levels as the published ones do, v / 255 * 3.2 - 1.6."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(dataclasses.replace(spec, mean=(GREY_MEAN,) * 4, std=(GREY_STD,) * 4))
        self.normalise = nn.ModuleDict()
        for name in spec.inputs:
            channels = 3 if name == "image" else 1
            self.normalise[name] = Normalise((GREY_MEAN,) * channels, (GREY_STD,) * channels)

    def maps(self, feeds: dict[str, Tensor]) -> list[Tensor]:
        """The normalised feeds, each (N, C, H, W), in the order of the inputs."""
        return [self.normalise[name](feeds[name]) for name in self.spec.inputs]


def ordered(inputs: Sequence[str]) -> tuple[str, ...]:
    """The inputs with the image first, as the channels of one stream are."""
    return tuple(sorted(inputs, key=lambda name: name != "image"))


class EarlyFusion(GreyNet):
    """One stream that takes all channels.

    Args:
        spec: its inputs.
        make: from the inputs, the image first, to a stream.
    """

    def __init__(self, spec: ModelSpec, make: Callable[[tuple[str, ...]], Stream]) -> None:
        super().__init__(spec)
        self.order = ordered(spec.inputs)
        self.stream = make(self.order)
        self.fuse = self.stream.last(self.stream.fine)

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W)}."""
        x = torch.cat([self.normalise[name](feeds[name]) for name in self.order], 1)
        return {"logits": self.fuse(walk([self.stream], [x])[0])}


class LateFusion(GreyNet):
    """A stream with weights of its own for each input, and one last convolution over the finest maps of all.

    Args:
        spec: its inputs.
        make: from one input to a stream; the streams must have one layout.
    """

    def __init__(self, spec: ModelSpec, make: Callable[[tuple[str, ...]], Stream]) -> None:
        super().__init__(spec)
        self.streams = nn.ModuleDict({name: make((name,)) for name in spec.inputs})
        first = self.lanes()[0]
        self.fuse = first.last(first.fine * len(spec.inputs))

    def lanes(self) -> list[Stream]:
        """The streams, in the order of the inputs."""
        return [stream for stream in self.streams.values() if isinstance(stream, Stream)]

    def between(self) -> Sequence[Between]:
        """What the streams tell each other on the way; nothing here."""
        return ()

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W)}."""
        fine = walk(self.lanes(), self.maps(feeds), self.between())
        return {"logits": self.fuse(torch.cat(fine, 1))}
