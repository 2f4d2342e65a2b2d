"""A whole mosaic's skeleton in strips, and its road graph as if it had been traced in one piece.

Thinning takes away a layer of a road at a time, and what it does to a pixel depends only on what lies two pixels away
for each layer. So a strip that is read with a margin of a few road widths has, but for the margin, the very skeleton of
the whole picture. Its pixels alone are kept (a kilometre of road is about a thousand), and traced together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.roadgraph.graph import RoadGraph
from roadedge.roadgraph.skeleton import half_widths, looked_up, skeletonize, widest_exit
from roadedge.roadgraph.trace import SkeletonPixels, TraceOptions, connect
from roadedge.roadmap.clean_mask import Band, clean_bands, threads
from roadedge.roadmap.scratch import Scratch

Read = Callable[[int, int], NDArray[np.uint8]]  # first row, row after the last → (h, W) probability
STRIP_CELLS = 6_000_000
LEAST_ROWS, ROW_STEP = 256, 512
MARGIN = 96  # rows read beyond a strip on either side, where no road asks for more
PER_HALF_WIDTH = 8  # margin that a road of such a half width asks for
PER_EXIT = 4  # and one that leaves to the left or right by a cut of such a length
MOST_MARGIN, MARGIN_CELLS = 2048, 12_000_000  # of rows, and of cells so that memory stays in bounds
_NEAR = 24


@dataclass(frozen=True, slots=True)
class Traced:
    """The graph of a picture in its pixels, how much of it is road, and how wide the margin of strips had to be.

    `too_wide` says that some road asked for more margin than memory allows: near seams it may lie otherwise than in one
    piece.
    """

    graph: RoadGraph
    road_cells: int
    skeleton_cells: int
    strips: int
    margin: int
    too_wide: bool = False


def strips_of(size: tuple[int, int], rows: int | None = None) -> list[Band]:
    """Rows cut into strips of about STRIP_CELLS, or of `rows` rows."""
    height, width = size
    if rows is None:
        rows = max(STRIP_CELLS // max(width, 1), LEAST_ROWS)
        rows = max(rows // ROW_STEP * ROW_STEP, LEAST_ROWS)
    return [(start, min(start + rows, height)) for start in range(0, height, rows)]


def trace_in_strips(
    read: Read,
    size: tuple[int, int],
    options: TraceOptions,
    gsd_m: float,
    scratch_folder: Path,
    workers: int = 2,
    rows: int | None = None,
    margin: int = MARGIN,
    tell: Callable[[str, float], None] | None = None,
) -> Traced:
    """The road graph of a probability that is read strip by strip, in pixels of the whole, lengths in metres.

    It is that of the picture traced in one strip, bit by bit. Two exceptions: what is `too_wide`, a road or square of
    several hundred pixels' width; and where more than a few road widths of the left or right border of the whole are
    road, lines near there may end otherwise. What `roadedge.roadgraph.trace` gives for the whole differs from it in how
    roads end at the picture's own border only, by less than a pixel.

    Args:
        read: is called once for each strip, in several threads at once.
        size: (H, W) of the whole.
        options: as for `trace`.
        gsd_m: metres per pixel.
        scratch_folder: where two bytes per pixel are kept meanwhile.
        workers: threads.
        rows: of a strip; by default as many as keep memory in bounds.
        margin: rows read on either side of a strip, at least; wide roads ask for more by themselves.
        tell: is told the step and the share done.

    Raises:
        OutputError: the scratch folder cannot be written or is full.
        MissingExtraError: scikit-image or SciPy is not installed.
    """
    strips, say = strips_of(size, rows), tell or (lambda step, share: None)
    if not size[0] or not size[1]:
        return Traced(RoadGraph.empty(unit="m"), 0, 0, 0, margin)
    with Scratch(scratch_folder, size) as probability, Scratch(scratch_folder, size) as road, threads(workers) as pool:

        def load(strip: Band) -> None:
            probability.write(strip[0], read(*strip))

        for number, _ in enumerate(pool.map(load, strips), 1):
            say("read", number / len(strips))
        cells = clean_bands(probability, road, strips, options, gsd_m, pool)
        say("cleaned", 1.0)
        parts = []
        for number, part in enumerate(pool.map(lambda strip: thinned(probability, road, strip, margin), strips), 1):
            parts.append(part)
            say("thinned", number / len(strips))
        widest = max(part.widest for part in parts)
        skeleton = joined([part.pixels for part in parts], road, widest)
        graph = connect(skeleton, options, gsd_m)
        say("traced", 1.0)
    most, too_wide = max(part.margin for part in parts), any(part.too_wide for part in parts)
    return Traced(graph, cells, len(skeleton.rows), len(strips), most, too_wide)


@dataclass(frozen=True, slots=True, eq=False)
class Thinned:
    """The skeleton of a strip, the margin that it took and whether that was enough, and its widest half width."""

    pixels: SkeletonPixels
    margin: int
    too_wide: bool
    widest: float


def thinned(probability: Scratch, road: Scratch, strip: Band, margin: int) -> Thinned:
    """Thin a strip with so much about it as its roads ask for; half widths beside the skeleton are not told yet."""
    start, stop = strip
    height, width = road.size
    most = max(min(MOST_MARGIN, MARGIN_CELLS // width), LEAST_ROWS)
    while True:
        top, bottom = max(start - margin, 0), min(stop + margin, height)
        mask = road.read(top, bottom) != 0
        half = half_widths(mask)
        widest = float(half.max(initial=0))
        needed = max(math.ceil(PER_HALF_WIDTH * widest), PER_EXIT * widest_exit(mask, half)) + 16
        enough = needed <= margin or (top == 0 and bottom == height)
        if enough or margin >= most:
            break
        margin = min(max(needed, 2 * margin), most)
    skeleton, leaving = skeletonize(mask, half, (top > 0, bottom < height))
    own = slice(start - top, stop - top)
    rows, columns = np.nonzero(skeleton[own])
    known = probability.read(start, stop)
    pixels = SkeletonPixels(
        rows + start, columns, half[own][rows, columns], leaving[own][rows, columns], known[rows, columns],
        looked_up(half[:0]),
    )  # fmt: skip
    return Thinned(pixels, margin, not enough, widest)


def joined(parts: Sequence[SkeletonPixels], road: Scratch, widest: float) -> SkeletonPixels:
    """The skeleton of the whole out of those of its strips, in order."""
    rows, columns, half, leaving, probability = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("rows", "columns", "half_width", "leaving", "probability")
    )
    return SkeletonPixels(rows, columns, half, leaving, probability, HalfWidths(rows, columns, half, road, widest))


class HalfWidths:
    """Half widths of roads anywhere: on the skeleton by what is known, elsewhere by looking at the mask about it."""

    def __init__(
        self,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        half_width: NDArray[np.float32],
        road: Scratch,
        widest: float,
    ) -> None:
        """Take the skeleton's pixels in reading order, the mask, and the widest half width of all."""
        self._keys = rows * road.size[1] + columns
        self._ended = np.append(self._keys, -2)  # what lies beyond the last is none of them
        self._half, self._road = half_width, road
        self._around = math.ceil(1.1 * widest) + 3  # so far away lies what decides a pixel's half width

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """(N, 2) x, y → (N,) half widths; 0 beside roads and outside the picture."""
        columns, rows = np.floor(points).astype(np.int64).T
        height, width = self._road.size
        found = np.zeros(len(points), np.float32)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        key = np.where(inside, rows * width + columns, -1)
        place = np.searchsorted(self._keys, key)
        known = inside & (self._ended[place] == key)
        found[known] = self._half[place[known]]
        open_points = np.flatnonzero(inside & ~known)
        while open_points.size:  # those near the first one at once
            first = open_points[0]
            near = (np.abs(rows[open_points] - rows[first]) <= _NEAR) & (
                np.abs(columns[open_points] - columns[first]) <= _NEAR
            )
            asked = open_points[near]
            found[asked] = self._looked_at(rows[asked], columns[asked])
            open_points = open_points[~near]
        return found

    def _looked_at(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        top, left = int(rows.min()) - self._around, int(columns.min()) - self._around
        mask = self._road.window(top, left, int(rows.max()) + self._around + 1, int(columns.max()) + self._around + 1)
        return np.asarray(half_widths(mask != 0)[rows - top, columns - left])
