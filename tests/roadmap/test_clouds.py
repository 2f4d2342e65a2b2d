from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("laspy", reason="extra lidar")
pytest.importorskip("rasterio", reason="extra geo")

from roadedge.errors import DataError, SpecMismatchError, UsageError
from roadedge.lidar.cloud import look_at_clouds
from roadedge.lidar.raster import Drawing
from roadedge.roadmap.clouds import (
    CloudOrder,
    RasterOrder,
    grid_about,
    parse_quantities,
    parse_range,
    rasterise,
    scene_of,
)
from roadedge.roadmap.scene_reader import SceneReader
from roadedge.roadmap.survey import MapGrid
from roadedge.spec import LidarSpec, ModelSpec
from tests.lidar.cloud_files import CRS, X0, Y0, plain_of, write_cloud

GRID = MapGrid(CRS, X0, Y0 + 40, 0.5, 80, 80, True)
SPEC = ModelSpec("a", ("image", "lidar"), lidar=LidarSpec("intensity", 0.0, 254.0))


def test_a_spec_with_lidar_is_read_back() -> None:
    assert ModelSpec.from_dict(SPEC.to_dict()) == SPEC
    assert "lidar" not in ModelSpec("a").to_dict()
    with pytest.raises(SpecMismatchError, match="does not fit"):
        ModelSpec.from_dict({**SPEC.to_dict(), "lidar": {"quantity": "height", "top": 3}})


def test_a_raster_says_its_place_and_what_its_levels_are(tmp_path: Path) -> None:
    import rasterio

    cloud = write_cloud(tmp_path / "a.laz", plain_of(), intensity=40)
    order = RasterOrder((cloud,), tmp_path / "out", gsd_m=0.5)
    drawn = rasterise(order, Drawing({"intensity": LidarSpec("intensity", 0, 254), "height": LidarSpec.height()}))
    assert drawn.to_dict()["points"] == 6400
    with rasterio.open(drawn.files["intensity"]) as raster:
        assert (raster.crs.to_epsg(), raster.nodata, raster.shape) == (32610, 0, (80, 80))
        assert raster.bounds == (X0, Y0, X0 + 40, Y0 + 40)
        assert raster.tags()["high"] == "254"
        assert set(np.unique(raster.read())) == {41}
    with pytest.raises(UsageError, match="is there already"):
        rasterise(order, Drawing())


def test_a_network_is_fed_what_was_drawn_and_nothing_is_drawn_twice(tmp_path: Path) -> None:
    import rasterio

    cloud = write_cloud(tmp_path / "a.laz", plain_of(), intensity=40)
    order = CloudOrder.of([tmp_path], GRID, SPEC, None, tmp_path)
    told: list[str] = []
    order.draw(told.append)
    with SceneReader(scene_of(order.path, GRID)) as reader:
        pixels, _ = reader.read(0, 0, 80, 80)
    assert (pixels == 41).all()
    before = order.path.stat().st_mtime_ns
    order.draw(told.append)
    assert order.path.stat().st_mtime_ns == before
    write_cloud(cloud, plain_of(), intensity=90)
    CloudOrder.of([tmp_path], GRID, SPEC, None, tmp_path).draw(told.append)
    with rasterio.open(order.path) as raster:
        assert raster.read().max() == 91


def test_clouds_and_rasters_together_and_networks_that_say_no_range_are_refused(tmp_path: Path) -> None:
    cloud = write_cloud(tmp_path / "a.laz", plain_of())
    with pytest.raises(UsageError, match="not both"):
        CloudOrder.of([cloud, tmp_path / "b.tif"], GRID, SPEC, None, tmp_path)
    with pytest.raises(SpecMismatchError, match="does not say how its LiDAR was drawn"):
        CloudOrder.of([cloud], GRID, ModelSpec("a", ("image", "lidar")), None, tmp_path)


@pytest.mark.parametrize("move", [(900, 0), (0, -900)])
def test_clouds_beside_the_scene_are_said_before_anything_is_written(tmp_path: Path, move: tuple[int, int]) -> None:
    cloud = write_cloud(tmp_path / "a.laz", plain_of() + np.array([*move, 0]))
    with pytest.raises(DataError, match="none of 6400 points lies on the scene"):
        CloudOrder.of([cloud], GRID, SPEC, None, tmp_path / "out")


def test_a_grid_about_clouds_is_metric_and_no_larger_than_a_map(tmp_path: Path) -> None:
    feet = write_cloud(tmp_path / "a.las", [[637_000, 851_000, 400], [637_100, 851_100, 400]], crs="EPSG:2992")
    grid = grid_about(look_at_clouds([feet]), 1.0)
    assert grid.crs == CRS
    assert grid.height == pytest.approx(31, abs=3)
    far = write_cloud(tmp_path / "b.las", [[X0, Y0, 1], [X0 + 90_000, Y0 + 90_000, 1]])
    with pytest.raises(UsageError, match="give more metres per pixel"):
        grid_about(look_at_clouds([far]), 0.01)


def test_options_are_read_or_refused(tmp_path: Path) -> None:
    assert parse_range("0,255", "intensity") == LidarSpec("intensity", 0, 255)
    assert parse_quantities("height, intensity") == ("height", "intensity")
    for bad in ("", "1", "5,1", "a,b", "nan,3"):
        with pytest.raises(UsageError, match="LOW,HIGH"):
            parse_range(bad, "intensity")
    with pytest.raises(UsageError, match="some of intensity, height"):
        parse_quantities("colour")
    with pytest.raises(UsageError, match="say which pixels"):
        rasterise(RasterOrder((write_cloud(tmp_path / "a.las", plain_of()),), tmp_path / "out"), Drawing())
