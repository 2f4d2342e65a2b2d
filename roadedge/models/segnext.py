"""SegNeXt T, S, B and D-SegNeXt T, S, B: a convolutional encoder whose blocks gate by strips or by a dilated chain.

Four stages at strides 4, 8, 16, 32; the last three meet at 1/8 in a light Hamburger head. D-SegNeXt is made for roads
in open-pit mines; its gate sees 69 pixels of its stage, at 1/32 more than two thousand of the image.

Source: SegNeXt (NeurIPS 2022); "Road Extraction from High-Resolution Remote Sensing Images of Open-Pit Mine Using
D-SegNeXt" (IEEE GRSL 2024). Different from their code: the bases of the head are fixed (`matrix_factors`), and the
backbone has no classifier that nothing reads (0.26 M parameters of T, 0.51 M of S and B, which the paper counts).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from roadedge.models.blocks import Freezable, RoadNet, scale_and_shift
from roadedge.models.layers import (
    ChannelNorm,
    DropPath,
    Enlarge,
    RoadDifference,
    joined,
    path_shares,
    scaled_by_outputs,
)
from roadedge.models.matrix_factors import MatrixFactors
from roadedge.spec import ModelSpec

EXPANSIONS = (8, 8, 4, 4)  # of the MLP, by stage
STRIPS = (7, 11, 21)
DILATIONS = (1, 2, 5, 9)
DROPPED_PATHS = 0.1
LAYER_SCALE = 0.01  # of a fresh residual branch


@dataclass(frozen=True, slots=True)
class Size:
    """Channels and blocks of the four stages, channels of the head, rank of its factorisation."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    head: int
    rank: int


SIZES = {
    "t": Size((32, 64, 160, 256), (3, 3, 5, 2), 256, 16),
    "s": Size((64, 128, 320, 512), (2, 2, 4, 2), 256, 16),
    "b": Size((64, 128, 320, 512), (3, 3, 12, 3), 512, 64),
}


class StripGate(nn.Module):
    """SegNeXt's: a depthwise 5 x 5, three pairs of strips on top of it, all summed and mixed, times the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.square = _depthwise(channels, (5, 5))
        self.strips = nn.ModuleList(
            nn.Sequential(_depthwise(channels, (1, length)), _depthwise(channels, (length, 1))) for length in STRIPS
        )
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        base = self.square(x)
        total = base
        for strip in self.strips:
            total = total + strip(base)
        out: Tensor = self.mix(total) * x
        return out


class DilatedGate(nn.Module):
    """D-SegNeXt's: four depthwise 5 x 5 in series, ever more dilated; all four outputs mixed, times the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.chain = nn.ModuleList(_depthwise(channels, (5, 5), dilation) for dilation in DILATIONS)
        self.mix = nn.Conv2d(len(DILATIONS) * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        out, links = x, []
        for conv in self.chain:
            out = conv(out)
            links.append(out)
        gated: Tensor = self.mix(torch.cat(links, 1)) * x
        return gated


class Attention(nn.Module):
    """x + mix(gate(gelu(mix(x))))."""

    def __init__(self, channels: int, gate: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 1)
        self.activation = nn.GELU()
        self.gate = gate(channels)
        self.outer = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        out: Tensor = x + self.outer(self.gate(self.activation(self.inner(x))))
        return out


class Block(nn.Module):
    """A gated attention and an MLP, each behind a batch-norm, scaled by channel and added to what came."""

    def __init__(self, channels: int, expansion: int, dropped: float, gate: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.first, self.second = PlainNorm(channels), PlainNorm(channels)
        self.attention = Attention(channels, gate)
        wide = channels * expansion
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, wide, 1), _depthwise(wide, (3, 3)), nn.GELU(), nn.Conv2d(wide, channels, 1)
        )
        self.attention_scale = nn.Parameter(torch.full((channels, 1, 1), LAYER_SCALE))
        self.mlp_scale = nn.Parameter(torch.full((channels, 1, 1), LAYER_SCALE))
        self.drop = DropPath(dropped)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        x = x + self.drop(self.attention_scale * self.attention(self.first(x)))
        x = x + self.drop(self.mlp_scale * self.mlp(self.second(x)))
        return x


class PlainNorm(nn.BatchNorm2d, Freezable):
    """A batch-norm that stands before what reads it; frozen a scale and a shift."""

    def frozen(self) -> nn.Module:
        """In eval mode."""
        return ScaleShift(*scale_and_shift(self))


class ScaleShift(nn.Module):
    """x * scale + shift by channel, constants."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.view(-1, 1, 1).clone())
        self.register_buffer("shift", shift.view(-1, 1, 1).clone())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        return x * self.scale + self.shift


class GroupNorm(nn.GroupNorm):
    """In 32 groups, without torch's look at the size of a batch, which cannot be traced."""

    def __init__(self, channels: int) -> None:
        super().__init__(32, channels)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class Hamburger(nn.Module):
    """Mix, factorise, mix, add, squeeze: the low-rank context of the whole map beside the map itself."""

    def __init__(self, inputs: int, width: int, rank: int) -> None:
        super().__init__()
        self.squeeze = _mixed(inputs, width)
        self.lower = nn.Conv2d(width, width, 1)
        self.factors = MatrixFactors(width, rank)
        self.upper = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), GroupNorm(width))
        self.align = _mixed(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, width, H, W)."""
        x = torch.relu(self.squeeze(x))
        x = torch.relu(x + self.upper(self.factors(torch.relu(self.lower(x)))))
        out: Tensor = torch.relu(self.align(x))
        return out


class SegNeXt(RoadNet):
    """Encoder, Hamburger head at 1/8, two classes whose difference is enlarged to the size of the feeds."""

    def __init__(self, spec: ModelSpec, size: Size, gate: Callable[[int], nn.Module]) -> None:
        super().__init__(spec)
        self.inputs = joined(spec)
        shares = iter(path_shares(sum(size.depths), DROPPED_PATHS))
        self.stages = nn.ModuleList()
        before = self.inputs.channels
        for width, depth, expansion in zip(size.widths, size.depths, EXPANSIONS, strict=True):
            blocks = [Block(width, expansion, next(shares), gate) for _ in range(depth)]
            enter = _halved(before, width) if len(self.stages) else _stem(before, width)
            self.stages.append(nn.Sequential(enter, *blocks, ChannelNorm(width)))
            before = width
        self.enlarge = Enlarge()
        self.head = Hamburger(sum(size.widths[1:]), size.head, size.rank)
        self.classify = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(size.head, 2, 1), RoadDifference())
        self.grow = nn.Upsample(scale_factor=8, mode="bilinear")
        scaled_by_outputs(self)

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W)}."""
        x, maps = self.inputs(feeds), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        eighth = [maps[1], *(self.enlarge(one, maps[1]) for one in maps[2:])]
        return {"logits": self.grow(self.classify(self.head(torch.cat(eighth, 1))))}


def segnext(spec: ModelSpec) -> SegNeXt:
    """By the last letter of the spec's name, `segnext-t` or `d-segnext-t`: parameters with an image alone in M.

    SegNeXt T 4.23, S 13.89, B 27.56; D-SegNeXt T 5.04, S 16.80, B 33.75.
    """
    gate: Callable[[int], nn.Module] = DilatedGate if spec.name.startswith("d-") else StripGate
    return SegNeXt(spec, SIZES[spec.name[-1]], gate)


def _depthwise(channels: int, kernel: tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    padding = (kernel[0] // 2 * dilation, kernel[1] // 2 * dilation)
    return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)


def _halved(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs))


def _stem(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_halved(inputs, outputs // 2), nn.GELU(), _halved(outputs // 2, outputs))


def _mixed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), GroupNorm(outputs))
