"""The comparison that decides whether a file may be written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadedge.errors import DataError, ExportError, UsageError
from roadedge.export.parity import (
    FRESH,
    NOT_JUDGED,
    ParitySamples,
    Tolerance,
    blanks,
    compare,
    first_corner,
    parity_samples,
    spread,
    untrained,
)
from roadedge.export.report import parity_lines
from roadedge.imagery import write_png
from roadedge.preprocess import Feeds
from roadedge.runners import CheckedRunner, Requested
from roadedge.sample import Sample
from roadedge.spec import ModelSpec

SPEC = ModelSpec("fake", inputs=("image",), gsd_m=None)


class Fake(CheckedRunner):
    """Logits are the red channel in [-4, 4], and something added."""

    def __init__(self, added: float = 0.0) -> None:
        super().__init__()
        self.spec, self.name, self.version, self.device = SPEC, "fake", "1", "CPU"
        self.precision = self.graph_precision = "fp32"
        self.provenance: dict[str, Any] = {}
        self.requested, self.added = Requested(), added

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        raw = feeds["image"][..., 0].astype(np.float32) / 255 * 8 - 4 + np.float32(self.added)
        probability = (
            (255 / (1 + np.exp(-raw)) + 0.5).astype(np.uint8) if math.isfinite(self.added) else feeds["image"][..., 0]
        )
        return {"probability": probability, "logits": raw[:, None]}

    def _release(self) -> None:
        pass


def ramp() -> ParitySamples:
    """Red from 0 to 255; road is the right half."""
    image = np.zeros((32, 256, 3), np.uint8)
    image[..., 0] = np.arange(256)
    truth = np.where(np.arange(256) >= 128, 255, 0).astype(np.uint8)[None].repeat(32, 0)
    return ParitySamples("ramp", "semi-synthetic", ((Sample(image, id="ramp"), truth),))


def test_equal_runners_agree_in_everything() -> None:
    table = compare(Fake(), Fake(), SPEC, ramp())
    assert (table.max_logit_difference, table.agreement) == (0, 1)
    assert (table.g_iou_reference, table.g_iou_candidate) == (100, 100)
    table.check(Tolerance(0, 1))


def test_a_difference_is_measured_and_refused() -> None:
    table = compare(Fake(), Fake(0.5), SPEC, ramp())
    assert table.max_logit_difference == pytest.approx(0.5)
    assert table.max_logit == pytest.approx(4)
    assert table.agreement == pytest.approx(1 - 16 / 256)  # 0.5 of 8 over 256 levels
    assert table.g_iou_candidate == pytest.approx(100 * 128 / 144)
    with pytest.raises(ExportError, match=r"by 0\.5 in the logits, 0\.4 is allowed"):
        table.check(Tolerance(0.1, 0))
    with pytest.raises(ExportError, match=r"agree on 93\.75"):
        table.check(Tolerance(1, 0.999))


class TestUntrainedWeights:
    """All logits of random weights lie together by the threshold."""

    def test_masks_are_not_judged_and_that_is_said(self) -> None:
        table = compare(Fake(), Fake(0.5), SPEC, ramp(), untrained=True)
        assert table.agreement < 0.95
        table.check(Tolerance(0.1, 0.999))
        assert table.to_dict()["masks"] == NOT_JUDGED
        assert any(NOT_JUDGED in line for line in parity_lines(table))

    def test_masks_of_trained_ones_are_and_nothing_is_said(self) -> None:
        table = compare(Fake(), Fake(0.5), SPEC, ramp())
        assert "masks" not in table.to_dict()
        assert not any(NOT_JUDGED in line for line in parity_lines(table))

    def test_logits_are_judged_by_their_spread_and_not_by_their_magnitude(self) -> None:
        far = Fake(100.0)  # logits in [96, 104]: magnitude 104, spread 8
        trained, fresh = (compare(far, Fake(101.0), SPEC, ramp(), untrained=one) for one in (False, True))
        assert fresh.spread == pytest.approx(8)
        trained.check(Tolerance(0.02, 0))  # 1 of 104
        with pytest.raises(ExportError, match=r"by 1 in the logits, 0\.16 is allowed"):
            fresh.check(Tolerance(0.02, 0))

    def test_they_may_have_a_share_of_their_own_that_trained_ones_have_not(self) -> None:
        trained, fresh = (compare(Fake(), Fake(0.5), SPEC, ramp(), untrained=one) for one in (False, True))
        fresh.check(Tolerance(0.02, 0, untrained=0.1))  # 0.5 of a spread of 8
        with pytest.raises(ExportError, match=r"0\.08 is allowed"):
            trained.check(Tolerance(0.02, 0, untrained=0.1))

    def test_of_a_blank_frame_there_is_no_spread_to_judge_by(self) -> None:
        table = compare(Fake(), Fake(1e-4), SPEC, blanks((32, 32)), untrained=True)
        assert table.spread == 0
        table.check(Tolerance(1e-3, 0.999))

    @pytest.mark.parametrize(
        ("provenance", "said"),
        [
            ({"weights": FRESH}, True),
            ({"checkpoint": {"file": "a.pt", "provenance": {"weights": FRESH}}}, True),
            ({"checkpoint": {"file": "a.pt", "provenance": {"recipe": "weights"}}}, False),
            ({"weights": "roadedge-s"}, False),
            ({}, False),
        ],
    )
    def test_only_what_says_so_is_untrained(self, provenance: dict[str, Any], said: bool) -> None:
        assert untrained(provenance) is said


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ExportError, match="NaN or infinite logits on ramp"):
        compare(Fake(), Fake(value), SPEC, ramp())


def test_without_truth_there_is_no_score() -> None:
    samples = ramp()
    table = compare(Fake(), Fake(), SPEC, ParitySamples("x", "", ((samples.pairs[0][0], None),)))
    assert table.g_iou_reference is None
    assert not any("G_IoU" in line for line in parity_lines(table))


def test_simulated_trajectories_are_called_so_where_scores_are_printed() -> None:
    lines = parity_lines(compare(Fake(), Fake(), SPEC, ramp()))
    assert "semi-synthetic" in lines[0]
    assert "semi-synthetic" in next(line for line in lines if "G_IoU" in line)


def test_a_corner_keeps_what_lies_in_it() -> None:
    points = np.array([[3.0, 4.0], [200.0, 4.0]], np.float32)
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    corner = first_corner(ParitySamples("x", "", ((Sample(image, points, gsd_m=0.4), None),)), 32).pairs[0][0]
    assert corner.size == (32, 32)
    assert corner.image is not None
    assert (corner.image == image[:32, :32]).all()
    assert corner.second is points
    assert corner.gsd_m == 0.4


def test_the_built_in_city_stands_in_for_data() -> None:
    samples = parity_samples(ModelSpec("x"), count=1)
    assert samples.origin.startswith("city")
    assert samples.label == "semi-synthetic"
    sample, truth = samples.pairs[0]
    assert truth is not None
    assert truth.shape == sample.size


def test_plain_images_do_as_samples(tmp_path: Path) -> None:
    for i in range(5):
        write_png(tmp_path / f"{i}.png", np.full((40, 40, 3), i, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    samples = parity_samples(SPEC, tmp_path, 3)
    assert [sample.id for sample, _ in samples.pairs] == ["0", "2", "4"]
    assert all(truth is None for _, truth in samples.pairs)


def test_a_data_set_brings_its_truth(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_png(tmp_path / "image" / f"{name}.png", np.zeros((40, 40, 3), np.uint8))
        write_png(tmp_path / "mask" / f"{name}.png", np.full((40, 40), 255, np.uint8))
    samples = parity_samples(SPEC, tmp_path)
    assert [truth is not None and truth.max() for _, truth in samples.pairs] == [255, 255]


def test_an_empty_folder_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a data set"):
        parity_samples(SPEC, tmp_path)


def test_no_samples_prove_nothing() -> None:
    with pytest.raises(UsageError, match="at least one sample"):
        parity_samples(SPEC, count=0)


@given(length=st.integers(1, 1000), count=st.integers(1, 50))
def test_samples_are_spread_from_first_to_last(length: int, count: int) -> None:
    picked = spread(length, count)
    assert picked == sorted(set(picked))
    assert len(picked) == min(length, count)
    assert picked[0] == 0
    assert count == 1 or picked[-1] == length - 1


def test_a_network_of_lidar_is_compared_on_brightness_where_only_the_city_is_at_hand() -> None:
    found = parity_samples(ModelSpec("x", inputs=("image", "lidar")), count=2)
    assert (found.origin, found.label) == ("city, brightness for LiDAR", "")
    for sample, truth in found.pairs:
        assert sample.image is not None
        assert sample.second is not None
        assert np.array_equal(sample.second, sample.image.max(axis=2))
        assert truth is None
