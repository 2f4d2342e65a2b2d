"""Each network computes what its description says, read once more and written down plainly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from roadedge.models import linknet, unet
from roadedge.models.blocks import RoadNet
from roadedge.models.cmipnet import CMIPNet, informative
from roadedge.models.cmmpnet import VARIANTS, CMMPNet
from roadedge.models.deeplab import DeepLab
from roadedge.models.dlinknet import SharedConv
from roadedge.models.hrnet import CMIPHRNet
from roadedge.models.streams import EarlyFusion, LateFusion
from roadedge.spec import ModelSpec
from tests.models import plain, plain_streams
from tests.models.networks import disturb_norms, follow_norms, random_feeds

Plain = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]


def of_links(name: str) -> RoadNet:
    layout = dataclasses.replace(linknet.LAYOUTS[name], width=0.25)
    return EarlyFusion(ModelSpec(name), lambda names: linknet.LinkStream(names, layout))


def of_us(name: str) -> RoadNet:
    layout = dataclasses.replace(unet.LAYOUTS[name], width=0.25)
    return EarlyFusion(ModelSpec(name), lambda names: unet.UStream(names, layout))


def late() -> RoadNet:
    layout = dataclasses.replace(linknet.LAYOUTS["dlinknet34"], width=0.25)
    return LateFusion(ModelSpec("dlinknet34-late"), lambda names: linknet.LinkStream(names, layout, raster_bias=True))


NETWORKS: dict[str, tuple[Callable[[], RoadNet], Plain]] = {
    "dlinknet34": (lambda: of_links("dlinknet34"), plain.dlinknet),
    "dlinknet34-1d": (lambda: of_links("dlinknet34-1d"), plain.dlinknet),
    "linknet34": (lambda: of_links("linknet34"), plain.linknet),
    "resunet34": (lambda: of_links("resunet34"), plain.resunet34),
    "dlinknet34-late": (late, plain.late_dlinknet),
    "unet": (lambda: of_us("unet"), plain.unet),
    "resunet": (lambda: of_us("resunet"), plain.unet),
    "unet-1d": (lambda: of_us("unet-1d"), plain.unet),
    "deeplabv3plus": (lambda: DeepLab(ModelSpec("deeplabv3plus"), 0.25), plain.deeplab),
    "cmmpnet": (lambda: CMMPNet(ModelSpec("cmmpnet"), dataclasses.replace(VARIANTS["cmmpnet"], width=0.25)),
                plain_streams.cmmpnet),
    "cmipnet": (lambda: CMIPNet(ModelSpec("cmipnet"), 0.25), plain_streams.cmipnet),
    "cmipnet-hrnet18": (lambda: CMIPHRNet(ModelSpec("cmipnet-hrnet18"), 0.5), plain_streams.cmipnet_hrnet),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_what_its_description_says(name: str) -> None:
    torch.manual_seed(0)
    network, by_description = NETWORKS[name][0](), NETWORKS[name][1]
    disturb_norms(network)
    exchanged = polarised(network)
    follow_norms(network)
    feeds = random_feeds(network, 64, 96, 1)
    with torch.no_grad():
        got, want = network.eval()(feeds)["logits"], by_description(network.state_dict(), feeds)
    assert exchanged > 0 or not name.startswith("cmip")
    assert got.shape == want.shape == (1, 1, 64, 96)
    spread = float(want.std())
    assert spread > 1e-3
    assert float((got - want).abs().max()) < 1e-3 * spread


def polarised(network: RoadNet) -> int:
    """As CMIPNet's penalty might leave them, a third of the γ near zero; how many channels are then exchanged."""
    exchanged = 0
    for module in network.modules():
        if isinstance(module, SharedConv):
            for norm in module.norms:
                assert isinstance(norm, nn.BatchNorm2d)
                low = torch.randperm(norm.num_features)[: norm.num_features // 3]
                norm.weight.data[low] = torch.randn(len(low)) * 1e-3
            exchanged += int((~informative(module.scales())).sum())
    return exchanged
