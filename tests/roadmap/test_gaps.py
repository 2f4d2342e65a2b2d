"""A gap is closed where trips vouch for it, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import UsageError
from roadedge.roadgraph import RoadGraph
from roadedge.roadmap.gaps import Closed, GapOptions, close_gaps
from tests.roadmap.test_traffic import drive, graph_of, stored

pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra points)")
pytest.importorskip("scipy", reason="scipy is not installed (extra graph)")
GAP: tuple[list[tuple[float, float]], ...] = ([(0, 0), (200, 0)], [(230, 0), (500, 0)])
ALONG = ((0.0, 0.0), (500.0, 0.0))


def closed(folder: Path, graph: RoadGraph, *drives: object, options: GapOptions | None = None) -> Closed:
    with stored(folder / "points.parquet", *drives) as store:  # type: ignore[arg-type]
        return close_gaps(graph, store, options or GapOptions(50.0))


def test_three_trips_close_a_gap_and_the_bridge_is_marked(tmp_path: Path) -> None:
    found = closed(tmp_path, graph_of(*GAP), *(drive(*ALONG, vid) for vid in range(3)))
    assert found.bridged.tolist() == [False, False, True]
    assert sorted([found.graph.u[2], found.graph.v[2]]) == [1, 2]
    assert found.graph.length[2] == pytest.approx(30)
    assert found.graph.width[2] == pytest.approx(8)
    assert found.graph.degree.tolist() == [1, 2, 2, 1]


def test_two_trips_are_too_few(tmp_path: Path) -> None:
    found = closed(tmp_path, graph_of(*GAP), *(drive(*ALONG, vid) for vid in range(2)))
    assert (found.candidates, found.bridged.sum()) == (1, 0)


def test_points_far_apart_still_cross_the_gap(tmp_path: Path) -> None:
    found = closed(tmp_path, graph_of(*GAP), *(drive(*ALONG, vid, speed_ms=60.0) for vid in range(3)))
    assert found.bridged.sum() == 1


def test_a_gap_longer_than_asked_stays_open(tmp_path: Path) -> None:
    drives = [drive(*ALONG, vid) for vid in range(5)]
    assert closed(tmp_path, graph_of(*GAP), *drives, options=GapOptions(29.0)).bridged.sum() == 0


def test_trips_that_go_a_long_way_round_do_not_vouch(tmp_path: Path) -> None:
    round_trip = []
    for vid in range(5):
        legs = [((0.0, 0.0), (200.0, 0.0)), ((200.0, 0.0), (200.0, 150.0)), ((200.0, 150.0), (230.0, 150.0))]
        legs += [((230.0, 150.0), (230.0, 0.0)), ((230.0, 0.0), (500.0, 0.0))]
        at = 0.0
        for start, end in legs:
            part = drive(start, end, vid, at)
            at = part[-1, 2] + 1
            round_trip.append(part)
    assert closed(tmp_path, graph_of(*GAP), *round_trip).bridged.sum() == 0


def test_trips_on_a_main_road_do_not_join_its_side_roads(tmp_path: Path) -> None:
    graph = graph_of([(0, 0), (500, 0)], [(200, 60), (215, 6)], [(260, 60), (240, 6)])
    assert closed(tmp_path, graph, *(drive(*ALONG, vid) for vid in range(9))).bridged.sum() == 0


def test_ends_that_look_away_from_each_other_stay_apart(tmp_path: Path) -> None:
    graph = graph_of([(200, 0), (200, 300)], [(220, 300), (220, 0)])
    drives = [drive((150.0, 0.0), (270.0, 0.0), vid) for vid in range(9)]
    assert closed(tmp_path, graph, *drives).candidates == 0


def test_an_end_gets_one_bridge_the_shortest(tmp_path: Path) -> None:
    graph = graph_of([(0, 0), (200, 0)], [(220, 3), (500, 3)], [(225, -4), (500, -40)])
    found = closed(tmp_path, graph, *(drive(*ALONG, vid) for vid in range(4)))
    assert found.bridged.tolist() == [False, False, False, True]
    assert found.graph.length[3] == pytest.approx(np.hypot(20, 3))


def test_a_graph_without_dead_ends_is_left_as_it_is(tmp_path: Path) -> None:
    found = closed(tmp_path, graph_of([(0, 0), (100, 0)]), drive(*ALONG, 1))
    assert (found.candidates, len(found.graph.u)) == (0, 1)


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ((0.0, 3, 10.0), (20.0, 0, 10.0), (20.0, 3, -1.0), (float("nan"), 3, 10.0)):
        with pytest.raises(UsageError):
            GapOptions(*wrong)
