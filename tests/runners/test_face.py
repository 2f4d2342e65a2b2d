"""ONNX files without a sidecar: fed by their metadata, else by stated assumptions, else refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from roadedge.errors import ModelFileError, NonFiniteError
from roadedge.preprocess import Feeds
from roadedge.runners import open_runner
from roadedge.runners.face import AssumedSpecWarning, Port, face_of
from roadedge.spec import read_sidecar, write_sidecar
from tests.export.artefacts import Artefacts, noise

BACKENDS = ("onnxruntime", "openvino")
GREY = {"image": np.full((2, 32, 48, 3), 51, np.uint8)}  # 51 / 255 = 0.2


def write_mean(path: Path, shape: list[int | str], output: str, kind: int = TensorProto.FLOAT) -> Path:
    """A network of somebody else: the mean over the channels of an image, NCHW, in [0, 1]."""
    nodes = [helper.make_node("ReduceMean", ["picture"], [output], axes=[1], keepdims=1)]
    out = [shape[0], 1, *shape[2:]]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("picture", kind, shape)],
        [helper.make_tensor_value_info(output, kind, out)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_graph_that_lost_its_sidecar_is_fed_by_its_metadata(
    artefacts: Artefacts, tmp_path: Path, backend: str
) -> None:
    pytest.importorskip(backend)
    alone = tmp_path / "alone.onnx"
    shutil.copy(artefacts.fp16, alone)
    with open_runner(alone, backend) as bare, open_runner(artefacts.fp16, backend) as whole:
        assert bare.spec == whole.spec
        assert bare.graph_precision == "fp16"
        assert (bare.infer(noise())["probability"] == whole.infer(noise())["probability"]).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [[1, 3, 32, 48], ["n", 3, "h", "w"]], ids=["static", "free"])
def test_a_foreign_graph_is_fed_and_the_assumptions_are_said(
    tmp_path: Path, shape: list[int | str], backend: str
) -> None:
    pytest.importorskip(backend)
    model = write_mean(tmp_path / "foreign.onnx", shape, "prob")
    with pytest.warns(AssumedSpecWarning, match=r"picture = image \(NCHW, float32 0..1\)"):
        runner = open_runner(model, backend)
    feeds: Feeds = GREY if shape[0] == 1 else {"image": np.full((2, 64, 32, 3), 51, np.uint8)}
    with runner:
        assert runner.spec.inputs == ("image",)
        assert (runner.infer(feeds)["probability"] == 51).all()


def test_an_output_named_logits_goes_through_the_sigmoid(tmp_path: Path) -> None:
    model = write_mean(tmp_path / "foreign.onnx", [1, 3, 32, 48], "road_logits")
    with pytest.warns(AssumedSpecWarning, match="road_logits = logits"):
        runner = open_runner(model, "onnxruntime")
    with runner:
        outputs = runner.infer(GREY, logits=True)
    assert outputs["logits"] == pytest.approx(0.2)
    assert (outputs["probability"] == round(255 / (1 + np.exp(-0.2)))).all()


def write_affine(path: Path, scale: float, offset: float) -> Path:
    """probability = scale * mean(image in [0, 1]) + offset."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 48])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 32, 48])],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
            helper.make_tensor("offset", TensorProto.FLOAT, [], [offset]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.filterwarnings("ignore::roadedge.runners.face.AssumedSpecWarning")
def test_what_is_no_probability_is_not_taken_for_one(tmp_path: Path) -> None:
    with open_runner(write_affine(tmp_path / "a.onnx", 1, 7), "onnxruntime") as runner:
        with pytest.raises(ModelFileError, match=r"taken for a probability and holds 7\.2"):
            runner.infer(GREY)
    with open_runner(write_affine(tmp_path / "b.onnx", np.inf, -np.inf), "onnxruntime") as runner:
        with pytest.raises(NonFiniteError):
            runner.infer(GREY)


PATH = Path("foreign.onnx")
IMAGE = Port("rgb", (1, 3, 64, 64), "float32")
ROAD = Port("road", (1, 1, 64, 64), "float32")
UNFEEDABLE = {
    "image and points stacked": ([Port("x", (1, 4, 64, 64), "float32")], [ROAD]),
    "a vector": ([Port("x", (1, 10), "float32")], [ROAD]),
    "two images": ([IMAGE, Port("rgb2", (1, 3, 64, 64), "float32")], [ROAD]),
    "tokens": ([Port("x", (1, 3, 64, 64), "int64")], [ROAD]),
    "inputs of two sizes": ([IMAGE, Port("gps", (1, 1, 32, 32), "float32")], [ROAD]),
    "boxes": ([IMAGE], [Port("boxes", (1, 100), "float32")]),
    "two maps": ([IMAGE], [ROAD, Port("edge", (1, 1, 64, 64), "float32")]),
}


@pytest.mark.parametrize(("inputs", "outputs"), UNFEEDABLE.values(), ids=UNFEEDABLE)
def test_a_graph_that_cannot_be_fed_is_refused(inputs: list[Port], outputs: list[Port]) -> None:
    with pytest.raises(ModelFileError, match=r"foreign\.onnx"):
        face_of(PATH, inputs, outputs, {})


def test_a_graph_with_another_face_than_its_spec_is_refused(artefacts: Artefacts) -> None:
    with pytest.raises(ModelFileError, match="should have the uint8 inputs"):
        face_of(artefacts.fp32, [IMAGE], [ROAD], {})


def test_metadata_that_is_not_ours_to_read_is_refused() -> None:
    with pytest.raises(ModelFileError, match="metadata"):
        face_of(PATH, [IMAGE], [ROAD], {"roadedge.spec": "{"})


@given(names=st.permutations(["heatmap", "picture"]), first=st.booleans())
def test_modalities_are_told_by_their_channels(names: list[str], first: bool) -> None:
    def port(name: str) -> Port:
        channels = 3 if name == "picture" else 1
        return Port(name, (1, channels, 64, 32) if first else (1, 64, 32, channels), "uint8")

    with pytest.warns(AssumedSpecWarning):
        face = face_of(PATH, [port(name) for name in names], [ROAD], {})
    assert face.spec.inputs == ("image", "trajectory")
    assert face.spec.size == (64, 32)
    assert [plug.port.name for plug in face.plugs] == ["picture", "heatmap"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("changed", [{"size": None}, {"batch": 4}, {"size": (32, 32)}], ids=["size", "batch", "other"])
def test_a_spec_that_states_other_sides_than_its_graph_is_refused_at_loading(
    artefacts: Artefacts, tmp_path: Path, backend: str, changed: dict[str, Any]
) -> None:
    pytest.importorskip(backend)
    model = tmp_path / "model.onnx"
    shutil.copy(artefacts.fp32, model)
    stated = read_sidecar(artefacts.fp32)
    assert stated is not None
    write_sidecar(model, dataclasses.replace(stated[0], **changed), {})
    with pytest.raises(ModelFileError, match=r"its graph takes image as .* and its spec says .*export the model again"):
        open_runner(model, backend)
