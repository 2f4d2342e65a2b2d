"""However a run ends, its output is whole or as it was, and its temporary files are gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roadedge import cli
from roadedge.errors import OutputError
from roadedge.trajectory.ingest import run as module
from roadedge.trajectory.ingest.options import IngestOptions
from roadedge.trajectory.ingest.run import ingest
from roadedge.trajectory.ingest.scratch import _stem


def make_points(folder: Path, rows: int = 5000) -> Path:
    """A table that is sorted on disk with `--rows-in-memory 1000`."""
    path = folder / "points.csv"
    path.write_text("lon,lat,t,vid\n" + "".join(f"{8 + i / 1e4:.4f},50,{i},{i % 9}\n" for i in range(rows)))
    return path


def command(points: Path, output: Path) -> list[str]:
    return ["points", "ingest", str(points), "-o", str(output), "--rows-in-memory", "1000"]


def test_the_command_prints_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "store.parquet"
    assert cli.main([*command(make_points(tmp_path), output), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["trips"], said["schema_version"]) == (5000, 9, 1)
    assert cli.main(["points", "info", str(output), "--picture", str(tmp_path / "p.png")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("5,000 points in 1 row groups")
    assert "9 trips" in out
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert cli.main(["points", "info", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bounds_lonlat"][0] == 8.0


def test_mistakes_have_their_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points, output = make_points(tmp_path, 20), tmp_path / "store.parquet"
    assert cli.main(command(points, output)) == 0
    assert cli.main(command(points, output)) == 2
    assert cli.main([*command(points, output), "--overwrite", "--datum", "mars"]) == 2
    assert cli.main(command(tmp_path / "none.csv", tmp_path / "other.parquet")) == 8
    assert cli.main(["points", "info", str(points)]) == 8
    assert cli.main(command(points, Path("/proc/nowhere/store.parquet"))) == 9
    assert cli.main(["points", "info", str(output), "--picture", str(tmp_path / "p.jpg")]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("where", ["_derive", "_write"])
def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def interrupted(*_: object) -> None:
        assert list(tmp_path.glob(".store*sorting/*"))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, where, interrupted)
    points = make_points(tmp_path)
    assert cli.main([*command(points, tmp_path / "store.parquet"), "-q"]) == 130
    assert os.listdir(tmp_path) == ["points.csv"]


def test_a_disk_that_fills_is_exit_code_9_and_leaves_nothing(tmp_path: Path) -> None:
    points = make_points(tmp_path, 20_000)
    before = tmp_path / "store.parquet"
    before.write_text("what stood here")
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"  # bytes of any file
    code = f"{limit} from roadedge.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *command(points, before), "--overwrite"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, "error: cannot write" in done.stderr) == (9, True), done.stderr
    assert before.read_text() == "what stood here"
    assert sorted(os.listdir(tmp_path)) == ["points.csv", "store.parquet"]


def test_what_a_killed_run_left_behind_goes_with_the_next_one(tmp_path: Path) -> None:
    points, output = make_points(tmp_path, 20), tmp_path / "store.parquet"
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    number = int(gone.stdout)
    left = tmp_path / f"{_stem(output)}{number}.sorting"
    left.mkdir()
    (left / "rows-0").write_bytes(bytes(100))
    (tmp_path / f".store.{number}-7f.part.parquet").write_bytes(bytes(9))
    living = tmp_path / f"{_stem(output)}1.sorting"  # process 1 lives on every machine
    living.mkdir()
    ingest([points], output, IngestOptions())
    assert sorted(os.listdir(tmp_path)) == sorted([living.name, "points.csv", "store.parquet"])


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        ingest([make_points(tmp_path, 20)], tmp_path / "file" / "store.parquet")


@pytest.mark.slow
def test_a_run_that_is_interrupted_or_killed_in_the_middle(tmp_path: Path) -> None:
    points = make_points(tmp_path, 400_000)
    start = [sys.executable, "-m", "roadedge.cli", *command(points, tmp_path / "store.parquet"), "-q"]
    for kind, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        process = subprocess.Popen(start, stderr=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 100
            while not list(tmp_path.glob(".store*sorting/*")) and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(kind)
            assert process.wait(60) == code
        finally:
            process.kill()
            process.communicate()
        assert not (tmp_path / "store.parquet").exists()
        assert bool(list(tmp_path.glob(".store*"))) == (kind == signal.SIGKILL)
    assert ingest([points], tmp_path / "store.parquet")["rows"] == 400_000
    assert sorted(os.listdir(tmp_path)) == ["points.csv", "store.parquet"]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Eight times as many rows as are held at once raise the peak of a process by far less than they take."""
    peaks = []
    for rows in (30_000, 240_000):
        points = make_points(tmp_path, rows)
        code = (
            "import resource, sys; from roadedge.cli import main; main(sys.argv[1:]);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        arguments = [*command(points, tmp_path / f"{rows}.parquet"), "-q", "--json"]
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.splitlines()[-1]))
    assert peaks[1] - peaks[0] < 60_000  # kilobytes; most is what is read ahead of the file
