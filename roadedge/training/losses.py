"""The loss of road extraction: binary cross-entropy plus Dice over the whole batch; ignored pixels count nowhere."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORED = 128


def road_loss(logits: Tensor, target: Tensor, dice: float = 1.0) -> Tensor:
    """BCE(p, y) + dice * (1 - Dice(p, y)).

    Args:
        logits: (N, 1, H, W).
        target: (N, H, W) uint8, 255 road, 0 not, 128 ignored.
        dice: weight of the second term.

    Returns:
        A scalar; zero where all pixels are ignored.

    Source: CMIPNet and D-LinkNet; Dice over the batch is (2 sum(py) + 1) / (sum(p) + sum(y) + 1).
    """
    known = (target != IGNORED).unsqueeze(1)
    y = (target == 255).unsqueeze(1).float()
    values = logits.float()
    each = torch.nn.functional.binary_cross_entropy_with_logits(values, y, reduction="none")
    entropy = (each * known).sum() / known.sum().clamp(min=1)
    p = torch.sigmoid(values) * known
    y = y * known
    overlap = (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    return entropy + dice * (1 - overlap)
