"""`build_engine`: real engines of TensorRT for RTX, TensorRT itself by a fake; sidecars, reuse, what is refused."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnx
import onnx.parser
import pytest

from roadedge.errors import (
    BackendMismatchError,
    EnvironmentFault,
    ExportError,
    MissingExtraError,
    ModelFileError,
    OutputError,
    UsageError,
)
from roadedge.export import DynamicSize, engine, export_model
from roadedge.export.engine import EngineResult, build_engine
from roadedge.export.engine_order import BuildOptions
from roadedge.export.targets import Target, read_target
from roadedge.runners.device import Device
from roadedge.runners.engine_facts import EngineFacts, rebuild_command
from roadedge.runners.face import AssumedSpecWarning
from roadedge.spec import read_sidecar, sha256_of, sidecar_path
from tests.export.artefacts import Artefacts, samples
from tests.export.fake_tensorrt import Fake, Kind, layer, tensor

NANO = Device("Orin (NVIDIA Jetson Orin Nano)", "8.7", "540.4.0", "12.6", "6.2 (L4T 36.4.3)", "10.3.0")
CPU = Device(absent=("there is no NVIDIA driver here",))
Build = Callable[..., EngineResult]


@pytest.fixture
def build(artefacts: Artefacts, tmp_path: Path) -> Build:
    """Builds the FP16 file for an Orin Nano with a fake TensorRT, unless told otherwise."""

    def run(file: Path | None = None, **changes: Any) -> EngineResult:
        options = {"check": False, **changes.pop("options", {})}
        given = {"library": Fake(), "device": NANO, "output": tmp_path / "out", "progress": False, **changes}
        target = given.pop("target", read_target("jetson-orin-nano"))
        return build_engine(file or artefacts.fp16, target, options=BuildOptions(**options), **given)

    return run


def facts_of(path: Path) -> EngineFacts:
    found = read_sidecar(path)
    assert found is not None
    return EngineFacts.from_dict(found[1]["engine"])


def test_the_engine_is_raw_bytes_and_the_sidecar_says_the_rest(build: Build, artefacts: Artefacts) -> None:
    made = build()
    assert made.engine.name == "tiny.fp16.jetson-orin-nano.engine"
    assert made.engine.read_bytes() == b"engine"
    found = read_sidecar(made.engine)
    assert found is not None
    spec, provenance = found
    assert (spec.name, spec.size, spec.batch) == ("roadedge-n", (64, 64), 1)
    facts = EngineFacts.from_dict(provenance["engine"])
    assert facts == made.facts
    assert (facts.runtime, facts.runtime_version, facts.compute_capabilities) == ("tensorrt", "10.3.0", ("8.7",))
    assert (facts.gpu, facts.driver, facts.cuda, facts.jetpack) == (NANO.gpu, NANO.driver, NANO.cuda, NANO.jetpack)
    assert facts.onnx_sha256 == sha256_of(artefacts.fp16)
    assert facts.checkpoint_sha256 == sha256_of(artefacts.checkpoint)
    assert facts.engine_sha256 == sha256_of(made.engine)
    assert (facts.precision_requested, facts.precision_effective) == ("fp16", "fp16")
    assert [port.name for port in facts.inputs] == ["image", "trajectory"]
    assert provenance["precision"]["layers"] == {"fp16": 1}
    assert provenance["checkpoint"]["file"] == "tiny.pt"
    assert {"date", "command"} <= set(provenance["made_with"])


def test_the_onnx_file_goes_with_the_engine(build: Build, artefacts: Artefacts) -> None:
    folder = build().engine.parent
    assert sha256_of(folder / artefacts.fp16.name) == sha256_of(artefacts.fp16)
    assert read_sidecar(folder / artefacts.fp16.name) is not None


def test_an_engine_of_the_same_key_is_used_again(build: Build) -> None:
    first, fake = build(), Fake()
    second = build(library=fake)
    assert (second.reused, fake.builds) == (True, 0)
    assert second.facts == first.facts


@pytest.mark.parametrize(
    "change",
    [
        {"library": Fake("10.3.1")},
        {"device": dataclasses.replace(NANO, gpu="Orin (another board)")},
        {"options": {"workspace_mib": 100}},
        {"options": {"tf32": True}},
        {"options": {"overwrite": True}},
    ],
    ids=["version", "gpu", "option", "tf32", "overwrite"],
)
def test_a_stale_engine_is_built_again_and_that_is_said(build: Build, change: dict[str, Any]) -> None:
    build()
    again = build(**change)
    assert not again.reused
    assert again.replaced


def test_an_onnx_file_of_the_same_name_that_is_not_ours_stays(
    build: Build, artefacts: Artefacts, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    shutil.copy(artefacts.fp16, tmp_path / "out")
    other = tmp_path / "other" / artefacts.fp16.name
    other.parent.mkdir()
    shutil.copy(artefacts.fp32, other)
    with pytest.raises(OutputError, match="is another file"):
        build(other, library=Fake(layers=[layer(Kind.CONVOLUTION, [], tensor("y", Kind.FLOAT))]))


def test_a_new_export_of_the_same_name_replaces_the_engine_and_its_onnx_file(
    build: Build, artefacts: Artefacts, tmp_path: Path
) -> None:
    build()
    newer = tmp_path / "newer" / artefacts.fp16.name
    newer.parent.mkdir()
    model = onnx.load(artefacts.fp16)
    model.doc_string = "trained longer"
    onnx.save(model, newer)
    again = build(newer)
    assert (again.reused, again.facts.onnx_sha256) == (False, sha256_of(newer))
    assert sha256_of(again.engine.with_name(newer.name)) == sha256_of(newer)


def test_what_is_no_engine_of_ours_stays(build: Build, tmp_path: Path) -> None:
    taken = tmp_path / "out" / "tiny.fp16.jetson-orin-nano.engine"
    taken.parent.mkdir()
    taken.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--overwrite"):
        build()
    assert taken.read_bytes() == b"mine"


def test_an_engine_whose_sidecar_is_of_other_bytes_is_not_used(build: Build) -> None:
    made = build()
    made.engine.write_bytes(b"truncated")
    with pytest.raises(OutputError, match="other bytes"):
        build()
    assert not build(options={"overwrite": True}).reused


def test_an_engine_for_another_gpu_is_not_built_here(build: Build) -> None:
    desktop = dataclasses.replace(NANO, gpu="NVIDIA GeForce RTX 4090", compute_capability="8.9")
    with pytest.raises(EnvironmentFault, match=r"has compute capability 8\.7.*8\.9.*build it on NVIDIA Jetson Orin"):
        build(device=desktop)
    with pytest.raises(EnvironmentFault, match="there is no NVIDIA driver here; run the build on NVIDIA Jetson Orin"):
        build(device=CPU)


def test_what_was_asked_and_what_came_out_must_agree(build: Build, tmp_path: Path) -> None:
    with pytest.raises(BackendMismatchError, match=r"tiny\.fp16\.onnx is fp16.*10\.3\.0 made of it fp32"):
        build(library=Fake(layers=[layer(Kind.CONVOLUTION, [], tensor("y", Kind.FLOAT))]))
    assert not list((tmp_path / "out").glob("*.engine*"))


def test_skipped_tactics_and_the_workspace_are_recorded(build: Build) -> None:
    says = [(Kind.WARNING, "Skipping tactic 3 due to insufficient memory")] * 2
    fake = Fake(says=says)
    made = build(library=fake, options={"workspace_mib": 64})
    assert made.facts.skipped_tactics == 2
    assert made.facts.workspace_bytes == 64 * 2**20
    assert fake.config.pools == {Kind.WORKSPACE: 64 * 2**20}
    assert made.facts.build_arguments == ("--workspace", "64")


def test_on_a_jetson_half_of_the_free_memory_is_the_workspace(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadedge.export.workspace._meminfo", lambda: "MemTotal: 9 kB\nMemAvailable:    4096 kB\n")
    assert build().facts.workspace_bytes == 2048 * 1024


def test_the_timing_cache_lies_beside_the_engine_and_is_handed_over(build: Build) -> None:
    made = build()
    assert made.facts.timing_cache is not None
    cache = made.engine.with_name(made.facts.timing_cache)
    assert cache.name.startswith("timing.10.3.0.sm87.")
    assert cache.read_bytes() == b"+timed"
    fake = Fake()
    build(library=fake, options={"overwrite": True})
    assert fake.config.caches == [b"+timed"]


def test_dla_takes_no_quantised_graph_and_no_float32(build: Build, artefacts: Artefacts, tmp_path: Path) -> None:
    model = onnx.load(artefacts.fp16)
    quantised = tmp_path / "q.onnx"
    _quantise_first_convolution(model)
    onnx.save(model, quantised)
    with pytest.raises(UsageError, match="DLA takes no Q/DQ graph"):
        build(quantised, options={"dla_core": 0})
    with pytest.raises(UsageError, match=r"DLA computes in FP16, tiny\.onnx is fp32"):
        build(artefacts.fp32, options={"dla_core": 0})


def test_dla_and_the_layers_that_fell_back_are_recorded(build: Build) -> None:
    says = [(Kind.WARNING, "Layer '/up' (RESIZE): Unsupported on DLA. Switching this layer's device type to GPU.")]
    facts = build(library=Fake(says=says, dla_cores=2), options={"dla_core": 1}).facts
    assert (facts.dla, facts.fallback_layers, facts.build_arguments) == (True, ("/up",), ("--dla", "1"))


def test_tf32_is_recorded_and_asked_for_again_where_it_was(build: Build) -> None:
    without, allowed = build().facts, build(options={"tf32": True}).facts
    assert (without.tf32, without.build_arguments) == (False, ())
    assert (allowed.tf32, allowed.build_arguments) == (True, ("--tf32",))
    assert "--tf32" in rebuild_command(allowed, "road.engine")
    assert "--tf32" not in rebuild_command(without, "road.engine")


def test_8_6_gets_int8_weights_as_floats(build: Build, artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    insert = pytest.importorskip("roadedge.calibration.insert")
    model = onnx.load(artefacts.fp32)
    _quantise_first_convolution(model)
    path = artefacts.fp32.with_name("q86.onnx")
    onnx.save(model, path)
    changed = onnx.load(path)
    monkeypatch.setattr(insert, "float_weights", lambda given: changed)
    fake = Fake("8.6.2")
    made = build(path, library=fake)
    assert fake.parsed == [changed.SerializeToString()]
    assert made.facts.precision_effective == "fp32+int8"


def test_bounds_of_a_free_size_become_the_profile(build: Build, artefacts: Artefacts, tmp_path: Path) -> None:
    bounds = DynamicSize((32, 32), (64, 96), (128, 128))
    path = export_model(artefacts.checkpoint, tmp_path, "fp16", dynamic=bounds, samples=samples()).onnx
    free = [tensor("image", shape=(-1, -1, -1, 3)), tensor("trajectory", shape=(-1, -1, -1, 1))]
    fake = Fake(inputs=free)
    made = build(path, library=fake, options={"batch": 2})
    want = {
        "image": ((1, 32, 32, 3), (2, 64, 96, 3), (2, 128, 128, 3)),
        "trajectory": ((1, 32, 32, 1), (2, 64, 96, 1), (2, 128, 128, 1)),
    }
    assert fake.config.profiles[0].shapes == want
    assert facts_of(made.engine).profiles == (want,)
    assert build(path, library=fake, options={"batch": 2}).reused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dynamic": DynamicSize((32, 32), (64, 64), (96, 96))}, "leave --dynamic out"),
        ({"batch": 2}, "leave --batch out"),
        ({"compute_capabilities": ("8.6",)}, "goes with --target rtx"),
    ],
)
def test_options_that_do_not_go_with_the_file_are_refused(build: Build, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(options=options)


def test_a_full_disk_leaves_nothing(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("roadedge.export.engine_place._replace_both", Mock(side_effect=full))
    with pytest.raises(OutputError, match="disk is full"):
        build()
    assert not [path for path in (tmp_path / "out").iterdir() if ".engine" in path.name]


def test_an_engine_that_disagrees_is_not_published(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def disagrees(draft: Path, *rest: Any) -> dict[str, Any]:
        seen.append(facts_of(draft).runtime_version)  # it can be loaded as it will lie there
        raise ExportError("tensorrt fp16 returned NaN or infinite logits on a sample; nothing was written")

    monkeypatch.setattr(engine, "agreement", disagrees)
    with pytest.raises(ExportError, match="NaN"):
        build(options={"check": True})
    assert seen == ["10.3.0"]
    assert not [path for path in (tmp_path / "out").iterdir() if ".engine" in path.name]


def test_why_an_engine_was_not_compared_is_written_down(build: Build) -> None:
    found = read_sidecar(build().engine)
    assert found is not None
    assert found[1]["checked"] == "not compared with its ONNX file: --no-check was given"


@pytest.mark.parametrize("content", [b"", b"no onnx", None])
def test_what_is_no_onnx_file_is_said(
    build: Build, artefacts: Artefacts, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(artefacts.fp16.read_bytes()[:1000] if content is None else content)
    with pytest.raises(ModelFileError, match=r"bad\.onnx is not an ONNX file"):
        build(path)


def test_a_checkpoint_is_exported_first(build: Build, artefacts: Artefacts) -> None:
    with pytest.raises(UsageError, match="roadedge export"):
        build(artefacts.checkpoint)


def test_absent_tensorrt_is_named_with_its_extra(build: Build) -> None:
    with pytest.raises(MissingExtraError, match=r"needs tensorrt, which is not installed; pip install 'roadedge\[tens"):
        build(library=None)


def test_a_processor_has_no_engine(build: Build) -> None:
    with pytest.raises(UsageError, match="no engine to build for cpu"):
        build(target=read_target("cpu"))


def _quantise_first_convolution(model: onnx.ModelProto) -> None:
    """A Q/DQ pair before the first convolution and its weight as int8: the least that is a quantised graph."""
    graph = model.graph
    node = next(one for one in graph.node if one.op_type == "Conv")
    weight = next(one for one in graph.initializer if one.name == node.input[1])
    values = onnx.numpy_helper.to_array(weight)
    scale = onnx.numpy_helper.from_array(values.dtype.type(0.02), "scale")
    zero = onnx.helper.make_tensor("zero", onnx.TensorProto.INT8, [], [0])
    small = onnx.helper.make_tensor("w8", onnx.TensorProto.INT8, values.shape, [1] * values.size)
    pair = [
        onnx.helper.make_node("QuantizeLinear", [node.input[0], "scale", "zero"], ["xq"], name="xq"),
        onnx.helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"], name="xd"),
        onnx.helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["wd"], name="wd"),
    ]
    graph.initializer.extend([scale, zero, small])
    graph.initializer.remove(weight)
    node.input[0], node.input[1] = "xd", "wd"
    at = list(graph.node).index(node)
    for i, one in enumerate(pair):
        graph.node.insert(at + i, one)
    if values.dtype == np.float16:
        model.opset_import[0].version = 19  # which has FP16 scales


@pytest.fixture(scope="module")
def rtx() -> Target:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    return read_target("rtx")


def test_the_rtx_kind_is_built_for_several_cards_without_any(rtx: Target, artefacts: Artefacts, tmp_path: Path) -> None:
    made = build_engine(artefacts.fp16, rtx, tmp_path, progress=False, device=CPU)
    facts = facts_of(made.engine)
    assert facts.compute_capabilities == ("8.6", "8.9", "12.0")
    assert facts.layers_by_precision == {"fp16": 40}
    assert (facts.gpu, facts.driver, facts.workspace_bytes, facts.timing_cache) == (None, None, None, None)
    assert made.checked == "not compared with its ONNX file: there is no NVIDIA driver here"
    assert made.size_bytes == made.engine.stat().st_size > 100_000
    assert build_engine(artefacts.fp16, rtx, tmp_path, progress=False, device=CPU).reused
    assert json.loads(sidecar_path(made.engine).read_text())["sha256"] == sha256_of(made.engine)


def test_a_device_without_torch_builds(rtx: Target, artefacts: Artefacts, tmp_path: Path) -> None:
    code = f"""
import sys
for name in ("torch", "onnxsim", "onnxscript"):
    sys.modules[name] = None
from roadedge.cli import main
build = ["build", {str(artefacts.fp16)!r}, "--target", "rtx", "--compute-capability", "8.6"]
sys.exit(main([*build, "-o", {str(tmp_path)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tiny.fp16.rtx.engine").is_file()


def test_a_card_that_the_rtx_kind_does_not_know_is_named(rtx: Target, artefacts: Artefacts, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"builds for compute capability 7\.5, 8\.0.*got 8\.7"):
        build_engine(artefacts.fp16, rtx, tmp_path, BuildOptions(("8.7",)), progress=False, device=CPU)


def test_a_graph_that_the_real_parser_refuses_is_told_with_its_node(rtx: Target, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,3,8,8] image) => (float[1,1,8,8] logits) <float[1,3,1,1] w = {1,1,1}, int64[4] to = {1,1,8,8}>
    { s = Conv(image, w) u = Unique(s) logits = Reshape(u, to) }"""
    path = tmp_path / "unique.onnx"
    model = onnx.parser.parse_model(text)
    for node in model.graph.node:
        node.name = f"/{node.output[0]}"
    onnx.save(model, path)
    refusal = r"TensorRT for RTX .* does not take unique\.onnx: node /u \(Unique\)"
    with pytest.raises(ModelFileError, match=refusal), pytest.warns(AssumedSpecWarning):
        build_engine(path, rtx, tmp_path / "out", BuildOptions(("8.6",)), progress=False, device=CPU)


def test_a_foreign_file_is_built_with_what_is_assumed_said(rtx: Target, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,3,32,32] image) => (float[1,1,32,32] logits) <float[1,3,1,1] w = {1,1,1}> { logits = Conv(image, w) }"""
    path = tmp_path / "foreign.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    with pytest.warns(AssumedSpecWarning, match=r"foreign\.onnx has no sidecar"):
        made = build_engine(path, rtx, tmp_path / "out", BuildOptions(("8.6",)), progress=False, device=CPU)
    assert made.facts.layers_by_precision == {"fp32": 1}


def test_the_library_is_not_half_loaded() -> None:
    module: ModuleType = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    assert engine.load_library("tensorrt-rtx") is module


def test_a_library_that_cannot_be_loaded_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Mock(side_effect=ImportError("libnvinfer.so.10: cannot open shared object file"))
    monkeypatch.setattr(engine, "runtime_module", broken)
    with pytest.raises(EnvironmentFault, match=r"tensorrt is installed and cannot be loaded: libnvinfer\.so\.10"):
        engine.load_library("tensorrt")
