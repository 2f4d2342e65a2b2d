"""Graph scores of sets: means and sums worked by hand, intervals over places, settings that are all said."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from roadedge.errors import DataError, ShapeError, UsageError
from roadedge.metrics.graph_scores import GraphSettings, choose_graph_scores, compare_graphs
from roadedge.metrics.graph_sets import summarize_graphs
from roadedge.metrics.topo import Matches
from roadedge.roadgraph import RoadGraph

pytest.importorskip("scipy", reason="SciPy is not installed (extra graph)")
CORNERS = np.array([[0.0, 0], [200, 0], [200, 200], [0, 200]])


def square(sides: int) -> RoadGraph:
    ends = np.array([(0, 1), (1, 2), (2, 3), (3, 0)][:sides], np.int64).reshape(-1, 2)
    lines = tuple(CORNERS[pair] for pair in ends)
    return RoadGraph(CORNERS, ends[:, 0], ends[:, 1], lines, crs="local", unit="m")


CORNERS_ONLY = choose_graph_scores(True, True, True, apls_spacing=np.inf)


def test_a_set_is_the_mean_of_apls_and_the_sum_of_matches() -> None:
    same, damaged = (
        compare_graphs(square(4), square(4), CORNERS_ONLY),
        compare_graphs(square(4), square(3), CORNERS_ONLY),
    )
    whole = summarize_graphs([same, damaged], ["a", "b"], draws=200)
    assert whole.apls == pytest.approx((1 + 0.8602) / 2, abs=1e-4)
    assert same.topo is not None
    assert damaged.topo is not None
    assert whole.topo == same.topo.matches + damaged.topo.matches
    assert whole.junctions == Matches(0, 0, 0)  # corners are no junctions
    assert whole.apls_interval == pytest.approx((0.8602, 1), abs=1e-4)  # two places: both of one, or of the other
    assert whole.topo_interval is not None
    assert whole.topo_interval[0] == pytest.approx(damaged.topo.matches.f1)


def test_samples_of_one_place_are_drawn_together() -> None:
    scores = [compare_graphs(square(4), square(sides), CORNERS_ONLY) for sides in (4, 3, 4, 3)]
    apart = summarize_graphs(scores, list("abcd"), draws=300)
    together = summarize_graphs(scores, list("aabb"), draws=300)
    assert together.apls_interval == pytest.approx((apart.apls, apart.apls))  # each place is a copy of the other
    assert apart.apls_interval is not None
    assert apart.apls_interval[0] < apart.apls_interval[1]
    assert summarize_graphs(scores, ["a"] * 4).apls_interval is None
    assert summarize_graphs(scores, list("abcd"), draws=0).topo_interval is None


def test_samples_without_any_road_are_counted_and_can_be_left_out() -> None:
    nothing = RoadGraph.empty("local", "m")
    pairs = [(nothing, nothing), (square(4), nothing), (square(4), square(3))]
    whole = summarize_graphs([compare_graphs(*pair, CORNERS_ONLY) for pair in pairs], list("abc"))
    assert whole.empty_pairs == 1
    assert whole.apls == pytest.approx((1 + 0 + 0.8602) / 3, abs=1e-4)
    assert whole.apls_of_roads == pytest.approx(0.8602 / 2, abs=1e-4)
    empty = summarize_graphs([compare_graphs(nothing, nothing, CORNERS_ONLY)], ["a"])
    assert (empty.apls, empty.apls_of_roads) == (1, None)


def test_a_missed_tile_weighs_as_much_as_a_found_one() -> None:
    nothing = RoadGraph.empty("local", "m")
    found, missed = (compare_graphs(square(4), one, CORNERS_ONLY) for one in (square(4), nothing))
    invented = compare_graphs(nothing, square(4), CORNERS_ONLY)
    assert found.topo is not None
    holes = found.topo.matches.true
    # 20 walks of 150 m either way round a square of 800 m, a hole every 30 m: 1 + 2 · 5 each.
    assert holes == 220
    assert missed.topo is not None
    assert missed.topo.matches == Matches(0, 0, holes)
    assert invented.topo is not None
    assert invented.topo.matches == Matches(0, holes, 0)
    whole = summarize_graphs([found, missed], ["a", "b"])
    assert whole.topo is not None
    assert (whole.topo.precision, whole.topo.recall) == (1, 0.5)


def test_what_was_not_asked_for_is_absent() -> None:
    scores = compare_graphs(square(4), square(3), choose_graph_scores(False, False, True, junction_tolerance=5))
    document = summarize_graphs([scores], ["a"]).to_dict()
    assert "APLS" not in document
    assert "TOPO" not in document
    assert document["junctions"]["F1"] == 1
    assert set(scores.to_dict()) == {"unit", "true_length", "proposed_length", "junctions"}


def test_every_setting_is_said_and_is_json() -> None:
    settings = choose_graph_scores(True, True, True, 37, 3.5, 123, 99, 11, 2.5, 7, 8.5, 42)
    said = " ".join(settings.lines("m"))
    for number in ("37 m", "3.5 m", "123 points", "99 m", "11 m", "2.5 m", "7 walks", "8.5 m", "seed 42", "0.001 m"):
        assert number in said
    assert "at nodes only" in CORNERS_ONLY.lines("px")[0]
    assert json.loads(json.dumps(CORNERS_ONLY.to_dict(), allow_nan=False))["apls"]["spacing"] is None


def test_apls_by_time_stands_beside_apls_by_length() -> None:
    both = choose_graph_scores(True, False, False, apls_spacing=np.inf, with_time=True)
    slow = replace(square(4), speed_kmh=np.array([36.0, 36.0, 36.0, 18.0]))
    even = replace(square(4), speed_kmh=np.full(4, 36.0))
    scores = [compare_graphs(slow, one, both) for one in (slow, even)]
    whole = summarize_graphs(scores, ["a", "b"], draws=100)
    assert whole.apls == pytest.approx(1)
    assert whole.apls_time == pytest.approx((1 + 2 * (5.5 / 6) * (5 / 6) / (10.5 / 6)) / 2)
    assert whole.to_dict()["APLS_time"] == whole.apls_time
    said = " ".join(both.lines("m"))
    assert "APLS by time: control points at nodes only" in said
    assert "the mean speed (length over time) of the true roads" in said
    fixed = choose_graph_scores(False, False, False, with_time=True, default_speed_kmh=30)
    assert "driven at 30 km/h" in " ".join(fixed.lines("m"))
    assert fixed.any
    with pytest.raises(UsageError, match="setting of --apls-time"):
        choose_graph_scores(True, False, False, default_speed_kmh=30)


def test_the_threshold_of_tracing_follows_the_masks() -> None:
    assert GraphSettings().at(0.7).tracing.low_threshold == 0.35
    assert GraphSettings().at(0.2).tracing.low_threshold == 0.2


def test_slips_are_sentences() -> None:
    with pytest.raises(DataError, match="no samples"):
        summarize_graphs([], [])
    with pytest.raises(ShapeError, match="one place is needed"):
        summarize_graphs([compare_graphs(square(4), square(4), CORNERS_ONLY)], [])
    with pytest.raises(UsageError, match="tolerance of junctions"):
        choose_graph_scores(False, False, True, junction_tolerance=-1)
