"""Road graphs to and from NetworkX, for exchange with other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, MissingExtraError
from roadedge.roadgraph.graph import PIXEL, RoadGraph
from roadedge.roadgraph.joining import column
from roadedge.roadgraph.speeds import speed_of

if TYPE_CHECKING:
    import networkx as nx


def to_networkx(graph: RoadGraph) -> nx.MultiGraph:
    """A MultiGraph whose nodes 0 ... N - 1 have `x`, `y`, and whose edges, with their number as key, have the rest.

    An edge has `line` (K, 2), `length`, `width`, `confidence` and `speed_kmh`; the graph has `crs` and `unit`.

    Raises:
        MissingExtraError: NetworkX is not installed.
    """
    made = _networkx().MultiGraph(crs=graph.crs, unit=graph.unit)
    made.add_nodes_from((node, {"x": x, "y": y}) for node, (x, y) in enumerate(graph.nodes.tolist()))
    columns = zip(graph.u.tolist(), graph.v.tolist(), graph.lines, strict=True)
    made.add_edges_from(
        (
            u,
            v,
            number,
            {
                "line": line,
                "length": float(graph.length[number]),
                "width": float(graph.width[number]),
                "confidence": float(graph.confidence[number]),
                "speed_kmh": float(graph.speed_kmh[number]),
            },
        )
        for number, (u, v, line) in enumerate(columns)
    )
    return made


def from_networkx(made: Any) -> RoadGraph:
    """The graph of a NetworkX graph, directed or not, with or without parallel edges; nodes in its own order.

    Nodes need `x` and `y`. An edge without `line` is straight; one without `length` has the length of its line.
    Speeds are read as `speed_of` says.

    Raises:
        DataError: a node without x and y, or a speed that is no number.
    """
    try:
        nodes = np.array([(facts["x"], facts["y"]) for _, facts in made.nodes(data=True)], np.float64).reshape(-1, 2)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"every node needs numbers x and y: {error}") from error
    index = {node: number for number, node in enumerate(made.nodes)}
    edges = list(made.edges(data=True))
    if edges and all("line" in facts for _, _, facts in edges) and made.is_multigraph():
        edges = [(*edge[:2], edge[3]) for edge in sorted(made.edges(data=True, keys=True), key=_key)]
    u, v, lines = [], [], []
    for one, other, facts in edges:
        ends = [index[one], index[other]]
        line = np.asarray(facts.get("line", nodes[ends]), np.float64)
        if (line[0] != nodes[ends[0]]).any():  # an undirected graph names the ends in an order of its own
            ends.reverse()
        u.append(ends[0])
        v.append(ends[1])
        lines.append(line)
    facts = [facts for _, _, facts in edges]
    columns = {name: column(facts, name) for name in ("length", "width", "confidence")}
    columns["speed_kmh"] = _speeds(facts)
    if np.isnan(columns["length"]).any():
        columns["length"] = np.empty(0)
    crs = made.graph.get("crs", PIXEL)
    unit = made.graph.get("unit", "px" if crs == PIXEL else "m")
    return RoadGraph(nodes, np.array(u, np.int64), np.array(v, np.int64), tuple(lines), **columns, crs=crs, unit=unit)


def _speeds(facts: list[dict[str, Any]]) -> NDArray[np.float64]:
    try:
        return np.array([speed_of(one) for one in facts], np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the speed of an edge must be a number: {error}") from error


def _key(edge: tuple[Any, ...]) -> tuple[bool, Any]:
    """Edges of ours in their own order, those of others after the kind and text of their key."""
    return (not isinstance(edge[2], int), edge[2] if isinstance(edge[2], int) else str(edge[2]))


def _networkx() -> Any:
    try:
        import networkx
    except ImportError as error:
        raise MissingExtraError("networkx", "graph", "a road graph as a NetworkX graph") from error
    return networkx
