"""After a build: the engine against its ONNX file. ONNX Runtime plays the engine, since no GPU is needed then."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.errors import ExportError
from roadedge.export import engine_check
from roadedge.export.engine import build_engine
from roadedge.export.engine_check import agreement
from roadedge.export.engine_order import BuildOptions
from roadedge.export.parity import Parity
from roadedge.export.targets import read_target
from roadedge.preprocess import Feeds
from roadedge.runners import Runner, open_runner
from roadedge.runners.device import Device
from roadedge.runners.engine_facts import EngineFacts
from tests.export.artefacts import Artefacts, samples
from tests.export.fake_tensorrt import Fake

NANO = Device("Orin", "8.7", "540.4.0", "12.6", "6.2", "10.3.0")


@pytest.fixture
def made(artefacts: Artefacts, tmp_path: Path) -> tuple[Path, EngineFacts]:
    target, options = read_target("jetson-orin-nano"), BuildOptions(check=False)
    result = build_engine(artefacts.fp16, target, tmp_path, options, False, Fake(), NANO)
    return result.engine, result.facts


@pytest.fixture
def play(artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets ONNX Runtime open engines, and returns the back-ends that were asked for."""
    asked: list[str] = []

    def opened(model: Path, backend: str, accept_rejected: bool) -> Runner:
        asked.append(backend)
        return open_runner(artefacts.fp16 if model.suffix == ".engine" else model, "onnxruntime")

    monkeypatch.setattr(engine_check, "open_runner", opened)
    monkeypatch.setattr(engine_check, "parity_samples", lambda spec: samples())
    return asked


def test_an_engine_that_agrees_passes_and_says_on_what(
    made: tuple[Path, EngineFacts], play: list[str], artefacts: Artefacts
) -> None:
    found = agreement(made[0], artefacts.fp16, made[1], NANO)
    assert found["checked"] == "compared with its ONNX file on 1 samples"
    assert found["parity"][0]["agreement"] == 1.0
    assert play == ["onnxruntime", "tensorrt"]


@pytest.mark.parametrize("damage", ["nan", "wrong"])
def test_an_engine_that_does_not_agree_is_an_error(
    made: tuple[Path, EngineFacts],
    play: list[str],
    artefacts: Artefacts,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    opened: Any = vars(engine_check)["open_runner"]

    def broken(model: Path, backend: str, accept_rejected: bool) -> Any:
        runner = opened(model, backend, accept_rejected)
        if backend == "tensorrt":
            infer = runner.infer

            def spoiled(feeds: Feeds, logits: bool = False) -> Feeds:
                out: Feeds = dict(infer(feeds, logits))
                out["logits"] = out["logits"] * np.float32(np.nan if damage == "nan" else -1)
                return out

            runner.infer = spoiled
        return runner

    monkeypatch.setattr(engine_check, "open_runner", broken)
    with pytest.raises(ExportError, match="NaN" if damage == "nan" else "differs from"):
        agreement(made[0], artefacts.fp16, made[1], NANO)


@pytest.mark.parametrize(
    ("effective", "tf32", "like"),
    [("fp32", False, "fp32"), ("fp32", None, "fp32"), ("fp32", True, "fp16"), ("int8+fp32", True, "int8")],
)
def test_tf32_is_judged_like_fp16(
    made: tuple[Path, EngineFacts],
    play: list[str],
    artefacts: Artefacts,
    monkeypatch: pytest.MonkeyPatch,
    effective: str,
    tf32: bool | None,
    like: str,
) -> None:
    held: list[Any] = []
    monkeypatch.setattr(Parity, "check", lambda self, tolerance: held.append(tolerance))
    agreement(made[0], artefacts.fp16, dataclasses.replace(made[1], precision_effective=effective, tf32=tf32), NANO)
    assert held == [engine_check.TOLERANCES[like]]


@pytest.mark.parametrize(
    ("device", "wanted", "why"),
    [
        (Device(), True, "there is no GPU here"),
        (Device(absent=("there is no driver",)), True, "there is no driver"),
        (dataclasses.replace(NANO, compute_capability="9.0"), True, "the GPU here has compute capability 9.0"),
        (NANO, False, "--no-check was given"),
    ],
)
def test_why_nothing_was_compared_is_said(
    made: tuple[Path, EngineFacts], artefacts: Artefacts, device: Device, wanted: bool, why: str
) -> None:
    found = agreement(made[0], artefacts.fp16, made[1], device, wanted)
    assert found == {"parity": [], "checked": f"not compared with its ONNX file: {why}"}
