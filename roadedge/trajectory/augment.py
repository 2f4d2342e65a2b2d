"""What real GPS does to points, for training and for robustness curves: pure functions of points and a generator.

Points are (N, >= 2) with x, y first; further columns follow their row. Lengths are in the units of x and y, pixels or
metres. The input is never changed, and one state of `rng` gives one result.

Source: density (`sampling`), precision, perturbation and omission after Sun et al., CVPR 2019 (`gps_render`), without
its truncations; the log-uniform density and the shift are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import UsageError

_Points = NDArray[Any]


def density(points: _Points, rng: np.random.Generator, low: float = 0.001, high: float = 1.0) -> _Points:
    """Keep a random fraction of the points, log-uniform in [low, high]: a live minute is a thousandth of a week.

    Raises:
        UsageError: unless 0 < low <= high <= 1.
    """
    if not 0 < low <= high <= 1:
        raise UsageError(f"a fraction of points lies in (0, 1], with low <= high; got {low} to {high}")
    fraction = np.exp(rng.uniform(np.log(low), np.log(high)))
    return keep_fraction(points, rng, float(fraction))


def keep_fraction(points: _Points, rng: np.random.Generator, fraction: float) -> _Points:
    """Keep each point with the probability `fraction`, in the order they came."""
    return np.asarray(points[rng.random(len(points)) < fraction])


def precision(points: _Points, rng: np.random.Generator, coarsest: float = 10.0) -> _Points:
    """Quantise x, y to the centres of a grid of steps 1 / U(1 / coarsest, 1), between 1 and `coarsest`.

    Raises:
        UsageError: unless coarsest >= 1.
    """
    if not coarsest >= 1:
        raise UsageError(f"the coarsest step must be at least 1, got {coarsest}")
    step = 1 / rng.uniform(1 / coarsest, 1)
    return _moved(points, (np.floor(points[:, :2] / step) + 0.5) * step)


def perturbation(points: _Points, rng: np.random.Generator, sigma_max: float = 10.0) -> _Points:
    """Add Gaussian noise to each point, its sigma drawn once from U(0, sigma_max)."""
    sigma = rng.uniform(0, sigma_max)
    return _moved(points, points[:, :2] + rng.normal(0, sigma, (len(points), 2)))


def omission(
    points: _Points, rng: np.random.Generator, size: tuple[float, float], side_fraction: float = 0.5
) -> _Points:
    """Remove the points within a rectangle of `side_fraction` of each side, anywhere that it touches the tile.

    Args:
        points: (N, >= 2).
        rng: the generator.
        size: height and width of the tile.
        side_fraction: in (0, 1].
    """
    height, width = size
    hole = np.array([width, height]) * side_fraction
    corner = rng.uniform(-hole, [width, height])
    within = ((points[:, :2] >= corner) & (points[:, :2] < corner + hole)).all(axis=1)
    return np.asarray(points[~within])


def shift(points: _Points, rng: np.random.Generator, longest: float = 10.0) -> _Points:
    """Move all points by one vector: any direction, length U(0, longest)."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0, longest)
    return _moved(points, points[:, :2] + length * np.array([np.cos(angle), np.sin(angle)]))


AUGMENTATIONS: dict[str, Callable[..., _Points]] = {
    "density": density,
    "precision": precision,
    "perturbation": perturbation,
    "omission": omission,
    "shift": shift,
}


def _moved(points: _Points, xy: NDArray[Any]) -> _Points:
    """A copy of `points` with other x, y, in their type."""
    moved = points.copy()
    moved[:, :2] = xy
    return moved
