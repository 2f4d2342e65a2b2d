"""Sample + ModelSpec → feeds: resample to the model's ground sample distance, rasterise, pad or cut into windows.

The one preprocessing of the project: training, calibration, parity, evaluation, benchmark and stream all call it.
Normalisation is not here; it is the network's first operation.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.sample import Sample, check_shape
from roadedge.spec import ModelSpec
from roadedge.trajectory.heatmap import rasterize

Feeds = dict[str, NDArray[Any]]  # {"image": (N, H, W, 3) uint8 RGB, "trajectory": (N, H, W, 1) uint8}
LARGEST_GRID_PX = 1 << 28  # an image that grows beyond it has a wrong ground sample distance: 16384 x 16384


class OutsideBandWarning(UserWarning):
    """The input lies outside the band of ground sample distances that the network was trained in."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a sample lies on the network's grid; a pure function of sample and spec, so both ends compute the same.

    `grid` is (H, W) after resampling; `window` the (H, W) that the network is fed; `corners` the (y, x) of each window
    on the grid. One window that is larger than the grid means padding at the right and bottom.
    """

    grid: tuple[int, int]
    window: tuple[int, int]
    corners: tuple[tuple[int, int], ...]


def fit(size: tuple[int, int], gsd_m: float | None, spec: ModelSpec, overlap: float = 0.25) -> Fit:
    """Lay an image of `size` (H, W) pixels at `gsd_m` metres per pixel (None: unknown) on the network's grid.

    A network of any size is fed once, padded up to its stride. A static one is fed windows of its size that share at
    least the fraction `overlap` with their neighbours.

    Raises:
        DataError: at this ground sample distance the image would grow beyond LARGEST_GRID_PX.
    """
    height, width = size
    if gsd_m is not None and spec.gsd_m is not None and abs(gsd_m / spec.gsd_m - 1) > spec.gsd_tolerance:
        ratio = gsd_m / spec.gsd_m
        height, width = max(1, round(height * ratio)), max(1, round(width * ratio))
        if ratio > 1 and height * width > LARGEST_GRID_PX:
            raise DataError(
                f"an image of {size[0]} x {size[1]} pixels at {gsd_m:.3g} m per pixel would grow to {height} x {width} "
                f"on the {spec.gsd_m:.3g} m grid of {spec.name}; check the ground sample distance, or cut the image up"
            )
    if spec.size is None:
        window = (_up(height, spec.stride), _up(width, spec.stride))
        return Fit((height, width), window, ((0, 0),))
    rows, columns = _starts(height, spec.size[0], overlap), _starts(width, spec.size[1], overlap)
    return Fit((height, width), spec.size, tuple((y, x) for y in rows for x in columns))


def preprocess(
    sample: Sample,
    spec: ModelSpec,
    strict: bool = False,
    second: NDArray[np.uint8] | None = None,
    checked: bool = False,
) -> Feeds:
    """What the network is fed for one sample.

    Args:
        sample: a missing modality becomes its blank: zeros for the second, the training mean for the image.
        spec: of the network.
        strict: a ground sample distance outside the trained band is an error, not a warning.
        second: what `draw_second` gave for this sample; a stream draws it apart, to time it. Default: drawn here.
        checked: the caller has looked at `band_complaint`; nothing is warned about.

    Returns:
        For each of `spec.inputs` an array (N, H, W, C) uint8, N windows (one for a network of any size).

    Raises:
        DataError: outside the trained band under `strict`, or far too coarse.
        ShapeError: `second` is not on the network's grid.
    """
    if not checked:
        check_band(sample.gsd_m, spec, strict)
    lay = fit(sample.size, sample.gsd_m, spec)
    if second is not None:
        check_shape("second", second, lay.grid)
    planes: Feeds = {}
    for name in spec.inputs:
        if name == "image":
            plane = _image(sample, lay.grid, spec)
        else:
            plane = (draw_second(sample, spec) if second is None else second)[..., None]
        planes[name] = _windows(plane, lay)
    return planes


def draw_second(sample: Sample, spec: ModelSpec) -> NDArray[np.uint8]:
    """The second modality on the network's grid: (h, w) uint8, `Fit.grid`; zeros where the sample has none."""
    grid = fit(sample.size, sample.gsd_m, spec).grid
    if sample.second is None:
        return np.zeros(grid, np.uint8)
    if sample.has_points:
        scale = np.array([grid[1] / sample.size[1], grid[0] / sample.size[0]])
        points = sample.second[:, :2] if sample.size == grid else sample.second[:, :2] * scale
        return rasterize(points, grid, spec.heatmap)
    return resample(sample.second, grid)


def band_complaint(gsd_m: float | None, spec: ModelSpec) -> str | None:
    """What is wrong where `gsd_m` lies outside the band that the network was trained in; None where nothing is."""
    band = spec.gsd_band_m
    if gsd_m is None or band is None or band[0] <= gsd_m <= band[1]:
        return None
    return (
        f"the image has {gsd_m:.3g} m per pixel and {spec.name} was trained on {band[0]:.3g} to {band[1]:.3g} m; "
        "its mask is not to be trusted here"
    )


def check_band(gsd_m: float | None, spec: ModelSpec, strict: bool = False) -> None:
    """Warn, or under `strict` raise DataError, where `gsd_m` lies outside the band that the network was trained in."""
    complaint = band_complaint(gsd_m, spec)
    if complaint is None:
        return
    if strict:
        raise DataError(complaint)
    warnings.warn(complaint, OutsideBandWarning, stacklevel=3)


def outside_density(points: int | None, grid: tuple[int, int], spec: ModelSpec) -> bool:
    """Whether `points` on a grid of (H, W) are more or fewer than the network was trained on.

    No points at all are the blank, which training shows too; None stands for a raster that is no drawing of points.
    """
    band = spec.density_band_per_mpx
    if band is None or not points:
        return False
    return not band[0] <= points / (grid[0] * grid[1]) * 1e6 <= band[1]


def resample(plane: NDArray[Any], grid: tuple[int, int]) -> NDArray[Any]:
    """Resample (H, W[, C]) to `grid` (H, W): area mean when shrinking, bilinear when growing."""
    import cv2

    if plane.shape[:2] == grid:
        return plane
    shrink = plane.shape[0] >= grid[0]
    return cv2.resize(plane, grid[::-1], interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


def _image(sample: Sample, grid: tuple[int, int], spec: ModelSpec) -> NDArray[np.uint8]:
    if sample.image is None:
        return np.full((*grid, 3), np.array(spec.blank_rgb, np.uint8))
    return resample(sample.image, grid)


def _windows(plane: NDArray[np.uint8], lay: Fit) -> NDArray[np.uint8]:
    height, width = lay.window
    below, right = max(0, height - plane.shape[0]), max(0, width - plane.shape[1])
    if below or right:  # mirrored, so that roads go on; both modalities alike
        plane = np.pad(plane, ((0, below), (0, right), (0, 0)), mode="reflect")  # repeats a side of one pixel
    return np.stack([plane[y : y + height, x : x + width] for y, x in lay.corners])


def _up(length: int, stride: int) -> int:
    return math.ceil(length / stride) * stride


def _starts(length: int, window: int, overlap: float) -> list[int]:
    if length <= window:
        return [0]
    count = math.ceil((length - window) / (window * (1 - overlap))) + 1
    return [round(i * (length - window) / (count - 1)) for i in range(count)]
