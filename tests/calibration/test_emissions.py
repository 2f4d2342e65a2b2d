"""The emission with an FP16 remainder: the same scales to the bit, float32 where it must be, and a real engine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from roadedge.calibration.emissions import compare_scales, half_remainder, raised
from roadedge.calibration.flow import constants_of
from roadedge.calibration.ptq import load_float
from roadedge.calibration.surgery import stored_weights
from roadedge.errors import ExportError
from tests.calibration.graphs import feeds_for
from tests.calibration.test_insert import quantized, run


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {one.name: one.data_type for one in inferred.initializer}
    ports = (*inferred.value_info, *inferred.input, *inferred.output)
    return found | {port.name: port.type.tensor_type.elem_type for port in ports}


def test_both_emissions_hold_the_same_scales(own: onnx.ModelProto) -> None:
    model, _, _ = quantized(own)
    half = half_remainder(model)
    onnx.checker.check_model(half, full_check=True)
    assert compare_scales(model, half) == []
    left, right = stored_weights(model), stored_weights(half)
    for name, weight in left.items():  # int8 weights too
        if name.endswith("_int8"):
            assert (weight == right[name]).all()


def test_a_scale_that_differs_is_named(own: onnx.ModelProto) -> None:
    model, _, _ = quantized(own)
    half = half_remainder(model)
    changed = next(one for one in half.graph.initializer if one.name.endswith("Relu_output_0_scale_half"))
    array = numpy_helper.to_array(changed) * np.float16(1.01)
    changed.CopyFrom(numpy_helper.from_array(array.astype(np.float16), changed.name))
    differing = compare_scales(model, half)
    assert len(differing) == 1
    assert differing[0].startswith("value stems.image.second.0: ")
    assert compare_scales(model, own)[0].endswith("is quantized in one of them only")


def test_between_the_borders_all_is_float16(own: onnx.ModelProto) -> None:
    half = half_remainder(quantized(own)[0])
    types, constant = types_of(half), constants_of(half)
    by_operator: dict[str, Counter[int]] = {}
    for node in half.graph.node:
        if node.output[0] not in constant:
            by_operator.setdefault(node.op_type, Counter())[types[node.output[0]]] += 1
    for operator in ("Conv", "Relu", "Concat", "Resize", "DequantizeLinear", "DepthToSpace"):
        assert set(by_operator[operator]) == {TensorProto.FLOAT16}, operator
    for operator in ("Sub", "Div", "Sigmoid", "Mul"):  # normalisation and sigmoid
        assert set(by_operator[operator]) == {TensorProto.FLOAT}, operator
    assert set(by_operator["QuantizeLinear"]) == {TensorProto.INT8}
    assert [port.type.tensor_type.elem_type for port in half.graph.input] == [TensorProto.UINT8] * 2
    assert {port.name: port.type.tensor_type.elem_type for port in half.graph.output} == {
        "probability": TensorProto.UINT8,
        "logits": TensorProto.FLOAT,
    }
    assert raised(half) is half
    assert half.opset_import[0].version == 19


@pytest.mark.parametrize("borders_float", [True, False])
def test_it_computes_what_the_other_one_computes(own: onnx.ModelProto, borders_float: bool) -> None:
    model, _, _ = quantized(own, borders_float)
    half = half_remainder(model)
    for feeds in feeds_for(own):
        one, other = run(model, feeds, "logits"), run(half, feeds, "logits")
        assert other.dtype == np.float32
        assert np.abs(one - other).max() < 0.05 * np.abs(one).max()


def test_a_foreign_graph_with_float_inputs_keeps_its_border(foreign: Path) -> None:
    model, _, _ = quantized(load_float(foreign)[0])
    half = half_remainder(model)
    assert {port.type.tensor_type.elem_type for port in (*half.graph.input, *half.graph.output)} == {TensorProto.FLOAT}
    feeds = feeds_for(model)[0]
    one, other = run(model, feeds, "road_logits"), run(half, feeds, "road_logits")
    assert np.abs(one - other).max() < 0.05 * np.abs(one).max()
    assert compare_scales(model, half) == []


def test_what_float16_cannot_hold_is_refused() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,1,4,4] x) => (float[1,1,4,4] y) <float[1,1,1,1] v = {1.0}, float[1,1,1,1] w = {2.0}, float[1] b = {1e6}>
    { a = Conv(x, v)  c = Conv(a, w, b)  y = Conv(c, v) }"""
    model = onnx.parser.parse_model(text)
    with pytest.raises(ExportError, match=r"b holds 1e\+06, which float16 cannot"):
        half_remainder(quantized(model, borders_float=False)[0])


def test_cast_and_unusual_operators_amid_the_network_become_half() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,2,8,8] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] v = {1.0, 0.5, -0.5, 1.0}, float[2,2,1,1] w = {0.5, 1.0, 0.25, -1.0},
     float[4] s = {1.0, 1.0, 0.5, 0.5}>
    { a = Conv(x, v)  b = Cast <to = 1> (a)  c = HardSwish(b)  e = ReduceMean <axes = [1]> (c)  f = Mul(c, e)
      h = Conv(f, w)  r = Resize <mode = "linear"> (h, , s)  y = Conv(r, v) }"""
    model = onnx.parser.parse_model(text)
    out, _, _ = quantized(model, borders_float=False)
    half = half_remainder(out)
    onnx.checker.check_model(half, full_check=True)
    types = types_of(half)
    assert {name: types[name] for name in "bcefhr"} == dict.fromkeys("bcefhr", TensorProto.FLOAT16)
    feeds = feeds_for(model)[0]
    one, other = run(out, feeds, "y"), run(half, feeds, "y")
    assert np.abs(one - other).max() < 0.05 * np.abs(one).max()


@pytest.fixture(scope="module")
def tensorrt() -> ModuleType:
    module: ModuleType = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    return module


def parsed_layers(trt: ModuleType, model: onnx.ModelProto) -> tuple[Counter[tuple[str, str]], int]:
    """(layers of the parsed network by kind and output type, bytes of the engine built of it)."""
    log = trt.Logger(trt.Logger.ERROR)  # logger, builder and network must outlive the parser
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    assert parser.parse(model.SerializeToString()), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    found = Counter((layer.type.name, layer.get_output(0).dtype.name) for layer in layers)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None
    return found, int(engine.nbytes)


def test_tensorrt_builds_both_emissions_and_sees_their_precisions(tensorrt: ModuleType, own: onnx.ModelProto) -> None:
    model, placement, _ = quantized(own)
    (plain, _), (half, _) = (parsed_layers(tensorrt, one) for one in (model, half_remainder(model)))
    convolutions = len(placement.convolutions) + len(placement.float_convolutions)
    assert plain["CONVOLUTION", "FLOAT"] == convolutions
    assert half["CONVOLUTION", "HALF"] == convolutions
    assert plain["QUANTIZE", "INT8"] == half["QUANTIZE", "INT8"] == len(placement.points)
    assert half["DEQUANTIZE", "HALF"] == len(placement.points) + len(placement.convolutions)
    assert not half["CONVOLUTION", "FLOAT"]


@pytest.mark.parametrize("borders_float", [True, False])
def test_tensorrt_builds_a_foreign_network(tensorrt: ModuleType, foreign: Path, borders_float: bool) -> None:
    model, placement, _ = quantized(load_float(foreign)[0], borders_float)
    half, size = parsed_layers(tensorrt, half_remainder(model))
    assert size > 0
    assert half["QUANTIZE", "INT8"] == len(placement.points)
    assert half["DECONVOLUTION", "HALF"] == 2


def factorised(largest: float) -> onnx.ModelProto:
    """Image → convolution → its pixels times its pixels → convolution → logits and probability; Q/DQ in between.

    The sums of the product over 16 pixels of `largest` go beyond what float16 holds.
    """
    parser = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        factorised (uint8[1,4,4,2] image) => (uint8[1,4,4] probability, float[1,2,4,4] logits)
        {
            raw = Cast<to=1>(image)
            first = Transpose<perm=[0,3,1,2]>(raw)
            map = Conv(first, a)
            map_quantized = QuantizeLinear(map, scale, zero)
            map_dequantized = DequantizeLinear(map_quantized, scale, zero)
            b = DequantizeLinear(b_int8, one_scale, zero)
            middle = Conv(map_dequantized, b)
            square = Relu(middle)
            product = MatMul(square, square)
            mean = Div(product, count)
            mean_quantized = QuantizeLinear(mean, scale, zero)
            mean_dequantized = DequantizeLinear(mean_quantized, scale, zero)
            c = DequantizeLinear(c_int8, one_scale, zero)
            last = Conv(mean_dequantized, c)
            logits = Identity(last)
            one = Sigmoid(last)
            cut = ReduceMean<axes=[1], keepdims=0>(one)
            probability = Cast<to=2>(cut)
        }
        """
    )
    eye = np.eye(2, dtype=np.float32)[:, :, None, None]
    constants = {"a": eye * np.float32(largest / 255), "b_int8": eye.astype(np.int8), "c_int8": eye.astype(np.int8),
                 "count": np.float32(largest), "scale": np.float32(largest / 16), "one_scale": np.float32(1),
                 "zero": np.int8(0)}  # fmt: skip
    for name, value in constants.items():
        parser.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return parser


def test_products_of_two_maps_stay_float32_for_their_sums_leave_float16() -> None:
    model = factorised(512.0)  # four times 512 squared: a million
    half = half_remainder(model)
    onnx.checker.check_model(half, full_check=True)
    types, makers = types_of(half), {node.op_type: node for node in half.graph.node}
    for operator in ("Relu", "MatMul", "Div"):
        assert types[makers[operator].output[0]] == TensorProto.FLOAT, operator
    assert types[makers["Conv"].output[0]] == TensorProto.FLOAT16
    feeds: dict[str, NDArray[np.generic]] = {"image": np.full((1, 4, 4, 2), 255, np.uint8)}
    one, other = run(model, feeds, "logits"), run(half, feeds, "logits")
    assert float(one.max()) > 1000
    assert np.allclose(one, other, rtol=1e-2)


def test_a_product_with_a_weight_is_half() -> None:
    model = factorised(512.0)
    matmul = next(node for node in model.graph.node if node.op_type == "MatMul")
    matmul.input[1] = "weight"
    model.graph.initializer.append(numpy_helper.from_array(np.eye(4, dtype=np.float32), "weight"))
    half = half_remainder(model)
    assert types_of(half)[next(n for n in half.graph.node if n.op_type == "MatMul").output[0]] == TensorProto.FLOAT16
