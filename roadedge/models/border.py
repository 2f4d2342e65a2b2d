"""`Border`: a network as it is deployed, uint8 in and out. The torch runner runs it and the exporter writes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from roadedge.models.blocks import RoadNet

OUTPUTS = ("probability", "logits")


class Border(nn.Module):
    """Feeds, in the order of `spec.inputs`, → (probability (N, H, W) uint8, logits (N, 1, H, W) float32).

    The slice stands before the last cast: TensorRT takes uint8 at the border of a graph and nowhere else. Half and more
    of the probability rounds to 128 and more, so that the threshold on uint8 and the sign of the logit agree.
    """

    def __init__(self, network: RoadNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, *planes: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, C) uint8 planes in; logits and sigmoid are float32 whatever the network computes in."""
        logits = self.network(dict(zip(self.network.spec.inputs, planes, strict=True)))["logits"].float()
        probability = torch.sigmoid(logits[:, 0]) * 255 + 0.5
        return probability.to(torch.uint8), logits
