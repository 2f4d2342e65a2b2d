"""Q/DQ pairs where the placement says, scales that can be read back, and weights equal to the bit in both forms."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from roadedge.calibration.flow import ends_of, flow_of, makers_of
from roadedge.calibration.insert import (
    Scales,
    check_float,
    float_weights,
    insert_qdq,
    int8_weights,
    scales_by_reader,
)
from roadedge.calibration.observe import observe
from roadedge.calibration.ptq import load_float, measurable, scales_for
from roadedge.calibration.surgery import stored_weights
from roadedge.errors import ModelFileError, SpecMismatchError
from roadedge.export.onnx_view import convolution_precisions
from roadedge.models.placement import Placement, groups, place, snapped
from tests.calibration.graphs import feeds_for


def run(model: onnx.ModelProto, feeds: dict[str, NDArray[np.generic]], output: str) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run([output], feeds)[0]
    return found


def measured(model: onnx.ModelProto, placement: Placement) -> Scales:
    histograms = observe(model, measurable(model), feeds_for(model), threads=1)
    return scales_for(model, placement, {name: one.largest for name, one in histograms.items()})


def quantized(model: onnx.ModelProto, borders_float: bool = True) -> tuple[onnx.ModelProto, Placement, Scales]:
    placement = place(flow_of(model), *ends_of(model), (), borders_float)
    scales = measured(model, placement)
    return insert_qdq(model, placement, scales), placement, scales


def test_a_convolution_is_called_like_its_module(own: onnx.ModelProto) -> None:
    names = [step.name for step in flow_of(own) if step.kind == "conv"]
    assert names[:2] == ["stems.image.first.0", "stems.image.second.0"]
    assert names[-1] == "head"
    assert len(set(names)) == len(names) == sum(node.op_type == "Conv" for node in own.graph.node)


@pytest.mark.parametrize("borders_float", [True, False])
def test_the_graph_says_what_the_float_graph_says(own: onnx.ModelProto, borders_float: bool) -> None:
    model, placement, _ = quantized(own, borders_float)
    onnx.checker.check_model(model, full_check=True)
    feeds = feeds_for(own)[0]
    before, after = run(own, feeds, "logits"), run(model, feeds, "logits")
    assert 0 < np.abs(before - after).max() < 0.1 * np.abs(before).max()
    assert convolution_precisions(model)["int8"] == len(placement.convolutions)
    assert bool(placement.float_convolutions) == borders_float


def test_pairs_stand_where_the_placement_says_and_nowhere_else(own: onnx.ModelProto) -> None:
    model, placement, _ = quantized(own)
    pairs = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert sorted(node.input[0] for node in pairs) == sorted(point.value for point in placement.points)
    values, weights = scales_by_reader(model)
    assert set(values) == set(placement.reads)
    assert set(weights) == set(placement.convolutions)


def test_scales_are_read_back_as_they_were_given(own: onnx.ModelProto) -> None:
    model, placement, scales = quantized(own)
    values, weights = scales_by_reader(model)
    given = {point.group: scales.activations[point.value] for point in placement.points}
    for reader, group in placement.reads.items():
        assert values[reader] == given[group] == float(snapped(np.asarray(values[reader])))
    for name, scale in scales.weights.items():
        assert (weights[name] == scale).all()
        assert (scale == snapped(scale)).all()


def test_concatenated_values_share_a_scale(own: onnx.ModelProto) -> None:
    _, placement, scales = quantized(own)
    shared = [points for points in groups(placement.points).values() if len(points) > 1]
    assert shared
    assert all(len({scales.activations[point.value] for point in points}) == 1 for points in shared)


def test_weights_are_int8_per_channel_with_zero_point_zero(own: onnx.ModelProto) -> None:
    model, _, _ = quantized(own)
    stored, makers = stored_weights(model), makers_of(model)
    floats = stored_weights(own)
    for step, node in ((node.input[1], node) for node in model.graph.node if node.op_type == "Conv"):
        maker = makers.get(step)
        if maker is None:
            continue
        weight, scale, zero = (stored[name] for name in maker.input)
        assert weight.dtype == np.int8
        assert not zero.any()
        assert scale.shape == (weight.shape[0],)
        assert stored[node.input[2]].dtype == np.float32  # the bias
        before = floats[maker.input[0].removesuffix("_int8")]
        assert np.abs(weight * scale.reshape(-1, 1, 1, 1) - before).max() <= scale.max() * 0.51


def test_both_forms_of_weights_compute_the_same_bits(own: onnx.ModelProto) -> None:
    model, _, _ = quantized(own)
    plain = float_weights(model)
    onnx.checker.check_model(plain, full_check=True)
    again = int8_weights(plain)
    counts = [Counter(node.op_type for node in one.graph.node) for one in (model, plain, again)]
    assert counts[0] == counts[2]
    assert counts[1]["QuantizeLinear"] == counts[1]["DequantizeLinear"]
    stored, before = stored_weights(again), stored_weights(model)
    assert all((stored[name] == before[name]).all() for name in before if name.endswith("_int8"))
    feeds = feeds_for(own)[0]
    outputs = [run(one, feeds, "logits") for one in (model, plain, again)]
    assert (outputs[0] == outputs[1]).all()
    assert (outputs[0] == outputs[2]).all()


def test_a_graph_that_is_quantized_already_is_refused(own: onnx.ModelProto) -> None:
    model, placement, scales = quantized(own)
    with pytest.raises(ModelFileError, match="quantized already: it holds DequantizeLinear, QuantizeLinear"):
        insert_qdq(model, placement, scales)


def test_a_half_graph_is_refused() -> None:
    weight = onnx.numpy_helper.from_array(np.zeros((1, 1, 1, 1), np.float16), "w")
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    port = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT16, (1, 1, 4, 4)) for n in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", port[:1], port[1:], [weight]))
    with pytest.raises(ModelFileError, match="give the float32 file"):
        check_float(model)


def test_a_missing_scale_is_named(own: onnx.ModelProto) -> None:
    _, placement, scales = quantized(own)
    value = placement.points[3].value
    fewer = dataclasses.replace(scales, activations={k: v for k, v in scales.activations.items() if k != value})
    with pytest.raises(SpecMismatchError, match=value):
        insert_qdq(own, placement, fewer)


def test_control_flow_and_computed_weights_are_refused() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,1,4,4] x, float[1,1,1,1] w) => (float[1,1,4,4] y) { v = Relu(w)  y = Conv(x, v) }"""
    with pytest.raises(ModelFileError, match="is computed, not stored"):
        flow_of(onnx.parser.parse_model(text))
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (bool c) => (float y) { y = If (c) <then_branch = a () => (float p) { p = Constant <value_float = 1.0> () },
    else_branch = b () => (float q) { q = Constant <value_float = 2.0> () }> }"""
    with pytest.raises(ModelFileError, match="graphs with control flow"):
        flow_of(onnx.parser.parse_model(text))


def test_a_foreign_graph_has_its_norms_folded_and_its_deconvolutions_scaled_as_a_whole(foreign: Path) -> None:
    raw = onnx.load(foreign)
    assert Counter(node.op_type for node in raw.graph.node)["BatchNormalization"] == 4
    model, folded = load_float(foreign)
    assert folded
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    out, placement, scales = quantized(model)
    onnx.checker.check_model(out, full_check=True)
    kinds = {step.name: step.kind for step in flow_of(model)}
    deconvolutions = [name for name in placement.convolutions if kinds[name] == "deconv"]
    assert len(deconvolutions) == 2
    assert all(scales.weights[name].shape == (1,) for name in deconvolutions)
    feeds = feeds_for(raw)[0]
    before, after = run(raw, feeds, "road_logits"), run(out, feeds, "road_logits")
    assert 0 < np.abs(before - after).max() < 0.1 * np.abs(before).max()


def test_a_weight_that_two_convolutions_read_is_stored_once() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] w = {1.0, 2.0, 3.0, 4.0}> { a = Conv(x, w)  b = Relu(a)  c = Conv(b, w)  y = Relu(c) }"""
    model = onnx.parser.parse_model(text)
    out, placement, _ = quantized(model, borders_float=False)
    assert placement.convolutions == ("w", "w#2")
    assert [one.name for one in out.graph.initializer].count("w_int8") == 1
    assert set(scales_by_reader(out)[1]) == {"w", "w#2"}
    assert (scales_by_reader(float_weights(out))[1]["w#2"] == scales_by_reader(out)[1]["w#2"]).all()
    assert [one.name for one in int8_weights(float_weights(out)).graph.initializer].count("w_int8") == 1


def test_cmipnet_is_quantized_in_all_but_its_borders(cmipnet: onnx.ModelProto) -> None:
    model = cmipnet
    placement = place(flow_of(model), *ends_of(model))
    assert placement.float_convolutions == ("stems.image.0", "stems.trajectory.0", "fuse")
    ranges = dict.fromkeys(measurable(model), 1.0)
    out = insert_qdq(model, placement, scales_for(model, placement, ranges))
    onnx.checker.check_model(out, full_check=True)
    assert convolution_precisions(out) == {"fp32": 3, "int8": len(placement.convolutions)}
    assert set(scales_by_reader(out)[0]) == set(placement.reads)
