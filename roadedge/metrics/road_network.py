"""A road graph that can be walked: distances by road between places anywhere on its edges, on SciPy's csgraph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import MissingExtraError, SpecMismatchError
from roadedge.roadgraph.graph import LONLAT, PIXEL, RoadGraph, measure
from roadedge.trajectory.plane import LocalPlane

_CELLS = 1 << 24  # distances that are found together: 128 MB
_CHUNK = 1 << 20  # point-segment pairs that are looked at together: 50 MB


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """P places on the edges of a graph: edge number, distance along it from its node u in the graph's unit."""

    edge: NDArray[np.int64]
    along: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.edge)

    def chosen(self, which: NDArray[Any]) -> Places:
        """Some of them."""
        return Places(self.edge[which], self.along[which])


@dataclass(frozen=True, slots=True, eq=False)
class RoadNetwork:
    """A graph with coordinates in the unit of its lengths.

    `segments` (S, 4) are the x, y of the ends of all pieces of its lines, `edge_of` (S,) their edges, `begins` (S,) how
    far along its edge a piece begins, and `stretch` (E,) how much longer an edge says it is than its line. `cost` (E,)
    is what a unit of length of an edge costs.
    """

    graph: RoadGraph
    segments: NDArray[np.float64]
    edge_of: NDArray[np.int64]
    begins: NDArray[np.float64]
    stretch: NDArray[np.float64]
    cost: NDArray[np.float64]

    def positions(self, places: Places) -> NDArray[np.float64]:
        """(P, 2) x, y of places."""
        first = np.searchsorted(self.edge_of, places.edge, "left")
        last = np.searchsorted(self.edge_of, places.edge, "right") - 1
        key = self.begins + self.edge_of * self._span  # rises along the edges and from each to the next
        piece = np.clip(np.searchsorted(key, places.along + places.edge * self._span, "right") - 1, first, last)
        start, end = self.segments[piece, :2], self.segments[piece, 2:]
        length = np.linalg.norm(end - start, axis=1) * self.stretch[places.edge]
        share = np.clip((places.along - self.begins[piece]) / np.where(length > 0, length, 1.0), 0, 1)
        return np.asarray(start + share[:, None] * (end - start), np.float64)

    def every(self, spacing: float) -> Places:
        """The ends of all edges, and places between them in equal steps of at most `spacing`; a loop has three steps.

        A node that several edges share is named once.
        """
        parts = np.maximum(np.ceil(self.graph.length / spacing - 1e-9), 1).astype(np.int64)
        parts = np.where(self.graph.u == self.graph.v, np.maximum(parts, 3), parts)
        edge = np.repeat(np.arange(len(parts)), parts - 1)
        step = np.arange(len(edge)) - np.repeat(np.cumsum(parts - 1) - (parts - 1), parts - 1) + 1
        along = self.graph.length[edge] * step / parts[edge]
        ends = np.concatenate([self.graph.u, self.graph.v])
        _, at = np.unique(ends, return_index=True)
        count = len(parts)
        return Places(
            np.concatenate([at % max(count, 1), edge]),
            np.concatenate([np.where(at < count, 0.0, self.graph.length[at % max(count, 1)]), along]),
        )

    def nearest(self, points: NDArray[np.float64]) -> tuple[Places, NDArray[np.float64]]:
        """The places nearest to (P, 2) points, and how far they are, (P,). The network must have edges."""
        start, step = self.segments[:, :2], self.segments[:, 2:] - self.segments[:, :2]
        squared = np.maximum((step**2).sum(axis=1), 1e-300)
        edge, along, away = np.zeros(len(points), np.int64), np.zeros(len(points)), np.zeros(len(points))
        rows = max(_CHUNK // len(start), 1)
        for low in range(0, len(points), rows):
            offset = points[low : low + rows, None] - start
            share = np.clip((offset * step).sum(axis=2) / squared, 0, 1)
            distance = ((offset - share[..., None] * step) ** 2).sum(axis=2)
            best = distance.argmin(axis=1)
            row = np.arange(len(best))
            here = slice(low, low + len(best))
            edge[here], away[here] = self.edge_of[best], np.sqrt(distance[row, best])
            along[here] = self.begins[best] + share[row, best] * np.sqrt(squared[best]) * self.stretch[edge[here]]
        return Places(edge, along), away

    def distances(self, places: Places) -> NDArray[np.float64]:
        """(P, P) costs by road between places, infinite where no road leads."""
        nodes, count = len(self.graph.nodes), len(places)
        rows = max(_CELLS // (nodes + count + 1), 1)  # a country's nodes from every place at once would fill memory
        parts = [
            self.distances_from(places, np.arange(low, min(low + rows, count)))[:, nodes:]
            for low in range(0, max(count, 1), rows)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def distances_from(self, places: Places, sources: NDArray[np.int64]) -> NDArray[np.float64]:
        """(len(sources), N + P) costs from some of the places to all nodes and all places."""
        csgraph, sparse = scipy_parts()
        nodes, count = len(self.graph.nodes), len(places)
        order = np.lexsort((places.along, places.edge))
        edge, along = places.edge[order], places.along[order]
        number = nodes + order
        # On each edge: its node u, the places in their order, its node v; consecutive ones are joined.
        edges = np.arange(len(self.graph.u))
        owner = np.concatenate([edges, edge, edges])
        rank = np.concatenate([np.full(len(edges), -1), np.arange(count), np.full(len(edges), count)])
        where = np.concatenate([np.zeros(len(edges)), along, self.graph.length])
        who = np.concatenate([self.graph.u, number, self.graph.v])
        line = np.lexsort((rank, owner))
        owner, where, who = owner[line], where[line], who[line]
        same = owner[1:] == owner[:-1]
        tail, head = who[:-1][same], who[1:][same]
        cost = np.maximum(np.diff(where)[same], 0.0) * self.cost[owner[1:][same]]
        low, high = np.minimum(tail, head), np.maximum(tail, head)
        keep = np.lexsort((cost, high, low))  # of parallel links the cheapest comes first
        low, high, cost = low[keep], high[keep], cost[keep]
        first = np.concatenate([[True], (np.diff(low) != 0) | (np.diff(high) != 0)]) if len(low) else np.zeros(0, bool)
        size = nodes + count
        matrix = sparse.csr_array((cost[first], (low[first], high[first])), shape=(size, size))
        found = csgraph.dijkstra(matrix, directed=False, indices=nodes + sources)
        return np.asarray(found, np.float64)

    @property
    def _span(self) -> float:
        return float(self.graph.length.max(initial=0.0)) * 1.001 + 1.0


def prepare(truth: RoadGraph, proposal: RoadGraph) -> tuple[RoadGraph, RoadGraph]:
    """Two graphs in one metric plane, with coordinates in the unit of their lengths.

    Graphs in degrees go to the plane that touches in the midst of the truth, or of the proposal where that is empty.

    Raises:
        SpecMismatchError: graphs in different coordinates or units.
    """
    if truth.crs != proposal.crs or truth.unit != proposal.unit:
        raise SpecMismatchError(
            f"the truth is in {truth.crs!r} and {truth.unit}, the proposal in {proposal.crs!r} and {proposal.unit}; "
            "bring both to one coordinate system and ground sample distance"
        )
    if truth.crs == LONLAT:
        known = truth if len(truth.nodes) else proposal
        if not len(known.nodes):
            return truth, proposal
        plane = LocalPlane.about(known.nodes)
        return truth.moved(plane.from_lonlat, plane.crs), proposal.moved(plane.from_lonlat, plane.crs)
    if truth.crs == PIXEL and truth.unit == "m":
        return _scaled(truth), _scaled(proposal)
    return truth, proposal


def open_network(graph: RoadGraph, cost: NDArray[np.float64] | None = None) -> RoadNetwork:
    """The network of a graph that went through `prepare`; `cost` (E,) is what a unit of length costs, default 1."""
    counts = np.array([len(line) - 1 for line in graph.lines], np.int64)
    segments = [np.concatenate([line[:-1], line[1:]], axis=1) for line in graph.lines]
    every = np.concatenate([np.empty((0, 4)), *segments])
    edge_of = np.repeat(np.arange(len(counts)), counts)
    lengths = np.linalg.norm(every[:, 2:] - every[:, :2], axis=1)
    drawn = measure(graph.lines)
    stretch = np.where(drawn > 0, graph.length / np.where(drawn > 0, drawn, 1.0), 1.0)
    before = np.cumsum(lengths) - lengths
    firsts = np.cumsum(counts) - counts
    begins = (before - before[firsts][edge_of] if len(counts) else before) * stretch[edge_of]
    return RoadNetwork(graph, every, edge_of, begins, stretch, np.ones(len(counts)) if cost is None else cost)


def _scaled(graph: RoadGraph) -> RoadGraph:
    drawn = float(measure(graph.lines).sum())
    if drawn == 0:
        return graph
    scale = graph.total_length / drawn
    return graph.moved(lambda xy: np.asarray(xy, np.float64) * scale, PIXEL)


def scipy_parts() -> tuple[Any, Any]:
    """SciPy's `csgraph` and `sparse`; raises MissingExtraError where SciPy is not installed."""
    try:
        from scipy import sparse
        from scipy.sparse import csgraph
    except ImportError as error:
        raise MissingExtraError("scipy", "graph", "distances by road") from error
    return csgraph, sparse
