"""Probability or mask → clean mask → skeleton that runs on to the border where a road leaves the picture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import MissingExtraError, ShapeError
from roadedge.sample import check_shape

_LOADING = threading.Lock()
_OBLIQUE = 4.0  # a road leaves the picture where its cut is at most so many half widths long, down to 30 degrees
_MOST_PADDING = 64
_RIM = 4  # drawn masks, and networks that learnt from them, often end up to three pixels before the border
_WHOLE = 0.75  # a row that keeps less than this of a road's cut is where it was cut off


def hysteresis(probability: NDArray[Any], high: float, low: float) -> NDArray[np.bool_]:
    """Pixels at or above `low` that hang together (by sides or corners) with one at or above `high`.

    Args:
        probability: (H, W) uint8 with 255 = certain, floating in [0, 1], or bool, which is returned as it is.
        high: in (0, 1).
        low: in (0, high].

    Raises:
        ShapeError: another shape or type, or a value outside [0, 1].
    """
    import cv2

    check_shape("probability", probability, (None, None))
    if probability.dtype == np.bool_:
        return np.asarray(probability, np.bool_)
    if np.issubdtype(probability.dtype, np.floating):
        if probability.size and not (probability.min() >= 0 and probability.max() <= 1):  # NaN fails both
            raise ShapeError("a floating probability must lie in [0, 1] without NaN; one in 0 ... 255 must be uint8")
        scale = 1.0
    elif probability.dtype == np.uint8:
        scale = 255.0
    else:
        raise ShapeError(f"probability must be uint8, floating or bool, got {probability.dtype}")
    weak, strong = probability >= low * scale, probability >= high * scale
    if low >= high or not strong.any():
        return np.asarray(strong)
    count, label = cv2.connectedComponents(weak.view(np.uint8), connectivity=8)
    chosen = np.zeros(count, np.bool_)
    chosen[label[strong]] = True
    return np.asarray(chosen[label], np.bool_)


def clean(mask: NDArray[np.bool_], least_area: float, least_hole: float) -> NDArray[np.bool_]:
    """Fill holes of fewer than `least_hole` pixels, then take away pieces of fewer than `least_area`.

    Pieces hang together by sides or corners, holes by sides. What touches the border is no hole, since it may go on.
    """
    mask = mask.copy()
    if least_hole > 1 and mask.any():
        _repaint(mask, ~mask, least_hole, connectivity=4, spare_border=True, road=True)
    if least_area > 1 and mask.any():
        _repaint(mask, mask, least_area, connectivity=8, spare_border=False, road=False)
    return mask


def skeletonize(
    mask: NDArray[np.bool_], half_width: NDArray[np.float32], cut: tuple[bool, bool] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The skeleton by Zhang and Suen's thinning, and which of its pixels leave the picture.

    Roads that cross the border are carried on beyond it before thinning, so that the skeleton reaches the border where
    the road does and does not fork there. Roads that run along the border are not.

    Args:
        mask: (H, W) bool.
        half_width: `half_widths(mask)`.
        cut: of a strip of a larger picture, whether more of it lies above and below: no road is carried on there.

    Returns:
        (H, W) bool skeleton, and (H, W) bool: its pixels on the border by which a road leaves.

    Raises:
        MissingExtraError: scikit-image is not installed.

    Source: T. Y. Zhang and C. Y. Suen, A fast parallel algorithm for thinning digital patterns, 1984.
    """
    thinned = _thinning()
    height, width = mask.shape
    if not mask.any():
        return np.zeros_like(mask), np.zeros_like(mask)
    padded, leaves, padding = _carry_on(mask, half_width, cut)
    thin: NDArray[np.bool_] = thinned(padded)
    skeleton = np.ascontiguousarray(thin[padding : padding + height, padding : padding + width])
    return skeleton, leaves & skeleton


def _thinning() -> Callable[[NDArray[np.bool_]], NDArray[np.bool_]]:
    """scikit-image's; its modules load their parts late and are found half-made by a second thread that loads them."""
    with _LOADING:
        try:
            from skimage import morphology
        except ImportError as error:
            raise MissingExtraError("scikit-image", "graph", "tracing roads in a mask") from error
        return morphology.skeletonize


def half_widths(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(H, W) pixels: half as wide as the road is whose middle a pixel would be; beyond the picture there is no road.

    That is the distance to the nearest pixel beside the road, to 2 %, less that pixel's own half; 0 beside the road.
    """
    import cv2

    ringed = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = np.asarray(cv2.distanceTransform(ringed, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)[1:-1, 1:-1]
    np.subtract(distance, 0.5, out=distance)
    return np.maximum(distance, 0.0, out=distance)


def looked_up(half_width: NDArray[np.float32]) -> Callable[[NDArray[np.float64]], NDArray[np.float32]]:
    """What says of (N, 2) x, y the value of an (H, W) picture there, 0 outside of it."""
    height, width = half_width.shape

    def at(points: NDArray[np.float64]) -> NDArray[np.float32]:
        columns, rows = np.floor(points).astype(np.int64).T
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        found = np.zeros(len(points), np.float32)
        found[inside] = half_width[rows[inside], columns[inside]]
        return found

    return at


def _repaint(
    mask: NDArray[np.bool_], pieces: NDArray[np.bool_], least: float, connectivity: int, spare_border: bool, road: bool
) -> None:
    """Set the connected pieces of fewer than `least` pixels to `road` in the mask."""
    import cv2

    # OpenCV's statistics take seven times as long as its labels, and counting the labels a fraction of that.
    count, label = cv2.connectedComponents(pieces.view(np.uint8), connectivity=connectivity)
    small = np.bincount(label.ravel(), minlength=count) < least
    small[0] = False
    if spare_border:
        for side in (label[0], label[-1], label[:, 0], label[:, -1]):
            small[side] = False
    if small.any():
        mask[small[label]] = road


def _carry_on(
    mask: NDArray[np.bool_], half: NDArray[np.float32], cut: tuple[bool, bool] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], int]:
    """The mask with a margin, into which the roads run that leave; where on the border they do; the margin's width."""
    rim = min(_RIM, (min(mask.shape) - 1) // 4)
    runs = [_crossings(side[rim], near[rim:]) for side, near in zip(_turned(mask), _turned(half), strict=True)]
    if cut is not None:
        runs = _uncut(runs, cut, len(mask))
    _settle_corners(runs, mask.shape)
    longest = max((stop - start for side in runs for start, stop in side), default=0)
    # The thinning of the far end stays outside the picture. Strips all have the same, lest it tell where they end.
    padding = min(longest // 2 + 3, _MOST_PADDING) if cut is None else _MOST_PADDING
    padded, leaves = np.pad(mask, padding), np.zeros_like(mask)
    for side, border, found in zip(_turned(padded), _turned(leaves), runs, strict=True):
        for run in found:
            start, stop = _outermost(side[padding : padding + rim], run, padding)
            side[:padding, start + padding : stop + padding] = True
            border[0, start:stop] = True
    return padded, leaves, padding


def widest_exit(mask: NDArray[np.bool_], half_width: NDArray[np.float32]) -> int:
    """Length in pixels of the longest cut by which a road leaves to the left or right; as wide a road is carried on."""
    rim = min(_RIM, (min(mask.shape) - 1) // 4)
    sides = list(zip(_turned(mask), _turned(half_width), strict=True))[2:]
    runs = [run for side, near in sides for run in _crossings(side[rim], near[rim:])]
    return max((stop - start for start, stop in runs), default=0)


def _uncut(runs: list[list[tuple[int, int]]], cut: tuple[bool, bool], height: int) -> list[list[tuple[int, int]]]:
    """Runs of a strip without those on the rows where it was cut, or at the sides up to there: they may be longer."""
    above, below, *sides = runs
    kept = [
        [run for run in side if not (cut[0] and run[0] == 0) and not (cut[1] and run[1] == height)] for side in sides
    ]
    return [[] if cut[0] else above, [] if cut[1] else below, *kept]


def _settle_corners(runs: list[list[tuple[int, int]]], size: tuple[int, ...]) -> None:
    """A road that leaves by a corner leaves by one side of it only, the one on which its cut is longer."""
    height, width = size
    for side, end, other, far in ((0, 0, 2, 0), (0, width, 3, 0), (1, 0, 2, height), (1, width, 3, height)):
        one = next((run for run in runs[side] if min(abs(end - run[0]), abs(end - run[1])) <= _RIM), None)
        two = next((run for run in runs[other] if min(abs(far - run[0]), abs(far - run[1])) <= _RIM), None)
        if one and two:
            shorter = side if one[1] - one[0] < two[1] - two[0] else other
            runs[shorter].remove(one if shorter == side else two)


def _outermost(rim: NDArray[np.bool_], run: tuple[int, int], padding: int) -> tuple[int, int]:
    """Follow a run outwards to where it is cut off; from there on its columns are road, and no crumbs beside them."""
    start, stop = run
    for row in range(len(rim) - 1, -1, -1):
        line = rim[row, padding:-padding]
        near = [(a, b) for a, b in _runs(line) if a < stop and b > start]
        if len(near) != 1 or near[0][1] - near[0][0] < _WHOLE * (stop - start):
            for a, b in near:
                rim[: row + 1, a + padding : b + padding] = False
            rim[: row + 1, start + padding : stop + padding] = True
            break
        start, stop = near[0]
    return start, stop


def _turned(array: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Views whose first rows are the top, the bottom, the left and the right of a picture."""
    return array, array[::-1], array.T, array.T[::-1]


def _crossings(side: NDArray[np.bool_], half: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Runs of road on a line along the border, as (start, stop), that cut through a road and are not its flank.

    `half` are half widths of road from that line inwards.
    """
    found = []
    for start, stop in _runs(side):
        length = stop - start
        inside = half[: length + 1, max(start - length, 0) : stop + length]
        if length <= _OBLIQUE * float(inside.max()) + 1:
            found.append((start, stop))
    return found


def _runs(line: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where a line of pixels is True, as (start, stop)."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
    return list(zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True))
