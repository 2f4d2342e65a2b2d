"""The heat-map of the contract: floor and never truncate, one result on every way, in any order."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from roadedge.errors import ShapeError, UnknownNameError
from roadedge.spec import HeatmapSpec
from roadedge.trajectory import heatmap
from roadedge.trajectory.heatmap import (
    RENDERINGS,
    count_points,
    count_tiles,
    fit_n_max,
    heatmap_from_counts,
    rasterize,
    rasterize_tiles,
)

ONE = HeatmapSpec(n_max=1, sigma_px=0.8)
SPEC = HeatmapSpec(n_max=5)
WAYS = ["numpy", "compiled"]
coordinates = st.floats(-50, 120, width=32) | st.sampled_from(
    [np.nan, np.inf, -np.inf, -0.5, -0.0, 0.0, 64.0, 63.999996]
)
clouds = arrays(np.float64, st.tuples(st.integers(0, 60), st.just(2)), elements=coordinates)


def at(*xy: tuple[float, float]) -> NDArray[np.float64]:
    return np.array(xy, np.float64).reshape(-1, 2)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of counting, each on inputs of any size."""
    take_way(request.param, monkeypatch)
    return str(request.param)


def take_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "compiled":
        pytest.importorskip("numba")
        monkeypatch.setattr(heatmap, "KERNEL_MIN_POINTS", 0)
        monkeypatch.setattr(heatmap, "KERNEL_MIN_POINTS_ONE_MAP", 0)
    else:
        monkeypatch.setattr(heatmap, "_kernels", lambda: None)
        monkeypatch.setattr(heatmap, "CHUNK", 1000)


def slow_count(points: NDArray[Any], size: tuple[int, int]) -> NDArray[np.uint32]:
    """The definition, point by point."""
    counts = np.zeros(size, np.uint32)
    for x, y in points[:, :2]:
        if np.isfinite(x) and np.isfinite(y) and 0 <= np.floor(x) < size[1] and 0 <= np.floor(y) < size[0]:
            counts[int(np.floor(y)), int(np.floor(x))] += 1
    return counts


def test_one_point_is_the_gaussian_itself() -> None:
    drawn = rasterize(at((2.5, 2.5)), (5, 5), ONE).astype(float) / 255
    patch = drawn[1:4, 1:4]
    assert patch.sum() == pytest.approx(1, abs=9 * 0.5 / 255)
    assert (drawn == drawn.T).all()
    assert (drawn == drawn[::-1]).all()
    assert drawn.sum() == patch.sum()
    side = np.exp(-1 / (2 * 0.8**2))
    assert patch[1, 1] == pytest.approx(1 / (1 + 2 * side) ** 2, abs=0.5 / 255)


def test_two_points_in_a_pixel_score_more_than_one_but_less_than_twice() -> None:
    spec = HeatmapSpec(n_max=10)
    once, twice = (rasterize(at(*[(2.5, 2.5)] * n), (5, 5), spec)[2, 2] for n in (1, 2))
    assert once < twice < 2 * int(once)


def test_counts_at_and_beyond_n_max_are_full() -> None:
    full = np.full((7, 7), 5, np.uint32)
    assert heatmap_from_counts(full, SPEC)[3, 3] == 255
    assert (heatmap_from_counts(full * 1000, SPEC) == heatmap_from_counts(full, SPEC)).all()


@pytest.mark.parametrize("n_max", [1.0, 2.5, 255.0, 255.5, 1e5])
def test_levels_are_the_logarithm_on_both_sides_of_the_table(n_max: float) -> None:
    counts = np.arange(3000, dtype=np.uint32).reshape(50, 60)
    drawn = heatmap_from_counts(counts, HeatmapSpec(n_max=n_max, sigma_px=1e-3))  # so narrow that it blurs nothing
    assert (drawn == np.rint(255 * np.minimum(np.log1p(counts) / np.log1p(n_max), 1))).mean() > 0.999


@settings(deadline=None)  # a busy machine is no slow function
@given(cloud=clouds, step=st.sampled_from([(1, 0), (0, 1), (3, 2)]))
def test_shifting_the_points_shifts_the_map(cloud: NDArray[np.float64], step: tuple[int, int]) -> None:
    inner = np.round(cloud[np.isfinite(cloud).all(axis=1)]) + 0.25  # a fraction that no shift rounds over an edge
    inner = inner[(inner >= 5).all(axis=1) & (inner < 50).all(axis=1)]
    moved = rasterize(inner + step, (64, 64), SPEC)
    assert (moved == np.roll(rasterize(inner, (64, 64), SPEC), step[::-1], axis=(0, 1))).all()


@settings(deadline=None)
@given(cloud=clouds, seed=st.integers(0, 9))
def test_the_order_of_points_does_not_matter(cloud: NDArray[np.float64], seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(cloud)
    for draw in RENDERINGS:
        assert (rasterize(cloud, (64, 64), SPEC, draw) == rasterize(shuffled, (64, 64), SPEC, draw)).all()


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_no_points_are_zeros(rendering: str, way: str) -> None:
    drawn = rasterize(np.zeros((0, 2)), (4, 6), SPEC, rendering)
    assert drawn.shape == (4, 6)
    assert drawn.dtype == np.uint8
    assert not drawn.any()


@pytest.mark.parametrize(
    "outside",
    [(-0.5, 1), (1, -0.5), (-1e-9, 1), (4, 1), (1, 3), (np.nan, 1), (1, np.nan), (np.inf, 1), (1, -np.inf), (1e300, 1)],
)
def test_points_outside_are_dropped_not_clamped_or_truncated(outside: tuple[float, float], way: str) -> None:
    assert not count_points(at(outside), (3, 4)).any()


def test_borders_are_closed_above_and_open_below(way: str) -> None:
    corners = at((0, 0), (-0.0, 2), (np.nextafter(4, 0), np.nextafter(3, 0)))
    assert count_points(corners, (3, 4)).tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]


@settings(deadline=None)
@given(cloud=clouds)
def test_numpy_counts_as_defined(cloud: NDArray[np.float64]) -> None:
    assert (count_points(cloud, (48, 64)) == slow_count(cloud, (48, 64))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "F", "third column", "reversed", "read-only"])
def test_both_ways_count_alike(dtype: type, layout: str, way: str) -> None:
    cloud: NDArray[Any] = np.random.default_rng(0).uniform(-9, 73, (5000, 3)).astype(dtype)
    cloud[::97, 0], cloud[::89, 1] = np.nan, np.inf
    given_cloud = {
        "C": cloud[:, :2].copy(),
        "F": np.asfortranarray(cloud[:, :2]),
        "third column": cloud,
        "reversed": cloud[::-1],
        "read-only": cloud[:, :2].copy(),
    }[layout]
    given_cloud.flags.writeable = layout != "read-only"
    assert (count_points(given_cloud, (48, 64)) == slow_count(given_cloud, (48, 64))).all()


def test_a_crowded_pixel_loses_none(way: str) -> None:
    assert count_points(np.full((70_000, 2), 1.5), (3, 3))[1, 1] == 70_000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiles_equal_the_map_cut_up(dtype: type, way: str) -> None:
    rng = np.random.default_rng(1)
    cloud: NDArray[Any] = rng.uniform(-20, 220, (20_000, 2)).astype(dtype)
    cloud[::50] = np.nan
    tile, grid = (40, 30), (3, 5)
    whole = count_points(cloud, (tile[0] * grid[0], tile[1] * grid[1]))
    seen = []
    for row, column, counts in count_tiles(cloud, tile, grid):
        seen.append((row, column))
        window = whole[row * tile[0] : (row + 1) * tile[0], column * tile[1] : (column + 1) * tile[1]]
        assert (counts == window).all()
    assert seen == [(row, column) for row in range(3) for column in range(5)]


def test_a_tile_is_drawn_as_it_would_be_alone(way: str) -> None:
    cloud = np.random.default_rng(2).uniform(0, 128, (3000, 2))
    for rendering in RENDERINGS:
        for row, column, drawn in rasterize_tiles(cloud, (64, 32), (2, 4), SPEC, rendering):
            alone = rasterize(cloud - [column * 32, row * 64], (64, 32), SPEC, rendering)
            assert (drawn == alone).all()


def test_tiles_without_points_are_zeros(way: str) -> None:
    assert [counts.sum() for _, _, counts in count_tiles(np.zeros((0, 2)), (4, 4), (2, 2))] == [0, 0, 0, 0]


def test_a_grid_of_more_tiles_than_sixteen_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    take_way("numpy", monkeypatch)
    counts = [c[0, 0] for _, _, c in count_tiles(at((0, 0), (69_999, 0), (1, 0)), (1, 1), (1, 70_000))]
    assert np.flatnonzero(counts).tolist() == [0, 1, 69_999]


def test_a_cache_that_cannot_be_written_costs_time_not_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def count(self, x: object, y: object, counts: NDArray[np.uint32]) -> None:
            counts += 1  # half done
            raise OSError(28, "No space left on device")

        def count_per_tile(self, *arguments: Any) -> None:
            arguments[-1][:] = 7
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(heatmap, "KERNEL_MIN_POINTS", 0)
    monkeypatch.setattr(heatmap, "KERNEL_MIN_POINTS_ONE_MAP", 0)
    monkeypatch.setattr(heatmap, "_kernels", Full)
    cloud = np.random.default_rng(0).uniform(0, 8, (100, 2))
    assert (count_points(cloud, (8, 8)) == slow_count(cloud, (8, 8))).all()
    assert sum(int(c.sum()) for _, _, c in count_tiles(cloud, (4, 4), (2, 2))) == 100


def test_a_training_sample_does_not_load_numba() -> None:
    code = (
        "import sys, numpy as np; from roadedge.trajectory.heatmap import rasterize; "
        "from roadedge.spec import HeatmapSpec; rasterize(np.ones((3000, 2)), (64, 64), HeatmapSpec()); "
        "print('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_binary_is_a_block_of_three_by_three() -> None:
    drawn = rasterize(at((2.5, 3.5), (2.6, 3.1), (0, 0)), (7, 7), SPEC, "binary")
    assert np.unique(drawn).tolist() == [0, 255]
    assert (drawn[2:5, 1:4] == 255).all()
    assert (drawn[:2, :2] == 255).all()
    assert np.count_nonzero(drawn) == 9 + 4


def test_the_tile_maximum_makes_the_busiest_pixel_full_whatever_n_max_says() -> None:
    counts = np.zeros((9, 9), np.uint32)
    counts[1:8, 1:8] = 3
    assert rasterize_counts("log-tile-maximum", counts)[4, 4] == 255
    assert rasterize_counts("log", counts)[4, 4] < 255


def rasterize_counts(rendering: str, counts: NDArray[np.uint32]) -> NDArray[np.uint8]:
    return RENDERINGS[rendering](counts, HeatmapSpec(n_max=50))


def test_n_max_is_a_percentile_of_the_pixels_with_points() -> None:
    tiles = [np.array([[0, 1, 1], [2, 0, 0]], np.uint32), np.array([[9, 1, 1]], np.uint32)]
    assert fit_n_max(tiles, 50) == 1
    assert fit_n_max(tiles, 80) == 2
    assert fit_n_max(tiles, 100) == 9
    assert fit_n_max([np.zeros((3, 3), np.uint32)]) == 1


def test_a_wrong_shape_or_rendering_is_said() -> None:
    with pytest.raises(ShapeError, match=r"\(N, >= 2\)"):
        count_points(np.zeros(4), (3, 3))
    with pytest.raises(UnknownNameError, match="did you mean 'binary'"):
        rasterize(at((1, 1)), (3, 3), SPEC, "binry")
