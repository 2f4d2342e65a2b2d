"""`QuantizedNet`: the network's contract, its points, checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from roadedge.errors import UnknownNameError, UsageError
from roadedge.models import create_model
from roadedge.models.checkpoint import load_network, save_network
from roadedge.models.fake_quant import QuantConv2d, QuantPoint
from roadedge.models.quantized import Quantization, QuantizedNet
from roadedge.spec import ModelSpec
from tests.models.networks import disturb_norms, random_feeds


def quantized(name: str = "roadedge-n", **how: object) -> QuantizedNet:
    torch.manual_seed(0)
    network = create_model(name)
    disturb_norms(network)
    out = QuantizedNet(network.eval(), Quantization(**how))  # type: ignore[arg-type]
    for point in out.points().values():
        point.set(torch.tensor(0.03))
    return out.eval()


@pytest.mark.parametrize("name", ["roadedge-n", "cmipnet"])
def test_taking_the_quantization_out_again_gives_the_network(name: str) -> None:
    network = create_model(name).eval()
    disturb_norms(network)
    feeds = random_feeds(network, 64, 64, 1)
    out = QuantizedNet(network, Quantization()).unquantized()
    with torch.no_grad():
        want = network.deployed()(feeds)["logits"]
        torch.testing.assert_close(out(feeds)["logits"], want, rtol=1e-4, atol=1e-4)


def test_first_and_last_convolutions_are_float_and_all_others_are_not() -> None:
    placement = quantized().placement
    assert placement.float_convolutions == ("stems.image.first.0", "stems.trajectory.first.0", "head")
    assert len(placement.convolutions) + 3 == sum(
        isinstance(module, torch.nn.Conv2d) for module in create_model("roadedge-n").folded().modules()
    )


def test_streams_that_are_exchanged_share_one_scale() -> None:
    network = quantized("roadedge-s")
    values, _ = network.scales()
    reads = network.placement.reads
    assert reads["eighth.1.first.0"] == reads["eighth.1.first.1"]
    assert values["eighth.1.first.0"] == values["eighth.1.first.1"]


def test_the_shortcut_of_each_residual_add_is_quantized_and_its_convolution_is_not_parted_from_it() -> None:
    network = quantized()
    fused = dict(network.placement.shortcuts)
    assert len(fused) == 14  # 6 two-stream blocks' adds of both streams counted, the single blocks, the decoder
    for node in network.body.graph.nodes:
        if node.name in fused:
            makers = [network.body.get_submodule(str(i.target)) for i in node.args if i.op == "call_module"]
            assert any(isinstance(maker, QuantConv2d) for maker in makers)
            assert f"{fused[node.name]}:shortcut" in network.placement.reads
            at_once = [i for i in node.args if i.op == "call_function" and i.target is torch.cat]
            assert at_once or any(isinstance(maker, QuantPoint) for maker in makers)


def test_convolutions_can_be_kept_float() -> None:
    network = quantized(keep_float=("smooth4.0",))
    assert "smooth4.0" in network.placement.float_convolutions
    assert not isinstance(network.body.get_submodule("smooth4.0"), QuantConv2d)
    with pytest.raises(UnknownNameError, match="did you mean"):
        quantized(keep_float=("smooth4",))


def test_a_gradient_reaches_every_weight() -> None:
    network = quantized().train()
    network(random_feeds(network, 64, 64, 1))["logits"].square().mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


@pytest.mark.parametrize(("name", "learned"), [("roadedge-n", False), ("roadedge-n", True), ("cmipnet", False)])
def test_a_checkpoint_gives_the_same_network_back(name: str, learned: bool, tmp_path: Path) -> None:
    network = quantized(name, learned=learned)
    save_network(tmp_path / "net.int8.pt", network, {"by": "a test"})
    loaded, provenance = load_network(tmp_path / "net.int8.pt")
    feeds = random_feeds(network, 64, 64, 1)
    assert isinstance(loaded, QuantizedNet)
    assert provenance == {"by": "a test"}
    with torch.no_grad():
        assert torch.equal(loaded(feeds)["logits"], network(feeds)["logits"])


def test_settled_scales_are_those_of_the_averaged_weights() -> None:
    network = quantized()
    conv = network.body.get_submodule("smooth4.0")
    assert isinstance(conv, QuantConv2d)
    with torch.no_grad():
        conv.weight.mul_(3)
    before = conv.quantized.scale.clone()
    network.settle()
    torch.testing.assert_close(conv.quantized.scale, before * 3, rtol=2e-3, atol=0)


def test_a_quantized_network_is_not_quantized_again() -> None:
    with pytest.raises(UsageError, match="float checkpoint"):
        QuantizedNet(quantized(), Quantization())


def test_a_network_of_one_input_is_quantized_too() -> None:
    network = create_model("roadedge-n", ModelSpec("roadedge-n", ("image",))).eval()
    out = QuantizedNet(network, Quantization()).eval()
    assert out.placement.float_convolutions == ("stems.image.first.0", "head")
    assert out(random_feeds(network, 64, 96))["logits"].shape == (2, 1, 64, 96)
