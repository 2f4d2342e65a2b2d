"""Pixel metrics: counts per sample, IoU in its three published forms, precision, recall, F1, a bootstrap interval.

`G_IoU` sums intersections and unions over all samples, as if their maps were stitched; it is the number to quote.
`A_IoU` is the mean over samples (the papers' form), `A_IoU_batch8` the mean over batches of 8 in the data set's order
(the form in the published code of CMMPNet and CMIPNet, which hangs on the batch size). Pixels of 128 are left out.

The empty rule: a ratio without anything in its denominator is 1 where truth and prediction are both empty, else 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, ShapeError, UsageError

ROAD, IGNORED = 255, 128  # values of a label; all others than these are background
PUBLISHED_BATCH = 8
EMPTY_RULE = "a ratio of nothing by nothing is 1 where truth and prediction are both empty, else 0"


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """Pixels of one sample, or of many: road found, road invented, road missed, background left alone; and ignored."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0
    ignored: int = 0

    def __add__(self, other: PixelCounts) -> PixelCounts:
        return PixelCounts(
            self.tp + other.tp,
            self.fp + other.fp,
            self.fn + other.fn,
            self.tn + other.tn,
            self.ignored + other.ignored,
        )

    @property
    def union(self) -> int:
        """Pixels that are road in the truth or in the prediction."""
        return self.tp + self.fp + self.fn

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN)."""
        return self._ratio(self.tp, self.union)

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return self._ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """TP / (TP + FN)."""
        return self._ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        return self._ratio(2 * self.tp, self.union + self.tp)

    @property
    def accuracy(self) -> float:
        """(TP + TN) / all pixels that count. High for a prediction of no road at all: not a measure of roads."""
        return self._ratio(self.tp + self.tn, self.union + self.tn)

    @property
    def background_iou(self) -> float:
        """TN / (TN + FP + FN), the IoU of what is no road."""
        return self._ratio(self.tn, self.tn + self.fp + self.fn)

    @property
    def miou(self) -> float:
        """Mean of the IoU of road and of background: far above the road's own, and not to be compared with it."""
        return (self.iou + self.background_iou) / 2

    def _ratio(self, part: int, whole: int) -> float:
        return part / whole if whole else float(self.fp == self.fn == 0)


@dataclass(frozen=True, slots=True)
class PixelScores:
    """Scores of a set of samples, fractions in [0, 1]."""

    samples: int
    g_iou: float
    a_iou: float
    a_iou_batch8: float
    precision: float
    recall: float
    f1: float
    accuracy: float
    miou: float
    counts: PixelCounts

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, under the names that the tables print."""
        return {
            "samples": self.samples,
            "G_IoU": self.g_iou,
            "A_IoU": self.a_iou,
            f"A_IoU_batch{PUBLISHED_BATCH}": self.a_iou_batch8,
            "precision": self.precision,
            "recall": self.recall,
            "F1": self.f1,
            "accuracy": self.accuracy,
            "mIoU_with_background": self.miou,
            "pixels": asdict(self.counts),
        }


def count_pixels(predicted: NDArray[np.bool_], truth: NDArray[np.uint8]) -> PixelCounts:
    """Compare a mask with its label.

    Args:
        predicted: (H, W) bool, True where road is said to be.
        truth: (H, W) uint8, 255 road, 128 ignored, 0 background.

    Raises:
        ShapeError: they differ in shape, or the types are others.
    """
    if predicted.shape != truth.shape:
        raise ShapeError(f"a mask of shape {predicted.shape} cannot be compared with a label of shape {truth.shape}")
    if predicted.dtype != np.bool_ or truth.dtype != np.uint8:
        raise ShapeError(f"a mask is bool and a label uint8, got {predicted.dtype} and {truth.dtype}")
    road, counted = truth == ROAD, truth != IGNORED
    claimed = predicted & counted
    tp = int(np.count_nonzero(claimed & road))
    fp = int(np.count_nonzero(claimed)) - tp
    fn = int(np.count_nonzero(road)) - tp
    valid = int(np.count_nonzero(counted))
    return PixelCounts(tp, fp, fn, valid - tp - fp - fn, truth.size - valid)


def total(counts: Iterable[PixelCounts]) -> PixelCounts:
    """The sum: what one stitched map of all samples would count."""
    return sum(counts, PixelCounts())


def global_iou(counts: Sequence[PixelCounts]) -> float:
    """G_IoU: intersections summed over unions summed."""
    return total(counts).iou


def mean_sample_iou(counts: Sequence[PixelCounts]) -> float:
    """A_IoU as the papers define it: the mean of each sample's IoU.

    Raises:
        DataError: no samples.
    """
    _check_any(counts)
    return float(np.mean([c.iou for c in counts]))


def mean_batch_iou(counts: Sequence[PixelCounts], batch: int = PUBLISHED_BATCH) -> float:
    """A_IoU as published code computes it: the mean over batches of the batch's IoU.

    The last, short batch counts like the others. As in that code a batch without an intersection scores 0, an empty
    one too; the empty rule does not hold here.

    Source: Sun et al., CMMPNet and CMIPNet, their evaluation code.

    Raises:
        DataError: no samples.
    """
    _check_any(counts)
    sums = [total(counts[i : i + batch]) for i in range(0, len(counts), batch)]
    return float(np.mean([c.tp / c.union if c.tp else 0.0 for c in sums]))


def score(counts: Sequence[PixelCounts]) -> PixelScores:
    """All scores of samples in their order.

    Raises:
        DataError: no samples.
    """
    _check_any(counts)
    whole = total(counts)
    return PixelScores(
        samples=len(counts),
        g_iou=whole.iou,
        a_iou=mean_sample_iou(counts),
        a_iou_batch8=mean_batch_iou(counts, PUBLISHED_BATCH),
        precision=whole.precision,
        recall=whole.recall,
        f1=whole.f1,
        accuracy=whole.accuracy,
        miou=whole.miou,
        counts=whole,
    )


def bootstrap_g_iou(
    counts: Sequence[PixelCounts],
    places: Sequence[Hashable],
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile interval of G_IoU when whole places are drawn again with replacement.

    Samples of one place are seen together or not at all: pictures of the same ground are no independent evidence.

    Args:
        counts: of each sample.
        places: of each sample, equal for samples that show the same ground.
        draws: how often a set of as many places is drawn.
        seed: of the draws.
        level: share of the draws inside the interval.

    Returns:
        (low, high), or None with fewer than two places, which say nothing about other places.

    Raises:
        UsageError: fewer than one draw.
        ShapeError: not one place for each sample.
    """
    parts = _by_place(places, draws, counts)
    if parts is None:
        return None
    times = times_drawn(len(parts), draws, seed)
    return percentile_interval(_drawn_iou(times, parts), level)


@dataclass(frozen=True, slots=True)
class PairedIntervals:
    """Percentile intervals of what a candidate's G_IoU is against a reference's: their difference, and their ratio."""

    difference: tuple[float, float]
    ratio: tuple[float, float]


def paired_bootstrap(
    candidate: Sequence[PixelCounts],
    reference: Sequence[PixelCounts],
    places: Sequence[Hashable],
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedIntervals | None:
    """How far the difference of two networks on the same samples may be chance, whole places drawn with replacement.

    Both are scored on the same draws: a place that is hard for one is hard for the other, and that part of the spread
    cancels. So the intervals are narrower than what two intervals side by side would suggest.

    Args:
        candidate: counts of each sample.
        reference: counts of the same samples in the same order.
        places: of each sample, equal for samples that show the same ground.
        draws: how often a set of as many places is drawn.
        seed: of the draws; the same as `bootstrap_g_iou` takes.
        level: share of the draws inside the intervals.

    Returns:
        The intervals, or None with fewer than two places.

    Raises:
        UsageError: fewer than one draw.
        ShapeError: not one place and two counts for each sample.
    """
    parts = _by_place(places, draws, candidate, reference)
    if parts is None:
        return None
    times = times_drawn(len(parts), draws, seed)
    ours, theirs = _drawn_iou(times, parts[:, :2]), _drawn_iou(times, parts[:, 2:])
    ratios = np.divide(ours, theirs, out=np.ones_like(ours), where=theirs > 0)
    return PairedIntervals(percentile_interval(ours - theirs, level), percentile_interval(ratios, level))


def iou_ratio(candidate: float, reference: float) -> float:
    """What share of the reference's IoU a candidate keeps; 1 where the reference has none, so that none can be lost."""
    return candidate / reference if reference > 0 else 1.0


def _by_place(places: Sequence[Hashable], draws: int, *networks: Sequence[PixelCounts]) -> NDArray[np.float64] | None:
    """(places, 2 x networks): intersection and union of each network; None with fewer than two places."""
    if draws < 1:
        raise UsageError(f"a bootstrap needs at least one draw, got {draws}")
    row_of = {place: row for row, place in enumerate(dict.fromkeys(places))}
    parts = np.zeros((len(row_of), 2 * len(networks)), np.float64)
    for number, counts in enumerate(networks):
        if len(counts) != len(places):
            raise ShapeError(f"one place is needed for each sample, got {len(places)} for {len(counts)}")
        for place, one in zip(places, counts, strict=True):
            parts[row_of[place], 2 * number : 2 * number + 2] += one.tp, one.union
    return parts if len(parts) >= 2 else None


def times_drawn(places: int, draws: int, seed: int) -> NDArray[np.int64]:
    """How often each place was drawn, (draws, places)."""
    drawn = np.random.default_rng(seed).integers(0, places, (draws, places))
    return np.stack([np.bincount(row, minlength=places) for row in drawn])


def _drawn_iou(times: NDArray[np.int64], parts: NDArray[np.float64]) -> NDArray[np.float64]:
    intersection, union = (times @ parts).T
    iou: NDArray[np.float64] = np.divide(intersection, union, out=np.ones_like(union), where=union > 0)
    return iou


def percentile_interval(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The values between which the share `level` of all lies, as much below it as above."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check_any(counts: Sequence[PixelCounts]) -> None:
    if not counts:
        raise DataError("there are no samples to score")
