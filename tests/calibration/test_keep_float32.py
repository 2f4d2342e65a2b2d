"""Parts of an FP16 remainder in float32: what leaves its range stays so, and an INT8 convolution keeps its pairs."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from roadedge.calibration.emissions import compare_scales, half_remainder
from roadedge.calibration.ptq import face_of_file, quantize_onnx
from roadedge.calibration.samples import CalibrationList, draw_list
from roadedge.errors import ParityError, UsageError
from roadedge.export import export_model
from roadedge.models.checkpoint import save_network
from roadedge.spec import read_sidecar
from tests.calibration.test_emissions import types_of
from tests.calibration.test_insert import quantized
from tests.calibration.test_samples import write_set
from tests.export.artefacts import SIZE, samples
from tests.export.test_keep_float32 import beyond_float16


@pytest.fixture(scope="module")
def beyond(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beyond")
    save_network(folder / "beyond.pt", beyond_float16(), {})
    return export_model(folder / "beyond.pt", folder, "fp32", SIZE, samples=samples()).onnx


@pytest.fixture(scope="module")
def drawn(beyond: Path, tmp_path_factory: pytest.TempPathFactory) -> CalibrationList:
    return draw_list([write_set(tmp_path_factory.mktemp("sets") / "data", train=2)], face_of_file(beyond).spec)


def test_a_value_beyond_float16_is_refused_with_the_way_out(
    beyond: Path, drawn: CalibrationList, tmp_path: Path
) -> None:
    with pytest.raises(ParityError, match=r"reaches .* 32752 is allowed, .* nothing was written; --keep-float32 auto"):
        quantize_onnx(beyond, drawn, "max", output_dir=tmp_path / "out", threads=1)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="no part in float16 is called 'nothing'"):
        quantize_onnx(beyond, drawn, "max", output_dir=tmp_path / "out", threads=1, keep_float32=["nothing"])


def test_auto_keeps_what_makes_and_reads_it_and_says_so(beyond: Path, drawn: CalibrationList, tmp_path: Path) -> None:
    done = quantize_onnx(beyond, drawn, "max", output_dir=tmp_path, threads=1, keep_float32=["auto"])
    assert done.float32 is not None
    assert "/network/image/first/first.0/Conv_output_0" in done.float32.outputs
    assert done.float32.nodes < 30
    assert json.loads(json.dumps(done.to_dict()))["float32"]["asked"] == "auto"
    stated = {name: read_sidecar(path) for name, path in done.files.items()}
    assert stated["int8"] is not None
    assert "float32" not in stated["int8"][1]["precision"]
    assert stated["int8-fp16"] is not None
    said = stated["int8-fp16"][1]["precision"]["effective"]
    assert said.startswith("int8+fp16 with ")
    assert said.endswith(" float32")
    assert done.parity[1].max_logit_difference < 2 * done.parity[0].max_logit_difference + 1


def test_a_kept_int8_convolution_reads_float32_pairs_and_shares_none_with_float16(own: onnx.ModelProto) -> None:
    model, _, _ = quantized(own)
    pairs = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in pairs.intersection(node.input):
            readers.setdefault(name, []).append(node)
    shared = next(nodes for nodes in readers.values() if sum(node.op_type == "Conv" for node in nodes) > 1)
    kept = next(node.output[0] for node in shared if node.op_type == "Conv")
    half = half_remainder(model, [kept])
    onnx.checker.check_model(half, full_check=True)
    types, makers = types_of(half), {name: node for node in half.graph.node for name in node.output}
    convolution = makers[kept]
    for name in convolution.input[:2]:
        assert makers[name].op_type == "DequantizeLinear"  # no cast between them, which would part the kernel
        assert types[name] == TensorProto.FLOAT
    others = [node for node in half.graph.node if node.op_type == "Conv" and node.output[0] != kept]
    assert {types[node.output[0]] for node in others} == {TensorProto.FLOAT16}
    assert types[kept] == TensorProto.FLOAT
    assert compare_scales(model, half) == []
