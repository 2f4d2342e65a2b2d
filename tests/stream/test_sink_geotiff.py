"""Masks as GeoTIFF lie where the frame lay, whichever way it was turned."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.georeference.footprint import footprint
from roadedge.georeference.photo import read_photo
from roadedge.georeference.raster_place import from_lonlat
from roadedge.place import Place
from roadedge.sample import RoadMask
from roadedge.stream.sink_geotiff import GeoTiffSink, utm_of
from roadedge.stream.sinks import Result
from roadedge.trajectory.plane import LocalPlane
from tests.stream.results import PLANE, SIZE, nadir, result

rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed (extra geo)")
pytest.importorskip("pyproj", reason="pyproj is not installed (extra geo)")


def with_mask(shown: Result, road: NDArray[np.bool_]) -> Result:
    mask = RoadMask(np.where(road, 200, 20).astype(np.uint8), road, shown.mask.place)
    return dataclasses.replace(shown, mask=mask)


def written(folder: Path, *results: Result) -> GeoTiffSink:
    with GeoTiffSink(folder) as sink:
        for one in results:
            sink.write(one)
    return sink


def sampled(raster: Any, plane: LocalPlane, metres: NDArray[np.float64], band: int) -> NDArray[Any]:
    """Values of a file at places on a plane; -1 where it has no data."""
    xy = from_lonlat(plane.to_lonlat(metres), raster.crs.to_wkt())
    transform = raster.transform
    columns, rows = np.floor((xy - [transform.c, transform.f]) / [transform.a, transform.e]).astype(int).T
    pixels, valid = raster.read(band).astype(int), raster.read_masks(band)
    inside = (rows >= 0) & (rows < raster.height) & (columns >= 0) & (columns < raster.width)
    found = np.full(len(xy), -1)
    found[inside] = np.where(valid > 0, pixels, -1)[rows[inside], columns[inside]]
    return found


@pytest.mark.parametrize("heading", [0.0, 33.0, 90.0, 200.0])
def test_each_pixel_of_a_frame_is_found_where_it_lay(tmp_path: Path, heading: float) -> None:
    place = Place.nadir((40.0, -10.0), 0.5, SIZE, heading, PLANE.crs)
    road = np.zeros(SIZE, bool)
    road[20:40, 90:110] = True
    written(tmp_path, with_mask(result(0, place), road))
    with rasterio.open(tmp_path / "000000.tif") as raster:
        assert raster.transform.b == raster.transform.d == 0
        assert raster.descriptions == ("road, 255 = yes", "probability, 255 = certain")
        inner = np.argwhere(np.ones(SIZE)).astype(float)[:, ::-1] + 0.5  # x, y of pixels' centres
        kept = (np.abs(inner - [100, 30]) < 7).all(axis=1) | (np.abs(inner - [30, 60]) < 20).all(axis=1)
        ground, on_road = place.to_ground(inner[kept]), road[inner[kept, 1].astype(int), inner[kept, 0].astype(int)]
        assert (sampled(raster, PLANE, ground, 1) == np.where(on_road, 255, 0)).all()
        assert (sampled(raster, PLANE, ground, 2) == np.where(on_road, 200, 20)).all()
        outside = place.to_ground(np.array([[-3.0, 48.0], [131.0, 48.0], [64.0, -3.0], [64.0, 99.0]]))
        assert sampled(raster, PLANE, outside, 1).tolist() == [-1] * 4


def test_files_of_a_run_share_one_grid(tmp_path: Path) -> None:
    places = [Place.nadir((7.3 * i, 2.1 * i), 0.5 + 0.01 * i, SIZE, 20.0 * i, PLANE.crs) for i in range(4)]
    written(tmp_path, *(result(i, place) for i, place in enumerate(places)))
    files = []
    for path in sorted(tmp_path.glob("*.tif")):
        with rasterio.open(path) as raster:
            files.append((raster.crs.to_epsg(), raster.transform))
    assert {crs for crs, _ in files} == {32631}
    assert {transform.a for _, transform in files} == {0.5}
    assert all((transform.c / 0.5).is_integer() and (transform.f / 0.5).is_integer() for _, transform in files)


def test_a_tilted_camera_ends_before_its_horizon(tmp_path: Path) -> None:
    matrix = np.array([[0.5, 0, -32.0], [0, -0.5, 60.0], [0, 0.012, -0.1]])  # beyond row 8 from the top lies the sky
    place = Place(-matrix, PLANE.crs)
    written(tmp_path, result(0, place))
    with rasterio.open(tmp_path / "000000.tif") as raster:
        shown = raster.read_masks(1) > 0
        assert shown.any()
        assert raster.width * raster.height < 10_000_000
        near = place.to_ground(np.array([[64.0, 92.0], [10.0, 90.0], [120.0, 90.0]]))
        assert (sampled(raster, PLANE, near, 1) >= 0).all()
        road = place.to_ground(np.array([[64.0, 48.0]]))
        assert sampled(raster, PLANE, road, 1).tolist() == [255]


def test_frames_without_a_place_on_the_globe_are_counted(tmp_path: Path) -> None:
    sink = written(tmp_path, result(0), result(1, nadir("local")), result(2, nadir()))
    assert [path.name for path in tmp_path.iterdir()] == ["000002.tif"]
    assert (sink.frames, sink.without_place) == (1, 2)
    assert "2 frames have no GeoTIFF" in sink.notices()[0]


def test_zones_are_those_of_the_map() -> None:
    assert [utm_of(*place) for place in ((2.35, 48.9), (-87.6, 41.9), (151.2, -33.9), (180.0, 1.0))] == [
        "EPSG:32631", "EPSG:32616", "EPSG:32756", "EPSG:32601",
    ]  # fmt: skip
    assert utm_of(10.0, 88.0).startswith("+proj=ortho")


def test_real_photos_cover_their_footprints(real_data: Path, tmp_path: Path) -> None:
    paths = sorted((real_data / "drone" / "photos_half").glob("*.JPG"))
    photos = [read_photo(path) for path in paths]
    plane = LocalPlane(photos[0].pose.lon_deg, photos[0].pose.lat_deg)
    places = [footprint(photo.pose, photo.lens, photo.size, plane) for photo in photos]
    height, width = photos[0].size
    road = np.zeros((height, width), bool)
    road[500:600] = True
    written(tmp_path, *(with_mask(result(i, place, road.shape), road) for i, place in enumerate(places)))
    outline = np.array([[0.0, 0], [width, 0], [width, height], [0, height]])
    inward = np.sign([width / 2, height / 2] - outline)
    assert len(places) == 12
    for number, place in enumerate(places):
        with rasterio.open(tmp_path / f"{number:06d}.tif") as raster:
            assert (sampled(raster, plane, place.to_ground(outline + 8 * inward), 1) >= 0).all()
            assert (sampled(raster, plane, place.to_ground(outline - 8 * inward), 1) == -1).all()
            middle = place.to_ground(np.array([[x, 550.0] for x in range(50, width, 100)]))
            assert (sampled(raster, plane, middle, 1) == 255).all()
            share = (raster.read_masks(1) > 0).sum() * raster.transform.a**2
        x, y = place.to_ground(outline).T
        area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
        assert share == pytest.approx(area, rel=0.01)
