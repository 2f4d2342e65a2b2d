"""Sums over all pixels of products of two maps: what reads them stays float, and what that is worth."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from roadedge.calibration.emissions import half_remainder, half_values
from roadedge.calibration.flow import ends_of, flow_of
from roadedge.calibration.insert import insert_qdq
from roadedge.calibration.measure import measurable, scales_for
from roadedge.calibration.observe import observe
from roadedge.models.placement import place

SIDE = 64
FEEDS = 8


@pytest.fixture(scope="module")
def gathered() -> onnx.ModelProto:
    """Two convolutions, the products of their channels summed over 4096 pixels, two more: as a graph of pixels does.

    The third one takes the mean away and brings what is left back to one, as a folded batch-norm does.
    """
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        gathered (float[1,2,64,64] image) => (float[1,2,2,1] logits)
        {
            first = Conv(image, a)
            second = Conv(first, b)
            pixels = Reshape(second, flat)
            turned = Transpose<perm=[0,2,1]>(pixels)
            sums = MatMul(pixels, turned)
            map = Reshape(sums, square)
            third = Conv(map, c, c_bias)
            logits = Conv(third, d)
        }
        """
    )
    eye = np.eye(2, dtype=np.float32)[:, :, None, None]
    sums = SIDE * SIDE / 3
    constants = {
        "a": eye, "b": eye, "c": eye * np.float32(50 / sums), "c_bias": np.full(2, -50, np.float32), "d": eye,
        "flat": np.array([1, 2, SIDE * SIDE]), "square": np.array([1, 2, 2, 1]),
    }  # fmt: skip
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.checker.check_model(model, full_check=True)
    return model


def pictures() -> list[dict[str, NDArray[np.float32]]]:
    """Noise, the same in both channels, of brightness that differs by half a percent."""
    generator = np.random.default_rng(0)
    levels = np.linspace(0.995, 1.0, FEEDS)
    noise = generator.random((FEEDS, 1, 1, SIDE, SIDE)) * levels[:, None, None, None, None]
    return [{"image": np.repeat(one, 2, 1).astype(np.float32)} for one in noise]


def logits(model: onnx.ModelProto) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # it loses scales beside float16
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.stack([session.run(["logits"], fed)[0] for fed in pictures()])


def quantized(model: onnx.ModelProto, products_float: bool) -> onnx.ModelProto:
    placement = place(flow_of(model), *ends_of(model), products_float=products_float)
    ranges = {name: one.largest for name, one in observe(model, measurable(model), pictures(), 1, 1).items()}
    return insert_qdq(model, placement, scales_for(model, placement, ranges))


def loss(model: onnx.ModelProto, other: onnx.ModelProto) -> float:
    """The largest difference of the other graph's logits, as a share of how far this one's lie apart."""
    want, got = logits(model), logits(other)
    return float(np.abs(got - want).max() / np.ptp(want))


def test_only_what_reads_the_sums_stays_float_beside_the_borders(gathered: onnx.ModelProto) -> None:
    placement = place(flow_of(gathered), *ends_of(gathered))
    assert placement.convolutions == ("b",)
    assert placement.behind_products == ("c",)
    assert place(flow_of(gathered), *ends_of(gathered), products_float=False).convolutions == ("b", "c")


def test_sums_of_one_scale_lose_what_float_sums_keep(gathered: onnx.ModelProto) -> None:
    assert loss(gathered, quantized(gathered, products_float=False)) > 0.1
    assert loss(gathered, quantized(gathered, products_float=True)) < 0.02


def test_such_convolutions_are_float32_beside_an_fp16_remainder(gathered: onnx.ModelProto) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(gathered)
    for one in model.graph.initializer:
        if one.name in ("b", "c"):  # sums of a quarter of a million
            factor = 16.0 if one.name == "b" else 16.0**-2
            one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one) * np.float32(factor), one.name))
    plain = quantized(model, products_float=True)
    half = half_remainder(plain)
    onnx.checker.check_model(half, full_check=True)
    assert "first" in half_values(half)
    assert half_values(half).isdisjoint({"sums", "map", "third", "logits"})
    assert loss(plain, half) < 0.1


def test_a_mean_with_weights_of_a_softmax_is_no_such_sum(gathered: onnx.ModelProto) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(gathered)
    number = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Transpose")
    model.graph.node[number].output[0] = "raw"
    model.graph.node.insert(number + 1, onnx.helper.make_node("Softmax", ["raw"], ["turned"], axis=1))
    assert place(flow_of(model), *ends_of(model)).behind_products == ()
