"""CU-dGCN: the parts of its parameters, its outputs by name, and that what replaces an operator equals it."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from roadedge.errors import ExportError
from roadedge.export.graph import write_graph
from roadedge.export.precision import halved
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.cu_dgcn import CUdGCN, OrientationBranch, Pyramid, RoadBranch
from roadedge.models.dual_graph import DualGraph, FeatureGraph, SpatialGraph
from roadedge.models.pooling import AdaptivePool
from roadedge.spec import ModelSpec
from tests.models.networks import disturb_norms, random_feeds


def of_an_image(name: str = "cu-dgcn-tiny") -> CUdGCN:
    network = create_model(name, dataclasses.replace(ModelSpec(name), inputs=("image",)))
    assert isinstance(network, CUdGCN)
    return network.eval()


def parameters(module: nn.Module | None) -> int:
    assert module is not None
    return sum(p.numel() for p in module.parameters())


def test_each_part_has_its_share_of_the_parameters() -> None:
    with torch.device("meta"):
        base = of_an_image("cu-dgcn")
    assert parameters(base.encoder) == 87_568_256
    assert parameters(base.pyramid) == 2_295_040 + 558_592
    assert parameters(base.orientation) == 221_386
    assert parameters(base.road) == 158_000 + 39_860
    assert parameters(base.road.graphs[0]) == 9_744


def test_outputs_have_their_names_and_scales() -> None:
    levels = [torch.rand(2, 8, 64 // s, 64 // s) for s in (4, 8, 16, 32)]
    torch.manual_seed(0)
    road, orientation = RoadBranch(8), OrientationBranch(8)
    sizes = {name: tuple(value.shape[1:]) for name, value in (road(levels) | orientation(levels[0])).items()}
    assert sizes == {
        "logits": (1, 64, 64),
        "half_logits": (1, 32, 32),
        "quarter_logits": (1, 16, 16),
        "orientation": (37, 64, 64),
        "half_orientation": (37, 32, 32),
        "quarter_orientation": (37, 16, 16),
    }
    assert set(road.eval()(levels)) == {"logits"}
    assert set(orientation.eval()(levels[0])) == {"orientation"}


def test_two_passes_agree_and_the_deployed_network_has_the_road_alone() -> None:
    network = of_an_image()
    disturb_norms(network)
    feeds = random_feeds(network, 64, 64, batch=1)
    with torch.no_grad():
        first, second, deployed = network(feeds), network(feeds), network.deployed()(feeds)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert set(first) == {"logits", "orientation"}
    assert set(deployed) == {"logits"}


class TestPooling:
    @pytest.mark.parametrize("side", [1, 2, 3, 6])
    @pytest.mark.parametrize("size", [(2, 3), (16, 16), (18, 12), (7, 5), (1, 4)])
    def test_it_equals_adaptive_pooling(self, side: int, size: tuple[int, int]) -> None:
        x = torch.randn(2, 3, *size)
        want = nn.functional.adaptive_avg_pool2d(x, side)
        assert torch.allclose(AdaptivePool(side)(x), want, atol=1e-6)

    def test_an_odd_map_is_pooled_by_products_in_the_graph(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        pyramid = Pyramid((8, 8, 8, 8)).eval()
        maps = [torch.rand(1, 8, 160 // s, 96 // s) for s in (4, 8, 16, 32)]  # 5 x 3 at 1/32
        path = tmp_path / "a.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the exporter itself
            names = [f"m{i}" for i in range(4)]
            torch.onnx.export(pyramid, (maps,), str(path), dynamo=False, opset_version=17, input_names=names)
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        got = session.run(None, {f"m{i}": one.numpy() for i, one in enumerate(maps)})
        with torch.no_grad():
            want = pyramid(maps)
        assert all(np.abs(np.asarray(a) - b.numpy()).max() < 1e-5 for a, b in zip(got, want, strict=True))

    def test_a_graph_of_any_size_is_refused(self, tmp_path: Path) -> None:
        with torch.device("meta"):
            network = of_an_image()
        with pytest.raises(ExportError, match="any size"):
            write_graph(network, tmp_path / "a.onnx", None, 1)


class TestDualGraph:
    def test_1x1_convolutions_stand_for_1d_ones(self) -> None:
        torch.manual_seed(0)
        graph = FeatureGraph(32).eval()
        conv = graph.between_nodes[0]
        assert isinstance(conv, nn.Conv2d)
        nodes = torch.randn(2, 16, 32)
        want = nn.functional.conv1d(nodes, conv.weight.squeeze(-1))
        assert torch.allclose(conv(nodes.unsqueeze(-1)).squeeze(-1), want, atol=1e-6)

    def test_it_is_what_the_formulas_say(self) -> None:
        torch.manual_seed(0)
        graph = SpatialGraph(32).eval()
        x = torch.randn(1, 32, 24, 40)
        with torch.no_grad():
            coarse = graph.shrink(x)
            assert coarse.shape[-2:] == (3, 5)
            query, key, value = (part(coarse)[0].flatten(1) for part in (graph.query, graph.key, graph.value))
            affinity = torch.softmax(query @ value.T, -1)
            attended = (key.T @ affinity).T
            mixed = graph.widen(graph.mix(attended[None, :, :, None]).view(1, 16, 3, 5))
            local = nn.functional.interpolate(torch.relu(mixed + coarse), (24, 40), mode="bilinear", align_corners=True)
            assert torch.allclose(graph(x), x * local + x, atol=1e-5)

    def test_it_keeps_the_shape_of_odd_maps(self) -> None:
        x = torch.randn(1, 32, 33, 17)
        assert DualGraph(32).eval()(x).shape == x.shape

    def test_sums_over_a_large_map_do_not_leave_the_range_of_a_halved_network(self) -> None:
        class Graph(RoadNet):
            def __init__(self) -> None:
                super().__init__(ModelSpec("cu-dgcn"))
                self.graph = DualGraph(32)

            def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
                return {"logits": self.graph(feeds["map"])}

        torch.manual_seed(0)
        network, x = Graph().eval(), torch.ones(1, 32, 300, 300)
        feature = network.graph.feature
        for part in (feature.state, feature.project):
            nn.init.constant_(part.get_parameter("0.weight"), 1 / 32)  # each pixel adds one to each node
        feature.between_states.get_buffer("1.running_var").fill_(1e10)
        with torch.no_grad():
            want, plain = network({"map": x})["logits"], copy.deepcopy(network).half()({"map": x.half()})["logits"]
            got = halved(network)({"map": x.half()})["logits"]
        assert not bool(plain.isfinite().all())
        assert got.dtype == torch.float16
        assert torch.allclose(got.float(), want, atol=1e-2, rtol=1e-2)
