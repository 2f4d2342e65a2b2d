"""What the tests of networks share: feeds, and weights as training might have left them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from roadedge.models import MODELS
from roadedge.models.blocks import RoadNet

# Networks that differ from a smaller one of their family by numbers alone, D-SegNeXt by its gate, joint connectivity by
# its blocks or branches; their own tests count them, and export that gate and those branches.
LARGER = {"roadedge-s", "roadedge-m", "segnext-s", "segnext-b", "d-segnext-t", "d-segnext-s", "d-segnext-b"}
LARGER |= {"deepdualmapper", "cu-dgcn", "cu-dgcn-small", "cu-dgcn-large", "cu-dgcn-xlarge"}
LARGER |= {"joint-connectivity-plain", "joint-connectivity-mb"}
# Networks of fusions and baselines whose own tests take them at a fraction of their width.
TRUNKS = ("linknet34", "dlinknet34", "resunet", "unet", "deeplab", "cmmpnet", "cmipnet")
LARGER |= {name for name in MODELS if name.startswith(TRUNKS)}
LARGER -= {name for name in MODELS if name.endswith("-slim")}
FAMILIES = sorted(set(MODELS) - LARGER)


def random_feeds(network: RoadNet, height: int, width: int, batch: int = 2) -> dict[str, Tensor]:
    """Uniform grey levels for each input of the network."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    channels = {name: 3 if name == "image" else 1 for name in network.spec.inputs}
    return {
        name: torch.randint(0, 256, (batch, height, width, c), dtype=torch.uint8, generator=generator)
        for name, c in channels.items()
    }


def disturb_norms(network: RoadNet, seed: int = 0) -> None:
    """Give each batch-norm statistics, γ and β of its own, so that a norm which is left out or swapped shows."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.6, 1.2, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)


def follow_norms(network: RoadNet) -> None:
    """Let each batch-norm's statistics be those of a batch, as training leaves them, so that no map runs away."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        network(random_feeds(network, 64, 96))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum
        assert norm.running_var is not None
        norm.running_var.clamp_(min=float(norm.running_var.mean()) / 4)  # a few values may agree by chance
