"""The gate behind an export and as a command of its own, from the command line to the exit code and the marks."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch

import roadedge.export.precision
from roadedge.cli import main
from roadedge.errors import UsageError
from roadedge.evaluation.gate import parse_candidates, run_gate
from roadedge.export import export_model
from roadedge.export.checked import float_checkpoint, labelled
from roadedge.export.parity import TOLERANCES, Tolerance
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import save_network
from roadedge.spec import ModelSpec, read_sidecar, sha256_of, sidecar_path
from tests.evaluation.bright_roads import write_data_set
from tests.export.artefacts import network, samples


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with labelled data and a checkpoint that takes all for road: a third of that is right."""
    monkeypatch.chdir(tmp_path)
    write_data_set(tmp_path / "data", (2, 20, 40))
    save_network(tmp_path / "all.pt", takes_all_for_road(), {})
    return tmp_path


def takes_all_for_road() -> RoadNet:
    net = network(gsd_m=None, gsd_band_m=None)
    torch.nn.init.constant_(net.get_parameter("head.bias"), 50.0)
    return net


def run(*arguments: str) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        return main([*arguments])


def blind(net: RoadNet) -> RoadNet:
    """What should have been the same network in half precision, and finds no road at all."""
    half = roadedge.export.precision.__dict__["_honest"](net)
    torch.nn.init.constant_(half.get_parameter("head.bias"), -50.0)
    return half  # type: ignore[no-any-return]


def ruin(patch: pytest.MonkeyPatch) -> None:
    """An FP16 export that ruins the network, and a parity check that lets it through."""
    patch.setattr(roadedge.export.precision, "_honest", roadedge.export.precision.halved, raising=False)
    patch.setattr(roadedge.export.precision, "halved", blind)
    patch.setitem(TOLERANCES, "fp16", Tolerance(100.0, 0.0))


@pytest.fixture
def damage(monkeypatch: pytest.MonkeyPatch) -> None:
    ruin(monkeypatch)


@pytest.fixture(scope="module")
def unjudged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good FP32 graph and a ruined FP16 one, written once and never judged."""
    folder = tmp_path_factory.mktemp("unjudged")
    save_network(folder / "all.pt", takes_all_for_road(), {})
    with pytest.MonkeyPatch.context() as patch:
        ruin(patch)
        for precision in ("fp32", "fp16"):
            export_model(folder / "all.pt", folder / "out", precision, (64, 64), samples=samples())
    return folder / "out"


@pytest.fixture
def pair(place: Path, unjudged: Path) -> Path:
    """Copies of them in the working folder."""
    shutil.copytree(unjudged, place / "out")
    return place


EXPORT = ("export", "all.pt", "--size", "64", "--data", "data", "-o", "out")


def test_export_ends_with_the_table_and_marks_what_passed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*EXPORT, "--fp16") == 0
    printed = capsys.readouterr()
    for part in ("accuracy gate against FP32", "clear: G_IoU, %", "image-only: G_IoU, %", "semi-synthetic", "passed"):
        assert part in printed.out
    file = place / "out" / "all.fp16.onnx"
    stated = read_sidecar(file)
    assert stated is not None
    gate = stated[1]["gate"]
    assert (gate["verdict"], gate["reference"], gate["min_ratio"]) == ("passed", "FP32", 0.99)
    assert gate["measured_sha256"] == sha256_of(file)
    assert sorted(p.name for p in file.parent.iterdir()) == ["all.fp16.onnx", "all.fp16.onnx.json"]


def test_a_damaged_export_ends_with_5_and_is_refused_from_then_on(
    place: Path, damage: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*EXPORT, "--fp16") == 5
    printed = capsys.readouterr()
    assert "REJECTED" in printed.out
    assert "error: the accuracy gate rejected FP16 (all.fp16.onnx): clear: G_IoU 0.00 against" in printed.err
    assert printed.err.count("error:") == 1
    assert "Next:" not in printed.err
    image = ("data/image/t0.png", "--save", "csv")
    assert run("infer", "out/all.fp16.onnx", *image, "-o", "a") == 5
    sidecar_path("out/all.fp16.onnx").unlink()
    assert run("infer", "out/all.fp16.onnx", *image, "-o", "a") == 5
    assert run("infer", "out/all.fp16.onnx", *image, "-o", "a", "--accept-rejected") == 0


def test_as_json_the_verdict_and_the_digest_of_the_marked_file_are_in_the_document(
    place: Path, damage: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*EXPORT, "--fp16", "--json") == 5
    document = json.loads(capsys.readouterr().out)
    assert document["gate"]["candidates"][1]["verdict"] == "rejected"
    assert document["sha256"] == sha256_of("out/all.fp16.onnx")


def test_an_export_that_nobody_judged_says_so_afterwards(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "out/all.fp16.onnx") == 0
    assert "accuracy gate: never measured" in capsys.readouterr().out


def test_the_fp32_graph_is_its_own_reference(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*EXPORT) == 0
    assert "reference" in capsys.readouterr().out
    stated = read_sidecar(place / "out" / "all.onnx")
    assert stated is not None
    assert stated[1]["gate"]["conditions"]["clear"]["ratio"] == 1
    assert run("info", "out/all.onnx") == 0
    assert "accuracy gate: passed, semi-synthetic; G_IoU (against FP32): clear" in capsys.readouterr().out


def test_the_gate_as_a_command_marks_only_when_asked(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = (
        "gate",
        "out/all.onnx",
        "INT8-PTQ=out/all.fp16.onnx",
        "--data",
        "data",
        "--rounds",
        "1",
        "--threads",
        "1",
    )
    assert run(*command) == 5
    stated = read_sidecar("out/all.fp16.onnx")
    assert stated is not None
    assert "gate" not in stated[1]
    assert run(*command, "--mark", "-o", "figures/gate") == 5
    printed = capsys.readouterr()
    assert "INT8-PTQ (all.fp16.onnx): clear" in printed.err
    assert f"marked {sidecar_path('out/all.fp16.onnx')}" in printed.err.replace(f"{pair}/", "")
    assert (pair / "figures" / "gate.json").exists()
    assert "| verdict | reference | REJECTED |" in (pair / "figures" / "gate.md").read_text()
    assert run(*command, "--json") == 5
    assert json.loads(capsys.readouterr().out)["kind"] == "accuracy gate"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("gate", "absent.onnx"), 8, "there is no model absent.onnx"),
        (("gate", "all.pt", "all.pt", "--data", "data"), 2, "two candidates are called FP32"),
        (("gate", "FP32=all.pt", "INT8=all.pt", "--data", "data", "--min-iou-ratio", "99"), 2, "--min-iou-ratio"),
        (("gate", "FP32=all.pt", "INT8=all.pt", "--data", "nowhere"), 8, "nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert run(*arguments) == code
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_what_is_judged_on(place: Path) -> None:
    spec = ModelSpec("x")
    assert labelled(None, spec)[0] == "city"
    (place / "plain").mkdir()
    assert labelled("plain", spec)[0] == "city"
    root, settings = labelled("data", spec)
    assert (root, settings.split) == ("data", "val")
    with pytest.raises(UsageError, match="takes LiDAR, which the built-in city has not"):
        labelled(None, ModelSpec("x", inputs=("image", "lidar")))
    table = place / "data" / "split.csv"
    table.write_text(table.read_text().replace(",val,", ",train,"))
    assert labelled("data", spec)[1].split == "all"


def test_a_quantized_checkpoint_is_judged_against_the_float_one_beside_it(place: Path) -> None:
    assert float_checkpoint(place / "all.pt") == place / "all.pt"
    shutil.copy(place / "all.pt", place / "all.int8.pt")
    assert float_checkpoint(place / "all.int8.pt") == place / "all.pt"
    with pytest.raises(UsageError, match="--no-gate"):
        float_checkpoint(place / "other.int8.pt")
    (place / "qat").mkdir()
    shutil.copy(place / "all.pt", place / "qat" / "start.pt")
    assert float_checkpoint(place / "other.int8.pt") == place / "qat" / "start.pt"


def test_a_sibling_of_the_same_scales_gets_the_same_mark(pair: Path) -> None:
    shutil.copy("out/all.fp16.onnx", "out/twin.onnx")
    shutil.copy("out/all.fp16.onnx.json", "out/twin.onnx.json")
    found = run_gate(parse_candidates(["out/all.onnx", "out/all.fp16.onnx"]), ["data"], rounds=0)
    found.mark_as("FP16", Path("out/twin.onnx"))
    stated = read_sidecar("out/twin.onnx")
    assert stated is not None
    assert stated[1]["gate"]["verdict"] == "rejected"
    assert stated[1]["gate"]["measured_file"] == "all.fp16.onnx"
    assert run("infer", "out/twin.onnx", "data/image/t0.png", "-o", "a") == 5
