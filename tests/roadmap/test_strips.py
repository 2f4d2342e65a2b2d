"""Strips against the whole: the same roads, wherever the seams lie."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roadedge.data.city import City
from roadedge.roadgraph import RoadGraph, TraceOptions, trace
from roadedge.roadmap.strips import Traced, strips_of, trace_in_strips
from tests.roadgraph.shapes import Mask, cycles, degrees, ring, roads

pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
PLAIN = TraceOptions(least_length_m=0)


def stripped(
    road: Mask | NDArray[np.uint8], rows: int, margin: int = 96, options: TraceOptions = PLAIN, gsd_m: float = 1.0
) -> Traced:
    pixels = (np.where(road, 255, 0) if road.dtype == np.bool_ else road).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        return trace_in_strips(
            lambda start, stop: pixels[start:stop],
            (pixels.shape[0], pixels.shape[1]),
            options,
            gsd_m,
            Path(folder),
            rows=rows,
            margin=margin,
        )


def assert_same(one: RoadGraph, other: RoadGraph) -> None:
    for name in ("nodes", "u", "v", "length", "width", "confidence"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert all(np.array_equal(a, b) for a, b in zip(one.lines, other.lines, strict=True))


def blobs(seed: int, size: tuple[int, int], sigma: float) -> NDArray[np.uint8]:
    """Noise that hangs together over `sigma` pixels: pieces, holes, bays and bridges of every shape."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal(size), (0, 0), sigma)
    return np.asarray(np.clip(127 + 80 * noise / max(noise.std(), 1e-9), 0, 255), np.uint8)


@pytest.mark.parametrize("width", [5, 9, 21])
def test_a_straight_road_over_many_seams_is_one_edge(width: int) -> None:
    mask = roads((600, 120), [(60, 0), (60, 599)], width=width)
    graph = stripped(mask, rows=50).graph
    assert len(graph.u) == 1
    assert graph.total_length == pytest.approx(600, abs=1.5)
    assert graph.lines[0].shape == (2, 2)


def test_a_slanting_road_is_one_edge_too() -> None:
    graph = stripped(roads((600, 600), [(20, 0), (580, 599)], width=7), rows=64).graph
    assert len(graph.u) == 1


def test_a_ring_over_seams_is_one_loop() -> None:
    graph = stripped(ring((400, 400), (200, 200), 120), rows=60).graph
    assert graph.u.tolist() == graph.v.tolist() == [0]
    assert graph.total_length == pytest.approx(2 * np.pi * 120, rel=0.02)


def test_a_roundabout_on_a_seam_keeps_its_ring_and_its_junctions() -> None:
    mask = ring((200, 200), (100, 100), 30) | roads(
        (200, 200), [(100, 0), (100, 70)], [(100, 130), (100, 199)], [(130, 100), (199, 100)]
    )
    graph = stripped(mask, rows=100).graph
    assert degrees(graph) == [1, 1, 1, 3, 3, 3]
    assert cycles(graph) == 1
    assert_same(graph, stripped(mask, rows=200).graph)


def test_an_empty_mosaic_has_no_roads() -> None:
    found = stripped(np.zeros((300, 200), np.uint8), rows=70)
    assert (len(found.graph.nodes), len(found.graph.u), found.road_cells) == (0, 0, 0)


def test_a_mosaic_that_is_all_road_ends_well() -> None:
    assert_same(stripped(np.ones((150, 90), bool), 40).graph, stripped(np.ones((150, 90), bool), 150).graph)


def test_wide_squares_ask_for_more_margin() -> None:
    mask = np.zeros((600, 400), bool)
    mask[200:400, 100:300] = True
    found = stripped(mask, rows=64, margin=16)
    assert found.margin > 200
    assert_same(found.graph, stripped(mask, rows=600).graph)


@given(
    st.integers(0, 2**32 - 1), st.integers(260, 400), st.integers(100, 160), st.sampled_from([1.2, 1.6, 2.5, 4.0]),
    st.integers(17, 80),
)  # fmt: skip
@settings(max_examples=10, deadline=None, derandomize=True)
def test_any_mask_gives_the_same_roads_in_strips_as_in_one(
    seed: int, height: int, width: int, sigma: float, rows: int
) -> None:
    road = blobs(seed, (height, width), sigma)
    assert_same(stripped(road, rows).graph, stripped(road, height).graph)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.5, 3.0]))
@settings(max_examples=12, deadline=None)
def test_strips_clean_as_the_whole_does_to_the_pixel(seed: int, sigma: float) -> None:
    """Hysteresis, holes and pieces reach over any number of seams."""
    road = blobs(seed, (120, 60), sigma)
    options = TraceOptions(least_hole_m2=60, least_area_m2=200, least_length_m=0)
    whole = trace(road, options, gsd_m=1.0)
    parts = stripped(road, 7, options=options).graph
    assert abs(whole.total_length - parts.total_length) <= 0.03 * whole.total_length + 6


def test_the_city_traced_in_strips_is_the_city_traced_whole() -> None:
    rows, road = 100, City(3, 0.9).window(0, 0, 500, 500).mask
    whole = trace(road, PLAIN, gsd_m=0.9)
    parts = stripped(road, rows, gsd_m=0.9).graph
    assert len(parts.u) == len(whole.u)
    assert parts.total_length == pytest.approx(whole.total_length, rel=1e-3)
    assert cycles(parts) == cycles(whole)


@pytest.mark.parametrize(("height", "rows"), [(1, 5), (5, 5), (6, 5), (1024, 256)])
def test_strips_cover_every_row_once(height: int, rows: int) -> None:
    covered = [row for start, stop in strips_of((height, 10), rows) for row in range(start, stop)]
    assert covered == list(range(height))
