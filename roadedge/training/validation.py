"""Scores during training, by preprocess, network and postprocess at each sample's own size."""

from __future__ import annotations

import torch

from roadedge.metrics.pixel import PixelCounts, count_pixels
from roadedge.models.blocks import RoadNet
from roadedge.postprocess import postprocess
from roadedge.preprocess import Feeds, preprocess
from roadedge.training.batches import Pool
from roadedge.training.processes import Processes


@torch.no_grad()
def predict(network: RoadNet, feeds: Feeds) -> Feeds:
    """Probabilities (N, H, W) uint8 as the exported graph gives them."""
    device = next(network.parameters()).device
    logits = network({name: torch.from_numpy(value).to(device) for name, value in feeds.items()})["logits"]
    return {"probability": (torch.sigmoid(logits.float()[:, 0]) * 255 + 0.5).to(torch.uint8).cpu().numpy()}


def validate(network: RoadNet, validation: Pool, group: Processes) -> list[PixelCounts]:
    """Count pixels of the samples set aside, each through preprocess, network and postprocess at its own size.

    The processes share the samples; each gets the counts of all, in their order.
    """

    def count(index: int) -> PixelCounts:
        item = validation[index]
        mask = postprocess(predict(network, preprocess(item.sample, network.spec)), network.spec, item.sample)
        return count_pixels(mask.mask, item.mask)

    own = group.agreed(lambda: {i: count(i) for i in range(group.rank, len(validation), group.count)})
    found = {i: counts for part in group.gathered(own) for i, counts in part.items()}
    return [found[i] for i in range(len(validation))]
