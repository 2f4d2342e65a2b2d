"""The page of a map: what goes into it, what it refuses, and how large it may grow."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.cli import main
from roadedge.errors import DataError, MissingExtraError, OutputError, UsageError
from roadedge.roadmap import page_library
from roadedge.roadmap.grid import converted
from roadedge.roadmap.page import MARK, PageOptions, PageResult, write_page
from roadedge.roadmap.page_frame import TILE, Frame, frame_of_raster
from roadedge.roadmap.page_library import map_library
from roadedge.roadmap.page_rasters import SPREAD, STEPS, pyramid
from roadedge.roadmap.page_roads import encoded, read_roads
from tests.roadmap.small_map import CRS, GSD_M, X0, Y1, road_lines, small_map, write_raster, write_roads

pytest.importorskip("rasterio")


def silent(text: str) -> None:
    """Take a line of the log and drop it."""


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id=data>(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def pixels(tile: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    import cv2

    found = cv2.imdecode(np.frombuffer(base64.b64decode(tile), np.uint8), cv2.IMREAD_GRAYSCALE)
    return np.asarray(found, np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_map(tmp_path_factory.mktemp("map") / "town")


@pytest.fixture(scope="module")
def written(folder: Path) -> PageResult:
    return write_page(folder, tell=silent)


def test_the_page_holds_every_road_with_its_attributes(written: PageResult) -> None:
    roads = data_of(written.path)["roads"]
    lines = road_lines(1200 * GSD_M)
    assert written.edges == len(roads["points"]) == len(lines) == 60
    assert written.length_km == pytest.approx(6.0)
    drawn = np.array([X0, Y1]) + np.array(roads["steps"]).reshape(-1, 2)[:2].cumsum(axis=0) * roads["unit"]
    assert np.allclose(drawn, lines[0], atol=roads["unit"] / 2)
    assert roads["columns"]["speed_kmh"][:2] == [None, 21.0]
    assert roads["columns"]["n_trips"][:3] == [0, 1, 2]
    assert len(roads["junctions"]) == 18


def test_tiles_hold_the_probability_to_a_step_and_nothing_where_there_is_no_data(
    folder: Path, written: PageResult
) -> None:
    import rasterio

    raster = data_of(written.path)["rasters"]["probability"]
    with rasterio.open(folder / "probability.tif") as file:
        truth, mask = file.read(1), file.read_masks(1)
    assert raster["finest"] == 0
    for key, row, column in (("0/0/0", 0, 0), ("0/1/1", 1, 1), ("0/2/2", 2, 2)):
        part = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        if not (truth[part] * (mask[part] > 0)).any():
            assert key not in raster["tiles"]
            continue
        steps = pixels(raster["tiles"][key]) / SPREAD
        assert (steps == steps.round()).all()
        share = np.where(steps > 0, (steps - 1) / (STEPS - 1), 0)
        assert np.abs(share - np.where(mask[part] > 0, truth[part] / 255, 0)).max() <= 0.5 / (STEPS - 1) + 1e-6


def test_a_coarser_raster_has_no_finer_levels_than_its_own(written: PageResult) -> None:
    assert written.gsd_m == {"probability": 0.5, "backdrop": 0.5, "density": 2.0}


def test_rasters_stay_within_the_size_asked_for_and_say_so(folder: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2400, 2400), np.uint8)
    write_raster(tmp_path / "probability.tif", noise, GSD_M)
    said: list[str] = []
    result = write_page(tmp_path, options=PageOptions(raster_mb=1.0), tell=said.append)
    tiles = data_of(result.path)["rasters"]["probability"]["tiles"]
    assert sum(map(len, tiles.values())) <= 1e6
    assert result.gsd_m["probability"] > GSD_M
    assert any("probability.tif is shown at" in line for line in said)


def test_a_level_is_half_of_the_one_under_it() -> None:
    frame = Frame(CRS, X0, Y1, 0.5, 1500, 700)
    assert frame.levels == 3
    assert [frame.size(level) for level in range(3)] == [(700, 1500), (350, 750), (175, 375)]
    assert Frame(CRS, X0, Y1, 0.5, 512, 10).levels == 1


def test_the_lattice_tells_longitude_and_latitude() -> None:
    lattice = Frame(CRS, X0, Y1, 0.5, 1200, 1200).lonlat()
    assert lattice[0][0] == pytest.approx([-87.6388, 41.8824], abs=1e-3)
    assert lattice[-1][-1][0] > lattice[0][0][0]
    assert lattice[-1][-1][1] < lattice[0][0][1]


def test_a_raster_in_degrees_gets_a_metric_grid(tmp_path: Path) -> None:
    import rasterio
    from rasterio.transform import Affine

    transform = Affine(1e-5, 0, -87.64, 0, -1e-5, 41.88)
    profile = {"driver": "GTiff", "count": 1, "height": 60, "width": 80, "dtype": "uint8", "crs": "EPSG:4326"}
    with rasterio.open(tmp_path / "p.tif", "w", transform=transform, **profile) as file:
        file.write(np.full((1, 60, 80), 200, np.uint8))
    frame = frame_of_raster(tmp_path / "p.tif")
    assert frame.crs == "EPSG:32616"
    assert 0.7 < frame.gsd_m < 1.2
    assert pixels(pyramid(tmp_path / "p.tif", frame, 10**6, False, None, silent).tiles["0/0/0"]).max() > 0


def test_roads_alone_make_a_page(tmp_path: Path) -> None:
    write_roads(tmp_path / "roads.gpkg", road_lines(400.0))
    result = write_page(tmp_path, tell=silent)
    assert (result.edges, result.gsd_m) == (24, {})


def test_a_map_without_roads_says_how_to_get_them(tmp_path: Path) -> None:
    write_raster(tmp_path / "probability.tif", np.full((64, 64), 9, np.uint8), 1.0)
    result = write_page(tmp_path, tell=silent)
    assert result.edges == 0
    assert "roadedge vectorize" in result.notes[0]


def test_a_map_whose_roads_are_none_is_shown(tmp_path: Path) -> None:
    small_map(tmp_path, side=100)
    (tmp_path / "roads.gpkg").unlink()
    write_roads(tmp_path / "roads.gpkg", [])
    assert write_page(tmp_path, tell=silent).edges == 0


def test_roads_in_degrees_are_drawn_in_metres(tmp_path: Path) -> None:
    from roadedge.georeference.raster_place import to_lonlat

    lines = [to_lonlat(line, CRS) for line in road_lines(400.0)]
    write_roads(tmp_path / "roads.gpkg", lines, "EPSG:4326")
    roads = read_roads(tmp_path / "roads.gpkg", 0.0)
    assert roads.crs == CRS
    assert roads.length_m == pytest.approx(2400.0, rel=1e-6)


def test_web_mercators_metre_is_none(tmp_path: Path) -> None:
    lines = [converted(line, CRS, "EPSG:3857") for line in road_lines(400.0)]
    write_roads(tmp_path / "roads.gpkg", lines, "EPSG:3857")
    roads = read_roads(tmp_path / "roads.gpkg", 0.0)
    assert roads.crs == CRS
    assert roads.length_m == pytest.approx(2400.0, rel=1e-6)


def test_roads_of_another_place_are_told(tmp_path: Path) -> None:
    small_map(tmp_path, side=64)
    (tmp_path / "roads.gpkg").unlink()
    write_roads(tmp_path / "roads.gpkg", [line + np.array([5000.0, 0.0]) for line in road_lines(400.0)])
    assert "beside the rasters" in write_page(tmp_path, tell=silent).notes[0]


def test_the_lattice_of_a_map_across_the_date_line_has_no_jump() -> None:
    lon = np.array(Frame("EPSG:32601", 165_500.0, 1_000_000.0, 10.0, 1000, 1000).lonlat())[..., 0]
    assert np.abs(np.diff(lon)).max() < 0.1


def test_lines_that_leave_the_finite_are_left_out(tmp_path: Path) -> None:
    lines = [*road_lines(200.0), np.array([[np.nan, 1.0], [X0, Y1]])]
    write_roads(tmp_path / "roads.gpkg", lines)
    roads = read_roads(tmp_path / "roads.gpkg", 0.3)
    assert len(roads.lines) == len(roads.columns["u"]) == 4


def test_a_drawn_road_keeps_within_the_tolerance_of_the_files() -> None:
    import shapely

    from roadedge.roadmap.page_roads import Roads

    along = np.linspace(0, 200, 400)
    line = np.stack([X0 + along, Y1 - 50 + 8 * np.sin(along / 20)], 1)
    thin = shapely.get_coordinates(shapely.simplify(shapely.linestrings(line), 0.3))
    found = encoded(Roads(CRS, [thin], {}, np.empty((0, 2))), Frame(CRS, X0, Y1, 0.5, 400, 400))
    drawn = np.array([X0, Y1]) + np.array(found["steps"]).reshape(-1, 2).cumsum(axis=0) * found["unit"]
    assert len(drawn) < 60
    assert shapely.hausdorff_distance(shapely.linestrings(drawn), shapely.linestrings(line), 0.01) < 0.4


def test_names_in_the_data_cannot_end_the_script(tmp_path: Path) -> None:
    small_map(tmp_path, side=64)
    spoilt = {"scene": "</script><script>alert(1)</script>", "model": "<img src=x onerror=alert(2)>"}
    (tmp_path / "map.json").write_text(json.dumps(spoilt))
    text = write_page(tmp_path, tell=silent).path.read_text()
    assert text.count("<script") == 3
    assert "<img" not in text.split("<body>")[1].split("<script")[0]


def test_the_page_brings_its_library_and_the_librarys_licence(written: PageResult) -> None:
    text = written.path.read_text()
    assert "Leaflet 1." in text
    assert "Redistributions in binary form must reproduce the above copyright notice" in text
    assert not re.findall(r"(?:src|href)=[\"']?https?:", text.split("<script>")[0])
    assert "url(images" not in text


def test_only_a_page_of_ours_is_replaced(folder: Path, written: PageResult, tmp_path: Path) -> None:
    assert MARK in written.path.read_text()
    write_page(folder, written.path, tell=silent)
    precious = tmp_path / "notes.html"
    precious.write_text("mine")
    with pytest.raises(UsageError, match="no page of roadedge view"):
        write_page(folder, precious, tell=silent)
    assert precious.read_text() == "mine"
    with pytest.raises(UsageError, match="is a folder"):
        write_page(folder, tmp_path, tell=silent)
    with pytest.raises(UsageError, match=r"ends in \.html, got roads\.gpkg"):
        write_page(folder, folder / "roads.gpkg", PageOptions(overwrite=True), tell=silent)


def test_a_folder_with_nothing_to_show_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds neither probability.tif or roads.gpkg"):
        write_page(tmp_path, tell=silent)
    with pytest.raises(DataError, match="there is no folder"):
        write_page(tmp_path / "absent", tell=silent)


@pytest.mark.parametrize("name", ["probability.tif", "roads.gpkg", "map.json"])
def test_a_damaged_file_is_told_by_its_name(name: str, tmp_path: Path) -> None:
    small_map(tmp_path, side=64)
    (tmp_path / name).write_bytes(b"not what it says")
    with pytest.raises(DataError, match=name):
        write_page(tmp_path, tell=silent)


def test_a_raster_of_another_kind_is_told(tmp_path: Path) -> None:
    write_raster(tmp_path / "probability.tif", np.zeros((8, 8, 3), np.uint8), 1.0)
    with pytest.raises(DataError, match="has 3 bands of uint8; expected one of uint8"):
        write_page(tmp_path, tell=silent)


@pytest.mark.parametrize("options", [{"raster_mb": float("nan")}, {"raster_mb": 0.0}, {"tolerance_m": -1.0}])
def test_options_out_of_range_are_told(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="got"):
        PageOptions(**options)  # type: ignore[arg-type]


def test_a_page_that_cannot_be_written_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_page(folder, tmp_path / "file" / "page.html", tell=silent)


def test_without_its_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_library, "PACKAGE", "XStatic-Absent")
    with pytest.raises(MissingExtraError, match=r"roadedge\[geo\]"):
        map_library()


def test_the_command_prints_json_alone_and_its_log_beside(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(folder), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["edges"] == 60
    assert "Results saved to" in captured.err


def test_the_command_says_what_is_wrong_and_with_which_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(tmp_path / "absent")]) == 8
    assert capsys.readouterr().err.startswith("error: there is no folder")
