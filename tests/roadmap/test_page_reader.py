"""Windows of rasters on the page's levels: where they lie, what they mean, and what is beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.georeference.raster_place import opened_raster, place_of_raster
from roadedge.roadmap.page_frame import Frame
from roadedge.roadmap.page_reader import tile_reader
from tests.roadmap.small_map import CRS, X0, Y1, write_raster

pytest.importorskip("rasterio")
ACROSS, DOWN = 30, 20  # metres from the frame's corner to the raster's


@pytest.fixture
def raster(tmp_path: Path) -> tuple[Path, NDArray[np.uint8]]:
    """64 x 48 pixels of 1 m."""
    values = np.random.default_rng(0).integers(0, 255, (48, 64), np.uint8)
    write_raster(tmp_path / "r.tif", values, 1.0)
    return tmp_path / "r.tif", values


def read(path: Path, level: int, crs: str = CRS) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """All of a level of a frame of 0.5 m whose corner lies left of and above the raster's."""
    frame = Frame(crs, X0 - ACROSS, Y1 + DOWN, 0.5, 240, 200)
    with opened_raster(path) as opened, tile_reader(opened, place_of_raster(opened, path), frame, level) as reader:
        values, known = reader((0, 0, *frame.size(level)), [1])
        return values[0], known


def test_a_level_of_the_rasters_own_pixels_holds_them_as_they_are(raster: tuple[Path, NDArray[np.uint8]]) -> None:
    path, truth = raster
    values, known = read(path, 1)
    inside = np.s_[DOWN : DOWN + 48, ACROSS : ACROSS + 64]
    assert (values[inside] == truth).all()
    assert known.sum() == 255 * truth.size
    assert (known[inside] == 255).all()


def test_a_coarser_level_holds_means(raster: tuple[Path, NDArray[np.uint8]]) -> None:
    path, truth = raster
    values, _ = read(path, 2)
    means = truth.reshape(24, 2, 32, 2).mean(axis=(1, 3))
    assert np.abs(values[DOWN // 2 : DOWN // 2 + 24, ACROSS // 2 : ACROSS // 2 + 32] - means).max() <= 0.5


def test_boxes_put_together_are_the_level(raster: tuple[Path, NDArray[np.uint8]]) -> None:
    path, _ = raster
    frame = Frame(CRS, X0 - ACROSS, Y1 + DOWN, 0.5, 240, 200)
    whole, known = read(path, 1)
    with opened_raster(path) as opened, tile_reader(opened, place_of_raster(opened, path), frame, 1) as reader:
        for top in range(0, 100, 33):
            for left in range(0, 120, 41):
                box = (top, left, min(33, 100 - top), min(41, 120 - left))
                values, there = reader(box, [1])
                part = np.s_[top : top + box[2], left : left + box[3]]
                assert (values[0] == whole[part]).all()
                assert (there == known[part]).all()


def test_another_crs_is_warped_to_the_same_place(tmp_path: Path) -> None:
    """A raster in degrees, bright where its own middle is, lies there on the metric grid too."""
    import rasterio
    from rasterio.transform import Affine

    from roadedge.georeference.raster_place import from_lonlat, to_lonlat

    lon, lat = to_lonlat([[X0 + 30, Y1 - 30]], CRS)[0].tolist()
    values = np.zeros((1, 41, 41), np.uint8)
    values[0, 19:22, 19:22] = 255
    side = 1e-5
    place = Affine(side, 0, lon - 20.5 * side, 0, -side, lat + 20.5 * side)
    profile = {"driver": "GTiff", "count": 1, "height": 41, "width": 41, "dtype": "uint8", "crs": "EPSG:4326"}
    with rasterio.open(tmp_path / "d.tif", "w", transform=place, **profile) as file:
        file.write(values)
    found, known = read(tmp_path / "d.tif", 0)
    row, column = np.argwhere(found > 128).mean(axis=0) + 0.5
    want = from_lonlat([[lon, lat]], CRS)[0]
    assert abs(X0 - ACROSS + 0.5 * column - want[0]) < 0.5
    assert abs(Y1 + DOWN - 0.5 * row - want[1]) < 0.5
    assert not known[0, 0]
