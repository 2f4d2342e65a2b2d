"""Run folders: proven writable before any work, never shared, and never emptied of what no run has written."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from roadedge.errors import OutputError, UsageError
from roadedge.run_folder import newest_run, open_run_folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def earlier_run(folder: Path) -> Path:
    (folder / "masks").mkdir(parents=True)
    (folder / "metrics.json").write_text("{}")
    (folder / "masks" / "a.png").write_bytes(b"old")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_runs_of_one_name_are_numbered(here: Path) -> None:
    made = [open_run_folder("eval", "roadedge-s") for _ in range(3)]
    assert [path.relative_to(here) for path in made] == [
        Path("runs/eval/roadedge-s"),
        Path("runs/eval/roadedge-s-2"),
        Path("runs/eval/roadedge-s-3"),
    ]
    assert all(path.is_absolute() and not files(path) for path in made)


def test_runs_that_start_at_once_share_no_folder() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: open_run_folder("train", "a"), range(8)))
    assert len(set(made)) == 8


def test_a_folder_asked_for_is_made_with_its_parents(tmp_path: Path) -> None:
    assert open_run_folder("infer", "a", tmp_path / "x" / "y") == tmp_path / "x" / "y"
    assert files(tmp_path / "x") == ["y"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert open_run_folder("infer", "a", tmp_path / "empty") == tmp_path / "empty"


@pytest.mark.parametrize("name", ["", "..", "../a", "/etc/a", "a/b"])
def test_a_name_that_leads_elsewhere_is_refused(here: Path, name: str) -> None:
    with pytest.raises(UsageError, match="must be the name of one folder"):
        open_run_folder("train", name)
    assert files(here) == []


def test_a_folder_that_holds_something_needs_overwrite(tmp_path: Path) -> None:
    folder = earlier_run(tmp_path / "out")
    before = files(folder)
    with pytest.raises(UsageError, match="is not empty; choose another -o/--output or pass --overwrite") as raised:
        open_run_folder("eval", "a", folder)
    assert raised.value.exit_code == 2
    assert files(folder) == before


def test_overwrite_empties_an_earlier_run(tmp_path: Path) -> None:
    folder = earlier_run(tmp_path / "out")
    assert open_run_folder("eval", "a", folder, overwrite=True) == folder
    assert files(folder) == []


def test_overwrite_follows_no_link_out_of_the_folder(tmp_path: Path) -> None:
    kept = earlier_run(tmp_path / "kept")
    folder = earlier_run(tmp_path / "out")
    (folder / "link").symlink_to(kept)
    open_run_folder("eval", "a", folder, overwrite=True)
    assert files(folder) == []
    assert files(kept) == ["masks", "masks/a.png", "metrics.json"]


def test_overwrite_empties_the_folder_that_a_link_names(tmp_path: Path) -> None:
    folder = earlier_run(tmp_path / "out")
    (tmp_path / "newest").symlink_to(folder)
    assert open_run_folder("eval", "a", tmp_path / "newest", overwrite=True) == folder
    assert (tmp_path / "newest").is_symlink()
    assert files(folder) == []


def refused(folder: Path) -> None:
    before = files(folder)
    with pytest.raises(UsageError, match="does not look like a run folder, and --overwrite would delete"):
        open_run_folder("eval", "a", folder, overwrite=True)
    assert files(folder) == before


def test_overwrite_deletes_no_data_set(tmp_path: Path) -> None:
    for name in ("image/a.png", "mask/a.png", "split.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"precious")
    refused(tmp_path / "data")


def test_overwrite_deletes_no_repository(tmp_path: Path) -> None:
    folder = earlier_run(tmp_path / "checkout")
    (folder / ".git").mkdir()
    refused(folder)


def test_overwrite_deletes_neither_home_nor_the_working_folder(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier_run(here)
    refused(here)
    (tmp_path / "metrics.json").write_text("{}")
    refused(tmp_path)  # the working folder is in there
    home = earlier_run(tmp_path / "home" / "me")
    monkeypatch.setenv("HOME", str(home))
    refused(home)
    (home.parent / "metrics.json").write_text("{}")
    refused(home.parent)


def test_a_file_in_the_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    for folder in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(OutputError, match=r"cannot write .*out"):
            open_run_folder("eval", "a", folder)
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize("asked", [True, False])
def test_a_full_disk_leaves_no_empty_run(here: Path, monkeypatch: pytest.MonkeyPatch, asked: bool) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        open_run_folder("eval", "a", here / "out" if asked else None)
    assert [path for path in files(here) if not path.startswith("runs")] == []
    assert not (here / "runs" / "eval" / "a").exists()


def test_the_newest_run_is_that_of_the_newest_file(here: Path) -> None:
    assert newest_run("train", "best.pt") is None
    for number, name in enumerate(["a", "b", "c"]):
        folder = open_run_folder("train", name)
        if name != "c":
            (folder / "best.pt").write_bytes(b"")
            os.utime(folder / "best.pt", (1000 - number, 1000 - number))
    assert newest_run("train", "best.pt") == Path("runs/train/a")


def test_a_folder_that_holds_what_the_run_reads_is_not_emptied(tmp_path: Path) -> None:
    folder = open_run_folder("train", "a", tmp_path / "run")
    (folder / "recipe.toml").write_text("steps = 1")
    (folder / "best.pt").write_bytes(b"weights")
    with pytest.raises(UsageError, match=r"holds best\.pt, which this run reads"):
        open_run_folder("eval", "a", folder, overwrite=True, needed=[folder / "best.pt"])
    assert (folder / "best.pt").read_bytes() == b"weights"
    open_run_folder("eval", "a", folder, overwrite=True, needed=[tmp_path / "other.pt"])
    assert not (folder / "best.pt").exists()
