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
        freeze(network)
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


class Whole(nn.Module):
    """Stays one module when a network is traced with torch.fx: what it does depends on the size of its input."""


class Precise(nn.Module):
    """Takes one map, gives one, and stays float32 in a network that is halved: its sums leave float16's range."""


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
    assert conv.groups == 1 or keep == slice(None), "channels of a grouped convolution are not left out"
    out = nn.Conv2d(
        conv.in_channels,
        weight.shape[0],
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        conv.groups,
    )
    out.weight, out.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    return out


def folded_transposed(conv: nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> nn.ConvTranspose2d:
    """As `folded`, for a transposed convolution."""
    scale, shift = scale_and_shift(norm)
    out = copy.deepcopy(conv)
    out.weight = nn.Parameter(conv.weight.detach() * scale[None, :, None, None])
    out.bias = nn.Parameter(shift if conv.bias is None else conv.bias.detach() * scale + shift)
    return out


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch-norm is in eval mode: x * scale + shift per channel."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias.detach() - norm.running_mean * scale


def fold_batch_norms(network: nn.Module) -> None:
    """Fold, in place, each batch-norm that directly follows a convolution.

    That is the next one in an `nn.Sequential`, and `bn1` after `conv1` in a block with torchvision's names.
    """
    for module in list(network.modules()):
        for (name, conv), (after, norm) in _pairs(module):
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            if isinstance(conv, nn.Conv2d):
                module._modules[name] = folded(conv, norm)
            elif isinstance(conv, nn.ConvTranspose2d) and conv.groups == 1:
                module._modules[name] = folded_transposed(conv, norm)
            else:
                continue
            module._modules[after] = nn.Identity()


def _pairs(module: nn.Module) -> list[tuple[tuple[str, nn.Module], tuple[str, nn.Module]]]:
    parts = list(module.named_children())
    if isinstance(module, nn.Sequential):
        return list(itertools.pairwise(parts))
    by_name = dict(parts)
    names = ((name, f"bn{name.removeprefix('conv')}") for name in by_name if name.startswith("conv"))
    return [((name, by_name[name]), (norm, by_name[norm])) for name, norm in names if norm in by_name]


class Freezable(nn.Module):
    """A part with a leaner form in eval mode that computes the same."""

    def frozen(self) -> nn.Module:
        """That form, with weights of its own."""
        raise NotImplementedError


def freeze(module: nn.Module) -> None:
    """Replace, in place, each part that is `Freezable`."""
    for name, child in list(module.named_children()):
        if isinstance(child, Freezable):
            module._modules[name] = child.frozen()
        else:
            freeze(child)
