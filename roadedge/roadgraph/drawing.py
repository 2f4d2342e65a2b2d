"""Road graphs → pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import SpecMismatchError
from roadedge.roadgraph.graph import PIXEL, RoadGraph

_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
_BY_DISTANCE = 8.0  # from this radius on distances to all lines at once are faster than a disc at each pixel of them


def draw(graph: RoadGraph, size: tuple[int, int], width_px: float | None = 1) -> NDArray[np.bool_]:
    """The roads as an (H, W) bool mask.

    Args:
        graph: in pixels.
        size: height and width.
        width_px: of the lines; 1 draws centre lines, None each road as wide as it is (1 where that is unknown).

    Raises:
        SpecMismatchError: the graph does not lie in pixels.
    """
    import cv2

    if graph.crs != PIXEL:
        raise SpecMismatchError(f"only a road graph in pixels can be drawn on an image, this one lies in {graph.crs!r}")
    canvas = np.zeros(size, np.bool_)
    widths = np.array(
        [_width_px(graph, number) if width_px is None else width_px for number in range(len(graph.lines))]
    )
    for wide in np.unique(widths):
        centre = np.zeros(size, np.uint8)
        for number in np.flatnonzero(widths == wide):
            vertices = np.rint((graph.lines[number] - 0.5) * 2**_SHIFT).astype(np.int32)  # OpenCV counts from centres
            cv2.polylines(centre, [vertices[:, None]], False, 1, 1, cv2.LINE_8, _SHIFT)
        canvas |= _within(centre, (float(wide) - 1) / 2)
    return canvas


def _within(centre: NDArray[np.uint8], radius: float) -> NDArray[np.bool_]:
    """Pixels within `radius` of those that are 1; OpenCV's own thick lines come out up to two pixels too wide."""
    import cv2

    if radius < 1 or not centre.any():
        return centre.astype(np.bool_)
    if radius > _BY_DISTANCE:
        away = cv2.distanceTransform(1 - centre, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(away <= radius, np.bool_)
    rows, columns = np.ogrid[-int(radius) : int(radius) + 1, -int(radius) : int(radius) + 1]
    disc = (rows**2 + columns**2 <= radius**2).astype(np.uint8)
    return np.asarray(cv2.dilate(centre, disc), np.bool_)


def _width_px(graph: RoadGraph, number: int) -> float:
    wide = float(graph.width[number])
    if np.isnan(wide) or graph.unit == "px":
        return 1.0 if np.isnan(wide) else wide
    line = graph.lines[number]
    along = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
    return wide * along / max(float(graph.length[number]), 1e-12)
