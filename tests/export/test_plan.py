"""The build against a fake module: what is set for which release; what a log, a refusal and Ctrl-C become."""

from __future__ import annotations

import dataclasses
import signal
import types
from pathlib import Path
from typing import Any

import pytest

from roadedge.errors import EnvironmentFault, ExportError, ModelFileError, UsageError
from roadedge.export.build_progress import Progress, stoppable
from roadedge.export.plan import BuildRecord, Plan, PlanOptions, build_plan
from tests.export.fake_tensorrt import BYTES, CONVOLUTION, Fake, Flag, Kind, layer, tensor

TENTH = ("10.3.0", "10.16.1.11", "11.4.0.106")


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"graph")
    return path


def built(fake: Fake, onnx: Path, precision: str = "fp16", **options: Any) -> Plan:
    return build_plan(fake, onnx, PlanOptions("tensorrt", precision, **options), Progress(shown=False))


@pytest.mark.parametrize("version", TENTH)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8+fp16"])
def test_10_and_11_are_built_strongly_typed_and_without_any_precision_flag(
    onnx: Path, version: str, precision: str
) -> None:
    fake = Fake(version)
    assert built(fake, onnx, precision).engine == BYTES
    assert fake.network_flags == [1 << Flag.STRONGLY_TYPED]
    assert fake.config.flags == []


@pytest.mark.parametrize(
    ("precision", "flags"),
    [("fp32", []), ("fp16", [Flag.FP16]), ("int8+fp32", [Flag.FP16, Flag.INT8])],
)
def test_8_6_is_built_by_its_flags(onnx: Path, precision: str, flags: list[Flag]) -> None:
    fake = Fake("8.6.2")
    built(fake, onnx, precision)
    assert fake.network_flags == [1 << Flag.EXPLICIT_BATCH]
    assert fake.config.flags == flags
    assert fake.config.progress_monitor is None  # it came with 10


@pytest.mark.parametrize("version", ["8.6.2", *TENTH])
@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_tf32_is_forbidden_until_it_is_asked_for(onnx: Path, version: str, runtime: str) -> None:
    found = []
    unasked = PlanOptions(runtime, "fp32")
    for wanted in (unasked, dataclasses.replace(unasked, tf32=False), dataclasses.replace(unasked, tf32=True)):
        fake = Fake(version)
        fake.ComputeCapability = types.SimpleNamespace(__members__={})
        build_plan(fake, onnx, wanted, Progress(shown=False))
        found.append(fake.config.flags)
    assert found == [[], [], [Flag.TF32]]


@pytest.mark.parametrize("wanted", [False, True])
def test_a_configuration_that_does_not_do_as_told_about_tf32_builds_nothing(onnx: Path, wanted: bool) -> None:
    fake = Fake()
    fake.config.flags = [] if wanted else [Flag.TF32]
    fake.config.deaf = True
    with pytest.raises(EnvironmentFault, match=f"told to {'allow' if wanted else 'forbid'} TF32.*nothing was built"):
        built(fake, onnx, "fp32", tf32=wanted)
    assert fake.builds == 0


@pytest.mark.parametrize("version", ["8.5.2", "7.2.3", "9.3.0"])
def test_a_release_that_is_not_supported_is_said_by_number_not_by_text(onnx: Path, version: str) -> None:
    with pytest.raises(EnvironmentFault, match=f"TensorRT {version} is here"):
        built(Fake(version), onnx)


def test_layers_are_counted_by_what_the_parsed_network_has(onnx: Path) -> None:
    quantised = [tensor("dq_x"), tensor("dq_w")]
    layers = [
        layer(Kind.DEQUANTIZE, [tensor("q")], quantised[0]),
        layer(Kind.DEQUANTIZE, [tensor("w")], quantised[1]),
        layer(Kind.CONVOLUTION, quantised, tensor("a")),
        layer(Kind.SLICE, [quantised[0], tensor("start")], tensor("part")),
        layer(Kind.CONCATENATION, [tensor("part"), quantised[0]], tensor("joined")),
        layer(Kind.CONVOLUTION, [tensor("joined"), quantised[1]], tensor("d")),
        layer(Kind.CONCATENATION, [tensor("joined"), tensor("a")], tensor("mixed")),
        layer(Kind.CONVOLUTION, [tensor("mixed"), quantised[1]], tensor("e")),  # part of it is a float
        layer(Kind.CONVOLUTION, [quantised[0]], tensor("b")),  # its weight is a float
        layer(Kind.DECONVOLUTION, [tensor("b"), tensor("v")], tensor("c", Kind.FLOAT)),
        CONVOLUTION,
    ]
    assert built(Fake(layers=layers), onnx).layers_by_precision == {"fp16": 3, "int8": 2, "fp32": 1}


def test_skipped_tactics_are_counted_once_each(onnx: Path) -> None:
    says = [
        (Kind.WARNING, "Tactic Device request: 448MB Available: 425MB. Device memory is insufficient to use tactic."),
        (Kind.WARNING, "UNSUPPORTED_STATE: Skipping tactic 3 due to insufficient memory on requested size of 448"),
    ]
    assert built(Fake(says=says * 3), onnx).skipped_tactics == 3
    assert built(Fake(says=says[:1] * 2), onnx).skipped_tactics == 2
    assert built(Fake(), onnx).skipped_tactics == 0


def test_layers_that_fall_back_from_dla_are_listed_in_the_words_of_either_release() -> None:
    record = BuildRecord()
    record.add("WARNING", "Layer '/up/Resize' (RESIZE): Unsupported on DLA. Switching this layer's device type to GPU.")
    record.add("WARNING", "Default DLA is enabled but layer head/Cast is not supported on DLA, falling back to GPU.")
    record.add("WARNING", "Layer '/up/Resize' (RESIZE): Unsupported on DLA. Switching this layer's device type to GPU.")
    assert record.fallback_layers == ("/up/Resize", "head/Cast")


def test_dla_is_asked_for_with_gpu_fallback(onnx: Path) -> None:
    fake = Fake("10.3.0", dla_cores=2)
    built(fake, onnx, dla_core=1)
    assert (fake.config.default_device_type, fake.config.DLA_core) == (Kind.DLA, 1)
    assert fake.config.flags == [Flag.GPU_FALLBACK]


@pytest.mark.parametrize(
    ("version", "cores", "core", "said"),
    [
        ("10.16.1.11", 2, 0, "up to 10.7, and again from 11.4.1"),
        ("11.4.0.106", 2, 0, "up to 10.7, and again from 11.4.1"),
        ("10.3.0", 0, 0, "there are 0 DLA cores here"),
        ("11.4.1", 2, 2, "there are 2 DLA cores here, --dla 2"),
    ],
)
def test_dla_that_is_not_there_is_an_error_and_no_gpu_build(
    onnx: Path, version: str, cores: int, core: int, said: str
) -> None:
    fake = Fake(version, dla_cores=cores)
    with pytest.raises(EnvironmentFault, match=said):
        built(fake, onnx, dla_core=core)
    assert fake.builds == 0


def test_a_refusal_of_the_parser_names_the_node(onnx: Path) -> None:
    error = types.SimpleNamespace(
        node=lambda: 7, node_name=lambda: "/head/Unique", node_operator=lambda: "Unique", desc=lambda: "no importer"
    )
    with pytest.raises(ModelFileError, match=r"10\.3\.0 does not take net\.onnx: node /head/Unique \(Unique\): no imp"):
        built(Fake(errors=[error]), onnx)


def test_a_refusal_of_the_parser_of_8_6_has_the_nodes_number(onnx: Path) -> None:
    error = types.SimpleNamespace(node=lambda: 7, desc=lambda: "no importer")
    with pytest.raises(ModelFileError, match="node 7: no importer"):
        built(Fake("8.6.1", errors=[error]), onnx)


def test_a_build_that_fails_says_the_last_errors_and_a_way_out(onnx: Path) -> None:
    says = [(Kind.ERROR, "Requested amount of GPU memory (9 bytes) could not be allocated: out of memory")]
    with pytest.raises(ExportError, match=r"could not build net\.onnx: Requested.*smaller --workspace"):
        built(Fake(says=says, built=None), onnx)


def test_a_build_without_a_reason_is_said_too(onnx: Path) -> None:
    with pytest.raises(ExportError, match="it gave no reason"):
        built(Fake(built=None), onnx)


def test_the_workspace_and_a_timing_cache_are_handed_over(onnx: Path) -> None:
    fake = Fake()
    plan = built(fake, onnx, workspace_bytes=123, timing_cache=b"old")
    assert fake.config.pools == {Kind.WORKSPACE: 123}
    assert fake.config.caches == [b"old"]
    assert plan.timing_cache == b"old+timed"


def test_a_timing_cache_of_another_device_is_begun_anew(onnx: Path) -> None:
    fake = Fake()
    fake.config.foreign_cache = True
    assert built(fake, onnx, timing_cache=b"foreign").timing_cache == b"+timed"
    assert fake.config.caches == [b"foreign", b""]


def test_without_a_cache_none_is_made(onnx: Path) -> None:
    fake = Fake()
    assert built(fake, onnx).timing_cache is None
    assert fake.config.caches == []


def test_a_free_size_gets_its_profile_and_needs_one(onnx: Path) -> None:
    free = tensor("image", shape=(-1, -1, -1, 3))
    bounds = ((1, 32, 32, 3), (1, 64, 64, 3), (1, 96, 96, 3))
    fake = Fake(inputs=[free])
    built(fake, onnx, profiles={"image": bounds})
    assert fake.config.profiles[0].shapes == {"image": bounds}
    with pytest.raises(UsageError, match="--dynamic MIN,OPT,MAX"):
        built(Fake(inputs=[free]), onnx)
    with pytest.raises(UsageError, match="no input"):
        built(Fake(inputs=[tensor("image")]), onnx, profiles={"image": bounds})


def test_ctrl_c_stops_a_build_between_two_steps_and_not_inside_a_callback(onnx: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    class Interrupted(Progress):
        def step(self, phase: str, step: int) -> None:
            if step == 1:
                signal.raise_signal(signal.SIGINT)

    fake = Fake(steps=5)
    with pytest.raises(KeyboardInterrupt, match="nothing was written"):
        build_plan(fake, onnx, PlanOptions("tensorrt", "fp16"), Interrupted(shown=False))
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handler_of_ctrl_c_comes_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="inner"), stoppable():
        raise ValueError("inner")
    assert signal.getsignal(signal.SIGINT) is before
