"""`roadedge vectorize`: what it writes where, and what it refuses in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from roadedge.cli import main
from tests.roadmap.rasters import street, write_raster
from tests.roadmap.test_traffic import EAST, drive, stored

pytest.importorskip("rasterio", reason="rasterio is not installed (extra geo)")
pytest.importorskip("pyogrio", reason="pyogrio is not installed (extra geo)")
pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra points)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `roadedge map` leaves, and points on its street."""
    write_raster(tmp_path / "probability.tif", street((300, 1200), 100))
    drives = [drive((EAST[0][0], -50.0 - 3), (EAST[1][0], -50.0 - 3), vid) for vid in range(12)]
    stored(tmp_path / "points.parquet", *drives).close()
    return tmp_path


def test_a_folder_gets_its_roads_with_traffic_and_a_summary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["vectorize", str(folder), "--points", str(folder / "points.parquet"), "--format", "gpkg,geojson"]
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["edges"], printed["oneway_edges"], printed["edges_with_trips"]) == (1, 1, 1)
    road = json.loads((folder / "roads.geojson").read_text())["features"][0]["properties"]
    assert (road["n_trips"], road["speed_kmh"], road["oneway"]) == (12, 36.0, 1)
    assert road["travel_time_s"] == pytest.approx(60, abs=0.5)
    summary = json.loads((folder / "roads.json").read_text())
    assert summary["source"] == "probability.tif"
    assert summary["environment"]["roadedge"]


def test_what_is_there_is_kept_unless_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "roads.gpkg").write_text("mine")
    assert main(["vectorize", str(folder)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (folder / "roads.gpkg").read_text() == "mine"
    assert main(["vectorize", str(folder), "--overwrite", "-q"]) == 0
    assert (folder / "roads.gpkg").stat().st_size > 10_000


def test_one_file_has_the_format_of_its_suffix(folder: Path) -> None:
    target = folder / "out" / "city.parquet"
    assert main(["vectorize", str(folder / "probability.tif"), "-o", str(target), "-q"]) == 0
    assert [path.name for path in target.parent.iterdir()] == ["city.parquet"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 8, "there is no"),
        (["empty"], 8, "`roadedge map` writes it"),
        (["probability.tif", "-o", "roads.shp"], 2, ".shp is none of"),
        (["probability.tif", "--close-gaps", "40"], 2, "give --points"),
        (["probability.tif", "--format", "gpgk"], 2, "did you mean 'gpkg'"),
        (["probability.tif", "--threshold", "1.5"], 2, "thresholds must obey"),
        (["probability.tif", "--cell", "0"], 2, "0 ... 100 m"),
        (["probability.tif", "--points", "probability.tif"], 8, "probability.tif"),
        (["points.parquet"], 8, "no raster"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(
    folder: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    assert main(["vectorize", *arguments]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not list(folder.glob("roads.*"))


def test_points_without_headings_leave_directions_open(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blind = drive((0.0, -53.0), (500.0, -53.0), 1)
    blind[:, 5] = np.nan
    stored(folder / "blind.parquet", blind).close()
    assert main(["vectorize", str(folder), "--points", str(folder / "blind.parquet")]) == 0
    assert "no headings" in capsys.readouterr().err
