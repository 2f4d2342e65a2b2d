"""One network through all its ways: each is compared, timed in turn, or says why not."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.nvidia import judge, measuring
from benchmarks.nvidia.judge import Judge, Remembered
from benchmarks.nvidia.measuring import measure, noise, samples_of, spec_of
from benchmarks.nvidia.onnx_files import Files, made_fresh
from benchmarks.nvidia.ways import Way
from roadedge.errors import EnvironmentFault
from roadedge.spec import ModelSpec, write_sidecar
from tests.benchmarks.machine import Timed

SPEC = ModelSpec("roadedge-n", size=(64, 64), batch=1)
Opener = Callable[..., Any]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"graph")
    write_sidecar(path, SPEC, {})
    return Files("roadedge-n", "a", {"fp32": str(path), "int8-fp16": str(path)}, None, True, {})


def fakes(monkeypatch: pytest.MonkeyPatch, opened: Mapping[str, Any]) -> None:
    """Ways open what stands under their precision, raising it where it is an error; the reference is exact."""

    def open_way(way: Way, spec: ModelSpec, device: str) -> Any:
        one = opened[way.precision]
        if isinstance(one, Exception):
            raise one
        return one

    monkeypatch.setattr(measuring, "open_way", open_way)
    monkeypatch.setattr(judge, "_cpu_reference", lambda files, precision: Timed(SPEC, 90.0))


def run(files: Files, precisions: str, rounds: int = 6, limit_s: float = 1e6, **more: Any) -> dict[str, Any]:
    ways = [dataclasses.asdict(Way("tensorrt", name, True, "a.engine")) for name in precisions.split()]
    return measure(dataclasses.asdict(files), ways, limit_s, 64, rounds=rounds, timed=3, samples=1, **more)


def test_every_way_is_compared_and_timed(monkeypatch: pytest.MonkeyPatch, files: Files) -> None:
    fakes(monkeypatch, {"fp16": Timed(SPEC, 2.0), "int8": Timed(SPEC, 1.0, logit=4.4)})
    found = run(files, "fp16 int8")
    half, int8 = found["rows"]
    assert [row["device_ms"]["median"] for row in (half, int8)] == [2.0, 1.0]
    assert half["with_transfers_ms"]["median"] == 2.5
    assert (half["n"], half["way"], half["file"]) == (18, "tensorrt fp16, graph", "a.engine")
    assert half["parity"]["agrees"]
    assert int8["parity"]["relative_difference"] == pytest.approx(0.1, rel=1e-4)
    assert int8["parity"]["with"] == "FP32"
    assert found["size"] == [64, 64]
    assert found["reference"].startswith("fake 1 fp32 on the CPU, city:")


def test_a_difference_beyond_the_tolerance_is_said_and_timed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    fakes(monkeypatch, {"fp16": Timed(SPEC, 2.0, logit=5.0)})
    row = run(files, "fp16")["rows"][0]
    assert not row["parity"]["agrees"]
    assert row["n"] == 18


def test_nan_is_a_finding(monkeypatch: pytest.MonkeyPatch, files: Files) -> None:
    fakes(monkeypatch, {"fp16": Timed(SPEC, 2.0, logit=float("nan"))})
    parity = run(files, "fp16")["rows"][0]["parity"]
    assert not parity["agrees"]
    assert "NaN" in parity["why"]


def test_a_way_that_cannot_be_opened_or_fails_at_once_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    whole = Timed(SPEC, 2.0)
    fakes(monkeypatch, {"fp32": EnvironmentFault("no engine"), "tf32": Timed(SPEC, 1.0, fail=True), "fp16": whole})
    rows = run(files, "fp32 tf32 fp16")["rows"]
    assert rows[0]["not_available"] == "no engine"
    assert rows[1]["not_available"].startswith("it was opened and failed at its first frame: RuntimeError: CUDA error")
    assert rows[2]["n"] == 18
    assert whole.released


def test_scales_that_were_not_calibrated_are_compared_with_their_own_file(
    monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    fakes(monkeypatch, {"int8": Timed(SPEC, 1.0)})
    asked: list[str] = []

    def reference(files: Files, precision: str) -> Timed:
        asked.append(precision)
        return Timed(SPEC, 9.0)

    monkeypatch.setattr(judge, "_cpu_reference", reference)
    parity = run(dataclasses.replace(files, calibrated=False), "int8")["rows"][0]["parity"]
    assert parity["with"] == "its own ONNX file"
    assert asked == ["fp32", "int8-fp16"]


def test_the_mask_of_fresh_weights_is_not_judged(monkeypatch: pytest.MonkeyPatch, files: Files) -> None:
    fakes(monkeypatch, {"fp16": Timed(SPEC, 1.0)})
    parity = run(dataclasses.replace(files, weights="fresh"), "fp16")["rows"][0]["parity"]
    assert parity["agrees"]
    assert not parity["mask_judged"]


def test_without_a_reference_ways_are_timed_and_the_reason_stands_there(
    monkeypatch: pytest.MonkeyPatch, files: Files
) -> None:
    fakes(monkeypatch, {"fp16": Timed(SPEC, 1.0)})

    def absent(files: Files, precision: str) -> Any:
        raise EnvironmentFault("no onnxruntime")

    monkeypatch.setattr(judge, "_cpu_reference", absent)
    row = run(files, "fp16")["rows"][0]
    assert row["parity"] == {"not_available": "there is no reference: no onnxruntime"}
    assert row["n"] == 18


def test_when_the_time_is_up_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch, files: Files) -> None:
    fakes(monkeypatch, {"fp16": Timed(SPEC, 1.0)})
    row = run(files, "fp16", limit_s=0.0)["rows"][0]
    assert row["not_available"].startswith("skipped: opening the ways before it took")


def test_a_reference_computes_each_sample_once() -> None:
    slow = Timed(SPEC, 1.0)
    remembered = Remembered(slow)
    feeds = noise(SPEC)
    first, second = (remembered.infer(feeds, logits=True) for _ in range(2))
    assert slow.calls == 1
    assert first is second
    remembered.infer({**feeds, "image": 255 - feeds["image"]})
    assert slow.calls == 2


def test_without_opencv_there_are_no_samples_and_noise_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **named: Any) -> Any:
        raise ImportError("No module named 'cv2'")

    monkeypatch.setattr(measuring, "parity_samples", broken)
    given, why = samples_of(SPEC, 2)
    assert (given, why) == (None, "no samples: ImportError: No module named 'cv2'")
    with contextlib.ExitStack() as held:
        parity = Judge(Files("n", "a", {}, None, True, {}), given, why, held).of(Way("torch", "fp32", False, ""), None)  # type: ignore[arg-type]
    assert parity == {"not_available": why}


def test_samples_are_cut_to_the_size_of_the_network() -> None:
    given, _ = samples_of(SPEC, 1)
    assert given is not None
    assert given.pairs[0][0].size == (64, 64)


def test_a_network_without_any_file_says_why() -> None:
    with pytest.raises(EnvironmentFault, match="no torch"):
        spec_of(Files("cmipnet", "none", {}, None, False, {"fp32": "no torch"}), 64)


def test_torch_on_the_processor_says_what_the_exported_file_says(tmp_path: Path) -> None:
    made = made_fresh("roadedge-n", tmp_path, 64)
    assert made.checkpoint is not None
    ways = [Way("torch", name, graph, made.checkpoint) for name in ("fp32", "fp16") for graph in (False, True)]
    asked = [dataclasses.asdict(way) for way in ways]
    found = measure(dataclasses.asdict(made), asked, 1e6, 64, "cpu", 2, 1, 1, 0, 1)
    plain, graph, half, _ = found["rows"]
    assert plain["parity"]["agrees"]
    assert plain["parity"]["relative_difference"] < 1e-4 < half["parity"]["relative_difference"] < 2e-2
    assert graph["not_available"] == "a CUDA graph needs a GPU"
    assert plain["device_ms"]["median"] < plain["with_transfers_ms"]["median"] < plain["host_ms"]["median"]
    assert np.isfinite(plain["h2d_ms"])
