"""Mask → graph on shapes worked by hand, on borders, and on real labels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import MissingExtraError, ShapeError, UsageError
from roadedge.imagery import read_mask
from roadedge.place import Place
from roadedge.roadgraph import RoadGraph, TraceOptions, trace
from roadedge.roadgraph.drawing import draw
from tests.roadgraph.shapes import Mask, components, cycles, degrees, ring, roads

pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
SIZE = (200, 200)
RAW = TraceOptions(
    least_area_m2=0, least_hole_m2=0, spur_m=0, least_length_m=0, simplify_m=0, simplify_px=0, merge=False
)


def outline(left: int, top: int, right: int, bottom: int) -> list[tuple[int, int]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def quarter_turns(mask: Mask) -> list[Mask]:
    return [np.ascontiguousarray(np.rot90(mask, turns)) for turns in range(4)]


def test_a_square_is_one_loop_as_long_as_its_sides() -> None:
    graph = trace(roads(SIZE, outline(40, 40, 160, 160)), gsd_m=0.5)
    assert degrees(graph) == [2]
    assert graph.u.tolist() == graph.v.tolist() == [0]
    assert graph.total_length == pytest.approx(240, rel=0.02)


def test_a_cross_has_one_junction_and_four_roads_that_leave() -> None:
    graph = trace(roads(SIZE, [(100, 0), (100, 199)], [(0, 100), (199, 100)]), gsd_m=0.5)
    assert degrees(graph) == [1, 1, 1, 1, 4]
    assert graph.total_length == pytest.approx(200, rel=0.01)
    assert graph.width == pytest.approx([4.5] * 4)  # OpenCV draws 7 as 9
    ends = graph.nodes[graph.degree == 1]
    assert np.minimum(ends, 200 - ends).min(axis=1).max() <= 0.5  # on the border itself


def test_a_roundabout_keeps_its_ring() -> None:
    mask = ring(SIZE, (100, 100), 30) | roads(
        SIZE, [(100, 0), (100, 70)], [(100, 130), (100, 199)], [(130, 100), (199, 100)]
    )
    graph = trace(mask, gsd_m=0.5)
    assert degrees(graph) == [1, 1, 1, 3, 3, 3]
    assert cycles(graph) == 1
    assert graph.total_length == pytest.approx(np.pi * 30 + 3 * 35, rel=0.03)


def test_a_dual_carriageway_stays_two_roads() -> None:
    lanes = roads(SIZE, [(20, 90), (180, 90)], [(20, 110), (180, 110)], [(20, 90), (20, 110)], [(180, 90), (180, 110)])
    graph = trace(lanes | roads(SIZE, [(0, 100), (20, 100)], [(180, 100), (199, 100)]), gsd_m=0.5)
    assert degrees(graph) == [1, 1, 3, 3]
    pairs = sorted(tuple(sorted(pair)) for pair in zip(graph.u.tolist(), graph.v.tolist(), strict=True))
    assert len(pairs) == len(set(pairs)) + 1  # the two carriageways join the same nodes


def test_a_cul_de_sac_ends_where_it_ends() -> None:
    graph = trace(roads(SIZE, [(0, 100), (199, 100)], [(100, 100), (100, 40)], width=11), gsd_m=0.5)
    assert degrees(graph) == [1, 1, 1, 3]
    end = graph.nodes[graph.degree == 1]
    assert end[np.argmin(end[:, 1])] == pytest.approx([100.5, 35], abs=2.5)


def test_a_short_driveway_is_pruned_and_its_road_is_whole() -> None:
    graph = trace(roads(SIZE, [(0, 100), (199, 100)], [(100, 100), (100, 92)], width=9), gsd_m=0.5)
    assert degrees(graph) == [1, 1]
    assert graph.total_length == pytest.approx(100, rel=0.01)


def test_short_strokes_go_unless_they_lead_out_of_the_picture() -> None:
    strokes = roads(SIZE, [(50, 50), (70, 50)], [(100, 199), (100, 185)], [(0, 150), (60, 150)])
    graph = trace(strokes, gsd_m=0.5)
    assert components(graph) == 2
    assert sorted(graph.length) == pytest.approx([9, 32], abs=1.5)
    assert components(trace(strokes, TraceOptions(least_length_m=0), gsd_m=0.5)) == 3


def test_a_road_that_leaves_by_a_corner_leaves_once() -> None:
    for mask in quarter_turns(roads(SIZE, [(0, 4), (199, 190)], width=17)):
        assert degrees(trace(mask, gsd_m=0.5)) == [1, 1]


def test_two_pieces_stay_two() -> None:
    graph = trace(roads(SIZE, [(0, 50), (199, 50)], [(0, 150), (199, 150)]))
    assert (components(graph), len(graph.u), graph.unit) == (2, 2, "px")
    assert graph.length == pytest.approx([199, 199], abs=1)


def test_a_ring_alone_is_a_loop() -> None:
    graph = trace(ring(SIZE, (100, 100), 50), gsd_m=0.5)
    assert degrees(graph) == [2]
    assert graph.total_length == pytest.approx(2 * np.pi * 25, rel=0.02)


def test_a_lollipop_is_a_loop_on_a_stick() -> None:
    graph = trace(ring(SIZE, (100, 60), 30) | roads(SIZE, [(100, 90), (100, 199)]), gsd_m=0.5)
    assert degrees(graph) == [1, 3]
    assert cycles(graph) == 1


def test_wide_roads_cross_in_one_node() -> None:
    crossing = roads(SIZE, [(0, 90), (199, 112)], [(96, 0), (108, 199)], width=25)
    assert degrees(trace(crossing, gsd_m=0.5)) == [1, 1, 1, 1, 4]


def test_a_straight_road_has_no_fork_at_its_ends() -> None:
    graph = trace(roads(SIZE, [(40, 100), (160, 100)], width=21), gsd_m=0.5)
    assert degrees(graph) == [1, 1]
    line = graph.lines[0]
    assert line[:, 1] == pytest.approx([100.5] * len(line), abs=1)
    assert abs(line[-1, 0] - line[0, 0]) == pytest.approx(141, abs=6)  # with half the width at either end


def test_a_slanted_road_leaves_in_its_middle() -> None:
    graph = trace(roads(SIZE, [(0, 40), (199, 160)], width=21), gsd_m=0.5)
    assert degrees(graph) == [1, 1]
    for x, y in graph.nodes:
        assert y == pytest.approx(40.5 + (x - 0.5) * 120 / 199, abs=4)


def test_masks_that_end_before_the_border_lead_to_it() -> None:
    mask = roads(SIZE, [(0, 40), (199, 160)], width=21)
    for side in (mask[:3], mask[-3:], mask[:, :3], mask[:, -3:]):
        side[:] = False
    graph = trace(mask, gsd_m=0.5)
    assert degrees(graph) == [1, 1]
    assert sorted(graph.nodes[:, 0]) == pytest.approx([0.5, 199.5])


def test_a_road_along_the_border_is_not_lost() -> None:
    for mask in quarter_turns(roads(SIZE, [(0, 2), (199, 2)], width=5)):
        graph = trace(mask, gsd_m=0.5)
        assert graph.total_length == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 2), (3, 40)])
def test_small_pictures_full_of_road_are_traced(shape: tuple[int, int]) -> None:
    graph = trace(np.ones(shape, bool), RAW)
    assert np.isfinite(graph.nodes).all()
    assert graph.total_length >= max(shape) * 0.9 or max(shape) < 3


def test_no_road_and_single_pixels_give_no_roads() -> None:
    dots = np.zeros(SIZE, bool)
    assert len(trace(dots).u) == 0
    dots[[0, 50, 199], [0, 60, 199]] = True
    assert len(trace(dots).u) == len(trace(dots, RAW).u) == 0
    assert len(trace(np.zeros((0, 5), bool)).u) == 0


def test_a_mask_full_of_road_gives_a_graph() -> None:
    graph = trace(np.ones(SIZE, bool), gsd_m=0.5)
    assert np.isfinite(graph.nodes).all()


def test_a_quarter_turn_turns_the_graph() -> None:
    mask = ring(SIZE, (100, 100), 30, 6) | roads(
        SIZE, [(0, 30), (199, 60)], [(100, 45), (100, 70)], [(130, 100), (199, 120)]
    )
    found = [trace(turned, gsd_m=0.5) for turned in quarter_turns(mask)]
    assert len({tuple(degrees(graph)) for graph in found}) == 1
    assert [graph.total_length for graph in found] == pytest.approx([found[0].total_length] * 4, rel=0.01)


def test_a_shift_shifts_the_graph() -> None:
    mask = roads(SIZE, outline(40, 40, 120, 110), [(120, 60), (160, 60)])
    here, there = trace(mask, gsd_m=0.5), trace(np.roll(mask, (25, 13), (0, 1)), gsd_m=0.5)
    np.testing.assert_allclose(there.nodes, here.nodes + np.array([13, 25]))
    np.testing.assert_allclose(there.length, here.length)


def test_tracing_what_was_drawn_gives_the_skeleton_back() -> None:
    mask = ring(SIZE, (100, 100), 40) | roads(SIZE, [(0, 30), (199, 60)], [(100, 45), (100, 60)])
    first = trace(mask, RAW)
    drawn = draw(first, SIZE)
    again = draw(trace(drawn, RAW), SIZE)
    near = roads(SIZE, *[np.rint(line - 0.5).astype(int).tolist() for line in first.lines], width=3)
    assert not (again & ~near).any()
    assert degrees(trace(drawn, RAW)) == degrees(first)


def test_confidence_is_the_mean_probability_along_the_road() -> None:
    probability = np.where(roads(SIZE, [(0, 100), (199, 100)]), 204, 0).astype(np.uint8)
    assert trace(probability).confidence == pytest.approx([0.8], abs=0.01)
    assert trace(probability / np.float32(255)).confidence == pytest.approx([0.8], abs=0.01)
    assert np.isnan(trace(probability > 0).confidence).all()


def test_weak_road_counts_where_it_hangs_together_with_strong_road() -> None:
    probability = np.zeros(SIZE, np.uint8)
    probability[97:104] = 100  # 0.39: below the threshold, above the low one
    assert len(trace(probability).u) == 0
    probability[97:104, :60] = 200
    assert trace(probability).length == pytest.approx([199], abs=1)
    assert trace(probability, TraceOptions(low_threshold=0.5)).length == pytest.approx([60], abs=4)


def test_tolerances_are_metres() -> None:
    mask = roads(SIZE, [(0, 100), (199, 100)], [(100, 100), (100, 70)])
    assert degrees(trace(mask, gsd_m=0.5)) == [1, 1, 1, 3]
    assert degrees(trace(mask, gsd_m=0.2)) == [1, 1]  # the side road is 5 m long now
    assert degrees(trace(mask, gsd_m=0.1)) == []  # and all of it 18 m²


def test_holes_below_the_tolerance_are_filled() -> None:
    mask = roads(SIZE, [(0, 100), (199, 100)], width=15)
    mask[98:102, 98:102] = False
    assert cycles(trace(mask, gsd_m=0.5)) == 0
    assert cycles(trace(mask, TraceOptions(least_hole_m2=0), gsd_m=0.5)) == 1


def test_with_a_place_the_graph_lies_on_the_ground() -> None:
    place = Place.nadir((1000.0, 2000.0), 0.5, SIZE, crs="EPSG:26916")
    graph = trace(roads(SIZE, [(0, 100), (199, 100)]), place=place)
    assert (graph.crs, graph.unit) == ("EPSG:26916", "m")
    assert sorted(graph.nodes[:, 0]) == pytest.approx([950.25, 1049.75])
    assert graph.nodes[:, 1] == pytest.approx([1999.75] * 2)
    assert graph.total_length == pytest.approx(99.5)
    assert graph.width == pytest.approx([4.5])


@pytest.mark.parametrize(
    ("road", "error", "says"),
    [
        (np.full((4, 4), np.nan), ShapeError, "without NaN"),
        (np.full((4, 4), 200.0), ShapeError, "0 ... 255 must be uint8"),
        (np.ones((4, 4), np.int32), ShapeError, "int32"),
        (np.ones((4, 4, 1), bool), ShapeError, "shape"),
    ],
)
def test_what_is_no_probability_is_refused(road: np.ndarray, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        trace(road)


def test_options_out_of_range_are_refused() -> None:
    for wrong in ({"threshold": 0.2}, {"low_threshold": 0.0}, {"spur_m": -1.0}, {"simplify_m": float("nan")}):
        with pytest.raises(UsageError):
            TraceOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="ground sample distance"):
        trace(np.ones((4, 4), bool), gsd_m=0.0)


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtraError, match=r"roadedge\[graph\]"):
        trace(np.ones((40, 40), bool))


def test_real_labels_give_graphs_that_cover_them(real_data: Path) -> None:
    for path in sorted((real_data / "tianjin" / "mask").glob("*.png"))[::15]:
        mask = read_mask(path) == 255
        graph = trace(mask, gsd_m=0.464)
        assert graph.total_length > 100
        within = draw(graph, (512, 512)) & mask
        assert within.sum() > 0.9 * draw(graph, (512, 512)).sum()  # simplified by a metre, carried on to the border
        assert isinstance(graph, RoadGraph)
        wide = draw(graph, (512, 512), width_px=None)
        assert (wide & mask).sum() / (wide | mask).sum() > 0.5
