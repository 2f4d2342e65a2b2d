"""Scores during training, by preprocess, network and postprocess at each sample's own size."""

from __future__ import annotations

import torch

from roadedge.metrics.pixel import PixelCounts, count_pixels
from roadedge.models.blocks import RoadNet
from roadedge.postprocess import postprocess
from roadedge.preprocess import Feeds, preprocess
from roadedge.training.batches import Pool


@torch.no_grad()
def predict(network: RoadNet, feeds: Feeds) -> Feeds:
    """Probabilities (N, H, W) uint8 as the exported graph gives them."""
    logits = network({name: torch.from_numpy(value) for name, value in feeds.items()})["logits"]
    return {"probability": (torch.sigmoid(logits.float()[:, 0]) * 255 + 0.5).to(torch.uint8).numpy()}


def validate(network: RoadNet, validation: Pool) -> list[PixelCounts]:
    """Count pixels of the samples set aside, each through preprocess, network and postprocess at its own size."""
    counts = []
    for i in range(len(validation)):
        item = validation[i]
        mask = postprocess(predict(network, preprocess(item.sample, network.spec)), network.spec, item.sample)
        counts.append(count_pixels(mask.mask, item.mask))
    return counts
