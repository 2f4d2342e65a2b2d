"""Our ranges and scales beside those of onnxruntime.quantization on the same feeds with the same settings."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from roadedge.calibration.flow import ends_of, flow_of
from roadedge.calibration.insert import insert_qdq, scales_by_reader
from roadedge.calibration.observe import observe
from roadedge.calibration.ptq import load_float, scales_for
from roadedge.calibration.ranges import METHODS, Histogram
from roadedge.models.placement import Placement, Point, place
from tests.calibration.graphs import feeds_for


class Feeds:
    """What onnxruntime calls a data reader."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.left: Iterator[dict[str, Any]] = iter(feeds_for(model, count=4))

    def get_next(self) -> dict[str, Any] | None:
        return next(self.left, None)


def as_theirs(model: onnx.ModelProto) -> Placement:
    """What each convolution reads is quantized right there, with a scale of its own."""
    readers: dict[str, list[str]] = {}
    for step in flow_of(model):
        if step.kind in ("conv", "deconv"):
            readers.setdefault(step.inputs[0], []).append(step.name)
    points = tuple(Point(value, tuple(names), number) for number, (value, names) in enumerate(readers.items()))
    return dataclasses.replace(place(flow_of(model), *ends_of(model), (), borders_float=False), points=points)


@pytest.fixture(scope="module")
def plain(foreign: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx.ModelProto, Path]:
    model, _ = load_float(foreign)
    path = tmp_path_factory.mktemp("plain") / "plain.onnx"
    onnx.save(model, path)
    return model, path


def test_scales_of_max_are_those_of_quantize_static(plain: tuple[onnx.ModelProto, Path], tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    model, path = plain
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(
            str(path), str(tmp_path / "theirs.onnx"), Feeds(model), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=["Conv"],
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )  # fmt: skip
    theirs, their_weights = scales_by_reader(onnx.load(tmp_path / "theirs.onnx"))
    placement = as_theirs(model)
    values = [point.value for point in placement.points]
    ranges = {n: h.largest for n, h in observe(model, values, feeds_for(model, count=4), threads=1).items()}
    ours, weights = scales_by_reader(insert_qdq(model, placement, scales_for(model, placement, ranges)))
    convolutions = [name for name in weights if weights[name].size > 1]
    assert len(convolutions) >= 9
    for name in convolutions:
        # ours are rounded to float16: half a unit in its last place
        assert ours[name] == pytest.approx(theirs[name], rel=6e-4), name
        assert weights[name] == pytest.approx(their_weights[name], rel=6e-4), name


def histograms_of(seed: int, zeros: int = 0) -> tuple[np.ndarray[Any, np.dtype[np.float32]], Histogram]:
    generator = np.random.default_rng(seed)
    draws = {
        0: generator.normal(0, 1, 60_000),
        1: generator.laplace(0, 0.3, 60_000),
        2: np.concatenate([generator.normal(0, 1, 60_000), generator.normal(0, 8, 60)]),
    }
    values = np.concatenate([draws[seed], np.zeros(zeros)]).astype(np.float32)
    histogram = Histogram()
    histogram.add(values)
    return values, histogram


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("percentile", [99.9, 99.99])
def test_percentiles_are_those_of_onnxruntime(seed: int, percentile: float) -> None:
    from onnxruntime.quantization.calibrate import HistogramCollector

    values, histogram = histograms_of(seed)
    collector = HistogramCollector("percentile", True, 2048, 128, percentile, None)
    collector.collect({"x": [values]})
    theirs = float(np.ravel(collector.compute_collection_result()["x"][1])[0])
    # without our bound on what is clipped, which they do not have; six values of 60 000 lie beyond 99.99
    assert METHODS["percentile"](histogram, percentile) == pytest.approx(theirs, rel=0.06)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_entropy_is_near_that_of_onnxruntime(seed: int) -> None:
    from onnxruntime.quantization.calibrate import HistogramCollector

    values, histogram = histograms_of(seed)
    collector = HistogramCollector("entropy", True, 512, 128, 99.99, None)
    collector.collect({"x": [values]})
    theirs = float(np.ravel(collector.compute_collection_result()["x"][1])[0])
    ours = METHODS["entropy"](histogram, 0.0)
    # theirs spreads 128 levels over both signs, ours over the magnitudes, as the engine does
    assert 0.8 * theirs < ours < 1.3 * theirs
