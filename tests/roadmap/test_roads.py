"""A probability raster becomes roads in files that GIS programs read."""

from __future__ import annotations

import json
import sqlite3
import xml.etree.ElementTree as ElementTree
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.errors import DataError, OutputError, UnknownNameError
from roadedge.roadgraph import read_geojson
from roadedge.roadmap.roads import RoadsOptions, RoadsResult, write_roads
from tests.roadmap.rasters import ORIGIN, UTM, street, write_raster

pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
Affine = pytest.importorskip("rasterio.transform", reason="rasterio is not installed (extra geo)").Affine
pyogrio = pytest.importorskip("pyogrio", reason="pyogrio is not installed (extra geo)")
shapely = pytest.importorskip("shapely", reason="shapely is not installed (extra geo)")
ALL = RoadsOptions(formats=("gpkg", "parquet", "geojson"))


def made(folder: Path, pixels: Any, options: RoadsOptions = ALL, **raster: Any) -> RoadsResult:
    write_raster(folder / "probability.tif", pixels, **raster)
    return write_roads(folder, options, None, lambda text: None)


def layer(path: Path, name: str) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    meta, _, geometry, columns = pyogrio.raw.read(path, layer=name)
    return dict(zip(meta["fields"], columns, strict=True)), shapely.from_wkb(geometry), meta


def test_a_street_is_one_edge_with_its_length_width_and_confidence(tmp_path: Path) -> None:
    result = made(tmp_path, street())
    assert (result.edges, result.nodes, result.junctions, result.crs) == (1, 2, 0, UTM)
    columns, lines, meta = layer(tmp_path / "roads.gpkg", "edges")
    assert meta["crs"] == UTM
    assert columns["length_m"][0] == pytest.approx(300, abs=1)
    assert columns["width_m"][0] == pytest.approx(8, abs=1)
    assert columns["confidence"][0] == pytest.approx(230 / 255, abs=1e-3)
    assert np.isnan(columns["speed_kmh"][0])
    assert np.isnan(columns["n_trips"][0])
    x0, y0, x1, y1 = lines[0].bounds
    assert (x0, x1) == pytest.approx((ORIGIN[0], ORIGIN[0] + 300), abs=1)
    assert (y0, y1) == pytest.approx((ORIGIN[1] - 100, ORIGIN[1] - 100), abs=0.6)


def test_nodes_are_where_edges_say(tmp_path: Path) -> None:
    road = np.maximum(street(), street((600, 400), 300).T)
    made(tmp_path, road)
    edges, lines, _ = layer(tmp_path / "roads.gpkg", "edges")
    nodes, points, _ = layer(tmp_path / "roads.gpkg", "nodes")
    assert sorted(nodes["degree"].tolist()) == [1, 1, 1, 1, 4]
    assert nodes["junction"].tolist() == (nodes["degree"] >= 3).astype(int).tolist()
    places = {int(name): point.coords[0] for name, point in zip(nodes["id"], points, strict=True)}
    for u, v, line in zip(edges["u"], edges["v"], lines, strict=True):
        assert (line.coords[0], line.coords[-1]) == (places[int(u)], places[int(v)])


def test_qgis_finds_a_style_for_each_layer(tmp_path: Path) -> None:
    made(tmp_path, street())
    with closing(sqlite3.connect(tmp_path / "roads.gpkg")) as package:
        styles = package.execute(
            "SELECT f_table_name, f_geometry_column, styleQML FROM layer_styles WHERE useAsDefault = 1"
        ).fetchall()
        listed = package.execute("SELECT data_type FROM gpkg_contents WHERE table_name = 'layer_styles'").fetchall()
    assert [(name, column) for name, column, _ in styles] == [("edges", "geom"), ("nodes", "geom")]
    renderer = ElementTree.fromstring(styles[0][2]).find("renderer-v2")
    assert renderer is not None
    assert renderer.get("attr") == "confidence"
    steps = renderer.findall("ranges/range")
    names = [symbol.get("name") for symbol in renderer.findall("symbols/symbol")]
    assert [step.get("symbol") for step in steps] == names
    assert float(steps[0].get("lower", "1")) == 0
    assert float(steps[-1].get("upper", "0")) == 1
    assert listed == [("attributes",)]


def test_geoparquet_says_where_it_lies_and_what_each_row_covers(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra points)")
    made(tmp_path, street())
    table = parquet.read_table(tmp_path / "roads.parquet")
    geo = json.loads(table.schema.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert geo["version"] == "1.1.0"
    assert column["encoding"] == "WKB"
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32616}
    line = shapely.from_wkb(table["geometry"][0].as_py())
    assert column["bbox"] == pytest.approx(line.bounds)
    assert table["bbox"][0].as_py() == dict(zip(("xmin", "ymin", "xmax", "ymax"), line.bounds, strict=True))
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    assert table["n_trips"].null_count == len(table)


def test_geojson_is_in_longitude_and_latitude_and_comes_back(tmp_path: Path) -> None:
    made(tmp_path, street())
    graph = read_geojson(tmp_path / "roads.geojson")
    assert graph.crs == "OGC:CRS84"
    assert graph.nodes[:, 0] == pytest.approx([-87.66, -87.66], abs=0.01)
    assert graph.nodes[:, 1] == pytest.approx([41.91, 41.91], abs=0.01)
    assert graph.length == pytest.approx([300], abs=1)
    _, _, meta = layer(tmp_path / "roads.geojson", "roads")
    assert {"n_trips", "oneway", "travel_time_s", "width_m"} <= set(meta["fields"])


def test_no_road_makes_empty_layers_with_all_columns(tmp_path: Path) -> None:
    result = made(tmp_path, np.zeros((50, 60), np.uint8))
    assert (result.edges, result.length_km) == (0, 0)
    columns, lines, _ = layer(tmp_path / "roads.gpkg", "edges")
    assert len(lines) == 0
    assert "travel_time_s" in columns
    assert json.loads((tmp_path / "roads.geojson").read_text())["features"] == []


def test_where_there_is_no_data_there_is_no_road(tmp_path: Path) -> None:
    road = street()
    road[:, 250:350] = 255
    with_hole = np.where(np.arange(600)[None] // 100 == 3, 0, road).astype(np.uint8)
    result = made(tmp_path, with_hole, nodata=0)
    assert result.blank_cells > 0
    columns, lines, _ = layer(tmp_path / "roads.gpkg", "edges")
    assert all(line.bounds[2] <= ORIGIN[0] + 151 or line.bounds[0] >= ORIGIN[0] + 199 for line in lines)
    assert len(columns["u"]) >= 2


def test_degrees_become_metres_of_the_utm_zone(tmp_path: Path) -> None:
    gsd = 0.5 / 111_320
    transform = Affine(gsd / np.cos(np.radians(60)), 0, 25.0, 0, -gsd, 60.0)  # squares on the ground, not in degrees
    stretched = Affine(gsd, 0, 25.0, 0, -gsd, 60.0)
    result = made(tmp_path, street(), crs="EPSG:4326", transform=transform)
    assert result.crs == "EPSG:32635"
    assert result.length_km == pytest.approx(0.3, abs=0.003)
    flat = made(tmp_path, street(), crs="EPSG:4326", transform=stretched)
    columns, _, _ = layer(tmp_path / "roads.gpkg", "edges")
    assert flat.length_km == pytest.approx(0.15, abs=0.003)
    assert columns["width_m"][0] == pytest.approx(8, abs=1.2)


def test_web_mercator_is_not_taken_for_metres(tmp_path: Path) -> None:
    transform = Affine(1.0, 0, 2_783_000.0, 0, -1.0, 8_399_738.0)  # 60 degrees north: half a metre on the ground
    result = made(tmp_path, street(), crs="EPSG:3857", transform=transform)
    assert result.crs == "EPSG:32635"
    assert result.length_km == pytest.approx(0.3, abs=0.003)


def test_a_turned_raster_lies_where_it_says(tmp_path: Path) -> None:
    turned = Affine.translation(*ORIGIN) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
    made(tmp_path, street(), transform=turned)
    _, lines, _ = layer(tmp_path / "roads.gpkg", "edges")
    assert lines[0].length == pytest.approx(300, abs=1)
    first, last = np.array(lines[0].coords)[[0, -1]]
    assert np.degrees(np.arctan2(*(last - first)[::-1])) % 180 == pytest.approx(30, abs=0.5)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_floating_probabilities_are_taken_as_they_are(tmp_path: Path, kind: str) -> None:
    result = made(tmp_path, (street() / 255).astype(kind))
    assert (result.edges, result.junctions) == (1, 0)


def test_rasters_that_cannot_be_probabilities_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lies in 0"):
        made(tmp_path, street().astype(np.float32))
    with pytest.raises(DataError, match="expected a probability"):
        made(tmp_path, street().astype(np.uint16))
    with pytest.raises(DataError, match="CRS"):
        made(tmp_path, street(), crs=None)
    with pytest.raises(UnknownNameError, match="gpkg"):
        RoadsOptions(formats=("gpgk",))


def test_a_mask_of_zeros_and_ones_is_told_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 and 1 only"):
        made(tmp_path, (street() > 0).astype(np.uint8))


def test_of_several_bands_the_one_that_says_probability_is_traced(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    write_raster(tmp_path / "one.tif", street())
    with rasterio.open(tmp_path / "one.tif") as one:
        profile = {**one.profile, "count": 2}
    with rasterio.open(tmp_path / "probability.tif", "w", **profile) as two:
        two.write(np.full((400, 600), 255, np.uint8), 1)
        two.write(street(), 2)
        two.set_band_description(2, "probability, 255 = certain")
    assert write_roads(tmp_path, ALL, None, lambda text: None).length_km == pytest.approx(0.3, abs=0.002)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 3), (7, 2)])
def test_a_raster_of_a_few_pixels_is_no_trouble(tmp_path: Path, size: tuple[int, int]) -> None:
    assert made(tmp_path, np.full(size, 255, np.uint8)).edges <= 1


def test_a_cut_raster_file_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 600), dtype=np.uint8)
    path = write_raster(tmp_path / "probability.tif", noise, compress="deflate", tiled=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((DataError, OSError), match="copied whole"):
        write_roads(tmp_path, ALL, None, lambda text: None)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["probability.tif"]


def test_a_folder_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "roads.gpkg").mkdir()
    with pytest.raises(OutputError, match=r"roads\.gpkg"):
        made(tmp_path, street())


def test_a_road_over_the_antimeridian_is_cut_there(tmp_path: Path) -> None:
    half = 300 * 0.5 / 111_320  # degrees: the middle of the street lies on the line, on the equator
    transform = Affine(0.5 / 111_320, 0, 180 - half, 0, -0.5 / 110_574, 0.0)
    result = made(tmp_path, street(), crs="EPSG:4326", transform=transform)
    assert result.edges == 1
    feature = json.loads((tmp_path / "roads.geojson").read_text())["features"][0]
    assert feature["geometry"]["type"] == "MultiLineString"
    east, west = feature["geometry"]["coordinates"]
    assert {east[-1][0], west[0][0]} == {180.0, -180.0}
