"""`RoadGraph`: what it refuses, its lengths, and its way from pixels to the ground to longitude and latitude."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roadedge.errors import DataError, ShapeError, SpecMismatchError
from roadedge.place import Place
from roadedge.roadgraph import RoadGraph
from roadedge.roadgraph.drawing import draw
from roadedge.roadgraph.graph import LONLAT, measure
from roadedge.trajectory.plane import LocalPlane

NODES = np.array([[10.0, 10.0], [40.0, 50.0], [90.0, 50.0]])
LINES = (
    NODES[[0, 1]],
    np.array([[40.0, 50.0], [60.0, 50.0], [90.0, 50.0]]),
    np.array([[90.0, 50], [95, 60], [90, 50]]),
)
ENDS = (np.array([0, 1, 2]), np.array([1, 2, 2]))
PLANE = LocalPlane(12.5, 41.9)


def small_graph() -> RoadGraph:
    return RoadGraph(NODES, *ENDS, LINES, width=np.array([4.0, 6.0, np.nan]), confidence=np.array([0.5, 1.0, np.nan]))


def test_lengths_left_out_are_measured() -> None:
    assert small_graph().length == pytest.approx([50, 50, 2 * np.hypot(5, 10)])
    assert small_graph().degree.tolist() == [1, 2, 3]
    assert measure([]).shape == (0,)


def test_what_it_holds_cannot_be_written_to() -> None:
    graph = small_graph()
    for array in (graph.nodes, graph.u, graph.length, graph.width, *graph.lines):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    NODES_COPY = NODES.copy()
    mine = RoadGraph(NODES_COPY, *ENDS, LINES)
    NODES_COPY[0] = 7
    assert mine.nodes[0].tolist() == [10, 10]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"nodes": np.full((3, 2), np.nan)}, ShapeError, "finite"),
        ({"nodes": np.zeros((3, 3))}, ShapeError, r"\(N, 2\)"),
        ({"u": np.array([0, 1])}, ShapeError, "each edge needs"),
        ({"u": np.array([0, 1, 3])}, ShapeError, "outside 0 ... 2"),
        ({"u": np.array([0.0, 1.0, 2.0])}, ShapeError, "integers"),
        ({"lines": (LINES[0], LINES[1][:1], LINES[2])}, ShapeError, "line 1 must be at least two"),
        ({"lines": (LINES[0][::-1], *LINES[1:])}, ShapeError, "line 0 must begin at node 0"),
        ({"length": np.array([1.0, np.nan, 1.0])}, DataError, "length of edge 1"),
        ({"length": np.array([1.0])}, ShapeError, "one value for each of 3"),
        ({"width": np.array([1.0, -1.0, 1.0])}, DataError, "width of edge 1"),
        ({"confidence": np.array([1.0, 1.0, 1.5])}, DataError, r"confidence of edge 2 must lie in \[0, 1\]"),
        ({"speed_kmh": np.array([np.nan, 0.0, 1.0])}, DataError, "speed_kmh of edge 1 must be above 0"),
        ({"speed_kmh": np.array([1.0])}, ShapeError, "one value for each of 3"),
        ({"unit": "feet"}, ShapeError, "'m' or 'px'"),
        ({"crs": LONLAT}, ShapeError, "degrees"),
    ],
)
def test_a_graph_that_contradicts_itself_is_refused(
    change: dict[str, object], error: type[Exception], says: str
) -> None:
    members: dict[str, object] = {"nodes": NODES, "u": ENDS[0], "v": ENDS[1], "lines": LINES}
    with pytest.raises(error, match=says):
        RoadGraph(**(members | change))  # type: ignore[arg-type]


def test_speeds_are_kept_with_their_roads() -> None:
    graph = replace(small_graph(), speed_kmh=np.array([50.0, np.nan, 30.0]))
    assert np.isnan(small_graph().speed_kmh).all()
    assert graph.kept(np.array([2, 0])).speed_kmh.tolist() == [30, 50]
    placed = graph.to_ground(Place.nadir((0.0, 0.0), 0.5, (100, 100), crs=PLANE.crs))
    assert placed.speed_kmh == pytest.approx([50, np.nan, 30], nan_ok=True)  # a speed is none of the picture's scale


def test_on_the_ground_lengths_and_widths_are_metres() -> None:
    graph = small_graph().to_ground(Place.nadir((0.0, 0.0), 0.5, (100, 100), crs=PLANE.crs))
    assert (graph.unit, graph.crs) == ("m", PLANE.crs)
    assert graph.length[:2] == pytest.approx([25, 25])
    assert graph.width[:2] == pytest.approx([2, 3])
    assert graph.nodes[0] == pytest.approx([-20, 20])  # y goes up on the ground
    with pytest.raises(SpecMismatchError, match="already lies"):
        graph.to_ground(Place.nadir((0.0, 0.0), 0.5, (100, 100)))


def test_a_graph_in_pixels_and_metres_is_measured_anew_on_the_ground() -> None:
    nominal = RoadGraph(NODES, *ENDS, LINES, small_graph().length * 0.4, small_graph().width * 0.4, unit="m")
    graph = nominal.to_ground(Place.nadir((0.0, 0.0), 0.5, (100, 100)))
    assert graph.length[:2] == pytest.approx([25, 25])
    assert graph.width[:2] == pytest.approx([2, 3])


def test_roads_across_the_horizon_are_left_out() -> None:
    tilted = Place(np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0.02, -0.4]]))  # the horizon is the row 20
    graph = small_graph().to_ground(tilted)
    assert len(graph.u) == 2
    assert np.isfinite(graph.nodes).all()
    sky = np.array([[10.0, 1], [12, 3], [10, 1]])
    above = RoadGraph(sky[:1], np.array([0]), np.array([0]), (sky,))
    assert len(above.to_ground(tilted).u) == 0
    turned = Place(np.array([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1.0]]))  # a raster stored from south to north
    assert len(above.to_ground(turned).u) == 1


def test_longitude_and_latitude_keep_the_metres() -> None:
    ground = small_graph().to_ground(Place.nadir((0.0, 0.0), 0.5, (100, 100), crs=PLANE.crs))
    geographic = ground.to_lonlat(PLANE)
    assert (geographic.crs, geographic.unit) == (LONLAT, "m")
    np.testing.assert_array_equal(geographic.length, ground.length)
    np.testing.assert_allclose(PLANE.from_lonlat(geographic.nodes), ground.nodes, atol=1e-6)
    assert geographic.to_lonlat() is geographic
    with pytest.raises(SpecMismatchError, match="not in"):
        ground.to_lonlat(LocalPlane(13.0, 41.9))
    with pytest.raises(SpecMismatchError, match="pixels"):
        small_graph().to_lonlat(PLANE)


def test_a_projected_system_goes_through_pyproj() -> None:
    pytest.importorskip("pyproj")
    place = Place.nadir((445000.0, 4636000.0), 0.5, (100, 100), crs="EPSG:26916")
    graph = small_graph().to_ground(place).to_lonlat()
    assert graph.nodes[0] == pytest.approx([-87.66, 41.87], abs=0.02)  # Chicago
    with pytest.raises(SpecMismatchError, match="no coordinate system"):
        small_graph().to_ground(Place.nadir((0.0, 0.0), 0.5, (9, 9))).to_lonlat()


def test_chosen_edges_keep_their_facts() -> None:
    part = small_graph().kept(np.array([2, 1]))
    assert part.nodes.tolist() == [[40, 50], [90, 50]]
    assert (part.u.tolist(), part.v.tolist()) == ([1, 0], [1, 1])
    assert part.width.tolist()[1:] == [6.0]
    assert len(small_graph().kept(np.zeros(3, bool)).nodes) == 0


def test_an_empty_graph_goes_everywhere() -> None:
    empty = RoadGraph.empty().to_ground(Place.nadir((0.0, 0.0), 0.5, (9, 9), crs=PLANE.crs)).to_lonlat(PLANE)
    assert (empty.total_length, empty.crs, empty.unit) == (0.0, LONLAT, "m")
    assert not draw(RoadGraph.empty(), (4, 5)).any()


def test_roads_are_drawn_at_their_width() -> None:
    graph = RoadGraph(
        np.array([[0.5, 5.5], [20.5, 5.5]]),
        np.array([0]),
        np.array([1]),
        (np.array([[0.5, 5.5], [20.5, 5.5]]),),
        width=np.array([5.0]),
    )
    assert draw(graph, (11, 21)).sum(axis=0).tolist() == [1] * 21
    assert draw(graph, (11, 21), width_px=None)[:, 10].sum() == 5
    with pytest.raises(SpecMismatchError, match="pixels"):
        draw(RoadGraph.empty("EPSG:26916", "m"), (4, 4))
