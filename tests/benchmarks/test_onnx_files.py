"""Which weights are measured, in which precisions, and what is said of those that were made for the occasion."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import onnx
import pytest

from benchmarks.nvidia import onnx_files
from benchmarks.nvidia.onnx_files import Files, carried, made_fresh, prepare, with_int8
from roadedge.calibration.emissions import compare_scales
from roadedge.spec import ModelSpec, read_sidecar, sidecar_path, write_sidecar

SPEC = ModelSpec("roadedge-n", size=(64, 64), batch=1)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return made_fresh("roadedge-n", tmp_path_factory.mktemp("fresh"), 64)


def placed(folder: Path, name: str, spec: ModelSpec = SPEC) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(name.encode())
    write_sidecar(folder / name, spec, {})


def test_the_weights_that_come_in_most_precisions_are_taken(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx", "b.fp16.onnx", "b.int8-fp16.onnx", "b.pt"):
        placed(tmp_path / "here", name)
    placed(tmp_path / "here", "c.onnx", dataclasses.replace(SPEC, name="roadedge-m"))
    found = carried("roadedge-n", [tmp_path / "here"])
    assert found is not None
    assert (found.weights, found.fresh, found.calibrated) == ("b", False, True)
    assert {precision: Path(path).name for precision, path in found.onnx.items()} == {
        "fp32": "b.onnx",
        "fp16": "b.fp16.onnx",
        "int8-fp16": "b.int8-fp16.onnx",
    }
    assert found.checkpoint == str(tmp_path / "here" / "b.pt")


def test_of_equals_the_first_place_counts(tmp_path: Path) -> None:
    placed(tmp_path / "first", "a.onnx")
    placed(tmp_path / "second", "b.onnx")
    found = carried("roadedge-n", [tmp_path / "first", tmp_path / "second"])
    assert found is not None
    assert found.weights == "a"


def test_a_file_that_its_sidecar_does_not_describe_is_left_out_and_named(tmp_path: Path) -> None:
    placed(tmp_path / "here", "a.onnx")
    placed(tmp_path / "here", "a.fp16.onnx")
    (tmp_path / "here" / "a.fp16.onnx").write_bytes(b"changed")
    found = carried("roadedge-n", [tmp_path / "here"])
    assert found is not None
    assert list(found.onnx) == ["fp32"]
    assert "describes other bytes" in found.missing["fp16"]


def test_fresh_weights_are_called_fresh_and_come_back_from_a_prepared_folder(fresh: Files) -> None:
    assert (fresh.weights, fresh.calibrated, fresh.missing) == ("fresh", True, {})
    again = carried("roadedge-n", [Path(fresh.onnx["fp32"]).parent])
    assert again is not None
    assert (again.weights, again.checkpoint, again.onnx.keys()) == ("fresh", fresh.checkpoint, fresh.onnx.keys())


def test_without_calibrated_scales_int8_is_made_for_its_time_alone(fresh: Files, tmp_path: Path) -> None:
    made = with_int8(fresh, tmp_path)
    assert not made.calibrated
    path = made.onnx["int8-fp16"]
    stated = read_sidecar(path)
    assert stated is not None
    assert stated[1]["scales"] == "constant"
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(path).graph.node)
    for name in ("roadedge-n.onnx", "roadedge-n.fp16.onnx"):  # as --prepare leaves them
        shutil.copy(Path(fresh.onnx["fp32"]).with_name(name), tmp_path)
        shutil.copy(sidecar_path(Path(fresh.onnx["fp32"]).with_name(name)), tmp_path)
    found = carried("roadedge-n", [tmp_path])
    assert found is not None
    assert not found.calibrated


def test_calibrated_scales_for_cpus_are_kept_for_gpus(fresh: Files, tmp_path: Path) -> None:
    from benchmarks.nvidia.onnx_files import _with_constant_scales

    quantized = tmp_path / "trained.int8.onnx"
    onnx.save(_with_constant_scales(onnx.load(fresh.onnx["fp32"])), quantized)
    write_sidecar(quantized, SPEC, {})
    made = with_int8(dataclasses.replace(fresh, onnx=fresh.onnx | {"int8": str(quantized)}), tmp_path)
    assert made.calibrated
    assert Path(made.onnx["int8-fp16"]).name == "trained.int8-fp16.onnx"
    assert compare_scales(onnx.load(quantized), onnx.load(made.onnx["int8-fp16"])) == []


def test_without_weights_and_torch_the_reason_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(onnx_files, "folders", list)
    monkeypatch.setattr(onnx_files, "_torch_here", lambda: False)
    found = prepare("cmipnet", str(tmp_path), 64)
    assert found["onnx"] == {}
    assert all("need torch" in why for why in found["missing"].values())
