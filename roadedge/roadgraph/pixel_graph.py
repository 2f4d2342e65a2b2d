"""Skeleton pixels → nodes and chains. Parallel edges, rings and self-loops are kept.

Two pixels are neighbours if they share a side, or a corner where no third pixel joins them by sides (mixed adjacency).
So a staircase has no junctions, a plus sign has one, and each hole of the skeleton is one cycle of the graph. Nothing
here depends on the direction in which pixels are numbered, except the place of the one node of a ring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import ShapeError
from roadedge.sample import check_shape


@dataclass(frozen=True, slots=True, eq=False)
class PixelGraph:
    """A skeleton as nodes and chains; each of its pixels lies in exactly one of them.

    `rows`, `columns` are the P pixels in reading order; all other members name a pixel by its place in that order.
    `node_of` (P,) is the node that a pixel belongs to, -1 for pixels of chains; `centres` (N, 2) the x, y of the nodes,
    means of their pixels' centres in corner coordinates. Edge i leads from node `u[i]` by the pixels `chains[i]` to
    node `v[i]`; `ends` (E, 2) are the pixels of the two nodes that it leaves and arrives at. A chain may be empty.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    node_of: NDArray[np.int64]
    centres: NDArray[np.float64]
    u: NDArray[np.int64]
    v: NDArray[np.int64]
    chains: tuple[NDArray[np.int64], ...]
    ends: NDArray[np.int64]

    def positions(self, pixels: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,) pixels → (N, 2) x, y of their centres in corner coordinates."""
        return np.stack([self.columns[pixels] + 0.5, self.rows[pixels] + 0.5], axis=1)

    def line(self, edge: int) -> NDArray[np.float64]:
        """(K, 2) x, y of an edge from the centre of its first node to that of its last."""
        first, last = self.centres[self.u[edge]], self.centres[self.v[edge]]
        return np.concatenate([first[None], self.positions(self.chains[edge]), last[None]])


def trace_skeleton(skeleton: NDArray[np.bool_]) -> PixelGraph:
    """The graph of an (H, W) bool skeleton.

    Pixels with other than two neighbours are nodes; touching junctions, and all pixels of 2 x 2 blocks, are one node. A
    pure ring gets one node, its first pixel in reading order. A pixel alone is a node without edges.

    Raises:
        ShapeError: not (H, W) of bool.
    """
    check_shape("skeleton", skeleton, (None, None))
    if skeleton.dtype != np.bool_:
        raise ShapeError(f"skeleton must be bool, got {skeleton.dtype}; compare it with a threshold")
    return trace_pixels(*np.nonzero(skeleton))


def trace_pixels(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> PixelGraph:
    """As `trace_skeleton`, of the (P,) rows and columns of a skeleton's pixels in reading order.

    So the skeleton of a picture that is too large to hold is traced as one.
    """
    first, second, in_block = _neighbours(rows, columns)
    degree = np.bincount(np.concatenate([first, second]), minlength=rows.size)
    node_of = _merge_junctions((degree > 2) | in_block, first, second)
    lone = np.flatnonzero((degree < 2) & (node_of < 0))
    node_of[lone] = node_of.max(initial=-1) + 1 + np.arange(lone.size)
    node_of, chains, ends = _walk(node_of, *_adjacency(rows.size, first, second))
    return PixelGraph(
        rows, columns, node_of, _centres(rows, columns, node_of), node_of[ends[:, 0]], node_of[ends[:, 1]], chains, ends
    )


def _neighbours(
    rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs of neighbours, each once, and whether a pixel lies in a full 2 x 2 block."""
    step = int(columns.max(initial=0)) + 3  # a row has room for what lies just beside it
    key = rows * step + columns
    below = np.searchsorted(key, key + step - 1)  # of the three pixels below one, all that exist stand here in a row
    ended = np.append(key, [-1, -1, -1])

    def found(place: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(ended[place] == wanted, place, -1)

    own = np.arange(rows.size)
    east = found(own + 1, key + 1)
    west = np.full(rows.size, -1)
    west[east[east >= 0]] = np.flatnonzero(east >= 0)
    south_west = found(below, key + step - 1)
    south = found(below + (south_west >= 0), key + step)
    south_east = found(below + (south_west >= 0) + (south >= 0), key + step + 1)
    block = (east >= 0) & (south >= 0) & (south_east >= 0)
    in_block = np.zeros(rows.size, np.bool_)
    for corner in (own, east, south, south_east):
        in_block[corner[block]] = True
    south_east = np.where((east >= 0) | (south >= 0), -1, south_east)
    south_west = np.where((west >= 0) | (south >= 0), -1, south_west)
    pairs = [(np.flatnonzero(other >= 0), other[other >= 0]) for other in (east, south, south_east, south_west)]
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs]), in_block


def _merge_junctions(
    junction: NDArray[np.bool_], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number the connected groups of junction pixels from 0 in reading order; -1 elsewhere."""
    label = np.where(junction, np.arange(junction.size), -1)
    inside = junction[first] & junction[second]
    one, other = first[inside], second[inside]
    while True:  # each pass hands the least number one step on; groups are a few pixels, bar unthinned input
        least = label.copy()
        np.minimum.at(least, one, label[other])
        np.minimum.at(least, other, label[one])
        least[junction] = least[least[junction]]  # and halves the way that is left
        if (least == label).all():
            break
        label = least
    label[junction] = np.unique(label[junction], return_inverse=True)[1]
    return label


def _adjacency(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Where the neighbours of each pixel begin in a list of all neighbours, and that list."""
    tail, head = np.concatenate([first, second]), np.concatenate([second, first])
    order = np.argsort(tail, kind="stable")
    return np.searchsorted(tail[order], np.arange(count + 1)).tolist(), head[order].tolist()


def _walk(
    node_of: NDArray[np.int64], starts: list[int], neighbours: list[int]
) -> tuple[NDArray[np.int64], tuple[NDArray[np.int64], ...], NDArray[np.int64]]:
    """Follow the chains from the nodes, then the rings that are left; a ring's first pixel becomes a node."""
    node = node_of.tolist()
    free = [owner < 0 for owner in node]  # pixels of chains that no walk has passed
    chains: list[NDArray[np.int64]] = []
    ends: list[tuple[int, int]] = []

    def follow(start: int, step: int) -> None:
        chain, previous, here = [], start, step
        while node[here] < 0:
            free[here] = False
            chain.append(here)
            at = starts[here]  # a pixel of a chain has two neighbours
            previous, here = here, (neighbours[at + 1] if neighbours[at] == previous else neighbours[at])
        chains.append(np.array(chain, np.int64))
        ends.append((start, here))

    for start in np.flatnonzero(node_of >= 0).tolist():
        for step in neighbours[starts[start] : starts[start + 1]]:
            if free[step] or (node[step] > node[start] >= 0):  # a chain, or a node next to this one, seen from one side
                follow(start, step)
    nodes = int(node_of.max(initial=-1)) + 1
    for start in np.flatnonzero(node_of < 0).tolist():
        if free[start]:
            node[start], free[start] = nodes, False
            follow(start, neighbours[starts[start]])
            nodes += 1
    return np.array(node, np.int64), tuple(chains), np.array(ends, np.int64).reshape(-1, 2)


def _centres(rows: NDArray[np.int64], columns: NDArray[np.int64], node_of: NDArray[np.int64]) -> NDArray[np.float64]:
    held = node_of >= 0
    count = np.bincount(node_of[held])
    x = np.bincount(node_of[held], columns[held] + 0.5) / count
    y = np.bincount(node_of[held], rows[held] + 0.5) / count
    return np.stack([x, y], axis=1)
