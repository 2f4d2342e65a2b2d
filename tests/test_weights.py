"""Finding a MODEL argument: paths, names, the newest run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import roadedge.runners
import roadedge.weights
from roadedge.errors import ModelFileError, UnknownNameError, UsageError
from roadedge.runners import ResearchOnlyWarning, open_runner
from roadedge.spec import read_sidecar
from roadedge.weights import find_checkpoint, find_model, names


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and a package folder with one network in three kinds, a second one in `weights/`."""
    package = tmp_path / "carried"
    research = tmp_path / "weights"
    for folder in (package, research):
        folder.mkdir()
    for name in ("roadedge-s.pt", "roadedge-s.onnx", "roadedge-s.fp16.onnx", "roadedge-s.onnx.json", "README.md"):
        (package / name).touch()
    for name in ("roadedge-s-research.onnx", "only-weights.pt"):
        (research / name).touch()
    monkeypatch.setattr(roadedge.weights, "folders", lambda: [package, research])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_name_is_always_the_fp32_network(carried: Path) -> None:
    assert find_model("roadedge-s") == carried / "carried/roadedge-s.onnx"


def test_other_precisions_stand_after_a_colon(carried: Path) -> None:
    assert find_model("roadedge-s:fp16") == carried / "carried/roadedge-s.fp16.onnx"


def test_the_second_folder_is_looked_into(carried: Path) -> None:
    assert find_model("roadedge-s-research") == carried / "weights/roadedge-s-research.onnx"


def test_a_checkpoint_does_where_there_is_no_graph(carried: Path) -> None:
    assert find_model("only-weights") == carried / "weights/only-weights.pt"


def test_the_kind_that_is_needed_is_found(carried: Path) -> None:
    assert find_model("roadedge-s", (".pt",)) == carried / "carried/roadedge-s.pt"
    with pytest.raises(UsageError, match=r"not as \.pt"):
        find_model("roadedge-s-research", (".pt",))


def test_names_are_listed_without_sidecars(carried: Path) -> None:
    assert names() == ["only-weights", "roadedge-s", "roadedge-s-research", "roadedge-s:fp16"]


def test_a_name_that_is_not_carried_gets_a_hint(carried: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'roadedge-s'"):
        find_model("roadedge-ss")


def test_a_path_is_a_path(carried: Path) -> None:
    mine = carried / "mine.onnx"
    mine.touch()
    assert find_model("mine.onnx") == Path("mine.onnx")
    assert find_model(mine) == mine


@pytest.mark.parametrize("model", ["absent.onnx", "there/absent.pt", "there/roadedge-s", Path("roadedge-s")])
def test_a_path_to_nothing_says_so(carried: Path, model: str | Path) -> None:
    with pytest.raises(ModelFileError, match=r"\.onnx, \.pt or \.engine"):
        find_model(model)


def test_another_kind_of_file_is_no_model(carried: Path) -> None:
    (carried / "notes.txt").touch()
    with pytest.raises(ModelFileError, match="no known kind"):
        find_model("notes.txt")


def test_without_a_run_the_carried_checkpoint_is_taken(carried: Path) -> None:
    assert find_checkpoint() == carried / "carried/roadedge-s.pt"


def test_the_newest_run_goes_before_it(carried: Path) -> None:
    for age, name in ((5, "b"), (9, "a"), (7, "c")):
        best = carried / "runs/train" / name / "best.pt"
        best.parent.mkdir(parents=True)
        best.touch()
        os.utime(best, (1e9 - age, 1e9 - age))
    assert find_checkpoint() == carried / "runs/train/b/best.pt"


def test_a_graph_is_no_checkpoint(carried: Path) -> None:
    with pytest.raises(UsageError, match="no checkpoint"):
        find_checkpoint(carried / "carried/roadedge-s.onnx")


def test_real_folders_exist() -> None:
    assert all(folder.is_dir() for folder in roadedge.weights.folders())


def test_research_weights_are_found_in_a_checkout_and_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roadedge.runners, "_said", set())
    path = find_model("roadedge-s-research")
    assert path.parent.name == "weights"
    with pytest.warns(ResearchOnlyWarning, match="research-only: trained on imagery of map providers"):
        open_runner("roadedge-s-research", "onnxruntime", threads=1).close()


def test_all_research_weights_are_marked_and_no_carried_ones_are() -> None:
    root = Path(__file__).parents[1]
    for folder, marked, count in ((root / "weights", True, 5), (root / "roadedge" / "carried", False, 4)):
        models = [path for path in folder.iterdir() if path.suffix in (".pt", ".onnx")]
        assert len(models) == count
        for model in models:
            sidecar = read_sidecar(model)
            assert sidecar is not None
            assert sidecar[0].research_only is marked


def test_carried_int8_files_passed_the_gate() -> None:
    root = Path(__file__).parents[1]
    files = [*root.glob("weights/*int8*.onnx"), *root.glob("roadedge/carried/*int8*.onnx")]
    assert len(files) == 3
    for file in files:
        sidecar = read_sidecar(file)
        assert sidecar is not None
        assert sidecar[1]["gate"]["verdict"] == "passed"
        assert sidecar[1]["precision"]["convolutions"]["int8"] == 39


def test_carried_weights_stay_below_twenty_mebibytes() -> None:
    carried = Path(__file__).parents[1] / "roadedge" / "carried"
    assert sum(path.stat().st_size for path in carried.iterdir()) <= 20 * 2**20
