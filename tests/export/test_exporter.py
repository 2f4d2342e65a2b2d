"""Checkpoint → ONNX: what the graph looks like, what stands beside it, and that a bad one leaves nothing."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import roadedge.export.parity
from roadedge.errors import ExportError, MissingExtraError, ModelFileError, OutputError, UsageError
from roadedge.export import DynamicSize, export_model, parse_dynamic, parse_size
from roadedge.export.exporter import target_path
from roadedge.export.graph import write_graph
from roadedge.export.parity import FRESH, NOT_JUDGED, Tolerance
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import save_network
from roadedge.runners import open_runner
from roadedge.spec import ModelSpec, read_sidecar, sha256_of, sidecar_path
from tests.export.artefacts import SIZE, Artefacts, network, noise, samples


def types_by_tensor(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.input, *inferred.output)}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_uint8_stands_at_the_border_and_nowhere_else(artefacts: Artefacts, precision: str) -> None:
    model = onnx.load(getattr(artefacts, precision))
    kinds = types_by_tensor(model)
    inside = {name for name, kind in kinds.items() if kind == onnx.TensorProto.UINT8}
    assert inside == {"image", "trajectory", "probability"}
    readers = [node.op_type for node in model.graph.node if set(node.input) & {"image", "trajectory"}]
    writer = next(node.op_type for node in model.graph.node if "probability" in node.output)
    assert readers == ["Cast", "Cast"]
    assert writer == "Cast"


def test_the_graph_is_static_of_opset_17_and_of_our_names(artefacts: Artefacts) -> None:
    model = onnx.load(artefacts.fp32)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
    shapes |= {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output}
    assert shapes == {
        "image": [1, 64, 64, 3],
        "trajectory": [1, 64, 64, 1],
        "probability": [1, 64, 64],
        "logits": [1, 1, 64, 64],
    }
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]


def test_fp16_keeps_normalisation_and_sigmoid_in_float32(artefacts: Artefacts) -> None:
    model = onnx.load(artefacts.fp16)
    kinds = types_by_tensor(model)
    float32, float16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    wide = [n for n in model.graph.node if n.op_type in ("Sub", "Div", "Sigmoid")]
    assert len(wide) == 5
    assert {kinds[n.output[0]] for n in wide} == {float32}
    assert {kinds[n.output[0]] for n in model.graph.node if n.op_type == "Conv"} == {float16}


def test_fp16_halves_the_file(artefacts: Artefacts) -> None:
    assert artefacts.fp16.stat().st_size < 0.55 * artefacts.fp32.stat().st_size


def test_the_sidecar_says_what_was_made_of_what(artefacts: Artefacts) -> None:
    found = read_sidecar(artefacts.fp16)
    assert found is not None
    spec, provenance = found
    assert (spec.size, spec.batch, spec.inputs) == (SIZE, 1, ("image", "trajectory"))
    assert provenance["checkpoint"]["sha256"] == sha256_of(artefacts.checkpoint)
    assert provenance["checkpoint"]["provenance"] == {"recipe": "random weights"}
    assert provenance["precision"] == {"requested": "fp16", "effective": "fp16", "convolutions": {"fp16": 40}}
    assert [port["dtype"] for port in provenance["outputs"]] == ["uint8", "float32"]
    assert provenance["parity"][0]["agreement"] > 0.999
    assert {"roadedge", "packages", "date", "command"} <= set(provenance["made_with"])
    assert json.loads(sidecar_path(artefacts.fp16).read_text())["sha256"] == sha256_of(artefacts.fp16)


def test_fp16_is_also_compared_in_real_half_precision(artefacts: Artefacts) -> None:
    found = read_sidecar(artefacts.fp16)
    assert found is not None
    candidates = [table["candidate"] for table in found[1]["parity"]]
    assert candidates[-1] == "torch fp16"
    assert candidates[0].startswith("onnxruntime")


def test_the_same_checkpoint_gives_the_same_bytes(artefacts: Artefacts, tmp_path: Path) -> None:
    again = export_model(artefacts.checkpoint, tmp_path, size=SIZE, samples=samples())
    assert again.sha256 == sha256_of(artefacts.fp32)


def test_no_path_of_this_machine_is_in_the_file(artefacts: Artefacts) -> None:
    content = artefacts.fp32.read_bytes()
    for path in (Path(__file__).parents[2], artefacts.fp32.parent, Path(torch.__file__).parent):
        assert str(path).encode() not in content


def test_what_is_in_the_way_stays_unless_told(artefacts: Artefacts, tmp_path: Path) -> None:
    taken = tmp_path / "tiny.onnx"
    taken.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--overwrite"):
        export_model(artefacts.checkpoint, tmp_path, size=SIZE, samples=samples())
    assert taken.read_bytes() == b"mine"
    export_model(artefacts.checkpoint, tmp_path, size=SIZE, samples=samples(), overwrite=True)
    assert sha256_of(taken) == sha256_of(artefacts.fp32)


def test_an_unfaithful_graph_leaves_nothing(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(roadedge.export.parity.TOLERANCES, "fp16", Tolerance(1e-9, 1.0))
    with pytest.raises(ExportError, match="nothing was written"):
        export_model(artefacts.checkpoint, tmp_path / "out", "fp16", SIZE, samples=samples())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("step", ["shutil.copyfile", "roadedge.export.exporter.write_sidecar"])
def test_a_full_disk_leaves_nothing(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    full = OutputError.from_os(tmp_path / "out", OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(step, Mock(side_effect=full))
    with pytest.raises(OutputError, match="disk is full"):
        export_model(artefacts.checkpoint, tmp_path / "out", size=SIZE, samples=samples())
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_from_the_start_leaves_no_probe(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        path.touch()  # a name still fits, its content does not
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"tiny\.onnx: the disk is full"):
        export_model(artefacts.checkpoint, tmp_path / "out", size=SIZE, samples=samples())
    assert not (tmp_path / "out").exists()


def test_a_simplifier_that_is_not_installed_is_named_with_its_extra(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxsim", None)
    with pytest.raises(MissingExtraError, match=r"needs onnxsim.*pip install 'roadedge\[export\]'"):
        export_model(artefacts.checkpoint, tmp_path / "out", size=SIZE, samples=samples())
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_found_before_the_work(artefacts: Artefacts) -> None:
    with pytest.raises(OutputError, match=r"cannot write /dev/null/x/tiny\.onnx"):
        export_model(artefacts.checkpoint, "/dev/null/x", size=SIZE, samples=samples())


def test_weights_that_are_not_numbers_leave_nothing(tmp_path: Path) -> None:
    net = network()
    next(net.parameters()).data[0] = torch.nan
    save_network(tmp_path / "broken.pt", net, {})
    with pytest.raises(ExportError, match="NaN or infinite"):
        export_model(tmp_path / "broken.pt", tmp_path / "out", size=SIZE, samples=samples())
    assert not (tmp_path / "out").exists()


def test_masks_of_weights_that_were_never_trained_are_not_judged_and_the_sidecar_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(roadedge.export.parity.TOLERANCES, "fp32", Tolerance(1e-3, 1.1))  # no mask agrees that well
    save_network(tmp_path / "fresh.pt", network(), {"weights": FRESH})
    save_network(tmp_path / "trained.pt", network(), {"weights": "some"})
    done = export_model(tmp_path / "fresh.pt", tmp_path / "out", size=SIZE, samples=samples())
    found = read_sidecar(done.onnx)
    assert found is not None
    assert {table["masks"] for table in found[1]["parity"]} == {NOT_JUDGED}
    with pytest.raises(ExportError, match="of the mask"):
        export_model(tmp_path / "trained.pt", tmp_path / "out", size=SIZE, samples=samples())


def test_an_activation_beyond_float16_is_found_although_the_file_runs_here(tmp_path: Path) -> None:
    net = network()
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    norms[0].weight.data.mul_(1.5e4)  # 65504 is the largest float16; the next norm scales it down again
    norms[1].weight.data.div_(1.5e4)
    save_network(tmp_path / "large.pt", net, {})
    export_model(tmp_path / "large.pt", tmp_path / "out", size=SIZE, samples=samples())
    with pytest.raises(ExportError, match="torch fp16"):
        export_model(tmp_path / "large.pt", tmp_path / "out", "fp16", SIZE, samples=samples())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["large.onnx", "large.onnx.json"]


def test_a_free_size_runs_at_any_and_keeps_its_bounds(artefacts: Artefacts, tmp_path: Path) -> None:
    bounds = DynamicSize((32, 32), (64, 64), (96, 128))
    result = export_model(artefacts.checkpoint, tmp_path, dynamic=bounds, samples=samples())
    assert (result.spec.size, result.spec.batch) == (None, None)
    found = read_sidecar(result.onnx)
    assert found is not None
    assert found[1]["dynamic"] == {"smallest": [32, 32], "best": [64, 64], "largest": [96, 128]}
    with open_runner(result.onnx, "onnxruntime") as runner, open_runner(artefacts.checkpoint) as reference:
        for size in ((32, 32), (96, 128), (64, 160)):
            feeds = noise(2, size)
            got, want = runner.infer(feeds)["probability"], reference.infer(feeds)["probability"]
            assert np.abs(got.astype(int) - want).max() <= 1


def test_without_simplification_it_says_the_same(artefacts: Artefacts, tmp_path: Path) -> None:
    plain = export_model(artefacts.checkpoint, tmp_path, size=SIZE, simplify=False, samples=samples())
    assert len(onnx.load(plain.onnx).graph.node) > len(onnx.load(artefacts.fp32).graph.node)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": (100, 64)}, "multiples of 32"),
        ({"size": (0, 64)}, "multiples of 32"),
        ({"batch": 0}, "batch"),
        ({"opset": 5}, "opset"),
        ({"precision": "int3"}, "precision"),
        ({"fold": True}, "always folded"),
    ],
)
def test_options_that_do_not_go_are_usage_errors(
    artefacts: Artefacts, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        export_model(artefacts.checkpoint, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_what_is_no_checkpoint_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        export_model(tmp_path / "absent.pt", tmp_path / "out")


def test_sizes_are_written_height_first() -> None:
    assert parse_size("512x768") == (512, 768)
    assert parse_size("512") == (512, 512)
    assert parse_dynamic("256,512x768,1024") == DynamicSize((256, 256), (512, 768), (1024, 1024))


@pytest.mark.parametrize("text", ["", "x512", "512x", "-1", "0", "5.5", "512x512x3", "large"])
def test_other_sizes_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError, match="HEIGHTxWIDTH"):
        parse_size(text)


@pytest.mark.parametrize("text", ["512", "256,512", "512,256,1024", "256,512,500x1024"])
def test_other_bounds_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError, match="MIN,OPT,MAX"):
        parse_dynamic(text)


def test_a_run_is_named_after_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert target_path(Path("runs/train/x/best.pt"), "roadedge-s", "out", "fp32") == tmp_path / "out/roadedge-s.onnx"
    assert target_path(Path("mine.pt"), "roadedge-s", "out", "fp16") == tmp_path / "out/mine.fp16.onnx"
    first = target_path(Path("mine.pt"), "roadedge-s", None, "fp16")
    assert first == tmp_path / "runs/export/mine/mine.fp16.onnx"
    first.parent.mkdir(parents=True)
    first.touch()
    assert target_path(Path("mine.pt"), "roadedge-s", None, "fp16").parent == tmp_path / "runs/export/mine-2"
    assert target_path(Path("mine.pt"), "roadedge-s", None, "fp32").parent == first.parent


class Shared(RoadNet):
    """One convolution for two modalities, a private scale for each: what CMIPNet does a hundred times."""

    def __init__(self) -> None:
        super().__init__(ModelSpec("shared"))
        self.conv = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.scales = nn.Parameter(torch.rand(2, 1, 64, 1, 1) + 0.5)

    def forward(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        planes = [feeds[name].float().permute(0, 3, 1, 2)[:, :1] for name in self.spec.inputs]
        both = [self.conv(plane) * scale for plane, scale in zip(planes, (self.scales[0], self.scales[1]), strict=True)]
        return {"logits": (both[0] + both[1]).mean(1, keepdim=True)}


def test_a_network_with_a_choice_says_what_it_weighs_either_way(tmp_path: Path) -> None:
    from roadedge.export.exporter import _weight_bytes

    weights = _weight_bytes(create_model("cmipnet"), "fp32")
    assert 120e6 < weights["shared"] < 130e6 < 200e6 < weights["folded"]
    assert _weight_bytes(network(), "fp32") == {}


def test_a_shared_weight_is_stored_once(tmp_path: Path) -> None:
    model = write_graph(Shared().eval(), tmp_path / "shared.onnx", SIZE, 1)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 2
    assert len({node.input[1] for node in convolutions}) == 1
