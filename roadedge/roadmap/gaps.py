"""Gaps between dead ends, closed where trips vouch for a way: vehicles that pass one end and soon after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import MissingExtraError, UsageError
from roadedge.roadgraph.graph import RoadGraph
from roadedge.roadmap.clean_mask import threads
from roadedge.roadmap.grid import TracingGrid
from roadedge.roadmap.point_blocks import points_in_metres
from roadedge.roadmap.snapping import Segments
from roadedge.trajectory.point_store import PointStore, StoredPoints

_NEVER_SHORTER = 3.0  # a road's own two ends are joined to a ring only if it is so many times as long as the gap


@dataclass(frozen=True, slots=True)
class GapOptions:
    """Which gaps are closed.

    Two dead ends up to `longest_m` apart, each of which looks towards the other within `angle_deg`, become one road
    where at least `trips` trips pass within `within_m` of both, one after the other, on a way no longer than `detour`
    times the gap and twice `within_m`. Between two points of a trip the way is straight, and unknown where they lie
    more than `step_m` or `step_s` apart. Where another road already runs within `within_m` of the middle of the gap,
    the trips are on that road and vouch for none.
    """

    longest_m: float
    trips: int = 3
    within_m: float = 10.0
    angle_deg: float = 60.0
    detour: float = 1.5
    step_m: float = 200.0
    step_s: float = 60.0

    def __post_init__(self) -> None:
        if not (0 < self.longest_m <= 1000 and 0 < self.within_m <= 100 and self.trips >= 1):
            raise UsageError(
                "gaps are closed up to 0 ... 1000 m by at least one trip within 0 ... 100 m of both ends, got "
                f"{self.longest_m} m, {self.trips} trips, {self.within_m} m"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Closed:
    """The graph with its bridges as further edges, (E,) which those are, and how many gaps were looked at."""

    graph: RoadGraph
    bridged: NDArray[np.bool_]
    candidates: int


def close_gaps(
    graph: RoadGraph,
    points: PointStore,
    options: GapOptions,
    grid: TracingGrid | None = None,
    workers: int = 2,
    tell: Callable[[str, float], None] | None = None,
) -> Closed:
    """Bridge the gaps of a graph in metres; each dead end gets one bridge at most, short ones first.

    A bridge is a straight edge of its own, as wide as the mean of the two roads; its confidence is the mean probability
    along it where `grid` tells, so that it says how little the image knew.

    Raises:
        PointsError: the store is damaged.
        MissingExtraError: SciPy is not installed.
    """
    pairs = _candidates(graph, options)
    segments = Segments.of(graph)
    free = [pair for pair in pairs if not _has_road(graph, segments, pair, options.within_m)]
    votes: list[int] = []
    with threads(workers) as pool:
        for number, count in enumerate(pool.map(lambda pair: _votes(graph, points, pair, options), free), 1):
            votes.append(count)
            if tell is not None:
                tell("gaps", number / len(free))
    used: set[int] = set()
    bridges = []
    for pair, count in zip(free, votes, strict=True):
        if count >= options.trips and used.isdisjoint(pair):
            used.update(pair)
            bridges.append(pair)
    return Closed(*_bridged(graph, bridges, grid), len(pairs))


def _candidates(graph: RoadGraph, options: GapOptions) -> list[tuple[int, int]]:
    """Pairs of dead ends that look at each other, the nearest first."""
    try:
        from scipy.spatial import cKDTree
    except ImportError as error:
        raise MissingExtraError("scipy", "graph", "finding gaps between roads") from error

    ends = np.flatnonzero(graph.degree == 1)
    if len(ends) < 2:
        return []
    found = cKDTree(graph.nodes[ends]).query_pairs(options.longest_m, output_type="ndarray")
    one, other = ends[found[:, 0]], ends[found[:, 1]]
    gap = graph.nodes[other] - graph.nodes[one]
    length = np.linalg.norm(gap, axis=1)
    edge, outward = _ends_of(graph)
    least = np.cos(np.radians(options.angle_deg)) * length
    looks = (np.einsum("ij,ij->i", outward[one], gap) >= least) & (np.einsum("ij,ij->i", outward[other], -gap) >= least)
    ring = (edge[one] == edge[other]) & (graph.length[edge[one]] < _NEVER_SHORTER * length)
    kept = np.flatnonzero(looks & ~ring & (length > 0))
    return [(int(one[i]), int(other[i])) for i in kept[np.lexsort((other[kept], one[kept], length[kept]))]]


def _ends_of(graph: RoadGraph, reach_m: float = 15.0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N,) an edge of each node, and (N, 2) the direction in which it leaves its road, of length 1."""
    edge, outward = np.zeros(len(graph.nodes), np.int64), np.zeros((len(graph.nodes), 2))
    for number, line in enumerate(graph.lines):
        for node, way in ((int(graph.u[number]), line), (int(graph.v[number]), line[::-1])):
            away = np.linalg.norm(way - way[0], axis=1)
            behind = int(np.argmax(away >= min(reach_m, away.max())))
            edge[node] = number
            if away[behind] > 0:
                outward[node] = (way[0] - way[behind]) / away[behind]
    return edge, outward


def _has_road(graph: RoadGraph, segments: Segments, pair: tuple[int, int], within_m: float) -> bool:
    """Whether a third road runs by the middle of a gap."""
    middle = graph.nodes[list(pair)].mean(axis=0)
    touching = np.isin(graph.u, pair) | np.isin(graph.v, pair)
    near = np.flatnonzero(
        (np.minimum(segments.start, segments.end) <= middle + within_m).all(axis=1)
        & (np.maximum(segments.start, segments.end) >= middle - within_m).all(axis=1)
        & ~touching[segments.edge]
    )
    if not near.size:
        return False
    return bool(_away(middle, segments.start[near], segments.end[near])[0].min() <= within_m)


def _votes(graph: RoadGraph, points: PointStore, pair: tuple[int, int], options: GapOptions) -> int:
    """Trips that pass both ends."""
    first, last = graph.nodes[pair[0]], graph.nodes[pair[1]]
    margin = options.step_m + options.within_m
    low, high = np.minimum(first, last) - margin, np.maximum(first, last) + margin
    xy, stored = points_in_metres(points, (low[0], low[1], high[0], high[1]), graph.crs)
    start, end, trip, driven = _steps(xy, stored, options)
    if not len(start):
        return 0
    longest = options.detour * float(np.linalg.norm(last - first)) + 2 * options.within_m
    at = []
    for place in (first, last):
        away, share = _away(place, start, end)
        near = away <= options.within_m
        way = driven[near] + share[near] * np.linalg.norm(end[near] - start[near], axis=1)
        at.append((trip[near], way))
    (trip_a, way_a), (trip_b, way_b) = at
    both = np.intersect1d(trip_a, trip_b)
    return sum(_nearest(way_a[trip_a == one], way_b[trip_b == one]) <= longest for one in both.tolist())


def _nearest(some: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    return float(np.abs(some[:, None] - others[None]).min())


def _steps(
    xy: NDArray[np.float64], stored: StoredPoints, options: GapOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Steps of trips: (S, 2) from and to, (S,) number of the trip, (S,) metres driven on it before."""
    known = np.flatnonzero((stored.vid >= 0) & np.isfinite(stored.t_s))
    order = known[np.lexsort((stored.t_s[known], stored.vid[known]))]
    xy, vid, time = xy[order], stored.vid[order], stored.t_s[order]
    length = np.linalg.norm(np.diff(xy, axis=0), axis=1)
    whole = (np.diff(vid) == 0) & (np.diff(time) <= options.step_s) & (length <= options.step_m)
    trip = np.cumsum(np.concatenate([[0], ~whole]))
    driven = np.concatenate([[0.0], np.cumsum(np.where(whole, length, 0.0))])
    kept = np.flatnonzero(whole)
    return xy[kept], xy[kept + 1], trip[kept], driven[kept]


def _away(
    place: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(S,) metres from a place to each step, and at which share of it that is."""
    way = end - start
    square = np.maximum(np.einsum("ij,ij->i", way, way), 1e-12)
    share = (np.einsum("ij,ij->i", place - start, way) / square).clip(0, 1)
    return np.linalg.norm(start + share[:, None] * way - place, axis=1), share


def _bridged(
    graph: RoadGraph, bridges: list[tuple[int, int]], grid: TracingGrid | None
) -> tuple[RoadGraph, NDArray[np.bool_]]:
    marked = np.zeros(len(graph.u) + len(bridges), np.bool_)
    if not bridges:
        return graph, marked
    marked[len(graph.u) :] = True
    ends = np.array(bridges)
    lines = tuple(graph.nodes[pair] for pair in ends)
    edge, _ = _ends_of(graph)
    width = graph.width[edge[ends]].mean(axis=1)
    confidence = np.full(len(lines), np.nan) if grid is None else np.array([grid.mean_along(line) for line in lines])
    return replace(
        graph,
        u=np.concatenate([graph.u, ends[:, 0]]),
        v=np.concatenate([graph.v, ends[:, 1]]),
        lines=graph.lines + lines,
        length=np.concatenate(
            [graph.length, np.linalg.norm(graph.nodes[ends[:, 1]] - graph.nodes[ends[:, 0]], axis=1)]
        ),
        width=np.concatenate([graph.width, width]),
        confidence=np.concatenate([graph.confidence, confidence]),
        speed_kmh=np.concatenate([graph.speed_kmh, np.full(len(lines), np.nan)]),
    ), marked
