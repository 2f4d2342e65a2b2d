"""Every pixel lies in a window, with a positive weight, whatever the sizes; cells share out the scene."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadedge.errors import UsageError
from roadedge.roadmap.blending import blend_cell
from roadedge.roadmap.tiling import TilePlan, plan_tiles

STRIDE = 32


@st.composite
def plans(draw: st.DrawFn) -> TilePlan:
    size = draw(st.tuples(st.integers(1, 900), st.integers(1, 900)))
    side = draw(st.integers(1, 12)) * STRIDE
    overlap = draw(st.integers(0, side // 2 // STRIDE * STRIDE))
    fixed = draw(st.sampled_from([None, (side, side)]))
    return plan_tiles(size, STRIDE, overlap, fixed, side)


@settings(max_examples=150, deadline=None)
@given(plans())
def test_every_pixel_is_covered_with_positive_weight(plan: TilePlan) -> None:
    for axis in (plan.rows, plan.columns):
        total = np.zeros(max(axis.length, axis.starts[-1] + axis.side), np.uint32)
        for index, start in enumerate(axis.starts):
            weights = axis.weights(index, start, start + axis.side)
            assert weights.min() >= 1
            total[start : start + axis.side] += weights
        assert total[: axis.length].min() >= 1


@settings(max_examples=100, deadline=None)
@given(plans())
def test_cells_share_out_the_scene_and_lie_in_their_windows(plan: TilePlan) -> None:
    seen = np.zeros((plan.rows.length, plan.columns.length), np.uint8)
    for tile in range(len(plan)):
        y0, x0, y1, x1 = plan.cell(tile)
        top, left = plan.corner(tile)
        assert (y0, x0) == (top, left)
        assert y1 <= top + plan.rows.side
        assert x1 <= left + plan.columns.side
        seen[y0:y1, x0:x1] += 1
    assert (seen == 1).all()


@settings(max_examples=100, deadline=None)
@given(plans())
def test_windows_start_on_the_stride_and_share_what_was_asked(plan: TilePlan) -> None:
    for axis in (plan.rows, plan.columns):
        assert all(start % STRIDE == 0 for start in axis.starts)
        assert all(a + axis.side - b >= axis.ramp for a, b in zip(axis.starts, axis.starts[1:], strict=False))
        assert axis.side % STRIDE == 0


@settings(max_examples=60, deadline=None)
@given(plans(), st.integers(0, 2**32 - 1))
def test_the_map_is_the_weighted_mean_of_its_tiles(plan: TilePlan, seed: int) -> None:
    height, width = plan.window
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 256, (len(plan), height, width), dtype=np.uint8)
    sums = np.zeros((plan.rows.starts[-1] + height, plan.columns.starts[-1] + width))
    weights = np.zeros_like(sums)
    for tile in range(len(plan)):
        row, column = plan.position(tile)
        top, left = plan.corner(tile)
        weight = np.outer(
            plan.rows.weights(row, top, top + height).astype(float),
            plan.columns.weights(column, left, left + width).astype(float),
        )
        sums[top : top + height, left : left + width] += weight * tiles[tile]
        weights[top : top + height, left : left + width] += weight

    def fetch(tile: int, y0: int, x0: int, y1: int, x1: int) -> np.typing.NDArray[np.uint8]:
        top, left = plan.corner(tile)
        part: np.typing.NDArray[np.uint8] = tiles[tile][y0 - top : y1 - top, x0 - left : x1 - left]
        assert part.shape == (y1 - y0, x1 - x0)
        assert tile in needed
        return part

    for tile in range(len(plan)):
        needed = plan.needed(tile)
        y0, x0, y1, x1 = plan.cell(tile)
        want = np.floor(sums / weights + 0.5)[y0:y1, x0:x1]
        assert np.abs(blend_cell(plan, tile, fetch) - want).max() == 0


def test_tiles_that_agree_are_not_changed() -> None:
    plan = plan_tiles((300, 500), STRIDE, 64, None, 192)
    cell = blend_cell(plan, 4, lambda tile, y0, x0, y1, x1: np.full((y1 - y0, x1 - x0), 255, np.uint8))
    assert (cell == 255).all()


def test_windows_are_no_larger_than_as_many_need() -> None:
    plan = plan_tiles((20_000, 20_000), STRIDE, 64, None, 2048)
    assert len(plan) == 121
    assert plan.window == (1888, 1888)
    assert plan.overlap == 64


def test_a_scene_smaller_than_a_tile_is_one_window() -> None:
    assert plan_tiles((100, 40), STRIDE, 64, None, 1024).window == (128, 64)
    assert plan_tiles((100, 40), STRIDE, 64, (512, 512)).window == (512, 512)


@pytest.mark.parametrize(("overlap", "fixed", "most"), [(300, (512, 512), 512), (64, None, 20), (-1, None, 512)])
def test_what_leaves_windows_nothing_of_their_own_is_refused(
    overlap: int, fixed: tuple[int, int] | None, most: int
) -> None:
    with pytest.raises(UsageError):
        plan_tiles((2000, 2000), STRIDE, overlap, fixed, most)
