"""`RoadGraph`: roads as nodes and edges with geometry, the currency of maps, streams and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roadedge.errors import DataError, ShapeError, SpecMismatchError
from roadedge.place import Place
from roadedge.sample import check_array
from roadedge.trajectory.plane import LocalPlane

PIXEL = "pixel"
LONLAT = "OGC:CRS84"
Unit = Literal["m", "px"]
Line = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RoadGraph:
    """An undirected multigraph of roads: parallel edges and self-loops are roads too.

    `nodes` is (N, 2) x, y in `crs`: "pixel" (corner coordinates of an image, x right, y down), a metric plane, or
    "OGC:CRS84" (longitude, latitude). Edge i runs from node `u[i]` to node `v[i]` along `lines[i]`, (K, 2) with K >= 2,
    whose ends are those nodes. `length` and `width` are in `unit`, which is "m" wherever the ground sample distance was
    known, also where the coordinates are pixels. `confidence` is the mean probability in [0, 1], `speed_kmh` the speed
    that is driven or allowed, above 0. A width, confidence or speed that nobody knows is NaN; left out, all are. A
    length left out is that of the line, in the unit of the coordinates.
    """

    nodes: NDArray[np.float64]
    u: NDArray[np.int64]
    v: NDArray[np.int64]
    lines: tuple[Line, ...]
    length: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    width: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    confidence: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    speed_kmh: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    crs: str = PIXEL
    unit: Unit = "px"

    def __post_init__(self) -> None:
        nodes, u, v = np.array(self.nodes, np.float64), _indices("u", self.u), _indices("v", self.v)
        if nodes.ndim != 2 or nodes.shape[1] != 2 or not np.isfinite(nodes).all():
            raise ShapeError(f"nodes must be finite x, y of shape (N, 2), got shape {nodes.shape}")
        lines = tuple(np.array(line, np.float64) for line in self.lines)
        if not len(u) == len(v) == len(lines):
            raise ShapeError(f"each edge needs u, v and a line, got {len(u)}, {len(v)} and {len(lines)}")
        if len(u) and not (0 <= min(u.min(), v.min()) and max(u.max(), v.max()) < len(nodes)):
            raise ShapeError(f"edges name nodes outside 0 ... {len(nodes) - 1}")
        _check_lines(lines, nodes, u, v)
        if self.unit not in ("m", "px"):
            raise ShapeError(f"the unit of a road graph is 'm' or 'px', got {self.unit!r}")
        length = np.array(self.length, np.float64)
        if not length.size and lines:
            if self.crs == LONLAT:
                raise ShapeError("lengths cannot be measured in degrees; give `length`, or measure on a metric plane")
            length = measure(lines)
        arrays = {"nodes": nodes, "u": u, "v": v, "length": _values("length", length, len(u), np.inf, known=True)}
        for name, top in (("width", np.inf), ("confidence", 1.0), ("speed_kmh", np.inf)):
            values = np.array(getattr(self, name), np.float64)
            arrays[name] = _values(name, values if values.size else np.full(len(u), np.nan), len(u), top)
        if (arrays["speed_kmh"] == 0).any():
            still = int(np.argmax(arrays["speed_kmh"] == 0))
            raise DataError(f"speed_kmh of edge {still} must be above 0; where nobody knows it, it is NaN")
        for name, array in (*arrays.items(), *(("", line) for line in lines)):
            array.flags.writeable = False
            if name:
                object.__setattr__(self, name, array)
        object.__setattr__(self, "lines", lines)

    @classmethod
    def empty(cls, crs: str = PIXEL, unit: Unit = "px") -> RoadGraph:
        """A graph without roads."""
        none = np.empty(0, np.int64)
        return cls(np.empty((0, 2)), none, none, (), crs=crs, unit=unit)

    @property
    def degree(self) -> NDArray[np.int64]:
        """(N,) ends of edges at each node; a self-loop counts twice."""
        return np.bincount(np.concatenate([self.u, self.v]), minlength=len(self.nodes))

    @property
    def total_length(self) -> float:
        """Of all edges, in `unit`."""
        return float(self.length.sum())

    def to_ground(self, place: Place) -> RoadGraph:
        """From the pixels of an image to the metres of its place; lengths and widths are measured anew there.

        Roads that reach the horizon of a tilted camera have no place on the ground and are left out.

        Raises:
            SpecMismatchError: the coordinates are no pixels.
        """
        if self.crs != PIXEL:
            raise SpecMismatchError(f"this road graph already lies in {self.crs!r}; only one in pixels can be placed")
        graph = self._below_horizon(place)
        if not graph.lines:
            return RoadGraph.empty(place.crs, "m")
        scale = _local_scale(place, graph.lines) / _units_per_pixel(graph)
        placed = graph.moved(place.to_ground, place.crs)
        return replace(placed, length=measure(placed.lines), width=graph.width * scale, unit="m")

    def to_lonlat(self, plane: LocalPlane | None = None) -> RoadGraph:
        """From a metric plane to longitude, latitude (OGC:CRS84); lengths and widths stay what they are, in metres.

        Args:
            plane: the one that the graph lies in. Without it the graph's `crs` is converted by pyproj.

        Raises:
            SpecMismatchError: the graph lies in pixels, or in another plane than `plane`.
            MissingExtraError: pyproj is needed and not installed.
        """
        if self.crs == LONLAT:
            return self
        if self.crs == PIXEL:
            raise SpecMismatchError("this road graph lies in pixels; give it a place first (to_ground)")
        if plane is not None and self.crs not in (plane.crs, "local"):
            raise SpecMismatchError(f"this road graph lies in {self.crs!r}, not in {plane.crs!r}")
        return self.moved(plane.to_lonlat if plane is not None else _projection(self.crs), LONLAT)

    def moved(self, move: Callable[[ArrayLike], NDArray[np.float64]], crs: str) -> RoadGraph:
        """The same roads with (N, 2) coordinates put through `move`; lengths, widths and unit stay what they are."""
        if not len(self.nodes):
            return replace(self, crs=crs)
        every = move(np.concatenate([self.nodes, *self.lines]))
        nodes, *lines = np.split(every, np.cumsum([len(self.nodes), *(len(line) for line in self.lines)])[:-1])
        for line, u, v in zip(lines, self.u, self.v, strict=True):
            line[0], line[-1] = nodes[u], nodes[v]  # the same to the last bit, however the arithmetic was split up
        return replace(self, nodes=nodes, lines=tuple(lines), crs=crs)

    def kept(self, edges: NDArray[Any]) -> RoadGraph:
        """The graph of the `edges` (indices or a mask) and their nodes, which are numbered anew in their old order."""
        chosen = np.arange(len(self.u))[edges]
        used, ends = np.unique(np.concatenate([self.u[chosen], self.v[chosen]]), return_inverse=True)
        return replace(
            self,
            nodes=self.nodes[used],
            u=ends[: len(chosen)],
            v=ends[len(chosen) :],
            lines=tuple(self.lines[i] for i in chosen),
            length=self.length[chosen],
            width=self.width[chosen],
            confidence=self.confidence[chosen],
            speed_kmh=self.speed_kmh[chosen],
        )

    def _below_horizon(self, place: Place) -> RoadGraph:
        """Edges whose every point lies on the ground's side of the horizon.

        There the map from pixels to the plane is a mirror image (y runs down in a picture), beyond it no more: the
        determinant of its derivative, det(H) / w³, changes its sign with w, which is 0 on the horizon.
        """
        matrix = place.homography
        if not (self.lines and matrix[2, :2].any()):  # without a tilt there is no horizon, and rasters may be turned
            return self
        depth = np.concatenate(self.lines) @ matrix[2, :2] + matrix[2, 2]
        seen = depth * np.sign(np.linalg.det(matrix)) < -1e-9 * np.abs(depth).max()
        ends = np.cumsum([len(line) for line in self.lines])
        return self.kept(np.logical_and.reduceat(seen, np.concatenate([[0], ends[:-1]])))


def measure(lines: Sequence[Line]) -> NDArray[np.float64]:
    """(E,) lengths of polylines in the unit of their coordinates."""
    if not lines:
        return np.empty(0)
    counts = np.array([len(line) for line in lines])
    steps = np.linalg.norm(np.diff(np.concatenate(lines), axis=0), axis=1)
    ends = np.cumsum(counts)
    steps[ends[:-1] - 1] = 0.0  # from the end of a line to the begin of the next one
    return np.add.reduceat(steps, np.concatenate([[0], ends[:-1]]))


def _check_lines(lines: tuple[Line, ...], nodes: Line, u: NDArray[np.int64], v: NDArray[np.int64]) -> None:
    for number, line in enumerate(lines):
        if line.ndim != 2 or line.shape[1] != 2 or len(line) < 2 or not np.isfinite(line).all():
            raise ShapeError(f"line {number} must be at least two finite x, y, got shape {line.shape}")
    if lines:
        ends = np.stack([[line[0], line[-1]] for line in lines])
        if not np.array_equal(ends, np.stack([nodes[u], nodes[v]], axis=1)):
            wrong = int(np.flatnonzero((ends != np.stack([nodes[u], nodes[v]], axis=1)).any((1, 2)))[0])
            raise ShapeError(f"line {wrong} must begin at node {u[wrong]} and end at node {v[wrong]}")


def _indices(name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    check_array(name, values)
    if values.ndim != 1 or not (np.issubdtype(values.dtype, np.integer) or not values.size):
        raise ShapeError(f"{name} must be (E,) integers, got {values.dtype} of shape {values.shape}")
    return np.array(values, np.int64)


def _values(name: str, values: NDArray[np.float64], count: int, top: float, known: bool = False) -> NDArray[np.float64]:
    if values.shape != (count,):
        raise ShapeError(f"{name} must have one value for each of {count} edges, got shape {values.shape}")
    bad = ~((values >= 0) & (values <= top) & np.isfinite(values))
    if not known:
        bad &= ~np.isnan(values)
    if bad.any():
        raise DataError(f"{name} of edge {int(np.argmax(bad))} must lie in [0, {top:g}], got {values[bad][0]}")
    return values


def _local_scale(place: Place, lines: Sequence[Line]) -> NDArray[np.float64]:
    """(E,) metres per pixel at the middle point of each line: root of the area that a pixel covers there."""
    middle = np.array([line[len(line) // 2] for line in lines]).reshape(-1, 2)
    origin = place.to_ground(middle)
    right, down = (place.to_ground(middle + np.array(step)) - origin for step in ((1.0, 0.0), (0.0, 1.0)))
    return np.sqrt(np.abs(right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]))


def _units_per_pixel(graph: RoadGraph) -> NDArray[np.float64]:
    """(E,) what `length` and `width` of a graph in pixels count for one pixel."""
    return np.ones(len(graph.u)) if graph.unit == "px" else graph.length / np.maximum(measure(graph.lines), 1e-12)


def _projection(crs: str) -> Callable[[ArrayLike], NDArray[np.float64]]:
    from roadedge.errors import MissingExtraError

    try:
        from pyproj import Transformer
        from pyproj.exceptions import CRSError
    except ImportError as error:
        raise MissingExtraError("pyproj", "geo", f"longitude and latitude of coordinates in {crs!r}") from error
    try:
        transformer = Transformer.from_crs(crs, LONLAT, always_xy=True)
    except CRSError as error:
        raise SpecMismatchError(f"{crs!r} is no coordinate system that pyproj knows; give the plane") from error

    def move(xy: ArrayLike) -> NDArray[np.float64]:
        x, y = np.asarray(xy, np.float64).T
        return np.stack(transformer.transform(x, y), axis=1)

    return move
