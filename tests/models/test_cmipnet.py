"""CMIPNet: the published numbers, the valley rule, the exchange and its frozen forms."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from roadedge.export.graph import write_graph
from roadedge.models import create_model
from roadedge.models.catalogue import gmac
from roadedge.models.cmipnet import (
    DEPTHS,
    WIDTHS,
    BgrConv2d,
    CMIPNet,
    ExchangeBlock,
    FrozenExchange,
    informative,
    parts_read,
    sources,
)
from roadedge.spec import ModelSpec
from tests.models.networks import disturb_norms, random_feeds


def cmipnet(inputs: tuple[str, ...] = ("image", "trajectory")) -> CMIPNet:
    network = create_model("cmipnet", dataclasses.replace(ModelSpec("cmipnet"), inputs=inputs))
    assert isinstance(network, CMIPNet)
    return network.eval()


def polarise(network: CMIPNet, share: float = 0.4) -> None:
    """As the penalty might leave it: in each norm a random `share` of the γ lies near zero."""
    generator = torch.Generator().manual_seed(1)
    disturb_norms(network)
    for block in network.exchange_blocks():
        for norm in block.second.norms:
            assert isinstance(norm, nn.BatchNorm2d)
            low = torch.randperm(norm.num_features, generator=generator)[: int(share * norm.num_features)]
            norm.weight.data[low] = torch.randn(len(low), generator=generator) * 1e-3


class TestNumbers:
    def test_parameters(self) -> None:
        with torch.device("meta"):
            assert sum(p.numel() for p in cmipnet().parameters()) == 31_117_873

    def test_multiply_adds_with_one_run_of_the_decoder(self) -> None:
        with torch.device("meta"):
            network = cmipnet()
        assert gmac(network, 512) == pytest.approx(52.748, abs=0.01)
        assert gmac(network, 1024) == pytest.approx(210.990, abs=0.01)

    def test_where_the_multiply_adds_go(self) -> None:
        with torch.device("meta"):
            network = cmipnet()
            feeds = {"image": torch.zeros(1, 512, 512, 3), "trajectory": torch.zeros(1, 512, 512, 1)}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(feeds)
        counts = counter.get_flop_counts()

        def of(*parts: str) -> float:
            return sum(sum(counts[f"CMIPNet.{part}"].values()) for part in parts) / 2e9

        assert of("stems.image", "stems.trajectory") == pytest.approx(0.82, abs=0.005)
        layers = [of(f"layers.{i}") for i in range(4)]
        assert layers == pytest.approx([7.25, 9.13, 13.96, 6.71], abs=0.005)
        assert of("centre") == pytest.approx(4.83, abs=0.005)
        assert of(*(f"decoders.{i}" for i in range(4))) == pytest.approx(0.77, abs=0.005)
        assert [of("enlarge"), of("smooth"), of("fuse")] == pytest.approx([4.30, 4.83, 0.15], abs=0.006)

    def test_the_forward_pass_never_waits_for_the_device(self) -> None:
        with torch.device("meta"):  # where any look at a value raises
            network = cmipnet()
        feeds = {name: value.to("meta") for name, value in random_feeds(network, 64, 64).items()}
        assert network(feeds)["logits"].shape == (2, 1, 64, 64)

    def test_the_penalty_at_fresh_weights(self) -> None:
        network = cmipnet()
        assert [len(block.second.norms) for block in network.exchange_blocks()] == [2] * 16
        assert float(network.penalty().detach()) == pytest.approx(3e-4 * 0.6 * 3776, rel=1e-5)  # 3776 γ, all one

    def test_one_input_leaves_no_exchange_and_no_penalty(self) -> None:
        alone = cmipnet(("image",))
        assert alone.exchange_blocks() == []
        assert float(alone.penalty()) == 0.0

    def test_the_image_is_turned_to_blue_green_red(self) -> None:
        conv = BgrConv2d(3, 64, 7, 2, 3, bias=False)
        plain = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        plain.weight = conv.weight
        x = torch.rand(1, 3, 32, 32)
        assert torch.allclose(conv(x), plain(x[:, [2, 1, 0]]), atol=1e-6)
        assert torch.allclose(conv(x), conv.as_rgb()(x), atol=1e-6)

    def test_grey_levels_are_scaled_as_published(self) -> None:
        normalise = cmipnet().normalise["image"]
        grey = torch.tensor([0.0, 100.0, 255.0]).view(1, 1, 1, 3)
        assert torch.allclose(normalise(grey).flatten(), grey.flatten() / 255 * 3.2 - 1.6, atol=1e-6)


class TestFreshWeights:
    def test_convolutions_are_drawn_by_their_outputs_and_transposed_ones_by_torch(self) -> None:
        torch.manual_seed(0)
        network = create_model("cmipnet-slim")
        for name, module in network.named_modules():
            if isinstance(module, nn.ConvTranspose2d):  # uniform within 1 / sqrt(outputs k k)
                bound = (module.out_channels * module.kernel_size[0] ** 2) ** -0.5
                assert 0.9 * bound < float(module.weight.detach().abs().max()) <= bound, name
            elif isinstance(module, nn.Conv2d):
                want = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
                slack = 6 / module.weight.numel() ** 0.5  # standard deviations of a standard deviation, and more
                assert float(module.weight.detach().std()) == pytest.approx(want, rel=slack), name

    def test_the_centre_starts_without_bias_and_norms_as_one(self) -> None:
        network = create_model("cmipnet-slim")
        assert isinstance(network, CMIPNet)
        biases = [value for name, value in network.centre.named_parameters() if name.endswith("bias")]
        assert [bool(value.any()) for value in biases] == [False] * 4
        for block in network.exchange_blocks():
            assert bool((block.second.scales() == 1).all())


class TestPenalty:
    def test_it_is_the_sum_over_disjoint_halves(self) -> None:
        network = cmipnet()
        polarise(network)
        total = 0.0
        for block in network.exchange_blocks():
            for m, norm in enumerate(block.second.norms):
                assert isinstance(norm, nn.BatchNorm2d)
                gamma = norm.weight.detach().double().numpy()
                half = gamma[: len(gamma) // 2] if m == 0 else gamma[len(gamma) // 2 :]
                total += 0.6 * np.abs(half).sum() - np.abs(half - half.mean()).sum()
        assert float(network.penalty().detach()) == pytest.approx(3e-4 * total, rel=1e-4)

    def test_it_pushes_gamma_away_from_the_mean(self) -> None:
        network = cmipnet()
        norm = network.exchange_blocks()[0].second.norms[0]
        assert isinstance(norm, nn.BatchNorm2d)
        norm.weight.data[:16], norm.weight.data[16:32] = 0.5, 1.5
        network.penalty().backward()  # type: ignore[no-untyped-call]
        assert norm.weight.grad is not None
        down, up, other = norm.weight.grad[:16], norm.weight.grad[16:32], norm.weight.grad[32:]
        assert float(other.abs().max()) == 0.0
        assert float(down[0]) == pytest.approx(3e-4 * 1.6, rel=1e-4)
        assert float(up[0]) == pytest.approx(-3e-4 * 0.4, rel=1e-4)


def kept_by_definition(weight: Tensor, counts: Tensor) -> Tensor:
    """The rule as published, a scan for the first valley."""
    low, high, bins = weight.min(), weight.max(), len(weight)
    steps = torch.diff(counts)
    for i in range(len(steps) - 1):
        if steps[i] <= 0 < steps[i + 1]:
            return weight >= low + (i + 2) * (high - low) / bins
    return torch.ones_like(weight, dtype=torch.bool)


def counts_by_definition(weight: Tensor) -> Tensor:
    """A histogram with as many bins as values, value by value."""
    low, high, bins = weight.min(), weight.max(), len(weight)
    counts = torch.zeros(bins)
    for value in weight:
        place = int((value - low) / (high - low) * bins) if high > low else 0
        counts[min(place, bins - 1)] += 1
    return counts


class TestValley:
    # Without subnormal numbers: whether 1e-45 is one or zero depends on a mode of the processor that libraries switch,
    # and vector and scalar code then differ. No weight of a trained network is so small.
    @settings(max_examples=200, deadline=None)
    @given(hnp.arrays(np.float32, st.integers(1, 80), elements=st.floats(0, 2, width=32, allow_subnormal=False)))
    def test_it_equals_the_scan(self, values: np.ndarray) -> None:
        weight = torch.from_numpy(values)
        assert informative(weight).tolist() == kept_by_definition(weight, counts_by_definition(weight)).tolist()

    @pytest.mark.parametrize("channels", WIDTHS)
    def test_it_equals_the_published_histogram(self, channels: int) -> None:
        generator = torch.Generator().manual_seed(channels)
        for _ in range(25):
            weight = torch.randn(channels, generator=generator).abs()
            weight[: channels // 3] *= float(torch.rand((), generator=generator))
            assert torch.equal(informative(weight), kept_by_definition(weight, torch.histc(weight, channels)))

    def test_rows_do_not_touch_each_other(self) -> None:
        rows = torch.rand(3, 2, 64, generator=torch.Generator().manual_seed(0))
        assert torch.equal(informative(rows)[1, 0], informative(rows[1, 0]))

    def test_equal_gamma_exchange_nothing(self) -> None:
        assert informative(torch.ones(2, 64)).all()

    def test_no_valley_exchanges_nothing(self) -> None:
        spread = torch.arange(64.0)  # one in each bin: counts that neither fall nor rise
        assert set(counts_by_definition(spread).tolist()) == {1.0}
        assert informative(spread).all()

    def test_not_a_number_does_not_stop_the_pass(self) -> None:
        weight = torch.rand(64)
        weight[3] = torch.nan  # the loss will tell
        assert informative(weight).shape == (64,)

    @pytest.mark.parametrize(
        ("channels", "unimodal", "uniform", "mixed"),
        [(18, 10, 18, 31), (64, 2.2, 5.3, 30), (128, 0.9, 2.7, 19), (256, 0.45, 1.3, 10), (512, 0.2, 0.7, 5)],
    )
    def test_how_much_is_exchanged_is_what_was_simulated(
        self, channels: int, unimodal: float, uniform: float, mixed: float
    ) -> None:
        generator = torch.Generator().manual_seed(channels)
        low = round(0.3 * channels)
        group = torch.rand(300, low, generator=generator) * 0.02
        rest = 0.3 + 0.1 * torch.randn(300, channels - low, generator=generator)
        draws = {
            unimodal: 1 + 0.1 * torch.randn(300, channels, generator=generator),
            uniform: torch.rand(300, channels, generator=generator),
            mixed: torch.cat([group, rest.abs()], 1),
        }
        for percent, gamma in draws.items():
            found = 100 * float((~informative(gamma)).float().mean())
            assert found == pytest.approx(percent, rel=0.25, abs=0.1)  # of 300 draws

    @pytest.mark.parametrize("share", [0.3, 0.5])
    def test_a_collapsed_group_is_found_whole(self, share: float) -> None:
        generator = torch.Generator().manual_seed(3)
        weight = 0.3 + 0.1 * torch.rand(256, generator=generator)
        weight[: int(share * 256)] = torch.rand(int(share * 256), generator=generator) * 1e-4
        assert float((~informative(weight)).float().mean()) == pytest.approx(share, abs=0.01)


class TestExchange:
    def test_both_low_swap_and_one_low_doubles(self) -> None:
        block = ExchangeBlock(64, 64, 1, 2).eval()
        keep = torch.ones(2, 64, dtype=torch.bool)
        keep[:, 0], keep[0, 1], keep[1, 2] = False, False, False  # swapped; first reads second; second reads first
        for norm, row in zip(block.second.norms, keep, strict=True):
            assert isinstance(norm, nn.BatchNorm2d)
            norm.weight.data = torch.where(row, 1.0 + torch.rand(64) / 100, 1e-4 * torch.rand(64))
        assert torch.equal(informative(block.second.scales()), keep)
        with torch.no_grad():
            x = [torch.rand(1, 64, 8, 8), torch.rand(1, 64, 8, 8)]
            own = block.second([torch.relu(m) for m in block.first(x)])
            inner = [own[0].clone(), own[1].clone()]
            inner[0][:, :2], inner[1][:, 0], inner[1][:, 2] = own[1][:, :2], own[0][:, 0], own[0][:, 2]
            want = [torch.relu(a + b) for a, b in zip(inner, x, strict=True)]
            for forms in (block(x), block.frozen(False)(x), block.frozen(True)(x)):
                for got, expected in zip(forms, want, strict=True):
                    assert torch.allclose(got, expected, atol=1e-5)

    @given(hnp.arrays(np.bool_, st.tuples(st.just(2), st.integers(1, 20))), st.booleans())
    def test_all_that_is_read_is_computed_once_and_nothing_else(self, mask: np.ndarray, fold: bool) -> None:
        keep = torch.from_numpy(mask)
        keep[:, -1] = True  # the largest γ is always kept
        parts = parts_read(keep, fold)
        computed = [[int(c) for channels, readers in parts if m in readers for c in channels] for m in (0, 1)]
        reads = [{c for c in range(keep.shape[1]) if keep[m, c] or not keep[1 - m, c]} for m in (0, 1)]
        assert [sorted(row) for row in computed] == [sorted(row) for row in reads]
        if not fold:  # each weight stands in the graph once
            assert sorted(int(c) for channels, _ in parts for c in channels) == list(range(keep.shape[1]))
        pool = [(m, c) for m in (0, 1) for c in computed[m]]
        for m, row in enumerate(sources(keep, parts)):
            assert [pool[i] for i in row] == [(m if keep[m, c] else 1 - m, c) for c in range(keep.shape[1])]


@pytest.fixture(scope="module")
def polarised() -> CMIPNet:
    torch.manual_seed(0)
    made = cmipnet()
    polarise(made)
    return made


class TestFrozen:
    def test_a_fifth_of_the_channels_exchanges_in_both_streams(self, polarised: CMIPNet) -> None:
        low = torch.cat([~informative(block.second.scales()) for block in polarised.exchange_blocks()], 1)
        assert (low.float().mean(1) >= 0.2).all()

    @pytest.mark.parametrize("fold", [False, True])
    def test_the_frozen_network_equals_the_live_one(self, polarised: CMIPNet, fold: bool) -> None:
        feeds = random_feeds(polarised, 96, 64)
        frozen = polarised.deployed(fold)
        with torch.no_grad():
            live, constant = polarised(feeds)["logits"], frozen(feeds)["logits"]
        assert live.std() > 1e-2
        assert torch.allclose(live, constant, atol=1e-5, rtol=0)
        assert sum(isinstance(module, FrozenExchange) and module.exchanges for module in frozen.modules()) == sum(
            DEPTHS
        )

    def test_channels_that_nobody_reads_are_not_computed(self, polarised: CMIPNet) -> None:
        skipped = gmac(polarised.deployed(fold=True), 512)
        assert 0.8 * 52.748 < skipped < 0.95 * 52.748
        assert gmac(polarised.deployed(fold=False), 512) == pytest.approx(skipped, rel=1e-6)

    def test_weights_stay_shared_unless_folded(self, polarised: CMIPNet) -> None:
        unfolded, folded = (cost(polarised, fold) for fold in (False, True))
        assert unfolded * 4e-6 < 130  # MB of FP32
        assert folded * 4e-6 > 180

    def test_the_exported_graph_keeps_the_weights_shared(self, polarised: CMIPNet, tmp_path: Path) -> None:
        path = tmp_path / "cmipnet.onnx"
        write_graph(polarised.deployed(), path, (64, 96), 2)
        assert path.stat().st_size < 130e6
        feeds = random_feeds(polarised, 64, 96)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        out = session.run(["logits"], {name: value.numpy() for name, value in feeds.items()})[0]
        with torch.no_grad():
            assert np.abs(out - polarised(feeds)["logits"].numpy()).max() < 1e-4

    def test_the_live_network_follows_gamma(self, polarised: CMIPNet) -> None:
        feeds = random_feeds(polarised, 64, 64)
        frozen = polarised.deployed()
        norm = polarised.exchange_blocks()[0].second.norms[0]
        assert isinstance(norm, nn.BatchNorm2d)
        before = norm.weight.data.clone()
        norm.weight.data = norm.weight.data.flip(0)
        with torch.no_grad():
            assert not torch.allclose(polarised(feeds)["logits"], frozen(feeds)["logits"], atol=1e-4)
        norm.weight.data = before


def cost(network: CMIPNet, fold: bool) -> int:
    """Numbers that the deployed graph holds."""
    return sum(value.numel() for value in network.deployed(fold).state_dict().values())
