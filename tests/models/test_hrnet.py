"""CMIPNet on HRNet-W18: the published numbers, where channels are exchanged, the frozen forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.catalogue import gmac
from roadedge.models.cmipnet import FrozenExchange
from roadedge.models.hrnet import CMIPHRNet
from roadedge.models.quantized import Quantization, QuantizedNet
from roadedge.spec import ModelSpec
from tests.models.networks import follow_norms, random_feeds


@pytest.fixture(scope="module")
def polarised() -> CMIPHRNet:
    """A slim one as the penalty might leave it: in each norm that exchanges, some γ lie near zero."""
    torch.manual_seed(0)
    network = create_model("cmipnet-hrnet18-slim")
    assert isinstance(network, CMIPHRNet)
    for shared in network.exchanging():
        for norm in shared.norms:
            assert isinstance(norm, nn.BatchNorm2d)
            norm.weight.data.uniform_(0.6, 1.2)
            norm.weight.data[torch.randperm(norm.num_features)[: norm.num_features // 3]] = 1e-4
    follow_norms(network)
    return network.eval()


def logits(network: RoadNet, feeds: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        out: Tensor = network(feeds)["logits"]
    return out


def test_parameters_and_multiply_adds_as_published() -> None:
    with torch.device("meta"):
        network = create_model("cmipnet-hrnet18").eval()
    assert sum(p.numel() for p in network.parameters()) == 9_924_049
    assert gmac(network, 1024) == pytest.approx(156.300, abs=1e-3)  # the catalogue's test counts it at 512


def test_every_block_exchanges(polarised: CMIPHRNet) -> None:
    assert len(polarised.exchanging()) == 4 + 4 * (1 * 2 + 4 * 3 + 3 * 4)
    assert len(polarised.structure()) == 2 * 108
    assert set(polarised.structure()) <= set(polarised.state_dict())
    assert float(polarised.penalty().detach()) != 0.0


def test_one_input_leaves_no_exchange() -> None:
    with torch.device("meta"):
        alone = create_model("cmipnet-hrnet18", ModelSpec("cmipnet-hrnet18", inputs=("image",)))
    assert isinstance(alone, CMIPHRNet)
    assert alone.exchanging() == []
    assert alone.structure() == {}


@pytest.mark.parametrize("fold", [False, True])
def test_the_frozen_network_equals_the_live_one(polarised: CMIPHRNet, fold: bool) -> None:
    feeds = random_feeds(polarised, 64, 96, 1)
    frozen = polarised.deployed(fold)
    assert sum(isinstance(module, FrozenExchange) and module.exchanges for module in frozen.modules()) == 108
    assert torch.allclose(logits(frozen, feeds), logits(polarised, feeds), atol=1e-4)


def test_it_can_be_quantized(polarised: CMIPHRNet) -> None:
    feeds = random_feeds(polarised, 64, 64, 1)
    out = QuantizedNet(polarised, Quantization()).unquantized()
    assert torch.allclose(logits(out, feeds), logits(polarised, feeds), atol=1e-4)
