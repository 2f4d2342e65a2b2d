"""Roads drawn by hand, and what two graphs are compared by."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from roadedge.roadgraph import RoadGraph

Mask = NDArray[np.bool_]


def picture(*rows: str) -> Mask:
    """A mask from text, '#' for road."""
    return np.array([[letter == "#" for letter in row] for row in rows])


def roads(size: tuple[int, int], *lines: list[tuple[int, int]], width: int = 7) -> Mask:
    """A mask of polylines of x, y, all of one width."""
    canvas = np.zeros(size, np.uint8)
    for line in lines:
        cv2.polylines(canvas, [np.array(line, np.int32)], False, 1, width)
    return canvas.astype(bool)


def ring(size: tuple[int, int], centre: tuple[int, int], radius: int, width: int = 7) -> Mask:
    """A mask of one circle."""
    canvas = np.zeros(size, np.uint8)
    cv2.circle(canvas, centre, radius, 1, width)
    return canvas.astype(bool)


def degrees(graph: RoadGraph) -> list[int]:
    """Sorted degrees of the nodes."""
    return sorted(graph.degree.tolist())


def components(graph: RoadGraph) -> int:
    """How many pieces the graph has."""
    group = list(range(len(graph.nodes)))
    for u, v in zip(graph.u.tolist(), graph.v.tolist(), strict=True):
        old, new = group[u], group[v]
        group = [new if one == old else one for one in group]
    return len(set(group))


def cycles(graph: RoadGraph) -> int:
    """How many independent cycles the graph has."""
    return len(graph.u) - len(graph.nodes) + components(graph)
