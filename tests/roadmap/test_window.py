"""What the network is fed for a window is a cut of what it would be fed for the whole scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge.georeference.raster_place import to_lonlat
from roadedge.roadmap.scene_reader import SceneReader
from roadedge.roadmap.survey import MapGrid, survey
from roadedge.roadmap.tile_file import OpenTile, TileFile, is_whole, write_tile
from roadedge.roadmap.window import draw_heatmap, points_in, read_window
from roadedge.spec import HeatmapSpec, ModelSpec
from roadedge.trajectory.heatmap import rasterize
from roadedge.trajectory.point_store import PointStore
from tests.roadmap.scenes import CORNER, UTM, smooth, write_points, write_scene

pytest.importorskip("rasterio")
GRID = MapGrid(UTM, *CORNER, 0.46, 200, 300, True)
SPEC = ModelSpec("any", stride=32)


def scattered(count: int = 3000, beyond: float = 0.2) -> np.typing.NDArray[np.float64]:
    """Points in pixels of the grid, some of them beyond it."""
    share = np.random.default_rng(2).uniform(-beyond, 1 + beyond, (count, 2))
    return share * [GRID.width, GRID.height]


def on_ground(pixels: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.float64]:
    return np.array(CORNER) + pixels * [GRID.gsd_m, -GRID.gsd_m]


@pytest.mark.parametrize("box", [(0, 0, 200, 300), (40, 60, 100, 130), (0, 250, 37, 300), (199, 0, 200, 1)])
def test_the_heatmap_of_a_window_is_the_whole_ones_cut(box: tuple[int, int, int, int]) -> None:
    xy, spec = scattered(), HeatmapSpec()
    y0, x0, y1, x1 = box
    assert (draw_heatmap(xy, GRID, box, spec) == rasterize(xy, GRID.size, spec)[y0:y1, x0:x1]).all()


@pytest.mark.parametrize("crs", [UTM, "OGC:CRS84"])
def test_points_of_a_window_are_found_in_any_crs(tmp_path: Path, crs: str) -> None:
    pixels = scattered()
    ground = on_ground(pixels)
    path = write_points(tmp_path / "p.parquet", ground if crs == UTM else to_lonlat(ground, UTM), crs)
    box = (50, 60, 120, 200)
    with PointStore.open(path) as store:
        found = points_in(store, GRID, box)
    inside = (pixels >= (60, 50)).all(axis=1) & (pixels < (200, 120)).all(axis=1)
    kept = (found >= (60, 50)).all(axis=1) & (found < (200, 120)).all(axis=1)
    assert kept.sum() == inside.sum() > 50
    order = np.lexsort(pixels[inside].T)
    assert np.abs(found[kept][np.lexsort(found[kept].T)] - pixels[inside][order]).max() < 0.01


def test_a_window_beyond_the_scene_is_mirrored(tmp_path: Path) -> None:
    pixels = smooth(100, 90)
    scene = survey(write_scene(tmp_path / "a.tif", pixels), 0.46)
    with SceneReader(scene) as reader:
        window = read_window(reader, (64, 32), (64, 64), SPEC)
    assert window.image.shape == (64, 64, 3)
    assert (window.image[:36, :58] == pixels[64:, 32:]).all()
    assert (window.image[36, :58] == pixels[98, 32:]).all()
    assert window.feeds(SPEC)["trajectory"].shape == (1, 64, 64, 1)


def test_what_is_no_image_is_fed_as_the_blank(tmp_path: Path) -> None:
    pixels = np.maximum(smooth(64, 64), 1)
    pixels[:, 40:] = 0
    scene = survey(write_scene(tmp_path / "a.tif", pixels, nodata=0), 0.46)
    with SceneReader(scene) as reader:
        window = read_window(reader, (0, 0), (64, 64), SPEC)
    assert window.valid is not None
    assert (window.image[:, 40:] == SPEC.blank_rgb).all()
    assert not window.is_blank


def test_a_tile_comes_back_in_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    road = rng.integers(0, 256, (96, 64), dtype=np.uint8)
    valid = rng.random((70, 33)) > 0.5
    density = rng.integers(0, 9, (5, 6)).astype(np.uint32)
    path = tmp_path / "row" / "tile"
    write_tile(path, TileFile(road, 70, valid, b"picture", density, 7, 8))
    tile = OpenTile(path)
    for start, stop in ((0, 10), (60, 90), (70, 96), (0, 96), (95, 96)):
        assert (tile.rows(start, stop) == road[start:stop]).all()
    found, counts = tile.valid(), tile.density()
    assert found is not None
    assert counts is not None
    assert (found == valid).all()
    assert (counts == density).all()
    assert tile.backdrop() == b"picture"
    assert (tile.about["pixels"], tile.about["points"]) == (7, 8)
    tile.close()


def test_equal_tiles_are_equal_files(tmp_path: Path) -> None:
    tile = TileFile(np.arange(64, dtype=np.uint8).reshape(8, 8), 5, None, b"", None, 1, 0)
    write_tile(tmp_path / "a", tile)
    write_tile(tmp_path / "b", tile)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_tile_that_was_cut_or_changed_is_not_whole(tmp_path: Path) -> None:
    road = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = tmp_path / "a"
    assert not is_whole(path)
    write_tile(path, TileFile(road, 60, None, b"", None, 1, 0))
    assert is_whole(path)
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    assert not is_whole(path)
    path.write_bytes(content[:500] + bytes([content[500] ^ 255]) + content[501:])
    assert not is_whole(path)
