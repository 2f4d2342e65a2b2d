"""CMIPNet on HRNet-W18: four resolutions side by side, channels exchanged between the streams in every block.

Source: "Lightweight Cross-Modal Information Measure and Propagation for Road Extraction from Remote Sensing Image and
Trajectory/LiDAR", TGRS 2024, and its code (yuqiuyuqiu/CMIPNet at 54e2014, Apache-2.0); HRNet is Wang et al. (TPAMI
2020). The norms where resolutions meet are shared by the streams, as published. Different from that code: the image
comes as red, green, blue; the penalty is on the norms that exchange and not on those of the stems; logits are returned
without the sigmoid.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roadedge.models.blocks import RoadNet, conv_bn, fold_batch_norms
from roadedge.models.cmipnet import ExchangeBlock, FrozenExchange, exchanged, freeze_streams, informative, polarisation
from roadedge.models.dlinknet import FrozenConv, SharedConv, Streams
from roadedge.models.streams import GreyNet
from roadedge.spec import ModelSpec

WIDTHS = (18, 36, 72, 144)
STEM = 64  # channels of the stem and of the 3 x 3 convolutions of the first stage, whose outputs have four times that
FIRST_DEPTH = 4  # bottlenecks of the first stage
MODULES = (1, 4, 3)  # of the stages with two, three and four resolutions
DEPTH = 4  # blocks of a resolution in a module
Scales = list[Streams]  # for each resolution, the finest first, the maps of all streams


class CMIPHRNet(GreyNet):
    """9 924 049 parameters with image and trajectory; with one input the HRNet that remains."""

    def __init__(self, spec: ModelSpec, width: float = 1.0) -> None:
        """`width` scales all channels."""
        super().__init__(spec)
        streams, widths, stem_width = len(spec.inputs), [int(width * w) for w in WIDTHS], int(width * STEM)
        self.stems = nn.ModuleDict({name: stem(3 if name == "image" else 1, stem_width) for name in spec.inputs})
        outputs = 4 * stem_width
        bottlenecks = [ExchangeBottleneck(stem_width if i == 0 else outputs, stem_width, streams) for i in range(4)]
        self.first = nn.Sequential(*bottlenecks)
        self.split = SharedConv(nn.Conv2d(outputs, widths[0], 3, 1, 1, bias=False), streams)
        coarser = [SharedConv(nn.Conv2d(outputs, widths[1], 3, 2, 1, bias=False), streams)]
        for i in (1, 2):
            coarser.append(SharedConv(nn.Conv2d(widths[i], widths[i + 1], 3, 2, 1, bias=False), streams))
        self.coarser = nn.ModuleList(coarser)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Resolutions(widths[: i + 2], streams) for _ in range(count)))
            for i, count in enumerate(MODULES)
        )
        joined = sum(widths) * streams
        self.join = nn.Sequential(nn.Conv2d(joined, joined, 1), nn.BatchNorm2d(joined), nn.ReLU())
        self.fuse = nn.Conv2d(joined, 1, 3, padding=1)

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W)}."""
        maps = self.maps(feeds)
        streams = self.first([stem(x) for stem, x in zip(self.stems.values(), maps, strict=True)])
        scales: Scales = [[torch.relu(x) for x in self.split(streams)]]
        for stage, coarser in zip(self.stages, self.coarser, strict=True):
            source = streams if len(scales) == 1 else scales[-1]
            scales = stage([*scales, [torch.relu(x) for x in coarser(source)]])
        finest = scales[0][0]
        parts = [resized(scale[m], finest) for m in range(len(maps)) for scale in scales]
        return {"logits": resized(self.fuse(self.join(torch.cat(parts, 1))), maps[0])}

    def exchanging(self) -> list[SharedConv]:
        """The convolutions behind whose norms the streams exchange channels, in order; none with one input."""
        found: list[SharedConv] = []
        for module in self.modules():
            if isinstance(module, ExchangeBlock):
                found.append(module.second)
            elif isinstance(module, ExchangingConv):
                found.append(module)
        return found if len(self.spec.inputs) == 2 else []

    def penalty(self) -> Tensor:
        """λ Σ [t Σ|γ| - Σ|γ - mean γ|] over the norms that exchange."""
        return sum((polarisation(shared) for shared in self.exchanging()), super().penalty())

    def deployed(self, fold: bool = False) -> RoadNet:
        """An equal network for export: the exchange is a constant; `fold` as in `CMIPNet.deployed`."""
        network = copy.deepcopy(self).eval()
        freeze_streams(network, fold)
        fold_batch_norms(network)
        return network

    def folded(self) -> RoadNet:
        """Each stream with convolutions of its own."""
        return self.deployed(fold=True)

    def structure(self) -> dict[str, Tensor]:
        """The γ by which channels are exchanged."""
        own = {id(norm.weight) for shared in self.exchanging() for norm in shared.norms}
        return {name: p.detach() for name, p in self.named_parameters() if id(p) in own}


class ExchangingConv(SharedConv):
    """A shared convolution with private norms, behind which channels are exchanged."""

    def forward(self, streams: Streams) -> Streams:
        """Convolution, norms, exchange."""
        inner = super().forward(streams)
        return exchanged(inner, informative(self.scales())) if len(inner) == 2 else inner

    def frozen(self, fold: bool) -> FrozenConv:
        """The same in eval mode with a constant exchange."""
        return FrozenExchange(self, fold)


class ExchangeBottleneck(nn.Module):
    """1 x 1, 3 x 3 with exchange, 1 x 1 to four times the width, on all streams."""

    def __init__(self, inputs: int, width: int, streams: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.reduce = SharedConv(nn.Conv2d(inputs, width, 1, bias=False), streams)
        self.middle = ExchangingConv(nn.Conv2d(width, width, 3, 1, 1, bias=False), streams)
        self.expand = SharedConv(nn.Conv2d(width, outputs, 1, bias=False), streams)
        projects = inputs != outputs
        self.shortcut = SharedConv(nn.Conv2d(inputs, outputs, 1, bias=False), streams) if projects else None

    def forward(self, streams: Streams) -> Streams:
        """(N, inputs, H, W) → (N, 4 width, H, W) for each stream."""
        inner: Streams = self.middle([torch.relu(x) for x in self.reduce(streams)])
        inner = self.expand([torch.relu(x) for x in inner])
        outer = streams if self.shortcut is None else self.shortcut(streams)
        return [torch.relu(a + b) for a, b in zip(inner, outer, strict=True)]


class Resolutions(nn.Module):
    """A module of HRNet: blocks on each resolution, then each resolution becomes the sum of all, brought to its size.

    `paths.i.j` brings resolution j to resolution i; it is shared by the streams with its norms.
    """

    def __init__(self, widths: Sequence[int], streams: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(ExchangeBlock(width, width, 1, streams) for _ in range(DEPTH))) for width in widths
        )
        count = range(len(widths))
        self.paths = nn.ModuleList(nn.ModuleList(path(widths, j, i) for j in count) for i in count)

    def forward(self, scales: Scales) -> Scales:
        """As many resolutions out as in, of the same shapes."""
        scales = [branch(streams) for branch, streams in zip(self.branches, scales, strict=True)]
        out: Scales = []
        for paths in self.paths:
            assert isinstance(paths, nn.ModuleList)
            sums = []
            for m in range(len(scales[0])):
                total = paths[0](scales[0][m])
                for to_here, streams in zip(list(paths)[1:], scales[1:], strict=True):
                    total = total + to_here(streams[m])
                sums.append(torch.relu(total))
            out.append(sums)
        return out


def path(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """From one resolution to another: 1 x 1 and nearest doubling, or strided 3 x 3, the last of them without ReLU."""
    if source == target:
        return nn.Identity()
    if source > target:
        rise = nn.Upsample(scale_factor=float(2 ** (source - target)), mode="nearest")
        return nn.Sequential(*conv_bn(widths[source], widths[target], 1), rise)
    steps: list[nn.Module] = []
    for step in range(source + 1, target + 1):
        last = step == target
        steps += conv_bn(widths[source], widths[target] if last else widths[source], 3, 2)
        steps += [] if last else [nn.ReLU()]
    return nn.Sequential(*steps)


def stem(channels: int, width: int) -> nn.Sequential:
    """Private to a modality: (N, channels, H, W) → (N, width, H/4, W/4)."""
    return nn.Sequential(*conv_bn(channels, width, 3, 2), nn.ReLU(), *conv_bn(width, width, 3, 2), nn.ReLU())


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the side of `like`, corner pixels onto corner pixels, as published."""
    return nn.functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)
