"""Engines on this machine, through the same doors as a user: real bytes of TensorRT for RTX, and no GPU behind them."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from roadedge.cli import main
from roadedge.errors import EngineIncompatibleError, EnvironmentFault, MissingExtraError, UsageError
from roadedge.runners import engine_runner, open_runner
from roadedge.runners.base import Requested
from roadedge.runners.device import Device
from roadedge.runners.device_memory import DeviceMemory
from roadedge.runners.engine_facts import ENGINE_KEY, EngineFacts
from roadedge.runners.engine_file import read_engine
from roadedge.runners.engine_runner import TensorRtRunner, open_engine
from roadedge.runners.face import Port
from roadedge.spec import read_sidecar, sha256_of, write_sidecar
from tests.export.artefacts import SIZE, Artefacts, noise
from tests.runners.fake_gpu import (
    ORIN,
    FakeContext,
    FakeEngine,
    FakeLogger,
    FakeMemory,
    FakeRuntime,
    Gpu,
    expected,
    fake_module,
    frames,
    tensors,
    write_engine,
)

HAS_GPU = Device.here().gpu is not None
no_gpu = pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU; what is said without one cannot be tested")
ROOT = Path(__file__).parents[2]
LISTINGS = ROOT / "tests" / "export" / "tensorrt_api"


@pytest.fixture(scope="module")
def tensorrt() -> ModuleType:
    module: ModuleType = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    return module


@pytest.fixture(scope="module")
def engine(tensorrt: ModuleType, artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real engine of the small network for SM 8.6, with its sidecar."""
    path = tmp_path_factory.mktemp("engine") / "tiny.rtx.engine"
    path.write_bytes(plan(tensorrt, artefacts.fp32))
    stated = read_sidecar(artefacts.fp32)
    assert stated is not None
    shape = (1, *SIZE)
    facts = EngineFacts(
        "tensorrt-rtx", tensorrt.__version__, ("8.6",), sha256_of(path), artefacts.fp32.name,
        sha256_of(artefacts.fp32), "fp32", "fp32", {"fp32": 30},
        (Port("image", (*shape, 3), "uint8"), Port("trajectory", (*shape, 1), "uint8")),
        (Port("probability", shape, "uint8"), Port("logits", (1, *shape), "float32")),
        target="rtx", skipped_tactics=2, engine_bytes=path.stat().st_size,
    )  # fmt: skip
    write_sidecar(path, stated[0], {**stated[1], ENGINE_KEY: facts.to_dict()})
    return path


def plan(trt: ModuleType, onnx: Path) -> bytes:
    log = trt.Logger(trt.Logger.ERROR)  # logger, builder and network must outlive the parser
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    assert parser.parse_from_file(str(onnx))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    return bytes(builder.build_serialized_network(network, config))


# A real engine where there is no GPU


@no_gpu
def test_an_engine_without_a_driver_is_exit_3_and_no_cpu_run(engine: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EnvironmentFault, match="runs on an NVIDIA GPU, and there is no NVIDIA driver here") as caught:
        open_runner(engine)
    assert caught.value.exit_code == 3
    assert capfd.readouterr() == ("", "")  # TensorRT itself was not asked, and says nothing


@no_gpu
def test_a_runtime_that_gives_nothing_back_is_exit_4_and_leaks_nothing(engine: Path, tensorrt: ModuleType) -> None:
    # With the checks out of the way TensorRT itself answers None: a driver that is too old looks the same.
    gpu, here = Gpu(), Device("NVIDIA RTX A2000", "8.6", tensorrt_rtx=tensorrt.__version__)
    with pytest.raises(EngineIncompatibleError) as caught:
        TensorRtRunner(read_engine(engine), Requested(), here, tensorrt, lambda: FakeMemory(gpu))
    said = str(caught.value)
    assert "TensorRT for RTX does not take it" in said
    assert "CUDA driver" in said
    assert "--target rtx --compute-capability 8.6 -o" in said
    assert not gpu.live


def test_the_real_runtime_refuses_bytes_that_are_no_engine(tensorrt: ModuleType, tmp_path: Path) -> None:
    gpu, here = Gpu(), Device("NVIDIA RTX A2000", "8.7", tensorrt_rtx=tensorrt.__version__)
    broken = write_engine(tmp_path, b"\0" * 5000, runtime="tensorrt-rtx", runtime_version=tensorrt.__version__)
    with pytest.raises(EngineIncompatibleError, match="does not take it"):
        TensorRtRunner(broken, Requested(), here, tensorrt, lambda: FakeMemory(gpu))
    assert not gpu.live


def test_a_real_engine_is_not_mistaken_for_a_foreign_file(engine: Path) -> None:
    assert read_engine(engine).facts.runtime == "tensorrt-rtx"


@no_gpu
def test_a_cut_engine_ends_the_command_with_4_and_the_command_to_type(
    engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / engine.name
    cut.write_bytes(engine.read_bytes()[:-100])
    Path(f"{cut}.json").write_bytes(Path(f"{engine}.json").read_bytes())
    for command in (["info", str(cut)], ["infer", str(cut), "synth:64x64@1"]):
        assert main(command) == 4
        assert f"roadedge build {tmp_path}/tiny.onnx --target rtx --compute-capability 8.6" in capsys.readouterr().err


def test_the_sentence_is_the_same_in_a_process_of_its_own(engine: Path) -> None:
    if HAS_GPU:
        pytest.skip("this machine has a GPU")
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "infer", str(engine), "synth:64x64@1", "--backend", "tensorrt-rtx"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")  # no segmentation fault, which would be negative
    assert done.stderr.count("\n") == 1


# Back-ends


def test_tensorrt_that_is_not_installed_is_exit_3_and_nothing_else_runs(
    artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    for model in (artefacts.fp32, artefacts.checkpoint, "roadedge-s"):
        with pytest.raises(MissingExtraError, match=r"pip install 'roadedge\[tensorrt\]'") as caught:
            open_runner(model, "tensorrt")
        assert caught.value.exit_code == 3


def test_an_onnx_file_is_to_be_built_first(artefacts: Artefacts, tensorrt: ModuleType) -> None:
    with pytest.raises(UsageError, match=rf"build an engine first, .*: roadedge build {artefacts.fp32} --target rtx"):
        open_runner(artefacts.fp32, "tensorrt-rtx")


def test_an_engine_is_not_run_by_onnxruntime(engine: Path) -> None:
    with pytest.raises(UsageError, match=r"onnxruntime runs .onnx files, got .*leave --backend out for an engine"):
        open_runner(engine, "onnxruntime")


def test_an_engine_of_the_other_tensorrt_names_its_own(engine: Path) -> None:
    with pytest.raises(UsageError, match="engine of TensorRT for RTX; give --backend tensorrt-rtx, or leave"):
        open_engine(engine, Requested("tensorrt"))


def test_an_engine_takes_no_threads(engine: Path) -> None:
    with pytest.raises(UsageError, match="leave --threads out"):
        open_engine(engine, Requested(threads=2))


# Through the front door, with a GPU of make-believe behind it


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """A machine with the fake GPU and the fake TensorRT."""
    gpu, here = Gpu(), ORIN
    monkeypatch.setattr(Device, "here", classmethod(lambda cls: here))
    monkeypatch.setattr(engine_runner, "runtime_module", lambda runtime: fake_module(gpu, tensors()))
    monkeypatch.setattr(engine_runner, "open_memory", lambda cuda: FakeMemory(gpu))
    return gpu


@pytest.mark.parametrize("backend", ["auto", "tensorrt"])
def test_an_engine_is_opened_like_any_model(gpu: Gpu, tmp_path: Path, backend: str) -> None:
    engine = write_engine(tmp_path)
    with open_runner(engine.path, backend) as runner:
        assert (runner.infer(frames(2))["probability"] == expected(frames(2))).all()
        assert (runner.name, runner.requested.backend) == ("tensorrt", backend)
    assert not gpu.live


def test_info_says_that_it_loads(gpu: Gpu, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(write_engine(tmp_path).path)]) == 0
    assert (
        "loads here: tensorrt 10.3.0, Orin (compute capability 8.7), computes in int8+fp16" in capsys.readouterr().out
    )
    assert not gpu.live


def test_infer_records_what_was_asked_and_what_ran(
    gpu: Gpu, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = write_engine(tmp_path)
    command = ["infer", str(engine.path), "synth:96x64@20", "--max-frames", "3", "-o", str(tmp_path / "run"), "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runner"]["backend"] == "tensorrt"
    assert told["runner"]["requested"]["backend"] == "auto"
    assert told["runner"]["device"] == "Orin (compute capability 8.7)"
    assert not gpu.live


# `roadedge info`


@no_gpu
def test_info_says_what_an_engine_holds_and_why_it_would_not_load(
    engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(engine)]) == 0
    said = capsys.readouterr().out
    assert "engine of TensorRT for RTX 1." in said
    assert "for compute capability 8.6" in said
    assert "asked for fp32, computes in fp32; layers: 30 fp32" in said
    assert "tactics skipped for want of memory: 2" in said
    assert "does not load here: tensorrt-rtx: tiny.rtx.engine runs on an NVIDIA GPU, and there is no NVIDIA" in said
    assert main(["info", str(engine), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["engine"]["compute_capabilities"] == ["8.6"]
    assert found["loads"] == {"tensorrt-rtx": {"yes": False, "why": found["loads"]["tensorrt-rtx"]["why"]}}


def test_info_of_an_engine_needs_no_tensorrt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    profile = {"image": ((1, 32, 32, 3), (1, 64, 64, 3), (2, 128, 128, 3))}
    engine = write_engine(tmp_path, profiles=(profile,), fallback_layers=("Resize_12",))
    assert main(["info", str(engine.path)]) == 0
    said = capsys.readouterr().out
    assert "engine of TensorRT 10.3.0 for compute capability 8.7; built on Orin, JetPack 6.2" in said
    assert "image: (1, 32, 32, 3) to (2, 128, 128, 3), best (1, 64, 64, 3)" in said
    assert "layers left by DLA to the GPU (1): Resize_12" in said
    assert "does not load here: tensorrt: the TensorRT back-end needs tensorrt, which is not installed" in said


def test_info_says_that_another_tensorrt_would_not_load_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = write_engine(tmp_path)
    here = Device("NVIDIA L4", "8.9", tensorrt="11.4.0.106")
    monkeypatch.setattr(Device, "here", classmethod(lambda cls: here))
    assert main(["info", str(engine.path)]) == 0
    said = capsys.readouterr().out
    assert "it was built by TensorRT 10.3.0, here is 11.4.0.106; it was built for compute capability 8.7" in said
    assert "build it again (after copying road.int8-fp16.onnx, which is not beside it): roadedge build" in said


def test_info_of_a_file_that_is_no_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.engine").write_text("hello")
    assert main(["info", str(tmp_path / "x.engine")]) == 8
    assert "it is a text file" in capsys.readouterr().err


# The fakes of the other tests hold nothing that TensorRT does not (complaint 7: what a major removes is not touched)


@pytest.mark.parametrize("listing", sorted(LISTINGS.glob("*.json")), ids=lambda path: path.stem)
def test_the_fake_has_no_name_that_is_not_real(listing: Path) -> None:
    real = json.loads(listing.read_text())["classes"]
    for fake, name in ((FakeRuntime, "Runtime"), (FakeEngine, "ICudaEngine"), (FakeContext, "IExecutionContext")):
        offered = {name for name in vars(fake) if not name.startswith("_")}
        assert not offered - set(real[name]), name
    assert {"ILogger", "Runtime"} <= set(real[""])
    assert not [name for name in vars(FakeLogger) if not name.startswith("__")]


def test_the_fake_memory_offers_what_the_interface_does() -> None:
    interface = {name for name in vars(DeviceMemory) if not name.startswith("_")}
    assert {name for name in vars(FakeMemory) if not name.startswith("_")} == interface | {"name", "call"}


def test_the_types_of_the_border_have_numpys_names(tensorrt: ModuleType) -> None:
    from roadedge.runners.tensorrt import TYPES

    for name, numpys in TYPES.items():
        assert np.dtype(tensorrt.nptype(getattr(tensorrt.DataType, name))) == np.dtype(numpys)


@pytest.mark.gpu
def test_a_gpu_says_what_the_cpu_says(engine: Path, artefacts: Artefacts) -> None:
    if not HAS_GPU:
        pytest.skip("no NVIDIA GPU on this machine")
    with warnings.catch_warnings(), open_runner(artefacts.fp32) as reference, open_runner(engine) as runner:
        want, got = reference.infer(noise(3)), runner.infer(noise(3))
    assert np.abs(got["probability"].astype(int) - want["probability"]).max() <= 2
