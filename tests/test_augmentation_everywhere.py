"""Views, scales and windows by `roadedge eval`, `roadedge infer` and `roadedge.load`: one way in, written down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import roadedge
from roadedge.cli import main
from roadedge.imagery import write_png
from tests.evaluation.bright_roads import write_data_set
from tests.export.artefacts import Artefacts, make_artefacts, noise

VIEWS = ("--tta", "8", "--sliding-window", "32", "--margin", "4", "--scales", "0.5,1")


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    return make_artefacts(tmp_path_factory.getbasetemp())


def test_eval_writes_down_what_was_asked_and_what_it_cost(
    artefacts: Artefacts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_data_set(tmp_path / "bright"), tmp_path / "out"
    arguments = ("eval", artefacts.checkpoint, data, *VIEWS, "--threads", 1, "--bootstrap", 0, "--panels", 1, "-o", out)
    assert main(list(map(str, arguments))) == 0
    found = json.loads((out / "metrics.json").read_text())
    how = found["settings"]["test_time_augmentation"]
    assert (how["tta"], how["scales"], how["window"], how["margin"]) == (8, [0.5, 1.0], [32, 32], 4)
    # 64 x 64 in windows of 32 that share 8 pixels: 3 x 3, and one look at half the size
    assert (how["images"], how["calls_per_image"]) == (3, 8 * (9 + 1))
    assert how["times_the_pixels"] == pytest.approx(8 * (9 + 1) / 4)
    printed = " ".join(capsys.readouterr().out.split())
    assert "test-time augmentation by 8 views; scales 0.5,1; windows of 32x32, margin 4, crop" in printed
    assert "80 calls an image, 20 times the pixels of one look" in printed


def test_infer_writes_it_down_and_its_report_says_it(artefacts: Artefacts, tmp_path: Path) -> None:
    tile, out = tmp_path / "tile.png", tmp_path / "out"
    write_png(tile, noise(size=(64, 96))["image"][0])
    assert main(list(map(str, ("infer", artefacts.checkpoint, tile, "--tta", 4, "--threads", 1, "-o", out)))) == 0
    assert json.loads((out / "metrics.json").read_text())["runner"]["augmentation"]["calls"] == 4
    assert "4 views, mean of logits: 4 calls an image" in (out / "report.html").read_text()


def test_load_takes_the_same(artefacts: Artefacts) -> None:
    image = noise(size=(64, 96))["image"][0]
    how = roadedge.Augmentation(tta=2, scales=(1.0, 1.5))
    with roadedge.load(artefacts.checkpoint) as once, roadedge.load(artefacts.checkpoint, augmentation=how) as often:
        plain, mean = once.predict(image).probability, often.predict(image).probability
        mirrored = often.predict(np.ascontiguousarray(image[:, ::-1])).probability
    assert mean.shape == plain.shape
    assert (mean != plain).any()
    assert np.abs(mean[:, ::-1].astype(int) - mirrored).max() <= 1  # the mean of both mirrors knows no left and right


@pytest.mark.parametrize(
    "words", [("--tta", "5"), ("--scales", "0"), ("--sliding-window", "33"), ("--margin", "8"), ("--merge", "glue")]
)
def test_wrong_words_are_usage_errors(artefacts: Artefacts, tmp_path: Path, words: tuple[str, str]) -> None:
    data = write_data_set(tmp_path / "bright")
    assert main(["eval", str(artefacts.checkpoint), str(data), *words, "-o", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
