"""`roadedge score` from the command line to its exit code: files, folders, tables, mixes, and slips with them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roadedge.scoring.run as scoring_run
import roadedge.scoring.tile as scoring_tile
from roadedge.cli import main
from roadedge.errors import OutputError
from roadedge.imagery import read_image, write_png
from roadedge.roadgraph import RoadGraph, write_geojson
from roadedge.roadgraph.wkt_csv import write_wkt_csv
from roadedge.scoring.pairing import Pair
from roadedge.scoring.tile import TileScore, score_tile

pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
SIDE = 200
ALL = ("--apls", "--topo", "--junctions", "--relaxed", "3")


def cross(row: int = 100, column: int = 100, half: int = 5) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[row - half : row + half] = 255
    mask[:, column - half : column + half] = 255
    return mask


def cross_graph(width_px: float = np.nan) -> RoadGraph:
    nodes = np.array([[100.0, 100], [0, 100], [200, 100], [100, 0], [100, 200]])
    ends = np.array([(0, 1), (0, 2), (0, 3), (0, 4)])
    lines = tuple(nodes[pair] for pair in ends)
    return RoadGraph(nodes, ends[:, 0], ends[:, 1], lines, width=np.full(4, width_px))


def run(*arguments: object) -> int:
    return main(["score", *map(str, arguments), "--bootstrap", "50"])


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, predicted in (("a", cross()), ("b", cross(row=140)), ("c", np.zeros((SIDE, SIDE), np.uint8))):
        write_png(tmp_path / "pred" / f"{name}.png", predicted)
        write_png(tmp_path / "gt" / f"{name}.png", cross())
    return tmp_path / "pred", tmp_path / "gt"


def test_a_mask_against_itself_scores_one_in_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(tmp_path / "a.png", cross())
    assert run(tmp_path / "a.png", tmp_path / "a.png", *ALL, "--json") == 0
    found = document(capsys)
    assert found["pixels"]["G_IoU"] == found["pixels"]["mIoU_with_background"] == 1
    assert found["relaxed"]["IoU"] == found["graph"]["APLS"] == found["graph"]["TOPO"]["F1"] == 1
    assert (found["graph"]["junctions"]["true"], found["graph"]["junctions"]["F1"]) == (1, 1)
    assert found["settings"]["unit"] == "px"
    assert found["settings"]["graph"]["apls"]["spacing"] == 50


def test_pixels_of_shifted_crosses_are_those_counted_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "p.png", cross(row=140))
    write_png(tmp_path / "t.png", cross())
    assert run(tmp_path / "p.png", tmp_path / "t.png", "--relaxed", "39", "--relaxed-on", "masks", "--json") == 0
    found = document(capsys)
    # Each cross: 2000 + 2000 - 100 = 3900 pixels; in common the column and no row: 2000.
    assert found["pixels"]["G_IoU"] == pytest.approx(2000 / (2 * 3900 - 2000))
    assert found["pixels"]["accuracy"] == pytest.approx(1 - 3800 / 40000)
    background = 40000 - 5800
    assert found["pixels"]["mIoU_with_background"] == pytest.approx(
        (2000 / 5800 + background / (background + 3800)) / 2
    )
    # The bars lie at rows 135 to 144 and 95 to 104: all but their farthest row are within 39 of the other's nearest,
    # and the column and 39 pixels to each side of it lie near the other's column.
    near_column = 39 + 10 + 39
    assert found["relaxed"]["predicted"] == 3900
    assert found["relaxed"]["near_truth"] == 3900 - (200 - near_column)


def test_folders_are_scored_tile_by_tile_with_pictures_and_a_page(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(*folders, *ALL, "--gsd", "0.5", "-o", out) == 0
    told = capsys.readouterr()
    assert "control points every 50 m, snap 4 m" in told.out
    assert "Euclidean buffer of 3 px" in told.out
    assert str(out) in told.err
    assert sorted(path.name for path in out.iterdir()) == [
        "env.json",
        "index.html",
        "metrics.json",
        "pictures",
        "samples.csv",
    ]
    with (out / "samples.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert float(rows["a"]["APLS"]) == 1
    assert [float(rows["c"][name]) for name in ("IoU", "P", "R", "relaxed_F1", "APLS", "junction_F1")] == [0] * 6
    assert json.loads((out / "metrics.json").read_text())["graph"]["APLS"] == pytest.approx(
        sum(float(row["APLS"]) for row in rows.values()) / 3
    )
    page = (out / "index.html").read_text()
    assert page.count("data:image/png;base64") == 3
    assert "http" not in page.replace("http-equiv", "")


def test_the_picture_shows_found_missed_and_invented(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert run(*folders, "--apls", "--gsd", "0.5", "-o", tmp_path / "out") == 0
    picture = read_image(tmp_path / "out" / "pictures" / "b.png")
    colours = {tuple(colour) for colour in picture[26:].reshape(-1, 3).tolist()}
    assert {(52, 199, 89), (64, 132, 255), (255, 59, 48), (0, 0, 0)} <= colours
    areas = picture[26 : 26 + SIDE, :SIDE]
    assert areas[100, 20].tolist() == [64, 132, 255]  # the true bar, missed
    assert areas[140, 20].tolist() == [255, 59, 48]  # the invented one
    assert areas[20, 100].tolist() == [52, 199, 89]


def test_several_processes_find_the_same(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "b.png").write_bytes(b"no picture")
    found = []
    for workers in (1, 2):
        assert run(*folders, *ALL, "--workers", workers, "--json", "-o", tmp_path / f"out{workers}") == 8
        told = capsys.readouterr()
        assert "failed: b:" in told.err
        found.append({**json.loads(told.out), "environment": None})
    assert found[0] == found[1]
    assert found[0]["tiles"] == 2


def test_missing_partners_are_said_once_and_counted(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[1] / "a.png").unlink()
    assert run(*folders) == 0  # what is predicted beside the truth harms no score
    assert "1 tile predicted without a truth: a; left out" in capsys.readouterr().err
    (folders[0] / "b.png").unlink()
    assert run(*folders, "--json") == 8
    told = capsys.readouterr()
    assert told.err.count("1 tile of the truth without a prediction: b") == 1
    assert json.loads(told.out)["without_prediction"] == ["b"]


def test_a_probability_is_cut_at_the_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(tmp_path / "p.png", np.where(cross() == 255, np.uint8(120), np.uint8(3)))
    write_png(tmp_path / "t.png", cross())
    assert run(tmp_path / "p.png", tmp_path / "t.png", "--json") == 0
    assert document(capsys)["pixels"]["recall"] == 0
    assert run(tmp_path / "p.png", tmp_path / "t.png", "--threshold", "0.4", "--apls", "--json") == 0
    found = document(capsys)
    assert (found["pixels"]["G_IoU"], found["graph"]["APLS"]) == (1, 1)


def test_ignored_pixels_count_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = cross()
    truth[135:145] = 128
    write_png(tmp_path / "p.png", np.maximum(cross(), cross(row=140)))
    write_png(tmp_path / "t.png", truth)
    assert run(tmp_path / "p.png", tmp_path / "t.png", *ALL, "--json") == 0
    found = document(capsys)
    assert found["pixels"]["G_IoU"] == 1
    assert found["pixels"]["pixels"]["ignored"] == 2000
    assert found["graph"]["APLS"] == found["relaxed"]["F1"] == 1


def test_lines_across_ignored_pixels_count_in_graph_scores_alone_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = cross()
    truth[:, 95:105] = np.where(truth[:, 95:105] == 255, np.uint8(128), truth[:, 95:105])
    write_png(tmp_path / "t.png", truth)
    write_geojson(tmp_path / "p.geojson", cross_graph(10.0))
    assert run(tmp_path / "p.geojson", tmp_path / "t.png", "--apls", "--relaxed", "6", "--json") == 0
    found = document(capsys)
    assert found["pixels"]["precision"] > 0.99
    assert found["relaxed"]["precision"] == 1
    assert found["graph"]["APLS"] < 1
    assert any("across ignored pixels count in graph scores" in note for note in found["notes"])


def test_masks_of_0_and_1_are_read_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(tmp_path / "p.png", cross() // 255)
    write_png(tmp_path / "t.png", cross())
    assert run(tmp_path / "p.png", tmp_path / "t.png") == 0
    assert "0 and 1 are read as not road and road" in capsys.readouterr().out


def test_lines_with_widths_have_areas_and_lines_without_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "t.png", cross())
    for name, width in (("wide.geojson", 10.0), ("thin.geojson", np.nan)):
        write_geojson(tmp_path / name, cross_graph(width))
    assert run(tmp_path / "wide.geojson", tmp_path / "t.png", *ALL, "--json") == 0
    wide = document(capsys)
    assert wide["pixels"]["G_IoU"] > 0.85
    assert wide["graph"]["APLS"] > 0.97
    assert run(tmp_path / "thin.geojson", tmp_path / "t.png", *ALL, "--gsd", "0.5", "--json") == 0
    thin = document(capsys)
    assert thin["pixels"] is None
    assert thin["relaxed"]["F1"] == 1
    assert thin["graph"]["units"] == ["m"]
    assert any("no widths" in note for note in thin["notes"])


def test_a_table_is_paired_with_a_folder_and_with_a_table(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wkt_csv(tmp_path / "roads.csv", {"a": cross_graph(), "b": RoadGraph.empty()})
    assert run(tmp_path / "roads.csv", folders[1], "--apls", "--json") == 8  # c is not in the table
    found = document(capsys)
    assert [round(tile["graph"]["APLS"], 2) for tile in found["samples"]] == [1, 0]
    assert run(tmp_path / "roads.csv", tmp_path / "roads.csv", *ALL, "--json", "-o", tmp_path / "out") == 0
    assert document(capsys)["graph"]["APLS"] == 1


def test_apls_by_time_is_scored_from_speeds_of_files_and_says_what_it_took_for_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "ImageId,WKT_Pix,length_m,travel_time_s\n"
    sides = ["100 100, 300 100", "300 100, 300 300", "300 300, 100 300", "100 300, 100 100"]
    timed = "".join(f'a,"LINESTRING ({side})",60,6\n' for side in sides[:3])
    (tmp_path / "t.csv").write_text(f'{header}{timed}a,"LINESTRING ({sides[3]})",60,12\n')
    (tmp_path / "p.csv").write_text(f'{header}{timed}a,"LINESTRING ({sides[3]})",60,Null\n')
    (tmp_path / "none.csv").write_text("ImageId,WKT_Pix\n" + "".join(f'a,"LINESTRING ({one})"\n' for one in sides))
    options = ("--apls", "--apls-time", "--apls-spacing", "inf", "--gsd", "0.3")
    assert run(tmp_path / "p.csv", tmp_path / "t.csv", *options, "--default-speed", "36", "-o", tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "APLS by time" in told
    assert "0.0 % of the true length and 25.0 % of the proposed: driven at 36 km/h (given)" in told
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["graph"]["APLS"] == pytest.approx(1)
    assert found["graph"]["APLS_time"] == pytest.approx(2 * (5.5 / 6) * (5 / 6) / (10.5 / 6))
    assert "APLS_time" in (tmp_path / "out" / "samples.csv").read_text().splitlines()[0]
    assert run(tmp_path / "none.csv", tmp_path / "t.csv", *options, "--json") == 0
    timing = document(capsys)["samples"][0]["graph"]["APLS_time"]["roads_without_speed"]
    assert (timing["origin"], timing["kmh"]) == ("mean of the truth", pytest.approx(240 / 30 * 3.6))
    assert run(tmp_path / "none.csv", tmp_path / "none.csv", *options) == 8
    assert "neither the truth nor the proposal says one of any road; give --default-speed" in capsys.readouterr().err


@pytest.mark.parametrize(("spacing", "value"), [("inf", 0.8602), ("50", 0.7348)])
def test_a_square_without_a_side_has_the_published_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spacing: str, value: float
) -> None:
    sides = ["100 100, 300 100", "300 100, 300 300", "300 300, 100 300", "100 300, 100 100"]
    for name, kept in (("t.csv", sides), ("p.csv", sides[:3])):
        rows = "".join(f'a,"LINESTRING ({side})"\n' for side in kept)
        (tmp_path / name).write_text("ImageId,WKT_Pix\n" + rows)
    assert run(tmp_path / "p.csv", tmp_path / "t.csv", "--apls", "--apls-spacing", spacing, "--json") == 0
    assert document(capsys)["graph"]["APLS"] == pytest.approx(value, abs=5e-5)


def test_the_published_protocol_stands_beside_and_replaces_nothing(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*folders, "--relaxed", "3", "--json") == 0
    plain = document(capsys)
    assert run(*folders, "--relaxed", "3", "--protocol", "published", "--json") == 0
    both = document(capsys)
    assert plain["published"] is None
    assert (both["pixels"], both["relaxed"]) == (plain["pixels"], plain["relaxed"])
    assert both["published"]["relaxed_recall"] < both["relaxed"]["recall"]  # the borders that always miss


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--relaxed", "3km"], 2, "a buffer is written 3, 3px or 1.5m"),
        (["--relaxed", "3m"], 2, "needs the metres per pixel; give --gsd"),
        (["--protocol", "publshed"], 2, "did you mean 'published'"),
        (["--protocol", "published", "--relaxed", "2.5"], 2, "whole pixels"),
        (["--threshold", "1.5"], 2, "must lie between 0 and 1"),
        (["--gsd", "-1"], 2, "must be positive metres per pixel"),
        (["--apls", "--apls-spacing", "0"], 2, "spacing > 0"),
        (["--apls", "--default-speed", "30"], 2, "a setting of --apls-time"),
        (["--apls-time", "--default-speed", "-30"], 2, "must be positive km/h"),
        (["--junctions", "--junction-tolerance", "-1"], 2, "must be zero or more"),
        (["--workers", "0"], 2, "--workers must be at least 1"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    options: list[str], code: int, sentence: str,
) -> None:  # fmt: skip
    assert run(*folders, *options, "-o", tmp_path / "out") == code
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("error:") == 1
    assert not (tmp_path / "out").exists()


def test_wrong_files_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(tmp_path / "t.png", cross())
    write_png(tmp_path / "small.png", cross()[:100])
    write_png(tmp_path / "grey.png", np.full((SIDE, SIDE), 77, np.uint8))
    write_png(tmp_path / "colours.png", np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.uint8))
    (tmp_path / "text.txt").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "many").mkdir()
    (tmp_path / "nested" / "masks").mkdir(parents=True)
    for name in ("one", "two"):
        write_png(tmp_path / "many" / f"{name}.png", cross())
    write_geojson(tmp_path / "thin.geojson", cross_graph())
    (tmp_path / "places.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": '
        '{"type": "LineString", "coordinates": [[8.0, 50.0], [8.001, 50.0]]}}]}'
    )
    truth = tmp_path / "t.png"
    for prediction, against, sentence in (
        ("gone.png", truth, "there is no"),
        ("text.txt", truth, "of no kind that can be scored"),
        ("small.png", truth, "100 x 200 pixels and the truth t.png 200 x 200"),
        ("colours.png", truth, "picture in colours"),
        ("t.png", tmp_path / "grey.png", "threshold it first"),
        ("empty", tmp_path / "many", "holds no file that can be scored"),
        ("nested", tmp_path / "many", "did you mean"),
        ("t.png", tmp_path / "many", "give two files, or two folders or tables"),
        ("places.geojson", truth, "the mask does not say where it lies"),
        ("thin.geojson", tmp_path / "thin.geojson", "ask for --apls"),
        ("thin.geojson", tmp_path / "places.geojson", "bring both to one"),
    ):
        assert run(tmp_path / prediction, against) in (2, 8), prediction
        told = capsys.readouterr().err
        assert sentence in told, told
        assert told.count("error:") == 1


def test_after_an_interruption_what_was_scored_is_written(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(pair: Pair, *others: object) -> TileScore:
        if pair.name == "c":
            raise KeyboardInterrupt
        return score_tile(pair, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring_run, "score_tile", stopped)
    assert run(*folders, "-o", tmp_path / "out") == 130
    assert "interrupted: 2 of 3 tiles were scored" in capsys.readouterr().err
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (found["tiles"], found["complete"]) == (2, False)
    assert "stopped before its end" in (tmp_path / "out" / "index.html").read_text()


def test_a_full_disk_takes_pictures_but_not_the_scores(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, picture: np.ndarray) -> None:
        if path.name == "b.png":
            raise OutputError(f"cannot write {path}: the disk is full")
        write_png(path, picture)

    monkeypatch.setattr(scoring_tile, "write_png", full)
    assert run(*folders, "-o", tmp_path / "out") == 9
    told = capsys.readouterr()
    assert "G_IoU" in told.out
    assert "stopped before its end" in told.out
    assert told.err.count("the disk is full") == 1
    assert "Results saved" not in told.err


def test_processes_end_with_the_one_that_was_killed(tmp_path: Path) -> None:
    import os
    import signal
    import subprocess
    import sys
    import time

    script = (
        "import multiprocessing as m, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from roadedge.scoring.run import _begin\n"
        "if __name__ == '__main__':\n"
        "    import os\n"
        "    pool = ProcessPoolExecutor(1, m.get_context('spawn'), _begin)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "parent.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 60
    while time.monotonic() < until and Path(f"/proc/{child}").exists():
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()
