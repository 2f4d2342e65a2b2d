"""Probability raster → roads: traced as one mosaic, given what is driven on them, written for QGIS and for routing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, UnknownNameError, UsageError
from roadedge.roadgraph.graph import RoadGraph, measure
from roadedge.roadgraph.trace import TraceOptions
from roadedge.roadmap.gaps import GapOptions, close_gaps
from roadedge.roadmap.grid import TracingGrid
from roadedge.roadmap.road_files import FORMATS, write_roads_file
from roadedge.roadmap.road_table import RoadTable, tidy
from roadedge.roadmap.strips import Traced, trace_in_strips
from roadedge.roadmap.traffic import Traffic, TrafficOptions, traffic_of
from roadedge.trajectory.point_store import PointStore

PROBABILITY = "probability.tif"
Tell = Callable[[str], None]
_EVERY_S = 5.0  # between two lines of progress


@dataclass(frozen=True, slots=True)
class RoadsOptions:
    """How roads are made of a probability raster.

    `formats` are those of FORMATS. What is traced are cells of at most `cell_m` metres, the mean of whole pixels. With
    `gaps`, gaps that trips vouch for are closed; that needs points.
    """

    formats: tuple[str, ...] = ("gpkg",)
    trace: TraceOptions = field(default_factory=TraceOptions)
    traffic: TrafficOptions = field(default_factory=TrafficOptions)
    gaps: GapOptions | None = None
    cell_m: float = 1.0
    workers: int = 2

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS:
                raise UnknownNameError("format of roads", name, FORMATS)
        if not self.formats:
            raise UsageError(f"roads need at least one format of {', '.join(FORMATS)}")
        if not 0 < self.cell_m <= 100:
            raise UsageError(f"cells that are traced are 0 ... 100 m wide, got {self.cell_m}")
        if self.workers < 1:
            raise UsageError(f"at least one worker is needed, got {self.workers}")


@dataclass(frozen=True, slots=True)
class RoadsResult:
    """What was made: files by format, counts, settings, and seconds by step."""

    files: dict[str, Path]
    crs: str
    edges: int
    nodes: int
    junctions: int
    length_km: float
    cells: tuple[int, int]
    cell_m: float
    dropped: dict[str, int]
    gaps: int
    bridged: int
    blank_cells: int
    strips: int
    points: int | None
    points_on_roads: int | None
    edges_with_trips: int | None
    oneway_edges: int | None
    seconds: dict[str, float]
    options: RoadsOptions

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"schema_version": 1, **asdict(self), "files": {kind: str(path) for kind, path in self.files.items()}}


def write_roads(folder: Path, options: RoadsOptions, points: PointStore | None, tell: Tell) -> RoadsResult:
    """Make roads of `folder`/probability.tif, written beside it under the names of FORMATS.

    Args:
        folder: of `roadedge map`.
        options: thresholds, formats and all else.
        points: whose traffic the roads are given; None: its columns are empty.
        tell: is told a line of progress now and then.

    Raises:
        DataError: the raster cannot be used.
        OutputError: a file cannot be written, or the disk is full.
        MissingExtraError: rasterio, pyproj, pyogrio, shapely, scikit-image or SciPy is not installed.
    """
    return vectorize(
        folder / PROBABILITY, {kind: folder / FORMATS[kind] for kind in options.formats}, options, points, tell
    )


def vectorize(
    raster: Path, files: dict[str, Path], options: RoadsOptions, points: PointStore | None, tell: Tell
) -> RoadsResult:
    """As `write_roads`, of any probability raster into `files` by format."""
    if options.gaps is not None and points is None:
        raise UsageError("gaps are closed by trips that vouch for them; give --points, or leave --close-gaps out")
    clock = _Clock(tell)
    grid = TracingGrid.of(raster, options.cell_m)
    blank: list[int] = []
    highest: list[int] = []

    def read(start: int, stop: int) -> NDArray[np.uint8]:
        cells, empty = grid.read(start, stop)
        blank.append(empty)
        highest.append(int(cells.max(initial=0)))
        return cells

    scratch = next(iter(files.values())).parent
    traced = trace_in_strips(read, grid.size, options.trace, grid.gsd_m, scratch, options.workers, tell=clock.step)
    if max(highest, default=0) == 1:
        raise DataError(f"{raster} holds 0 and 1 only, as masks do; road must be 255: gdal_calc.py --calc='255*A'")
    if traced.too_wide:
        tell("roads: some are so wide that near the seams of strips their lines may lie otherwise than in one piece")
    graph, dropped = tidy(placed(traced.graph, grid))
    bridged, candidates = np.zeros(len(graph.u), np.bool_), 0
    clock.done("placed")
    traffic = None
    if points is not None and options.gaps is not None:
        closed = close_gaps(graph, points, options.gaps, grid, options.workers, clock.step)
        graph, bridged, candidates = closed.graph, closed.bridged, closed.candidates
        clock.done("gaps")
    if points is not None:
        if "heading_deg" not in points.attributes:
            tell("roads: the points have no headings, so no road is told to be one-way or not")
        traffic = traffic_of(graph, points, options.traffic, options.workers, clock.step)
        clock.done("points")
    table = RoadTable.with_traffic(graph, bridged, traffic)
    for kind, path in files.items():
        write_roads_file(kind, path, table)
    clock.done("written")
    return _result(files, table, grid, traced, dropped, candidates, sum(blank), traffic, clock.seconds, options)


def placed(graph: RoadGraph, grid: TracingGrid) -> RoadGraph:
    """A graph in cells of a grid in the metres of its CRS; lengths are measured there, widths scaled to it."""
    if not graph.lines:
        return replace(graph, crs=grid.crs, unit="m")
    middle = np.array([line[len(line) // 2] for line in graph.lines])
    origin = grid.to_metres(middle)
    right, down = (grid.to_metres(middle + step) - origin for step in ([1.0, 0.0], [0.0, 1.0]))
    scale = np.sqrt(np.abs(right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0])) / grid.gsd_m
    moved = graph.moved(grid.to_metres, grid.crs)
    if not all(np.isfinite(line).all() for line in moved.lines):
        raise DataError(f"{grid.path} reaches beyond what {grid.crs} can show; cut it into regions with gdalwarp")
    return replace(moved, length=measure(moved.lines), width=moved.width * scale, unit="m")


def _result(
    files: dict[str, Path],
    table: RoadTable,
    grid: TracingGrid,
    traced: Traced,
    dropped: dict[str, int],
    candidates: int,
    blank: int,
    traffic: Traffic | None,
    seconds: dict[str, float],
    options: RoadsOptions,
) -> RoadsResult:
    graph = table.graph
    return RoadsResult(
        {kind: path.resolve() for kind, path in files.items()},
        graph.crs,
        len(graph.u),
        len(graph.nodes),
        int((graph.degree >= 3).sum()),
        round(graph.total_length / 1000, 3),
        grid.size,
        round(grid.gsd_m, 4),
        dropped,
        candidates,
        int(table.bridged.sum()),
        blank,
        traced.strips,
        None if traffic is None else traffic.points,
        None if traffic is None else traffic.followed,
        None if traffic is None else int((traffic.n_trips > 0).sum()),
        None if table.traffic is None else int((table.traffic.oneway == 1).sum()),
        seconds,
        options,
    )


class _Clock:
    """Seconds by step, and a line of progress every few seconds."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._start = self._said = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def step(self, name: str, share: float) -> None:
        now = time.perf_counter()
        if share >= 1:
            self.done(name)
        elif now - self._said >= _EVERY_S:
            self._said = now
            left = (now - self._start) * (1 - share) / max(share, 1e-3)
            self._tell(f"roads: {name} {share:.0%}, about {left:.0f} s left of this step")

    def done(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._start, 3)
        self._start = now
