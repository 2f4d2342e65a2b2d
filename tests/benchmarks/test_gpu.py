"""`make gpu` from the front: exit codes, where results go, and what the table and the sentences say."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.nvidia.child import Outcome
from benchmarks.nvidia.interleave import times_of
from benchmarks.nvidia.report import markdown, sentences
from benchmarks.nvidia.ways import Way, absent
from tests.benchmarks.machine import H200, NO_GPU, STATE, seen

ROOT = Path(__file__).parent.parent.parent


def row(precision: str, ms: float, graph: bool = True, rounds: int = 35) -> dict[str, Any]:
    calls = [[{"infer": ms + 1, "h2d": 0.25, "gpu": ms, "d2h": 0.25}] * 20] * rounds
    parity = {"relative_difference": 0.01, "mask_agreement": 0.999, "mask_judged": True, "agrees": precision != "int8"}
    way = Way("tensorrt", precision, graph, "a.engine")
    named = {"family": "tensorrt", "precision": precision, "graph": graph, "compiled": False, "way": way.name}
    return named | times_of(calls) | {"parity": parity, "remarks": []}


def document(device: dict[str, Any] = H200, rehearsal: str = "", **rows_of: Any) -> dict[str, Any]:
    rows = rows_of.get("rows", [row("fp16", 1.41), row("int8", 1.0), absent("torch", "all", "no torch | here")])
    network = {"network": "roadedge-s", "weights": "roadedge-s", "calibrated": True, "missing": {}, "builds": []}
    network |= {"rows": rows, "remarks": ["throttled after the measurement: power cap"], "size": [512, 512]}
    network |= {"state_before": STATE, "state_after": STATE, "reference": "onnxruntime 1.31 fp32 on the CPU, city:1"}
    trial = [
        {"capabilities": "8.0", "built": True, "loads": True, "runs": True, "why": "", "agreement": 0.9991},
        {"capabilities": "12.0", "built": True, "loads": False, "runs": False, "why": "does not take it"},
    ]
    whole = {
        "schema_version": 1,
        "rehearsal": rehearsal,
        "budget_s": 540.0,
        "seconds": 312.0,
        **seen(device, "tensorrt"),
    }
    return whole | {"rtx_trial": {"rows": trial}, "networks": [network]}


def test_what_is_faster_is_said_of_times_alone() -> None:
    said = sentences(document())
    where = "roadedge-s, TensorRT, CUDA graph"
    assert said == [
        f"INT8 is 41 % faster than FP16 on this device (1.41×, faster in 35 of 35 rounds; {where}, the network alone)",
        f"INT8 is 27 % faster than FP16 on this device (1.27×, faster in 35 of 35 rounds; {where}, with transfers)",
    ]


def test_an_int8_engine_that_gains_nothing_is_advised_against() -> None:
    said = sentences(document(rows=[row("fp16", 1.0), row("int8", 1.0)]))
    assert "cannot be told apart" in said[0]
    assert said[1] == "take FP16 on this device: INT8 gains less than 10 % here"


def test_without_two_precisions_nothing_is_said() -> None:
    assert sentences(document(rows=[row("int8", 1.0), row("fp16", 1.0, graph=False)])) == []
    assert "Nothing: no two precisions ran." in markdown(document(rows=[row("int8", 1.0)]))


def test_the_table_has_times_reasons_and_what_disagrees() -> None:
    text = markdown(document())
    assert "# NVIDIA H200" in text
    assert (
        "| TensorRT | FP16 | yes | 1.410 / 1.410 / 1.410 | 1.910 / 1.910 / 1.910 | 2.410 | 700 | 1 % | 99.90 % |"
        in text
    )
    assert "1 % (**too much**)" in text
    assert "| torch | all | – | not available: no torch / here |" in text
    assert "| tensorrt-rtx | not available: no tensorrt-rtx here |" in text
    assert "| 8.0 | yes | yes | yes | 99.91 % |  |" in text
    assert "| 12.0 | yes | no | no | – | does not take it |" in text
    assert "**throttled after the measurement: power cap**" in text
    assert "1980 MHz" in text


def test_a_rehearsal_is_marked_in_its_title_and_in_each_sentence() -> None:
    rehearsed = document(NO_GPU, "no GPU: script rehearsal")
    assert markdown(rehearsed).startswith("# no GPU: script rehearsal\n\n**Not a result.**")
    assert all(line.startswith("no GPU: script rehearsal: ") for line in sentences(rehearsed))
    assert gpu.stem_of(rehearsed) == "rehearsal-2026-11-21"


def test_results_are_named_by_gpu_and_date_and_written_as_json_and_table(tmp_path: Path) -> None:
    path = gpu.save(document(), tmp_path)
    assert path.name == "nvidia-h200-2026-11-21.json"
    assert json.loads(path.read_text())["networks"][0]["rows"][0]["n"] == 700
    assert path.with_suffix(".md").read_text() == markdown(document())


def test_without_a_gpu_the_exit_code_is_3_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "stage", lambda task, limit_s: Outcome(seen(NO_GPU, "torch"), "", 1.0))
    assert gpu.main(["-o", str(tmp_path / "out")]) == 3
    assert "no NVIDIA GPU answers here (there is no NVIDIA driver here)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_after_ctrl_c_what_was_measured_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stage(task: dict[str, Any], limit_s: float) -> Outcome:
        if task["kind"] == "look":
            return Outcome(seen(H200, "torch"), "", 1.0)
        if task["kind"] == "measure" and task["files"]["network"] == "cmipnet":
            raise KeyboardInterrupt
        if task["kind"] == "measure":
            return Outcome({"rows": [row("fp16", 1.0)], "remarks": []}, "", 1.0)
        files = {"network": task["network"], "weights": "a", "onnx": {}, "checkpoint": "a.pt"}
        return Outcome(files | {"calibrated": True, "missing": {}}, "", 1.0)

    monkeypatch.setattr(gpu, "stage", stage)
    assert gpu.main(["-o", str(tmp_path), "--networks", "roadedge-s,cmipnet"]) == 130
    written = json.loads((tmp_path / "nvidia-h200-2026-11-21.json").read_text())
    assert written["networks"][0]["rows"][0]["n"] == 700
    assert written["networks"][1]["rows"][0]["not_available"] == "skipped: its turn has not come"


def test_a_machine_that_cannot_be_looked_at_is_exit_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "stage", lambda task, limit_s: Outcome(None, "stopped after 60 s", 60.0))
    assert gpu.main([]) == 3
    assert "stopped after 60 s" in capsys.readouterr().err


def test_a_rehearsal_does_not_go_among_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--dry-run", "-o", str(gpu.RESULTS)])
    assert ended.value.code == 2
    assert "a rehearsal is no result" in capsys.readouterr().err


def test_an_unknown_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--networks", "roadedge-x"])
    assert "choose from roadedge-s" in capsys.readouterr().err


def fake_python(folder: Path) -> Path:
    """An interpreter that prints what the script around it sets; -m zipfile is the real one's."""
    path = folder / "python"
    path.write_text(
        '#!/bin/sh\ncase "$1" in -m) exec python3 "$@";; esac\n'
        'echo "PYTHONPATH=$PYTHONPATH"; ls "${PYTHONPATH%%:*}"; exit 3\n'
    )
    path.chmod(0o755)
    return path


def test_carried_wheels_in_parts_are_put_together_for_this_run_alone(tmp_path: Path) -> None:
    import zipfile

    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("tensorrt_rtx/__init__.py", "x" * 1000)
    carried = tmp_path / "carried"
    carried.mkdir()
    content = whole.read_bytes()
    for suffix, part in (("aa", content[:300]), ("ab", content[300:600]), ("ac", content[600:])):
        (carried / f"tensorrt_rtx-1-py3.whl.part-{suffix}").write_bytes(part)
    with zipfile.ZipFile(carried / "cuda_bindings-13-py3.whl", "w") as archive:
        archive.writestr("cuda/__init__.py", "")
    done = run_script(tmp_path, RTX_WHEELS=str(carried))
    assert done.returncode == 3
    assert "tensorrt_rtx" in done.stdout
    assert "cuda" in done.stdout
    site = Path(done.stdout.partition("PYTHONPATH=")[2].split(":")[0])
    assert not site.exists()


def test_a_part_that_is_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.whl.part-aa").write_bytes(b"PK half of it")
    done = run_script(tmp_path, RTX_WHEELS=str(tmp_path))
    assert done.returncode == 2
    assert "is no whole wheel" in done.stderr


def test_a_folder_of_wheels_that_is_none_is_said(tmp_path: Path) -> None:
    done = run_script(tmp_path, RTX_WHEELS=str(tmp_path / "nowhere"))
    assert (done.returncode, "RTX_WHEELS is no folder" in done.stderr) == (2, True)


def run_script(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": str(fake_python(folder))} | more
    return subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "gpu.sh")], env=environment, capture_output=True, text=True, check=False
    )
