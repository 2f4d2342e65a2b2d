"""Before an engine is loaded: is it one, is it this one, and was it built for this machine?"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import shlex
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadedge.errors import EngineIncompatibleError, EnvironmentFault, MissingExtraError, ModelFileError
from roadedge.runners.device import Device, driver_version, jetpack_version, named
from roadedge.runners.engine_facts import (
    EngineFacts,
    Range,
    mismatches,
    parsed,
    rebuild_command,
    remarks,
    same_version,
)
from roadedge.runners.engine_file import check_here, read_engine
from roadedge.spec import sidecar_path
from tests.runners.fake_gpu import ORIN, PLAN, Gpu, facts_of, fake_module, open_fake, tensors, write_engine


@pytest.fixture
def facts(tmp_path: Path) -> EngineFacts:
    (tmp_path / "road.engine").write_bytes(PLAN)
    return facts_of(tmp_path / "road.engine")


# Versions


@pytest.mark.parametrize(
    ("built", "here", "same"),
    [
        ("10.3.0", "10.3.0", True),
        ("10.3.0", "10.3.0.26", True),  # JetPack's module leaves the build out
        ("10.3", "10.3.0", True),
        ("8.6.2", "8.6.2.3", True),
        ("10.3.0", "10.3.1", False),
        ("10.3.0", "10.16.1.11", False),
        ("10.16.1.11", "10.16.1.12", False),
        ("9.0.0", "10.0.0", False),
        ("10.3.0", "1.03.0", False),
        ("10.3.0rc1", "10.3.0", True),
    ],
)
def test_versions_are_compared_number_by_number(built: str, here: str, same: bool) -> None:
    assert same_version(built, here) is same
    assert same_version(here, built) is same


def test_ten_is_later_than_eight() -> None:
    assert parsed("10.3.0") > parsed("8.6.2")


@pytest.mark.parametrize("text", ["", "ten", "10", ".10.3", None])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ModelFileError, match="numbers with points"):
        parsed(text)


# Facts


def test_facts_survive_their_sidecar(facts: EngineFacts) -> None:
    profile: dict[str, Range] = {"image": ((1, 32, 32, 3), (1, 64, 64, 3), (2, 128, 128, 3))}
    full = dataclasses.replace(facts, profiles=(profile,), fallback_layers=("a", "b"), skipped_tactics=3, dla=True)
    assert EngineFacts.from_dict(json.loads(json.dumps(full.to_dict()))) == full


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"runtime": "tflite"}, "is one of"),
        ({"runtime_version": "new"}, "numbers with points"),
        ({"compute_capabilities": []}, "compute_capabilities are empty"),
        ({"layers_by_precision": ["fp16"]}, "layers_by_precision is of type dict"),
        ({"skipped_tactics": "few"}, "skipped_tactics is of type int"),
        ({"build_arguments": "--batch 2"}, "build_arguments is of type tuple"),
        ({"gpu": 3}, "gpu is of type str, or none"),
        ({"tf32": "off"}, "tf32 is of type bool, or none"),
        ({"compute_capabilities": [8.7, "x"]}, "numbers with points"),
        ({"onnx": "../road.onnx"}, "name of a file beside it"),
        ({"schema_version": 9}, "schema version 9"),
        ({"horsepower": 3}, "horsepower"),
        ({"inputs": [{"name": "image"}]}, "cannot be read"),
        ({"profiles": [3]}, "cannot be read"),
        ({"onnx": None}, "onnx is of type str"),
        ({"compute_capabilities": "8.7"}, "compute_capabilities"),
    ],
)
def test_facts_that_are_none_are_refused(facts: EngineFacts, change: dict[str, object], said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        EngineFacts.from_dict({**json.loads(json.dumps(facts.to_dict())), **change})


def test_facts_of_a_build_that_did_not_ask_about_tf32_are_read(facts: EngineFacts) -> None:
    values = facts.to_dict()
    del values["tf32"]
    assert EngineFacts.from_dict(values).tf32 is None


def test_facts_without_a_key_are_refused(facts: EngineFacts) -> None:
    values = facts.to_dict()
    del values["onnx_sha256"]
    with pytest.raises(ModelFileError, match="onnx_sha256"):
        EngineFacts.from_dict(values)


# This machine against the engine's (complaints 1 and 2)


def test_the_machine_that_it_was_built_on_takes_it(facts: EngineFacts) -> None:
    assert mismatches(facts, ORIN) == []


def test_an_engine_moved_to_another_gpu_is_refused(facts: EngineFacts) -> None:
    desktop = Device("NVIDIA GeForce RTX 4090", "8.9", "580.65", "13.0", tensorrt="10.3.0")
    assert mismatches(facts, desktop) == [
        "it was built for compute capability 8.7, the NVIDIA GeForce RTX 4090 here has 8.9"
    ]


def test_another_board_of_the_same_generation_is_refused(facts: EngineFacts) -> None:
    assert mismatches(facts, dataclasses.replace(ORIN, gpu="Orin (NVIDIA Jetson AGX Orin)")) == [
        "it was built on Orin, here is Orin (NVIDIA Jetson AGX Orin)"
    ]


def test_an_engine_of_another_jetpack_is_refused(facts: EngineFacts) -> None:
    older = dataclasses.replace(ORIN, tensorrt="8.6.2", jetpack="6.0 (L4T 36.3.0)")
    assert mismatches(facts, older) == ["it was built by TensorRT 10.3.0, here is 8.6.2"]


def test_another_driver_is_no_reason_to_refuse_but_is_remembered(facts: EngineFacts) -> None:
    other = dataclasses.replace(ORIN, driver="560.1")
    assert mismatches(facts, other) == []
    assert remarks(facts, other) == ["built with driver 540.4.0, here is 560.1"]
    assert remarks(facts, ORIN) == []


def test_an_engine_for_rtx_loads_on_each_of_its_generations(facts: EngineFacts) -> None:
    rtx = dataclasses.replace(
        facts, runtime="tensorrt-rtx", runtime_version="1.7.1.116", compute_capabilities=("8.6", "12.0"), gpu=None
    )
    here = Device("NVIDIA GeForce RTX 5090", "12.0", tensorrt_rtx="1.7.1.116")
    assert mismatches(rtx, here) == []
    assert mismatches(rtx, dataclasses.replace(here, compute_capability="8.9")) == [
        "it was built for compute capability 8.6, 12.0, the NVIDIA GeForce RTX 5090 here has 8.9"
    ]
    assert mismatches(rtx, dataclasses.replace(here, tensorrt_rtx="1.8.0.2")) == [
        "it was built by TensorRT for RTX 1.7.1.116, here is 1.8.0.2"
    ]


def test_all_that_differs_is_said_in_one_sentence_with_the_command(tmp_path: Path) -> None:
    engine = write_engine(tmp_path)
    (tmp_path / "road.int8-fp16.onnx").write_bytes(b"")
    changed = dataclasses.replace(
        engine.facts, onnx_sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    here = Device("Thor", "11.0", tensorrt="10.13.3")
    with pytest.raises(EngineIncompatibleError) as caught:
        check_here(dataclasses.replace(engine, facts=changed), here)
    said = str(caught.value)
    assert caught.value.exit_code == 4
    assert "TensorRT 10.3.0, here is 10.13.3; it was built for compute capability 8.7, the Thor here has 11.0" in said
    assert said.endswith(f"build it again: roadedge build {tmp_path}/road.int8-fp16.onnx -o {engine.path} --overwrite")


def test_the_rebuild_command_can_be_pasted(facts: EngineFacts, tmp_path: Path) -> None:
    folder = tmp_path / "my engines"
    engine = folder / "road.engine"
    kept = dataclasses.replace(facts, build_arguments=("--dynamic", "256x256,512x512,1024x1024"))
    assert shlex.split(rebuild_command(kept, engine, ORIN)) == [
        "roadedge", "build", str(folder / "road.int8-fp16.onnx"), "--target", "jetson-orin-nano",
        "--dynamic", "256x256,512x512,1024x1024", "-o", str(engine), "--overwrite",
    ]  # fmt: skip


def test_a_target_of_another_gpu_is_not_asked_for_again(facts: EngineFacts) -> None:
    assert "--target" not in rebuild_command(facts, "x.engine", Device("Thor", "11.0"))
    assert "--target jetson-orin-nano" in rebuild_command(facts, "x.engine")


def test_an_engine_for_rtx_is_built_again_for_this_gpu_too(facts: EngineFacts) -> None:
    rtx = dataclasses.replace(facts, runtime="tensorrt-rtx", compute_capabilities=("8.6", "12.0"), target="desktop-rtx")
    command = rebuild_command(rtx, "x.engine", Device("NVIDIA RTX 4000", "8.9"))
    assert "--target desktop-rtx --compute-capability 8.6,8.9,12.0" in command


# What is missing here (complaint 15: never something else in silence)


def test_no_gpu_is_exit_3(tmp_path: Path) -> None:
    here = Device(tensorrt="10.3.0", absent=("there is no NVIDIA driver here (libcuda.so.1 is not found)",))
    with pytest.raises(EnvironmentFault, match=r"there is no NVIDIA driver here .*--backend onnxruntime") as caught:
        check_here(write_engine(tmp_path), here)
    assert caught.value.exit_code == 3


def test_no_tensorrt_is_exit_3_with_the_install_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"needs tensorrt, .*roadedge\[tensorrt\]") as caught:
        check_here(write_engine(tmp_path), Device("NVIDIA L4", "8.9", tensorrt_rtx="1.7.1.116"))
    assert caught.value.exit_code == 3


def test_on_a_jetson_tensorrt_is_jetpacks_and_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="apt install python3-libnvinfer") as caught:
        check_here(write_engine(tmp_path), dataclasses.replace(ORIN, tensorrt=None))
    assert "pip install" not in str(caught.value)


def test_an_engine_that_cannot_match_is_said_even_where_there_is_no_gpu(tmp_path: Path) -> None:
    with pytest.raises(EngineIncompatibleError, match=r"here is 11\.4\.0"):
        check_here(write_engine(tmp_path), Device(tensorrt="11.4.0"))


# Files


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no engine"):
        read_engine(tmp_path / "none.engine")


def ultralytics(folder: Path) -> bytes:
    header = json.dumps({"description": "Ultralytics YOLO11n-seg model", "imgsz": [640, 640]}).encode()
    return struct.pack("<i", len(header)) + header + PLAN


def zipped(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("data.pkl", b"\0" * 100)
    return (folder / "x.zip").read_bytes()


FOREIGN: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda folder: b"", "the file is empty"),
    "text": (lambda folder: b"404: Not Found\n", "it is a text file"),
    "long text": (lambda folder: b"error " * 2000, "it is a text file"),
    "a pointer": (lambda folder: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"),
    "a checkpoint": (zipped, "zip archive"),
    "of Ultralytics": (ultralytics, r"bytes of metadata \(Ultralytics YOLO11n-seg model\) stand before the engine"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_is_no_engine_is_called_what_it_is(tmp_path: Path, kind: str) -> None:
    make, said = FOREIGN[kind]
    path = tmp_path / "road.engine"
    path.write_bytes(make(tmp_path))
    with pytest.raises(ModelFileError, match=said) as caught:
        read_engine(path)
    assert "roadedge build" in str(caught.value)


def test_a_plan_without_a_sidecar_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "road.engine"
    path.write_bytes(PLAN)
    with pytest.raises(ModelFileError, match=r"no sidecar road.engine.json.*copy the sidecar too, or build"):
        read_engine(path)


def test_an_engine_of_ours_stays_raw_bytes(tmp_path: Path) -> None:
    # Complaint 3: trtexec, Triton and DeepStream open what TensorRT wrote and nothing else.
    engine = write_engine(tmp_path)
    assert engine.path.read_bytes() == PLAN
    assert sidecar_path(engine.path).is_file()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PLAN[:-3], f"it has {len(PLAN) - 3} bytes and {len(PLAN)} were written"),
        (PLAN[:-1] + b"!", "its bytes are others"),
    ],
    ids=["cut off", "one byte turned"],
)
def test_a_damaged_engine_is_refused_before_tensorrt_sees_it(tmp_path: Path, content: bytes, said: str) -> None:
    path = write_engine(tmp_path).path
    path.write_bytes(content)
    with pytest.raises(EngineIncompatibleError, match=said) as caught:
        read_engine(path)
    assert "build it again (after copying road.int8-fp16.onnx, which is not beside it): roadedge build" in str(
        caught.value
    )


def test_an_engine_older_than_the_onnx_file_beside_it_is_refused(tmp_path: Path) -> None:
    # Complaint 4: what is found by its name may be of another network.
    path = write_engine(tmp_path).path
    (tmp_path / "road.int8-fp16.onnx").write_bytes(b"exported again since")
    with pytest.raises(
        EngineIncompatibleError, match=r"road.int8-fp16.onnx beside it is not the file that it was built"
    ):
        read_engine(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not a sidecar"),
        ("[]", "not a sidecar"),
        ('{"schema_version": 1, "spec": {"name": "x"}}', "nothing of an engine"),
    ],
)
def test_a_sidecar_that_is_none_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = write_engine(tmp_path).path
    sidecar_path(path).write_text(content)
    with pytest.raises(ModelFileError, match=said):
        read_engine(path)


def test_an_engine_that_tensorrt_does_not_take_is_one_sentence(tmp_path: Path) -> None:
    # Complaint 2: not `'NoneType' object has no attribute 'create_execution_context'`.
    gpu = Gpu(fail_at=3)
    with pytest.raises(EngineIncompatibleError) as caught:
        open_fake(tmp_path, gpu)
    assert gpu.calls[3] == "deserialize_cuda_engine"
    said = str(caught.value)
    assert "TensorRT does not take it (TensorRT did not" not in said
    assert "TensorRT does not take it (Version tag does not match); build it again" in said
    assert "this is not said" not in said
    assert not gpu.live


def test_the_drivers_difference_is_told_when_loading_fails(tmp_path: Path) -> None:
    from roadedge.runners.base import Requested
    from roadedge.runners.engine_runner import TensorRtRunner
    from tests.runners.fake_gpu import FakeMemory

    gpu, here = Gpu(fail_at=3), dataclasses.replace(ORIN, driver="560.1")
    with pytest.raises(
        EngineIncompatibleError, match=r"Version tag does not match; built with driver 540.4.0, here is"
    ):
        TensorRtRunner(write_engine(tmp_path), Requested(), here, fake_module(gpu, tensors()), lambda: FakeMemory(gpu))


# The machine


def test_the_driver_is_read_from_what_it_leaves() -> None:
    closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version:\n"
    opened = "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (buildbrain@mobile)\n"
    assert (driver_version(closed), driver_version(opened), driver_version("")) == ("535.104.05", "540.4.0", None)


def test_jetpack_is_read_from_l4t() -> None:
    line = "# R{} (release), REVISION: {}, GCID: 1, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025"
    assert jetpack_version(line.format(36, "4.3")) == "6.2 (L4T 36.4.3)"
    assert jetpack_version(line.format(38, "4.0")) == "7.1 (L4T 38.4.0)"
    assert jetpack_version(line.format(39, "1.0")) == "L4T 39.1.0"
    assert jetpack_version("") is None


def test_a_jetson_is_named_with_its_board() -> None:
    # The GPU of an Orin Nano and that of an AGX Orin call themselves alike.
    assert named("Orin", "NVIDIA Jetson AGX Orin Developer Kit\0") == "Orin (NVIDIA Jetson AGX Orin Developer Kit)"
    assert named("NVIDIA GeForce RTX 4090", "") == "NVIDIA GeForce RTX 4090"


def test_this_machine_is_described_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    here = Device.here()
    assert (here.gpu is None) == (here.compute_capability is None) == bool(here.absent)


class FakeDriver:
    """libcuda with one GPU: what it is asked for is written through the pointers that it is given."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing

    def _status(self, name: str) -> int:
        return 100 if name == self.failing else 0

    def cuInit(self, flags: int) -> int:
        return self._status("cuInit")

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        device._obj.value = 7
        return self._status("cuDeviceGet")

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        assert (length, device.value) == (256, 7)
        name.value = b"NVIDIA L4"
        return self._status("cuDeviceGetName")

    def cuDeviceGetAttribute(self, number: Any, attribute: int, device: Any) -> int:
        number._obj.value = {75: 8, 76: 9}[attribute]
        return self._status("cuDeviceGetAttribute")

    def cuDriverGetVersion(self, number: Any) -> int:
        number._obj.value = 12060
        return self._status("cuDriverGetVersion")

    def cuGetErrorString(self, status: int, text: Any) -> int:
        text._obj.value = b"no CUDA-capable device is detected"
        return 0


def test_the_gpu_is_asked_of_the_driver_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeDriver())
    here = Device.here()
    assert (here.gpu, here.compute_capability, here.cuda, here.absent) == ("NVIDIA L4", "8.9", "12.6", ())


@pytest.mark.parametrize(
    "call", ["cuInit", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute", "cuDriverGetVersion"]
)
def test_a_driver_that_shows_no_gpu_is_quoted(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeDriver(call))
    here = Device.here()
    assert (here.gpu, here.compute_capability, here.cuda) == (None, None, None)
    assert here.absent == ("the NVIDIA driver shows no GPU (no CUDA-capable device is detected)",)
