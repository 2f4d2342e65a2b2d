"""Roads out of raw chains: spurs pruned, junctions of one crossing merged, lines joined where nothing branches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Line = NDArray[np.float64]
_CORNER = 2**0.5  # the corners of a road's end lie this many radii from the middle of the disc that touches it
_END = 1.5  # so many half widths before its end a road may lose its width
_WIDE = 0.9  # a road has its width where it has this much of it


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

    `centres` (N, 2) and `radius` (N,), of the disc about a node that is all road, are in pixels. `half_width_at` says
    of (N, 2) x, y half the width of the road there, 0 beside it and outside the picture. Nodes in `leaving` lie on the
    border where a road goes on: no dead ends.
    """

    centres: Line
    radius: NDArray[np.float64]
    half_width_at: Callable[[Line], NDArray[np.float32]]
    strands: dict[int, Strand]
    leaving: frozenset[int] = frozenset()
    at: dict[int, list[int]] = field(default_factory=dict)  # node → strands that end there; a loop stands twice

    def __post_init__(self) -> None:
        for number, strand in self.strands.items():
            self._tie(number, strand)

    def prune(self, least: float) -> None:
        """Take away dead ends that reach fewer than `least` pixels beyond a corner of the road that they leave.

        What remains is joined, which may make a road of a spur or show new spurs: so until nothing changes. All spurs
        of a pass go together, so that of the fork at a road's end neither prong is taken for the road.
        """
        while spurs := [number for number, strand in self.strands.items() if self._is_spur(strand, least)]:
            for number in spurs:
                self._remove(number)
            self.join()

    def drop_pieces(self, least: float) -> None:
        """Take away what hangs together and is shorter than `least` pixels, unless it goes on beyond the border."""
        above = {node: node for node in self.at}

        def piece(node: int) -> int:
            while above[node] != node:
                above[node] = node = above[above[node]]
            return node

        for strand in self.strands.values():
            above[piece(strand.u)] = piece(strand.v)
        length: dict[int, float] = {}
        for strand in self.strands.values():
            whole = piece(strand.u)
            length[whole] = length.get(whole, 0.0) + strand.length
        leads_on = {piece(node) for node in self.leaving if node in above}
        for number, strand in list(self.strands.items()):
            whole = piece(strand.u)
            if length[whole] < least and whole not in leads_on:
                self._remove(number)

    def mend_ends(self) -> None:
        """Lead each dead end straight on to where the road ends.

        Thinning stops about half a width before that, or turns into one of the two corners. So the line is cut back to
        where the road has its width, and goes on in the direction that it has there as far as there is road.
        """
        for node, numbers in self.at.items():
            if len(numbers) == 1 and node not in self.leaving:
                strand = self.strands[numbers[0]]
                forward = strand.v == node
                line = self._mended(strand.line if forward else strand.line[::-1])
                self.centres[node] = line[-1]
                strand.line = line if forward else line[::-1]

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
                return bool(strand.length - _CORNER * self.radius[root] < least)
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
                strand.u, line = kept, self._led_to(line[::-1], kept)[::-1]
            if strand.v in members:
                strand.v, line = kept, self._led_to(line, kept)
            strand.line = line
            self._tie(number, strand)

    def _led_to(self, line: Line, node: int) -> Line:
        """The line straight to a node from where it enters its disc, not by way of where its end was before."""
        outside = np.flatnonzero(np.linalg.norm(line[:-1] - self.centres[node], axis=1) > self.radius[node])
        last = int(outside[-1]) if outside.size else 0
        return np.concatenate([line[: last + 1], self.centres[node][None]])

    def _mended(self, line: Line) -> Line:
        radius = self.half_width_at(line)
        usual = float(np.median(radius))
        near = np.linalg.norm(line - line[-1], axis=1) <= _END * usual
        wide = np.flatnonzero(near & (radius >= _WIDE * usual))
        last = int(wide[-1]) if wide.size else len(line) - 1
        away = np.linalg.norm(line[:last] - line[last], axis=1)
        behind = np.flatnonzero(away >= max(usual, 1.0))
        root = int(behind[-1]) if behind.size else 0
        if usual == 0 or root == last:
            return line
        heading = (line[last] - line[root]) / np.linalg.norm(line[last] - line[root])
        ahead = line[last] + heading * np.arange(0, 2 * usual + 1, 0.5)[:, None]
        open_road = np.argmin(np.append(self.half_width_at(ahead) > 0, False))
        return np.concatenate([line[: last + 1], ahead[max(open_road - 1, 1)][None]])

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
