"""SegNeXt and D-SegNeXt: the reach of the gate, and a factorisation that repeats itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from roadedge.export.graph import write_graph
from roadedge.export.precision import halved
from roadedge.models import create_model
from roadedge.models.layers import ChannelNorm, DropPath, RoadDifference
from roadedge.models.matrix_factors import EPSILON, MatrixFactors
from roadedge.models.segnext import DilatedGate, GroupNorm, SegNeXt
from roadedge.spec import ModelSpec
from tests.models.networks import disturb_norms, random_feeds


def of_an_image(name: str) -> SegNeXt:
    network = create_model(name, dataclasses.replace(ModelSpec(name), inputs=("image",)))
    assert isinstance(network, SegNeXt)
    return network.eval()


def test_the_dilated_gate_sees_69_pixels() -> None:
    gate = DilatedGate(1)
    for parameter in gate.parameters():
        nn.init.constant_(parameter, 0.1)
    ones = torch.ones(1, 1, 101, 101)
    poked = ones.clone()
    poked[0, 0, 50, 50] = 2.0
    with torch.no_grad():
        changed = (gate(poked) - gate(ones))[0, 0].abs() > 1e-9
    rows = changed.any(1).nonzero().flatten()
    assert (int(rows.min()), int(rows.max())) == (50 - 34, 50 + 34)


class TestMatrixFactors:
    def test_the_product_is_non_negative_and_repeats_itself(self) -> None:
        factors = MatrixFactors(8, 4).eval()
        x = torch.rand(2, 8, 6, 5)
        out = factors(x)
        assert out.shape == x.shape
        assert float(out.min()) >= 0
        assert torch.equal(out, factors(x))
        assert torch.equal(MatrixFactors(8, 4).bases, factors.bases)

    def test_it_equals_the_iteration_written_out(self) -> None:
        factors = MatrixFactors(5, 3).eval()
        x = torch.rand(1, 5, 4, 4)
        values, bases = x[0].flatten(1).double().numpy(), factors.bases.double().numpy()
        scores = np.exp(values.T @ bases)
        coefficients = scores / scores.sum(1, keepdims=True)
        for _ in range(7):
            coefficients = coefficients * (values.T @ bases) / (coefficients @ (bases.T @ bases) + EPSILON)
            bases = bases * (values @ coefficients) / (bases @ (coefficients.T @ coefficients) + EPSILON)
        coefficients = coefficients * (values.T @ bases) / (coefficients @ (bases.T @ bases) + EPSILON)
        assert np.abs(factors(x)[0].flatten(1).numpy() - bases @ coefficients.T).max() < 1e-5

    def test_a_map_of_low_rank_is_found_again(self) -> None:
        factors = MatrixFactors(6, 4).eval()
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(6, 1, generator=generator) @ torch.rand(1, 64, generator=generator)
        far = factors(x.view(1, 6, 8, 8)).flatten() - x.flatten()
        assert float(far.norm()) < 0.02 * float(x.norm())

    def test_nothing_comes_of_an_empty_map(self) -> None:
        factors = MatrixFactors(6, 4).train()
        x = torch.zeros(1, 6, 4, 4, requires_grad=True)
        factors(x).sum().backward()
        assert x.grad is not None
        assert bool(x.grad.isfinite().all())
        assert float(factors(x).detach().abs().max()) == 0

    def test_it_stays_float32_in_a_halved_network(self) -> None:
        factors = MatrixFactors(6, 4).eval()
        x = torch.rand(1, 6, 16, 16)
        half = MatrixFactors(6, 4).eval().half()(x.half())
        assert half.dtype == torch.float16
        assert torch.allclose(half.float(), factors(x), atol=5e-3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(factors(x), factors(x.float()))
            assert factors(x).dtype == torch.float32

    def test_a_checkpoint_carries_the_bases(self) -> None:
        assert [key for key in of_an_image("segnext-t").state_dict() if key.endswith("bases")] == ["head.factors.bases"]


def test_the_norm_over_channels_is_that_of_each_pixel() -> None:
    norm = ChannelNorm(6)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    x = torch.randn(2, 6, 3, 4)
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    want = (x - mean) / torch.sqrt(variance + norm.eps) * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
    assert torch.allclose(norm(x), want, atol=1e-5)


def test_the_norm_over_groups_is_that_of_torch_and_of_each_group() -> None:
    norm = GroupNorm(64)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    x = torch.randn(2, 64, 5, 3)
    assert torch.equal(norm(x), nn.functional.group_norm(x, 32, norm.weight, norm.bias, norm.eps))
    groups = x.reshape(2, 32, 2, 5, 3)
    mean = groups.mean((2, 3, 4), keepdim=True)
    variance = groups.var((2, 3, 4), keepdim=True, unbiased=False)
    alone = ((groups - mean) / torch.sqrt(variance + norm.eps)).reshape(x.shape)
    assert torch.allclose(norm(x), alone * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1), atol=1e-5)


def test_the_difference_of_two_classes_has_their_probability() -> None:
    classes = torch.randn(2, 2, 3, 3)
    one = RoadDifference()(classes)
    assert torch.allclose(torch.sigmoid(one), torch.softmax(classes, 1)[:, 1:], atol=1e-6)


def test_dropped_paths_keep_the_mean_and_end_with_training() -> None:
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 1, 1, 1)
    values = drop.train()(x)
    assert sorted(set(values.flatten().tolist())) == pytest.approx([0, 4 / 3])
    assert float(values.mean()) == pytest.approx(1, abs=0.05)
    assert drop.eval()(x) is x


def test_fixed_bases_make_a_graph_without_chance_for_any_size(tmp_path: Path) -> None:
    network = of_an_image("d-segnext-t")
    disturb_norms(network)
    path = tmp_path / "a.onnx"
    model = write_graph(network.deployed(), path, None, None)
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"RandomUniformLike", "RandomUniform", "BatchNormalization", "Loop", "If", "ScatterND"}
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    for size in ((64, 96), (128, 64)):  # one graph, any size
        feeds = random_feeds(network, *size)
        got = session.run(["logits"], {name: value.numpy() for name, value in feeds.items()})[0]
        with torch.no_grad():
            want = network(feeds)["logits"].numpy()
        assert np.abs(np.asarray(got) - want).max() < 1e-4


def test_the_halved_network_says_about_the_same() -> None:
    network = of_an_image("segnext-t")
    disturb_norms(network)
    feeds = random_feeds(network, 64, 64)
    with torch.no_grad():
        exact: Tensor = network(feeds)["logits"]
        half: Tensor = halved(network.deployed())(feeds)["logits"].float()
    assert float((exact - half).abs().max()) < 0.02 * float(exact.abs().max()) + 0.01
