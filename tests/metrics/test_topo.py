"""TOPO and junctions: walks worked by hand, identity, what is missed and what is invented."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import SpecMismatchError, UsageError
from roadedge.metrics.topo import Matches, TopoSettings, junctions, match, topo
from roadedge.roadgraph import RoadGraph
from tests.metrics.test_apls import CORNERS, OPEN_SQUARE, SQUARE, chicago, grid, straight

pytest.importorskip("scipy", reason="SciPy is not installed (extra graph)")


def test_the_truth_itself_scores_one() -> None:
    for graph in (SQUARE, OPEN_SQUARE, grid()):
        score = topo(graph, graph)
        assert (score.matches.precision, score.matches.recall, score.matches.f1) == (1, 1, 1)
        assert score.unstarted == 0


def test_a_walk_on_a_ring_meets_itself_once() -> None:
    # 800 m round: the start, 7 places to either side at 50 m steps, and one opposite at 400 m
    score = topo(SQUARE, SQUARE, TopoSettings(radius=400, interval=50, origins=1))
    assert score.matches == Matches(16, 16, 16)
    line = CORNERS[[0, 1, 2, 3, 0]]
    loop = RoadGraph(CORNERS[:1], np.array([0]), np.array([0]), (line,), crs="local", unit="m")
    assert topo(loop, loop, TopoSettings(radius=400, interval=50, origins=3)).matches == Matches(48, 48, 48)


def test_a_walk_on_a_dead_end_turns_nowhere() -> None:
    road = straight(np.array([[0.0, 0], [100, 0]]), [(0, 1)])
    score = topo(road, road, TopoSettings(radius=90, interval=10, origins=1, seed=1))
    start = np.random.default_rng(1).random(1)[0] * 100
    assert score.matches.true == 1 + min(int(start // 10), 9) + min(int((100 - start) // 10), 9)


def test_missing_roads_cost_recall_and_invented_ones_precision() -> None:
    part = grid().kept(np.arange(30))
    missed, invented = topo(grid(), part).matches, topo(part, grid()).matches
    assert missed.recall < invented.recall == 1
    assert invented.precision < 1
    assert missed.precision > missed.recall


def test_walks_that_find_no_start_are_counted() -> None:
    away = grid().moved(lambda xy: np.asarray(xy) + 1000.0, "local")
    score = topo(grid(), away)
    assert score.unstarted == 20
    assert (score.matches.precision, score.matches.recall) == (0, 0)


def test_empty_graphs_follow_the_printed_rule() -> None:
    empty = RoadGraph.empty("local", "m")
    assert topo(empty, empty).matches.f1 == 1
    assert topo(grid(), empty).matches.f1 == topo(empty, grid()).matches.f1 == 0
    whole = topo(grid(), grid()).matches.true
    assert topo(grid(), empty).matches == Matches(0, 0, whole)  # as much as a found tile weighs in a sum
    assert topo(empty, grid()).matches == Matches(0, whole, 0)
    assert (topo(grid(), empty).unstarted, topo(empty, grid()).unstarted) == (20, 0)
    assert json.loads(json.dumps(topo(empty, empty).to_dict()))["settings"]["unit"] == "m"
    with pytest.raises(SpecMismatchError):
        topo(grid(), RoadGraph.empty())


def test_a_marble_falls_into_one_hole() -> None:
    holes = np.array([[0.0, 0], [3, 0]])
    assert match(np.array([[1.0, 0], [1.5, 0]]), holes, 2) == 2
    assert match(np.array([[0.0, 0], [-1.0, 0]]), holes, 2) == 1
    assert match(np.empty((0, 2)), holes, 2) == 0


def test_junctions_are_matched_one_to_one() -> None:
    inner = 5 * 5 - 4
    assert junctions(grid(), grid(), 4) == Matches(inner, inner, inner)
    found = junctions(grid(), OPEN_SQUARE, 4)
    assert (found.precision, found.recall, found.f1) == (0, 0, 0)
    assert junctions(OPEN_SQUARE, OPEN_SQUARE, 4).f1 == 1  # neither has any
    shifted = grid().moved(lambda xy: np.asarray(xy) + 3.0, "local")
    assert junctions(grid(), shifted, 4).matched == 0
    assert junctions(grid(), shifted, 5).f1 == 1


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"interval": 0.0}, {"interval": 200.0}, {"hole": -1.0}, {"origins": 0}):
        with pytest.raises(UsageError):
            TopoSettings(**wrong)
    with pytest.raises(UsageError):
        junctions(grid(), grid(), -1)


def test_the_roads_of_a_city_damaged_a_little_lose_a_little(real_data: Path) -> None:
    truth = chicago(real_data)
    draw = np.random.default_rng(0).random(len(truth.u))
    recalls = [topo(truth, truth.kept(draw >= share)).matches.recall for share in (0.0, 0.01, 0.05, 0.2)]
    assert recalls[0] == 1
    assert recalls[0] > recalls[1] > recalls[2] > recalls[3] > 0
