"""Layers that several published networks share: inputs joined at the stem, norms over channels, dropped paths."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roadedge.models.blocks import Normalise, Whole
from roadedge.spec import ModelSpec


class JoinedInputs(nn.Module):
    """Feeds → (N, C, H, W): each input normalised, then all of them stacked; early fusion at the cost of a stem."""

    def __init__(self, inputs: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> None:
        """`mean` and `std` in grey levels: three of the image, then that of the second modality."""
        super().__init__()
        self.inputs = tuple(inputs)
        parts = {name: slice(0, 3) if name == "image" else slice(3, 4) for name in inputs}
        self.normalise = nn.ModuleDict({name: Normalise(mean[part], std[part]) for name, part in parts.items()})

    @property
    def channels(self) -> int:
        """C: three of an image, one of any other input."""
        return sum(3 if name == "image" else 1 for name in self.inputs)

    def forward(self, feeds: dict[str, Tensor]) -> Tensor:
        """Normalise and stack."""
        planes = [self.normalise[name](feeds[name]) for name in self.inputs]
        return torch.cat(planes, 1) if len(planes) > 1 else planes[0]


def joined(spec: ModelSpec) -> JoinedInputs:
    """The inputs of `spec`, normalised as it says."""
    return JoinedInputs(spec.inputs, spec.mean, spec.std)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of each pixel over its channels, as one operator that runtimes know: (N, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, input: Tensor) -> Tensor:
        """Channels go last and come back."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class DropPath(nn.Module):
    """In training leaves out a residual branch for some samples of a batch, and scales up the others.

    Source: stochastic depth (ECCV 2016).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """The input itself in eval mode."""
        if not self.training or self.share == 0:
            return x
        kept = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.share
        return x * kept.to(x.dtype) / (1 - self.share)


def path_shares(depth: int, largest: float) -> list[float]:
    """How often each of `depth` blocks is left out: from 0 linearly up to `largest`."""
    return [largest * i / max(1, depth - 1) for i in range(depth)]


class RoadDifference(nn.Module):
    """Two-class logits (N, 2, H, W), the road second, → the one logit (N, 1, H, W) of equal probability."""

    def forward(self, x: Tensor) -> Tensor:
        """softmax(x)[1] = sigmoid(x[1] - x[0])."""
        return x[:, 1:] - x[:, :1]


class Enlarge(Whole):
    """Bilinear resampling to the (H, W) of another map."""

    def __init__(self, align_corners: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, H, W) of `like`."""
        size = like.shape[-2:]
        return nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=self.align_corners)


class PixelLinear(nn.Conv2d):
    """A linear layer on the channels of each pixel; it keeps torch's own fresh weights, which are those of a linear."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)


def scaled_by_outputs(network: nn.Module, of_group: bool = True) -> None:
    """Draw the weights of convolutions from normal(0, sqrt(2 / (k k outputs))) and put the biases to zero, in place.

    Args:
        network: whose convolutions are drawn, but for `PixelLinear`.
        of_group: `outputs` are those of one group; else all of them.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not isinstance(module, PixelLinear):
            outputs = module.out_channels / (module.groups if of_group else 1)
            nn.init.normal_(module.weight, std=math.sqrt(2 / (module.kernel_size[0] * module.kernel_size[1] * outputs)))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
