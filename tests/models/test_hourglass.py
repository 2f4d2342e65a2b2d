"""The joint connectivity network: the specified numbers, its outputs by name, its gates."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from roadedge.export.graph import write_graph
from roadedge.models import create_model
from roadedge.models.blocks import ResidualBlock
from roadedge.models.catalogue import CATALOGUE
from roadedge.models.hourglass import BranchedHourglass, GlobalAwareBlock, Hourglass, JointConnectivity
from roadedge.spec import ModelSpec
from tests.models.networks import disturb_norms, follow_norms, random_feeds

BRANCHED = "joint-connectivity-mb"
NAMES = ("joint-connectivity", "joint-connectivity-plain", BRANCHED)


def of_an_image(name: str = "joint-connectivity") -> JointConnectivity:
    network = create_model(name, dataclasses.replace(ModelSpec(name), inputs=("image",)))
    assert isinstance(network, JointConnectivity)
    return network.eval()


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_parts_have_their_shares_of_the_parameters() -> None:
    with torch.device("meta"):
        assert parameters(GlobalAwareBlock(128, 128)) == 297_472
        assert parameters(Hourglass(3)) * 2 == 12_493_824


def test_the_deployed_networks_are_spared_the_heads_of_teaching() -> None:
    # what the list says is counted afresh by the tests of the catalogue
    costs = [CATALOGUE[name].cost for name in NAMES]
    assert [cost.gmac < 0.97 * cost.network_gmac for cost in costs] == [True] * 3


@pytest.mark.parametrize("name", NAMES)
def test_outputs_have_their_names_and_scales(name: str) -> None:
    with torch.device("meta"):
        network = of_an_image(name).train()
    out = network({"image": torch.zeros(1, 512, 512, 3, device="meta")})
    assert {name: tuple(value.shape[1:]) for name, value in out.items()} == {
        "first_logits": (1, 128, 128),
        "first_connectivity": (5, 128, 128),
        "second_logits": (1, 128, 128),
        "second_connectivity": (5, 128, 128),
        "logits": (1, 512, 512),
        "connectivity": (5, 512, 512),
    }


@pytest.mark.parametrize("name", [name for name in NAMES if name != BRANCHED])  # whose graph is compared below
def test_the_deployed_network_says_the_same_of_the_road(name: str) -> None:
    network = of_an_image(name)
    disturb_norms(network)
    follow_norms(network)
    feeds = random_feeds(network, 64, 64, batch=1)
    with torch.no_grad():
        whole, deployed = network(feeds), network.deployed()(feeds)
    assert set(whole) == {"logits", "connectivity"}
    assert set(deployed) == {"logits"}
    assert float((whole["logits"] - deployed["logits"]).abs().max()) < 1e-4 * (1 + float(whole["logits"].abs().max()))


class TestBranches:
    def test_each_way_up_is_that_of_an_hourglass_of_its_own(self) -> None:
        torch.manual_seed(0)
        branched, x = BranchedHourglass(2, ResidualBlock).eval(), torch.rand(1, 128, 8, 8)
        assert isinstance(branched.inner, BranchedHourglass)
        with torch.no_grad():
            maps = branched(x)
            for task in ("logits", "connectivity"):
                alone = Hourglass(2, ResidualBlock).eval()
                named = {key.replace(f".{task}.", ".").replace("groups.", ""): value
                         for key, value in branched.state_dict().items() if task in key or "down" in key}  # fmt: skip
                alone.load_state_dict(named)
                assert torch.equal(maps[task], alone(x))
        assert not torch.allclose(maps["logits"], maps["connectivity"])

    def test_a_road_reads_the_connectivity_of_the_first_stack_alone(self) -> None:
        with torch.device("meta"):
            stacks = of_an_image(BRANCHED).deployed().stacks
        read = [{part for part in ("logits", "connectivity") for key in stack.state_dict() if part in key}
                for stack in stacks]  # fmt: skip
        assert read == [{"logits", "connectivity"}, {"logits"}]

    def test_every_branch_is_trained(self) -> None:
        torch.manual_seed(0)
        network = of_an_image(BRANCHED).train()
        out = network(random_feeds(network, 64, 64))
        torch.stack([value.square().mean() for value in out.values()]).sum().backward()  # type: ignore[no-untyped-call]
        assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []

    def test_the_graph_has_the_road_alone_and_agrees(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        network = of_an_image(BRANCHED)
        disturb_norms(network)
        follow_norms(network)
        feeds, path = random_feeds(network, 64, 96, batch=1), tmp_path / "a.onnx"
        write_graph(network.deployed(), path, (64, 96), 1, simplify=False)
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        got = session.run(["logits"], {name: value.numpy() for name, value in feeds.items()})[0]
        with torch.no_grad():
            want = network(feeds)["logits"].numpy()
        assert np.abs(np.asarray(got) - want).max() < 3e-5 * (10 + np.abs(want).max())


def test_a_gated_block_is_what_the_formula_says() -> None:
    torch.manual_seed(0)
    block = GlobalAwareBlock(16, 32).eval()
    x = torch.randn(2, 16, 5, 7)
    with torch.no_grad():
        inner = block.second(torch.relu(block.first(x)))
        squeeze, widen = (part for part in block.channels if isinstance(part, nn.Conv2d))
        mean = inner.mean((2, 3))
        weight = torch.sigmoid(torch.relu(mean @ squeeze.weight.flatten(1).T) @ widen.weight.flatten(1).T)
        gated = inner * weight[:, :, None, None]
        gated = gated * torch.sigmoid(gated.mean(1))[:, None]
        assert torch.allclose(block(x), torch.relu(gated + block.shortcut(x)), atol=1e-5)


def test_an_hourglass_sees_across_and_adds_what_came() -> None:
    torch.manual_seed(0)
    glass = Hourglass(3).eval()
    for module in glass.modules():
        if isinstance(module, GlobalAwareBlock):
            norm = module.second[1]
            assert isinstance(norm, nn.BatchNorm2d)
            nn.init.zeros_(norm.weight)  # its branch adds nothing: what is left is pooling and growing
    x = torch.rand(1, 128, 16, 16)
    levels = [nn.functional.max_pool2d(x, 2**k) for k in range(4)]
    want = torch.stack([nn.functional.interpolate(level, size=16, mode="nearest") for level in levels]).sum(0)
    with torch.no_grad():
        assert torch.allclose(glass(x), want, atol=1e-5)
