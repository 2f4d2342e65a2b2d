"""The baselines that the published systems compare with: their numbers, their contract at a fraction of the width."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from roadedge.export.graph import write_graph
from roadedge.models import create_model, linknet, unet
from roadedge.models.blocks import RoadNet
from roadedge.models.catalogue import gmac
from roadedge.models.decoder_1d import TAPS, DiagonalConv, StripDecoder
from roadedge.models.deeplab import DeepLab
from roadedge.models.quantized import Quantization, QuantizedNet
from roadedge.models.resnet import Stem
from roadedge.models.streams import EarlyFusion, LateFusion
from roadedge.spec import ModelSpec
from tests.models.networks import disturb_norms, random_feeds

BOTH = ("image", "trajectory")
# name, inputs, parameters and GMAC at 512² and 1024², counted by us in the published code with four channels.
NUMBERS = [
    ("dlinknet34", BOTH, 31_099_329, 26.785, 107.139),
    ("dlinknet34", ("image",), 31_096_129, 26.58, 106.32),
    ("dlinknet34-late", BOTH, 62_186_049, 52.748, 210.99),
    ("dlinknet34-1d", BOTH, 31_219_625, 27.017, 108.074),
    ("linknet34", BOTH, 21_645_601, 23.378, 93.531),
    ("linknet34-1d", BOTH, 21_765_897, 23.61, 94.47),
    ("resunet", BOTH, 26_635_457, 215.034, 860.134),
    ("resunet-1d", BOTH, 20_520_017, 192.58, 770.32),  # stated as 20.520 M
    ("resunet34", BOTH, 24_019_905, 24.97, 99.89),
    ("unet", BOTH, 39_399_489, 218.725, 874.898),
    ("unet-1d", BOTH, 30_049_169, 193.47, 773.93),
    ("deeplabv3plus", BOTH, 50_404_833, 82.412, 322.387),
]


@pytest.mark.parametrize(("name", "inputs", "parameters", "at_512", "at_1024"), NUMBERS)
def test_the_published_size(name: str, inputs: tuple[str, ...], parameters: int, at_512: float, at_1024: float) -> None:
    with torch.device("meta"):
        network = create_model(name, ModelSpec(name, inputs=inputs)).eval()
    assert sum(p.numel() for p in network.parameters()) == parameters
    # The published diagonals are computed on sheared maps of almost twice the width; ours are not.
    allowed = 0.01 if name.endswith("-1d") else 2e-4
    counted = gmac(network, 512)
    assert counted == pytest.approx(at_512, rel=allowed)
    assert not name.endswith("-1d") or counted < at_512
    assert gmac(network, 1024) == pytest.approx(at_1024, rel=allowed)


def small(name: str, width: float = 0.25, inputs: tuple[str, ...] = BOTH) -> RoadNet:
    """A baseline at a fraction of its width, with norms as training might have left them."""
    torch.manual_seed(0)
    spec = ModelSpec(name, inputs=inputs)
    network: RoadNet
    if name == "deeplabv3plus":
        network = DeepLab(spec, width)
    elif name in unet.LAYOUTS:
        layout = dataclasses.replace(unet.LAYOUTS[name], width=width)
        network = EarlyFusion(spec, lambda names: unet.UStream(names, layout))
    else:
        shape = dataclasses.replace(linknet.LAYOUTS[name.removesuffix("-late")], width=width)
        fusion = LateFusion if name.endswith("-late") else EarlyFusion
        network = fusion(spec, lambda names: linknet.LinkStream(names, shape))
    disturb_norms(network)
    return network.eval()


FORMS = ["linknet34", "resunet34", "dlinknet34-1d", "unet", "resunet-1d", "linknet34-late", "deeplabv3plus"]


@pytest.fixture(scope="module", params=FORMS)
def network(request: pytest.FixtureRequest) -> RoadNet:
    return small(request.param)


def logits(network: nn.Module, feeds: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        out: Tensor = network(feeds)["logits"]
    return out


class TestEveryBaseline:
    def test_the_exported_graph_computes_the_same(self, network: RoadNet, tmp_path: Path) -> None:
        feeds = random_feeds(network, 64, 96, 1)
        want = logits(network, feeds)
        deployed = network.deployed()
        assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed.modules())
        assert want.shape == (1, 1, 64, 96)
        assert torch.allclose(logits(deployed, feeds), want, atol=1e-4)
        write_graph(deployed, tmp_path / "a.onnx", (64, 96), 1, simplify=False)
        session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
        out = session.run(["logits"], {name: value.numpy() for name, value in feeds.items()})[0]
        assert np.abs(out - want.numpy()).max() < 1e-4

    def test_it_can_be_quantized(self, network: RoadNet) -> None:
        feeds = random_feeds(network, 64, 64, 1)
        out = QuantizedNet(network, Quantization()).unquantized()
        assert torch.allclose(logits(out, feeds), logits(network, feeds), atol=1e-4)

    def test_a_step_lowers_the_loss_and_reaches_every_weight(self, network: RoadNet) -> None:
        before = {key: value.clone() for key, value in network.state_dict().items()}
        feeds = random_feeds(network, 64, 64, 6)  # norms of a pooled value say plus or minus one of a batch of two
        road = (feeds["image"].float().mean(-1, keepdim=True) > 140).float().permute(0, 3, 1, 2)
        optimiser = torch.optim.Adam(network.train().parameters(), lr=3e-4)
        losses = []
        for _ in range(2):
            torch.manual_seed(7)  # the same places are dropped out in both passes
            loss = nn.functional.binary_cross_entropy_with_logits(network(feeds)["logits"], road)
            losses.append(float(loss.detach()))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        assert losses[1] < losses[0]
        assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
        network.load_state_dict(before)
        network.eval()


@pytest.mark.parametrize("name", ["linknet34", "linknet34-late", "unet", "deeplabv3plus"])
def test_with_one_input_only_that_is_read(name: str) -> None:
    for inputs in (("image",), ("lidar",)):
        twin = small(name, 0.125 if name == "unet" else 0.25, inputs)
        assert logits(twin, random_feeds(twin, 64, 64, 1)).shape == (1, 1, 64, 64)


def test_the_order_of_the_inputs_does_not_turn_the_channels() -> None:
    swapped = small("dlinknet34", inputs=("trajectory", "image"))
    straight = small("dlinknet34")
    straight.load_state_dict(swapped.state_dict())
    feeds = random_feeds(straight, 64, 64, 1)
    assert torch.equal(logits(swapped, feeds), logits(straight, feeds))


class TestStrips:
    @pytest.mark.parametrize("rising", [True, False])
    def test_an_impulse_becomes_a_diagonal_line(self, rising: bool) -> None:
        conv = DiagonalConv(1, 1, rising)
        nn.init.ones_(conv.taps.weight)
        nn.init.zeros_(conv.bias)
        impulse = torch.zeros(1, 1, 12, 15)
        impulse[0, 0, 6, 7] = 1
        rows, columns = torch.nonzero(conv(impulse)[0, 0], as_tuple=True)
        assert rows.tolist() == list(range(2, 11))
        assert columns.tolist() == (list(range(11, 2, -1)) if rising else list(range(3, 12)))

    def test_a_diagonal_is_a_square_kernel_that_is_zero_beside_it(self) -> None:
        conv = DiagonalConv(3, 2, rising=False)
        kernel = torch.zeros(2, 3, TAPS, TAPS)
        for k in range(TAPS):
            kernel[:, :, k, k] = conv.taps.weight[2 * k : 2 * k + 2, :, 0, 0].detach()
        x = torch.rand(2, 3, 10, 7)
        want = nn.functional.conv2d(x, kernel, conv.bias, padding=TAPS // 2)
        assert torch.allclose(conv(x), want, atol=1e-5)

    def test_the_rising_diagonal_is_the_published_sheared_one(self) -> None:
        conv, side = DiagonalConv(2, 3, rising=True), 11
        turned = conv.taps.weight.detach().view(TAPS, 3, 2).flip(0)
        kernel = turned.permute(2, 1, 0)[..., None]
        x = torch.rand(1, 2, side, side)
        sheared = nn.functional.pad(x, (0, side)).flatten(2)[..., :-side].view(1, 2, side, 2 * side - 1)
        strip = nn.functional.conv_transpose2d(sheared, kernel, conv.bias, padding=(TAPS // 2, 0))
        back = nn.functional.pad(strip.flatten(2), (0, side)).view(1, 3, side, 2 * side)[..., :side]
        assert torch.allclose(conv(x), back, atol=1e-5)

    def test_both_diagonals_are_covered_unless_the_published_ones_are_asked_for(self) -> None:
        assert [s.rising for s in StripDecoder(64, 32).strips if isinstance(s, DiagonalConv)] == [True, False]
        published = StripDecoder(64, 32, published_diagonals=True)
        assert [s.rising for s in published.strips if isinstance(s, DiagonalConv)] == [True, True]


class TestStem:
    def test_two_stems_become_one_convolution(self) -> None:
        stem = Stem(BOTH, 8).eval()
        disturb_norms(stem)  # type: ignore[arg-type] # any module
        x = torch.rand(1, 4, 64, 64)
        frozen = stem.frozen()
        assert sum(isinstance(module, nn.Conv2d) for module in frozen.modules()) == 1
        assert torch.allclose(frozen(x), stem(x), atol=1e-5)
