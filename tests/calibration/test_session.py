"""`roadedge quantize` and `roadedge train --qat` from end to end, as a user types them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from roadedge.calibration.session import QuantizeOptions, QuantizeResult, quantize
from roadedge.cli import main
from roadedge.errors import UnknownNameError, UsageError
from roadedge.models.checkpoint import load_network, save_network
from roadedge.models.quantized import QuantizedNet
from roadedge.spec import read_sidecar
from roadedge.training.recipe import QatSpec, override, to_toml
from tests.export.artefacts import network
from tests.test_atomic import files_end_at
from tests.training.conftest import make_folder
from tests.training.test_loop import TINY

SIZE = "96x96"


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "tiny.pt"
    save_network(path, network(), {"recipe": to_toml(TINY)})
    return path


@pytest.fixture(scope="module")
def tuned(data: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> QuantizeResult:
    """Fine-tuned in four steps, ranked, judged."""
    options = QuantizeOptions(
        str(checkpoint), (str(data),), "qat", calib=4, steps=4, size=(96, 96), min_iou_ratio=0.01,
        output=tmp_path_factory.mktemp("runs") / "tuned",
    )  # fmt: skip
    return quantize(options, quiet)


def test_fine_tuning_leaves_all_files_and_a_verdict_on_each_int8_graph(tuned: QuantizeResult) -> None:
    assert list(tuned.files) == ["FP32", "FP16", "INT8-PTQ", "INT8-PTQ+FP16", "INT8-QAT", "INT8-QAT+FP16"]
    assert {path.name for path in tuned.folder.iterdir()} >= {
        "tiny.onnx", "tiny.fp16.onnx", "tiny.int8.pt", "tiny.int8.onnx", "tiny.int8-fp16.onnx", "calibration.json",
        "metrics.json", "ptq", "qat",
    }  # fmt: skip
    assert tuned.gate is not None
    assert [one.label for one in tuned.gate.verdicts] == list(tuned.files)
    for label, file in tuned.files.items():
        stated = read_sidecar(file)
        assert stated is not None
        assert ("gate" in stated[1]) == label.startswith("INT8"), label
    assert json.loads((tuned.folder / "metrics.json").read_text())["gate"]["min_ratio"] == 0.01


def test_the_checkpoint_holds_the_scales_that_were_exported(tuned: QuantizeResult) -> None:
    import onnx

    from roadedge.calibration.insert import scales_by_reader

    assert tuned.checkpoint is not None
    loaded, provenance = load_network(tuned.checkpoint)
    assert isinstance(loaded, QuantizedNet)
    assert scales_by_reader(onnx.load(tuned.files["INT8-QAT"]))[0] == loaded.scales()[0]
    assert "steps = 4" in provenance["recipe"]


def test_ranges_are_found_for_an_onnx_file_too(tuned: QuantizeResult, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "ptq"
    code = main(
        ["quantize", str(tuned.files["FP32"]), "--data", str(data), "--calib", "4", "-o", str(out), "--no-gate", "-q"]
    )
    assert code == 0
    assert (out / "tiny.int8.onnx").is_file()
    assert (out / "tiny.int8-fp16.onnx").is_file()


def test_sensitive_layers_stay_float_where_that_is_left_to_the_tool(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    options = QuantizeOptions(
        str(checkpoint),
        (str(data),),
        calib=2,
        size=(96, 96),
        keep_float=("auto",),
        gate=False,
        output=tmp_path / "auto",
    )
    result = quantize(options, quiet)
    stated = read_sidecar(result.files["INT8-PTQ"])
    assert stated is not None
    kept = set(stated[1]["calibration"]["float_convolutions"])
    assert kept >= set(result.kept_float)
    assert json.loads((result.folder / "sensitivity.json").read_text())["kept_float"] == list(result.kept_float)
    assert (result.folder / "sensitivity.svg").is_file()


def test_a_graph_that_lost_too_much_ends_with_exit_5_and_is_refused_by_infer(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "strict"
    arguments = ["quantize", str(checkpoint), "--data", str(data), "--calib", "2", "--size", SIZE, "-o", str(out)]
    assert main([*arguments, "--min-iou-ratio", "1.0", "-q"]) == 5
    assert "rejected" in capsys.readouterr().err
    image = str(data / "image" / "t0.png")
    assert main(["infer", str(out / "tiny.int8.onnx"), image, "-o", str(tmp_path / "no"), "-q"]) == 5
    assert "--accept-rejected" in capsys.readouterr().err


def test_training_goes_all_the_way_in_one_run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = override(TINY, steps=2, evaluate_every=2, panels=0, qat=QatSpec(steps=3, observe=1))
    (tmp_path / "r.toml").write_text(to_toml(recipe))
    out = tmp_path / "run"
    arguments = [
        "train",
        str(data),
        "--recipe",
        str(tmp_path / "r.toml"),
        "--qat",
        "-o",
        str(out),
        "-q",
        "--json",
    ]
    assert main(arguments) in (0, 5)  # two steps of training are no network, and the gate may say so
    printed = json.loads(capsys.readouterr().out)
    assert Path(printed["checkpoint"]) == out.resolve() / "int8" / "roadedge-n.int8.pt"
    assert printed["float"]["best"] == str(out.resolve() / "best.pt")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mode": "magic"}, "unknown mode"),
        ({"steps": 3}, "belong to --mode qat"),
        ({"resume": True}, "--mode qat"),
        ({"mode": "qat", "steps": 3, "epochs": 1.0}, "say the same thing"),
        ({"keep_float": ("auto", "head")}, "not both"),
        ({"mode": "qat", "resume": True, "steps": 9}, "as it was started"),
        ({"mode": "qat", "resume": True, "keep_float": ("head",)}, "as it was started"),
        ({"method": "magic"}, "calibration method"),
        ({"calib": 0}, "--calib must be at least 1"),
        ({"threads": 0}, "--threads must be at least 1"),
        ({"min_iou_ratio": 1.5}, "--min-iou-ratio"),
        ({"mode": "qat", "epochs": -1.0}, "--epochs must be above 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=says):
        QuantizeOptions("tiny.pt", **changes)  # type: ignore[arg-type]


def test_bad_input_leaves_no_folder(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    def code(*more: str) -> int:
        return main(["quantize", *more, "-o", str(tmp_path / "out"), "-q"])

    assert code(str(checkpoint), "--data", str(tmp_path / "nowhere")) == 8
    assert code(str(checkpoint), "--data", str(data), "--keep-float", "nothing", "--calib", "1") == 2
    assert code(str(checkpoint), "--data", str(data), "--method", "magic", "--calib", "1") == 2
    assert code("nothing.onnx", "--mode", "qat") in (2, 8)
    assert code(str(checkpoint), "--mode", "qat", "--resume") == 2
    assert not (tmp_path / "out").exists()


def test_a_resumed_fine_tuning_goes_on_with_its_own_checkpoint_and_data(
    tuned: QuantizeResult, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.pt"
    changed, provenance = load_network(checkpoint)
    save_network(other, changed, {**provenance, "note": "another"})
    resume = QuantizeOptions(str(other), mode="qat", resume=True, gate=False, size=(96, 96), output=tuned.folder)
    with pytest.raises(UsageError, match="did not start from"):
        quantize(resume, quiet)
    again = quantize(dataclasses.replace(resume, model=str(checkpoint), calib=2), quiet)
    assert json.loads((again.folder / "calibration.json").read_text())["sets"][0]["name"] == data.name


def test_a_full_disk_is_one_sentence_and_leaves_no_folder(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["quantize", str(checkpoint), "--data", str(data), "--calib", "1", "--size", SIZE]
    with files_end_at(20_000):
        assert main([*arguments, "-o", str(tmp_path / "out"), "-q"]) == 9
    assert "cannot write" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
