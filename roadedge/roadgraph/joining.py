"""Lines of a file → a road graph: by the nodes that the file names, or wherever lines share a vertex."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.roadgraph.graph import LONLAT, Line, RoadGraph, Unit, measure
from roadedge.trajectory.plane import LocalPlane

Columns = dict[str, NDArray[np.float64]]


def join_named(
    lines: Sequence[Line],
    ends: NDArray[np.int64],
    lone: Sequence[tuple[int, Line]],
    columns: Columns,
    crs: str,
    unit: Unit,
) -> RoadGraph:
    """The graph of lines whose nodes have numbers.

    Args:
        lines: (K, 2) each.
        ends: (E, 2) numbers of the nodes of each line.
        lone: number and x, y of nodes that were written themselves.
        columns: `length`, `width`, `confidence`, `speed_kmh`, (E,) each.
        crs: of the coordinates.
        unit: of length and width.

    Raises:
        DataError: one number at two places.
    """
    numbers = np.concatenate([ends.ravel(), np.array([number for number, _ in lone], np.int64)])
    places = np.array([*(line[at] for line in lines for at in (0, -1)), *(place for _, place in lone)]).reshape(-1, 2)
    names, first, index = np.unique(numbers, return_index=True, return_inverse=True)
    nodes = places[first]
    astray = (places != nodes[index]).any(axis=1)
    if astray.any():
        name = int(names[index[np.argmax(astray)]])
        raise DataError(
            f"node {name} lies at two places; take `u` and `v` out of edited lines, to join them by their ends"
        )
    u, v = index[: 2 * len(lines)].reshape(-1, 2).T
    return RoadGraph(nodes, u, v, tuple(lines), **columns, crs=crs, unit=unit)


def join_by_vertices(
    lines: Sequence[Line], columns: Columns, crs: str, unit: Unit, lone: Sequence[Line] = (), scale: float = 1.0
) -> RoadGraph:
    """The graph of lines that meet wherever they share a vertex, also in the middle of one; each part is a road.

    A part has the width, confidence and speed of its line; its length is measured: in degrees on a plane that touches
    in their midst, else as the coordinates are times `scale`. Lines without a length, and equal vertices in a row, go.

    Args:
        lines: (K, 2) each.
        columns: `width`, `confidence`, `speed_kmh`, (E,) each, or some or none of them.
        crs: of the coordinates.
        unit: of length and width.
        lone: x, y of nodes that stand by themselves.
        scale: units of length per unit of the coordinates.
    """
    tidy = [line[np.concatenate([[True], (np.diff(line, axis=0) != 0).any(axis=1)])] for line in lines]
    kept = [number for number, line in enumerate(tidy) if len(line) > 1]
    every = np.concatenate([*(tidy[number] for number in kept), np.reshape(lone, (-1, 2))]).reshape(-1, 2)
    _, vertex, times = np.unique(every, axis=0, return_inverse=True, return_counts=True)
    shared = times[vertex.ravel()] > 1
    parts: list[Line] = []
    origin: list[int] = []
    at = 0
    for number in kept:
        line = tidy[number]
        cuts = np.flatnonzero(shared[at : at + len(line)])
        cuts = np.unique(np.concatenate([[0], cuts, [len(line) - 1]]))
        parts += [line[a : b + 1] for a, b in itertools.pairwise(cuts)]
        origin += [number] * (len(cuts) - 1)
        at += len(line)
    ends = np.array([line[at] for line in parts for at in (0, -1)]).reshape(-1, 2)
    nodes, index = np.unique(np.concatenate([ends, np.reshape(lone, (-1, 2))]), axis=0, return_inverse=True)
    u, v = index.ravel()[: 2 * len(parts)].reshape(-1, 2).T
    facts = {name: values[origin] for name, values in columns.items() if name != "length" and values.size}
    return RoadGraph(nodes, u, v, tuple(parts), lengths_of(parts, crs) * scale, **facts, crs=crs, unit=unit)


def lengths_of(lines: Sequence[Line], crs: str) -> NDArray[np.float64]:
    """(E,) lengths in the unit of the coordinates, of degrees in metres on the plane that touches in their midst."""
    if crs != LONLAT or not lines:
        return measure(lines)
    plane = LocalPlane.about(np.concatenate(lines))
    return measure([plane.from_lonlat(line) for line in lines])


def check_degrees(lines: Sequence[Line]) -> None:
    """Refuse longitudes and latitudes that do not exist, such as metres, pixels, or a latitude in front of a longitude.

    Raises:
        DataError: there are such.
    """
    if not lines:
        return
    every = np.concatenate(lines)
    far = np.abs(every) / [360.0, 90.0]
    if far.max() > 1:
        x, y = every[int(np.argmax(far.max(axis=1)))]
        degrees = max(abs(x), abs(y)) <= 360
        hint = "longitude comes first" if degrees else "metres need their CRS, pixels a crs_name of pixel"
        raise DataError(f"{x:.9g}, {y:.9g} is no longitude and latitude; {hint}")


def column(facts: Sequence[Any], key: str) -> NDArray[np.float64]:
    """(E,) numbers of one property, NaN where it is absent or null."""
    return np.array([np.nan if one.get(key) is None else float(one[key]) for one in facts], np.float64)
