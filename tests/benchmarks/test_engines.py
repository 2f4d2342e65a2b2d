"""Builds for the GPU at hand: without TF32, for a capability without a name, and a trial where there is no GPU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.nvidia.engines import Library, build, target_of, trial
from benchmarks.nvidia.onnx_files import made_fresh
from roadedge.errors import EnvironmentFault
from roadedge.runners.device import Device

REASON = "TensorRT for RTX is not installed"
HERE = Device("NVIDIA H200", "9.0", "580.159.04", "13.0")


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made_fresh("roadedge-n", tmp_path_factory.mktemp("onnx"), 64).onnx["fp16"]


def module(**more: Any) -> Any:
    flags = {"TF32"}
    config = SimpleNamespace(flags=flags, clear_flag=flags.remove)
    builder = SimpleNamespace(create_builder_config=lambda: config, num_DLA_cores=0)
    kinds = SimpleNamespace(__members__={"SM80": 80, "CURRENT": 1, "NONE": 0}, CURRENT=1)
    own = {"Builder": lambda log: builder, "BuilderFlag": SimpleNamespace(TF32="TF32"), "ComputeCapability": kinds}
    return SimpleNamespace(**own, __version__="11.4", config=config, **more)


def test_tf32_is_taken_from_the_builder_where_it_is_asked_for() -> None:
    allowed, refused = module(), module()
    Library(allowed, tf32=True).Builder(None).create_builder_config()
    made = Library(refused, tf32=False).Builder(None)
    assert made.create_builder_config() is refused.config
    assert (allowed.config.flags, refused.config.flags, made.num_DLA_cores) == ({"TF32"}, set(), 0)
    assert Library(refused, tf32=False).__version__ == "11.4"


def test_no_builder_stays_none() -> None:
    broken = SimpleNamespace(Builder=lambda log: None)
    assert Library(broken, tf32=False).Builder(None) is None


def test_the_gpu_at_hand_can_be_asked_for_by_a_number_that_the_library_does_not_know() -> None:
    assert Library(module(), True, "9.0").ComputeCapability.__members__["SM90"] == 1
    assert "SM90" not in Library(module(), True).ComputeCapability.__members__


def test_a_gpu_that_no_target_names_gets_one_of_its_own() -> None:
    found = target_of("tensorrt", HERE)
    assert (found.name, found.compute_capabilities, found.runtime) == ("this-gpu", ("9.0",), "tensorrt")
    assert target_of("tensorrt", Device("NVIDIA GeForce RTX 4090", "8.9")).name == "desktop-rtx"
    assert target_of("tensorrt-rtx", HERE).name == "rtx"


def test_real_configurations_allow_tf32_until_it_is_taken_away() -> None:
    real = pytest.importorskip("tensorrt_rtx", reason=REASON)
    log = real.Logger(real.Logger.ERROR)
    for tf32 in (True, False):
        builder = Library(real, tf32).Builder(log)
        assert builder.create_builder_config().get_flag(real.BuilderFlag.TF32) is tf32


def test_an_engine_is_built_ahead_with_what_was_asked(half: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason=REASON)
    made = build(half, "tensorrt-rtx", str(tmp_path), tf32=False, capabilities="8.9")
    assert made["compute_capabilities"] == ["8.9"]
    assert set(made["layers_by_precision"]) == {"fp16"}
    assert Path(made["engine"]).stat().st_size == made["engine_bytes"]
    assert not made["tf32_allowed"]


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
