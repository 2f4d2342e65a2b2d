"""The ResNet-34 trunk of the published baselines, with torchvision's names, so that ImageNet weights load by name.

Source: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016); the stem of more than three channels is
that of Sun et al. (CVPR 2019). The image comes as red, green, blue, which ImageNet's weights expect; the published code
feeds blue first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roadedge.models.blocks import Freezable, fold_batch_norms

WIDTHS = (64, 128, 256, 512)
DEPTHS = (3, 4, 6, 3)


class BasicBlock(nn.Module):
    """relu(downsample(x) + conv(relu(conv(x)))), each convolution with its norm."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H / stride, W / stride)."""
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        out: Tensor = torch.relu(inner + self.downsample(x))
        return out


def residual_layer(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    """One of ResNet's layers; where the width changes, its first block halves the side."""
    first = BasicBlock(inputs, outputs, 1 if inputs == outputs else 2)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(depth - 1)))


class Stem(Freezable):
    """Image, raster or both → (N, width, H/4, W/4).

    Of both, each has a convolution of its own, and what they give is added before the norm: `conv1` stays ImageNet's.

    Args:
        inputs: as `ModelSpec.inputs`; the image comes first.
        width: channels out.
        bias: whether the convolution of a raster that is alone has a bias; beside an image it has one.
    """

    def __init__(self, inputs: Sequence[str], width: int, bias: bool = False) -> None:
        super().__init__()
        channels = 3 if "image" in inputs else 1
        self.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=bias and channels == 1)
        self.second = nn.Conv2d(1, width, 7, 2, 3) if len(inputs) == 2 else None
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 3 or 4, H, W) → a quarter of the side."""
        first = self.conv1(x) if self.second is None else self.conv1(x[:, :3]) + self.second(x[:, 3:])
        out: Tensor = self.pool(torch.relu(self.bn1(first)))
        return out

    def frozen(self) -> nn.Module:
        """One convolution of all channels."""
        conv = self.conv1
        if self.second is not None:
            assert self.second.bias is not None
            conv = nn.Conv2d(4, conv.out_channels, 7, 2, 3, device=conv.weight.device)
            conv.weight = nn.Parameter(torch.cat([self.conv1.weight, self.second.weight], 1).detach())
            conv.bias = nn.Parameter(self.second.bias.detach().clone())
        out = nn.Sequential(conv, self.bn1, nn.ReLU(), self.pool)
        fold_batch_norms(out)
        return out
