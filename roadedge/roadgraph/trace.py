"""From a mask or a probability to a `RoadGraph`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import UsageError
from roadedge.place import Place
from roadedge.roadgraph.graph import Line, RoadGraph, measure
from roadedge.roadgraph.pixel_graph import PixelGraph, trace_pixels
from roadedge.roadgraph.skeleton import clean, half_widths, hysteresis, looked_up, skeletonize
from roadedge.roadgraph.topology import Network, Strand

NOMINAL_GSD_M = 0.5  # what a pixel counts for in the tolerances where nobody knows: that of the published data sets


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """How a mask becomes a graph. Tolerances are metres; without a GSD a pixel counts as NOMINAL_GSD_M of them.

    A pixel is road from the probability `threshold` on, and from `low_threshold` on where it hangs together with such.
    Pieces of road below `least_area_m2` go, holes below `least_hole_m2` are filled. Dead ends that reach less than
    `spur_m` beyond a corner of the road that they leave are pruned. Lines that hang together and are shorter than
    `least_length_m` go, unless a road of them goes on beyond the border. Lines are simplified by `simplify_m` (Douglas
    and Peucker), at least by `simplify_px`, since a skeleton is no truer than a pixel. `merge` makes one node of
    junctions within each other's inscribed disc.
    """

    threshold: float = 0.5
    low_threshold: float = 0.35
    least_area_m2: float = 30.0
    least_hole_m2: float = 30.0
    spur_m: float = 6.0
    least_length_m: float = 20.0
    simplify_m: float = 1.0
    simplify_px: float = 1.0
    merge: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.low_threshold <= self.threshold < 1:
            raise UsageError(
                f"thresholds must obey 0 < low <= high < 1, got low {self.low_threshold} and high {self.threshold}"
            )
        for name in ("least_area_m2", "least_hole_m2", "spur_m", "least_length_m", "simplify_m", "simplify_px"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UsageError(f"{name} must be zero or more, got {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, to be printed beside whatever is made with them."""
        return asdict(self)


def trace(
    road: NDArray[Any],
    options: TraceOptions | None = None,
    gsd_m: float | None = None,
    place: Place | None = None,
) -> RoadGraph:
    """The road graph of a mask or a probability.

    Args:
        road: (H, W) uint8 probability with 255 = certain, floating in [0, 1], or a bool mask.
        options: default TraceOptions().
        gsd_m: metres per pixel. Without it, that of `place`; without both, lengths and widths are pixels.
        place: where the pixels lie. With it the graph lies in its plane, else in pixels (corner coordinates).

    Returns:
        Edges with line, length, width (median along the road of twice the distance to its sides) and mean probability
        (NaN for a bool mask). A ring has one node, where no other road says where. No nodes without edges.

    Raises:
        ShapeError: not (H, W), or values outside [0, 1].
        UsageError: a GSD that is not positive.
        MissingExtraError: scikit-image is not installed (extra `graph`).
    """
    options = options or TraceOptions()
    if gsd_m is None and place is not None and road.size:
        gsd_m = place.gsd_m((road.shape[0], road.shape[1]))
    if gsd_m is not None and not 0 < gsd_m < 1e4:
        raise UsageError(f"the ground sample distance must be positive metres per pixel, got {gsd_m}")
    pixel_m = gsd_m or NOMINAL_GSD_M
    mask = hysteresis(road, options.threshold, options.low_threshold)
    mask = clean(mask, options.least_area_m2 / pixel_m**2, options.least_hole_m2 / pixel_m**2)
    half_width = half_widths(mask)
    skeleton, leaving = skeletonize(mask, half_width)
    rows, columns = np.nonzero(skeleton)
    pixels = SkeletonPixels(
        rows,
        columns,
        half_width[rows, columns],
        leaving[rows, columns],
        None if road.dtype == np.bool_ else road[rows, columns],
        looked_up(half_width),
    )
    graph = connect(pixels, options, gsd_m)
    return graph if place is None else graph.to_ground(place)


@dataclass(frozen=True, slots=True, eq=False)
class SkeletonPixels:
    """The P pixels of a skeleton in reading order, each with what it knows of its road.

    `rows`, `columns` (P,) int64; `half_width` (P,) pixels; `leaving` (P,) bool, where a road leaves the picture;
    `probability` (P,) uint8 or floating in [0, 1], None of a bool mask. `half_width_at` says of any (N, 2) x, y half
    the width of the road there, 0 beside it and outside the picture.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    half_width: NDArray[np.float32]
    leaving: NDArray[np.bool_]
    probability: NDArray[Any] | None
    half_width_at: Callable[[Line], NDArray[np.float32]]


def connect(skeleton: SkeletonPixels, options: TraceOptions, gsd_m: float | None = None) -> RoadGraph:
    """The second half of `trace`: the graph, in pixels, of a skeleton that was thinned already."""
    pixel_m = gsd_m or NOMINAL_GSD_M
    pixels = trace_pixels(skeleton.rows, skeleton.columns)
    network = _network(pixels, skeleton)
    network.prune(options.spur_m / pixel_m)
    if options.merge:
        network.merge()
    network.mend_ends()
    network.drop_pieces(options.least_length_m / pixel_m)
    tolerance = max(options.simplify_m / pixel_m, options.simplify_px)
    return _graph(network, tolerance, 2 * skeleton.half_width, skeleton.probability, gsd_m)


def simplify(line: Line, tolerance: float) -> Line:
    """(K, 2) → (<= K, 2) by Douglas and Peucker: its ends stay, no point lay further than `tolerance` from it.

    A closed line is cut where it is farthest from its ends, so that a ring keeps its shape. Tolerance 0 keeps all.
    """
    if tolerance <= 0 or len(line) < 3:
        return line
    if (line[0] == line[-1]).all():
        far = int(np.argmax(np.linalg.norm(line - line[0], axis=1)))
        if far in (0, len(line) - 1):
            return line[[0, -1]]
        return np.concatenate([_peucker(line[: far + 1], tolerance), _peucker(line[far:], tolerance)[1:]])
    return _peucker(line, tolerance)


def _peucker(line: Line, tolerance: float) -> Line:
    import cv2

    kept = cv2.approxPolyDP(line.astype(np.float32)[:, None], tolerance, False)[:, 0].astype(np.float64)
    return np.concatenate([line[:1], kept[1:-1], line[-1:]])


def _network(pixels: PixelGraph, skeleton: SkeletonPixels) -> Network:
    radius = np.zeros(len(pixels.centres))
    held = pixels.node_of >= 0
    np.maximum.at(radius, pixels.node_of[held], skeleton.half_width[held])
    out = pixels.node_of[held & skeleton.leaving]
    strands = {
        edge: Strand(int(pixels.u[edge]), int(pixels.v[edge]), pixels.line(edge), _pixels_of(pixels, edge))
        for edge in range(len(pixels.u))
    }
    return Network(pixels.centres.copy(), radius, skeleton.half_width_at, strands, frozenset(out.tolist()))


def _pixels_of(pixels: PixelGraph, edge: int) -> NDArray[np.int64]:
    """What a road is measured on: its chain, or the two ends of one without."""
    return pixels.chains[edge] if pixels.chains[edge].size else pixels.ends[edge]


def _graph(
    network: Network,
    tolerance: float,
    width: NDArray[np.float32],
    probability: NDArray[Any] | None,
    gsd_m: float | None,
) -> RoadGraph:
    strands = list(network.strands.values())
    unit_per_pixel = 1.0 if gsd_m is None else gsd_m
    ends = np.array([(strand.u, strand.v) for strand in strands], np.int64).reshape(-1, 2)
    used, ends = np.unique(ends, return_inverse=True)
    ends = ends.reshape(-1, 2)
    lines = tuple(simplify(strand.line, tolerance) for strand in strands)
    confidence = np.full(len(strands), np.nan)
    if probability is not None:
        top = 255.0 if probability.dtype == np.uint8 else 1.0
        confidence = np.array([probability[strand.pixels].mean(dtype=np.float64) / top for strand in strands])
    return RoadGraph(
        network.centres[used],
        ends[:, 0],
        ends[:, 1],
        lines,
        measure(lines) * unit_per_pixel,
        np.array([np.median(width[strand.pixels]) for strand in strands], np.float64) * unit_per_pixel,
        confidence.clip(0, 1),
        unit="px" if gsd_m is None else "m",
    )
