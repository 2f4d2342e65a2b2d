"""GeoJSON, SpaceNet's CSV and NetworkX: what goes out comes back, and files of others are understood or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.errors import DataError, SpecMismatchError
from roadedge.place import Place
from roadedge.roadgraph import RoadGraph, from_geojson, geojson, read_geojson, write_geojson
from roadedge.roadgraph.networkx_form import from_networkx, to_networkx
from roadedge.roadgraph.wkt_csv import read_wkt_csv, write_wkt_csv
from roadedge.trajectory.plane import LocalPlane
from tests.roadgraph.shapes import cycles, degrees

PLANE = LocalPlane(-87.63, 41.88)


def graph_with_everything() -> RoadGraph:
    """Parallel edges, a self-loop, unknown widths."""
    nodes = np.array([[10.5, 10.5], [60.5, 10.5], [80.5, 40.5]])
    lines = (
        nodes[[0, 1]],
        np.array([[10.5, 10.5], [35.5, 30.25], [60.5, 10.5]]),
        nodes[[1, 2]],
        np.array([[80.5, 40.5], [90.5, 50.5], [70.5, 50.5], [80.5, 40.5]]),
    )
    ends = np.array([0, 0, 1, 2]), np.array([1, 1, 2, 2])
    return RoadGraph(
        nodes, *ends, lines, width=np.array([4, 5, np.nan, 6.0]), confidence=np.array([0.9, 0.8, 0.7, np.nan])
    )


def graph_with_speeds() -> RoadGraph:
    return replace(graph_with_everything(), speed_kmh=np.array([50.0, 31.4, np.nan, 0.0004]))


def assert_same(one: RoadGraph, other: RoadGraph, atol: float = 0.0) -> None:
    assert (one.crs, one.unit) == (other.crs, other.unit)
    np.testing.assert_array_equal(one.u, other.u)
    np.testing.assert_array_equal(one.v, other.v)
    np.testing.assert_allclose(one.nodes, other.nodes, atol=atol, rtol=0)
    for mine, theirs in zip(one.lines, other.lines, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=atol, rtol=0)
    for name, atol in (("length", 1e-3), ("width", 1e-3), ("confidence", 1e-3), ("speed_kmh", 1e-6)):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=atol)


def collection(*lines: Any, properties: dict[str, Any] | None = None) -> dict[str, Any]:
    features = [
        {"type": "Feature", "geometry": {"type": "LineString", "coordinates": line}, "properties": properties}
        for line in lines
    ]
    return {"type": "FeatureCollection", "features": features}


def test_geojson_brings_pixels_back(tmp_path: Path) -> None:
    write_geojson(tmp_path / "roads.geojson", graph_with_everything())
    assert_same(read_geojson(tmp_path / "roads.geojson"), graph_with_everything())


def test_speeds_come_back_from_geojson_and_networkx(tmp_path: Path) -> None:
    pytest.importorskip("networkx")
    write_geojson(tmp_path / "roads.geojson", graph_with_speeds())
    assert_same(read_geojson(tmp_path / "roads.geojson"), graph_with_speeds())
    assert_same(from_networkx(to_networkx(graph_with_speeds())), graph_with_speeds())
    facts = [feature["properties"] for feature in geojson(graph_with_speeds())["features"]]
    assert [one["speed_kmh"] for one in facts] == [50.0, 31.4, None, 0.0004]


@pytest.mark.parametrize(
    ("properties", "kmh"),
    [
        ({"speed_kmh": 42, "maxspeed": "50"}, 42.0),
        ({"inferred_speed_mps": 10.0, "inferred_speed_mph": 22.37}, 36.0),
        ({"inferred_speed_mph": 25}, 40.2336),
        ({"speed_kph": 30.5}, 30.5),
        ({"maxspeed": "50"}, 50.0),
        ({"maxspeed": 50}, 50.0),
        ({"maxspeed": "30 mph"}, 48.28032),
        ({"maxspeed": "80 km/h", "speed_kmh": None}, 80.0),
        ({"maxspeed": "signals"}, None),
        ({"maxspeed": "50;30"}, None),
        ({"maxspeed": ["50", "30"]}, None),
        ({"maxspeed": 0}, None),
        ({}, None),
    ],
)
def test_speeds_of_others_are_km_an_hour(properties: dict[str, Any], kmh: float | None) -> None:
    speed = from_geojson(collection([[0, 0], [0, 1]], properties=properties)).speed_kmh
    assert speed == pytest.approx([np.nan if kmh is None else kmh], nan_ok=True)


def test_geojson_in_degrees_brings_the_ground_back(tmp_path: Path) -> None:
    graph = graph_with_everything().to_ground(Place.nadir((0.0, 0.0), 0.5, (100, 100), crs=PLANE.crs)).to_lonlat(PLANE)
    write_geojson(tmp_path / "roads.geojson", graph, {"frame": "000001"})
    document = json.loads((tmp_path / "roads.geojson").read_text())
    assert document["frame"] == "000001"
    assert "crs" not in document  # RFC 7946 has none
    x, y = document["features"][0]["geometry"]["coordinates"][0]
    assert (round(x), round(y)) == (-88, 42)
    assert_same(read_geojson(tmp_path / "roads.geojson"), graph, atol=5.1e-8)


def test_geojson_says_units_and_what_is_unknown() -> None:
    facts = [feature["properties"] for feature in geojson(graph_with_everything())["features"]]
    assert facts[0] == {"u": 0, "v": 1, "length_px": 50.0, "width_px": 4.0, "confidence": 0.9}
    assert (facts[2]["width_px"], facts[3]["confidence"]) == (None, None)
    json.dumps(geojson(graph_with_everything()), allow_nan=False)


def test_junctions_are_written_where_asked_for_and_nodes_alone_always() -> None:
    points = [
        one for one in geojson(graph_with_everything(), junctions=True)["features"] if "node" in one["properties"]
    ]
    assert [one["properties"]["degree"] for one in points] == [2, 3, 3]
    none = np.empty(0, np.int64)
    alone = RoadGraph(np.array([[3.0, 4.0]]), none, none, ())
    assert from_geojson(geojson(alone)).nodes.tolist() == [[3, 4]]
    assert geojson(RoadGraph.empty())["features"] == []
    assert len(from_geojson(geojson(RoadGraph.empty())).u) == 0


def test_lines_of_others_meet_where_they_share_a_vertex() -> None:
    graph = from_geojson(collection([[0, 0], [0, 0.001], [0, 0.002]], [[-0.001, 0.001], [0, 0.001]], properties=None))
    assert degrees(graph) == [1, 1, 1, 3]
    assert (graph.crs, graph.unit) == ("OGC:CRS84", "m")
    assert graph.length == pytest.approx([110.574, 110.574, 111.320], abs=0.01)


def test_lines_of_several_parts_and_points_of_no_length_are_understood() -> None:
    document = collection([[0, 0], [0, 0]])
    document["features"].append(
        {
            "type": "Feature",
            "geometry": {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 0]], [[1, 0], [0, 0]]]},
        }
    )
    document["features"].append({"type": "Feature", "geometry": None, "properties": {}})
    graph = from_geojson({**document, "crs_name": "pixel"})
    assert (degrees(graph), cycles(graph), graph.unit) == ([2, 2], 1, "px")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "FeatureCollection"),
        ({"type": "FeatureCollection"}, "list of features"),
        ({"type": "FeatureCollection", "features": [3]}, "feature 0"),
        (collection([[0, 0]]), "fewer than two"),
        (collection([["a", 0], [1, 1]]), "feature 0"),
        ({"type": "FeatureCollection", "features": [{"geometry": {"type": "Polygon", "coordinates": []}}]}, "Polygon"),
        (collection([[0, 0], [1, float("nan")]]), "finite"),
        (collection([[0, 0], [1, 1]], properties={"u": "a", "v": 1}), "must be numbers"),
        (collection([[0, 0], [1, 1]], properties={"confidence": "high"}), "must be numbers"),
        (collection([[0, 0], [1, 1]], properties={"confidence": 3}), "confidence of edge 0"),
        (collection([[0, 0], [1, 1]], properties={"speed_kmh": "fast"}), "must be numbers"),
        (collection([[0, 0], [1, 1]], properties={"speed_kmh": 0}), "speed_kmh of edge 0 must be above 0"),
        ({**collection([[0, 0], [1, 1]]), "crs_name": 4326}, "crs_name"),
        (collection([[5e5, 4e6], [5e5, 5e6]]), "is no longitude and latitude; metres need their CRS"),
        (collection([[39, 116], [39, 117]]), "longitude comes first"),
        ({**collection([[0, 0], [1, 1]]), "crs": {"type": "link"}}, "must name a coordinate system"),
        ({**collection([[0, 0], [1, 1]]), "unit": "miles"}, "unit"),
        ({"type": "FeatureCollection", "features": [{"geometry": {"type": "Point", "coordinates": [1]}}]}, "feature 0"),
        ({"type": "FeatureCollection", "features": [{"geometry": {"type": "Point"}, "properties": [1]}]}, "feature 0"),
    ],
)
def test_geojson_without_lines_is_refused(document: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        from_geojson(document)


def test_the_crs_that_older_files_name_is_read() -> None:
    for name, crs in (("urn:ogc:def:crs:EPSG::32650", "urn:ogc:def:crs:EPSG::32650"), ("EPSG:4326", "OGC:CRS84")):
        member = {"crs": {"type": "name", "properties": {"name": name}}}
        assert from_geojson({**collection([[5, 40], [6, 41]]), **member}).crs == crs
    with pytest.raises(DataError, match="must name a coordinate system"):
        from_geojson({**collection([[5, 40], [6, 41]]), "crs": "EPSG:4326"})


def test_lines_that_were_moved_by_hand_are_refused_with_the_way_out() -> None:
    document = geojson(graph_with_everything())
    document["features"][2]["geometry"]["coordinates"][0] = [61.5, 10.5]
    with pytest.raises(DataError, match="node 1 lies at two places; take `u` and `v` out"):
        from_geojson(document)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.geojson").write_text("{")
    for name in ("bad.geojson", "none.geojson"):
        with pytest.raises(DataError, match=name):
            read_geojson(tmp_path / name)


def test_wkt_csv_brings_graphs_back(tmp_path: Path) -> None:
    write_wkt_csv(tmp_path / "roads.csv", {"one": graph_with_everything(), "none": RoadGraph.empty()})
    text = (tmp_path / "roads.csv").read_text()
    assert text.startswith("ImageId,WKT_Pix\n")
    assert "none,LINESTRING EMPTY\n" in text
    found = read_wkt_csv(tmp_path / "roads.csv", gsd_m=0.3)
    assert list(found) == ["one", "none"]
    assert degrees(found["one"]) == degrees(graph_with_everything())
    assert sorted(found["one"].length) == pytest.approx(sorted(graph_with_everything().length * 0.3), abs=1e-3)
    assert (found["one"].unit, found["none"].unit, len(found["none"].u)) == ("m", "m", 0)
    assert read_wkt_csv(tmp_path / "roads.csv")["one"].total_length == pytest.approx(
        graph_with_everything().total_length
    )


def test_wkt_csv_of_others_is_read(tmp_path: Path) -> None:
    (tmp_path / "others.csv").write_bytes(
        b"\xef\xbb\xbfImageId,WKT_Pix,length_m\r\n"
        b'a,"LINESTRING (0.0 0.0, 100.0 0.0, 200 0)",60\r\n'
        b'a,"linestring(100 0,100 50)",15\r\n'
        b"b,LINESTRING EMPTY,0\r\n"
    )
    found = read_wkt_csv(tmp_path / "others.csv")
    assert degrees(found["a"]) == [1, 1, 1, 3]
    assert len(found["b"].u) == 0


def test_travel_times_of_spacenet_are_speeds(tmp_path: Path) -> None:
    (tmp_path / "sn5.csv").write_text(
        "ImageId,WKT_Pix,length_m,travel_time_s\n"
        'a,"LINESTRING (0 0, 100 0, 200 0)",60.0,6.0\n'
        'a,"LINESTRING (100 0, 100 50)",15.0,Null\n'
        'b,"LINESTRING (0 0, 9 0)",0.0,0.0\n'
        "c,LINESTRING EMPTY,0,0\n"
    )
    found = read_wkt_csv(tmp_path / "sn5.csv")
    assert sorted(found["a"].speed_kmh.tolist())[:2] == pytest.approx([36, 36])
    assert [np.isnan(found[name].speed_kmh).sum() for name in "abc"] == [1, 1, 0]


def test_speeds_come_back_from_wkt_csv(tmp_path: Path) -> None:
    graph = replace(graph_with_everything(), speed_kmh=np.array([50.0, 31.4, np.nan, 7.0]))
    metres = replace(graph, length=graph.length * 0.3, width=graph.width * 0.3, unit="m")
    write_wkt_csv(tmp_path / "roads.csv", {"a": metres, "none": RoadGraph.empty()})
    assert (tmp_path / "roads.csv").read_text().startswith("ImageId,WKT_Pix,length_m,travel_time_s\n")
    found = read_wkt_csv(tmp_path / "roads.csv", gsd_m=0.3)["a"]
    assert sorted(found.speed_kmh.tolist())[:3] == pytest.approx([7, 31.4, 50], rel=1e-3)
    with pytest.raises(SpecMismatchError, match="lengths in metres"):
        write_wkt_csv(tmp_path / "pixels.csv", {"a": graph})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "columns"),
        ('ImageId,WKT_Pix,length_m,travel_time_s\na,"LINESTRING (1 1, 2 2)",3,fast\n', "line 2"),
        ('ImageId,WKT_Pix,length_m,travel_time_s\na,"LINESTRING (1 1, 2 2)",3,-1\n', "zero or more"),
        ("ImageId,wkt\n", "columns"),
        ("ImageId,WKT_Pix\na,POINT (1 1)\n", "line 2"),
        ('ImageId,WKT_Pix\na,"LINESTRING (1 1, 2)"\n', "line 2"),
        ('ImageId,WKT_Pix\na,"LINESTRING (1 1, x 2)"\n', "line 2"),
        ('ImageId,WKT_Pix\na,"LINESTRING (1 1, nan 2)"\n', "finite"),
    ],
)
def test_wkt_csv_that_holds_something_else_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        read_wkt_csv(tmp_path / "bad.csv")


def test_wkt_csv_holds_pixels_only(tmp_path: Path) -> None:
    with pytest.raises(SpecMismatchError, match="EPSG:26916"):
        write_wkt_csv(tmp_path / "roads.csv", {"a": RoadGraph.empty("EPSG:26916", "m")})
    assert not (tmp_path / "roads.csv").exists()


def test_networkx_brings_graphs_back() -> None:
    networkx = pytest.importorskip("networkx")
    made = to_networkx(graph_with_everything())
    assert (made.number_of_nodes(), made.number_of_edges()) == (3, 4)
    assert networkx.number_of_selfloops(made) == 1
    assert_same(from_networkx(made), graph_with_everything())
    turned = networkx.MultiGraph(**made.graph)
    turned.add_nodes_from(sorted(made.nodes(data=True), reverse=True))
    turned.add_edges_from(made.edges(data=True, keys=True))
    assert from_networkx(turned).total_length == pytest.approx(graph_with_everything().total_length)


def test_plain_networkx_graphs_have_straight_roads() -> None:
    networkx = pytest.importorskip("networkx")
    plain = networkx.Graph()
    plain.add_node("a", x=0, y=0)
    plain.add_node("b", x=3, y=4)
    plain.add_edge("a", "b")
    assert from_networkx(plain).length.tolist() == [5]
    plain.add_node("c")
    with pytest.raises(DataError, match="x and y"):
        from_networkx(plain)
    assert len(from_networkx(networkx.MultiGraph()).u) == 0
