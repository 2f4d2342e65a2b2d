"""ConvNeXt as an encoder: four maps at strides 4, 8, 16, 32, each behind a norm of its own.

Source: "A ConvNet for the 2020s" (CVPR 2022). The linear layers of a block are 1 x 1 convolutions, which are the same
and which quantization knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roadedge.models.layers import ChannelNorm, DropPath, PixelLinear, path_shares

EPSILON = 1e-6  # of the norms
DROPPED_PATHS = 0.4


class ConvNextBlock(nn.Module):
    """x + scale · shrink(gelu(widen(norm(depthwise(x)))))."""

    def __init__(self, channels: int, dropped: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            ChannelNorm(channels, EPSILON),
            PixelLinear(channels, 4 * channels),
            nn.GELU(),
            PixelLinear(4 * channels, channels),
        )
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.drop = DropPath(dropped)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        out: Tensor = x + self.drop(self.scale * self.body(x))
        return out


class ConvNext(nn.Module):
    """(N, inputs, H, W) → maps of `widths` channels at H/4, H/8, H/16, H/32."""

    def __init__(self, inputs: int, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        shares = iter(path_shares(sum(depths), DROPPED_PATHS))
        self.stages = nn.ModuleList()
        before = inputs
        for width, depth in zip(widths, depths, strict=True):
            if len(self.stages):
                enter = nn.Sequential(ChannelNorm(before, EPSILON), nn.Conv2d(before, width, 2, 2))
            else:
                enter = nn.Sequential(nn.Conv2d(before, width, 4, 4), ChannelNorm(width, EPSILON))
            self.stages.append(nn.Sequential(enter, *(ConvNextBlock(width, next(shares)) for _ in range(depth))))
            before = width
        self.norms = nn.ModuleList(ChannelNorm(width, EPSILON) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The four maps, finest first."""
        maps = []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x = stage(x)
            maps.append(norm(x))
        return maps
