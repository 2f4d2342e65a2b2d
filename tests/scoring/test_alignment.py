"""A mask and lines of other coordinates are brought together where the grid is known; lines are cut at its border."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.errors import DataError, SpecMismatchError
from roadedge.metrics.graph_scores import choose_graph_scores
from roadedge.metrics.relaxed import Buffer
from roadedge.place import Place
from roadedge.roadgraph import RoadGraph, write_geojson
from roadedge.scoring import ScoreSettings
from roadedge.scoring.clipping import clip
from roadedge.scoring.layers import LayerFile
from roadedge.scoring.pairing import Pair
from roadedge.scoring.tile import TileScore, picture_name, score_tile

SIZE = (300, 400)
SETTINGS = ScoreSettings(choose_graph_scores(True, True, True), Buffer(1.0, "m"))


def polyline(*points: tuple[float, float]) -> RoadGraph:
    line = np.array(points, np.float64)
    return RoadGraph(line[[0, -1]], np.array([0]), np.array([1]), (line,))


def tile(prediction: Path, truth: Path, settings: ScoreSettings = SETTINGS) -> TileScore:
    return score_tile(Pair("a", LayerFile(prediction), LayerFile(truth)), settings, None)


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Path, Place]:
    """A GeoTIFF of half a metre in UTM with a road along its row 150, and where it lies."""
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed (extra geo)")
    pytest.importorskip("pyproj", reason="pyproj is not installed (extra geo)")
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
    write_tif(rasterio, tmp_path / "mask.tif", 500_000.0, road())
    return tmp_path / "mask.tif", Place.from_geotransform((500_000.0, 0.5, 0, 4_300_000.0, 0, -0.5), "EPSG:32650")


def road() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[145:155] = 255
    return mask


def write_tif(rasterio: Any, path: Path, east: float, plane: np.ndarray, crs: str | None = "EPSG:32650") -> None:
    transform = rasterio.Affine(0.5, 0.0, east, 0.0, -0.5, 4_300_000.0)
    kind: dict[str, Any] = {
        "driver": "GTiff",
        "height": SIZE[0],
        "width": SIZE[1],
        "count": 1,
        "dtype": plane.dtype.name,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **kind, crs=crs, transform=transform) as raster:
            raster.write(plane, 1)


def test_lines_in_longitude_and_latitude_meet_a_georeferenced_mask(scene: tuple[Path, Place], tmp_path: Path) -> None:
    mask, place = scene
    beyond = polyline((-900, 150), (200, 150), (1300, 150)).to_ground(place)  # a city's road through the tile
    write_geojson(tmp_path / "roads.geojson", beyond.to_lonlat())
    found = tile(tmp_path / "roads.geojson", mask)
    assert found.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert found.pixels is None
    assert found.relaxed is not None
    assert found.relaxed.f1 == 1
    assert found.graph is not None
    assert found.graph.apls is not None
    assert found.graph.apls.apls > 0.99
    assert found.graph.proposed_length == pytest.approx(200, rel=0.01)  # metres in the tile, not of the whole road
    back = tile(mask, tmp_path / "roads.geojson")
    assert back.graph is not None
    assert back.graph.true_length == found.graph.proposed_length


def test_rasters_of_other_ground_are_refused(scene: tuple[Path, Place], tmp_path: Path) -> None:
    import rasterio

    write_tif(rasterio, tmp_path / "east.tif", 500_003.0, road())
    with pytest.raises(SpecMismatchError, match=r"lie 6\.0 pixels apart"):
        tile(tmp_path / "east.tif", scene[0])
    write_tif(rasterio, tmp_path / "nowhere.tif", 500_003.0, road(), crs=None)
    assert tile(tmp_path / "nowhere.tif", scene[0]).pixels is not None  # it says nothing against it


def test_floating_and_sixteen_bit_probabilities_are_read(scene: tuple[Path, Place], tmp_path: Path) -> None:
    import rasterio

    share = np.where(road() == 255, np.float32(0.8), np.float32(0.1))
    for name, plane in (("f", share), ("u", (share * 65535).astype(np.uint16))):
        write_tif(rasterio, tmp_path / f"{name}.tif", 500_000.0, plane)
        found = tile(tmp_path / f"{name}.tif", scene[0])
        assert found.pixels is not None
        assert found.pixels.iou == 1
        assert found.graph is not None
        assert found.graph.apls is not None
        assert found.graph.apls.apls == 1
    write_tif(rasterio, tmp_path / "wrong.tif", 500_000.0, share * 255)
    with pytest.raises(DataError, match=r"outside \[0, 1\]"):
        tile(tmp_path / "wrong.tif", scene[0])


def test_lines_inside_are_left_alone_and_others_cut_where_they_cross() -> None:
    inside = polyline((10, 10), (390, 290))
    assert clip(inside, SIZE) is inside
    through = clip(polyline((-100, 100), (100, 100), (500, 100)), SIZE)
    assert [line.tolist() for line in through.lines] == [[[0, 100], [100, 100], [400, 100]]]
    assert through.total_length == 400
    in_and_out = clip(polyline((50, 50), (50, -50), (150, -50), (150, 50)), SIZE)
    assert [line.tolist() for line in in_and_out.lines] == [[[50, 50], [50, 0]], [[150, 0], [150, 50]]]
    assert len(clip(polyline((-50, 20), (20, -50)), SIZE).lines) == 0  # it passes the corner
    assert len(clip(polyline((500, 0), (500, 100)), SIZE).lines) == 0


def test_what_is_cut_keeps_width_and_unit() -> None:
    metres = replace(polyline((-100, 100), (100, 100)), length=np.array([100.0]), width=np.array([6.0]), unit="m")
    cut = clip(metres, SIZE)
    assert (cut.total_length, cut.width.tolist(), cut.unit) == (50, [6], "m")


def test_clipping_agrees_with_a_fine_walk_along_random_lines() -> None:
    random = np.random.default_rng(5)
    for _ in range(30):
        points = random.uniform(-200, 600, (6, 2))
        graph = polyline(*map(tuple, points))
        steps = np.linspace(0, 1, 4001)[:-1, None]
        walked = np.concatenate([a + steps * (b - a) for a, b in itertools.pairwise(points)])
        lengths = np.repeat(np.linalg.norm(np.diff(points, axis=0), axis=1) / 4000, 4000)
        inside = ((walked >= 0) & (walked <= [SIZE[1], SIZE[0]])).all(axis=1)
        assert clip(graph, SIZE).total_length == pytest.approx(lengths[inside].sum(), abs=1.0)


def test_pictures_of_odd_names_have_files_of_their_own() -> None:
    names = ["tile 1", "tile/1", "tile:1", "tile-1", "x" * 300, "x" * 301, "ä"]
    assert len({picture_name(name) for name in names}) == len(names)
    assert picture_name("tile-1") == "tile-1.png"
    assert all(len(picture_name(name)) < 130 and "/" not in picture_name(name) for name in names)


def test_pixels_that_are_longer_than_wide_are_measured_on_the_ground(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed (extra geo)")
    pytest.importorskip("pyproj", reason="pyproj is not installed (extra geo)")
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
    mask = road()
    mask[:, 195:205] = 255
    step = 1e-5  # degrees, both ways: at 60° north a pixel is half as wide as it is high
    transform = rasterio.Affine(step, 0.0, 10.0, 0.0, -step, 60.0)
    kind: dict[str, Any] = {
        "driver": "GTiff",
        "height": SIZE[0],
        "width": SIZE[1],
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:4326",
    }
    with rasterio.open(tmp_path / "deg.tif", "w", **kind, transform=transform) as raster:
        raster.write(mask, 1)
    found = tile(tmp_path / "deg.tif", tmp_path / "deg.tif")
    assert found.graph is not None
    wide_m, high_m = 400 * step * 111_412 * np.cos(np.radians(60)), 300 * step * 111_412
    assert found.graph.true_length == pytest.approx(wide_m + high_m, rel=0.01)
    with pytest.raises(SpecMismatchError, match=r"--gsd says 2 m a pixel and the georeference 0\.7"):
        tile(tmp_path / "deg.tif", tmp_path / "deg.tif", replace(SETTINGS, gsd_m=2.0))
