"""`infer` and its command: what a run leaves behind, which exit code it has, and that nothing is half-written."""

from __future__ import annotations

import _thread
import csv
import dataclasses
import errno
import importlib.util
import io
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roadedge.runners
from roadedge.cli import main
from roadedge.errors import UsageError
from roadedge.imagery import read_image, read_mask, write_png
from roadedge.latency.profile import CSV_COLUMNS
from roadedge.preprocess import Feeds
from roadedge.runners.augmentation import Augmentation
from roadedge.stream.outcome import InferOptions
from roadedge.stream.plan import Plan
from roadedge.stream.session import _read as read_by
from roadedge.stream.session import accuracy_of, check_rate, infer, model_and_source
from roadedge.weights import names
from tests.latency.hand_clock import HandClock
from tests.stream.fakes import SPEC, FakeRunner, FakeSource
from tests.stream.test_sources import POINTS, image

WITH_VIDEO = importlib.util.find_spec("av") is not None


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a runner that needs no model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *arguments: FakeRunner())
    return tmp_path


@pytest.fixture
def small_lap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lap over little ground, which is drawn in no time."""
    monkeypatch.setattr("roadedge.stream.flight.RADIUS_PX", 40)


@pytest.fixture
def tiles(here: Path) -> Path:
    """Three tiles, one with points."""
    for number, name in enumerate(("a", "b", "c")):
        image(here / "tiles" / f"{name}.png", 60 + 90 * number)
    (here / "points").mkdir()
    (here / "points" / "b.csv").write_text(POINTS)
    return here / "tiles"


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "frames.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_leaves_masks_overlays_table_metrics_and_report(
    tiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["infer", str(tiles), "--trajectory", "points", "--gsd", "0.5"]) == 0
    folder = Path("runs/infer/tiles")
    assert sorted(p.name for p in folder.iterdir()) == [
        "env.json", "frames.csv", "masks", "metrics.json", "overlays", "report.html"
    ]  # fmt: skip
    assert not read_mask(folder / "masks" / "a.png").any()  # darker than half
    assert (read_mask(folder / "masks" / "c.png") == 255).all()
    assert read_image(folder / "overlays" / "c.jpg").shape == (32, 40, 3)
    table = rows(folder)
    assert list(table[0]) == list(CSV_COLUMNS)
    assert [(r["frame"], r["points"], r["dropped_by"]) for r in table] == [
        ("a", "0", ""),
        ("b", "2", ""),
        ("c", "0", ""),
    ]
    out = capsys.readouterr()
    assert "end to end" in out.out
    assert f"Results saved to {folder.resolve()}" in out.err
    assert re.search(r"Next: open .*report\.html", out.err)


def test_points_that_all_miss_their_image_are_said(tiles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("points/b.csv").write_text("x,y\n117.7,390\n117.8,391\n")
    assert main(["infer", str(tiles / "b.png"), "--trajectory", "points"]) == 0
    assert "none of the 2 points of b lies on its image of 40 x 32 pixels" in capsys.readouterr().out
    assert rows(Path("runs/infer/b"))[0]["points"] == "0"


def test_rows_that_were_left_out_are_said(tiles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("points/b.csv").write_text(POINTS + "3,nan,4,2\n3,4,inf,3\n3,4\n")
    assert main(["infer", str(tiles), "--trajectory", "points"]) == 0
    said = "3 rows of points/b.csv were left out (wrong_columns 1, nan 1, infinite 1)"
    assert said in capsys.readouterr().out
    metrics = json.loads(Path("runs/infer/tiles/metrics.json").read_text())
    assert metrics["notices"] == [said]


def test_frames_of_an_untrained_density_are_counted(
    tiles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = dataclasses.replace(SPEC, density_band_per_mpx=(1e4, 1e5))  # b has 2 points on 1280 pixels: 1562 a megapixel
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *arguments: FakeRunner(spec=spec))
    assert main(["infer", str(tiles), "--trajectory", "points"]) == 0
    assert "1 of 3 frames hold more or fewer points for their area than" in capsys.readouterr().out
    assert json.loads(Path("runs/infer/tiles/metrics.json").read_text())["outside_trained_density"] == 1


def test_a_raster_of_another_size_is_told_with_both_files(tiles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(Path("heat.png"), np.zeros((8, 8), np.uint8))
    assert main(["infer", str(tiles / "b.png"), "--trajectory", "heat.png"]) == 8
    assert re.search(r"tiles/b\.png and heat\.png do not go together: .*8 x 8 pixels", capsys.readouterr().err)


def test_points_for_a_network_of_images_alone_are_refused(
    tiles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = dataclasses.replace(SPEC, inputs=("image",))
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *arguments: FakeRunner(spec=spec))
    assert main(["infer", str(tiles), "--trajectory", "points"]) == 8
    assert "fake looks at images alone; leave --trajectory out" in capsys.readouterr().err
    assert not Path("runs/infer/tiles").exists()


def test_metrics_say_what_ran_and_what_a_percentile_would_take(tiles: Path) -> None:
    assert main(["infer", "fake", str(tiles)]) == 0
    metrics = json.loads(Path("runs/infer/tiles/metrics.json").read_text())
    assert metrics["schema_version"] == 1
    assert metrics["runner"]["backend"] == "fake"
    assert len(metrics["model"]["sha256"]) == 64
    assert (metrics["scenario"], metrics["due"], metrics["answered"]) == ("offline", 3, 3)
    assert metrics["age_ms"]["p90"] is None
    assert metrics["age_ms"]["needs"]["p90"] == 64
    assert metrics["verdict"]["result"] == "INVALID"
    assert metrics["scores"] is None
    assert metrics["input_size"] == [32, 40]
    assert metrics["environment"]["python"]


def test_metrics_name_no_folder_of_the_machine(tiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(FakeRunner):
        def describe(self) -> dict[str, Any]:
            return {**super().describe(), "file": str(tiles / "model.onnx")}

    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *arguments: Told())
    assert main(["infer", "tiles"]) == 0
    metrics = json.loads(Path("runs/infer/tiles/metrics.json").read_text())
    assert metrics["runner"]["file"] == metrics["model"]["file"] == "fakes.py"
    assert str(tiles) not in str({**metrics, "model": None})


def test_a_log_that_nobody_reads_any_more_does_not_end_the_run(tiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr("sys.stderr", Closed())
    assert main(["infer", str(tiles)]) == 0
    assert len(rows(Path("runs/infer/tiles"))) == 3


def test_an_invalid_run_is_a_failure_only_where_that_was_asked_for(tiles: Path) -> None:
    assert main(["infer", str(tiles)]) == 0
    assert main(["infer", str(tiles), "--require-valid"]) == 6


def test_json_alone_stands_on_stdout(tiles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infer", str(tiles), "--json", "-o", "out"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(Path("out").resolve())


def test_a_bad_file_among_many_is_reported_and_the_rest_goes_on(
    tiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiles / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    assert main(["infer", str(tiles)]) == 8
    assert "1 of 3 frames failed" in capsys.readouterr().err
    folder = Path("runs/infer/tiles")
    assert sorted(p.name for p in (folder / "masks").iterdir()) == ["a.png", "c.png"]
    assert [r["dropped_by"] for r in rows(folder)] == ["", "error", ""]


def test_strict_stops_at_the_first_bad_file_and_keeps_what_came_before(tiles: Path) -> None:
    (tiles / "b.png").write_bytes(b"")
    assert main(["infer", str(tiles), "--strict"]) == 8
    assert [p.name for p in Path("runs/infer/tiles/masks").iterdir()] == ["a.png"]
    assert len(rows(Path("runs/infer/tiles"))) == 2


def test_a_single_bad_file_is_one_sentence_and_leaves_no_folder(
    tiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiles / "b.png").write_bytes(b"text")
    assert main(["infer", str(tiles / "b.png"), "-o", "out"]) == 8
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert "is not an image that can be read" in error
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nothing.png"], 7),
        (["tiles", "--policy", "some"], 2),
        (["tiles", "--rate", "0"], 2),
        (["tiles", "--threshold", "1.5"], 2),
        (["tiles", "--gsd", "-1"], 2),
        (["tiles", "--save", "mask,film"], 2),
        (["a", "b", "c"], 2),
        (["tiles", "--trajectory", "nothing"], 7),
        (["tiles", "--trajectory", "points/b.csv"], 2),
        (["synth:64x64@5", "--rate", "7"], 2),
        (["synth:64x64@5", "--rate", "pts"], 2),
        (["tiles", "--rate", "pts"], 2),
    ],
)
def test_what_cannot_be_is_said_before_any_work(arguments: list[str], code: int, tiles: Path) -> None:
    assert main(["infer", *arguments]) == code
    assert not Path("runs").exists()


def test_a_run_folder_is_not_written_over_unless_asked(tiles: Path) -> None:
    assert main(["infer", str(tiles), "-o", "out"]) == 0
    assert main(["infer", str(tiles), "-o", "out"]) == 2
    assert main(["infer", str(tiles), "-o", "out", "--overwrite", "--save", "csv"]) == 0
    assert not Path("out/masks").exists()
    assert main(["infer", str(tiles)]) == 0
    assert main(["infer", str(tiles)]) == 0
    assert Path("runs/infer/tiles-2/metrics.json").exists()


@pytest.mark.parametrize("source", ["out/masks/*.png", "out/*/a.png", "out/masks", "out/masks/a.png"])
def test_a_run_folder_that_is_read_from_is_not_emptied(source: str, tiles: Path) -> None:
    assert main(["infer", str(tiles), "-o", "out"]) == 0
    assert main(["infer", source, "-o", "out", "--overwrite"]) == 2
    assert len(list(Path("out/masks").iterdir())) == 3


def test_what_an_address_of_several_files_names_is_not_emptied(tiles: Path) -> None:
    assert main(["infer", str(tiles), "-o", "out"]) == 0
    Path("out/scene.tif").write_bytes(b"")
    Path("out/bag").mkdir()
    for source in ("ortho:out/scene.tif@track.gpx?rate=10", "bag:out/bag#/camera"):
        assert any(path.parent == Path("out") for path in read_by(InferOptions(source)))
    assert read_by(InferOptions("gst:" + 300 * "a")) == []


def test_a_camera_takes_no_rate_since_its_frames_come_when_they_come(here: Path) -> None:
    class Camera(FakeSource):
        delivers = True

    for plan in (Plan(rate_hz=10.0), Plan(realtime=True)):
        with pytest.raises(UsageError, match="leave --rate out"):
            check_rate(Camera(HandClock(), 3), plan)


@pytest.mark.skipif(not WITH_VIDEO, reason="PyAV, the extra video, is not installed")
def test_an_error_that_nobody_foresaw_loses_nothing_that_was_answered(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small_lap: None
) -> None:
    class Bug(FakeRunner):
        def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
            if len(self.feeds) == 8:  # more than the queues hold, so that some were answered
                raise ZeroDivisionError("a bug")
            return super().infer(feeds, logits)

    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *arguments: Bug())
    assert main(["infer", "synth:64x64@20", "--policy", "all"]) == 1
    assert "unexpected ZeroDivisionError: a bug" in capsys.readouterr().err
    folder = Path("runs/infer/synth-64x64")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["answered"] >= 1
    assert "a bug" in str(metrics["verdict"])
    assert (folder / "overlay.mp4").exists()


def test_a_model_file_that_goes_away_during_the_run_loses_no_results(
    tiles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("model.onnx").write_bytes(b"network")

    class Gone(FakeRunner):
        def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
            Path("model.onnx").unlink(missing_ok=True)
            return super().infer(feeds, logits)

    def opened(*arguments: Any) -> FakeRunner:
        runner = Gone()
        runner.provenance = {"path": "model.onnx"}
        return runner

    monkeypatch.setattr(roadedge.runners, "open_runner", opened)
    assert main(["infer", "model.onnx", str(tiles)]) == 0
    assert Path("runs/infer/tiles/metrics.json").exists()


def test_a_model_that_cannot_be_opened_leaves_no_folder(tiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tiles.parent)
    assert main(["infer", "no-such-network", str(tiles)]) == 2
    assert not Path("runs/infer/tiles").exists()


def test_a_folder_of_bad_files_alone_leaves_no_folder(tiles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in tiles.iterdir():
        path.write_bytes(b"")
    assert main(["infer", str(tiles)]) == 8
    assert "3 of 3 frames failed" in capsys.readouterr().err
    assert not Path("runs/infer/tiles").exists()


def test_an_output_that_is_a_file_is_found_before_the_model_is_loaded(
    tiles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *arguments: pytest.fail("loaded too early"))
    Path("out").write_text("in the way")
    assert main(["infer", str(tiles), "-o", "out"]) in (2, 9)
    assert Path("out").read_text() == "in the way"


def test_a_disk_that_fills_up_is_exit_9_with_whole_files_only(
    tiles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room = [7]  # writes that still fit: the probe of the folder, env.json, two masks with their overlays, one mask
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        room[0] -= 1
        if room[0] < 0:
            write(path, content[: len(content) // 2])  # the half that still went onto the disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["infer", str(tiles), "-o", "out"]) == 9
    assert "the disk is full" in capsys.readouterr().err
    left = sorted(p.relative_to("out").as_posix() for p in Path("out").rglob("*") if p.is_file())
    assert (left.pop(0), left.pop(0)) == ("env.json", "frames.csv")
    assert [row["dropped_by"] for row in rows(Path("out"))] == ["", "", "aborted"]
    assert left == ["masks/a.png", "masks/b.png", "masks/c.png", "overlays/a.jpg", "overlays/b.jpg"]
    assert all(read_image(Path("out") / name).shape == (32, 40, 3) for name in left)


def test_ctrl_c_writes_what_there_is_and_exits_130(
    here: Path, small_lap: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(FakeRunner):
        def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
            if len(self.feeds) == 1:
                _thread.interrupt_main()
                time.sleep(0.3)  # until the main thread has heard of it
            return super().infer(feeds, logits)

    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *arguments: Stopped())
    assert main(["infer", "synth:64x64@20"]) == 130  # it would go on for ever
    folder = Path("runs/infer/synth-64x64")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["interrupted"] is True
    assert len(rows(folder)) == metrics["due"] == metrics["answered"] + sum(metrics["dropped_by"].values()) > 2
    assert not any(row["dropped_by"] == "aborted" for row in rows(folder))
    assert (folder / "report.html").exists()


def test_ctrl_c_while_the_report_is_drawn_says_where_the_rest_lies(
    tiles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("roadedge.stream.outcome.write_report", stopped)
    assert main(["infer", str(tiles)]) == 130
    assert f"what there is lies in {Path('runs/infer/tiles').resolve()}" in capsys.readouterr().err
    assert len(rows(Path("runs/infer/tiles"))) == 3


def test_ctrl_c_while_the_model_loads_exits_130(tiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any) -> FakeRunner:
        raise KeyboardInterrupt

    monkeypatch.setattr(roadedge.runners, "open_runner", stopped)
    assert main(["infer", str(tiles)]) == 130


def test_int8_in_onnxruntime_is_said_to_be_slow(
    tiles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = FakeRunner()
    runner.graph_precision = "int8+fp32"
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *arguments: runner)
    assert main(["infer", "net.int8.onnx", str(tiles), "--backend", "onnxruntime"]) == 0
    assert "slower than FP32" in capsys.readouterr().err


def test_the_runner_is_opened_with_what_was_asked_and_closed(tiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Any, ...]] = []
    runner = FakeRunner()

    def record(*arguments: Any) -> FakeRunner:
        opened.append(arguments)
        return runner

    monkeypatch.setattr(roadedge.runners, "open_runner", record)
    assert main(["infer", "net.onnx", str(tiles), "--backend", "fake", "--precision", "fp32", "--threads", "2"]) == 0
    assert opened == [("net.onnx", "fake", "fp32", 2, False, Augmentation())]
    assert runner.closed


def test_one_argument_is_the_source_and_two_are_model_and_source() -> None:
    assert model_and_source(["x.png"]) == ("roadedge-s", "x.png")
    assert model_and_source(["net.onnx", "x.png"]) == ("net.onnx", "x.png")


@pytest.mark.skipif(not WITH_VIDEO, reason="the video extra is not installed")
def test_a_flight_gives_status_lines_a_video_and_scores_with_their_label(
    here: Path, small_lap: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["infer", "synth:64x64@10", "--duration", "1.5"]) == 0
    folder = here / "runs" / "infer" / "synth-64x64"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["due"] == 15
    assert metrics["scenario"] == "fixed-rate"
    assert metrics["scores"]["label"].startswith("semi-synthetic")
    assert {r["clock"] for r in rows(folder)} == {"schedule"}
    assert len(list((folder / "masks").iterdir())) == metrics["answered"]
    assert (folder / "overlay.mp4").stat().st_size > 0
    out = capsys.readouterr()
    assert re.search(r"t=1s in [\d.]+ fps out [\d.]+ \| age p50 \d+ max \d+ ms \| drop \d+ \| points \d+", out.err)
    assert "semi-synthetic" in out.out


def test_without_the_video_extra_the_demo_says_so_and_goes_on(
    here: Path, small_lap: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "av" else find(name))
    monkeypatch.setattr("roadedge.demo.FLIGHT", "synth:64x64@10")
    assert main(["demo", "--seconds", "0.3"]) == 0
    assert "overlay.mp4 is left out: it needs PyAV, pip install 'roadedge[video]'" in capsys.readouterr().err
    folder = here / "runs" / "demo" / "synth-64x64"
    assert (folder / "report.html").exists()
    assert not (folder / "overlay.mp4").exists()
    assert main(["demo", "--seconds", "0"]) == 2


def test_a_video_that_was_asked_for_needs_its_extra(
    tiles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert main(["infer", str(tiles), "--save", "video"]) == 3
    assert "roadedge[video]" in capsys.readouterr().err


@pytest.mark.skipif(not WITH_VIDEO, reason="the video extra is not installed")
def test_a_video_file_runs_and_one_that_breaks_keeps_its_beginning(here: Path) -> None:
    from tests.stream.test_video import write_video

    write_video(here / "film.mp4")
    assert main(["infer", "film.mp4"]) == 0
    table = rows(here / "runs" / "infer" / "film")
    assert [r["clock"] for r in table] == ["pts"] * 8
    assert float(table[3]["capture_s"]) == pytest.approx(0.5)
    assert main(["infer", "film.mp4", "--trajectory", "x.csv"]) == 7
    (here / "x.csv").write_text("vid,x,y,t\n1,3.5,4.5,0\n1,10,2,1\n2,-4,2,5\n")
    assert main(["infer", "film.mp4", "--trajectory", "x.csv", "-o", "still"]) == 0
    assert [r["points"] for r in rows(here / "still")] == ["2"] * 8  # the camera stands still


def test_the_accuracy_of_a_file_is_what_its_sidecar_says_of_it() -> None:
    parity = {"g_iou_candidate": 71.234, "rows": [{}, {}], "origin": "city:1", "label": "semi-synthetic"}
    assert accuracy_of({"parity": [parity]}) == "G_IoU 71.23 on 2 samples of city:1 (semi-synthetic)"
    assert accuracy_of({"chosen_by": {"g_iou": 0.5}}) == "G_IoU 50.00 on the samples set aside in training"
    assert accuracy_of({"parity": [{**parity, "g_iou_candidate": None}]}) is None
    assert accuracy_of({}) is None


def test_real_tiles_find_the_trajectory_of_their_place(here: Path, real_data: Path) -> None:
    folder = real_data / "tianjin"
    arguments = ["infer", str(folder / "image"), "--trajectory", str(folder / "trajectory"), "--max-frames", "4"]
    assert main([*arguments, "--gsd", "0.464", "--save", "csv"]) == 0
    table = rows(here / "runs" / "infer" / "image")
    assert len({r["frame"].rpartition("_")[0] for r in table}) == 2  # three providers of one place, one of the next
    assert all(int(r["points"]) > 0 for r in table)
    assert table[0]["points"] == table[1]["points"] == table[2]["points"]


def test_the_carried_network_finds_the_roads_of_a_flight(
    tmp_path: Path, small_lap: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "roadedge-s" in names()
    monkeypatch.chdir(tmp_path)
    arguments = [
        "infer",
        "roadedge-s",
        "synth:512x512@20",
        "--policy",
        "all",
        "--max-frames",
        "3",
        "--save",
        "mask,csv",
    ]
    assert main([*arguments, "--backend", "onnxruntime"]) == 0
    metrics = json.loads(Path("runs/infer/synth-512x512/metrics.json").read_text())
    assert metrics["answered"] == 3
    assert metrics["scores"]["G_IoU"] > 0.6
    assert metrics["runner"]["backend"] == "onnxruntime"
    assert metrics["model"]["file"] == "roadedge-s.onnx"


def test_the_same_functions_serve_python(tiles: Path) -> None:
    lines: list[str] = []
    result = infer(InferOptions(str(tiles / "c.png"), output=Path("out")), lines.append)
    assert result.run.answered == 1
    assert result.profile.warmup.frames == 0  # a single frame is not left out
    assert lines[0].startswith("fake on fake (CPU), fp32")
