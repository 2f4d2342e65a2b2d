"""Fake quantization: float modules that compute what int8 will, with scales as buffers and a straight-through gradient.

Symmetric int8 throughout, zero point 0: activations per tensor, weights per output channel, those of transposed
convolutions per tensor. Scales are numbers of float16 (`placement.snapped`). With `learned` their logarithms are
parameters while training: a step of Adam is as long as the learning rate whatever the gradient, and scales are so small
that steps on themselves would take them below zero.

Source: Jacob et al., "Quantization and Training of Neural Networks" (CVPR 2018); learned step size: Esser et al.,
"Learned Step Size Quantization" (ICLR 2020), gradient scaled by 1 / sqrt(elements * 127); the logarithm after Jain et
al., "Trained Quantization Thresholds" (MLSys 2020).
"""

from __future__ import annotations

import math
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roadedge.models.placement import LEVELS, SMALLEST_SCALE

LOWEST = -128


class Observer(Protocol):
    """What looks at the values of a point while it is observed: a histogram of their magnitudes."""

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in values of any shape."""
        ...


def snapped(scale: Tensor) -> Tensor:
    """As `placement.snapped`: the nearest number of float16, not below its smallest normal one."""
    return scale.clamp_min(SMALLEST_SCALE).half().float()


class Scale(nn.Module):
    """`count` scales: a buffer `scale`, or a parameter `exponent`, their base-2 logarithms, where they are learned."""

    scale: Tensor
    zero: Tensor

    def __init__(self, count: int, learned: bool) -> None:
        super().__init__()
        start = torch.full((count,), SMALLEST_SCALE)
        self.count, self.learned = count, learned
        if learned:
            self.exponent = nn.Parameter(start.log2())
        else:
            self.register_buffer("scale", start)
        self.register_buffer("zero", torch.zeros(count, dtype=torch.int32), persistent=False)

    @torch.no_grad()
    def set(self, scale: Tensor) -> None:
        """Take these scales, as float16 can hold them."""
        taken = snapped(scale.detach().reshape(self.count))
        if self.learned:
            self.exponent.copy_(taken.log2())
        else:
            self.scale.copy_(taken)

    def deployed(self) -> Tensor:
        """(count,) scales as they will be deployed."""
        return snapped(self.exponent.detach().exp2()) if self.learned else self.scale

    def settle(self) -> None:
        """Replace what was learned by what will be deployed."""
        self.set(self.deployed())

    @property
    def free(self) -> bool:
        """Whether the scale itself gets a gradient now."""
        return self.learned and self.training


class QuantPoint(Scale):
    """Fake-quantizes a value (any shape) per tensor. While `observer` is set it only looks."""

    def __init__(self, learned: bool = False) -> None:
        super().__init__(1, learned)
        self.observer: Observer | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Values rounded to multiples of the scale, as float32."""
        if self.observer is not None:
            self.observer.add(x.detach().float().numpy())
            return x
        x = x.float()
        if self.free:
            factor = 1 / math.sqrt(x.numel() * LEVELS)
            out: Tensor = torch._fake_quantize_learnable_per_tensor_affine(
                x, self.exponent.exp2(), self.zero.float(), LOWEST, LEVELS, factor
            )
            return out
        scale = self.deployed()
        return torch.fake_quantize_per_tensor_affine(x, scale[0], self.zero[0], LOWEST, LEVELS)


class QuantWeight(Scale):
    """Fake-quantizes a weight per output channel (axis 0), or as a whole where `channels` is 1.

    While training the scales follow the weight: the largest magnitude of each channel over 127.
    """

    def __init__(self, channels: int, learned: bool = False) -> None:
        super().__init__(channels, learned)

    @torch.no_grad()
    def follow(self, weight: Tensor) -> None:
        """Set the scales by the largest magnitudes."""
        largest = weight.abs().amax((1, 2, 3)) if self.count > 1 else weight.abs().amax()
        self.set(largest / LEVELS)

    def forward(self, weight: Tensor) -> Tensor:
        """(O, I, k, k) rounded to multiples of its channels' scales."""
        if self.training and not self.learned:
            self.follow(weight)
        if self.count == 1:
            if self.free:
                factor = 1 / math.sqrt(weight.numel() * LEVELS)
                whole: Tensor = torch._fake_quantize_learnable_per_tensor_affine(
                    weight, self.exponent.exp2(), self.zero.float(), LOWEST, LEVELS, factor
                )
                return whole
            return torch.fake_quantize_per_tensor_affine(weight, self.deployed()[0], self.zero[0], LOWEST, LEVELS)
        if self.free:
            factor = 1 / math.sqrt(weight[0].numel() * LEVELS)
            each: Tensor = torch._fake_quantize_learnable_per_channel_affine(
                weight, self.exponent.exp2(), self.zero.float(), 0, LOWEST, LEVELS, factor
            )
            return each
        return torch.fake_quantize_per_channel_affine(weight, self.deployed(), self.zero, 0, LOWEST, LEVELS)


class QuantConv2d(nn.Conv2d):
    """A convolution whose weight is fake-quantized per output channel; its input is the business of a `QuantPoint`."""

    def __init__(self, conv: nn.Conv2d, learned: bool = False) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
            conv.padding_mode,
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.quantized = QuantWeight(conv.out_channels, learned)
        self.quantized.follow(conv.weight)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W), already quantized, → as `nn.Conv2d`."""
        out: Tensor = self._conv_forward(input, self.quantized(self.weight), self.bias)
        return out

    def plain(self) -> nn.Conv2d:
        """The convolution with its float weight."""
        return _unwrapped(self, nn.Conv2d)


class QuantConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution whose weight is fake-quantized per tensor: runtimes differ about its channel axis."""

    def __init__(self, conv: nn.ConvTranspose2d, learned: bool = False) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.output_padding,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
            conv.dilation,  # type: ignore[arg-type]
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.quantized = QuantWeight(1, learned)
        self.quantized.follow(conv.weight)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, H, W), already quantized, → as `nn.ConvTranspose2d`."""
        return nn.functional.conv_transpose2d(
            input,
            self.quantized(self.weight),
            self.bias,
            self.stride,
            self.padding,  # type: ignore[arg-type]
            self.output_padding,
            self.groups,
            self.dilation,
        )

    def plain(self) -> nn.ConvTranspose2d:
        """The transposed convolution with its float weight."""
        return _unwrapped(self, nn.ConvTranspose2d)


Plain = TypeVar("Plain", nn.Conv2d, nn.ConvTranspose2d)


def _unwrapped(module: nn.Module, kind: type[Plain]) -> Plain:
    """The same settings and parameters under torch's own class."""
    out = kind.__new__(kind)
    out.__dict__ = {**module.__dict__, "_modules": {}}
    return out
