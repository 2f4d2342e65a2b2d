"""Our lightweight network in CMIPNet's spirit: two streams, shared weights, private normalisation, a fixed exchange.

The streams run side by side down to 1/8. The exchange is fixed when the network is built, on contiguous channel ranges
that are multiples of 16, and stands after the residual add, in blocks with a projection shortcut: a stream then just
does not compute the channels that it takes from the other one, no map is copied but by a concat, and conv + add + ReLU
stay one kernel. Where the ranges no longer overlap both streams hold the same map, and one stream goes on: fusion is
the limit of the exchange. One head predicts at 1/4 and shuffles its channels into pixels.

Source: the idea of exchange is CMIPNet's (TGRS 2024) and CEN's (NeurIPS 2020); the layout is ours.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from roadedge.models.blocks import Normalise, ResidualBlock, RoadNet, conv_bn, fold_batch_norms, folded
from roadedge.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Size:
    """Channels at the stem and at 1/4, 1/8, 1/16, 1/32, blocks of the last three stages, channels of the decoder."""

    stem: int
    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int]
    neck: int


SIZES = {
    "roadedge-n": Size(16, (16, 32, 64, 128), (2, 2, 2), 32),
    "roadedge-s": Size(16, (32, 64, 128, 160), (2, 3, 2), 64),
    "roadedge-m": Size(32, (48, 96, 192, 256), (2, 3, 2), 96),
}


class TwoStreamConv(nn.Module):
    """One convolution for both streams with a batch-norm for each."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        """One pass of the convolution over both streams, then each through its own norm."""
        both = self.conv(torch.cat(streams)).chunk(2)
        return [norm(x) for norm, x in zip(self.norms, both, strict=True)]

    def folded(self, keep: tuple[slice, slice] = (slice(None), slice(None))) -> nn.ModuleList:
        """The two convolutions that this is in eval mode."""
        norms = [norm for norm in self.norms if isinstance(norm, nn.BatchNorm2d)]
        return nn.ModuleList(folded(self.conv, norm, part) for norm, part in zip(norms, keep, strict=True))


class TwoStreamBlock(nn.Module):
    """A residual block of both streams; after its add, `exchange` (own_from, own_to) says which channels stay private.

    The image stream owns the channels [0, to), the second stream [from, C). Each takes the rest from the other one.
    (0, C) is no exchange; from = to makes both streams the same map, which is then returned once.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, exchange: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.first = TwoStreamConv(inputs, outputs, 3, stride)
        self.second = TwoStreamConv(outputs, outputs)
        projects = stride != 1 or inputs != outputs
        self.shortcut = TwoStreamConv(inputs, outputs, 1, stride) if projects else None
        if exchange is not None and not projects:
            raise ValueError("an exchange needs a projection shortcut, whose channels can be left out")
        self.exchange = exchange or (0, outputs)
        self.outputs = outputs

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        """Two maps in; two out, or one where the exchange is complete."""
        inner = self.second([torch.relu(x) for x in self.first(streams)])
        outer = self.shortcut(streams) if self.shortcut is not None else streams
        image, second = (torch.relu(a + b) for a, b in zip(inner, outer, strict=True))
        start, stop = self.exchange
        return exchanged(image[:, :stop], second[:, start:], start, stop, self.outputs)

    def deployed(self) -> DeployedTwoStreamBlock:
        """The same block with folded norms, computing only what is read."""
        return DeployedTwoStreamBlock(self)


class DeployedTwoStreamBlock(nn.Module):
    """`TwoStreamBlock` for export: no channel is computed that nobody reads."""

    def __init__(self, block: TwoStreamBlock) -> None:
        super().__init__()
        start, stop = self.exchange = block.exchange
        self.outputs = block.outputs
        keep = (slice(0, stop), slice(start, None))
        self.first, self.second = block.first.folded(), block.second.folded(keep)
        self.shortcut = None if block.shortcut is None else block.shortcut.folded(keep)

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        """As `TwoStreamBlock.forward`."""
        own = []
        for i, x in enumerate(streams):
            inner = self.second[i](torch.relu(self.first[i](x)))
            own.append(torch.relu(inner + (x if self.shortcut is None else self.shortcut[i](x))))
        return exchanged(own[0], own[1], *self.exchange, self.outputs)


def exchanged(image: Tensor, second: Tensor, start: int, stop: int, channels: int) -> list[Tensor]:
    """Fill up each stream from the other one: `image` holds the channels [0, stop), `second` [start, channels)."""
    if (start, stop) == (0, channels):
        return [image, second]
    if start == stop:
        return [torch.cat([image, second], 1)]
    return [torch.cat([image, second[:, stop - start :]], 1), torch.cat([image[:, :start], second], 1)]


class Stem(nn.Module):
    """Private to a modality: two strided convolutions, (N, C, H, W) → (N, width, H/4, W/4)."""

    def __init__(self, inputs: int, middle: int, width: int) -> None:
        super().__init__()
        self.first, self.second = conv_bn(inputs, middle, 3, 2), conv_bn(middle, width, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Downsample by four."""
        return torch.relu(self.second(torch.relu(self.first(x))))


class RoadEdgeNet(RoadNet):
    """roadedge-n, -s and -m, and with one input their single-modality twins."""

    def __init__(self, spec: ModelSpec, size: Size) -> None:
        super().__init__(spec)
        w4, w8, w16, w32 = size.widths
        self.normalise = nn.ModuleDict()
        self.stems = nn.ModuleDict()
        for name in spec.inputs:
            part = slice(0, 3) if name == "image" else slice(3, 4)
            self.normalise[name] = Normalise(spec.mean[part], spec.std[part])
            self.stems[name] = Stem(3 if name == "image" else 1, size.stem, w4)
        streams = len(spec.inputs)
        if streams == 2:
            self.quarter: nn.Module = TwoStreamBlock(w4, w4, 1)
            share = w8 // 4 // 16 * 16  # what each stream takes from the other one at 1/8
            eighth = [TwoStreamBlock(w4, w8, 2, (share, w8 - share) if share else None)]
            eighth += [TwoStreamBlock(w8, w8, 1) for _ in range(size.depths[0] - 1)]
            self.eighth = nn.ModuleList(eighth)
            merge = w16 * 5 // 8 // 16 * 16  # the image owns a little more than half
            first: nn.Module = TwoStreamBlock(w8, w16, 2, (merge, merge))
        else:
            self.quarter = ResidualBlock(w4, w4)
            self.eighth = nn.ModuleList([ResidualBlock(w4, w8, 2)])
            self.eighth += [ResidualBlock(w8, w8) for _ in range(size.depths[0] - 1)]
            first = ResidualBlock(w8, w16, 2)
        self.merge = first
        self.sixteenth = nn.Sequential(*[ResidualBlock(w16, w16) for _ in range(size.depths[1] - 1)])
        deepest = [ResidualBlock(w16, w32, 2)] + [ResidualBlock(w32, w32) for _ in range(size.depths[2] - 1)]
        self.deepest = nn.Sequential(*deepest)
        neck, fine = size.neck, max(16, size.neck // 2)
        self.lateral32 = conv_bn(w32, neck, 1)
        self.lateral16 = conv_bn(w16, neck, 1)
        self.lateral8 = conv_bn(w8 * streams, neck, 1)
        self.lateral4 = conv_bn(w4 * streams, fine, 1)
        self.smooth16 = conv_bn(neck, neck)
        self.smooth8 = conv_bn(neck, neck)
        self.narrow8 = conv_bn(neck, fine, 1)
        self.smooth4 = conv_bn(fine, fine)
        self.head = nn.Conv2d(fine, 16, 3, padding=1)
        self.shuffle = nn.PixelShuffle(4)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, -1.5)  # the prior: about a fifth of the pixels is road

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W)}."""
        streams = [self.stems[name](self.normalise[name](feeds[name])) for name in self.spec.inputs]
        streams = _both(self.quarter, streams)
        at4 = torch.cat(streams, 1)
        for block in self.eighth:
            streams = _both(block, streams)
        at8 = torch.cat(streams, 1)
        at16 = self.sixteenth(_both(self.merge, streams)[0])
        up = _upsampled(self.lateral32(self.deepest(at16)))
        up = _upsampled(torch.relu(self.smooth16(torch.relu(self.lateral16(at16) + up))))
        up = torch.relu(self.smooth8(torch.relu(self.lateral8(at8) + up)))
        up = torch.relu(self.lateral4(at4) + _upsampled(self.narrow8(up)))
        return {"logits": self.shuffle(self.head(torch.relu(self.smooth4(up))))}

    def deployed(self) -> RoadNet:
        """Norms folded, exchanged channels left out."""
        network = copy.deepcopy(self).eval()
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, TwoStreamBlock):
                    parent._modules[name] = child.deployed()
        fold_batch_norms(network)
        return network


def _both(block: nn.Module, streams: list[Tensor]) -> list[Tensor]:
    if len(streams) == 1:
        return [block(streams[0])]
    out: list[Tensor] = block(streams)
    return out


def _upsampled(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
