"""LAS beside a scene becomes rasters on the tiles' own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio", reason="rasterio is not installed")
pytest.importorskip("pyogrio", reason="pyogrio is not installed")
pytest.importorskip("roadedge.lidar", reason="this checkout reads no point clouds")

from roadedge.data.folder import FolderDataset
from roadedge.errors import DataError
from roadedge.roadmap.dataset.tile_lidar import parse_lidar
from tests.roadmap.dataset.scenes import UTM
from tests.roadmap.dataset.test_prepare import prepared


def test_point_clouds_are_drawn_on_the_grid_of_the_tiles(tmp_path: Path) -> None:
    laspy = pytest.importorskip("laspy", reason="laspy is not installed")
    rng = np.random.default_rng(0)
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales, header.offsets = [0.01, 0.01, 0.01], [440_000.0, 4_629_000.0, 0.0]
    cloud = laspy.LasData(header)
    pixels = rng.uniform(0, [320, 256], (40_000, 2))
    bright = pixels[:, 0] < 160
    cloud.x, cloud.y = 440_000 + pixels[:, 0] * 0.5, 4_630_000 - pixels[:, 1] * 0.5
    cloud.z = np.where((pixels[:, 1] > 200) & (pixels[:, 1] < 230), 12.7, 0.0)  # a long house, 15 m wide
    cloud.intensity, cloud.return_number = np.where(bright, 900, 100), np.ones(40_000, np.uint8)
    cloud.write(tmp_path / "cloud.las")
    order = {"lidar": parse_lidar([str(tmp_path / "cloud.las")])}
    with pytest.raises(DataError, match="does not say its CRS"):
        prepared(tmp_path, order)
    result = prepared(tmp_path, order, crs=UTM)
    samples = {item.id: item.sample.second for item in FolderDataset(result.folder, second="lidar_intensity")}
    left, right = samples["r0001_c0000"], samples["r0001_c0004"]
    assert left is not None
    assert right is not None
    assert np.median(left) == 255
    assert np.median(right) == 1
    heights = {item.id: item.sample.second for item in FolderDataset(result.folder, second="lidar_height")}
    house = heights["r0003_c0002"]
    assert house is not None
    assert np.median(house[12:34]) == pytest.approx(128, abs=3)  # 12.7 of 25.4 m
    assert np.median(house[45:]) == 1
    drawn = result.manifest["lidar"]
    assert (drawn["points"] + drawn["outside"], drawn["points"] > 39_900) == (
        40_000,
        True,
    )  # centimetres put a few beyond the rim
    assert not (result.folder / ".lidar").exists()
