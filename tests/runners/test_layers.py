"""Times of layers from each back-end's own profiler; TensorRT's on the fake GPU."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from roadedge.errors import EnvironmentFault, UsageError
from roadedge.runners import open_runner
from roadedge.runners.layers import layer_times, report_of
from roadedge.runners.layers_onnx import read_events
from tests.export.artefacts import Artefacts, noise
from tests.runners import fake_gpu
from tests.runners.fake_gpu import STEP_MS, Gpu, frames, open_fake


def session(name: str, dur: int) -> dict[str, Any]:
    return {"cat": "Session", "name": name, "dur": dur}


def node(name: str, dur: int, index: int, op: str = "Conv") -> dict[str, Any]:
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": dur, "args": {"node_index": str(index), "op_name": op}}


def test_a_profile_of_onnx_runtime_is_read_by_runs() -> None:
    events = [session("session_initialization", 9_000_000)]
    for whole, first, second in ((50_000, 30_000, 9_000), (10_000, 6_000, 2_000), (12_000, 8_000, 2_500)):
        events += [node("/conv", first, 0), node("/add", second, 1, "Add"), session("model_run", whole)]
    found = read_events(events, 1)
    assert [(one.name, one.kind, one.ms) for one in found.layers] == [("/conv", "Conv", 7.0), ("/add", "Add", 2.25)]
    assert (found.sum_ms, found.whole_ms, found.runs) == (9.25, 11.0, 2)


def test_two_nodes_of_one_name_are_told_apart() -> None:
    events = [node("", 1_000, 0), node("", 3_000, 1, "Add"), session("model_run", 5_000)]
    found = read_events(events, 0)
    assert [(one.name, one.ms) for one in found.layers] == [(" #1", 3.0), (" #0", 1.0)]


def test_a_layer_is_the_median_of_its_runs_and_the_slowest_comes_first() -> None:
    runs = [{"a": 1.0, "b": 5.0}, {"a": 3.0, "b": 5.0}, {"a": 2.0, "b": 50.0}]
    found = report_of(runs, {"a": "Conv"}, [7.0, 9.0, 60.0], "clock")
    assert [(one.name, one.kind, one.ms) for one in found.layers] == [("b", "", 5.0), ("a", "Conv", 2.0)]
    assert (found.sum_ms, found.whole_ms) == (8.0, 9.0)
    assert found.to_dict()["layers"][0] == {"name": "b", "kind": "", "ms": 5.0}


@pytest.mark.parametrize(
    ("backend", "kinds"), [("onnxruntime", "Conv"), ("openvino", "Convolution"), ("torch", "Conv2d")]
)
def test_each_back_end_names_its_convolutions_and_adds_up(artefacts: Artefacts, backend: str, kinds: str) -> None:
    path = artefacts.checkpoint if backend == "torch" else artefacts.fp32
    with open_runner(path, backend, threads=1) as runner:
        before = runner.infer(noise())["probability"]
        found = layer_times(runner, noise(), 25)  # medians that another program on the core does not move
        assert (runner.infer(noise())["probability"] == before).all()
    assert sum(one.kind.startswith(kinds) for one in found.layers) > 10
    assert found.runs == 25
    assert found.sum_ms <= found.whole_ms * 1.2
    assert found.sum_ms > 0.2 * found.whole_ms
    assert [one.ms for one in found.layers] == sorted((one.ms for one in found.layers), reverse=True)


def test_hooks_of_torch_are_taken_off_again(artefacts: Artefacts) -> None:
    with open_runner(artefacts.checkpoint, threads=1) as runner:
        layer_times(runner, noise(), 1)
        modules: Any = runner
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in modules.network.modules())


def test_an_engine_reports_through_a_second_context_that_is_given_back(tmp_path: Path) -> None:
    gpu = Gpu()
    with open_fake(tmp_path, gpu) as runner:
        before = set(gpu.live)
        found = layer_times(runner, frames(), 4)
        gc.collect()
        assert set(gpu.live) == before
        assert [(one.name, one.ms) for one in found.layers] == [("first + relu", 1.5), ("second", 0.5)]
        assert (found.sum_ms, found.runs) == (2.0, 4)
        assert found.whole_ms == pytest.approx(STEP_MS * 2)
        runner.infer(frames())
        assert runner._loaded._context.profiler is None


def test_an_engine_without_room_for_a_second_context_says_so_and_runs_on(tmp_path: Path) -> None:
    gpu = Gpu()
    with open_fake(tmp_path, gpu) as runner:
        gpu.fail_at = len(gpu.calls) + 1  # entering the context, then making one
        with pytest.raises(EnvironmentFault, match="did not make an execution context to profile"):
            layer_times(runner, frames(), 1)
        assert runner.infer(frames())["probability"].shape == (1, *fake_gpu.SIZE)


def test_an_engine_that_reports_nothing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_gpu, "LAYERS", ())
    with open_fake(tmp_path, Gpu()) as runner, pytest.raises(EnvironmentFault, match="reported no times of layers"):
        layer_times(runner, frames(), 1)


def test_a_cuda_graph_reports_nothing_and_is_refused(tmp_path: Path) -> None:
    with open_fake(tmp_path, Gpu(), cuda_graph=True) as runner, pytest.raises(UsageError, match="leave the graph out"):
        layer_times(runner, frames(), 1)


def test_no_repeats_and_unknown_runners_are_refused(tmp_path: Path) -> None:
    with open_fake(tmp_path, Gpu()) as runner:
        with pytest.raises(UsageError, match="at least one run"):
            layer_times(runner, frames(), 0)
        runner.name = "abacus"
        with pytest.raises(UsageError, match="abacus tells no times"):
            layer_times(runner, frames(), 1)
