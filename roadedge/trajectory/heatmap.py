"""Points → heat-map: count per pixel, logarithm over a fixed maximum, 3 x 3 Gaussian, uint8.

Source: CMMPNet, section III (count, log, Gaussian); the fixed maximum, sigma and borders are our choice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.spec import HeatmapSpec


def count_points(points: NDArray[Any], size: tuple[int, int]) -> NDArray[np.uint32]:
    """Points per pixel.

    Args:
        points: (N, >= 2) x, y in pixels, (0, 0) the upper left corner. Points outside, NaN or infinite are dropped.
        size: height and width in pixels.

    Returns:
        (H, W) counts.
    """
    height, width = size
    x, y = points[:, 0], points[:, 1]
    with np.errstate(invalid="ignore"):
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # NaN and infinity compare false
    index = y[inside].astype(np.int64) * width + x[inside].astype(np.int64)  # not negative: truncation is floor
    return np.bincount(index, minlength=height * width).reshape(size).astype(np.uint32)


def heatmap_from_counts(counts: NDArray[Any], spec: HeatmapSpec) -> NDArray[np.uint8]:
    """(H, W) counts → (H, W) uint8 heat-map; zero border outside."""
    import cv2

    level = np.minimum(np.log1p(counts.astype(np.float32)) / np.float32(np.log1p(spec.n_max)), 1)
    kernel = cv2.getGaussianKernel(3, spec.sigma_px, cv2.CV_32F)
    smooth = cv2.sepFilter2D(level, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.rint(smooth * 255).astype(np.uint8)


def rasterize(points: NDArray[Any], size: tuple[int, int], spec: HeatmapSpec) -> NDArray[np.uint8]:
    """Draw points as the heat-map that the network sees: (N, >= 2) pixels → (H, W) uint8; zeros without points."""
    return heatmap_from_counts(count_points(points, size), spec)
