"""The "ham" of a Hamburger head: a map's context by non-negative matrix factorisation, unrolled into products.

Source: "Is Attention Better Than Matrix Decomposition?" (ICLR 2021), Lee and Seung's multiplicative updates. Different
from that: the iteration starts from bases that are drawn once and saved with the weights. With bases drawn anew at
each pass no two passes agree, and the exported graph holds a random node that TensorRT does not have.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from roadedge.models.blocks import Whole

STEPS, TRAINING_STEPS = 7, 6
EPSILON = 1e-6
SEED = 0


class MatrixFactors(Whole):
    """A non-negative map → its closest product of `rank` bases and their coefficients; no parameters.

    Float32 inside whatever comes: the denominators underflow in float16.
    """

    bases: Tensor

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        drawn = torch.rand(channels, rank, generator=torch.Generator("cpu").manual_seed(SEED), device="cpu")
        self.register_buffer("bases", nn.functional.normalize(drawn, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), nothing below zero, → the same shape. Gradients flow through all steps."""
        kind = "cpu" if x.device.type == "meta" else x.device.type
        with torch.autocast(kind, enabled=False):
            pixels = x.float().flatten(2)  # (N, C, P)
            bases = self.bases.float()  # (C, R), and (N, C, R) after the first step
            coefficients = torch.softmax(pixels.transpose(1, 2) @ bases, -1)  # (N, P, R)
            for _ in range(TRAINING_STEPS if self.training else STEPS):
                coefficients = _refined(coefficients, pixels.transpose(1, 2), bases)
                bases = _refined(bases, pixels, coefficients)
            coefficients = _refined(coefficients, pixels.transpose(1, 2), bases)
            return (bases @ coefficients.transpose(1, 2)).view_as(x).to(x.dtype)


def _refined(left: Tensor, product: Tensor, right: Tensor) -> Tensor:
    """One multiplicative update of `left` in product ≈ left @ right.T: (…, A, R) of (…, A, B) and (…, B, R)."""
    return left * (product @ right) / (left @ (right.transpose(-1, -2) @ right) + EPSILON)
