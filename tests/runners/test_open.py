"""Loading: which back-end, which precision, and files that are not what they seem."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pickle
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

import roadedge.runners
from roadedge.errors import (
    BackendMismatchError,
    MissingExtraError,
    ModelFileError,
    UnknownNameError,
    UsageError,
)
from roadedge.models.checkpoint import save_network
from roadedge.runners import ResearchOnlyWarning, open_runner
from roadedge.runners.base import check_precision, precision_of
from tests.export.artefacts import Artefacts, network


def test_auto_takes_openvino_where_it_is_installed(artefacts: Artefacts) -> None:
    pytest.importorskip("openvino")
    with open_runner(artefacts.fp32) as runner:
        assert (runner.name, runner.requested.backend) == ("openvino", "auto")


def test_auto_takes_onnxruntime_where_openvino_is_not(artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else there(name))
    with open_runner(artefacts.fp32) as runner:
        assert runner.name == "onnxruntime"


def test_a_checkpoint_runs_in_torch(artefacts: Artefacts) -> None:
    with open_runner(artefacts.checkpoint) as runner:
        assert runner.name == "torch"
        assert runner.provenance == {"recipe": "random weights"}


def test_a_backend_that_does_not_exist_is_named(artefacts: Artefacts) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'openvino'"):
        open_runner(artefacts.fp32, "openvin")


def test_a_checkpoint_is_not_run_by_onnxruntime(artefacts: Artefacts) -> None:
    with pytest.raises(UsageError, match="roadedge export"):
        open_runner(artefacts.checkpoint, "onnxruntime")


def test_no_threads_is_no_count(artefacts: Artefacts) -> None:
    with pytest.raises(UsageError, match="threads"):
        open_runner(artefacts.fp32, threads=0)


def test_openvino_that_is_not_installed_names_its_extra(artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"roadedge\[openvino\]"):
        open_runner(artefacts.fp32, "openvino")


def test_openvino_computes_in_fp32_unless_asked(artefacts: Artefacts) -> None:
    pytest.importorskip("openvino")
    with open_runner(artefacts.fp16, "openvino") as runner:
        assert (runner.precision, runner.graph_precision) == ("fp32", "fp16")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_openvino_computes_in_what_was_asked_or_refuses(artefacts: Artefacts, precision: str) -> None:
    openvino = pytest.importorskip("openvino")
    able = {"bf16": "BF16", "fp16": "FP16"}[precision] in openvino.Core().get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    )
    if not able:
        with pytest.raises(BackendMismatchError, match=f"asked for {precision}"):
            open_runner(artefacts.fp32, "openvino", precision)
        return
    with open_runner(artefacts.fp32, "openvino", precision) as runner:
        assert runner.precision.split("+")[0] == precision


def test_onnxruntime_says_what_it_computes_an_fp16_graph_in(artefacts: Artefacts) -> None:
    with open_runner(artefacts.fp16, "onnxruntime") as runner:
        runs = runner.precision
        assert runner.graph_precision == "fp16"
    if runs == "fp16":  # a processor with half-precision kernels
        open_runner(artefacts.fp16, "onnxruntime", "fp16").close()
        return
    assert runs == "fp32"
    with pytest.raises(BackendMismatchError, match="fp16 was asked for"):
        open_runner(artefacts.fp16, "onnxruntime", "fp16")


def test_torch_does_not_pretend_to_another_precision(artefacts: Artefacts) -> None:
    with pytest.raises(BackendMismatchError, match="fp16 was asked for"):
        open_runner(artefacts.checkpoint, precision="fp16")


def test_a_mixture_is_called_by_its_larger_part_first() -> None:
    assert precision_of(Counter(fp32=2, int8=40)) == "int8+fp32"
    check_precision("int8", "int8+fp32", "x", "y")
    with pytest.raises(BackendMismatchError):
        check_precision("fp32", "int8+fp32", "x", "y")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("content", [b"", b"not a graph", None], ids=["empty", "garbage", "cut off"])
def test_a_file_that_is_no_graph_is_refused(
    artefacts: Artefacts, tmp_path: Path, content: bytes | None, backend: str
) -> None:
    pytest.importorskip(backend)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(artefacts.fp32.read_bytes()[:-5000] if content is None else content)
    with pytest.raises(ModelFileError, match="broken"):
        open_runner(broken, backend)


def test_a_sidecar_of_other_bytes_is_refused(artefacts: Artefacts, tmp_path: Path) -> None:
    model = tmp_path / "swapped.onnx"
    shutil.copy(artefacts.fp32, model)
    shutil.copy(f"{artefacts.fp16}.json", f"{model}.json")
    with pytest.raises(ModelFileError, match="other bytes"):
        open_runner(model)


class Trap:
    """Unpickled by the book, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path, how: str) -> None:
    sprung, model = tmp_path / "sprung", tmp_path / "trap.pt"
    if how == "torch":
        torch.save({"spec": Trap(sprung)}, model)
    else:
        model.write_bytes(pickle.dumps({"spec": Trap(sprung)}))
    with pytest.raises(ModelFileError):
        open_runner(model)
    assert not sprung.exists()


@pytest.mark.parametrize("cut", [0, 100, -1000])
def test_a_checkpoint_that_was_cut_off_is_refused(artefacts: Artefacts, tmp_path: Path, cut: int) -> None:
    model = tmp_path / "cut.pt"
    model.write_bytes(artefacts.checkpoint.read_bytes()[:cut])
    with pytest.raises(ModelFileError):
        open_runner(model)


def test_weights_of_somebody_else_are_refused(tmp_path: Path) -> None:
    model = tmp_path / "resnet.pt"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, model)
    with pytest.raises(ModelFileError, match="not a roadedge checkpoint"):
        open_runner(model)


def test_a_network_that_is_not_known_here_is_refused(artefacts: Artefacts, tmp_path: Path) -> None:
    content = torch.load(artefacts.checkpoint, weights_only=True)
    content["spec"]["name"] = "roadedge-xxl"
    torch.save(content, tmp_path / "new.pt")
    with pytest.raises(ModelFileError, match="roadedge-xxl"):
        open_runner(tmp_path / "new.pt")


def test_research_only_is_said_once(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    net = network()
    net.spec = dataclasses.replace(net.spec, licence="research-only")
    save_network(tmp_path / "mine.pt", net, {})
    with pytest.warns(ResearchOnlyWarning, match="mine is research-only"):
        open_runner(tmp_path / "mine.pt").close()
    recwarn.clear()
    open_runner(tmp_path / "mine.pt").close()
    assert len(recwarn) == 0


def test_each_backend_has_its_kind_of_file() -> None:
    assert roadedge.runners.BACKENDS == {
        "torch": ".pt",
        "onnxruntime": ".onnx",
        "openvino": ".onnx",
        "tensorrt": ".engine",
        "tensorrt-rtx": ".engine",
    }
