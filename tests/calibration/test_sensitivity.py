"""Sensitivity: the layer that hurts stands on top, and `auto` keeps as few layers float as the budget asks for."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest

from roadedge.calibration.sensitivity import (
    CEILING_DB,
    LayerLoss,
    SensitivityResult,
    auto_keep_float,
    predicted_loss,
    rank_layers,
    snr_db,
)
from roadedge.calibration.sensitivity_report import draw_sensitivity, sensitivity_lines, write_sensitivity
from roadedge.calibration.subsets import train_samples
from roadedge.data.folder import FolderDataset, LabelledSample
from roadedge.errors import DataError, MissingExtraError, NonFiniteError, UsageError
from roadedge.preprocess import Feeds
from roadedge.runners.base import Runner
from roadedge.spec import ModelSpec
from tests.evaluation.bright_roads import BrightIsRoad, write_data_set

NOISE = {"stem": 0.01, "block": 0.1, "worst": 1.2, "idle": 0.0}  # what each layer adds to the logits in INT8
LAYERS = list(NOISE)


class Noisy(BrightIsRoad):
    """Logits of bright pixels with the noise of the layers that are in INT8, each its own."""

    def __init__(self, quantized: Collection[str], broken: bool = False) -> None:
        super().__init__(ModelSpec("bright", gsd_m=None, gsd_band_m=None, blank_rgb=(15, 15, 15)))
        self.quantized, self.broken = quantized, broken

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        bright = super()._run(feeds, logits)["probability"].astype(np.float32) / 255
        values = 2 * bright - 1
        for layer in self.quantized:
            rng = np.random.default_rng(LAYERS.index(layer))
            values += NOISE[layer] * rng.standard_normal(values.shape).astype(np.float32)
        if self.broken:
            values[..., 0] = np.nan
        probability = (255 / (1 + np.exp(-np.nan_to_num(values)))).astype(np.uint8)
        return {"probability": probability, "logits": values[:, None]}


@pytest.fixture
def samples(tmp_path: Path) -> list[LabelledSample]:
    return list(FolderDataset(write_data_set(tmp_path / "bright", (4, 24, 44)), "val"))


def made(**losses: tuple[float, float]) -> SensitivityResult:
    """A result from (G_IoU lost, SNR in dB) of each layer; the noise of all adds up."""
    layers = tuple(LayerLoss(name, 0.8 - loss, loss, snr) for name, (loss, snr) in losses.items())
    whole = LayerLoss("everything", 0.7, 0.1, float(-10 * np.log10(sum(one.noise for one in layers))))
    return SensitivityResult(layers, whole, 0.8, False, 4, ("clear",), "semi-synthetic")


def test_the_layer_that_hurts_most_stands_on_top(samples: list[LabelledSample]) -> None:
    found = rank_layers(Noisy, LAYERS, samples)
    assert [one.layer for one in found.layers] == ["worst", "block", "stem", "idle"]
    worst, *_, idle = found.layers
    assert worst.loss > 0.05
    assert (idle.loss, idle.snr_db) == (0, CEILING_DB)
    assert found.everything.snr_db <= worst.snr_db
    assert found.everything.g_iou == pytest.approx(found.float_g_iou - found.everything.loss)


def test_the_reverse_names_the_layer_whose_sparing_helps_most(samples: list[LabelledSample]) -> None:
    found = rank_layers(Noisy, LAYERS, samples, spared=True)
    assert found.layers[0].layer == "worst"
    assert found.layers[0].loss < found.everything.loss
    with pytest.raises(UsageError, match="spared=False"):
        auto_keep_float(found)


def test_samples_are_shown_in_the_gates_conditions_by_turns(samples: list[LabelledSample]) -> None:
    fed: list[Feeds] = []

    class Watched(Noisy):
        def _run(self, feeds: Feeds, logits: bool) -> Feeds:
            fed.append(feeds)
            return super()._run(feeds, logits)

    found = rank_layers(Watched, ["stem"], [samples[0]] * 4)
    assert found.conditions == ("clear", "fog", "sparse", "image-only")
    clear, fog, sparse, alone = fed[:4]
    assert fog["image"].mean() > clear["image"].mean()
    assert 0 < np.count_nonzero(sparse["trajectory"]) < np.count_nonzero(clear["trajectory"])
    assert not alone["trajectory"].any()
    assert all(np.array_equal(fed[i]["image"], fed[i + 4]["image"]) for i in range(8))  # the same for every network


def test_every_runner_is_closed(samples: list[LabelledSample]) -> None:
    opened: list[Noisy] = []

    def build(quantized: Collection[str]) -> Runner:
        opened.append(Noisy(quantized))
        return opened[-1]

    rank_layers(build, LAYERS, samples[:1])
    assert len(opened) == len(LAYERS) + 2
    assert all(runner._closed for runner in opened)


def test_nan_in_one_layer_is_its_loss_and_in_the_float_network_an_error(samples: list[LabelledSample]) -> None:
    found = rank_layers(lambda q: Noisy(q, broken="block" in q), LAYERS, samples)
    assert found.layers[0].layer == "block"
    assert json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(NonFiniteError, match="cannot be a reference"):
        rank_layers(lambda q: Noisy(q, broken=True), LAYERS, samples)


def test_what_cannot_be_ranked_is_refused(samples: list[LabelledSample]) -> None:
    with pytest.raises(UsageError, match="each once"):
        rank_layers(Noisy, ["stem", "stem"], samples)
    with pytest.raises(UsageError, match="needs layers"):
        rank_layers(Noisy, [], samples)
    with pytest.raises(DataError, match="train split"):
        rank_layers(Noisy, LAYERS, [])


def test_the_ratio_of_signal_to_noise() -> None:
    signal = np.ones((1, 1, 4, 4), np.float32)
    assert snr_db(signal, signal) == CEILING_DB
    assert snr_db(signal, signal * np.float32(1.1)) == pytest.approx(20, abs=1e-3)
    assert snr_db(signal, signal * 2) == pytest.approx(0)
    assert snr_db(np.zeros_like(signal), signal) < -1000


def test_auto_keeps_the_worst_until_the_budget_is_met_and_no_more() -> None:
    found = made(a=(0.06, 10), b=(0.02, 16), c=(0.0, 30), d=(0.0, 40), e=(0.0, 50), f=(0.0, 60))
    assert auto_keep_float(found, budget=0.2) == ()
    assert auto_keep_float(found, budget=0.03) == ("a",)
    assert auto_keep_float(found, budget=0.005) == ("a", "b")
    assert predicted_loss(found, ("a", "b")) <= 0.005 < predicted_loss(found, ("a",))
    assert len(auto_keep_float(found, budget=0.0)) == 3  # half of them and no more
    with pytest.raises(UsageError, match="negative"):
        auto_keep_float(found, budget=-0.1)


def test_losses_too_small_to_be_seen_alone_are_found_by_their_noise() -> None:
    found = made(**{f"l{i}": (-0.001, 20 + 5 * i) for i in range(6)})  # each alone seems to win a little
    kept = auto_keep_float(found, budget=0.035)
    assert kept == ("l0",)
    assert predicted_loss(found, kept) == pytest.approx(0.1 * 0.3159, rel=0.01)


def test_small_gains_make_up_for_small_losses_since_both_are_chance() -> None:
    found = made(a=(0.004, 30), b=(-0.004, 30), c=(0.003, 30), d=(-0.003, 30))
    free = dataclasses.replace(found, everything=dataclasses.replace(found.everything, loss=0.0))
    assert auto_keep_float(free, budget=0.001) == ()


def test_a_network_that_loses_nothing_keeps_nothing_float() -> None:
    found = made(a=(0.0, 40), b=(0.0, 40))
    free = dataclasses.replace(found, everything=dataclasses.replace(found.everything, loss=-0.01))
    assert auto_keep_float(free, budget=0.0) == ()


def test_lines_plot_and_json(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = made(a=(0.06, 10), b=(0.02, 16), c=(0.0, 30))
    files = write_sensitivity(found, tmp_path / "out", ("a",))
    drawn = files[1].read_text()
    assert "SNR of the logits" in drawn
    assert "everything" in drawn
    assert "semi-synthetic" in drawn
    assert json.loads(files[0].read_text())["kept_float"] == ["a"]
    draw_sensitivity(found, tmp_path / "again.svg", ("a",))
    assert (tmp_path / "again.svg").read_text() == drawn
    told = sensitivity_lines(found, ("a",), shown=2)
    assert "kept float" in told[3]
    assert "and 1 more" in told[5]
    assert "with 1 layer kept float" in told[-1]


def test_without_matplotlib_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"roadedge\[train\]"):
        draw_sensitivity(made(a=(0.1, 3)), tmp_path / "a.svg")


def test_samples_come_from_the_train_split_and_never_from_the_gates_city(tmp_path: Path) -> None:
    root = write_data_set(tmp_path / "bright", (4, 24, 44))
    with pytest.raises(DataError, match="train"):
        train_samples([root], ModelSpec("x"))
    table = root / "split.csv"
    table.write_text(table.read_text().replace(",val,", ",train,"))
    found, label = train_samples([root], ModelSpec("x"), 2)
    assert ([item.id for item in found], label) == (["t0", "t2"], "semi-synthetic")
    city, _ = train_samples(["city"], ModelSpec("x"), 1)
    assert "424242" not in city[0].id
    with pytest.raises(UsageError, match="at least one"):
        train_samples([root], ModelSpec("x"), 0)
