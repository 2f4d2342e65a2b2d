"""CMIPNet on the D-LinkNet34 trunk: in each residual block channels of little information come from the other stream.

One ResNet-34 D-LinkNet runs on both modalities with the same convolutions and private batch-norms. How much a channel
tells is read off its batch-norm: |γ| below the first valley of the histogram of |γ| means little, and the channel of
the other stream takes its place. A polarisation penalty parts the γ into two groups while training.

Source: "Lightweight Cross-Modal Information Measure and Propagation for Road Extraction from Remote Sensing Image and
Trajectory/LiDAR", TGRS 2024, and its code (yuqiuyuqiu/CMIPNet at 54e2014, Apache-2.0). Different from that code: the
decoders run once, the logits are returned without the sigmoid, no valley means no exchange.
"""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor, nn

from roadedge.models.blocks import Normalise, RoadNet, fold_batch_norms
from roadedge.models.dlinknet import Centre, Decoder, FrozenConv, Part, SharedConv, Streams
from roadedge.spec import ModelSpec

WIDTHS = (64, 128, 256, 512)
DEPTHS = (3, 4, 6, 3)  # ResNet-34's
PENALTY_WEIGHT = 3e-4  # λ
PENALTY_SPARSITY = 0.6  # t, the share of the plain L1 term
GREY_MEAN, GREY_STD = 127.5, 255 / 3.2  # v / 255 * 3.2 - 1.6


class CMIPNet(RoadNet):
    """Two streams, or with one input the D-LinkNet34 that remains; 31 117 873 parameters with image and trajectory."""

    def __init__(self, spec: ModelSpec, width: float = 1.0) -> None:
        """`width` scales all channels."""
        super().__init__(dataclasses.replace(spec, mean=(GREY_MEAN,) * 4, std=(GREY_STD,) * 4))
        streams, widths = len(spec.inputs), [int(width * channels) for channels in WIDTHS]
        self.normalise, self.stems = nn.ModuleDict(), nn.ModuleDict()
        for name in spec.inputs:
            channels = 3 if name == "image" else 1
            self.normalise[name] = Normalise((GREY_MEAN,) * channels, (GREY_STD,) * channels)
            self.stems[name] = stem(name, widths[0])
        self.layers = nn.ModuleList()
        inputs = widths[0]
        for outputs, depth in zip(widths, DEPTHS, strict=True):
            blocks = [ExchangeBlock(inputs, outputs, 1 if outputs == widths[0] else 2, streams)]
            blocks += [ExchangeBlock(outputs, outputs, 1, streams) for _ in range(depth - 1)]
            self.layers.append(nn.Sequential(*blocks))
            inputs = outputs
        self.centre = Centre(widths[3])
        narrower = (*widths[2::-1], widths[0])
        self.decoders = nn.ModuleList(Decoder(*pair, streams) for pair in zip(widths[::-1], narrower, strict=True))
        fine = widths[0] // 2
        self.enlarge = nn.ConvTranspose2d(widths[0], fine, 4, 2, padding=1)
        self.smooth = nn.Conv2d(fine, fine, 3, padding=1)
        self.fuse = nn.Conv2d(fine * streams, 1, 3, padding=1)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # transposed ones keep torch's default, as published
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for conv in self.centre.convs:
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W)}."""
        streams = [self.stems[name](self.normalise[name](feeds[name])) for name in self.spec.inputs]
        skips: list[Streams] = []
        for layer in self.layers:
            streams = layer(streams)
            skips.append(streams)
        streams = [self.centre(x) for x in streams]
        for decoder, skip in zip(list(self.decoders)[:3], skips[2::-1], strict=True):
            streams = [x + other for x, other in zip(decoder(streams), skip, strict=True)]
        streams = self.decoders[3](streams)
        fine = [torch.relu(self.smooth(torch.relu(self.enlarge(x)))) for x in streams]
        return {"logits": self.fuse(torch.cat(fine, 1))}

    def exchange_blocks(self) -> list[ExchangeBlock]:
        """The residual blocks that exchange, in order; none with one input or when frozen."""
        blocks = [block for block in self.modules() if isinstance(block, ExchangeBlock)]
        return blocks if len(self.spec.inputs) == 2 else []

    def penalty(self) -> Tensor:
        """λ Σ [t Σ|γ| - Σ|γ - mean γ|] over the second norms of the blocks: each γ is pushed up or to zero.

        Of the first stream's norm the first half of the channels counts, of the other one's the second half.
        """
        return sum((polarisation(block.second) for block in self.exchange_blocks()), super().penalty())

    def deployed(self, fold: bool = False) -> CMIPNet:
        """An equal network for export: the exchange is a constant, channels that no stream reads are not computed.

        Args:
            fold: False keeps each shared convolution one weight, read by both streams, with the private norms as
                constant scale and shift (125 MB). True folds them, and the weights of the trunk stand there twice.
        """
        network = copy.deepcopy(self).eval()
        for branch in network.stems.values():
            assert isinstance(branch, nn.Sequential)
            if isinstance(branch[0], BgrConv2d):
                branch[0] = branch[0].as_rgb()
        freeze_streams(network, fold)
        fold_batch_norms(network)
        return network

    def folded(self) -> RoadNet:
        """Each stream with convolutions of its own."""
        return self.deployed(fold=True)

    def structure(self) -> dict[str, Tensor]:
        """The γ by which channels are exchanged."""
        keys = [f"layers.{key}.weight" for key, module in self.layers.named_modules() if ".second.norms." in key]
        state = self.state_dict()
        return {key: state[key] for key in keys}


class ExchangeBlock(nn.Module):
    """relu(shortcut(x) + exchange(conv(relu(conv(x))))) on all streams; the shortcut is never exchanged."""

    def __init__(self, inputs: int, outputs: int, stride: int, streams: int) -> None:
        super().__init__()
        self.first = SharedConv(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), streams)
        self.second = SharedConv(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), streams)
        projects = stride != 1 or inputs != outputs
        shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.shortcut = SharedConv(shortcut, streams) if projects else None

    def forward(self, streams: Streams) -> Streams:
        """(N, inputs, H, W) → (N, outputs, H / stride, W / stride) for each stream."""
        inner: Streams = self.second([torch.relu(x) for x in self.first(streams)])
        if len(inner) == 2:
            inner = exchanged(inner, informative(self.second.scales()))
        outer = streams if self.shortcut is None else self.shortcut(streams)
        return [torch.relu(a + b) for a, b in zip(inner, outer, strict=True)]

    def frozen(self, fold: bool) -> FrozenBlock:
        """The same block in eval mode with a constant exchange."""
        return FrozenBlock(self, fold)


class FrozenBlock(nn.Module):
    """`ExchangeBlock` for export."""

    def __init__(self, block: ExchangeBlock, fold: bool) -> None:
        super().__init__()
        self.first = block.first.frozen(fold)
        self.shortcut = None if block.shortcut is None else block.shortcut.frozen(fold)
        self.second = FrozenExchange(block.second, fold)

    def forward(self, streams: Streams) -> Streams:
        """As `ExchangeBlock.forward`."""
        inner: Streams = self.second([torch.relu(x) for x in self.first(streams)])
        outer = streams if self.shortcut is None else self.shortcut(streams)
        return [torch.relu(a + b) for a, b in zip(inner, outer, strict=True)]


class FrozenExchange(FrozenConv):
    """Convolution and exchange for export: each stream computes what somebody reads, and gathers from both."""

    sources: Tensor

    def __init__(self, shared: SharedConv, fold: bool) -> None:
        count, channels = len(shared.norms), shared.conv.out_channels
        keep = informative(shared.scales()) if count == 2 else torch.ones(count, channels, dtype=torch.bool)
        exchanges = not bool(keep.all())
        parts = parts_read(keep, fold) if exchanges else shared.parts(fold)
        super().__init__(shared, parts)
        self.exchanges = exchanges
        if exchanges:
            self.register_buffer("sources", sources(keep, parts))

    def forward(self, streams: Streams) -> Streams:
        """The maps of both streams with norms and exchange."""
        inner = super().forward(streams)
        if not self.exchanges:
            return inner
        pool = torch.cat(inner, 1)
        return [pool.index_select(1, self.sources[m]) for m in (0, 1)]


def exchanged(maps: Streams, keep: Tensor) -> Streams:
    """Each stream's own channels where `keep` (2, C), the other stream's elsewhere."""
    first, second = (mask.view(1, -1, 1, 1) for mask in keep)
    return [torch.where(first, maps[0], maps[1]), torch.where(second, maps[1], maps[0])]


def polarisation(shared: SharedConv) -> Tensor:
    """λ [t Σ|γ| - Σ|γ - mean γ|], of the first stream's norm over its first half, of the second's over its second."""
    total = torch.zeros((), device=shared.conv.weight.device)
    for m, norm in enumerate(shared.norms):
        assert isinstance(norm, nn.BatchNorm2d)
        half = norm.weight.chunk(2)[m]
        total = total + PENALTY_SPARSITY * half.abs().sum() - (half - half.mean()).abs().sum()
    return PENALTY_WEIGHT * total


class BgrConv2d(nn.Conv2d):
    """A convolution whose weights expect blue, green, red, as published; it is fed red, green, blue."""

    def forward(self, input: Tensor) -> Tensor:
        """Turn the weights, not the image: there are fewer of them."""
        out: Tensor = self._conv_forward(input, self.weight.flip(1), self.bias)
        return out

    def as_rgb(self) -> nn.Conv2d:
        """An equal convolution whose weights expect red, green, blue."""
        assert self.bias is None
        out = nn.Conv2d(
            3,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            bias=False,
        )
        out.weight = nn.Parameter(self.weight.detach().flip(1))
        return out


def stem(name: str, width: int) -> nn.Sequential:
    """Private to a modality: (N, C, H, W) → (N, width, H/4, W/4). A raster's convolution has a bias, as published."""
    conv = BgrConv2d(3, width, 7, 2, 3, bias=False) if name == "image" else nn.Conv2d(1, width, 7, 2, 3)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1))


@torch.no_grad()
def informative(scales: Tensor) -> Tensor:
    """Which channels keep their own map: |γ| at or above the first valley of its histogram, all where there is none.

    The histogram has as many bins as channels, between the smallest and the largest |γ|. With d the differences of
    neighbouring counts, the valley is the first i with d[i] <= 0 < d[i + 1], and the threshold the right edge of bin
    i + 1. Nothing here waits for the device.

    Args:
        scales: (..., C), |γ|.

    Returns:
        (..., C) bool.
    """
    channels = scales.shape[-1]
    if channels < 3:  # three bins make the smallest valley
        return torch.ones_like(scales, dtype=torch.bool)
    low, high = scales.amin(-1, keepdim=True), scales.amax(-1, keepdim=True)
    span = (high - low).clamp_min(torch.finfo(scales.dtype).tiny)
    bins = ((scales - low) / span * channels).long().clamp(0, channels - 1)
    counts = torch.zeros_like(bins).scatter_add_(-1, bins, torch.ones_like(bins))
    steps = counts.diff(dim=-1)
    valleys = (steps[..., :-1] <= 0) & (steps[..., 1:] > 0)
    first = valleys.int().argmax(-1, keepdim=True)
    threshold = low + (first + 2) * (high - low) / channels
    return scales >= torch.where(valleys.any(-1, keepdim=True), threshold, low)


def parts_read(keep: Tensor, fold: bool) -> list[Part]:
    """Which channels of a block's second convolution which streams must compute.

    Args:
        keep: (2, C) bool, the channels that each stream keeps.
        fold: one part for each stream; else what both compute is one part, so that it keeps one weight.
    """
    reads = keep | ~keep.flip(0)  # a stream's channel is read by itself or by the other one
    if fold:
        return [(torch.nonzero(row).flatten(), (m,)) for m, row in enumerate(reads)]
    both, first, second = reads[0] & reads[1], reads[0] & ~reads[1], reads[1] & ~reads[0]
    return [(torch.nonzero(row).flatten(), who) for row, who in ((both, (0, 1)), (first, (0,)), (second, (1,)))]


def sources(keep: Tensor, parts: list[Part]) -> Tensor:
    """Where each stream finds its channels in the concatenation of what both compute: (2, C) indices."""
    owned = [torch.cat([channels for channels, readers in parts if m in readers]) for m in (0, 1)]
    place = torch.full(keep.shape, -1, device=keep.device)
    place[0, owned[0]] = torch.arange(len(owned[0]), device=keep.device)
    place[1, owned[1]] = torch.arange(len(owned[1]), device=keep.device) + len(owned[0])
    out = torch.where(keep, place, place.flip(0))
    assert bool((out >= 0).all())
    return out


def freeze_streams(module: nn.Module, fold: bool) -> None:
    """Replace, in place, each part that has a frozen form."""
    for name, child in list(module.named_children()):
        if isinstance(child, ExchangeBlock | SharedConv):
            module._modules[name] = child.frozen(fold)
        else:
            freeze_streams(child, fold)
