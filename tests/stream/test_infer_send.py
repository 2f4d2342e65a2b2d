"""`infer --send` and `--save geojson` as a user runs them, with consumers in processes of their own."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import roadedge.runners
from roadedge.cli import main
from roadedge.imagery import write_png
from roadedge.trajectory.plane import LocalPlane
from tests.stream.fakes import FakeRunner

ROOT = Path(__file__).parents[2]
READER = """import json, sys
for line in sys.stdin:
    frame = json.loads(line)
    print(frame["number"], frame["clock"], frame["ground"], frame["age_ms"] > 0, len(frame["lines"]) > 0)
"""
WITH_A_FAKE_NETWORK = """import sys
import roadedge.runners, roadedge.stream.flight
from roadedge.cli import main
from tests.stream.fakes import FakeRunner
roadedge.runners.open_runner = lambda *arguments: FakeRunner()
roadedge.stream.flight.RADIUS_PX = 40
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture with a bright road from left to right, and a network that finds what is bright."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *arguments: FakeRunner())
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[42:54] = 200
    write_png(tmp_path / "tile.png", picture)
    return tmp_path / "tile.png"


def shell(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OUT": str(folder / "out"), **variables}
    return subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        env=known, capture_output=True, text=True, timeout=120, cwd=folder,
    )  # fmt: skip


def test_a_consumer_reads_the_roads_of_the_carried_network(tmp_path: Path) -> None:
    ended = shell(
        '"$PYTHON" "$CLI" infer roadedge-s synth:128x128@5 --max-frames 3 --send stdout --save none -o "$OUT"'
        ' | "$PYTHON" -c "$READER"',
        tmp_path,
        CLI=str(ROOT / "cli.py"),
        READER=READER,
    )
    assert ended.returncode == 0, ended.stderr
    told = [line.split() for line in ended.stdout.splitlines()]  # and not a word of the log among them
    assert told[-1][1:4] == ["schedule", "plane", "True"]
    assert any(words[4] == "True" for words in told)
    assert "Results saved to" in ended.stderr


def test_a_consumer_that_goes_ends_the_run_with_all_files_written(tmp_path: Path) -> None:
    ended = shell(
        '"$PYTHON" -c "$RUN" infer synth:64x64@20 --duration 60 --send stdout --save csv -o "$OUT" | head -n 2',
        tmp_path,
        RUN=WITH_A_FAKE_NETWORK,
    )
    assert ended.returncode == 9, ended.stderr
    assert "the consumer of stdout closed its end after" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [json.loads(line)["number"] for line in ended.stdout.splitlines()] == [0, 1]
    with (tmp_path / "out" / "frames.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) >= 2
    sink = json.loads((tmp_path / "out" / "metrics.json").read_text())["sinks"][0]
    assert sink["dropped"]["consumer gone"] >= 1


def test_the_roads_of_a_picture_lie_where_it_lies(tile: Path) -> None:
    assert (
        main(["infer", str(tile), "--centre", "2.3522,48.8566", "--gsd", "0.5", "--save", "geojson", "-o", "out"]) == 0
    )
    [feature] = json.loads(Path("out/roads.geojson").read_text())["features"]
    ground = LocalPlane(2.3522, 48.8566).from_lonlat(feature["geometry"]["coordinates"])
    assert np.abs(ground[:, 1]).max() < 0.6
    assert np.ptp(ground[:, 0]) == pytest.approx(feature["properties"]["length_m"], abs=1) == pytest.approx(60, abs=5)
    assert feature["properties"]["frame"] == "tile"
    [sink] = json.loads(Path("out/metrics.json").read_text())["sinks"]
    assert (sink["sink"], sink["features"]) == ("geojson", 1)


def test_a_picture_that_lies_nowhere_has_no_roads_on_the_map_and_that_is_counted(tile: Path) -> None:
    assert main(["infer", str(tile), "--save", "geojson", "-o", "out"]) == 0
    assert not Path("out/roads.geojson").exists()
    [sink] = json.loads(Path("out/metrics.json").read_text())["sinks"]
    assert sink["frames_without_place"] == 1


@pytest.mark.parametrize(("to", "code"), [("tcp://a:5", 2), ("udp://no-such-host.invalid:5", 9)])
def test_what_cannot_be_sent_to_is_said_before_any_work(
    tile: Path, to: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["infer", str(tile), "--send", to, "-o", "out"]) == code
    assert "send" in capsys.readouterr().err
    assert not Path("out").exists()
