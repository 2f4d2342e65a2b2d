"""What all networks share: the contract `RoadNet`, normalisation at the input, residual blocks, folded norms."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roadedge.spec import ModelSpec


class RoadNet(nn.Module):
    """The contract of every network: feeds in, road logits out.

    `forward` takes the feeds of `preprocess` as tensors, {name: (N, H, W, C) uint8 or float in grey levels}, and gives
    {"logits": (N, 1, H, W)} and auxiliary outputs under names of their own. H and W are multiples of `spec.stride`.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Feeds → logits."""
        raise NotImplementedError

    def penalty(self) -> Tensor:
        """What the loss adds for the weights alone; a scalar, zero unless the network has such a term."""
        return next(self.parameters()).new_zeros(())

    def deployed(self) -> RoadNet:
        """An equal network in eval mode for export: decisions that depend on weights made, batch-norms folded."""
        network = copy.deepcopy(self).eval()
        fold_batch_norms(network)
        return network

    def folded(self) -> RoadNet:
        """As `deployed`, with no batch-norm left: what is quantized. A network that has the choice overrides this."""
        return self.deployed()

    def structure(self) -> dict[str, Tensor]:
        """The weights that decide which modules `deployed` returns; none but where channels are left out by weight."""
        return {}

    def settle(self) -> None:
        """Bring what is derived from weights up to date after they were averaged; most networks have nothing such."""


class Normalise(nn.Module):
    """(N, H, W, C) grey levels → (N, C, H, W) float, (v - mean) / std. The cast stands first: TensorRT wants it so."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """Cast, transpose, normalise."""
        return (raw.to(self.mean.dtype).permute(0, 3, 1, 2) - self.mean) / self.std


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias and its batch-norm, "same" padding."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + conv(relu(conv(x)))), a projection as shortcut where stride or width changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_bn(inputs, outputs, 3, stride)
        self.second = conv_bn(outputs, outputs)
        self.shortcut = conv_bn(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H / stride, W / stride)."""
        out: Tensor = torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))
        return out


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d, keep: slice = slice(None)) -> nn.Conv2d:
    """One convolution with bias that equals `norm(conv(x))` in eval mode; only the output channels `keep`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps))[keep]
    weight = conv.weight[keep] * scale[:, None, None, None]
    before = 0.0 if conv.bias is None else conv.bias[keep]
    bias = (before - norm.running_mean[keep]) * scale + norm.bias[keep]
    out = nn.Conv2d(
        conv.in_channels,
        weight.shape[0],
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
    )
    out.weight, out.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    return out


def fold_batch_norms(network: nn.Module) -> None:
    """Fold, in place, each batch-norm that directly follows a convolution in an `nn.Sequential`."""
    for module in list(network.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        parts = list(module.named_children())
        for (name, conv), (after, norm) in itertools.pairwise(parts):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and conv.groups == 1:
                module._modules[name] = folded(conv, norm)
                module._modules[after] = nn.Identity()
