"""Points → heat-map: count per pixel, logarithm over a fixed maximum, 3 x 3 Gaussian, uint8.

A few thousand points take the NumPy way at once. Millions go through it in chunks, and from `KERNEL_MIN_POINTS` on
through compiled loops where numba is installed; the counts are the same integers on every way, in any order of points.

Source: CMMPNet, section III (count, log, Gaussian); the fixed maximum, sigma and borders are our choice. The binary
rendering is the base channel of Sun et al., CVPR 2019.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import ShapeError, UnknownNameError
from roadedge.spec import HeatmapSpec

CHUNK = 1 << 20  # points at a time on the NumPy way: some 40 MB of temporaries
KERNEL_MIN_POINTS = 5_000_000  # below, importing numba costs more than its loops save
KERNEL_MIN_POINTS_ONE_MAP = 100_000_000  # of one map, which NumPy counts well: numba's import takes 0.4 s and 107 MB


def rasterize(
    points: NDArray[Any], size: tuple[int, int], spec: HeatmapSpec, rendering: str = "log"
) -> NDArray[np.uint8]:
    """Draw points as the heat-map that the network sees.

    Args:
        points: (N, >= 2) x, y in pixels, (0, 0) the upper left corner. Points outside, NaN or infinite are dropped.
        size: height and width in pixels.
        spec: the rasteriser's constants.
        rendering: a name of `RENDERINGS`.

    Returns:
        (H, W) uint8; zeros without points.
    """
    return _rendering(rendering)(count_points(points, size), spec)


def rasterize_tiles(
    points: NDArray[Any],
    tile: tuple[int, int],
    grid: tuple[int, int],
    spec: HeatmapSpec,
    rendering: str = "log",
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Draw a grid of tiles in one pass; arguments as for `count_tiles`, yields (row, column, (H, W) uint8).

    Each map equals `rasterize` of the points moved by its corner: what lies outside a tile does not blur into it.
    """
    draw = _rendering(rendering)
    for row, column, counts in count_tiles(points, tile, grid):
        yield row, column, draw(counts, spec)


def count_points(points: NDArray[Any], size: tuple[int, int]) -> NDArray[np.uint32]:
    """Points per pixel, (H, W); arguments as for `rasterize`.

    Raises:
        ShapeError: `points` is not (N, >= 2).
    """
    x, y = _columns(points)
    height, width = size
    least = KERNEL_MIN_POINTS if "numba" in sys.modules else KERNEL_MIN_POINTS_ONE_MAP
    kernels = _kernels() if len(x) >= least else None
    if kernels is not None:
        try:
            counts = np.zeros(size, np.uint32)
            kernels.count(x, y, counts)
        except OSError:  # the compiler's cache cannot be written: count below, from nothing
            pass
        else:
            return counts
    flat = np.zeros(height * width, np.uint32)
    for column, row in _inside(x, y, height, width):
        index = row * width + column
        if 8 * len(index) > len(flat):
            flat += np.bincount(index, minlength=len(flat)).astype(np.uint32)
        else:  # a bincount of the whole raster would cost more than the points
            np.add.at(flat, index, np.uint32(1))
    return flat.reshape(size)


def count_tiles(
    points: NDArray[Any], tile: tuple[int, int], grid: tuple[int, int]
) -> Iterator[tuple[int, int, NDArray[np.uint32]]]:
    """Points per pixel of each tile of a grid; the points are sorted by tile once, beyond them 4 bytes a point.

    Args:
        points: (N, >= 2) x, y in pixels of the whole grid; those outside, NaN or infinite are dropped.
        tile: height and width of a tile in pixels.
        grid: rows and columns of tiles.

    Yields:
        (row, column, (H, W) counts), row by row; tiles without points too.
    """
    x, y = _columns(points)
    starts, pixel = _sort_by_tile(x, y, tile, grid)
    for index in range(grid[0] * grid[1]):
        counts = np.zeros(tile[0] * tile[1], np.uint32)
        np.add.at(counts, pixel[starts[index] : starts[index + 1]], np.uint32(1))
        yield index // grid[1], index % grid[1], counts.reshape(tile)


def heatmap_from_counts(counts: NDArray[Any], spec: HeatmapSpec) -> NDArray[np.uint8]:
    """(H, W) counts → (H, W) uint8: log(1 + n) / log(1 + n_max), at most 1; 3 x 3 Gaussian, zero outside; times 255."""
    import cv2

    kernel = cv2.getGaussianKernel(3, spec.sigma_px, cv2.CV_32F)
    smooth = cv2.sepFilter2D(_level(counts, spec.n_max), cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(cv2.convertScaleAbs(smooth, alpha=255), np.uint8)  # rounds half to even, as np.rint does


def heatmap_of_tile_maximum(counts: NDArray[Any], spec: HeatmapSpec) -> NDArray[np.uint8]:
    """As `heatmap_from_counts` with the busiest pixel in place of `spec.n_max`: tiles are then not comparable."""
    busiest = float(counts.max(initial=0))
    return heatmap_from_counts(counts, HeatmapSpec(n_max=max(busiest, 1.0), sigma_px=spec.sigma_px))


def binary_from_counts(counts: NDArray[Any], spec: HeatmapSpec) -> NDArray[np.uint8]:
    """(H, W) counts → (H, W) uint8: 255 in the 3 x 3 block about each pixel with a point; `spec` has no part in it."""
    import cv2

    presence = np.where(counts > 0, np.uint8(255), np.uint8(0))
    return np.asarray(cv2.dilate(presence, np.ones((3, 3), np.uint8)), np.uint8)


RENDERINGS: dict[str, Callable[[NDArray[Any], HeatmapSpec], NDArray[np.uint8]]] = {
    "log": heatmap_from_counts,
    "log-tile-maximum": heatmap_of_tile_maximum,
    "binary": binary_from_counts,
}


def fit_n_max(counts: Iterable[NDArray[Any]], percentile: float = 99.0) -> float:
    """The `n_max` of a data set: that percentile of the counts of all pixels with a point, at least 1.

    Args:
        counts: the (H, W) counts of each tile, as `count_points` gives them.
        percentile: in [0, 100].
    """
    pixels_with = np.zeros(0, np.int64)  # [n] = pixels that hold n points
    for tile in counts:
        more = np.bincount(tile[tile > 0].astype(np.int64))
        length = max(len(more), len(pixels_with))
        pixels_with = np.pad(pixels_with, (0, length - len(pixels_with))) + np.pad(more, (0, length - len(more)))
    if not pixels_with.any():
        return 1.0
    reached = np.cumsum(pixels_with) >= percentile / 100 * pixels_with.sum()
    return max(1.0, float(np.argmax(reached)))


def _rendering(name: str) -> Callable[[NDArray[Any], HeatmapSpec], NDArray[np.uint8]]:
    if name not in RENDERINGS:
        raise UnknownNameError("rendering", name, RENDERINGS)
    return RENDERINGS[name]


def _level(counts: NDArray[Any], n_max: float) -> NDArray[np.float32]:
    """log(1 + n) / log(1 + n_max), at most 1: by a table where it ends within a byte, since 1 is reached at n_max."""
    import cv2

    by_table = n_max <= 255
    number = np.arange(256, dtype=np.float32) if by_table else counts.astype(np.float32)
    level = np.minimum(np.log1p(number) / np.float32(np.log1p(n_max)), np.float32(1))
    if by_table:
        level = np.asarray(cv2.LUT(np.minimum(counts, 255).astype(np.uint8), level), np.float32)
    return level


def _columns(points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if points.ndim != 2 or points.shape[1] < 2:
        raise ShapeError(f"points must have shape (N, >= 2): x, y in pixels; got {points.shape}")
    return points[:, 0], points[:, 1]


def _inside(
    x: NDArray[Any], y: NDArray[Any], height: int, width: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Whole (column, row) of the points inside, chunk by chunk."""
    for start in range(0, len(x), CHUNK):
        # In float64 whatever came, as the compiled loops compare: a border beyond 2**24 has no float32.
        column = x[start : start + CHUNK].astype(np.float64, copy=False)
        row = y[start : start + CHUNK].astype(np.float64, copy=False)
        with np.errstate(invalid="ignore"):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)  # NaN compares false
        yield column[inside].astype(np.int64), row[inside].astype(np.int64)  # not negative: truncation is floor


def _sort_by_tile(
    x: NDArray[Any], y: NDArray[Any], tile: tuple[int, int], grid: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Counting sort: (tiles + 1,) where each tile's points start, and the pixel index of each point in its tile."""
    (height, width), (rows, columns) = tile, grid
    totals = np.zeros(rows * columns, np.int64)
    kernels = _kernels() if len(x) >= KERNEL_MIN_POINTS else None
    if kernels is not None:
        try:
            kernels.count_per_tile(x, y, height, width, rows, columns, totals)
            starts = _starts(totals)
            pixel = np.empty(starts[-1], np.uint32)
            kernels.scatter_to_tiles(x, y, height, width, rows, columns, starts[:-1].copy(), pixel)
        except OSError:  # the compiler's cache cannot be written: sort below, from nothing
            totals[:] = 0
        else:
            return starts, pixel
    for column, row in _inside(x, y, rows * height, columns * width):
        totals += np.bincount(row // height * columns + column // width, minlength=len(totals))
    starts = _starts(totals)
    pixel, cursor = np.empty(starts[-1], np.uint32), starts[:-1].copy()
    for column, row in _inside(x, y, rows * height, columns * width):
        of_tile = row // height * columns + column // width
        # Sixteen bits, where they hold the number of tiles, make NumPy's stable sort a radix sort.
        order = np.argsort(of_tile.astype(np.uint16) if len(totals) <= 1 << 16 else of_tile, kind="stable")
        here = np.bincount(of_tile, minlength=len(totals))
        move = cursor - (np.cumsum(here) - here)  # from the place in this chunk to the place in all
        pixel[np.arange(len(order)) + move[of_tile[order]]] = (row % height * width + column % width)[order]
        cursor += here
    return starts, pixel


def _starts(totals: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(totals)])


@functools.cache
def _kernels() -> ModuleType | None:
    """The compiled loops, or None where numba is not installed or does not fit the installed NumPy."""
    try:
        from roadedge.trajectory import kernels
    except ImportError:
        return None
    return kernels
