"""One window of a map as the network is fed it: the image, the heat-map of its points, what of it is known.

The heat-map is that of the whole scene, cut: it is counted one pixel beyond the window, as far as the Gaussian reaches.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.preprocess import Feeds
from roadedge.roadmap.grid import converted
from roadedge.roadmap.scene_reader import SceneReader
from roadedge.roadmap.survey import MapGrid
from roadedge.spec import HeatmapSpec, ModelSpec
from roadedge.trajectory.heatmap import count_points, heatmap_from_counts
from roadedge.trajectory.point_store import PointStore

Box = tuple[int, int, int, int]  # y0, x0, y1, x1 in pixels of the grid
_RIM = 12  # points along a box's rim, by which its bounds in another CRS are found


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What is known of a box of the grid: `image` (H, W, 3) and `second` (H, W) uint8, padded to the network's window.

    `valid` (h, w) says, within the scene, where there is an image; None: everywhere. `xy` (N, 2) are the points within
    it, in pixels of the grid.
    """

    image: NDArray[np.uint8]
    second: NDArray[np.uint8] | None
    valid: NDArray[np.bool_] | None
    xy: NDArray[np.float64]

    @property
    def is_blank(self) -> bool:
        """Whether there is no image at all."""
        return self.valid is not None and not self.valid.any()

    def feeds(self, spec: ModelSpec) -> Feeds:
        """For `Runner.infer`: a batch of one."""
        fed: Feeds = {}
        for name in spec.inputs:
            if name == "image":
                fed[name] = self.image[None]
            else:
                size = self.image.shape[:2]
                fed[name] = (np.zeros(size, np.uint8) if self.second is None else self.second)[None, ..., None]
        return fed


def points_in(store: PointStore, grid: MapGrid, box: Box) -> NDArray[np.float64]:
    """The points of a box: (N, 2) x, y in pixels of the grid; some of them may lie a little outside."""
    bounds = grid.bounds(*box)
    if store.crs == grid.crs:
        found = store.read(*bounds, columns=())
        xy = np.stack([found.x, found.y], axis=1)
    else:
        found = store.read(*bounds_in(store.crs, grid.crs, bounds), columns=())
        xy = converted(np.stack([found.x, found.y], axis=1), store.crs, grid.crs)
    return (xy - [grid.x0, grid.y0]) / [grid.gsd_m, -grid.gsd_m]


def draw_heatmap(xy: NDArray[np.float64], grid: MapGrid, box: Box, spec: HeatmapSpec) -> NDArray[np.uint8]:
    """The heat-map of a box, (H, W) uint8: that of the whole grid, cut; points off the grid are dropped."""
    y0, x0, y1, x1 = box
    size = y1 - y0, x1 - x0
    top, left = max(y0 - 1, 0), max(x0 - 1, 0)
    reach = min(y1 + 1, grid.height) - top, min(x1 + 1, grid.width) - left
    if not len(xy):
        return np.zeros(size, np.uint8)
    drawn = heatmap_from_counts(count_points(xy - [left, top], reach), spec)
    return drawn[y0 - top : y0 - top + size[0], x0 - left : x0 - left + size[1]]


def read_window(
    reader: SceneReader,
    corner: tuple[int, int],
    size: tuple[int, int],
    spec: ModelSpec,
    store: PointStore | None = None,
    second: SceneReader | None = None,
    seconds: dict[str, float] | None = None,
) -> Window:
    """Read what lies under a window of `size` (H, W) at `corner` (y, x), which may reach beyond the scene.

    Args:
        reader: of the scene.
        corner: the window's first pixel on the grid.
        size: of the window.
        spec: of the network.
        store: of the points, where the network takes them.
        second: of another raster for the second modality.
        seconds: what reading and drawing took is added to its `read` and `points`.

    Raises:
        SourceError: a file can no longer be read.
    """
    grid = reader.scene.grid
    box = (corner[0], corner[1], min(corner[0] + size[0], grid.height), min(corner[1] + size[1], grid.width))
    began = time.perf_counter()
    image, valid = reader.read(*box)
    read = time.perf_counter()
    if valid is not None:
        image[~valid] = spec.blank_rgb
    xy, drawn = np.zeros((0, 2)), None
    if store is not None:
        wide = box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1
        xy = points_in(store, grid, wide)
        if spec.second == "trajectory":
            drawn = _padded(draw_heatmap(xy, grid, box, spec.heatmap), size)
    if second is not None:
        drawn = _padded(second.read(*box)[0][..., 0], size)
    if seconds is not None:
        seconds["read"] += read - began
        seconds["points"] += time.perf_counter() - read
    return Window(_padded(image, size), drawn, valid, xy)


def _padded(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Mirrored beyond the scene, so that roads go on; as `preprocess` pads."""
    below, right = size[0] - plane.shape[0], size[1] - plane.shape[1]
    if not below and not right:
        return np.ascontiguousarray(plane)
    return np.pad(plane, [(0, below), (0, right), (0, 0)][: plane.ndim], mode="reflect")


def bounds_in(target: str, source: str, bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """A box of one CRS in another: the least that holds its rim. Of longitudes, west may be greater than east."""
    x0, y0, x1, y1 = bounds
    share = np.linspace(0, 1, _RIM)
    x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
    sides = [np.stack([a, np.full(_RIM, b)], axis=1) for a, b in ((x, y0), (x, y1))]
    sides += [np.stack([np.full(_RIM, a), b], axis=1) for a, b in ((x0, y), (x1, y))]
    rim = converted(np.concatenate(sides), source, target)
    low, high = rim.min(axis=0), rim.max(axis=0)
    slack = (high - low) * 1e-3  # the rim bends between its points
    low, high = low - slack, high + slack
    if target == "OGC:CRS84" and high[0] - low[0] > 180:  # across the antimeridian
        east = rim[rim[:, 0] > 0, 0].min(), rim[rim[:, 0] <= 0, 0].max()
        return float(east[0]), float(low[1]), float(east[1]), float(high[1])
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
