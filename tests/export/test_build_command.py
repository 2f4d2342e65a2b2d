"""`roadedge build` and `roadedge export --target`, as typed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from roadedge.cli import main
from roadedge.errors import UsageError
from roadedge.export.building import emission, parse_capabilities, parse_workspace
from roadedge.export.targets import read_target
from roadedge.imagery import write_png
from roadedge.spec import read_sidecar
from tests.export.artefacts import Artefacts

RTX = ["--target", "rtx", "--compute-capability", "8.6"]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / "images" / "a.png", np.full((64, 64, 3), 90, np.uint8))
    return tmp_path


def test_build_says_what_it_made_and_what_was_not_done(
    workplace: Path, artefacts: Artefacts, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    assert main(["build", str(artefacts.fp16), *RTX, "-o", "out"]) == 0
    out, said = capsys.readouterr()
    made = workplace / "out" / "tiny.fp16.rtx.engine"
    assert "asked for fp16, made fp16; convolutions and matrix products of the parsed network: 40 fp16" in out
    assert "not compared with its ONNX file" in out
    assert "nvidia-smi" in out  # how clocks are held, by hand
    assert f"Results saved to {made} and {made}.json" in said
    assert f"roadedge info {made}" in said
    assert main(["build", str(artefacts.fp16), *RTX, "-o", "out"]) == 0
    assert "an engine of the same key lay there and is used again" in capsys.readouterr().out


def test_build_as_json_prints_json_alone(
    workplace: Path, artefacts: Artefacts, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    assert main(["build", str(artefacts.fp32), *RTX, "-o", "mine.engine", "--workspace", "512", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["engine"]
    assert found["engine"] == str(workplace / "mine.engine")
    assert found["facts"]["layers_by_precision"] == {"fp32": 40}
    assert found["facts"]["workspace_bytes"] == 512 * 2**20
    assert found["facts"]["build_arguments"] == ["--workspace", "512"]


def test_tf32_is_off_unless_asked_for_and_is_said(
    workplace: Path, artefacts: Artefacts, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    lines = []
    for file, more in ((artefacts.fp32, []), (artefacts.fp32, ["--tf32"]), (artefacts.fp16, ["--tf32"])):
        assert main(["build", str(file), *RTX, "-o", "out", *more]) == 0
        lines.append([line for line in capsys.readouterr().out.splitlines() if "TF32" in line or "tf32" in line])
    assert lines == [
        [],
        ["FP32 layers may be computed in TF32, as --tf32 allows"],
        ["--tf32 changes nothing: no convolution or matrix product is in FP32"],
    ]
    for engine, said in (("tiny.rtx.engine", True), ("tiny.fp16.rtx.engine", False)):
        assert main(["info", f"out/{engine}"]) == 0
        assert ("FP32 layers may be computed in TF32" in capsys.readouterr().out) is said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--target", "jetson-orin-nano"], 3, "needs tensorrt, which is not installed"),
        (["--target", "cpu"], 2, "no engine to build for cpu"),
        (["--target", "jetson-nano"], 2, "unknown export recipe 'jetson-nano'"),
        (["--target", "jetson-orin-nx", "--dla", "0"], 3, "tensorrt"),
        ([*RTX, "--workspace", "much"], 2, "auto or whole mebibytes"),
        (["--target", "rtx", "--compute-capability", "sm86"], 2, "8.6,8.9,12.0"),
        ([*RTX, "--dynamic", "32,64,96"], 2, "leave --dynamic out"),
        ([*RTX, "--timing-cache", "t.cache"], 2, "leave --timing-cache out"),
        ([*RTX, "--dla", "0"], 3, "has no DLA"),
    ],
)
def test_a_mistake_is_one_sentence_and_its_code(
    workplace: Path,
    artefacts: Artefacts,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    if "rtx" in arguments:
        pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    assert main(["build", str(artefacts.fp16), *arguments, "-o", "out"]) == code
    out, log = capsys.readouterr()
    assert out == ""
    assert said in log
    assert "Traceback" not in log
    assert not list(workplace.glob("out/*.engine*"))


def test_build_without_any_tensorrt_is_exit_3(
    workplace: Path, artefacts: Artefacts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["build", str(artefacts.fp16)]) == 3
    assert "pip install 'roadedge[tensorrt-rtx]'" in capsys.readouterr().err


def test_check_only_needs_no_tensorrt(
    workplace: Path, artefacts: Artefacts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert main(["build", str(artefacts.fp16), "--target", "jetson-orin-nano", "--check-only"]) == 0
    out, said = capsys.readouterr()
    assert "tiny.fp16.onnx can be built for NVIDIA Jetson Orin Nano" in out
    assert "roadedge build tiny.fp16.onnx --target jetson-orin-nano" in said


def test_export_for_a_device_that_is_not_here_writes_the_onnx_file_and_the_command(
    workplace: Path, artefacts: Artefacts, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(artefacts.checkpoint), "--fp16", "--size", "64", "--data", "images", "-o", "out"]
    assert main([*arguments, "--no-gate", "--target", "jetson-orin-nano"]) == 0
    out, _ = capsys.readouterr()
    assert (workplace / "out" / "tiny.fp16.onnx").is_file()
    assert "no engine was built here: building an engine of TensorRT needs tensorrt" in out
    assert "roadedge build tiny.fp16.onnx --target jetson-orin-nano" in out


def test_export_takes_precision_and_size_of_the_target_and_builds(
    workplace: Path, artefacts: Artefacts, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    (workplace / "card.toml").write_text(
        'device = "a card"\nruntime = "tensorrt-rtx"\ncompute_capabilities = ["8.6"]\nsize = [64, 96]\n'
    )
    arguments = ["export", str(artefacts.checkpoint), "--target", "card.toml", "--data", "images", "-o", "out"]
    assert main([*arguments, "--no-gate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spec"]["size"] == [64, 96]
    assert found["precision"] == "fp16"
    assert Path(found["delivery"]["engine"]["engine"]).name == "tiny.fp16.card.engine"
    stated = read_sidecar(found["delivery"]["engine"]["engine"])
    assert stated is not None
    assert stated[1]["engine"]["target"] == "card"


def test_an_engine_that_cannot_be_built_here_is_told_before_the_export(
    workplace: Path, artefacts: Artefacts, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(artefacts.checkpoint), "--size", "64", "--data", "images", "-o", "out"]
    assert main([*arguments, "--format", "engine", "--target", "jetson-thor"]) == 3
    assert "pip install 'roadedge[tensorrt]'" in capsys.readouterr().err
    assert main([*arguments, "--format", "plan"]) == 2
    assert not (workplace / "out").exists()


def test_triton_gets_the_onnx_file_where_no_engine_is_built(workplace: Path, artefacts: Artefacts) -> None:
    arguments = ["export", str(artefacts.checkpoint), "--size", "64", "--data", "images", "-o", "out", "--no-gate"]
    assert main([*arguments, "--triton", "models"]) == 0
    assert (workplace / "models" / "tiny" / "1" / "model.onnx").is_file()


def test_an_engine_that_triton_does_not_run_is_refused_before_the_work(
    workplace: Path, artefacts: Artefacts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(artefacts.fp16), *RTX, "-o", "out", "--triton", "models"]) == 2
    assert "serve the ONNX file" in capsys.readouterr().err
    assert main(["export", str(artefacts.checkpoint), "--target", "rtx", "-o", "out", "--triton", "models"]) == 2
    assert not (workplace / "out").exists()


def test_a_gpu_gets_the_emission_with_the_fp16_remainder(tmp_path: Path) -> None:
    plain, half = tmp_path / "net.int8.onnx", tmp_path / "net.int8-fp16.onnx"
    assert emission(plain, read_target("rtx")) == plain
    half.touch()
    assert emission(plain, read_target("rtx")) == half
    assert emission(plain, read_target("cpu")) == plain
    assert emission(plain, None) == plain


def test_texts_are_parsed() -> None:
    assert parse_capabilities("8.6, 8.9,8.6") == ("8.6", "8.9")
    assert parse_capabilities(None) == ()
    assert (parse_workspace(None), parse_workspace("auto"), parse_workspace("2048")) == (None, 0, 2048)
    for wrong in ("0", "-1", "1.5"):
        with pytest.raises(UsageError):
            parse_workspace(wrong)
