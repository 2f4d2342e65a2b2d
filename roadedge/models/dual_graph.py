"""Reasoning on two graphs: pixels of a coarse grid that attend by channel, and a few projected nodes that mix.

Source: the dual graph convolutional network (DGCNet, BMVC 2019), in the form of CU-dGCN (IGARSS 2023). Its 1-D
convolutions stand here as 1 x 1 convolutions over a map one pixel wide, which is the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from roadedge.models.blocks import Precise
from roadedge.models.layers import Enlarge

NODES = 16


class DualGraph(Precise):
    """Both branches side by side, joined by a 1 x 1 convolution; (N, C, H, W) → the same shape.

    Their products are sums over all pixels that nothing divides: a quarter of a million at full size.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial, self.feature = SpatialGraph(channels), FeatureGraph(channels)
        self.join = mixed(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Reason."""
        out: Tensor = self.join(torch.cat([self.spatial(x), self.feature(x)], 1))
        return out


class SpatialGraph(nn.Module):
    """x + x · local, where `local` is found on a grid eight times coarser by attention between channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shrink = nn.Sequential(*(part for _ in range(3) for part in _strided(channels)))
        self.query, self.key, self.value = (nn.Conv2d(channels, NODES, 1) for _ in range(3))
        self.mix = mixed(NODES, NODES)
        self.widen = mixed(NODES, channels, bias=True)
        self.enlarge = Enlarge(align_corners=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        coarse = self.shrink(x)
        query, key, value = (part(coarse).flatten(2) for part in (self.query, self.key, self.value))  # (N, 16, P)
        affinity = torch.softmax(query @ value.transpose(1, 2), -1)  # (N, 16, 16)
        attended = (key.transpose(1, 2) @ affinity).transpose(1, 2)  # (N, 16, P)
        mixed_nodes = self.mix(attended.unsqueeze(-1)).view_as(query)
        local = torch.relu(self.widen(mixed_nodes.unflatten(2, coarse.shape[-2:])) + coarse)
        out: Tensor = x * self.enlarge(local, x) + x
        return out


class FeatureGraph(nn.Module):
    """relu(x + back(mix(project(x)))): all pixels are gathered in 16 nodes, which mix and are spread out again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.state, self.project = mixed(channels, channels), mixed(channels, NODES)
        self.between_nodes, self.between_states = mixed(NODES, NODES), mixed(channels, channels)
        self.back = mixed(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        share = self.project(x).flatten(2)  # (N, 16, P)
        nodes = self.state(x).flatten(2) @ share.transpose(1, 2)  # (N, C, 16)
        nodes = nodes + self.between_nodes(nodes.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2)
        nodes = self.between_states(nodes.unsqueeze(-1)).squeeze(-1)
        return torch.relu(x + self.back((nodes @ share).view_as(x)))


def mixed(inputs: int, outputs: int, bias: bool = False) -> nn.Sequential:
    """1 x 1 convolution and batch-norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=bias), nn.BatchNorm2d(outputs))


def _strided(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False), nn.BatchNorm2d(channels)
