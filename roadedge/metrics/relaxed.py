"""Relaxed precision, recall, F1 and IoU: a pixel is right where the other picture has road within a buffer.

On centre lines (the form of Batra and of those after him), or on whole masks (the form of Mnih and Hinton). The buffer
is an exact Euclidean distance between centres of pixels, borders included. What the published scripts compute instead
stands in `roadedge.metrics.published`.

The empty rule: a ratio of nothing by nothing is 1 where both pictures are empty, else 0.
Source: V. Mnih, G. Hinton, Learning to detect roads in high-resolution aerial images, 2010; A. Batra et al., Improved
road connectivity by joint learning of orientation and segmentation, 2019.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import ShapeError, UsageError
from roadedge.roadgraph.skeleton import half_widths, skeletonize

EMPTY_RULE = "a ratio of nothing by nothing is 1 where truth and prediction are both empty, else 0"
_ROUNDING = 1e-4  # of distances, which OpenCV gives as float32


@dataclass(frozen=True, slots=True)
class Buffer:
    """How far a pixel may lie from the other picture's road, and what is compared: centre lines or whole masks."""

    size: float
    unit: Literal["px", "m"] = "px"
    on: Literal["lines", "masks"] = "lines"

    def __post_init__(self) -> None:
        if not 0 <= self.size < np.inf:
            raise UsageError(f"the buffer of relaxed scores must be zero or more, got {self.size}")
        if self.unit not in ("px", "m") or self.on not in ("lines", "masks"):
            raise UsageError(
                f"relaxed scores have a buffer in px or m, on lines or masks, got {self.unit!r}, {self.on!r}"
            )

    def pixels(self, gsd_m: float | None) -> float:
        """The buffer in pixels; raises UsageError where it is in metres and nobody knows the ground sample distance."""
        if self.unit == "px":
            return self.size
        if gsd_m is None:
            raise UsageError(f"a buffer of {self} needs the metres per pixel; give --gsd, or the buffer in px")
        return self.size / gsd_m

    def __str__(self) -> str:
        return f"{self.size:g} {self.unit}"


def parse_buffer(text: str, on: str = "lines") -> Buffer:
    """`3`, `3px` or `1.5m`; raises UsageError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(px|m|)\s*", text)
    if match is None:
        raise UsageError(f"a buffer is written 3, 3px or 1.5m, got {text!r}")
    return Buffer(float(match[1]), match[2] or "px", on)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class RelaxedCounts:
    """Predicted pixels and those of them near the truth; true pixels and those of them near the prediction."""

    near_truth: int = 0
    predicted: int = 0
    near_prediction: int = 0
    true: int = 0

    def __add__(self, other: RelaxedCounts) -> RelaxedCounts:
        return RelaxedCounts(
            self.near_truth + other.near_truth,
            self.predicted + other.predicted,
            self.near_prediction + other.near_prediction,
            self.true + other.true,
        )

    @property
    def precision(self) -> float:
        """Share of the predicted pixels that are near the truth."""
        return self._ratio(self.near_truth, self.predicted)

    @property
    def recall(self) -> float:
        """Share of the true pixels that are near the prediction."""
        return self._ratio(self.near_prediction, self.true)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        return f1_of(self.precision, self.recall)

    @property
    def iou(self) -> float:
        """PR / (P + R - PR), the IoU of a set with this precision and recall."""
        return iou_of(self.precision, self.recall)

    def _ratio(self, part: int, whole: int) -> float:
        return part / whole if whole else float(self.predicted == self.true == 0)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        counts = {name: getattr(self, name) for name in self.__slots__}
        return {"precision": self.precision, "recall": self.recall, "F1": self.f1, "IoU": self.iou, **counts}


def f1_of(precision: float, recall: float) -> float:
    """Harmonic mean, 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def iou_of(precision: float, recall: float) -> float:
    """The IoU that belongs to a precision and a recall, 0 where both are 0."""
    union = precision + recall - precision * recall
    return precision * recall / union if union else 0.0


def centre_lines(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool skeleton of a mask, that reaches the border where a road does; raises MissingExtraError."""
    return skeletonize(mask, half_widths(mask))[0]


def count_relaxed(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], buffer_px: float) -> RelaxedCounts:
    """Compare two (H, W) bool pictures of lines or of areas.

    Raises:
        ShapeError: they differ in shape, or are not bool.
    """
    if predicted.shape != truth.shape:
        raise ShapeError(f"a mask of shape {predicted.shape} cannot be compared with a label of shape {truth.shape}")
    if predicted.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ShapeError(f"relaxed counts compare bool with bool, got {predicted.dtype} and {truth.dtype}")
    return RelaxedCounts(
        int(np.count_nonzero(predicted & near(truth, buffer_px))),
        int(np.count_nonzero(predicted)),
        int(np.count_nonzero(truth & near(predicted, buffer_px))),
        int(np.count_nonzero(truth)),
    )


def near(road: NDArray[np.bool_], buffer_px: float) -> NDArray[np.bool_]:
    """(H, W) bool: pixels whose centre is at most `buffer_px` from that of a pixel of `road`; none without road."""
    import cv2

    if not road.any():
        return np.zeros_like(road)
    away = cv2.distanceTransform((~road).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away <= buffer_px + _ROUNDING, np.bool_)
