"""Network outputs + ModelSpec → RoadMask: blend the windows, crop the padding, resample back, threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import NonFiniteError, ShapeError, UsageError
from roadedge.preprocess import Feeds, Fit, fit, resample
from roadedge.sample import RoadMask, Sample, check_shape
from roadedge.spec import ModelSpec


def postprocess(outputs: Feeds, spec: ModelSpec, sample: Sample, threshold: float | None = None) -> RoadMask:
    """The mask on the grid of the sample's own image.

    Args:
        outputs: `probability` (N, H, W) uint8, one per window of `fit`.
        spec: of the network.
        sample: the one that `preprocess` was given.
        threshold: in (0, 1); default the spec's.

    Raises:
        UsageError: the threshold lies outside (0, 1).
        ShapeError: the outputs are not those of this sample.
        NonFiniteError: the outputs hold NaN or infinity.
    """
    lay = fit(sample.size, sample.gsd_m, spec)
    tiles = outputs["probability"]
    check_shape("probability", tiles, (len(lay.corners), *lay.window))
    if tiles.dtype != np.uint8:
        if not np.issubdtype(tiles.dtype, np.floating):
            raise ShapeError(f"probability must be uint8, or floating in [0, 1], got {tiles.dtype}")
        if not np.isfinite(tiles).all():
            raise NonFiniteError(f"{spec.name} returned NaN or infinite probabilities; do not use this artefact")
        tiles = np.clip(np.rint(tiles.astype(np.float32) * 255.0), 0, 255).astype(np.uint8)
    probability = resample(_blend(tiles, lay), sample.size)
    level = to_level(spec.threshold if threshold is None else threshold)
    return RoadMask(probability, probability >= level, sample.place, sample.t_s, sample.id)


def to_level(threshold: float) -> int:
    """The lowest uint8 level that counts as road at a threshold on the probability; UsageError outside (0, 1)."""
    if not 0 < threshold < 1:
        raise UsageError(f"the threshold must lie between 0 and 1, got {threshold}")
    return int(np.ceil(threshold * 255.0))


def _blend(tiles: NDArray[np.uint8], lay: Fit) -> NDArray[Any]:
    height, width = lay.grid
    if len(lay.corners) == 1:
        return np.ascontiguousarray(tiles[0, :height, :width])
    weight = np.minimum(*np.meshgrid(_ramp(lay.window[0]), _ramp(lay.window[1]), indexing="ij")).astype(np.float32)
    total = np.zeros(np.maximum(lay.grid, lay.window), np.float32)
    weights = np.zeros_like(total)
    for tile, (y, x) in zip(tiles, lay.corners, strict=True):
        part = np.s_[y : y + lay.window[0], x : x + lay.window[1]]
        total[part] += tile * weight
        weights[part] += weight
    return np.asarray(np.rint(total / weights)[:height, :width], np.uint8)


def _ramp(length: int) -> NDArray[np.float64]:
    steps = np.arange(1, length + 1)
    return np.minimum(steps, steps[::-1])
