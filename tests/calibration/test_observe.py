"""What is counted are the network's own values, batch by batch, and a NaN among them is told by name."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from roadedge.calibration.observe import observe, tracked
from roadedge.calibration.ptq import measurable
from roadedge.errors import ModelFileError, NonFiniteError, UsageError
from tests.calibration.graphs import feeds_for

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,1,2,2] x) => (float[1,1,2,2] y) { a = Log(x)  y = Neg(a) }"""


def test_the_largest_magnitudes_are_those_of_the_values(own: onnx.ModelProto) -> None:
    feeds, values = feeds_for(own, count=2), measurable(own)
    opened = onnx.ModelProto()
    opened.CopyFrom(own)
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values)
    session = onnxruntime.InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])
    want = np.max([[np.abs(v).max() for v in session.run(values, fed)] for fed in feeds], 0)
    found = observe(own, values, feeds, threads=1)
    assert [found[name].largest for name in values] == pytest.approx(want.tolist(), rel=1e-5)


def test_windows_beyond_the_batch_are_fed_one_after_the_other() -> None:
    planes = np.arange(1, 13, dtype=np.float32).reshape(3, 1, 2, 2)
    found = observe(onnx.parser.parse_model(TEXT), ["x", "a"], [{"x": planes}], threads=1)
    assert found["x"].counts.sum() == 12
    assert found["x"].largest == 12
    assert found["a"].largest == pytest.approx(np.log(12))
    assert found["a"].zeros == 1


def test_a_value_that_is_no_number_is_named() -> None:
    planes = np.zeros((1, 1, 2, 2), np.float32)
    with pytest.raises(NonFiniteError, match="the value a holds NaN or infinity"):
        observe(onnx.parser.parse_model(TEXT), ["a"], [{"x": planes}], threads=1)


def test_a_graph_that_does_not_run_is_one_sentence() -> None:
    model = onnx.parser.parse_model(TEXT.replace("Log", "Lag"))
    with pytest.raises(ModelFileError, match="ONNX Runtime does not load this graph"):
        observe(model, ["a"], [])
    with pytest.raises(UsageError, match="--threads must be at least 1"):
        observe(onnx.parser.parse_model(TEXT), ["a"], [], threads=0)


def test_without_a_terminal_no_bar_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    feeds = [{"x": np.zeros(1)}] * 3
    assert len(list(tracked(feeds, 3, enabled=True))) == 3
    assert capsys.readouterr().err == ""
