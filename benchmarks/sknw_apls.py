"""Mask → graph → APLS as it is done with sknw and NetworkX, to be timed beside ours. Not a part of the package.

The same skeleton by scikit-image, sknw's MultiGraph with the ends of its lines at its nodes, control points at nodes
and every 50 m at the nearest vertex between, snapped within 4 m to the nearest vertex of the other graph, Dijkstra by
NetworkX. Nothing is cleaned, pruned or merged, so its value is near that of `roadedge`, not the same.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

SPACING_M, SNAP_M = 50.0, 4.0
Cut = tuple[int, int]  # edge, vertex of its line


@dataclass
class Lines:
    """Edges of sknw: nodes `ends` (E, 2), `points` (K, 2) pixels and metres `along` them, (K,) each."""

    ends: list[tuple[int, int]]
    points: list[NDArray[np.float64]]
    along: list[NDArray[np.float64]]

    def every(self) -> list[Cut]:
        """Control points: one end of each node, and vertices nearest to equal steps of at most SPACING_M."""
        seen: dict[int, Cut] = {}
        found: list[Cut] = []
        for edge, ((u, v), along) in enumerate(zip(self.ends, self.along, strict=True)):
            seen.setdefault(u, (edge, 0))
            seen.setdefault(v, (edge, len(along) - 1))
            parts = max(int(np.ceil(along[-1] / SPACING_M)), 1)
            steps = np.searchsorted(along, along[-1] * np.arange(1, parts) / parts)
            found += [(edge, int(one)) for one in dict.fromkeys(steps.tolist()) if 0 < one < len(along) - 1]
        return [*seen.values(), *found]

    def places(self, cuts: list[Cut]) -> NDArray[np.float64]:
        """(P, 2) pixels of cuts."""
        return np.array([self.points[edge][at] for edge, at in cuts]).reshape(-1, 2)

    def node(self, cut: Cut) -> Any:
        """What a cut is called in the graph."""
        edge, at = cut
        if at in (0, len(self.along[edge]) - 1):
            return self.ends[edge][at > 0]
        return cut

    def graph(self, cuts: list[Cut]) -> nx.MultiGraph:
        """The graph with a node at each cut."""
        at_edge: dict[int, set[int]] = {}
        for edge, at in cuts:
            at_edge.setdefault(edge, set()).add(at)
        made = nx.MultiGraph()
        for edge, along in enumerate(self.along):
            stops = sorted({0, len(along) - 1, *at_edge.get(edge, ())})
            for a, b in itertools.pairwise(stops):
                made.add_edge(self.node((edge, a)), self.node((edge, b)), weight=along[b] - along[a])
        return made


def lines_of_mask(mask: NDArray[np.bool_], gsd_m: float, sknw: Any) -> Lines:
    """Mask → skeleton → sknw."""
    made = sknw.build_sknw(skeletonize(mask).astype(np.uint8), multi=True)
    found = Lines([], [], [])
    for u, v, facts in made.edges(data=True):
        inner = np.asarray(facts["pts"], np.float64)
        first, last = made.nodes[u]["o"], made.nodes[v]["o"]
        if len(inner) and np.linalg.norm(inner[0] - first) > np.linalg.norm(inner[-1] - first):
            inner = inner[::-1]  # sknw's lines run either way
        points = np.concatenate([[first], inner, [last]])
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1) * gsd_m
        found.ends.append((u, v))
        found.points.append(points)
        found.along.append(np.concatenate([[0.0], np.cumsum(steps)]))
    return found


def apls_by_networkx(truth: Lines, proposal: Lines, gsd_m: float) -> float:
    """The harmonic mean of both directions."""
    there, back = _direction(truth, proposal, gsd_m), _direction(proposal, truth, gsd_m)
    return 2 * there * back / (there + back) if there + back else 0.0


def _direction(home: Lines, away: Lines, gsd_m: float) -> float:
    cuts = home.every()
    vertices = [(edge, at) for edge, along in enumerate(away.along) for at in range(len(along))]
    distance, nearest = cKDTree(away.places(vertices)).query(home.places(cuts))
    snapped = {cut: vertices[at] for cut, far, at in zip(cuts, distance, nearest, strict=True) if far * gsd_m <= SNAP_M}
    own, other = home.graph(cuts), away.graph(list(snapped.values()))
    scores = []
    for number, cut in enumerate(cuts):
        lengths = nx.single_source_dijkstra_path_length(own, home.node(cut))
        abroad = nx.single_source_dijkstra_path_length(other, away.node(snapped[cut])) if cut in snapped else {}
        for target in cuts[number + 1 :]:
            length = lengths.get(home.node(target))
            if not length:
                continue
            theirs = abroad.get(away.node(snapped[target])) if target in snapped else None
            scores.append(0.0 if theirs is None else 1 - min(1.0, abs(length - theirs) / length))
    return float(np.mean(scores)) if scores else 0.0
