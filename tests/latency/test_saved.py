"""A run folder read back: whole, killed half-way, of another kind, or spoilt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from roadedge.cli import main
from roadedge.environment import environment
from roadedge.errors import DataError, OutputError
from roadedge.latency.profile import FrameRecord
from roadedge.latency.rebuild import rebuild_report
from roadedge.latency.report import write_report
from roadedge.latency.saved import KILLED, SCHEMA_VERSION, load_run, profile_from
from roadedge.latency.verdict import Verdict, judge
from roadedge.stream import outcome
from tests.latency.test_frame_table import csv_text
from tests.latency.test_profile import dropped, profile, record

RECORDS = [record(i, age_ms=40.0 + i % 7) for i in range(800)] + [dropped(800)]
PICTURE = np.full((40, 60, 3), 90, np.uint8)


def verdict_on(records: list[FrameRecord]) -> Verdict:
    shown = profile(records)
    return judge(shown, asked_s=None, interrupted=False, backend_asked="auto", backend_used="fake", accuracy_known=True)


def metrics_of(records: list[FrameRecord]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict_on(records).to_dict(),
        "source": "synth:512x512@10",
        "runner": {"model": "fake", "backend": "fake", "device": "CPU", "precision": "fp32"},
        "model": {"file": "fake.onnx", "sha256": "0" * 64, "accuracy": "G_IoU 70"},
        "gaps": [],
        "machine": {"series": {"t_s": [0.0, 1.0], "rss_mb": [100.0, 101.0]}, "summary": {}},
        **profile(records).to_dict(),
        "environment": environment(),
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    metrics = json.loads(json.dumps(metrics_of(RECORDS)))
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "frames.csv").write_text(csv_text(RECORDS))
    return tmp_path


def test_profile_and_verdict_come_back_as_they_were(run: Path) -> None:
    saved = load_run(run)
    assert saved.profile == profile(RECORDS)
    assert saved.verdict == verdict_on(RECORDS)
    assert saved.missing == ()
    assert profile_from(json.loads(json.dumps(profile([]).to_dict()))) == profile([])


def test_the_report_of_a_folder_is_the_one_that_the_run_wrote(run: Path) -> None:
    write_report(
        run / "report.html", metrics_of(RECORDS), RECORDS, profile(RECORDS), verdict_on(RECORDS), [("a", PICTURE)]
    )
    first = (run / "report.html").read_bytes()
    assert rebuild_report(load_run(run)) == (run / "report.html").resolve()
    assert (run / "report.html").read_bytes() == first  # with its pictures, which are nowhere else


def test_pictures_of_a_run_without_a_report_come_from_its_masks(run: Path) -> None:
    (run / "masks").mkdir()
    for name in ("000003", "000400"):
        cv2.imwrite(str(run / "masks" / f"{name}.png"), PICTURE)
    text = rebuild_report(load_run(run)).read_text()
    assert text.count("<img") == 2
    assert "000003</figcaption>" in text
    assert "000400</figcaption>" in text


def test_a_killed_run_is_shown_and_says_what_is_missing(run: Path) -> None:
    (run / "metrics.json").unlink()
    frames = run / "frames.csv"
    frames.write_text(frames.read_text()[:-30])
    saved = load_run(run)
    assert saved.missing == (KILLED, "1 rows of frames.csv cannot be read and are left out")
    assert saved.profile.answered == 800
    assert saved.profile.rate_hz == 10.0
    assert saved.verdict.reasons == (KILLED,)
    text = rebuild_report(saved).read_text()
    assert KILLED in text
    assert "INVALID" in text


def test_a_run_killed_before_its_first_frame_is_shown(run: Path) -> None:
    (run / "metrics.json").unlink()
    (run / "frames.csv").write_text(csv_text([]))
    assert "No frame came" in rebuild_report(load_run(run)).read_text()


def test_a_run_that_kept_no_frames_has_its_table(run: Path) -> None:
    (run / "frames.csv").unlink()
    saved = load_run(run)
    assert "charts of single frames" in saved.missing[0]
    text = rebuild_report(saved).read_text()
    assert "Where the time goes" in text
    assert "No frame came" in text


def test_the_schema_is_the_one_that_runs_write() -> None:
    assert outcome.SCHEMA_VERSION == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"schema_version": 99}, "schema_version 99 and this roadedge reads"),
        ({"rows": []}, "has no schema_version"),
        ({"schema_version": SCHEMA_VERSION}, "has no verdict, stages_ms, age_ms"),
        ({**metrics_of(RECORDS), "warmup": None}, "damaged"),
        ({**metrics_of(RECORDS), "due": "many"}, "damaged"),
        ([1, 2], "has no schema_version"),
    ],
)
def test_another_kind_of_metrics_is_refused_in_a_sentence(run: Path, content: Any, words: str) -> None:
    (run / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=words):
        load_run(run)


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"load": 1e999}', "[" * 100_000, "\xff"])
def test_metrics_that_are_no_json_are_refused(run: Path, text: str) -> None:
    (run / "metrics.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="cannot read"):
        load_run(run)


@pytest.mark.parametrize(
    "change",
    [
        {"runner": "x"},
        {"machine": [1]},
        {"gaps": [7]},
        {"gaps": "soon"},
        {"input_size": [1]},
        {"model": 5},
    ],
)
def test_metrics_with_something_else_in_a_place_are_refused(run: Path, change: dict[str, Any]) -> None:
    (run / "metrics.json").write_text(json.dumps({**metrics_of(RECORDS), **change}))
    with pytest.raises(DataError, match="damaged"):
        rebuild_report(load_run(run))


def test_a_folder_that_is_no_run_and_one_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a run folder"):
        load_run(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        load_run(tmp_path / "nowhere")


def test_a_report_that_cannot_be_written_says_so(run: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        rebuild_report(load_run(run), run / "frames.csv" / "report.html")


def test_the_command_prints_the_table_and_draws_only_when_asked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert "Result is: VALID" in capsys.readouterr().out
    assert not (run / "report.html").exists()
    assert main(["report", str(run), "--html", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["report"] == str((run / "report.html").resolve())
    assert said["answered"] == 800
    assert main(["report", str(run / "masks")]) == 8
    assert "is not a folder" in capsys.readouterr().err
