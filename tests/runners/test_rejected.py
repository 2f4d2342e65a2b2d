"""A rejected artefact stays rejected: in the sidecar, without it, and until somebody says `--accept-rejected`."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

import roadedge
from roadedge.cli import main
from roadedge.errors import AccuracyGateError, ModelFileError, OutputError
from roadedge.runners import RejectedArtefactWarning, open_runner
from roadedge.runners.gatemark import mark_passed, mark_rejected, rejection
from roadedge.spec import read_sidecar, sha256_of, sidecar_path
from tests.evaluation.bright_roads import write_data_set
from tests.export.artefacts import Artefacts

REASON = "fog: G_IoU 40.00 against 60.00, a share of 0.6667 where 0.99 is asked for"


@pytest.fixture(params=["onnx", "pt"])
def model(artefacts: Artefacts, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of its own of an exported file, or of a checkpoint, with the sidecar."""
    source = artefacts.fp32 if request.param == "onnx" else artefacts.checkpoint
    return copied(source, tmp_path)


def copied(source: Path, folder: Path) -> Path:
    shutil.copy(f"{source}.json", folder / f"{source.name}.json")
    return Path(shutil.copy(source, folder / source.name))


def test_a_rejected_file_is_refused_in_one_sentence_that_says_what_was_lost_and_what_to_do(model: Path) -> None:
    mark_rejected(model, REASON, {"min_ratio": 0.99})
    with pytest.raises(AccuracyGateError, match=r"fog: G_IoU 40.00 against 60.00") as caught:
        open_runner(model)
    assert caught.value.exit_code == 5
    assert "--accept-rejected" in str(caught.value)
    with pytest.raises(AccuracyGateError):
        roadedge.load(model)


def test_the_sidecar_keeps_the_table_and_the_right_digest(model: Path) -> None:
    before = read_sidecar(model)
    mark_rejected(model, REASON, {"min_ratio": 0.99, "reference": "FP32"})
    after = read_sidecar(model)  # raises where the digest is another one
    assert before is not None
    assert after is not None
    assert after[0] == before[0]
    assert after[1]["gate"] == {"verdict": "rejected", "reason": REASON, "min_ratio": 0.99, "reference": "FP32"}
    assert {key: value for key, value in after[1].items() if key != "gate"} == before[1]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_lost_sidecar_does_not_make_a_rejected_graph_a_good_one(
    artefacts: Artefacts, tmp_path: Path, backend: str
) -> None:
    pytest.importorskip(backend)
    model = copied(artefacts.fp32, tmp_path)
    mark_rejected(model, REASON, {})
    sidecar_path(model).unlink()
    with pytest.raises(AccuracyGateError, match=r"a share of 0.6667"):
        open_runner(model, backend)


def test_a_checkpoint_that_lost_its_sidecar_stays_rejected(artefacts: Artefacts, tmp_path: Path) -> None:
    model = copied(artefacts.checkpoint, tmp_path)
    mark_rejected(model, REASON, {})
    sidecar_path(model).unlink()
    with pytest.raises(AccuracyGateError, match=r"a share of 0.6667"):
        open_runner(model)


def test_accepted_it_runs_with_a_warning(model: Path) -> None:
    mark_rejected(model, REASON, {})
    with pytest.warns(RejectedArtefactWarning, match="fog: G_IoU 40.00"):
        open_runner(model, accept_rejected=True).close()


def test_a_file_that_passed_stays_byte_for_byte_what_was_measured(model: Path) -> None:
    before = sha256_of(model)
    mark_passed(model, {"min_ratio": 0.99})
    assert sha256_of(model) == before
    stated = read_sidecar(model)
    assert stated is not None
    assert stated[1]["gate"]["verdict"] == "passed"
    open_runner(model).close()


def test_passed_later_the_rejection_is_gone_from_the_file_too(model: Path) -> None:
    mark_rejected(model, REASON, {})
    mark_passed(model, {})
    open_runner(model).close()
    sidecar_path(model).unlink()
    open_runner(model).close()
    assert b"roadedge.gate" not in model.read_bytes()


def test_marked_again_it_says_the_newer_reason(model: Path) -> None:
    mark_rejected(model, REASON, {})
    mark_rejected(model, "clear: NaN", {})
    sidecar_path(model).unlink()
    with pytest.raises(AccuracyGateError, match="clear: NaN"):
        open_runner(model)


def test_a_file_without_a_sidecar_or_with_another_ones_is_not_marked(artefacts: Artefacts, tmp_path: Path) -> None:
    model = Path(shutil.copy(artefacts.fp32, tmp_path / "bare.onnx"))
    with pytest.raises(ModelFileError, match="is absent"):
        mark_rejected(model, REASON, {})
    shutil.copy(f"{artefacts.fp16}.json", f"{model}.json")
    with pytest.raises(ModelFileError, match="other bytes"):
        mark_passed(model, {})
    assert model.read_bytes() == artefacts.fp32.read_bytes()


def test_where_the_sidecar_cannot_be_written_the_file_does_not_load_as_if_nothing_were(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = copied(artefacts.fp32, tmp_path)

    def full(*_: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr("roadedge.spec.write_json", full)
    with pytest.raises(OutputError):
        mark_rejected(model, REASON, {})
    with pytest.raises(ModelFileError, match="other bytes"):
        open_runner(model)


def test_what_is_no_verdict_is_none() -> None:
    assert rejection({}) is None
    assert rejection({"gate": "rejected"}) is None
    assert rejection({"gate": {"verdict": "passed"}}) is None
    assert rejection({"gate": {"verdict": "rejected"}}) == "its sidecar does not say why"


def test_infer_and_eval_refuse_it_with_5_unless_told_otherwise(
    artefacts: Artefacts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = copied(artefacts.fp32, tmp_path)
    mark_rejected(model, REASON, {})
    data = write_data_set(tmp_path / "bright", (8,))
    image = data / "image" / "t0.png"
    runs = (
        ["infer", str(model), str(image), "--save", "csv", "--threads", "1"],
        ["eval", str(model), str(data), "--panels", "0", "--bootstrap", "0", "--threads", "1"],
    )
    for number, run in enumerate(runs):
        out = tmp_path / f"out{number}"
        assert main([*run, "-o", str(out)]) == 5
        told = capsys.readouterr().err
        assert "rejected by the accuracy gate: fog" in told
        assert "--accept-rejected" in told
        assert not out.exists()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            assert main([*run, "-o", str(out), "--accept-rejected"]) == 0
        assert "warning:" in capsys.readouterr().err


def test_info_says_it_first_hand(artefacts: Artefacts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = copied(artefacts.fp32, tmp_path)
    assert main(["info", str(model)]) == 0
    assert "accuracy gate: never measured" in capsys.readouterr().out
    mark_rejected(model, REASON, {})
    assert main(["info", str(model)]) == 0
    printed = capsys.readouterr().out
    assert f"accuracy gate: REJECTED, {REASON}" in printed
    assert "loads here: onnxruntime" in printed
