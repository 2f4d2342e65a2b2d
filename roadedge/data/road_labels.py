"""Labels of what multi-task networks learn beside the mask, drawn from a road graph: connectivity and orientation.

They are drawn for each crop anew, after it was turned and scaled, because an angle does not survive a turn and a class
number no resampling. What takes long, tracing the graph, is done once for a mask (`traced_roads`).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from roadedge.roadgraph.drawing import draw
from roadedge.roadgraph.graph import PIXEL, Line, RoadGraph
from roadedge.roadgraph.trace import simplify

Classes = NDArray[np.uint8]
Wanted = tuple[tuple[str, int], ...]  # task and scale of each label
IGNORED_CLASS = 255
CONNECTIVITY_CLASSES = 5  # 0 no road, else how many ways lead on: 1 dead end, 2 stretch, 3 junction, 4 crossing
ORIENTATION_CLASSES = 37  # 36 steps of ten degrees, and no road
NO_ROAD = 36
STRIP_PX = 6.0
REACH_PX = 10.0
_OPEN_PX = 4.0  # of the mask: a road that ends so near to what is not known goes on there


def connectivity(roads: RoadGraph, mask: Classes, scale: int = 1, strip_px: float = STRIP_PX) -> Classes:
    """How many ways lead on from each pixel of a road.

    Args:
        roads: in pixels of the mask.
        mask: (H, W) uint8, of which 128 is ignored.
        scale: the label is drawn at 1 / scale of the mask's size.
        strip_px: width of the roads and of the discs at their nodes, in pixels of the mask, at least two of the label.

    Returns:
        (H / scale, W / scale) uint8: 0 no road, 1 dead end, 2 stretch of road, 3 junction of three, 4 of four and more;
        255 ignored. A road that ends at the border or where the mask is ignored counts as one that goes on.

    Source: the classes of joint connectivity (arXiv 2312.04744), whose generator is not published; inferred from them.
    """
    mask, roads = _at_scale(mask, scale), _scaled(roads, scale)
    wide = max(strip_px / scale, 2.0)
    classes = np.where(_strips(roads, mask.shape, wide), 2, 0).astype(np.uint8)
    ways = np.minimum(roads.degree, 4)
    ways[(ways == 1) & _near_unknown(roads.nodes, mask, max(_OPEN_PX / scale, 1.0))] = 2
    for number in (1, 3, 4):
        classes[_discs(roads.nodes[ways == number], mask.shape[:2], wide / 2)] = number
    classes[mask == 128] = IGNORED_CLASS
    return classes


def orientation(roads: RoadGraph, mask: Classes, scale: int = 1, reach_px: float = REACH_PX) -> Classes:
    """Which way the road runs on which a pixel lies, in steps of ten degrees.

    Each road is simplified by four pixels at full size, two at 1/2 and one at 1/4, and directed away from its end that
    is farther from the upper left corner. Pixels within `reach_px` (of the label, at every scale) of a segment's line
    and of its box get its angle; a later segment paints over an earlier one.

    Returns:
        (H / scale, W / scale) uint8: k for an angle of 10 k to 10 k + 10 degrees from x to y, 36 no road, 255 ignored.

    Source: CU-dGCN's labels, after Batra et al., improved road connectivity by joint learning, CVPR 2019.
    """
    mask, roads = _at_scale(mask, scale), _scaled(roads, scale)
    classes = np.full(mask.shape, NO_ROAD, np.uint8)
    for line in roads.lines:
        points = _directed(simplify(line, 4.0 / scale), mask.shape[:2]) - 0.5
        for begin, end in pairwise(points):
            _paint(classes, begin, end, reach_px)
    classes[mask == 128] = IGNORED_CLASS
    return classes


LABELS: dict[str, Callable[[RoadGraph, Classes, int], Classes]] = {
    "connectivity": connectivity,
    "orientation": orientation,
}


def label_key(task: str, scale: int) -> str:
    """The name of a label in a batch."""
    return f"{task}/{scale}"


def moved_roads(roads: RoadGraph, matrix: NDArray[np.float64], side: int) -> RoadGraph:
    """The roads that reach into a square crop, by the (2, 3) matrix that maps corner coordinates to the crop's."""
    moved = roads.moved(lambda xy: np.asarray(xy) @ matrix[:, :2].T + matrix[:, 2], PIXEL)
    inside = [bool((line.max(0) >= -REACH_PX).all() and (line.min(0) <= side + REACH_PX).all()) for line in moved.lines]
    if all(inside):
        return moved
    # Ends of roads that stay keep the number of ways that they had: one beside the crop is nobody's dead end.
    return _kept_with_degree(moved, np.array(inside, np.bool_))


def _kept_with_degree(roads: RoadGraph, kept: NDArray[np.bool_]) -> RoadGraph:
    touched = np.zeros(len(roads.nodes), np.bool_)
    touched[roads.u[kept]] = touched[roads.v[kept]] = True
    return roads.kept(kept | touched[roads.u] | touched[roads.v])


def _at_scale(mask: Classes, scale: int) -> Classes:
    return mask[scale // 2 :: scale, scale // 2 :: scale]


def _scaled(roads: RoadGraph, scale: int) -> RoadGraph:
    return roads if scale == 1 else roads.moved(lambda xy: np.asarray(xy) / scale, PIXEL)


def _strips(roads: RoadGraph, size: tuple[int, ...], wide: float) -> NDArray[np.bool_]:
    """(H, W) pixels of strips along the roads, also of those whose middle runs beside the picture."""
    beside = int(np.ceil(wide / 2)) + 1
    height, width = size
    drawn = draw(
        roads.moved(lambda xy: np.asarray(xy) + beside, PIXEL), (height + 2 * beside, width + 2 * beside), wide
    )
    return drawn[beside : beside + height, beside : beside + width]


def _discs(centres: Line, size: tuple[int, ...], radius: float) -> NDArray[np.bool_]:
    """(H, W) pixels within `radius` of one of the pixels in which the points lie."""
    plane = np.zeros(size, np.bool_)
    row, column = _around(centres, radius)
    inside = (row >= 0) & (column >= 0) & (row < size[0]) & (column < size[1])
    plane[row[inside], column[inside]] = True
    return plane


def _near_unknown(nodes: Line, mask: Classes, reach: float) -> NDArray[np.bool_]:
    """(N,) whether a node lies beside pixels that are ignored, or beside the border."""
    unknown = np.pad(mask == 128, 1, constant_values=True)
    row, column = (at + 1 for at in _around(nodes, reach))
    found = unknown[row.clip(0, unknown.shape[0] - 1), column.clip(0, unknown.shape[1] - 1)]
    return np.asarray(found.any(1), np.bool_)


def _around(points: Line, radius: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N, K) rows and columns of the pixels within `radius` of that of each point, from centre to centre."""
    most = int(radius)
    rows, columns = np.mgrid[-most : most + 1, -most : most + 1].reshape(2, -1)
    near = rows**2 + columns**2 <= radius**2
    column, row = np.floor(points).astype(np.int64).reshape(-1, 2).T
    return row[:, None] + rows[near], column[:, None] + columns[near]


def _directed(line: Line, size: tuple[int, ...]) -> Line:
    """The line with its farther end from the origin first, as far as it can be seen."""
    low, high = np.minimum(line[:-1], line[1:]), np.maximum(line[:-1], line[1:])
    seen = np.flatnonzero((high >= 0).all(1) & (low <= (size[1], size[0])).all(1))
    if not seen.size:
        return line
    ends = np.stack([line[seen[0]], line[seen[-1] + 1]]).clip(0, (size[1], size[0]))
    first, last = np.linalg.norm(ends, axis=1)
    return line if first >= last else line[::-1]


def _paint(classes: Classes, begin: Line, end: Line, reach: float) -> None:
    """Give the pixels along one segment, in coordinates of pixel centres, its angle's class."""
    step = end - begin
    length = float(np.hypot(*step))
    low = np.maximum(np.ceil(np.minimum(begin, end) - reach), 0).astype(int)
    high = np.minimum(np.floor(np.maximum(begin, end) + reach) + 1, classes.shape[::-1]).astype(int)
    if length == 0 or (high <= low).any():
        return
    y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
    away = np.abs((x - begin[0]) * step[1] - (y - begin[1]) * step[0]) / length
    degrees = np.degrees(np.arctan2(step[1], step[0])) % 360
    classes[low[1] : high[1], low[0] : high[0]][away <= reach] = min(int(degrees // 10), NO_ROAD - 1)
