"""What is driven on each road: trips, speed and one-way traffic, from the points that follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import UsageError
from roadedge.roadgraph.graph import RoadGraph
from roadedge.roadmap.clean_mask import threads
from roadedge.roadmap.passes import Passes, grouped_median, passes_of_points
from roadedge.roadmap.point_blocks import BLOCK_M, Box, blocks_of, points_in_metres
from roadedge.roadmap.snapping import Segments, snap
from roadedge.trajectory.point_store import PointStore

KMH = 3.6


@dataclass(frozen=True, slots=True)
class TrafficOptions:
    """How points are taken for traffic of a road.

    A point follows the nearest road that runs within `angle_deg` of its heading (either way; a point without a heading
    the nearest road of all), where it lies no farther from the road's middle than half its width and `snap_m`. Points
    slower than `standing_ms` stand: their headings mean nothing, and a pass of nothing but such is none. Points of a
    vehicle on one road are one pass until `gap_s` go by without one. A road is one-way where at least
    `oneway_trips` passes of known direction were seen and the share `oneway_share` of them went the same way.
    """

    snap_m: float = 8.0
    angle_deg: float = 40.0
    standing_ms: float = 0.5
    gap_s: float = 120.0
    oneway_trips: int = 10
    oneway_share: float = 0.95

    def __post_init__(self) -> None:
        if not (0 < self.snap_m < 1000 and 0 < self.angle_deg <= 90):
            raise UsageError(
                f"points snap within 0 ... 1000 m and 0 ... 90 degrees, got {self.snap_m}, {self.angle_deg}"
            )
        if not (0.5 < self.oneway_share <= 1 and self.oneway_trips >= 1):
            raise UsageError(
                "a road is one-way by at least 1 trip and a share in (0.5, 1], "
                f"got {self.oneway_trips} and {self.oneway_share}"
            )
        if not (self.standing_ms >= 0 and self.gap_s > 0):
            raise UsageError(f"standing_ms and gap_s must be positive, got {self.standing_ms}, {self.gap_s}")


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """Of each of E roads; arrays of (E,).

    `n_trips` passes (-1: vehicles are not told apart), `n_points`, `speed_kmh` median over the passes of the median of
    each (NaN unknown), `oneway` 1 in the direction of the line, -1 against it, 0 both ways, UNKNOWN_ONEWAY where too
    few were seen. `points` were looked at, `followed` of them follow a road.
    """

    n_trips: NDArray[np.int64]
    n_points: NDArray[np.int64]
    speed_kmh: NDArray[np.float64]
    oneway: NDArray[np.int8]
    points: int
    followed: int


UNKNOWN_ONEWAY = 9


def traffic_of(
    graph: RoadGraph,
    points: PointStore,
    options: TrafficOptions,
    workers: int = 2,
    tell: Callable[[str, float], None] | None = None,
) -> Traffic:
    """The traffic of a graph in metres of a CRS, block by block, so that memory goes with a block and the passes.

    Raises:
        PointsError: the store is damaged.
        MissingExtraError: pyproj is needed and not installed.
    """
    segments = Segments.of(graph)
    blocks = blocks_of(segments.boxes(), points, graph.crs, BLOCK_M)

    def work(block: Box) -> tuple[Passes, int]:
        xy, stored = points_in_metres(points, block, graph.crs)
        if not len(stored):
            return Passes.none(), 0
        found = snap(segments, block, xy, stored.heading_deg, stored.speed_ms, options)
        return passes_of_points(found, stored, options), len(stored)

    seen, parts = 0, []
    with threads(workers) as pool:
        for number, (part, count) in enumerate(pool.map(work, blocks), 1):
            parts.append(part)
            seen += count
            if tell is not None:
                tell("points", number / len(blocks))
    passes = Passes.joined(parts, options.gap_s)
    return _summed(passes, len(graph.u), options, seen, "vid" in points.attributes)


def _summed(passes: Passes, edges: int, options: TrafficOptions, seen: int, named: bool) -> Traffic:
    moving = passes.moving
    trips = np.bincount(passes.edge[moving & (passes.vid >= 0)], minlength=edges)
    counted = np.bincount(passes.edge, passes.points, minlength=edges).astype(np.int64)
    known = np.isfinite(passes.speed_ms)
    speed = grouped_median(passes.edge[known], passes.speed_ms[known], edges) * KMH
    speed[speed <= 0] = np.nan
    forward = np.bincount(passes.edge[passes.direction > 0], minlength=edges)
    backward = np.bincount(passes.edge[passes.direction < 0], minlength=edges)
    total = forward + backward
    oneway = np.full(edges, UNKNOWN_ONEWAY, np.int8)
    enough = total >= options.oneway_trips
    oneway[enough] = 0
    oneway[enough & (forward >= options.oneway_share * total)] = 1
    oneway[enough & (backward >= options.oneway_share * total)] = -1
    return Traffic(trips if named else np.full(edges, -1), counted, speed, oneway, seen, int(passes.points.sum()))
