"""APLS: the published cross-check, its properties, and the real road graph of a city against itself damaged."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import DataError, SpecMismatchError, UsageError
from roadedge.metrics import road_network
from roadedge.metrics.apls import AplsSettings, apls
from roadedge.metrics.road_network import Places, open_network
from roadedge.roadgraph import RoadGraph
from roadedge.trajectory.plane import LocalPlane

pytest.importorskip("scipy", reason="SciPy is not installed (extra graph)")
CORNERS = np.array([[0.0, 0], [200, 0], [200, 200], [0, 200]])


def straight(nodes: np.ndarray, edges: list[tuple[int, int]], crs: str = "local") -> RoadGraph:
    ends = np.array(edges, np.int64).reshape(-1, 2)
    return RoadGraph(nodes, ends[:, 0], ends[:, 1], tuple(nodes[[u, v]] for u, v in edges), crs=crs, unit="m")


def grid(side: int = 5, step_m: float = 80.0) -> RoadGraph:
    nodes = np.array([(x * step_m, y * step_m) for y in range(side) for x in range(side)])
    across = [(y * side + x, y * side + x + 1) for y in range(side) for x in range(side - 1)]
    down = [(y * side + x, y * side + side + x) for y in range(side - 1) for x in range(side)]
    return straight(nodes, across + down)


def chicago(folder: Path) -> RoadGraph:
    """The OSM roads of the tracks' extent, in UTM metres."""
    with zipfile.ZipFile(folder / "chicago" / "maps_chicago.zip") as archive:
        tables = {}
        for kind in ("vertices", "edges"):
            name = next(name for name in archive.namelist() if name.endswith(f"chicago_{kind}_osm.txt"))
            tables[kind] = np.loadtxt(io.StringIO(archive.read(name).decode()), delimiter=",", usecols=(0, 1, 2))
    order = {int(name): row for row, name in enumerate(tables["vertices"][:, 0])}
    ends = [(order[int(u)], order[int(v)]) for _, u, v in tables["edges"]]
    return straight(tables["vertices"][:, 1:], ends, crs="EPSG:26916")


SQUARE = straight(CORNERS, [(0, 1), (1, 2), (2, 3), (3, 0)])
OPEN_SQUARE = straight(CORNERS, [(0, 1), (1, 2), (2, 3)])


def test_the_published_value_has_the_corners_as_its_only_control_points() -> None:
    score = apls(SQUARE, OPEN_SQUARE, AplsSettings(spacing=np.inf))
    assert (score.truth_to_proposal.score, score.proposal_to_truth.score) == pytest.approx((5 / 6, (5 + 1 / 3) / 6))
    assert score.apls == pytest.approx(0.8602, abs=5e-5)
    assert json.loads(json.dumps(score.to_dict(), allow_nan=False))["settings"]["spacing"] is None


def test_control_points_every_50_m_see_more_of_the_missing_side() -> None:
    score = apls(SQUARE, OPEN_SQUARE, AplsSettings(spacing=50))
    assert (score.truth_to_proposal.points, score.truth_to_proposal.unsnapped) == (16, 3)
    assert score.proposal_to_truth.points == 13
    assert score.truth_to_proposal.score == pytest.approx(0.5988, abs=5e-5)
    assert score.proposal_to_truth.score == pytest.approx(0.9507, abs=5e-5)
    assert score.apls == pytest.approx(0.7348, abs=5e-5)


def test_a_square_as_one_loop_is_the_same_square() -> None:
    line = CORNERS[[0, 1, 2, 3, 0]]
    loop = RoadGraph(CORNERS[:1], np.array([0]), np.array([0]), (line,), crs="local", unit="m")
    assert apls(loop, SQUARE).apls == pytest.approx(1)
    assert apls(loop, OPEN_SQUARE).apls == pytest.approx(0.7348, abs=5e-5)


def test_the_truth_itself_scores_one_in_pieces_and_with_parallel_roads_too() -> None:
    apart = straight(np.concatenate([CORNERS, CORNERS + 1000]), [(0, 1), (1, 2), (4, 5)])
    bow = np.array([[0.0, 0], [100, 40], [200, 0]])
    parallel = RoadGraph(CORNERS[:2], np.zeros(2, int), np.ones(2, int), (CORNERS[:2], bow), crs="local", unit="m")
    for graph in (SQUARE, grid(), apart, parallel):
        assert apls(graph, graph).apls == pytest.approx(1)


def test_empty_graphs_follow_the_printed_rule() -> None:
    empty = RoadGraph.empty("local", "m")
    assert apls(SQUARE, empty).apls == apls(empty, SQUARE).apls == 0
    assert apls(empty, empty).apls == 1
    point = straight(np.zeros((2, 2)), [(0, 1)])  # a road of no length has no path that counts
    assert (apls(point, point).apls, apls(point, SQUARE).apls) == (1, 0)
    assert "empty" in apls(empty, empty).to_dict()["settings"]


def test_a_proposal_elsewhere_scores_nothing() -> None:
    assert apls(SQUARE, SQUARE.moved(lambda xy: np.asarray(xy) + 1000.0, "local")).apls == 0


def test_it_falls_as_roads_are_taken_away() -> None:
    truth = grid()
    order = np.random.default_rng(3).permutation(len(truth.u))
    scores = [apls(truth, truth.kept(np.sort(order[gone:]))).truth_to_proposal.score for gone in (0, 4, 12, 24, 36)]
    assert scores[0] == pytest.approx(1)
    assert all(more > fewer for more, fewer in itertools.pairwise(scores))


def test_shifts_and_quarter_turns_change_nothing() -> None:
    truth, proposal = grid(), grid().kept(np.arange(5, 40))
    want = apls(truth, proposal).apls
    for move in (lambda xy: np.asarray(xy) @ [[0.0, 1], [-1, 0]], lambda xy: np.asarray(xy) + np.array([4e5, 4.6e6])):
        assert apls(truth.moved(move, "local"), proposal.moved(move, "local")).apls == pytest.approx(want)
    assert 0 < want < 1


def test_distances_that_are_found_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, proposal = grid(), grid().kept(np.arange(5, 40))
    want = apls(truth, proposal)
    monkeypatch.setattr(road_network, "_CELLS", 1)  # one place after the other
    assert apls(truth, proposal) == want


def test_the_snap_distance_decides_about_a_shifted_proposal() -> None:
    shifted = grid().moved(lambda xy: np.asarray(xy) + 3.0, "local")
    assert apls(grid(), shifted, AplsSettings(snap=5)).apls > 0.9
    assert apls(grid(), shifted, AplsSettings(snap=2)).apls == 0


def test_by_time_a_slow_road_counts() -> None:
    by_time = AplsSettings(spacing=np.inf, weight="time")
    same = (np.full(4, 36.0), np.full(4, 36.0))
    assert apls(SQUARE, SQUARE, by_time, same).apls == pytest.approx(1)
    slow = (np.full(4, 36.0), np.array([36.0, 36.0, 36.0, 18.0]))
    assert apls(SQUARE, SQUARE, by_time, slow).apls < 1
    for settings, speeds in ((AplsSettings(), same), (by_time, (np.zeros(4), np.ones(4)))):
        with pytest.raises(UsageError):
            apls(SQUARE, SQUARE, settings, speeds)


def test_by_time_the_graphs_own_speeds_count() -> None:
    by_time = AplsSettings(spacing=np.inf, weight="time")
    # Three sides of 200 m at 36 km/h take 20 s each, the fourth at 18 km/h takes 40 s. Against a proposal at 36 km/h
    # everywhere: that side 40 s → 20 s scores 1/2, five other pairs of corners are as fast as before: 20 s, 40 s.
    truth = replace(SQUARE, speed_kmh=np.array([36.0, 36.0, 36.0, 18.0]))
    proposal = replace(SQUARE, speed_kmh=np.full(4, 36.0))
    score = apls(truth, proposal, by_time)
    assert score.truth_to_proposal.score == pytest.approx((5 + 1 / 2) / 6)
    assert score.proposal_to_truth.score == pytest.approx((5 + 0) / 6)  # 20 s are 40 s there: as wrong as counts
    assert score.timing is not None
    assert score.timing.origin == "not needed"
    given = apls(SQUARE, SQUARE, by_time, (truth.speed_kmh, proposal.speed_kmh))
    assert given.apls == pytest.approx(score.apls)
    assert apls(truth, truth, by_time).apls == pytest.approx(1)


def test_roads_without_a_speed_are_driven_at_a_speed_that_is_said() -> None:
    by_time = AplsSettings(spacing=np.inf, weight="time")
    known = replace(SQUARE, speed_kmh=np.array([36.0, 36.0, np.nan, 18.0]))
    mean = apls(known, SQUARE, by_time).timing
    assert mean is not None
    assert mean.kmh == pytest.approx(600 / (20 + 20 + 40) * 3.6)  # length over time of the three that are known
    assert (mean.origin, mean.truth_untimed, mean.proposal_untimed) == ("mean of the truth", 200, 800)
    turned = apls(SQUARE, known, by_time).timing
    assert turned is not None
    assert turned.origin == "mean of the proposal"
    given = apls(known, SQUARE, replace(by_time, default_speed_kmh=36.0))
    assert given.timing is not None
    assert (given.timing.kmh, given.timing.origin) == (36, "given")
    full = (np.array([36.0, 36.0, 36.0, 18.0]), np.full(4, 36.0))
    assert given.apls == pytest.approx(apls(SQUARE, SQUARE, by_time, full).apls)
    assert json.loads(json.dumps(given.to_dict(), allow_nan=False))["roads_without_speed"]["kmh"] == 36


def test_without_any_speed_there_is_no_score_by_time_but_that_of_emptiness() -> None:
    by_time = AplsSettings(weight="time")
    with pytest.raises(DataError, match="give --default-speed in km/h"):
        apls(SQUARE, OPEN_SQUARE, by_time)
    empty = RoadGraph.empty("local", "m")
    assert (apls(SQUARE, empty, by_time).apls, apls(empty, empty, by_time).apls) == (0, 1)
    one_speed = replace(by_time, default_speed_kmh=50.0)
    assert apls(SQUARE, OPEN_SQUARE, one_speed).apls == pytest.approx(apls(SQUARE, OPEN_SQUARE).apls)
    for wrong in ({"default_speed_kmh": 0.0, "weight": "time"}, {"default_speed_kmh": 50.0}):
        with pytest.raises(UsageError):
            AplsSettings(**wrong)


def test_graphs_in_degrees_are_compared_in_metres() -> None:
    plane = LocalPlane(-87.6, 41.9)
    truth, proposal = (graph.moved(plane.to_lonlat, "OGC:CRS84") for graph in (SQUARE, OPEN_SQUARE))
    assert apls(truth, proposal).apls == pytest.approx(0.7348, abs=1e-4)


def test_graphs_in_pixels_of_known_size_are_compared_in_metres() -> None:
    truth, proposal = (
        RoadGraph(
            graph.nodes / 0.5, graph.u, graph.v, tuple(line / 0.5 for line in graph.lines), graph.length, unit="m"
        )
        for graph in (SQUARE, OPEN_SQUARE)
    )
    assert apls(truth, proposal).apls == pytest.approx(0.7348, abs=5e-5)


def test_graphs_of_two_systems_are_refused() -> None:
    with pytest.raises(SpecMismatchError, match="one coordinate system"):
        apls(SQUARE, RoadGraph.empty("EPSG:26916", "m"))
    for wrong in ({"spacing": 0.0}, {"snap": -1.0}, {"weight": "speed"}, {"most_points": 1}, {"spacing": float("nan")}):
        with pytest.raises(UsageError):
            AplsSettings(**wrong)


def test_places_on_a_bent_road_lie_where_they_should() -> None:
    bent = np.array([[0.0, 0], [3, 0], [3, 4]])
    network = open_network(RoadGraph(bent[[0, 2]], np.array([0]), np.array([1]), (bent,), crs="local", unit="m"))
    places = Places(np.zeros(4, np.int64), np.array([0.0, 2.0, 5.0, 7.0]))
    np.testing.assert_allclose(network.positions(places), [[0, 0], [2, 0], [3, 2], [3, 4]])
    back, away = network.nearest(np.array([[2.0, 1.0], [9.0, 2.0]]))
    assert back.along == pytest.approx([2, 5])
    assert away == pytest.approx([1, 6])
    assert network.distances(places)[0] == pytest.approx([0, 2, 5, 7])


def test_the_roads_of_a_city_damaged_a_little_lose_a_little(real_data: Path) -> None:
    truth = chicago(real_data)
    assert (len(truth.nodes), len(truth.u)) == (9429, 11801)
    draw = np.random.default_rng(0).random(len(truth.u))
    settings = AplsSettings(most_points=60)
    scores = [apls(truth, truth.kept(draw >= share), settings).apls for share in (0.0, 0.01, 0.05, 0.2)]
    assert scores[0] == pytest.approx(1)
    assert scores[0] > scores[1] > scores[2] > scores[3] > 0
