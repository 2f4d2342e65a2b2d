"""Pixel scores as published scripts compute them, bugs included: to be set beside old tables, and for nothing else.

* Accuracy, precision, recall and IoU are means over batches of 8 of what each batch gives; all four of a batch are 0
  where it has no road pixel in common (Sun, CMMPNet, CMIPNet).
* Relaxed precision is divided by the number of *label* centre-line pixels, so it can exceed 1, and F1 and IoU inherit
  it. The buffer is a square window (Chebyshev), and a pixel in the first rows or columns always misses, because its
  window begins at a negative index (road_connectivity, SPIN, CU-dGCN).
* The relaxed IoU of joint connectivity dilates the label by a 4 x 4 square for the intersection alone.

Graph scores have no such form here: published programs differ in settings, which are printed with each score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, MissingExtraError, ShapeError, UsageError
from roadedge.metrics.pixel import IGNORED, PUBLISHED_BATCH, ROAD, PixelCounts, mean_batch_iou, total
from roadedge.metrics.relaxed import f1_of, iou_of

BUFFER_PX = 4
RULES = (
    f"batches of {PUBLISHED_BATCH} in the order of the tiles, 0 where a batch has no intersection",
    "relaxed precision divided by the label's centre-line pixels; square window; first rows and columns always miss",
    "relaxed IoU with the label dilated by 4 x 4 in the intersection alone, 1 for an empty batch",
)


@dataclass(frozen=True, slots=True)
class PublishedCounts:
    """What the published scripts sum of one sample.

    `hit_prediction` and `hit_label` are centre-line pixels that found the other picture in their window, `label` those
    of the label; `dilated_hit` and `union` are of the relaxed IoU.
    """

    hit_prediction: int
    hit_label: int
    label: int
    dilated_hit: int
    union: int


def count_published(
    predicted: NDArray[np.bool_], truth: NDArray[np.uint8], buffer_px: float = BUFFER_PX
) -> PublishedCounts:
    """Count one sample as the published scripts do.

    Args:
        predicted: (H, W) bool.
        truth: (H, W) uint8, 255 road, 128 ignored; the published data sets have none, so predictions there are erased.
        buffer_px: of the window, which is (2 · buffer + 1)² pixels.

    Raises:
        ShapeError: they differ in shape.
        UsageError: a buffer that is no whole number of pixels.
        MissingExtraError: scikit-image is not installed.
    """
    import cv2

    if predicted.shape != truth.shape:
        raise ShapeError(f"a mask of shape {predicted.shape} cannot be compared with a label of shape {truth.shape}")
    whole = round(buffer_px)
    if abs(buffer_px - whole) > 1e-6 or whole < 0:
        raise UsageError(f"the published protocol has a buffer of whole pixels, got {buffer_px:g}")
    road, predicted = truth == ROAD, predicted & (truth != IGNORED)
    own, theirs = _thin(road), _thin(predicted)
    dilated = cv2.dilate(road.view(np.uint8), np.ones((4, 4), np.uint8)).view(np.bool_)
    return PublishedCounts(
        int(np.count_nonzero(theirs & _in_window(own, whole))),
        int(np.count_nonzero(own & _in_window(theirs, whole))),
        int(np.count_nonzero(own)),
        int(np.count_nonzero(dilated & predicted)),
        int(np.count_nonzero(road | predicted)),
    )


def published_scores(counts: Sequence[PixelCounts], more: Sequence[PublishedCounts]) -> dict[str, Any]:
    """The scores of samples in their order, under names that say whose form they are.

    Raises:
        DataError: no samples.
    """
    if not counts or len(counts) != len(more):
        raise DataError(f"there are {len(counts)} and {len(more)} samples to score")
    batches = [total(counts[i : i + PUBLISHED_BATCH]) for i in range(0, len(counts), PUBLISHED_BATCH)]
    sums = [more[i : i + PUBLISHED_BATCH] for i in range(0, len(more), PUBLISHED_BATCH)]
    label = sum(one.label for one in more)
    precision = sum(one.hit_prediction for one in more) / label if label else 0.0
    recall = sum(one.hit_label for one in more) / label if label else 0.0
    size = f"batch{PUBLISHED_BATCH}"
    return {
        f"IoU_{size}": mean_batch_iou(counts),
        f"precision_{size}": _mean([batch.precision if batch.tp else 0.0 for batch in batches]),
        f"recall_{size}": _mean([batch.recall if batch.tp else 0.0 for batch in batches]),
        f"accuracy_{size}": _mean([batch.accuracy if batch.tp else 0.0 for batch in batches]),
        "relaxed_precision": precision,
        "relaxed_recall": recall,
        "relaxed_F1": f1_of(precision, recall),
        "relaxed_IoU": iou_of(precision, recall),
        f"dilated_IoU_{size}": _mean([_dilated(batch) for batch in sums]),
        "rules": list(RULES),
    }


def _dilated(batch: Sequence[PublishedCounts]) -> float:
    union = sum(one.union for one in batch)
    return sum(one.dilated_hit for one in batch) / union if union else 1.0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _in_window(lines: NDArray[np.bool_], buffer: int) -> NDArray[np.bool_]:
    """Pixels with a line in the square window about them; the first rows and columns have no window."""
    import cv2

    found = cv2.dilate(lines.view(np.uint8), np.ones((2 * buffer + 1, 2 * buffer + 1), np.uint8)).view(np.bool_)
    found[:buffer] = False
    found[:, :buffer] = False
    return np.asarray(found)


def _thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    try:
        from skimage import morphology
    except ImportError as error:
        raise MissingExtraError("scikit-image", "graph", "centre lines of masks") from error
    return np.asarray(morphology.skeletonize(mask), np.bool_)  # type: ignore[no-untyped-call]
