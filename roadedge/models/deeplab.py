"""DeepLabv3+ in the form in which Sun et al. and the CMMPNet paper compare with it.

Its trunk is no ResNet that others publish: bottlenecks (3, 4, 15, 3) at an output stride of 16, without pre-training.

Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution" (ECCV 2018); Sun et al. (CVPR 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from roadedge.models.blocks import conv_bn
from roadedge.models.streams import GreyNet
from roadedge.spec import ModelSpec

DEPTHS = (3, 4, 15, 3)
WIDTHS = (64, 128, 256, 512)  # of the 3 x 3 convolutions; four times that comes out
STRIDES = (1, 2, 2, 1)
MULTI_GRID = (2, 4, 8)  # dilations of the last stage
RATES = (6, 12, 18)


class Bottleneck(nn.Module):
    """1 x 1, which carries the stride, 3 x 3, 1 x 1; a projection as shortcut where `projects`."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int, projects: bool) -> None:
        super().__init__()
        self.reduce = conv_bn(inputs, width, 1, stride)
        self.middle = dilated(width, width, dilation)
        self.expand = conv_bn(width, 4 * width, 1)
        self.shortcut = conv_bn(inputs, 4 * width, 1, stride) if projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, 4 width, H / stride, W / stride)."""
        inner = self.expand(torch.relu(self.middle(torch.relu(self.reduce(x)))))
        return torch.relu(inner + self.shortcut(x))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: 1 x 1, three dilated 3 x 3 and the mean of the map, joined by 1 x 1."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.pooled = conv_bn(inputs, width, 1)
        self.parts = nn.ModuleList([conv_bn(inputs, width, 1), *(dilated(inputs, width, rate) for rate in RATES)])
        self.join = conv_bn(5 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, width, H, W)."""
        parts = [torch.relu(part(x)) for part in self.parts]
        pooled = torch.relu(self.pooled(x.mean((2, 3), keepdim=True))).expand_as(parts[0])
        return torch.relu(self.join(torch.cat([pooled, *parts], 1)))


class DeepLab(GreyNet):
    """DeepLabv3+; its first convolution takes all channels.

    Args:
        spec: its inputs.
        width: what scales all widths.
    """

    def __init__(self, spec: ModelSpec, width: float = 1.0) -> None:
        super().__init__(spec)
        widths = [int(width * w) for w in WIDTHS]
        neck, lateral = int(width * 256), int(width * 48)
        channels = sum(3 if name == "image" else 1 for name in spec.inputs)
        self.stem = nn.Sequential(*conv_bn(channels, widths[0], 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True))
        self.layers = nn.ModuleList()
        inputs = widths[0]
        for stage, (middle, depth, stride) in enumerate(zip(widths, DEPTHS, STRIDES, strict=True)):
            dilations = MULTI_GRID if stage == 3 else (1,) * depth
            blocks = []
            for i, dilation in enumerate(dilations):
                blocks.append(Bottleneck(inputs, middle, 1 if i else stride, dilation, projects=i == 0))
                inputs = 4 * middle
            self.layers.append(nn.Sequential(*blocks))
        self.pyramid = Pyramid(inputs, neck)
        self.lateral = conv_bn(4 * widths[0], lateral, 1)
        self.refine = nn.Sequential(*conv_bn(neck + lateral, neck), nn.ReLU(), *conv_bn(neck, neck), nn.ReLU())
        self.fuse = nn.Conv2d(neck, 1, 1)

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → {"logits": (N, 1, H, W)}."""
        x = torch.cat(self.maps(feeds), 1)
        fine = deep = self.stem(x)
        for i, layer in enumerate(self.layers):
            deep = layer(deep)
            fine = deep if i == 0 else fine
        deep = resized(self.pyramid(deep), fine)
        joined = torch.cat([deep, torch.relu(self.lateral(fine))], 1)
        return {"logits": resized(self.fuse(self.refine(joined)), x)}


def dilated(inputs: int, outputs: int, dilation: int) -> nn.Sequential:
    """A 3 x 3 convolution of this dilation without bias, and its norm."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the side of `like`."""
    return nn.functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
