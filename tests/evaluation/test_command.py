"""`roadedge eval` from the command line to its exit code, with a small network of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roadedge.cli import main
from tests.evaluation.bright_roads import write_data_set

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from roadedge.models import create_model
    from roadedge.models.checkpoint import save_network

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.pt"
    save_network(path, create_model("roadedge-n"), {})
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data_set(tmp_path / "bright")


def run(*arguments: object) -> int:
    return main(["eval", *map(str, arguments), "--bootstrap", "20", "--threads", "1"])


def test_a_table_goes_out_and_the_files_are_written(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(checkpoint, data, "--corrupt", "fog:0.8,points:0.5", "--panels", "1", "-o", out) == 0
    printed = capsys.readouterr()
    assert "A_IoU_batch8" in printed.out
    assert "semi-synthetic" in printed.out
    assert "fog:0.8, points:0.5" in printed.out
    assert str(out) in printed.err
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "panels", "samples.csv"]
    assert len(json.loads((out / "metrics.json").read_text())["model"]["sha256"]) == 64


def test_with_json_stdout_is_one_document(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, data, "--json", "--inputs", "image", "-o", tmp_path / "out") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["fed"] == ["image"]
    assert document["pooled"]["samples"] == 3


def test_a_strict_run_of_which_nothing_came_leaves_no_folder(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    (data / "image" / "t0.png").write_bytes(b"")
    assert run(checkpoint, data, "--strict", "-o", tmp_path / "out") == 8
    assert not (tmp_path / "out").exists()


def test_a_folder_with_a_bad_sample_ends_with_8(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "mask" / "t2.png").write_bytes(b"no picture")
    assert run(checkpoint, data, "-o", tmp_path / "out") == 8
    told = capsys.readouterr().err
    assert "failed: bright t2:" in told
    assert "error: 1 of 3 samples failed" in told
    assert (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--split", "train"], 8, "no samples of the split 'train'"),
        (["--corrupt", "fgo:1"], 2, "did you mean 'fog'"),
        (["--corrupt", "fog:2"], 2, "fraction between 0 and 1"),
        (["--inputs", "none"], 2, "choose from both, image, trajectory"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    options: list[str], code: int, sentence: str,
) -> None:  # fmt: skip
    assert run(checkpoint, data, *options, "-o", tmp_path / "out") == code
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("error:") == 1
    assert not (tmp_path / "out").exists()


def test_a_full_folder_is_not_written_into(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("kept")
    (out / "metrics.json").write_text("{}")  # else it is no run folder, and is not emptied
    assert run(checkpoint, data, "-o", out) == 2
    assert (out / "old.txt").read_text() == "kept"
    assert run(checkpoint, data, "-o", out, "--overwrite") == 0
    assert not (out / "old.txt").exists()


def test_graph_scores_go_by_their_options(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
    asked = ("--graph", "--apls-spacing", "7", "--threshold", "0.3")
    assert run(checkpoint, data, *asked, "--json", "-o", tmp_path / "out") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["graph"]["apls"]["spacing"] == 7
    assert found["settings"]["graph"]["tracing"]["threshold"] == 0.3
    assert found["pooled"]["graph"]["samples"] == 3
