"""TOPO and junction scores of a proposed road graph.

TOPO walks both graphs from the same place and drops "holes" on the true one and "marbles" on the proposed one at fixed
distances by road; a marble in a hole is a piece of road that is there and reached. Precision is the share of marbles
that fell into a hole, recall that of holes which got one.

Against the published code: the seed is fixed and printed; walks start anywhere on the roads instead of at nodes, and on
the proposal at its nearest place instead of at a node that happens to be near; as many marbles as can find a hole do,
instead of those that a loop happens to come to first.
Source: J. Biagioni, J. Eriksson, Inferring road maps from GPS traces, 2012; the settings of CosmiQ/apls.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import UsageError
from roadedge.metrics.road_network import Places, RoadNetwork, open_network, prepare, scipy_parts
from roadedge.roadgraph.graph import RoadGraph

EMPTY_RULE = "a ratio of nothing by nothing is 1 where truth and proposal are both empty, else 0"


@dataclass(frozen=True, slots=True)
class TopoSettings:
    """What TOPO hangs on; distances are in the unit of the graphs, metres or pixels.

    Walks go as far as `radius` by road and drop something every `interval`, the start included. A marble falls into a
    hole of radius `hole`; a walk on the proposal starts where that is as near to the start on the truth. `origins`
    starts are drawn on the truth by length, with `seed`.
    """

    radius: float = 150.0
    interval: float = 30.0
    hole: float = 4.0
    origins: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.interval <= self.radius < np.inf and 0 <= self.hole < np.inf and self.origins >= 1):
            raise UsageError(f"TOPO needs 0 < interval <= radius, hole >= 0 and at least one origin, got {self}")


@dataclass(frozen=True, slots=True)
class Matches:
    """Things proposed, true things, and pairs of them; sums over tiles are sums of these."""

    matched: int
    proposed: int
    true: int

    def __add__(self, other: Matches) -> Matches:
        return Matches(self.matched + other.matched, self.proposed + other.proposed, self.true + other.true)

    @property
    def precision(self) -> float:
        """Matched of the proposed."""
        return self._ratio(self.proposed)

    @property
    def recall(self) -> float:
        """Matched of the true."""
        return self._ratio(self.true)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return self._ratio((self.proposed + self.true) / 2)

    def _ratio(self, whole: float) -> float:
        return self.matched / whole if whole else float(self.proposed == self.true)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"precision": self.precision, "recall": self.recall, "F1": self.f1, **asdict(self)}


@dataclass(frozen=True, slots=True)
class TopoScore:
    """Holes and marbles, how many starts found no road on the proposal, and everything that the score hangs on."""

    matches: Matches
    unstarted: int
    unit: str
    settings: TopoSettings

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        settings = {**asdict(self.settings), "unit": self.unit, "empty": EMPTY_RULE}
        return {"TOPO": self.matches.to_dict(), "unstarted": self.unstarted, "settings": settings}


def topo(truth: RoadGraph, proposal: RoadGraph, settings: TopoSettings | None = None) -> TopoScore:
    """Compare a proposed road graph with the true one near places on the true one.

    Against an empty graph all that walks on the other would drop is unmatched, so that in a sum it weighs as much as
    else.

    Args:
        truth: in a metric plane, in degrees, or in pixels.
        proposal: in the same coordinates and unit.
        settings: default TopoSettings().

    Raises:
        SpecMismatchError: graphs that do not lie in the same coordinates.
        MissingExtraError: SciPy is not installed (extra `graph`).
    """
    settings = settings or TopoSettings()
    home, away = (open_network(graph) for graph in prepare(truth, proposal))
    if not (len(truth.u) and len(proposal.u)):
        alone = [sum(map(len, _dropped(one, _origins(one, settings), settings))) for one in (home, away)]
        unstarted = settings.origins if len(truth.u) else 0
        return TopoScore(Matches(0, alone[1], alone[0]), unstarted, truth.unit, settings)
    origins = _origins(home, settings)
    starts, distance = away.nearest(home.positions(origins))
    reached = distance <= settings.hole
    holes = _dropped(home, origins, settings)
    marbles = iter(_dropped(away, starts.chosen(reached), settings))
    total = Matches(0, 0, 0)
    for own, started in zip(holes, reached.tolist(), strict=True):
        theirs = next(marbles) if started else np.empty((0, 2))
        total += Matches(match(theirs, own, settings.hole), len(theirs), len(own))
    return TopoScore(total, int((~reached).sum()), truth.unit, settings)


def junctions(truth: RoadGraph, proposal: RoadGraph, tolerance: float) -> Matches:
    """Places where at least three roads end, matched one to one within `tolerance` of the graphs' unit.

    Raises:
        SpecMismatchError: graphs that do not lie in the same coordinates.
        UsageError: a tolerance below zero.
        MissingExtraError: SciPy is not installed (extra `graph`).
    """
    if not 0 <= tolerance < np.inf:
        raise UsageError(f"the tolerance of junctions must be zero or more, got {tolerance}")
    own, theirs = (graph.nodes[graph.degree > 2] for graph in prepare(truth, proposal))
    return Matches(match(theirs, own, tolerance), len(theirs), len(own))


def match(some: NDArray[np.float64], others: NDArray[np.float64], within: float) -> int:
    """The most pairs of (N, 2) and (M, 2) points at most `within` apart that can be made with each point once."""
    if not (len(some) and len(others)):
        return 0
    csgraph, sparse = scipy_parts()
    from scipy.spatial import cKDTree

    near = cKDTree(some).query_ball_point(others, within)
    rows = np.repeat(np.arange(len(others)), [len(one) for one in near])
    columns = np.concatenate([np.array(one, np.int64) for one in near])
    pairs = sparse.csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(others), len(some)))
    return int((csgraph.maximum_bipartite_matching(pairs, perm_type="column") >= 0).sum())


def _origins(network: RoadNetwork, settings: TopoSettings) -> Places:
    if not len(network.graph.u):
        return Places(np.empty(0, np.int64), np.empty(0))
    reach = np.cumsum(network.graph.length)
    drawn = np.random.default_rng(settings.seed).random(settings.origins) * reach[-1]
    edge = np.searchsorted(reach, drawn, "right").clip(0, len(reach) - 1)
    return Places(edge, drawn - (reach[edge] - network.graph.length[edge]))


def _dropped(network: RoadNetwork, origins: Places, settings: TopoSettings) -> list[NDArray[np.float64]]:
    """For each origin, the (K, 2) places at whole intervals by road from it."""
    if not len(origins):
        return []
    graph = network.graph
    cost = network.distances_from(origins, np.arange(len(origins)))[:, : len(graph.nodes)]
    levels = np.arange(0.0, settings.radius * (1 + 1e-9), settings.interval)
    found = []
    for own, along, reach in zip(origins.edge.tolist(), origins.along.tolist(), cost, strict=True):
        from_u, from_v = reach[graph.u], reach[graph.v]
        level_u, edge_u = _whole(levels[:, None] - from_u, graph.length)
        level_v, edge_v = _whole(levels[:, None] - from_v, graph.length)
        ahead = np.concatenate([along - levels, along + levels])
        edge = np.concatenate([edge_u, edge_v, np.full(len(ahead), own)])
        level = np.concatenate([levels[level_u], levels[level_v], levels, levels])
        place = np.concatenate(
            [levels[level_u] - from_u[edge_u], graph.length[edge_v] - levels[level_v] + from_v[edge_v], ahead]
        )
        shortest = np.minimum(from_u[edge] + place, from_v[edge] + graph.length[edge] - place)
        shortest = np.where(edge == own, np.minimum(shortest, np.abs(place - along)), shortest)
        on = (shortest >= level - 1e-6) & (place >= 0) & (place <= graph.length[edge])  # else a shorter way leads there
        found.append(np.unique(network.positions(Places(edge[on], place[on])).round(6), axis=0))
    return found


def _whole(step: NDArray[np.float64], length: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which (level, edge) of the steps from an end lie on their edge."""
    levels, edges = np.nonzero((step >= 0) & (step <= length))
    return levels, edges
