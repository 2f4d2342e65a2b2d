"""Roads of GIS files against rasters and against each other: formats, CRS, layers, extents, and what is refused."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.cli import main
from roadedge.georeference.raster_place import RasterPlace, from_lonlat, to_lonlat
from roadedge.roadgraph import RoadGraph, write_geojson
from roadedge.scoring import large
from roadedge.scoring.extent import Extent, cut_to, extent_of, rectangle
from roadedge.scoring.on_ground import on_one_plane
from roadedge.scoring.vectors import read_vector_graph

rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed (extra geo)")
shapely = pytest.importorskip("shapely", reason="shapely is not installed (extra geo)")
pyogrio = pytest.importorskip("pyogrio", reason="pyogrio is not installed (extra geo)")
pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
UTM = "EPSG:32650"
EAST, NORTH, GSD = 500_000.0, 4_300_000.0, 0.5
SIZE = (300, 400)
# A crossing in the middle of a raster of 200 m by 150 m, its four roads reaching far beyond it.
CROSSING = [((-2000, 150), (200, 150)), ((200, 150), (3000, 150)), ((200, -900), (200, 150)), ((200, 150), (200, 900))]


def in_utm(*pixels: tuple[float, float]) -> np.ndarray:
    return np.array(pixels) * [GSD, -GSD] + [EAST, NORTH]


def lines_in(crs: str, pixels: Any = CROSSING) -> list[np.ndarray]:
    lines = [in_utm(*one) for one in pixels]
    return lines if crs == UTM else [from_lonlat(to_lonlat(line, UTM), crs) for line in lines]


def write(
    path: Path, crs: str | None, lines: list[np.ndarray] | None = None, layer: str = "edges", **fields: Any
) -> Path:
    shapes = [shapely.to_wkb(shapely.linestrings(line)) for line in lines or lines_in(crs or UTM)]
    fields = fields or {"number": np.arange(len(shapes))}
    known = {} if path.suffix in (".shp", ".fgb") else {"layer": layer}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyogrio.raw.write(
            path, np.array(shapes, object), [np.array(values) for values in fields.values()], list(fields), crs=crs,
            geometry_type="LineString", append=path.exists() and bool(known), **known,
        )  # fmt: skip
    return path


def write_parquet(path: Path, crs: str | None, says_crs: bool = True, **fields: Any) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra points)")
    from pyarrow import parquet
    from pyproj import CRS

    about: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["LineString"]}
    if says_crs:
        about["crs"] = None if crs is None else CRS(crs).to_json_dict()
    shapes = [shapely.to_wkb(shapely.linestrings(line)) for line in lines_in(crs or "OGC:CRS84")]
    table = pyarrow.table({"geometry": pyarrow.array(shapes, pyarrow.binary()), **fields})
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": about}}
    parquet.write_table(table.replace_schema_metadata({b"geo": json.dumps(geo).encode()}), path)
    return path


def write_raster(path: Path, plane: np.ndarray, **more: Any) -> Path:
    kind = {"driver": "GTiff", "height": plane.shape[0], "width": plane.shape[1], "count": 1, "crs": UTM}
    transform = rasterio.Affine(GSD, 0, EAST, 0, -GSD, NORTH)
    with rasterio.open(path, "w", **{**kind, "dtype": plane.dtype.name, "transform": transform, **more}) as raster:
        raster.write(plane, 1)
    return path


def crossing() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[145:155] = 255
    mask[:, 195:205] = 255
    return mask


def run(*arguments: object) -> int:
    return main(["score", *map(str, arguments), "--bootstrap", "0"])


def scored(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert run(*arguments, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "probability.tif", crossing())


@pytest.mark.parametrize(
    ("name", "crs"),
    [
        ("utm.gpkg", UTM),
        ("degrees.gpkg", "EPSG:4326"),
        ("mercator.shp", "EPSG:3857"),
        ("mercator.fgb", "EPSG:3857"),
        ("degrees.parquet", "OGC:CRS84"),
        ("utm.parquet", UTM),
    ],
)
def test_a_raster_is_scored_against_lines_of_any_form_and_crs_in_metres(
    raster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, crs: str
) -> None:
    says_crs = crs != "OGC:CRS84"  # a GeoParquet that does not name one means longitude and latitude
    truth = write_parquet(tmp_path / name, crs, says_crs) if name.endswith(".parquet") else write(tmp_path / name, crs)
    found = scored(capsys, raster, truth, "--apls", "--topo", "--junctions")
    assert found["settings"]["unit"] == "m"
    assert found["graph"]["APLS"] > 0.99
    assert found["graph"]["TOPO"]["F1"] > 0.98
    assert found["graph"]["junctions"]["matched"] == found["graph"]["junctions"]["true"] == 1
    ground = found["samples"][0]["graph"]
    assert ground["true_length"] == pytest.approx(200 + 150, rel=2e-3)  # cut at the raster, metres on the ground
    assert ground["proposed_length"] == pytest.approx(ground["true_length"], rel=0.02)


def test_two_files_of_lines_meet_on_one_plane_and_end_where_a_raster_does(
    raster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mercator = write(tmp_path / "mercator.fgb", "EPSG:3857", width_m=[6.0] * 4)
    degrees = write(tmp_path / "degrees.gpkg", "EPSG:4326", layer="any name")
    whole = scored(capsys, mercator, degrees, "--apls", "--topo")
    assert whole["graph"]["APLS"] == pytest.approx(1, abs=1e-6)
    assert whole["samples"][0]["graph"]["true_length"] == pytest.approx((5000 + 1800) * GSD, rel=1e-3)  # not Mercator's
    cut = scored(capsys, mercator, degrees, "--apls", "--within", raster)
    assert cut["samples"][0]["graph"]["true_length"] == pytest.approx(350, rel=1e-3)
    assert any("within probability.tif" in note for note in cut["notes"])
    west, south, east, north = extent_of(raster).box()
    box = f"{west},{south},{east},{north}"
    by_numbers = scored(capsys, mercator, degrees, "--apls", "--within", box)
    assert by_numbers["samples"][0]["graph"]["true_length"] == pytest.approx(350, rel=1e-2)
    assert by_numbers["settings"]["within"] == box


def test_a_map_is_its_roads_within_its_raster(raster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    raster.rename(folder / "probability.tif")
    (folder / "map.json").write_text("{}")
    truth = write(tmp_path / "truth.gpkg", UTM)
    assert run(folder, truth, "--apls") == 8
    assert "holds no roads yet; make them with roadedge vectorize" in capsys.readouterr().err
    write(folder / "roads.gpkg", UTM, layer="edges", u=[0, 1, 2, 1], v=[1, 3, 1, 4])
    write(folder / "roads.gpkg", UTM, lines_in(UTM, CROSSING[:1]), layer="lanes")
    found = scored(capsys, folder, truth, "--apls", "--pred-layer", "edges")
    assert found["graph"]["APLS"] == pytest.approx(1, abs=1e-6)
    assert found["samples"][0]["graph"]["true_length"] == pytest.approx(350, rel=1e-3)
    assert scored(capsys, folder, truth, "--apls", "--pred-layer", "lanes")["graph"]["APLS"] < 0.6


def test_speeds_and_roads_for_cars_are_those_that_the_file_says(tmp_path: Path) -> None:
    path = write(
        tmp_path / "osm.gpkg", "EPSG:4326", layer="lines",
        highway=["primary", "footway", "['service', 'track']", None],
        maxspeed=["50", "30", "signals", "30"],
    )  # fmt: skip
    graph, notes = read_vector_graph(path, None, None)
    assert sorted(graph.speed_kmh.tolist(), key=str) == pytest.approx([50, np.nan], nan_ok=True)
    assert "2 of 4 lines are roads for cars" in notes[0]


def test_a_road_that_stands_once_for_each_direction_is_one(tmp_path: Path) -> None:
    there = lines_in(UTM)
    path = write(tmp_path / "both.gpkg", UTM, [*there, *(line[::-1] for line in there[:3])])
    graph, notes = read_vector_graph(path, None, None)
    assert len(graph.u) == 4
    assert "lines that stand twice are counted once: 3" in notes[0]


def test_nodes_that_the_file_names_keep_a_bridge_from_being_a_junction(tmp_path: Path) -> None:
    bridge = [np.array([[0.0, 0], [50, 0], [100, 0]]), np.array([[50.0, -50], [50, 0], [50, 50]])]
    lines = [line + np.array([EAST, NORTH]) for line in bridge]
    named, notes = read_vector_graph(write(tmp_path / "a.gpkg", UTM, lines, u=[0, 2], v=[1, 3]), None, None)
    assert (len(named.u), notes) == (2, ())
    wrong, notes = read_vector_graph(write(tmp_path / "b.gpkg", UTM, lines, u=[0, 0], v=[1, 3]), None, None)
    assert len(wrong.u) == 4
    assert "do not agree" in notes[0]
    assert len(read_vector_graph(write(tmp_path / "c.gpkg", UTM, lines), None, None)[0].u) == 4


def test_what_has_no_data_counts_on_neither_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write(tmp_path / "truth.gpkg", UTM, width_m=[5.0] * 4)
    half = crossing().astype(np.float32) / 255
    half[:, 300:] = -1.0
    holes = write_raster(tmp_path / "holes.tif", half, nodata=-1.0)
    found = scored(capsys, holes, truth, "--apls", "--relaxed", "3")
    assert found["graph"]["APLS"] > 0.99
    assert found["relaxed"]["recall"] > 0.99  # a skeleton ends half a width before the road does
    assert found["pixels"]["pixels"]["ignored"] == 300 * 100
    assert found["samples"][0]["graph"]["true_length"] == pytest.approx(150 + 150, rel=2e-3)
    assert any("25.0 % of the raster have no data" in note for note in found["notes"])
    # Where 0 is called nodata in a mask, it still is what a mask says of places without road.
    zero = write_raster(tmp_path / "zero.tif", crossing(), nodata=0)
    assert scored(capsys, zero, truth, "--apls")["pixels"]["pixels"]["ignored"] == 0


def test_files_without_a_crs_or_of_other_places_are_one_sentence(
    raster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    far = [line + np.array([300_000.0, 0]) for line in lines_in(UTM)]
    swapped = [line[:, ::-1].copy() for line in lines_in("EPSG:4326")]
    utm, without = write(tmp_path / "utm.gpkg", UTM), write(tmp_path / "without.shp", None)
    points = tmp_path / "points.gpkg"
    point = np.array([shapely.to_wkb(shapely.Point(EAST + 50, NORTH - 50))], object)
    pyogrio.raw.write(points, point, [np.array([1])], ["n"], crs=UTM, geometry_type="Point", layer="edges")
    two = write(write(tmp_path / "two.gpkg", UTM, layer="a"), UTM, layer="b")
    (tmp_path / "cut.gpkg").write_bytes(utm.read_bytes()[:5000])
    (tmp_path / "empty.parquet").write_bytes(b"")
    metres = RoadGraph(in_utm((0, 0), (9, 9)), np.array([0]), np.array([1]), (in_utm((0, 0), (9, 9)),), crs="local")
    write_geojson(tmp_path / "metres.geojson", replace(metres, crs="OGC:CRS84", unit="m", length=np.array([9.0])))
    for prediction, truth, options, code, sentence in (
        (raster, without, (), 8, "does not say its CRS; put its .prj beside it"),
        (raster, write_parquet(tmp_path / "null.parquet", None), (), 8, "does not say its CRS"),
        (raster, write(tmp_path / "far.gpkg", UTM, far), (), 8, "no place in common; check the CRS"),
        (raster, write(tmp_path / "wrong.gpkg", "EPSG:32633", lines_in(UTM)), (), 8, "no place in common"),
        (raster, write(tmp_path / "swapped.gpkg", "EPSG:4326", swapped), (), 8, "no place in common"),
        (utm, tmp_path / "far.gpkg", (), 8, "lie 29"),
        (utm, tmp_path / "swapped.gpkg", (), 8, "longitude comes first"),
        (utm, tmp_path / "metres.geojson", (), 8, "metres need their CRS"),
        (raster, points, (), 8, "holds a Point; expected lines of roads"),
        (raster, two, (), 8, "holds layers of lines (a, b); name one by --layer, of scores --pred-layer or --gt-layer"),
        (raster, two, ("--gt-layer", "c"), 2, "unknown layer of two.gpkg 'c'"),
        (raster, utm, ("--pred-layer", "c"), 2, "has no layers"),
        (raster, tmp_path / "cut.gpkg", (), 8, "was it copied whole?"),
        (raster, tmp_path / "empty.parquet", (), 8, "was it copied whole?"),
        (raster, utm, ("--within", raster), 2, "a raster says by itself where it ends"),
        (utm, two, ("--gt-layer", "a", "--within", "8,2,3,9"), 2, "WEST < EAST"),
        (utm, two, ("--gt-layer", "a", "--within", "8,2,9,3"), 8, "no place in common"),
    ):
        assert run(prediction, truth, "--apls", *options) == code, sentence
        told = capsys.readouterr().err
        assert sentence in told, told
        assert told.count("error:") == 1


def test_a_tile_without_roads_of_a_larger_map_is_empty_and_not_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = [((-900, -900), (900, -900)), ((-900, 900), (900, 900))]
    truth = write(tmp_path / "truth.gpkg", UTM, lines_in(UTM, beside))
    blank = write_raster(tmp_path / "blank.tif", np.zeros(SIZE, np.uint8))
    found = scored(capsys, blank, truth, "--apls", "--topo")
    assert (found["graph"]["APLS"], found["graph"]["empty_pairs"]) == (1, 1)


def test_roads_are_cut_at_a_shape_and_keep_what_they_know() -> None:
    nodes = np.array([[0.0, 0], [10, 0], [20, 0], [10, 30]])
    loop = np.array([[10.0, 0], [5, 5], [15, 5], [10, 0]])
    lines = (nodes[[0, 1]], nodes[[1, 2]], nodes[[1, 3]], loop)
    graph = RoadGraph(
        nodes, np.array([0, 1, 1, 1]), np.array([1, 2, 3, 1]), lines, np.array([10, 10, 60, np.hypot(5, 5) * 2 + 10]),
        np.arange(4.0), np.full(4, 0.5), np.array([30, 40, 50, 60.0]), crs="local", unit="m",
    )  # fmt: skip
    cut = cut_to(graph, rectangle(-5, -5, 16, 15))
    lengths = [10, 6, 30, np.hypot(5, 5) * 2 + 10]  # the road of 30 says that it is 60 long, and half of it remains
    assert sorted(cut.length.tolist()) == pytest.approx(sorted(lengths))
    assert sorted(cut.width.tolist()) == [0, 1, 2, 3]
    assert sorted(cut.speed_kmh.tolist()) == [30, 40, 50, 60]
    assert sorted(cut.degree.tolist()) == [1, 1, 1, 5]  # the junction is one node still, the loop a loop
    assert cut_to(graph, rectangle(-50, -50, 50, 50)) is graph
    assert len(cut_to(graph, rectangle(90, 90, 99, 99)).nodes) == 0
    around = shapely.Polygon([(-5, -5), (25, -5), (25, 15), (-5, 15)], [[(12, -1), (14, -1), (14, 1), (12, 1)]])
    holed = cut_to(graph, around)
    assert sorted(holed.length.round(6).tolist())[:2] == [2, 6]  # before the hole and behind it
    assert sorted(holed.degree.tolist()) == [1, 1, 1, 1, 1, 5]


def test_roads_at_the_180th_meridian_lie_where_they_are() -> None:
    line = np.array([[179.999, -17.0], [-179.999, -17.0]])
    graph = RoadGraph(line, np.array([0]), np.array([1]), (line,), np.array([1.0]), crs="OGC:CRS84", unit="m")
    own, other = on_one_plane(graph, graph, ("a", "b"))
    assert own.length[0] == pytest.approx(0.002 * 111_320 * np.cos(np.radians(17)), rel=1e-3)
    assert other.length[0] == own.length[0]


def test_a_turned_raster_with_a_hole_has_the_shape_of_its_data() -> None:
    valid = np.ones((20, 10), np.bool_)
    valid[5:10, 2:4] = False
    turned = RasterPlace((EAST, 0.0, -1.0, NORTH, -1.0, 0.0), UTM, (20, 10))  # rows go west, columns south
    from roadedge.trajectory.plane import LocalPlane

    plane = LocalPlane(*Extent("a", turned).centre())
    assert Extent("a", turned).polygon(plane).area == pytest.approx(200, rel=2e-3)
    assert Extent("a", turned, valid).polygon(plane).area == pytest.approx(190, rel=2e-3)


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "LARGEST_PIXELS", 1000)
    monkeypatch.setattr(large, "WINDOW_ROWS", 128)


@pytest.mark.usefixtures("everything_is_large")
def test_a_large_raster_scores_in_strips_what_it_scores_as_a_whole(
    raster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = write(tmp_path / "truth.gpkg", "EPSG:4326")
    found = scored(capsys, raster, truth, "--apls", "--topo", "--junctions", "-o", tmp_path / "out")
    assert found["graph"]["APLS"] > 0.98
    assert found["graph"]["junctions"]["matched"] == 1
    assert found["samples"][0]["graph"]["true_length"] == pytest.approx(350, rel=2e-3)
    assert any("traced in strips, in cells of 0.5 m" in note for note in found["notes"])
    assert (tmp_path / "out" / "pictures" / "probability.png").stat().st_size > 1000
    assert not list(tmp_path.glob("out/pictures/*scratch*"))


@pytest.mark.usefixtures("everything_is_large")
def test_pixels_of_large_rasters_are_counted_in_windows_without_what_is_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = crossing()
    label[:, :40] = np.where(crossing()[:, :40] == 255, np.uint8(128), np.uint8(0))
    label[200:210, 250:390] = 255  # a road that is missed
    truth = write_raster(tmp_path / "truth.tif", label)
    for number, plane in enumerate((crossing(), crossing() // 255, crossing().astype(np.float32) / 255)):
        prediction = write_raster(tmp_path / f"p{number}.tif", plane)
        found = scored(capsys, prediction, truth, "--apls")
        counts = found["pixels"]["pixels"]
        assert (counts["ignored"], counts["fn"], counts["fp"]) == (400, 1400, 0)
        assert 0.2 < found["graph"]["APLS"] < 0.99
        assert found["samples"][0]["graph"]["proposed_length"] == pytest.approx(350 - 20, rel=0.05)
    alone = scored(capsys, prediction, truth, "-o", tmp_path / "out")
    assert alone["pixels"]["pixels"]["fn"] == 1400
    assert alone["graph"] is None
    elsewhere = rasterio.Affine(GSD, 0, EAST + 90, 0, -GSD, NORTH)
    for other, options, sentence in (
        (write_raster(tmp_path / "small.tif", crossing()[:200]), (), "200 x 400"),
        (write_raster(tmp_path / "shift.tif", crossing(), transform=elsewhere), (), "two grids"),
        (write_raster(tmp_path / "grey.tif", crossing() // 2), (), "threshold it first"),
        (truth, ("--relaxed", "3"), "cut out tiles"),
    ):
        assert run(prediction, other, *options) in (2, 8)
        assert sentence in capsys.readouterr().err
