"""Batch-norms whose statistics are those of the whole batch, which several processes hold a part of each.

torch's SyncBatchNorm does this on GPUs only. This one runs wherever its collectives do, and it stays an
`nn.BatchNorm2d`, which some networks ask for when they look at their own norms.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from roadedge.training.processes import Processes

AXES = (0, 2, 3)


class SharedBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the samples of all processes; in eval mode there is no difference."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> SharedBatchNorm:
        """One that has the very weights and buffers of `norm`, so that an optimiser that knows them goes on."""
        own = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta")
        for name, value in (*norm._parameters.items(), *norm._buffers.items()):
            setattr(own, name, value)
        return own.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W), N of them here."""
        if not self.training:
            return super().forward(input)
        with torch.no_grad():
            variance, mean = torch.var_mean(input.float(), AXES, correction=0)
            count = input.numel() // input.shape[1]
            own = torch.cat([mean.double(), variance.double() + mean.double() ** 2, mean.new_ones(1).double()]) * count
            dist.all_reduce(own)  # in float64, where the difference of squares below loses nothing
            total = own[-1]
            mean, squares = (own[:-1] / total).chunk(2)
            variance = (squares - mean**2).clamp(min=0)
            self._remember(mean, variance * total / (total - 1))
        normalised: Tensor = _Normalised.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, mean.float(), variance.float(), total, self.eps
        )
        return normalised

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as `nn.BatchNorm2d` does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        pace = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), pace)
        self.running_var.lerp_(variance.to(self.running_var.dtype), pace)


class _Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, where mean and variance depend on x of all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, total: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance, total)
        ctx.eps = eps
        return nn.functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With mean and variance held, less what moves through them.

        Source: Ioffe and Szegedy, arXiv 1502.03167, section 3; the two sums go over all processes.
        """
        x, weight, mean, variance, total = ctx.saved_tensors
        held, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.cat([of_weight, of_bias])
        dist.all_reduce(sums)
        along, flat = (sums / total).float().chunk(2)
        scale = torch.rsqrt(variance + ctx.eps)
        shape = (1, -1, 1, 1)
        moved = (
            (x - mean.view(shape))
            .mul_((weight * scale**2 * along).view(shape))
            .add_((weight * scale * flat).view(shape))
        )
        return held.sub_(moved.to(held.dtype)), of_weight, of_bias, None, None, None, None


def share_norms(network: nn.Module, group: Processes) -> None:
    """Exchange, in place, all batch-norms of a network that several processes train."""
    if group.count == 1:
        return
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(network, name, SharedBatchNorm.of(child))
        else:
            assert not isinstance(child, nn.modules.batchnorm._BatchNorm), f"{type(child).__name__} cannot be shared"
            share_norms(child, group)
