"""Entries of a Triton model repository."""

from __future__ import annotations

import errno
from pathlib import Path
from unittest.mock import Mock

import pytest

from roadedge.errors import ModelFileError, OutputError, UsageError
from roadedge.export.engine import build_engine
from roadedge.export.engine_order import BuildOptions
from roadedge.export.targets import read_target
from roadedge.export.triton import config_text, write_entry
from roadedge.runners.device import Device
from roadedge.runners.face import Port
from roadedge.spec import read_sidecar, sha256_of
from tests.export.artefacts import Artefacts
from tests.export.fake_tensorrt import Fake

NANO = Device("Orin", "8.7", "540.4.0", "12.6", "6.2", "10.3.0")
CONFIG = """name: "tiny_fp16"
backend: "onnxruntime"
platform: "onnxruntime_onnx"
default_model_filename: "model.onnx"
max_batch_size: 0
input [
  { name: "image" data_type: TYPE_UINT8 dims: [ 1, 64, 64, 3 ] },
  { name: "trajectory" data_type: TYPE_UINT8 dims: [ 1, 64, 64, 1 ] }
]
output [
  { name: "probability" data_type: TYPE_UINT8 dims: [ 1, 64, 64 ] },
  { name: "logits" data_type: TYPE_FP32 dims: [ 1, 1, 64, 64 ] }
]
instance_group [ { count: 1 kind: KIND_AUTO } ]
"""


def engine(artefacts: Artefacts, folder: Path) -> Path:
    options = BuildOptions(check=False)
    target = read_target("jetson-orin-nano")
    return build_engine(artefacts.fp16, target, folder, options, False, Fake(), NANO).engine


def test_an_onnx_file_is_served_by_onnx_runtime(artefacts: Artefacts, tmp_path: Path) -> None:
    entry = write_entry(artefacts.fp16, tmp_path / "models")
    assert entry == tmp_path / "models" / "tiny_fp16"
    assert (entry / "config.pbtxt").read_text() == CONFIG
    assert sha256_of(entry / "1" / "model.onnx") == sha256_of(artefacts.fp16)
    assert sorted(path.name for path in entry.parent.iterdir()) == ["tiny_fp16"]


def test_an_engine_is_served_raw_with_its_sidecar(artefacts: Artefacts, tmp_path: Path) -> None:
    made = engine(artefacts, tmp_path)
    entry = write_entry(made, tmp_path / "models", instances=2)
    text = (entry / "config.pbtxt").read_text()
    assert 'platform: "tensorrt_plan"' in text
    assert "count: 2 kind: KIND_GPU" in text
    plan = entry / "1" / "model.plan"
    assert plan.read_bytes() == made.read_bytes()
    assert read_sidecar(plan) == read_sidecar(made)


def test_a_free_side_is_minus_one() -> None:
    text = config_text("net", ".onnx", [Port("image", (None, None, None, 3), "uint8")], [])
    assert "dims: [ -1, -1, -1, 3 ]" in text


def test_what_is_in_the_way_stays_unless_told(artefacts: Artefacts, tmp_path: Path) -> None:
    entry = write_entry(artefacts.fp16, tmp_path)
    (entry / "config.pbtxt").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        write_entry(artefacts.fp16, tmp_path)
    assert (entry / "config.pbtxt").read_text() == "mine"
    write_entry(artefacts.fp16, tmp_path, overwrite=True)
    assert (entry / "config.pbtxt").read_text() == CONFIG


def test_a_full_disk_leaves_nothing(artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("roadedge.export.triton.shutil.copyfile", Mock(side_effect=full))
    with pytest.raises(OutputError, match="disk is full"):
        write_entry(artefacts.fp16, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_what_triton_does_not_serve_is_said(artefacts: Artefacts, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="an engine or an ONNX file"):
        write_entry(artefacts.checkpoint, tmp_path)
    with pytest.raises(UsageError, match="at least one instance"):
        write_entry(artefacts.fp16, tmp_path, instances=0)
    lone = tmp_path / "lone.engine"
    lone.write_bytes(b"engine")
    with pytest.raises(ModelFileError, match="no sidecar of an engine"):
        write_entry(lone, tmp_path)
    with pytest.raises(ModelFileError, match="image is float64"):
        config_text("net", ".onnx", [Port("image", (1, 8, 8, 3), "float64")], [])


def test_an_engine_of_the_rtx_kind_is_not_served(artefacts: Artefacts, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    made = build_engine(artefacts.fp16, read_target("rtx"), tmp_path, BuildOptions(("8.6",)), False, None, Device())
    with pytest.raises(UsageError, match="serve its ONNX file"):
        write_entry(made.engine, tmp_path / "models")
