"""The lint: what older parsers lack, and Q/DQ pairs that TensorRT cannot fuse or take, each with the node's name."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import pytest

from roadedge.errors import ModelFileError, UnknownNameError
from roadedge.export.lint import Finding, blocking, check_findings, lint_graph
from tests.export.artefacts import Artefacts

CONSTANTS = """
<float s = {0.5}, int8 z = {0}, float[2,2,1,1] w = {1, 0, 0, 1}, float[2,2,1,1] v = {1, 0, 0, 1}>
"""


def graph(body: str, opset: int = 17, constants: str = CONSTANTS) -> onnx.ModelProto:
    head = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[1,2,8,8] x) => (float[1,2,8,8] y)'
    text = f"{head} {constants} {{ {body} }}"
    model = onnx.parser.parse_model(text)
    for node in model.graph.node:
        node.name = node.name or f"/{node.output[0]}"
    return model


def rules(model: onnx.ModelProto) -> list[tuple[str, str]]:
    return [(one.rule, one.node) for one in lint_graph(model) if one.blocks]


PAIR = "xq = QuantizeLinear(x, s, z) xd = DequantizeLinear(xq, s, z) "
SHORTCUT = PAIR + "c = Conv(xd, w) "


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_our_own_files_have_no_finding(artefacts: Artefacts, precision: str) -> None:
    assert lint_graph(onnx.load(getattr(artefacts, precision))) == ()


def test_a_residual_add_whose_convolution_runs_into_it_is_fused() -> None:
    assert rules(graph(SHORTCUT + "y = Add(c, xd)")) == []


def test_a_quantised_convolution_before_an_add_is_refused_and_both_are_named() -> None:
    model = graph(SHORTCUT + "cq = QuantizeLinear(c, s, z) cd = DequantizeLinear(cq, s, z) y = Add(cd, xd)")
    assert rules(model) == [("residual", "/y (Add)")]
    assert "/c (Conv)" in lint_graph(model)[0].text


def test_a_convolved_shortcut_may_be_quantised_where_the_other_convolution_is_not() -> None:
    model = graph(
        SHORTCUT + "d = Conv(xd, v) cq = QuantizeLinear(c, s, z) cd = DequantizeLinear(cq, s, z) y = Add(cd, d)"
    )
    assert rules(model) == []


def test_two_quantised_convolutions_before_an_add_are_refused() -> None:
    model = graph(
        SHORTCUT
        + "d = Conv(xd, v) cq = QuantizeLinear(c, s, z) cd = DequantizeLinear(cq, s, z) "
        + "dq = QuantizeLinear(d, s, z) dd = DequantizeLinear(dq, s, z) y = Add(cd, dd)"
    )
    assert rules(model) == [("residual", "/y (Add)")]
    assert "/c (Conv) and of /d (Conv)" in lint_graph(model)[0].text


def test_a_bias_is_no_residual_add() -> None:
    constants = CONSTANTS.replace(">", ", float[1,2,1,1] b = {1, 1}>")
    model = graph(
        SHORTCUT + "cq = QuantizeLinear(c, s, z) cd = DequantizeLinear(cq, s, z) y = Add(cd, b)", 17, constants
    )
    assert rules(model) == []


def test_a_zero_point_other_than_zero_is_refused() -> None:
    model = graph(PAIR + "y = Conv(xd, w)", constants=CONSTANTS.replace("z = {0}", "z = {3}"))
    assert rules(model) == [("zero point", "/xq (QuantizeLinear)"), ("zero point", "/xd (DequantizeLinear)")]


def test_uint8_levels_are_refused() -> None:
    model = graph(PAIR + "y = Conv(xd, w)", constants=CONSTANTS.replace("int8 z", "uint8 z"))
    assert {rule for rule, _ in rules(model)} == {"type", "border"}
    assert ("type", "/xq (QuantizeLinear)") in rules(graph("xq = QuantizeLinear(x, s) y = DequantizeLinear(xq, s)"))


def test_a_scale_that_the_graph_computes_is_refused() -> None:
    model = graph("t = ReduceMax <keepdims = 0> (x) xq = QuantizeLinear(x, t, z) y = DequantizeLinear(xq, t, z)")
    assert rules(model) == [("scale", "/xq (QuantizeLinear)"), ("scale", "/y (DequantizeLinear)")]


def test_a_scale_of_zero_is_refused() -> None:
    model = graph(
        "xq = QuantizeLinear(x, s, z) y = DequantizeLinear(xq, s, z)", constants="<float s = {0}, int8 z = {0}>"
    )
    assert {rule for rule, _ in rules(model)} == {"scale"}


def test_uint8_inside_is_refused() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (uint8[1,8,8,3] x) => (uint8[1,8,8,3] y)
    { t = Transpose <perm = [0, 3, 1, 2]> (x) f = Cast <to = 1> (t) u = Cast <to = 2> (f)
      y = Transpose <perm = [0, 2, 3, 1]> (u) }"""
    model = onnx.parser.parse_model(text)
    assert [rule for rule, _ in rules(model)] == ["border", "border", "border"]


def test_opsets_are_judged_for_each_parser() -> None:
    found = lint_graph(graph("y = Relu(x)", opset=19))
    assert [(one.rule, one.lines) for one in found] == [("opset", ("8.6",))]
    assert [one.lines for one in lint_graph(graph("y = Relu(x)", opset=22))] == [("8.6", "10.3")]


def test_operators_are_judged_for_each_parser() -> None:
    both = lint_graph(graph("u, i, j, k = Unique <axis = 0> (x) y = Relu(u)"))
    assert [(one.rule, one.node, one.lines) for one in both] == [("operator", "/u (Unique)", ("8.6", "10.3"))]
    mish = lint_graph(graph("y = Mish(x)", opset=18))
    assert [(one.rule, one.lines) for one in mish] == [("opset", ("8.6",)), ("operator", ("8.6",))]


def test_a_resize_that_no_parser_takes_is_said() -> None:
    body = 'y = Resize <mode = "cubic"> (x, , s4)'
    model = graph(body, constants="<float[4] s4 = {1, 1, 1, 1}>")
    assert [(one.rule, one.lines) for one in lint_graph(model)] == [("attribute", ("8.6", "10.3"))]


def test_a_float32_remainder_is_advice() -> None:
    found = lint_graph(graph(PAIR + "y = Conv(xd, w)"))
    assert [(one.rule, one.blocks) for one in found] == [("remainder", False)]
    assert "int8-fp16.onnx" in found[0].text


def test_what_one_of_the_parsers_takes_can_be_built() -> None:
    found = (Finding("opset", "", "of opset 19", ("8.6",)),)
    check_findings(found, "net.onnx", ("8.6", "10.3"))
    check_findings(found, "net.onnx")
    with pytest.raises(ModelFileError, match=r"net\.onnx cannot be built: refused: of opset 19 \(TensorRT 8\.6\)"):
        check_findings(found, "net.onnx", ("8.6",))


def test_many_findings_are_counted() -> None:
    found = tuple(Finding("residual", f"/add{i}", "quantised") for i in range(10))
    with pytest.raises(ModelFileError, match="and 2 more"):
        check_findings(found, "net.onnx")


def test_a_parser_without_a_list_is_unknown() -> None:
    with pytest.raises(UnknownNameError, match=r"8\.5"):
        blocking((), "8.5")


def test_the_carried_files_can_be_read_by_every_parser() -> None:
    carried = sorted((Path(__file__).parents[2] / "roadedge" / "carried").glob("*.onnx"))
    assert carried
    for path in carried:
        found = lint_graph(onnx.load(path))
        stopped = [blocking(found, line) for line in ("8.6", "10.3")]
        assert [] in stopped, f"{path.name}: {found}"
