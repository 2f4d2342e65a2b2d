"""Parts of an FP16 graph that stay float32: asked for by name or found, never in silence, in the types of the graph."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from roadedge.errors import EnvironmentFault, ParityError, UsageError
from roadedge.export import export_model
from roadedge.export.describe import describe_model
from roadedge.export.emulated import SWITCHES, EmulatedRunner, emulated, switched
from roadedge.export.engine_order import BuildOptions, check_dla, check_float32
from roadedge.export.engine_source import read_source
from roadedge.export.exporter import ExportResult, _own_face
from roadedge.export.mixed import FloatGraph
from roadedge.export.parts import collapsed, grouped, kept_float32, matching, scope_of
from roadedge.export.precision import float_graph, halved
from roadedge.export.report import export_lines, info_lines
from roadedge.models.blocks import RoadNet
from roadedge.models.border import Border
from roadedge.models.catalogue import CATALOGUE
from roadedge.models.checkpoint import save_network
from roadedge.spec import read_sidecar, sha256_of
from tests.export.artefacts import SIZE, Artefacts, network, noise, samples


def norms_of(net: RoadNet) -> list[nn.BatchNorm2d]:
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


def beyond_float16() -> RoadNet:
    """The first map leaves the range of float16; the next norm scales it down again."""
    net = network()
    first, second = norms_of(net)[:2]
    first.weight.data.mul_(1.5e4)
    second.weight.data.div_(1.5e4)
    return net


def amplified() -> RoadNet:
    """The first map is lifted to where float16 has steps of 8, and the next norm takes the lift away again."""
    net = network()
    first, second = norms_of(net)[:2]
    second_convolution = [module for module in net.modules() if isinstance(module, nn.Conv2d)][1]
    centre = torch.zeros_like(second_convolution.weight)
    centre[..., 1, 1] = second_convolution.weight.detach()[..., 1, 1]  # zeros around the map are not lifted
    second_convolution.weight.data = centre
    first.bias.data.add_(1e4)
    assert second.running_mean is not None
    second.running_mean += 1e4 * centre.sum((1, 2, 3))
    return net


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("refused")
    for name, net in (("beyond", beyond_float16()), ("amplified", amplified())):
        save_network(folder / f"{name}.pt", net, {})
    return {name: folder / f"{name}.pt" for name in ("beyond", "amplified")}


def fp16(checkpoint: Path, folder: Path, *asked: str) -> ExportResult:
    return export_model(checkpoint, folder, "fp16", SIZE, samples=samples(), keep_float32=asked)


@pytest.fixture(scope="module")
def found(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExportResult]:
    folder = tmp_path_factory.mktemp("found")
    return {name: fp16(path, folder, "auto") for name, path in checkpoints.items()}


def test_a_sample_of_several_windows_is_searched_too(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    result = export_model(
        checkpoints["beyond"], tmp_path, "fp16", SIZE, samples=samples((128, 96)), keep_float32=["auto"]
    )  # fmt: skip
    assert result.float32 is not None


@pytest.fixture(scope="module")
def graph() -> FloatGraph:
    return float_graph(network().deployed(), SIZE, 1, 17, simplify=True)


@pytest.mark.parametrize("name", ["beyond", "amplified"])
def test_the_refusal_names_the_way_out_and_writes_nothing(
    checkpoints: dict[str, Path], tmp_path: Path, name: str
) -> None:
    with pytest.raises(ParityError, match=r"nothing was written; --keep-float32 auto finds"):
        fp16(checkpoints[name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["beyond", "amplified"])
def test_auto_keeps_the_part_that_does_it_and_little_else(found: dict[str, ExportResult], name: str) -> None:
    result = found[name]
    assert result.float32 is not None
    assert "/network/image/first/first.0/Conv_output_0" in result.float32.outputs
    assert 0 < result.float32.nodes < 0.2 * len(onnx.load(result.onnx).graph.node)
    assert result.float32.multiply_adds is not None
    assert result.float32.multiply_adds_of is not None
    assert 0 < result.float32.multiply_adds < 0.4 * result.float32.multiply_adds_of
    assert result.convolutions["fp32"] >= 1
    assert result.convolutions["fp16"] > 30
    assert [table.candidate for table in result.parity][-1] == "onnxruntime emulating fp16"


@pytest.mark.parametrize("name", ["beyond", "amplified"])
def test_sidecar_info_and_print_say_which_and_how_much(found: dict[str, ExportResult], name: str) -> None:
    result = found[name]
    stated = read_sidecar(result.onnx)
    assert stated is not None
    assert result.float32 is not None
    precision, count = stated[1]["precision"], len(result.float32.parts)
    assert precision["effective"] == f"fp16 with {count} part{'s' * (count != 1)} float32"
    assert precision["float32"] == result.float32.to_dict() == result.to_dict()["float32"]
    assert precision["float32"]["asked"] == "auto"
    info = describe_model(result.onnx)
    assert info["loads"]["onnxruntime"]["graph_precision"] == precision["effective"]
    for lines in (info_lines(info), export_lines(result)):
        text = "\n".join(lines)
        assert f"float32: {result.float32.parts[0]}" in text
        assert "M multiply-adds (" in text
        assert "MiB of weights" in text


def test_what_is_found_can_be_asked_for_by_name_and_gives_the_same_types(
    checkpoints: dict[str, Path], found: dict[str, ExportResult], tmp_path: Path
) -> None:
    auto = found["beyond"]
    assert auto.float32 is not None
    named = fp16(checkpoints["beyond"], tmp_path, *auto.float32.parts)
    assert named.float32 is not None
    assert named.float32.outputs == auto.float32.outputs
    assert named.convolutions == auto.convolutions
    assert named.float32.trials == 0


def test_auto_changes_nothing_where_plain_fp16_will_do(artefacts: Artefacts, tmp_path: Path) -> None:
    result = fp16(artefacts.checkpoint, tmp_path, "auto")
    assert result.float32 is None
    assert result.sha256 == sha256_of(artefacts.fp16)


def test_named_parts_are_float32_and_all_else_is_not(artefacts: Artefacts, tmp_path: Path) -> None:
    result = fp16(artefacts.checkpoint, tmp_path, "stems.image", "eighth*")
    assert result.float32 is not None
    kinds = types_of(onnx.load(result.onnx))
    constant = {one.name for one in onnx.load(result.onnx).graph.initializer}
    for node in onnx.load(result.onnx).graph.node:
        if node.op_type == "Conv":
            kept = node.name.startswith(("/network/image/", "/network/eighth."))
            want = onnx.TensorProto.FLOAT if kept else onnx.TensorProto.FLOAT16
            assert kinds[node.output[0]] == want, node.name
            assert kinds[node.input[1]] == want, node.name
            assert node.input[1] in constant


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {one.name: one.data_type for one in inferred.initializer}
    return found | {
        one.name: one.type.tensor_type.elem_type for one in (*inferred.value_info, *inferred.input, *inferred.output)
    }


def test_an_unknown_part_is_told_with_those_that_there_are(artefacts: Artefacts, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"called 'stem' \(did you mean 'stems'\?\); there are image, traj"):
        fp16(artefacts.checkpoint, tmp_path / "out", "stem")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("precision", "asked", "said"),
    [
        ("fp32", ("auto",), "belongs to an FP16 graph, fp32 was asked for"),
        ("fp16", ("auto", "stems"), "auto or patterns"),
        ("fp16", ("stems", ""), "empty pattern"),
        ("fp16", ("*",), "leaves nothing in float16"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    artefacts: Artefacts, tmp_path: Path, precision: str, asked: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        export_model(artefacts.checkpoint, tmp_path, precision, SIZE, samples=samples(), keep_float32=asked)


class TestEmulation:
    def test_it_rounds_as_torch_does_in_half_precision(self, artefacts: Artefacts) -> None:
        deployed, feeds = network().deployed(), noise(seed=3)
        planes = [torch.from_numpy(feeds[name]) for name in deployed.spec.inputs]
        with torch.no_grad():
            exact = Border(deployed)(*planes)[1].numpy()
            half = Border(halved(deployed))(*planes)[1].numpy()
        with EmulatedRunner(emulated(onnx.load(artefacts.fp16)), _own_face(read_source(artefacts.fp16).spec)) as runner:
            got = runner.infer(feeds, logits=True)["logits"]
        off = float(np.abs(half - exact).max())
        assert off > 0
        assert 0.2 * off < np.abs(got - exact).max() < 5 * off  # of the same size: rounded each value, not once
        assert np.abs(got - half).max() < 3 * off

    def test_what_leaves_the_range_becomes_infinite(self) -> None:
        deployed = beyond_float16().deployed()
        half = float_graph(deployed, SIZE, 1, 17, simplify=True).typed(())
        with EmulatedRunner(emulated(half), _own_face(deployed.spec)) as runner:
            assert not np.isfinite(runner.infer(noise(), logits=True)["logits"]).all()

    def test_switches_say_the_same_as_the_typed_graph(self, graph: FloatGraph) -> None:
        feeds, kept = noise(seed=4), matching(graph.parts, ["stems"])
        typed = graph.typed(kept_float32(["stems"], graph.parts, kept).outputs)
        both = switched(graph.model, [part.outputs for part in graph.parts.values()])
        half = np.array([name not in kept for name in graph.parts])
        want = logits(emulated(typed), feeds)
        assert (logits(both, {**feeds, SWITCHES: half}) == want).all()
        assert (logits(both, {**feeds, SWITCHES: np.zeros_like(half)}) == logits(graph.model, feeds)).all()
        assert (want != logits(graph.model, feeds)).any()


def logits(model: onnx.ModelProto, feeds: dict[str, Any]) -> NDArray[np.float32]:
    """As they are written: a convolution that is laid out otherwise adds up in another order."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: NDArray[np.float32] = session.run(["logits"], feeds)[0]
    return found


class TestParts:
    def test_they_cover_the_float_work_of_the_network(self, graph: FloatGraph) -> None:
        counted = kept_float32(["*"], graph.parts, list(graph.parts)).multiply_adds
        assert counted is not None
        assert counted * (512 / SIZE[0]) ** 2 == pytest.approx(CATALOGUE["roadedge-n"].cost.gmac * 1e9, rel=0.01)
        inside = {output for part in graph.parts.values() for output in part.outputs}
        assert inside.isdisjoint(graph.float_values)

    def test_a_scope_is_the_path_of_a_module(self) -> None:
        assert scope_of("/network/stages.0/stages.0.1/paths.2/paths.2.0/Conv") == "stages.0.1.paths.2.0"
        assert scope_of("/network/Relu_1") == "Relu_1"
        assert scope_of("Conv_12") == "Conv_12"

    def test_a_module_stands_for_all_of_its_parts_only(self) -> None:
        everything = ["a", "a.0", "a.1", "b.0", "b.1"]
        assert collapsed(["a", "a.0", "a.1", "b.1"], everything) == ["a", "b.1"]
        assert collapsed(["a", "b.0", "b.1"], everything) == ["a without what is below it", "b"]

    def test_groups_are_split_as_far_as_they_may_be(self) -> None:
        names = [f"a.{i}" for i in range(6)] + [f"b.{i}.{j}" for i in range(2) for j in range(9)]
        for most in (2, 5, 12, 100):
            groups = grouped(names, most)
            assert sorted(name for own in groups.values() for name in own) == sorted(names)
            assert len(groups) <= most
        assert list(grouped(names, 2)) == ["a", "b"]
        assert set(grouped(names, 100)) == set(names)


def test_dla_and_tensorrt_8_6_do_not_take_it(found: dict[str, ExportResult]) -> None:
    source = read_source(found["beyond"].onnx)
    with pytest.raises(UsageError, match=r"DLA computes in FP16, .* is fp16.* with \d parts? float32"):
        check_dla(source, BuildOptions(dla_core=0))
    with pytest.raises(EnvironmentFault, match=r"TensorRT 8\.6 builds no strongly typed"):
        check_float32(source, "tensorrt", (8, 6, 2))
    check_float32(source, "tensorrt", (10, 3))


def test_tensorrt_takes_the_graph_as_it_is_typed(found: dict[str, ExportResult]) -> None:
    from roadedge.export.build_progress import Progress
    from roadedge.export.plan import PlanOptions, build_plan

    trt: ModuleType = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    result = found["amplified"]
    plan = build_plan(trt, result.onnx, PlanOptions("tensorrt-rtx", "fp16", ("8.6",)), Progress(shown=False))
    assert plan.layers_by_precision == {name: n for name, n in result.convolutions.items() if n}
