"""CMMPNet: the published numbers, the Dual Enhancement Module, its ablations and its lean form."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from roadedge.export.graph import write_graph
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.catalogue import gmac
from roadedge.models.cmmpnet import VARIANTS, CMMPNet, DualEnhancement, LeanMessage, MaxPyramid, Message, Messages
from roadedge.models.quantized import Quantization, QuantizedNet
from roadedge.spec import ModelSpec
from tests.models.networks import disturb_norms, random_feeds

ABLATIONS = [
    Messages(local_map, global_vector, gates)
    for local_map, global_vector in ((True, True), (True, False), (False, True))
    for gates in (True, False)
]


def small(name: str, width: float = 0.125) -> CMMPNet:
    torch.manual_seed(0)
    network = CMMPNet(ModelSpec(name), dataclasses.replace(VARIANTS[name], width=width))
    disturb_norms(network)
    return network.eval()


def logits(network: RoadNet, feeds: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        out: Tensor = network(feeds)["logits"]
    return out


class TestNumbers:
    def test_parameters_and_multiply_adds_as_published(self) -> None:
        with torch.device("meta"):
            network = create_model("cmmpnet").eval()
        assert isinstance(network, CMMPNet)
        assert sum(p.numel() for p in network.parameters()) == 84_993_857 == 62_186_049 + 22_807_808
        assert sum(p.numel() for p in network.enhance.parameters()) == 22_807_808
        assert gmac(network, 512) == pytest.approx(60.148, abs=1e-3)
        assert gmac(network, 1024) == pytest.approx(240.537, abs=1e-3)

    def test_the_exported_graph_saves_the_global_half_of_the_gates(self) -> None:
        with torch.device("meta"):
            lean = create_model("cmmpnet").deployed()
        assert gmac(lean, 512) == pytest.approx(57.197, abs=1e-3)

    @pytest.mark.parametrize(
        ("channels", "parameters"), [(64, 213_760), (128, 853_504), (256, 3_410_944), (512, 13_637_632)]
    )
    def test_parameters_of_an_enhancement(self, channels: int, parameters: int) -> None:
        with torch.device("meta"):
            module = DualEnhancement(channels, Messages())
        assert sum(p.numel() for p in module.parameters()) == parameters == 52 * channels**2 + 12 * channels

    def test_one_input_leaves_the_trunk(self) -> None:
        with torch.device("meta"):
            network = create_model("cmmpnet", ModelSpec("cmmpnet", inputs=("image",)))
        assert sum(p.numel() for p in network.parameters()) == 31_096_129


def test_fresh_weights_are_torch_s_own() -> None:
    torch.manual_seed(0)
    for name, module in create_model("cmmpnet-slim").named_modules():
        if isinstance(module, nn.Conv2d):
            bound = (module.in_channels * module.kernel_size[0] ** 2) ** -0.5
            largest = float(module.weight.detach().abs().max())
            assert 0.9 * bound < largest <= bound * (1 + 1e-6), name


class TestEnhancement:
    def test_each_map_gets_the_gated_messages_of_the_other_one(self) -> None:
        torch.manual_seed(0)
        module = DualEnhancement(4, Messages(levels=(1, 2, 4)))
        disturb_norms(module)  # type: ignore[arg-type] # any module
        module.eval()
        first, second = torch.rand(2, 4, 8, 12), torch.rand(2, 4, 8, 12)
        sender = module.senders[0]
        assert isinstance(sender, Message)
        local = sender.local(first)
        pools = [nn.functional.adaptive_max_pool2d(local, n).flatten(1) for n in (1, 2, 4)]
        linear = sender.squeeze.weight[:, :, 0, 0]
        assert sender.squeeze.bias is not None
        vector = torch.relu(torch.cat(pools, 1) @ linear.T + sender.squeeze.bias)[:, :, None, None]
        known = torch.cat([local, vector.expand_as(local)], 1)
        alpha, beta = (torch.sigmoid(sender.gates[name](known)) for name in ("of_local", "of_global"))
        out = module([first, second])[1]
        assert torch.allclose(out, second + alpha * local + beta * vector, atol=1e-6)

    @pytest.mark.parametrize("messages", ABLATIONS)
    def test_the_lean_form_computes_the_same(self, messages: Messages) -> None:
        torch.manual_seed(0)
        message = Message(8, messages)
        disturb_norms(message)  # type: ignore[arg-type] # any module
        message.eval()
        x = torch.rand(2, 8, 16, 24)
        want = message(x).detach()
        lean = message.frozen()
        assert isinstance(lean, LeanMessage) == (messages.gates and messages.global_vector)
        assert torch.allclose(lean(x), want, atol=1e-5)
        assert want.shape[2:] == ((1, 1) if messages == Messages(False, True, False) else (16, 24))

    # of 512 x 512 the maps have sides of 16 to 256
    @pytest.mark.parametrize("size", [(16, 16), (24, 32), (6, 6), (2, 3), (1, 1), (5, 13), (32, 64), (128, 256)])
    @pytest.mark.parametrize("levels", [(1,), (1, 2, 4, 8)])
    def test_the_pyramid_is_adaptive_pooling(self, size: tuple[int, int], levels: tuple[int, ...]) -> None:
        x = torch.randn(2, 3, *size)
        want = [nn.functional.adaptive_max_pool2d(x, level).flatten(1) for level in levels]
        assert torch.equal(MaxPyramid(levels)(x)[:, :, 0, 0], torch.cat(want, 1))


@pytest.mark.parametrize("name", ["cmmpnet-linknet34", "cmmpnet-resunet", "cmmpnet-local"])
def test_a_variant_is_exported_as_it_is(name: str, tmp_path: Path) -> None:
    network = small(name)
    feeds = random_feeds(network, 64, 96, 1)
    want = logits(network, feeds)
    assert torch.allclose(logits(network.deployed(), feeds), want, atol=1e-4)
    write_graph(network.deployed(), tmp_path / "a.onnx", (64, 96), 1, simplify=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    out = session.run(["logits"], {name: value.numpy() for name, value in feeds.items()})[0]
    assert np.abs(out - want.numpy()).max() < 1e-4


@pytest.mark.parametrize("name", ["cmmpnet", "cmmpnet-resunet"])
def test_it_can_be_quantized(name: str) -> None:
    network = small(name)
    feeds = random_feeds(network, 64, 64, 1)
    out = QuantizedNet(network, Quantization()).unquantized()
    assert torch.allclose(logits(out, feeds), logits(network, feeds), atol=1e-4)
