"""The roads of a map as tables: what stands in the columns of edges and nodes, whatever file they go to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.roadgraph.graph import RoadGraph
from roadedge.roadmap.traffic import KMH, UNKNOWN_ONEWAY, Traffic


@dataclass(frozen=True, slots=True, eq=False)
class RoadTable:
    """A road graph in metres, (E,) which edges bridge a gap and by how many trips, and its traffic where points were.

    One-way roads run in the direction of their line: `with_traffic` turns those that do not.
    """

    graph: RoadGraph
    bridged: NDArray[np.bool_]
    traffic: Traffic | None = None

    @classmethod
    def with_traffic(cls, graph: RoadGraph, bridged: NDArray[np.bool_], traffic: Traffic | None) -> RoadTable:
        """Put both together; lines of roads that are driven one way are turned that way."""
        if traffic is None:
            return cls(graph, bridged)
        against = traffic.oneway == -1
        lines = tuple(line[::-1] if turn else line for line, turn in zip(graph.lines, against, strict=True))
        u, v = np.where(against, graph.v, graph.u), np.where(against, graph.u, graph.v)
        graph = replace(graph, u=u, v=v, lines=lines, speed_kmh=traffic.speed_kmh)
        return cls(graph, bridged, replace(traffic, oneway=np.where(against, 1, traffic.oneway).astype(np.int8)))

    def edges(self) -> dict[str, NDArray[Any]]:
        """(E,) columns by name; unknown are NaN in floating ones and masked in whole ones (`numpy.ma`)."""
        graph, traffic = self.graph, self.traffic
        count = len(graph.u)
        unknown = np.ma.MaskedArray(np.zeros(count, np.int32), np.ones(count, np.bool_))
        speed = graph.speed_kmh
        with np.errstate(invalid="ignore", divide="ignore"):
            travel = graph.length / (speed / KMH)
        return {
            "u": graph.u,
            "v": graph.v,
            "length_m": graph.length.round(3),
            "width_m": graph.width.round(2),
            "confidence": graph.confidence.round(4),
            "n_trips": unknown if traffic is None else np.ma.masked_less(traffic.n_trips.astype(np.int32), 0),
            "speed_kmh": speed.round(1),
            "oneway": unknown
            if traffic is None
            else np.ma.masked_equal(traffic.oneway.astype(np.int32), UNKNOWN_ONEWAY),
            "travel_time_s": travel.round(2),
            "bridged": self.bridged.astype(np.int32),
        }

    def nodes(self) -> dict[str, NDArray[Any]]:
        """(N,) columns by name; a junction is where three ends of roads or more meet."""
        degree = self.graph.degree
        return {"id": np.arange(len(degree)), "degree": degree, "junction": (degree >= 3).astype(np.int32)}


def tidy(graph: RoadGraph) -> tuple[RoadGraph, dict[str, int]]:
    """The graph without lines that are none, and how many went by reason.

    Without length are lines of fewer than a millimetre, doubled those that another edge has too, point by point.
    """
    if not graph.lines:
        return graph, {"without_length": 0, "doubled": 0}
    short = graph.length < 1e-3
    seen: set[tuple[int, int, bytes]] = set()
    doubled = np.zeros(len(short), np.bool_)
    for number in np.flatnonzero(~short).tolist():
        line = graph.lines[number]
        name = min(
            (int(graph.u[number]), int(graph.v[number]), line.tobytes()),
            (int(graph.v[number]), int(graph.u[number]), line[::-1].tobytes()),
        )
        doubled[number] = name in seen
        seen.add(name)
    counts = {"without_length": int(short.sum()), "doubled": int(doubled.sum())}
    return (graph.kept(~(short | doubled)) if any(counts.values()) else graph), counts
