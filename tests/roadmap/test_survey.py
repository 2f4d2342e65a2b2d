"""Scenes of any kind: where their map's grid lies, and what of them is read onto it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import DataError
from roadedge.georeference.raster_place import from_lonlat
from roadedge.roadmap.scene_reader import SceneReader
from roadedge.roadmap.survey import survey
from tests.roadmap.scenes import CORNER, UTM, smooth, write_scene

rasterio = pytest.importorskip("rasterio")


def read_all(path: Path, gsd_m: float | None = None) -> tuple[np.typing.NDArray[np.uint8], np.typing.NDArray[np.bool_]]:
    scene = survey(path, gsd_m)
    with SceneReader(scene) as reader:
        image, valid = reader.read(0, 0, *scene.grid.size)
    return image, np.ones(scene.grid.size, np.bool_) if valid is None else valid


def test_a_metric_scene_of_the_networks_pixels_is_read_as_it_is(tmp_path: Path) -> None:
    pixels = smooth(90, 70)
    path = write_scene(tmp_path / "a.tif", pixels)
    grid = survey(path, 0.46).grid
    assert grid.native
    assert (grid.crs, grid.x0, grid.y0, grid.gsd_m, grid.size) == (UTM, *CORNER, 0.46, (90, 70))
    assert (read_all(path, 0.46)[0] == pixels).all()
    assert survey(path, 0.465).grid.gsd_m == 0.46  # within the tolerance


def test_finer_pixels_become_means(tmp_path: Path) -> None:
    pixels = smooth(120, 160)
    path = write_scene(tmp_path / "a.tif", pixels, gsd=0.23)
    image, valid = read_all(path, 0.46)
    want = pixels.reshape(60, 2, 80, 2, 3).mean(axis=(1, 3))
    assert image.shape == (60, 80, 3)
    assert valid.all()
    assert np.abs(image - want).max() <= 1


def test_means_are_those_of_warping_up_to_the_rim(tmp_path: Path) -> None:
    scene = survey(write_scene(tmp_path / "a.tif", smooth(150, 170), gsd=0.31), 0.46)
    file = scene.files[0]
    assert file.square is not None
    warped = dataclasses.replace(scene, files=(dataclasses.replace(file, square=None),))
    with SceneReader(scene) as quick, SceneReader(warped) as slow:
        image, _ = quick.read(0, 0, *scene.grid.size)
        assert np.abs(image.astype(int) - slow.read(0, 0, *scene.grid.size)[0]).max() <= 1


def test_windows_of_a_resampled_scene_fit_together(tmp_path: Path) -> None:
    scene = survey(write_scene(tmp_path / "a.tif", smooth(300, 300), gsd=0.31), 0.46)
    with SceneReader(scene) as reader:
        whole, _ = reader.read(0, 0, *scene.grid.size)
        part, _ = reader.read(40, 64, 150, 170)
    assert np.abs(part.astype(int) - whole[40:150, 64:170]).max() <= 1


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        (13.4, 52.5, "EPSG:32633"),
        (-58.4, -34.6, "EPSG:32721"),
        (179.9995, -17.0, "EPSG:32701"),
        (10.0, 59.9, "EPSG:32632"),
    ],
)
def test_degrees_become_the_utm_zone_of_the_middle(tmp_path: Path, lon: float, lat: float, zone: str) -> None:
    step = 0.46 / 111_320
    place = rasterio.Affine(step / np.cos(np.radians(lat)), 0, lon, 0, -step, lat)
    path = write_scene(tmp_path / "a.tif", smooth(300, 300), "EPSG:4326", transform=place)
    scene = survey(path, 0.46)
    assert scene.grid.crs == zone
    assert not scene.grid.native
    at = from_lonlat([[lon, lat]], zone)[0]
    assert abs(scene.grid.x0 - at[0]) < 15
    assert abs(scene.grid.y0 - at[1]) < 15
    with SceneReader(scene) as reader:
        _, valid = reader.read(0, 0, *scene.grid.size)
    assert valid is None or valid.mean() > 0.9


def test_web_mercator_is_no_metre(tmp_path: Path) -> None:
    scene = survey(write_scene(tmp_path / "a.tif", smooth(200, 200), "EPSG:3857", gsd=0.8, corner=(1.5e6, 6.9e6)), 0.46)
    assert scene.grid.crs.startswith("EPSG:326")
    assert scene.gsd_m == pytest.approx(0.48, abs=0.02)


def test_feet_are_no_metres(tmp_path: Path) -> None:
    scene = survey(write_scene(tmp_path / "a.tif", smooth(80, 80), "EPSG:2994", gsd=1.0, corner=(6.4e5, 8.5e5)), 0.3)
    assert scene.gsd_m == pytest.approx(0.3048, rel=1e-3)
    assert scene.grid.crs == "EPSG:32610"


def test_a_rotated_scene_lies_where_its_geotransform_says(tmp_path: Path) -> None:
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[40:80, 100:160] = 255  # a white block, to be found again
    cos, sin = 0.46 * np.cos(np.radians(30)), 0.46 * np.sin(np.radians(30))
    place = rasterio.Affine(cos, sin, CORNER[0], sin, -cos, CORNER[1])
    scene = survey(write_scene(tmp_path / "a.tif", pixels, transform=place), 0.46)
    assert not scene.grid.native
    with SceneReader(scene) as reader:
        image, valid = reader.read(0, 0, *scene.grid.size)
    assert valid is not None
    assert 0.4 < valid.mean() < 0.7  # the corners are no image
    row, column = np.argwhere(image[..., 0] > 128).mean(axis=0)
    east, north = CORNER[0] + cos * 130 + sin * 60, CORNER[1] + sin * 130 - cos * 60
    assert scene.grid.x0 + (column + 0.5) * 0.46 == pytest.approx(east, abs=0.5)
    assert scene.grid.y0 - (row + 0.5) * 0.46 == pytest.approx(north, abs=0.5)


def test_sixteen_bits_are_scaled_by_the_scenes_own_range(tmp_path: Path) -> None:
    pixels = smooth(60, 60).astype(np.uint16) * 8  # 11 bits
    pixels[0, 0] = 2047
    image, _ = read_all(write_scene(tmp_path / "a.tif", pixels))
    assert np.abs(image - pixels * (255 / 4095)).max() <= 1


def test_grey_and_four_bands_become_colours(tmp_path: Path) -> None:
    grey = smooth(50, 60, bands=1)
    assert (read_all(write_scene(tmp_path / "grey.tif", grey))[0] == grey).all()
    four = smooth(50, 60, bands=4)
    infrared = write_scene(tmp_path / "nir.tif", four, photometric="RGB", alpha="UNSPECIFIED")
    image, valid = read_all(infrared)
    assert (image == four[..., :3]).all()
    assert valid.all()
    four[..., 3] = 255
    four[:, 30:, 3] = 0
    image, valid = read_all(write_scene(tmp_path / "alpha.tif", four, photometric="RGB", alpha="YES"))
    assert valid[:, :30].all()
    assert not valid[:, 30:].any()


@pytest.mark.parametrize("gsd", [0.46, 0.23])
def test_nodata_is_no_image(tmp_path: Path, gsd: float) -> None:
    pixels = np.maximum(smooth(100, 100), 1)
    pixels[20:60, 20:60] = 0
    _, valid = read_all(write_scene(tmp_path / "a.tif", pixels, gsd=gsd, nodata=0), 0.46)
    scale = gsd / 0.46
    hole = np.s_[int(20 * scale) + 1 : int(60 * scale) - 1, int(20 * scale) + 1 : int(60 * scale) - 1]
    assert not valid[hole].any()
    assert valid.mean() == pytest.approx(1 - 0.16, abs=0.02)


def test_a_folder_is_one_mosaic_and_gaps_are_no_image(tmp_path: Path) -> None:
    pixels = smooth(100, 150)
    for name, part, left in (("a", np.s_[:, :60], 0), ("b", np.s_[:, 90:], 90)):
        write_scene(tmp_path / f"{name}.tif", pixels[part], corner=(CORNER[0] + left * 0.46, CORNER[1]))
    scene = survey(tmp_path, 0.46)
    assert scene.grid.native
    assert scene.grid.size == (100, 150)
    image, valid = read_all(tmp_path, 0.46)
    assert (image[:, :60] == pixels[:, :60]).all()
    assert (image[:, 90:] == pixels[:, 90:]).all()
    assert not valid[:, 60:90].any()


def test_a_vrt_is_the_files_it_names(tmp_path: Path) -> None:
    left, right = smooth(64, 40), smooth(64, 50)
    write_scene(tmp_path / "left.tif", left)
    write_scene(tmp_path / "right.tif", right)  # where it lies is the VRT's to say
    parts = (("left.tif", 0, 40), ("right.tif", 40, 50))
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}">'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{band}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="64"/>'
            f'<DstRect xOff="{x}" yOff="0" xSize="{width}" ySize="64"/></SimpleSource>'
            for name, x, width in parts
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    place = f"<SRS>{UTM}</SRS><GeoTransform>{CORNER[0]}, 0.46, 0, {CORNER[1]}, 0, -0.46</GeoTransform>"
    vrt = tmp_path / "mosaic.vrt"
    vrt.write_text(f'<VRTDataset rasterXSize="90" rasterYSize="64">{place}{bands}</VRTDataset>')
    image, valid = read_all(vrt, 0.46)
    assert valid.all()
    assert (image == np.concatenate([left, right], axis=1)).all()


def test_a_folder_of_several_crs_lies_on_one_grid(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif", np.full((60, 60, 3), 50, np.uint8))
    lon, lat = 14.117, 52.43426
    step = 0.46 / 111_320
    place = rasterio.Affine(step / np.cos(np.radians(lat)), 0, lon, 0, -step, lat)
    write_scene(tmp_path / "b.tif", np.full((60, 60, 3), 200, np.uint8), "EPSG:4326", transform=place)
    image, valid = read_all(tmp_path, 0.46)
    assert (image[valid] == 50).sum() > 3000
    assert (image[valid] == 200).sum() > 3000


def test_scenes_that_do_not_say_where_they_lie_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not say its CRS"):
        survey(write_scene(tmp_path / "a.tif", smooth(30, 30), None))
    assert survey(tmp_path / "a.tif", crs=UTM).grid.crs == UTM
    with pytest.raises(DataError, match="no geotransform"):
        survey(write_scene(tmp_path / "b.tif", smooth(30, 30), transform=rasterio.Affine.identity()))


def test_scenes_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5 bands of uint8"):
        survey(write_scene(tmp_path / "five.tif", smooth(30, 30, bands=5)))
    with pytest.raises(DataError, match="float32"):
        survey(write_scene(tmp_path / "float.tif", smooth(30, 30).astype(np.float32)))
    with pytest.raises(DataError, match="there is no scene"):
        survey(tmp_path / "none.tif")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no raster"):
        survey(tmp_path / "empty")
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(DataError, match="no raster that can be read"):
        survey(tmp_path / "text.tif")
