"""Road graphs cut off at the border of a picture, so that a map of a city can be held against one tile of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadedge.roadgraph import RoadGraph
from roadedge.roadgraph.graph import Line, measure
from roadedge.roadgraph.joining import join_by_vertices


def clip(graph: RoadGraph, size: tuple[int, int]) -> RoadGraph:
    """What of a graph in pixels lies in an (H, W) picture. One that lies in it as a whole is returned as it is.

    Parts meet wherever they share a vertex; each has the width, confidence and speed of its road, and as much longer a
    length than its line as its road had.
    """
    low, high = np.zeros(2), np.array([size[1], size[0]], np.float64)
    if not graph.lines or all(((line >= low) & (line <= high)).all() for line in graph.lines):
        return graph
    pieces = [(edge, piece) for edge, line in enumerate(graph.lines) for piece in _inside(line, low, high)]
    edges = np.array([edge for edge, _ in pieces], np.int64)
    columns = {"width": graph.width[edges], "confidence": graph.confidence[edges], "speed_kmh": graph.speed_kmh[edges]}
    drawn = float(measure(graph.lines).sum())
    scale = graph.total_length / drawn if drawn else 1.0
    return join_by_vertices([piece for _, piece in pieces], columns, graph.crs, graph.unit, scale=scale)


def _inside(line: Line, low: NDArray[np.float64], high: NDArray[np.float64]) -> list[Line]:
    """The pieces of a polyline in a rectangle.

    Source: Y.-D. Liang, B. A. Barsky, A new concept and method for line clipping, 1984.
    """
    start, step = line[:-1], np.diff(line, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.stack([(low - start) / step, (high - start) / step])
    still = step == 0
    outside = still & ((start < low) | (start > high))
    enter = np.where(still, 0.0, reach.min(axis=0)).max(axis=1).clip(0, 1)
    leave = np.where(still, 1.0, reach.max(axis=0)).min(axis=1).clip(0, 1)
    seen = (enter < leave) & ~outside.any(axis=1)
    pieces: list[list[NDArray[np.float64]]] = []
    goes_on = False
    for number in range(len(step)):
        if not seen[number]:
            goes_on = False
            continue
        if not (goes_on and enter[number] == 0):
            pieces.append([start[number] if enter[number] == 0 else start[number] + enter[number] * step[number]])
        whole = leave[number] == 1
        pieces[-1].append(line[number + 1] if whole else start[number] + leave[number] * step[number])
        goes_on = bool(whole)
    return [np.array(piece) for piece in pieces]
