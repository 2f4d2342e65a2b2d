"""Probability → clean mask in bands: what hangs together does so over every seam, as if the picture were one.

The steps are those of `roadedge.roadgraph.skeleton` (hysteresis, holes, small pieces). Each labels the bands one by
one, joins the labels that touch at seams, judges whole pieces, and paints band by band; so the result is that of the
whole picture to the last pixel, and memory is that of a few bands.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import MissingExtraError
from roadedge.roadgraph.trace import TraceOptions
from roadedge.roadmap.scratch import Scratch

Band = tuple[int, int]  # first row and the one after the last
Pixels = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A band's pieces: (L,) weight by label, whether it touches the border; labels of the outer rows."""

    weight: NDArray[np.float64]
    at_border: NDArray[np.bool_]
    top: NDArray[np.int32]
    bottom: NDArray[np.int32]


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose waiting tasks are dropped where the block fails, so that Ctrl-C need not wait for all of them."""
    pool = ThreadPoolExecutor(count, thread_name_prefix="roads")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def clean_bands(
    probability: Scratch,
    road: Scratch,
    bands: Sequence[Band],
    options: TraceOptions,
    gsd_m: float,
    pool: ThreadPoolExecutor,
) -> int:
    """Fill `road` with 1 where `probability` is road by `options`; returns how many pixels are.

    Args:
        probability: (H, W) uint8, 255 = certain.
        road: (H, W), written.
        bands: cover all rows, in order.
        options: thresholds, and the least areas of pieces and holes.
        gsd_m: metres per pixel.
        pool: in which bands are worked on.
    """
    low, high = options.low_threshold * 255, options.threshold * 255
    if options.low_threshold >= options.threshold:
        low = high

    def hysteresis(band: Band) -> tuple[Pixels, NDArray[np.float64]]:
        pixels = probability.read(*band)
        return pixels >= low, (pixels >= high).astype(np.float64)

    def keep_strong(band: Band, pieces: Pixels, chosen: Pixels) -> None:
        road.write(band[0], chosen.view(np.uint8))

    _repaint(bands, pool, hysteresis, 8, lambda weight, border: weight > 0, keep_strong)
    least_hole, least_area = options.least_hole_m2 / gsd_m**2, options.least_area_m2 / gsd_m**2

    def fill(band: Band, pieces: Pixels, chosen: Pixels) -> None:
        road.write(band[0], (~pieces | chosen).view(np.uint8))

    def drop(band: Band, pieces: Pixels, chosen: Pixels) -> None:
        road.write(band[0], (pieces & ~chosen).view(np.uint8))

    if least_hole > 1:
        _repaint(bands, pool, lambda band: (road.read(*band) == 0, None), 4,
                 lambda weight, border: (weight < least_hole) & ~border, fill)  # fmt: skip
    if least_area > 1:
        _repaint(bands, pool, lambda band: (road.read(*band) != 0, None), 8,
                 lambda weight, border: weight < least_area, drop)  # fmt: skip
    return sum(pool.map(lambda band: int(np.count_nonzero(road.read(*band))), bands))


def _repaint(
    bands: Sequence[Band],
    pool: ThreadPoolExecutor,
    pieces_of: Callable[[Band], tuple[Pixels, NDArray[np.float64] | None]],
    connectivity: int,
    judge: Callable[[NDArray[np.float64], Pixels], Pixels],
    paint: Callable[[Band, Pixels, Pixels], None],
) -> None:
    """Judge whole pieces by the sum of their pixels' weights (None: each 1), and paint each band.

    `paint` is given the band, all its pieces, and those pixels whose piece was chosen.
    """

    def look(band: Band) -> Labelled:
        pieces, weight = pieces_of(band)
        label, count = _labels(pieces, connectivity)
        border = np.zeros(count, np.bool_)
        sides = [label[:, 0], label[:, -1]]
        sides += [label[0]] if band[0] == 0 else []
        sides += [label[-1]] if band[1] == bands[-1][1] else []
        for side in sides:
            border[side] = True
        weights = None if weight is None else weight.ravel()
        total = np.bincount(label.ravel(), weights, minlength=count).astype(np.float64)
        return Labelled(total, border, label[0].copy(), label[-1].copy())

    chosen = _judged(list(pool.map(look, bands)), connectivity, judge)

    def apply(number: int) -> None:
        pieces, _ = pieces_of(bands[number])
        label, _ = _labels(pieces, connectivity)
        paint(bands[number], pieces, chosen[number][label])

    for _ in pool.map(apply, range(len(bands))):
        pass


def _labels(pieces: Pixels, connectivity: int) -> tuple[NDArray[np.int32], int]:
    import cv2

    count, label = cv2.connectedComponents(pieces.view(np.uint8), connectivity=connectivity, ltype=cv2.CV_32S)
    return np.asarray(label, np.int32), count


def _judged(
    bands: list[Labelled], connectivity: int, judge: Callable[[NDArray[np.float64], Pixels], Pixels]
) -> list[Pixels]:
    """For each band (L,) whether the piece that a label is part of was chosen; label 0, no piece, never is."""
    try:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components
    except ImportError as error:
        raise MissingExtraError("scipy", "graph", "joining pieces of roads over the seams of strips") from error

    offsets = np.cumsum([0, *(len(band.weight) for band in bands)])
    pairs = [
        _touching(above.bottom, below.top, connectivity) + offsets[number : number + 2, None]
        for number, (above, below) in enumerate(itertools.pairwise(bands))
    ]
    first, second = np.concatenate([np.empty((2, 0), np.int64), *pairs], axis=1)
    count = int(offsets[-1])
    links = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    number_of, group = connected_components(links, directed=False)
    weights = np.concatenate([band.weight for band in bands])
    weight = np.bincount(group, weights, minlength=number_of).astype(np.float64)
    border = np.zeros(number_of, np.bool_)
    border[group[np.concatenate([band.at_border for band in bands])]] = True
    chosen = judge(weight, border)[group]
    chosen[offsets[:-1]] = False
    return [np.asarray(part) for part in np.split(chosen, offsets[1:-1])]


def _touching(above: NDArray[np.int32], below: NDArray[np.int32], connectivity: int) -> NDArray[np.int64]:
    """(2, K) labels of two rows, one below the other, that touch."""
    found = [np.stack([above, below])]
    if connectivity == 8:
        found += [np.stack([above[1:], below[:-1]]), np.stack([above[:-1], below[1:]])]
    pairs = np.concatenate(found, axis=1).astype(np.int64)
    return np.asarray(np.unique(pairs[:, (pairs > 0).all(axis=0)], axis=1), np.int64)
