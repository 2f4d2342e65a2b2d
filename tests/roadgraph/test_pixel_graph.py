"""Tracing of a skeleton: each pixel once, each hole a cycle, nothing depends on where up is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from roadedge.errors import ShapeError
from roadedge.roadgraph.pixel_graph import PixelGraph, trace_skeleton
from tests.roadgraph.shapes import picture

ANY_MASK = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    morphology = pytest.importorskip("skimage.morphology")
    return np.asarray(morphology.skeletonize(mask), np.bool_)


def degrees(graph: PixelGraph) -> list[int]:
    return sorted(np.bincount(np.concatenate([graph.u, graph.v]), minlength=len(graph.centres)).tolist())


def drawn(graph: PixelGraph, size: tuple[int, ...]) -> NDArray[np.int64]:
    """How many nodes and edges each pixel belongs to."""
    count = np.zeros(size, np.int64)
    held = graph.node_of >= 0
    np.add.at(count, (graph.rows[held], graph.columns[held]), 1)
    for chain in graph.chains:
        np.add.at(count, (graph.rows[chain], graph.columns[chain]), 1)
    return count


def facts(graph: PixelGraph) -> list[tuple[float, ...]]:
    """Edges as sorted lengths and ends, whatever their order and direction."""
    found = []
    for edge in range(len(graph.u)):
        line = graph.line(edge)
        length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
        ends = sorted(map(tuple, line[[0, -1]].tolist())) if graph.u[edge] != graph.v[edge] else [(0.0, 0.0)] * 2
        found.append((round(float(length), 6), *np.round(np.ravel(ends), 6).tolist()))
    return sorted(found)


def holes(mask: NDArray[np.bool_]) -> int:
    return int(cv2.connectedComponents((~np.pad(mask, 1)).astype(np.uint8), connectivity=4)[0]) - 2


def pieces(mask: NDArray[np.bool_]) -> int:
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1


@given(ANY_MASK)
@settings(max_examples=150, deadline=None)
def test_each_pixel_belongs_to_one_node_or_one_edge(mask: NDArray[np.bool_]) -> None:
    assert (drawn(trace_skeleton(mask), mask.shape) == mask).all()


@given(ANY_MASK)
@settings(max_examples=100, deadline=None)
def test_each_hole_of_the_skeleton_is_one_cycle_unless_a_node_holds_it(mask: NDArray[np.bool_]) -> None:
    skeleton = thin(mask)
    graph = trace_skeleton(skeleton)
    inside = 0
    for node in range(len(graph.centres)):
        alone = np.zeros_like(skeleton)
        own = graph.node_of == node
        alone[graph.rows[own], graph.columns[own]] = True
        inside += holes(alone)
    assert len(graph.u) - len(graph.centres) + pieces(skeleton) == holes(skeleton) - inside


@given(ANY_MASK)
@settings(max_examples=100, deadline=None)
def test_lines_step_from_pixel_to_pixel_and_end_in_their_nodes(mask: NDArray[np.bool_]) -> None:
    graph = trace_skeleton(mask)
    assert (graph.node_of[graph.ends[:, 0]] == graph.u).all()
    assert (graph.node_of[graph.ends[:, 1]] == graph.v).all()
    for chain, (first, last) in zip(graph.chains, graph.ends, strict=True):
        pixels = np.concatenate([[first], chain, [last]])
        steps = np.abs(np.diff(graph.positions(pixels), axis=0)).max(axis=1)
        assert (steps == 1).all()


@given(ANY_MASK, st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_a_quarter_turn_of_the_skeleton_turns_the_graph(mask: NDArray[np.bool_], turns: int) -> None:
    skeleton = thin(mask)
    there = trace_skeleton(np.ascontiguousarray(np.rot90(skeleton, turns)))
    here = trace_skeleton(skeleton)
    height, width = skeleton.shape
    for _ in range(turns):  # x, y → y, width - x
        centres = np.stack([here.centres[:, 1], width - here.centres[:, 0]], axis=1)
        columns, rows = here.rows, width - 1 - here.columns
        here = PixelGraph(rows, columns, here.node_of, centres, here.u, here.v, here.chains, here.ends)
        height, width = width, height
    pure = [edge for edge in range(len(here.u)) if here.u[edge] == here.v[edge]]
    assert facts(there) == facts(here) or pure  # where the node of a ring lies is up to the order of its pixels
    assert degrees(there) == degrees(here)
    assert [one[0] for one in facts(there)] == pytest.approx([one[0] for one in facts(here)])


@given(ANY_MASK, st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=50, deadline=None)
def test_a_shift_of_the_skeleton_shifts_the_graph(mask: NDArray[np.bool_], down: int, right: int) -> None:
    here = trace_skeleton(mask)
    there = trace_skeleton(np.pad(mask, ((down, 1), (right, 2))))
    np.testing.assert_allclose(there.centres, here.centres + np.array([right, down]))
    assert all((a == b).all() for a, b in zip(there.chains, here.chains, strict=True))


@pytest.mark.parametrize(
    ("rows", "want"),
    [
        (["#...", ".#..", "..#.", "...#"], [1, 1]),
        (["##..", ".##.", "..##"], [1, 1]),  # a staircase
        (["..#..", "..#..", "#####", "..#..", "..#.."], [1, 1, 1, 1, 4]),
        (["#...#", ".#.#.", "..#..", ".#.#.", "#...#"], [1, 1, 1, 1, 4]),
        (["#####", "..#..", "..#.."], [1, 1, 1, 3]),
        ([".##.", "#..#", "#..#", ".##."], [2]),  # a ring
        (["#"], [0]),
        (["##"], [1, 1]),
        (["##", "##"], [0]),
        ([".##...", "#..###", ".##..."], [1, 3]),  # a lollipop
        (["#...#", "#...#", "#####", "#...#", "#...#"], [1, 1, 1, 1, 3, 3]),
        (["#.#", "#.#"], [1, 1, 1, 1]),
        ([".#.#.", "#.#.#", ".#.#."], [4]),  # a figure of eight: two loops at one node
    ],
)
def test_shapes_worked_by_hand(rows: list[str], want: list[int]) -> None:
    assert degrees(trace_skeleton(picture(*rows))) == want


def test_parallel_edges_are_two() -> None:
    graph = trace_skeleton(picture("..###..", "##...##", "..###.."))
    assert degrees(graph) == [1, 1, 3, 3]
    pairs = sorted(tuple(sorted(pair)) for pair in zip(graph.u.tolist(), graph.v.tolist(), strict=True))
    assert len(pairs) - len(set(pairs)) == 1


def test_a_mask_without_road_has_an_empty_graph() -> None:
    graph = trace_skeleton(np.zeros((4, 5), bool))
    assert graph.centres.shape == (0, 2)
    assert graph.chains == ()


def test_only_a_picture_of_booleans_is_traced() -> None:
    with pytest.raises(ShapeError, match="must be bool, got uint8"):
        trace_skeleton(np.zeros((4, 5), np.uint8))
    with pytest.raises(ShapeError, match="shape"):
        trace_skeleton(np.zeros((4, 5, 1), bool))
