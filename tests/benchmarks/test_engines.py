"""Builds for the GPU at hand: TF32 or not, a capability without a name, and a trial where there is no GPU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.nvidia.engines import Library, build, target_of, trial
from benchmarks.nvidia.onnx_files import made_fresh
from roadedge.errors import EnvironmentFault
from roadedge.runners.device import Device
from roadedge.spec import read_sidecar

REASON = "TensorRT for RTX is not installed"
HERE = Device("NVIDIA H200", "9.0", "580.159.04", "13.0")


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made_fresh("roadedge-n", tmp_path_factory.mktemp("onnx"), 64).onnx["fp16"]


def module() -> Any:
    kinds = SimpleNamespace(__members__={"SM80": 80, "CURRENT": 1, "NONE": 0}, CURRENT=1)
    return SimpleNamespace(ComputeCapability=kinds, __version__="11.4", Builder=object)


def test_the_library_is_the_module_but_for_the_gpu_at_hand() -> None:
    own = module()
    assert (Library(own).__version__, Library(own).Builder) == ("11.4", own.Builder)
    assert Library(own).ComputeCapability is own.ComputeCapability


def test_the_gpu_at_hand_can_be_asked_for_by_a_number_that_the_library_does_not_know() -> None:
    assert Library(module(), "9.0").ComputeCapability.__members__["SM90"] == 1
    assert "SM90" not in Library(module()).ComputeCapability.__members__


def test_a_gpu_that_no_target_names_gets_one_of_its_own() -> None:
    found = target_of("tensorrt", HERE)
    assert (found.name, found.compute_capabilities, found.runtime) == ("this-gpu", ("9.0",), "tensorrt")
    assert target_of("tensorrt", Device("NVIDIA GeForce RTX 4090", "8.9")).name == "desktop-rtx"
    assert target_of("tensorrt-rtx", HERE).name == "rtx"


@pytest.mark.parametrize("tf32", [False, True])
def test_an_engine_is_built_ahead_with_what_was_asked(half: str, tmp_path: Path, tf32: bool) -> None:
    pytest.importorskip("tensorrt_rtx", reason=REASON)
    made = build(half, "tensorrt-rtx", str(tmp_path), tf32=tf32, capabilities="8.9")
    assert made["compute_capabilities"] == ["8.9"]
    assert set(made["layers_by_precision"]) == {"fp16"}
    assert Path(made["engine"]).stat().st_size == made["engine_bytes"]
    assert made["tf32_allowed"] is tf32
    stated = read_sidecar(Path(made["engine"]))
    assert stated is not None
    assert stated[1]["engine"]["tf32"] is tf32


@pytest.mark.skipif(Device.here().compute_capability is not None, reason="a GPU is here")
def test_without_a_gpu_a_trial_says_how_far_it_came(half: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason=REASON)
    row = trial(half, str(tmp_path / "a"), "8.0")
    assert [row[name] for name in ("built", "loads", "runs")] == [True, False, False]
    assert row["why"].startswith("nothing can be run: there is no NVIDIA driver here")
    row = trial(half, str(tmp_path / "b"), "current")
    assert not row["built"]
    assert row["why"].startswith("CURRENT asks for a GPU")


def test_a_trial_of_an_unknown_capability_is_one_sentence(half: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason=REASON)
    assert "got 9.0" in trial(half, str(tmp_path), "9.0")["why"]


def test_tensorrt_that_is_not_here_is_a_fault_of_the_environment(half: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="tensorrt"):
        build(half, "tensorrt", str(tmp_path))
