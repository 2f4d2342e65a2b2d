"""Every network keeps the contract of `RoadNet`."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from roadedge.calibration.flow import ends_of, flow_of
from roadedge.calibration.insert import insert_qdq
from roadedge.calibration.measure import measurable, scales_for
from roadedge.calibration.observe import observe
from roadedge.errors import SpecMismatchError, UnknownNameError
from roadedge.export.lint import lint_graph
from roadedge.export.onnx_view import convolution_precisions
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import load_network, save_network
from roadedge.models.placement import place
from roadedge.spec import ModelSpec
from tests.models.networks import FAMILIES, disturb_norms, follow_norms, random_feeds

SEEN = 0.5  # correlation of INT8 logits with float ones; 0.71 in the deepest network, 0.88 and more in the others


@pytest.fixture(scope="module", params=FAMILIES)
def network(request: pytest.FixtureRequest) -> RoadNet:
    torch.manual_seed(0)
    made = create_model(request.param)
    disturb_norms(made)
    follow_norms(made)
    return made.eval()


@pytest.fixture(scope="module")
def said(network: RoadNet) -> Tensor:
    """Its logits of 64 x 96 pixels, before any test touches it."""
    return logits(network, random_feeds(network, 64, 96))


@pytest.fixture(scope="module")
def deployed(network: RoadNet) -> RoadNet:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    made = network.deployed()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    return made


@pytest.fixture(scope="module")
def graph(deployed: RoadNet) -> bytes:
    """Its ONNX graph for 64 x 96."""
    return onnx_bytes(deployed, random_feeds(deployed, 64, 96))


@pytest.fixture
def trained(network: RoadNet) -> Iterator[RoadNet]:
    """The network in training mode, put back afterwards."""
    before = {key: value.clone() for key, value in network.state_dict().items()}
    yield network.train()
    network.load_state_dict(before)
    network.zero_grad()
    network.eval()


def logits(network: nn.Module, feeds: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        out: Tensor = network(feeds)["logits"]
    return out


def agree(one: Tensor, other: Tensor) -> bool:
    """Equal but for rounding, which grows with the logits."""
    return float((one - other).abs().max()) < 3e-5 * (10 + float(other.abs().max()))


class TestEveryNetwork:
    def test_logits_have_the_size_of_the_feeds(self, network: RoadNet, said: Tensor) -> None:
        for out, size in ((said, (64, 96)), (logits(network, random_feeds(network, 128, 64)), (128, 64))):
            assert all(side % network.spec.stride == 0 for side in size)
            assert out.shape == (2, 1, *size)
            assert out.dtype == torch.float32
            assert out.isfinite().all()

    def test_grey_levels_may_come_as_floats(self, network: RoadNet, said: Tensor) -> None:
        floats = {name: value.float() for name, value in random_feeds(network, 64, 96).items()}
        assert torch.equal(said, logits(network, floats))

    def test_a_frame_does_not_depend_on_its_batch(self, network: RoadNet, said: Tensor) -> None:
        alone = logits(network, {name: value[1:] for name, value in random_feeds(network, 64, 96).items()})
        assert agree(said[1:], alone)

    def test_each_input_matters(self, network: RoadNet, said: Tensor) -> None:
        feeds = random_feeds(network, 64, 96)
        for name in network.spec.inputs:
            blanked = feeds | {name: torch.zeros_like(feeds[name])}
            assert not torch.allclose(said, logits(network, blanked), atol=1e-3)

    def test_every_parameter_gets_a_finite_gradient(self, trained: RoadNet) -> None:
        out = trained(random_feeds(trained, 64, 64))
        (sum(value.square().mean() for value in out.values()) + trained.penalty()).backward()
        without = [name for name, p in trained.named_parameters() if p.requires_grad and p.grad is None]
        assert without == []
        assert all(bool(p.grad.isfinite().all()) for p in trained.parameters() if p.grad is not None)

    def test_one_step_lowers_the_loss(self, trained: RoadNet) -> None:
        feeds = random_feeds(trained, 64, 64)
        road = (feeds["image"].float().mean(-1, keepdim=True) > 140).float().permute(0, 3, 1, 2)
        optimiser = torch.optim.Adam(trained.parameters(), lr=2e-5)

        def loss() -> Tensor:
            torch.manual_seed(1)  # the same paths and values are dropped before and after the step
            out = nn.functional.binary_cross_entropy_with_logits(trained(feeds)["logits"], road)
            return out + trained.penalty()

        before = loss()
        before.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            assert float(loss()) < float(before.detach())

    def test_a_checkpoint_brings_back_the_same_network(self, network: RoadNet, said: Tensor, tmp_path: Path) -> None:
        save_network(tmp_path / "a.pt", network, {"from": "a test"})
        loaded, provenance = load_network(tmp_path / "a.pt")
        assert torch.equal(said, logits(loaded, random_feeds(network, 64, 96)))
        assert loaded.spec == network.spec
        assert provenance == {"from": "a test"}

    def test_the_deployed_network_computes_the_same(self, network: RoadNet, deployed: RoadNet, said: Tensor) -> None:
        assert agree(said, logits(deployed, random_feeds(network, 64, 96)))
        assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed.modules())

    def test_the_deployed_graph_runs_in_onnxruntime(self, network: RoadNet, said: Tensor, graph: bytes) -> None:
        feeds = random_feeds(network, 64, 96)
        session = opened(graph)
        assert {i.name: i.type for i in session.get_inputs()} == dict.fromkeys(feeds, "tensor(uint8)")
        assert agree(ran(session, feeds), said)

    def test_the_graph_is_quantized_after_training(self, network: RoadNet, said: Tensor, graph: bytes) -> None:
        feeds = random_feeds(network, 64, 96)
        model = onnx.load_from_string(graph)
        placement = place(flow_of(model), *ends_of(model))
        planes = {name: value.numpy() for name, value in feeds.items()}
        ranges = {name: one.largest for name, one in observe(model, measurable(model), [planes], 2, 1).items()}
        quantized = insert_qdq(model, placement, scales_for(model, placement, ranges))
        assert [one.sentence() for one in lint_graph(quantized) if one.blocks] == []  # nothing that TensorRT refuses
        counts = convolution_precisions(quantized)
        assert counts["int8"] == len(placement.convolutions) > 3 * counts["fp32"] > 0
        after = ran(opened(quantized.SerializeToString()), feeds)
        assert after.isfinite().all()
        assert not torch.equal(said, after)
        # random weights carry rounding on as trained ones do not: what the network says must still be seen in it
        assert float(torch.corrcoef(torch.stack([said.flatten(), after.flatten()]))[0, 1]) > SEEN


def opened(graph: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def ran(session: onnxruntime.InferenceSession, feeds: dict[str, Tensor]) -> Tensor:
    """The logits of an ONNX graph."""
    out: Any = session.run(None, {name: value.numpy() for name, value in feeds.items()})[0]
    return torch.from_numpy(out)


def onnx_bytes(network: RoadNet, feeds: dict[str, Tensor]) -> bytes:
    """The network's ONNX graph, legacy exporter, opset 17."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecation notices
        torch.onnx.export(
            ByPosition(network), tuple(feeds.values()), file,  # type: ignore[arg-type]
            dynamo=False, opset_version=17, input_names=list(feeds), output_names=["logits"],
        )  # fmt: skip
    return file.getvalue()


class ByPosition(nn.Module):
    """Takes the feeds as positional tensors, as the exporter wants them."""

    def __init__(self, network: RoadNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, *feeds: Tensor) -> Tensor:
        out: Tensor = self.network(dict(zip(self.network.spec.inputs, feeds, strict=True)))["logits"]
        return out


@pytest.mark.parametrize("inputs", [("image",), ("trajectory",), ("image", "lidar")])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_twin_with_other_inputs_reads_only_those(name: str, inputs: tuple[str, ...]) -> None:
    twin = create_model(name, dataclasses.replace(ModelSpec(name), inputs=inputs)).eval()
    disturb_norms(twin)
    follow_norms(twin)
    feeds = random_feeds(twin, 64, 64, batch=1)
    assert set(feeds) == set(inputs)
    out = logits(twin, feeds)
    assert out.shape == (1, 1, 64, 64)
    assert agree(out, logits(twin.deployed(), feeds))
    assert float(twin.penalty().detach()) == 0.0 or len(inputs) == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_three_inputs_are_refused(name: str) -> None:
    spec = dataclasses.replace(ModelSpec(name), inputs=("image", "trajectory", "lidar"))
    with pytest.raises(SpecMismatchError, match="one or two inputs"):
        create_model(name, spec)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cmipnet'"):
        create_model("cmipnett")
