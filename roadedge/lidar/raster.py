"""Points → levels of 8 bits on a grid, strip by strip: memory grows neither with the cloud nor with the grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, UsageError
from roadedge.georeference.raster_place import from_lonlat, to_lonlat
from roadedge.lidar.cloud import Cloud, PointChunk, read_points
from roadedge.lidar.ground import Ground, LowestPoints, filled
from roadedge.spec import LidarSpec

STRIP_PIXELS = 6_000_000  # of the grid, at once
PERCENTILES = (1.0, 99.0)  # of intensities, where no range is given
LEVELS = 254  # between level 1 and 255; 0 is no data

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LidarGrid:
    """Pixels that points are drawn on: geotransform by GDAL's order, CRS, (H, W), metres per pixel."""

    transform: tuple[float, float, float, float, float, float]
    crs: str
    size: tuple[int, int]
    gsd_m: float

    def pixels(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(N,) coordinates of the CRS → rows and columns, of points off the grid beyond it."""
        x0, dx, rx, y0, ry, dy = self.transform
        turned = dx * dy - rx * ry
        columns = (dy * (x - x0) - rx * (y - y0)) / turned
        rows = (dx * (y - y0) - ry * (x - x0)) / turned
        limit = 2.0**40  # a place that the projection does not reach is infinite
        as_cells = [np.floor(np.nan_to_num(v, nan=-1.0).clip(-limit, limit)).astype(np.int64) for v in (rows, columns)]
        return as_cells[0], as_cells[1]


def both() -> dict[str, LidarSpec | None]:
    """Intensities by their own percentiles, heights up to 25.4 m."""
    return {"intensity": None, "height": LidarSpec.height()}


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw: `ranges` by quantity (None: percentiles of the intensities), and how far gaps are filled."""

    ranges: dict[str, LidarSpec | None] = field(default_factory=both)
    fill_m: float = 2.0

    def __post_init__(self) -> None:
        if not (self.fill_m >= 0 and math.isfinite(self.fill_m)):
            raise UsageError(f"gaps are filled over 0 metres or more, got {self.fill_m}")
        if not self.ranges or self.ranges.get("height", LidarSpec.height()) is None:
            raise UsageError("choose what to draw: intensity, height, or both; heights by a range in metres")


@dataclass(frozen=True, slots=True)
class Studied:
    """What a first reading of the points found: the ranges that levels stand for, the ground, points on the grid."""

    ranges: dict[str, LidarSpec]
    ground: Ground | None
    points: int
    outside: int


def study(clouds: Sequence[Cloud], grid: LidarGrid, drawing: Drawing, tell: Tell | None = None) -> Studied:
    """Read all points once: how many lie on the grid, the range of their intensities, the ground.

    Raises:
        DataError: a file cannot be read, or no point lies on the grid.
    """
    lowest = LowestPoints(grid.size, grid.gsd_m) if "height" in drawing.ranges else None
    histogram = np.zeros(1 << 16, np.int64)
    inside = outside = 0
    for cloud in clouds:
        if tell is not None and cloud.points:
            tell(f"looking at {cloud.path.name}: {cloud.points} points" + (", heights in feet" * cloud.in_feet))
        for rows, columns, chunk, kept in _located(cloud, grid, 0, grid.size[0]):
            inside += len(rows)
            outside += int((~kept).sum())
            if lowest is not None:
                lowest.add(rows, columns, chunk.z[kept], chunk.is_ground[kept])
            histogram += np.bincount(chunk.intensity[kept & chunk.is_first], minlength=1 << 16)
    if not inside:
        raise DataError(_nowhere(clouds, grid, outside))
    ranges = {name: given or _range_of(histogram) for name, given in drawing.ranges.items()}
    return Studied(ranges, None if lowest is None else lowest.surface(), inside, outside)


def check_meet(clouds: Sequence[Cloud], grid: LidarGrid) -> None:
    """Raise DataError where no cloud meets the grid by the bounds in its header: before anything is written."""
    if not any(_meets(cloud, grid, 0, grid.size[0]) for cloud in clouds):
        raise DataError(_nowhere(clouds, grid, sum(cloud.points for cloud in clouds)))


def drawn_strips(
    clouds: Sequence[Cloud], grid: LidarGrid, drawing: Drawing, studied: Studied
) -> Iterator[tuple[int, dict[str, NDArray[np.uint8]]]]:
    """Draw: the first row of a strip, and by quantity its (h, W) uint8; 0 where there is no point.

    Intensity is the mean of the first returns of a cell, height the highest point above the ground. Points of files
    that overlap count alike. Each strip reads the files that meet it.

    Raises:
        DataError: a file can no longer be read.
    """
    height, width = grid.size
    margin = math.ceil(drawing.fill_m / grid.gsd_m) + 1
    step = max(margin, STRIP_PIXELS // width, 1)
    for start in range(0, height, step):
        stop = min(start + step, height)
        first, last = max(start - margin, 0), min(stop + margin, height)
        planes = _strip(clouds, grid, drawing, studied, first, last)
        yield start, {name: plane[start - first : stop - first] for name, plane in planes.items()}


def _strip(
    clouds: Sequence[Cloud], grid: LidarGrid, drawing: Drawing, studied: Studied, first: int, last: int
) -> dict[str, NDArray[np.uint8]]:
    shape = last - first, grid.size[1]
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.uint32)
    top = np.full(shape, -np.inf, np.float32)
    for cloud in clouds:
        if not _meets(cloud, grid, first, last):
            continue
        for rows, columns, chunk, kept in _located(cloud, grid, first, last):
            at = (rows - first) * shape[1] + columns
            echo = chunk.is_first[kept]
            if "intensity" in studied.ranges:
                np.add.at(total.reshape(-1), at[echo], chunk.intensity[kept][echo].astype(np.float32))
                np.add.at(count.reshape(-1), at[echo], np.uint32(1))
            if "height" in studied.ranges:
                np.maximum.at(top.reshape(-1), at, chunk.z[kept].astype(np.float32))
    within = drawing.fill_m / grid.gsd_m
    planes: dict[str, NDArray[np.uint8]] = {}
    if "intensity" in studied.ranges:
        mean = np.divide(total, np.maximum(count, 1), dtype=np.float32, casting="unsafe")
        planes["intensity"] = levels(
            filled(np.asarray(mean, np.float32), count > 0, within), studied.ranges["intensity"]
        )
    if "height" in studied.ranges and studied.ground is not None:
        known = np.isfinite(top)
        above = filled(np.where(known, top, 0), known, within) - studied.ground.rows(first, last, shape[1])
        planes["height"] = levels(above, studied.ranges["height"])
    return {name: planes[name] for name in studied.ranges}


def levels(values: NDArray[np.float32], spec: LidarSpec) -> NDArray[np.uint8]:
    """1 ... 255 for `low` ... `high` and beyond; 0 where a value is NaN: where no point is near."""
    share = (values - spec.low) / (spec.high - spec.low)
    level = 1 + np.rint(np.nan_to_num(share).clip(0, 1) * LEVELS)
    return np.where(np.isnan(values), 0, level).astype(np.uint8)


def _located(
    cloud: Cloud, grid: LidarGrid, first: int, last: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], PointChunk, NDArray[np.bool_]]]:
    """Chunks with the rows and columns of those points, `kept`, that lie in rows `first` to `last` of the grid."""
    for chunk in read_points(cloud):
        x, y = chunk.x, chunk.y
        if cloud.crs != grid.crs:
            x, y = from_lonlat(to_lonlat(np.stack([x, y], axis=1), cloud.crs), grid.crs).T
        rows, columns = grid.pixels(x, y)
        kept = (rows >= first) & (rows < last) & (columns >= 0) & (columns < grid.size[1])
        yield rows[kept], columns[kept], chunk, kept


def _meets(cloud: Cloud, grid: LidarGrid, first: int, last: int) -> bool:
    """Whether a file may hold points of those rows, by the bounds in its header."""
    if not cloud.points:
        return False
    x0, y0, x1, y1 = cloud.bounds
    share = np.linspace(0, 1, 9)
    rim = np.array([[x0 + a * (x1 - x0), y0 + b * (y1 - y0)] for a in share for b in share])
    if cloud.crs != grid.crs:
        rim = from_lonlat(to_lonlat(rim, cloud.crs), grid.crs)
    rows, columns = grid.pixels(rim[:, 0], rim[:, 1])
    slack = 2 + int(max(np.ptp(rows), np.ptp(columns))) // 50  # edges bend between the places looked at
    across = columns.min() - slack < grid.size[1] and columns.max() + slack >= 0
    return bool(across and rows.min() - slack < last and rows.max() + slack >= first)


def _range_of(histogram: NDArray[np.int64]) -> LidarSpec:
    """The range of intensities between `PERCENTILES` of the first returns; 0 is what some scanners write for none."""
    counts = histogram.copy()
    counts[0] = 0
    total = counts.cumsum()
    if not total[-1]:
        return LidarSpec("intensity", 0.0, 1.0)
    low, high = (float(np.searchsorted(total, share / 100 * total[-1])) for share in PERCENTILES)
    return LidarSpec("intensity", low, max(high, low + 1))


def _nowhere(clouds: Sequence[Cloud], grid: LidarGrid, outside: int) -> str:
    if not outside:
        return "the point clouds hold nothing but noise and withheld points"
    cloud = next(cloud for cloud in clouds if cloud.points)
    x0, y0, x1, y1 = cloud.bounds
    at = to_lonlat([[(x0 + x1) / 2, (y0 + y1) / 2]], cloud.crs)[0]
    height, width = grid.size
    left, dx, rx, upper, ry, dy = grid.transform
    middle = [[left + dx * width / 2 + rx * height / 2, upper + ry * width / 2 + dy * height / 2]]
    lies = to_lonlat(middle, grid.crs)[0]
    return (
        f"none of {outside} points lies on the scene: {cloud.path.name} is about {at[0]:.4f}, {at[1]:.4f} and it "
        f"about {lies[0]:.4f}, {lies[1]:.4f} (longitude, latitude); check the CRS of both, and --crs"
    )
