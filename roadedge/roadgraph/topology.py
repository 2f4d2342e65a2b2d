"""Roads out of raw chains: spurs pruned, junctions of one crossing merged, lines joined where nothing branches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Line = NDArray[np.float64]
CORNER = 2**0.5  # the corners of a road's end lie this many radii from the middle of the disc that touches it


@dataclass(slots=True, eq=False)
class Strand:
    """A road while it is worked on: its two nodes, its line between them, and the pixels of the skeleton in it."""

    u: int
    v: int
    line: Line
    pixels: NDArray[np.int64]

    @property
    def length(self) -> float:
        """In the unit of the line."""
        return float(np.linalg.norm(np.diff(self.line, axis=0), axis=1).sum())

    def turned(self) -> Strand:
        """The same road from its other end."""
        return Strand(self.v, self.u, self.line[::-1], self.pixels[::-1])


@dataclass(slots=True, eq=False)
class Network:
    """Nodes and strands while they are worked on; a strand's number never changes.

    `centres` (N, 2) and `radius` (N,), of the disc about a node that is all road, are in pixels. Nodes in `leaving` lie
    on the picture's border where a road goes on beyond it: they are no dead ends.
    """

    centres: Line
    radius: NDArray[np.float64]
    strands: dict[int, Strand]
    leaving: frozenset[int] = frozenset()
    at: dict[int, list[int]] = field(default_factory=dict)  # node → strands that end there; a loop stands twice

    def __post_init__(self) -> None:
        for number, strand in self.strands.items():
            self._tie(number, strand)

    def prune(self, least: float) -> None:
        """Take away dead ends that reach fewer than `least` pixels beyond a corner of the road that they leave.

        What remains is joined, which may make a road of a spur or show new spurs: so until nothing changes. All spurs
        of a pass go together, so that of the fork at a road's end neither prong is taken for the road; the road is
        then carried straight on to where the disc about the fork ends, as far as the road was seen.
        """
        forks: set[int] = set()
        while spurs := [number for number, strand in self.strands.items() if self._is_spur(strand, least)]:
            for number in spurs:
                forks |= {self.strands[number].u, self.strands[number].v}
                self._remove(number)
            self.join()
        for node in forks:
            if len(self.at[node]) == 1:
                self._carry_on(node, self.at[node][0])

    def merge(self) -> None:
        """Make one node of junctions that lie within each other's disc by a road that stays in both.

        No hole lies between such junctions, so no ring is lost. All are judged as they lie before any is moved.
        """
        inside = [number for number, strand in self.strands.items() if self._is_inside(strand)]
        group = {node: {node} for number in inside for node in (self.strands[number].u, self.strands[number].v)}
        for number in inside:
            strand = self.strands[number]
            both = group[strand.u] | group[strand.v]
            group.update(dict.fromkeys(both, both))
            self._remove(number)
        for members in {id(one): one for one in group.values()}.values():
            self._contract(sorted(members))
        self.join()

    def join(self) -> None:
        """Make one strand of two that meet where nothing else does."""
        for node in sorted(self.at):
            ends = self.at.get(node, [])
            if len(ends) == 2 and ends[0] != ends[1] and node not in self.leaving:
                self._join(node, *ends)

    def _is_spur(self, strand: Strand, least: float) -> bool:
        for end, root in ((strand.u, strand.v), (strand.v, strand.u)):
            if len(self.at[end]) == 1 and len(self.at[root]) > 2 and end not in self.leaving:
                return bool(strand.length - CORNER * self.radius[root] < least)
        return False

    def _is_inside(self, strand: Strand) -> bool:
        for end in (strand.u, strand.v):
            if len(self.at[end]) < 3 or end in self.leaving:
                return False
            away = np.linalg.norm(strand.line - self.centres[end], axis=1)
            if away.max() > self.radius[end]:
                return False
        return True

    def _contract(self, members: list[int]) -> None:
        """Put the nodes of a group together in their middle, with what is surely road about it."""
        kept, middle = members[0], self.centres[members].mean(axis=0)
        reach = self.radius[members] - np.linalg.norm(self.centres[members] - middle, axis=1)
        self.centres[kept], self.radius[kept] = middle, max(float(reach.max()), 0.0)
        for number in {number for node in members for number in self.at[node]}:
            strand = self.strands[number]
            self._untie(number, strand)
            line = strand.line.copy()
            if strand.u in members:
                strand.u, line[0] = kept, middle
            if strand.v in members:
                strand.v, line[-1] = kept, middle
            strand.line = line
            self._tie(number, strand)

    def _carry_on(self, node: int, number: int) -> None:
        """Lengthen a road by the disc about its end, in the direction that its last disc's radius shows."""
        strand = self.strands[number]
        line = strand.line if strand.v == node else strand.line[::-1]
        away = np.linalg.norm(line - line[-1], axis=1)
        behind = np.flatnonzero(away >= max(self.radius[node], 1.0))
        heading = line[-1] - line[behind[-1] if behind.size else 0]
        size = float(np.linalg.norm(heading))
        if size == 0:
            return
        self.centres[node] = line[-1] + heading / size * self.radius[node]
        line = np.concatenate([line, self.centres[node][None]])
        strand.line = line if strand.v == node else line[::-1]

    def _join(self, node: int, first: int, second: int) -> None:
        one, other = self.strands[first], self.strands[second]
        head = one if one.v == node else one.turned()
        tail = other if other.u == node else other.turned()
        self._remove(second)
        self._remove(first)
        joined = Strand(
            head.u, tail.v, np.concatenate([head.line, tail.line[1:]]), np.concatenate([head.pixels, tail.pixels])
        )
        self.strands[first] = joined
        self._tie(first, joined)

    def _tie(self, number: int, strand: Strand) -> None:
        self.at.setdefault(strand.u, []).append(number)
        self.at.setdefault(strand.v, []).append(number)

    def _untie(self, number: int, strand: Strand) -> None:
        for node in {strand.u, strand.v}:
            self.at[node] = [other for other in self.at.get(node, []) if other != number]

    def _remove(self, number: int) -> None:
        self._untie(number, self.strands.pop(number))
