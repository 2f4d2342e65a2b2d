"""`roadedge export` and `roadedge info`, as typed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from roadedge.cli import main
from roadedge.imagery import write_png
from roadedge.spec import sha256_of
from tests.export.artefacts import Artefacts


@pytest.fixture
def workplace(artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two training runs, the second one newer, and an image to compare on."""
    monkeypatch.chdir(tmp_path)
    for age, name in ((100, "old"), (1, "new")):
        run = tmp_path / "runs" / "train" / name
        run.mkdir(parents=True)
        for suffix in ("", ".json"):
            shutil.copy(f"{artefacts.checkpoint}{suffix}", run / f"best.pt{suffix}")
        os.utime(run / "best.pt", (1e9 - age, 1e9 - age))
    write_png(tmp_path / "images" / "a.png", np.full((64, 64, 3), 90, np.uint8))
    return tmp_path


def test_export_without_a_checkpoint_takes_the_newest_run_and_says_so(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--size", "64", "--data", "images", "--no-gate"]) == 0
    out, said = capsys.readouterr()
    written = workplace / "runs" / "export" / "roadedge-n" / "roadedge-n.onnx"
    assert f"exporting {workplace / 'runs/train/new/best.pt'}" in said
    assert f"Results saved to {written}" in said
    assert f"roadedge infer {written}" in said
    assert "mask agrees" in out
    assert "40 fp32; 64x64, batch 1, opset 17" in out


def test_export_as_json_prints_json_alone(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--fp16", "--size", "64x96", "--data", "images", "-o", "out", "--json", "--no-gate"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["onnx"] == str(workplace / "out" / "roadedge-n.fp16.onnx")
    assert result["sha256"] == sha256_of(result["onnx"])
    assert result["spec"]["size"] == [64, 96]
    assert result["convolutions"] == {"fp16": 40}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["export", "absent.pt"], 8, "there is no model absent.pt"),
        (["export", "roadedge-xl"], 2, "unknown model 'roadedge-xl'"),
        (["export", "--size", "100"], 2, "multiples of 32"),
        (["export", "--size", "64", "--data", "nowhere"], 8, "nowhere"),
        (["info", "absent.onnx"], 8, "there is no model absent.onnx"),
        (["info", "images/a.png"], 8, "no known kind"),
    ],
)
def test_a_mistake_is_one_sentence_and_its_code(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert main(arguments) == code
    out, log = capsys.readouterr()
    assert out == ""
    assert said in log
    assert "Traceback" not in log
    assert not (workplace / "runs" / "export").exists()


def test_info_of_a_graph(artefacts: Artefacts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(artefacts.fp16), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sha256"] == sha256_of(artefacts.fp16)
    assert found["sidecar"] is True
    assert found["opset"] == {"ai.onnx": 17}
    assert found["convolutions"] == {"fp16": 40}
    assert [port["name"] for port in found["inputs"]] == ["image", "trajectory"]
    assert found["loads"]["onnxruntime"]["yes"] is True
    assert found["loads"]["onnxruntime"]["graph_precision"] == "fp16"
    assert found["provenance"]["checkpoint"]["file"] == "tiny.pt"


def test_info_in_words(artefacts: Artefacts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(artefacts.fp32)]) == 0
    text = capsys.readouterr().out
    for part in (
        "opset ai.onnx 17",
        "40 fp32",
        "1 x 64 x 64 x 3",
        "loads here: onnxruntime",
        "parity onnxruntime",
        "0.46 m",
    ):
        assert part in text


def test_info_of_a_checkpoint(artefacts: Artefacts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(artefacts.checkpoint), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == 733808
    assert found["loads"]["torch"]["precision"] == "fp32"


def test_info_says_what_does_not_load(artefacts: Artefacts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(artefacts.fp32.read_bytes()[:1000])
    assert main(["info", str(broken)]) == 8
    assert "broken.onnx is not an ONNX file" in capsys.readouterr().err
