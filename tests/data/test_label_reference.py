"""Labels of roads equal what slow loops over single pixels and segments find, written from the definitions alone."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.data.road_labels import connectivity, moved_roads, orientation
from roadedge.roadgraph import RoadGraph

HEIGHT, WIDTH = 48, 64
Point = tuple[float, float]


def roads(seed: int) -> RoadGraph:
    """Bent roads between a few nodes, some of them outside, with a ring, a loop at a node and two parallel roads."""
    rng = np.random.default_rng(seed)
    nodes = rng.uniform(-12, 76, (7, 2))
    nodes[0] = (30.3, 22.7)
    ends = [(0, 1), (0, 2), (0, 3), (0, 4), (3, 4), (3, 4), (5, 5), (2, 6)]
    lines = []
    for u, v in ends:
        inner = rng.uniform(0, 60, (int(rng.integers(2 if u == v else 0, 5)), 2))
        lines.append(np.concatenate([nodes[[u]], inner, nodes[[v]]]))
    u, v = np.array(ends).T
    return RoadGraph(nodes, u, v, tuple(lines))


def ground(seed: int) -> NDArray[np.uint8]:
    """A mask of which blocks are ignored; labels look at nothing else of it."""
    rng = np.random.default_rng(seed + 100)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(seed % 3):
        top, left = rng.integers(0, HEIGHT), rng.integers(0, WIDTH)
        mask[top : top + 9, left : left + 14] = 128
    return mask


def to_segment(p: Point, a: Point, b: Point) -> float:
    """Distance of a point from a segment."""
    along = (b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2
    t = 0.0 if along == 0 else ((p[0] - a[0]) * (b[0] - a[0]) + (p[1] - a[1]) * (b[1] - a[1])) / along
    t = min(1.0, max(0.0, t))
    return math.dist(p, (a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])))


def ignored(mask: NDArray[np.uint8], row: int, column: int, scale: int) -> bool:
    """Whether a pixel of a label is: by the pixel of the mask below its middle."""
    return bool(mask[row * scale + scale // 2, column * scale + scale // 2] == 128)


def open_end(node: Point, mask: NDArray[np.uint8], scale: int) -> bool:
    """Whether a road that ends there may go on: the border or an ignored pixel is within four pixels of the mask."""
    reach = max(4.0 / scale, 1.0)
    height, width = HEIGHT // scale, WIDTH // scale
    x, y = math.floor(node[0]), math.floor(node[1])
    for row in range(-1, height + 1):
        for column in range(-1, width + 1):
            outside = not (0 <= row < height and 0 <= column < width)
            if (outside or ignored(mask, row, column, scale)) and math.dist((x, y), (column, row)) <= reach:
                return True
    return not (0 <= x < width and 0 <= y < height)


def ways_of(graph: RoadGraph, mask: NDArray[np.uint8], scale: int) -> list[tuple[Point, int]]:
    """The pixel of each node and how many ways lead on from it."""
    found = []
    for x, y in (graph.nodes / scale).tolist():
        degree = sum((end / scale).tolist() == [x, y] for line in graph.lines for end in (line[0], line[-1]))
        ways = 2 if degree == 1 and open_end((x, y), mask, scale) else min(degree, 4)
        found.append(((math.floor(x), math.floor(y)), ways))
    return found


def possible_classes(
    segments: list[tuple[Point, Point]], ways: list[tuple[Point, int]], wide: float, row: int, column: int
) -> set[int]:
    """The classes that a pixel may have; more than one where the width of a line, drawn in pixels, decides."""
    for number in (4, 3, 1):  # in the order in which they lie above each other
        if any(n == number and math.dist(pixel, (column, row)) <= wide / 2 for pixel, n in ways):
            return {number}
    away = min(to_segment((column + 0.5, row + 0.5), a, b) for a, b in segments)
    if away > wide / 2 + 1:
        return {0}
    return {2} if away <= wide / 2 - 1.25 else {0, 2}


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_ways_are_those_of_the_definition(seed: int, scale: int) -> None:
    graph, mask = roads(seed), ground(seed)
    classes = connectivity(graph, mask, scale)
    segments = [one for line in graph.lines for one in pairwise((line / scale).tolist())]
    ways, wide, seen = ways_of(graph, mask, scale), max(6.0 / scale, 2.0), set()
    for row in range(HEIGHT // scale):
        for column in range(WIDTH // scale):
            known = not ignored(mask, row, column, scale)
            expected = possible_classes(segments, ways, wide, row, column) if known else {255}
            assert int(classes[row, column]) in expected, (row, column)
            seen.add(int(classes[row, column]))
    assert {0, 2, 4} <= seen


def far_point(points: list[Point]) -> tuple[int, float]:
    """The point that is farthest from the line through the ends, and how far."""
    (ax, ay), (bx, by) = points[0], points[-1]
    length = math.dist(points[0], points[-1])
    best, most = 0, 0.0
    for number in range(1, len(points) - 1):
        x, y = points[number]
        away = abs((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / length
        if away > most:
            best, most = number, away
    return best, most


def simplified(points: list[Point], tolerance: float) -> list[Point]:
    """Douglas and Peucker, by the book; a ring is cut at its point farthest from its ends."""
    if len(points) < 3:
        return points
    if points[0] == points[-1]:
        cut = max(range(len(points)), key=lambda k: math.dist(points[k], points[0]))
    else:
        cut, away = far_point(points)
        if away <= tolerance:
            return [points[0], points[-1]]
    return simplified(points[: cut + 1], tolerance)[:-1] + simplified(points[cut:], tolerance)


def angles(graph: RoadGraph, mask: NDArray[np.uint8], scale: int) -> list[list[int]]:
    """The label of orientation pixel by pixel, of roads that lie inside the picture altogether."""
    height, width = HEIGHT // scale, WIDTH // scale
    label = [[36] * width for _ in range(height)]
    for line in graph.lines:
        points = simplified([(float(x) / scale, float(y) / scale) for x, y in line], 4.0 / scale)
        if math.hypot(*points[0]) < math.hypot(*points[-1]):
            points = points[::-1]
        for (ax, ay), (bx, by) in pairwise(points):
            number = min(int(math.degrees(math.atan2(by - ay, bx - ax)) % 360 // 10), 35)
            for row in range(height):
                for column in range(width):
                    x, y = column + 0.5, row + 0.5
                    boxed = min(ax, bx) - 10 <= x <= max(ax, bx) + 10 and min(ay, by) - 10 <= y <= max(ay, by) + 10
                    across = abs((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / math.dist((ax, ay), (bx, by))
                    if boxed and across <= 10:
                        label[row][column] = number
    for row in range(height):
        for column in range(width):
            if ignored(mask, row, column, scale):
                label[row][column] = 255
    return label


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_angles_are_those_of_the_definition(seed: int, scale: int) -> None:
    rng = np.random.default_rng(seed)
    nodes = rng.uniform(1, 47, (4, 2))
    ends = [(0, 1), (1, 2), (3, 3)]
    lines = [np.concatenate([nodes[[u]], rng.uniform(1, 47, (3 if u == v else 2, 2)), nodes[[v]]]) for u, v in ends]
    graph = RoadGraph(nodes, np.array([0, 1, 3]), np.array([1, 2, 3]), tuple(lines))
    mask = ground(seed)
    assert orientation(graph, mask, scale).tolist() == angles(graph, mask, scale)


def test_a_road_that_leaves_is_directed_by_what_is_seen_of_it() -> None:
    """Its ends in the whole picture say 0 degrees, those of the crop's part of it 180."""
    line = np.array([[500.0, 500.0], [60.0, 30.0], [10.0, 30.0], [-300.0, 30.0]])
    graph = RoadGraph(line[[0, 3]], np.array([0]), np.array([1]), (line,))
    seen = orientation(moved_roads(graph, np.eye(3)[:2], HEIGHT), np.zeros((HEIGHT, HEIGHT), np.uint8))
    assert seen[30, 20] in (17, 18)
