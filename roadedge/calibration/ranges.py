"""How far a value reaches: a growing histogram of magnitudes, and four ways to read a range off it.

Exact zeros are counted apart: every scale holds them exactly, and behind a ReLU they are the most frequent value, so a
percentile over them would cut off the map. For the same reason no method may clip more than CLIPPED_ENERGY.

Source: KL after Migacz, 8-bit inference with TensorRT (GTC 2017); the histogram, MSE and the bound are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import NonFiniteError, UnknownNameError, UsageError
from roadedge.models.placement import LEVELS

BINS = 4096
CHUNK = 1 << 20  # values that are counted at once
PERCENTILE = 99.99
CANDIDATES = 128  # ranges that entropy and MSE choose among, in equal ratios
SMALLEST_SHARE = 1 / 16  # of the largest magnitude: the smallest candidate
CLIPPED_ENERGY = 0.01  # share of the sum of squares that clipping may take away


class Histogram:
    """Counts of |x| in BINS equal bins over [0, reach].

    The reach is a power of two and doubles when a larger value comes, two bins becoming one. So the counts hang on the
    values alone, not on their order or how they were cut up, and histograms can be merged without loss.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.zeros = 0
        self.largest = 0.0  # exact
        self.exponent: int | None = None  # reach = 2 ** exponent; None: nothing but zeros so far

    @property
    def reach(self) -> float:
        """Upper edge of the last bin."""
        return 0.0 if self.exponent is None else 2.0**self.exponent

    @property
    def edges(self) -> NDArray[np.float64]:
        """The BINS + 1 edges."""
        return np.linspace(0.0, self.reach, BINS + 1)

    def add(self, values: NDArray[np.floating], name: str = "a value", most: int | None = None) -> None:
        """Count the values of one array.

        Args:
            values: of any shape.
            name: what they are, for the message.
            most: count at most about so many of them, evenly spread; the largest magnitude is exact all the same.

        Raises:
            NonFiniteError: NaN or infinity among them.
        """
        flat = np.asarray(values).reshape(-1)
        if not flat.size:
            return
        largest = max(float(flat.max()), -float(flat.min()))
        if not math.isfinite(largest):  # NaN runs through max and min
            raise NonFiniteError(f"{name} holds NaN or infinity; mend the network before it is quantised")
        if largest > 0:
            self._grow(max(math.frexp(largest)[1], -100))  # largest <= 2 ** exponent
        self.largest = max(self.largest, largest)
        step = 1 if most is None else max(1, math.ceil(flat.size / most)) | 1  # odd: not in step with the rows
        flat = flat[::step]
        for start in range(0, flat.size, CHUNK):
            self._count(flat[start : start + CHUNK])

    def merge(self, other: Histogram) -> None:
        """Take in the counts of another one."""
        self.zeros += other.zeros
        self.largest = max(self.largest, other.largest)
        if other.exponent is None:
            return
        self._grow(other.exponent)
        assert self.exponent is not None
        self.counts += _halved(other.counts, self.exponent - other.exponent)

    def _count(self, flat: NDArray[np.floating]) -> None:
        if self.exponent is None:
            self.zeros += flat.size
            return
        scaled = np.abs(flat, dtype=np.float32 if flat.dtype == np.float16 else flat.dtype)
        zeros = scaled.size - int(np.count_nonzero(scaled))
        scaled *= BINS / self.reach  # a power of two: exact
        counted = np.bincount(scaled.astype(np.int32), minlength=BINS + 1)
        counted[BINS - 1] += counted[BINS]  # a value on the upper edge itself
        counted[0] -= zeros
        self.zeros += zeros
        self.counts += counted[:BINS]

    def _grow(self, exponent: int) -> None:
        if self.exponent is None:
            self.exponent = exponent
        elif exponent > self.exponent:
            self.counts = _halved(self.counts, exponent - self.exponent)
            self.exponent = exponent


def _halved(counts: NDArray[np.int64], times: int) -> NDArray[np.int64]:
    """The counts in bins of 2 ** times the width."""
    width = min(1 << min(times, 62), BINS)
    out = np.zeros(BINS, np.int64)
    out[: BINS // width] = counts.reshape(-1, width).sum(1)
    return out


def by_max(histogram: Histogram, percentile: float = PERCENTILE) -> float:
    """The largest magnitude: nothing is clipped."""
    return histogram.largest


def by_percentile(histogram: Histogram, percentile: float = PERCENTILE) -> float:
    """What `percentile` per cent of the values other than zero do not exceed, linear within a bin."""
    total = int(histogram.counts.sum())
    if not total:
        return histogram.largest
    reached = np.concatenate([[0], np.cumsum(histogram.counts)]) / total
    return float(np.interp(percentile / 100, reached, histogram.edges))


def by_entropy(histogram: Histogram, percentile: float = PERCENTILE) -> float:
    """The range under which 128 levels tell the most about the values: the least Kullback-Leibler divergence."""
    if not histogram.largest:
        return 0.0
    wanted = np.ceil(_candidates(histogram) / histogram.reach * BINS)
    bins = sorted({min(BINS, int(width)) for width in wanted})
    divergences = [_divergence(histogram.counts, width) for width in bins]
    # of equal ones the widest: with few distinct values many ranges lose nothing
    best = max(width for width, d in zip(bins, divergences, strict=True) if d <= min(divergences) + 1e-12)
    return float(best * histogram.reach / BINS)


def by_mse(histogram: Histogram, percentile: float = PERCENTILE) -> float:
    """The range with the least squared error of rounding and clipping, values taken as even within a bin."""
    if not histogram.largest:
        return 0.0
    edges = np.minimum(histogram.edges, histogram.largest)  # the last bin ends where the values do
    widths = np.maximum(np.diff(edges), np.finfo(np.float64).tiny)
    candidates = _candidates(histogram)
    errors = [float((histogram.counts * np.diff(_error_below(edges, c / LEVELS)) / widths).sum()) for c in candidates]
    return float(candidates[int(np.argmin(errors))])


METHODS: dict[str, Callable[[Histogram, float], float]] = {
    "max": by_max,
    "entropy": by_entropy,
    "percentile": by_percentile,
    "mse": by_mse,
}


@dataclass(frozen=True, slots=True)
class RangeMethod:
    """A key of METHODS, and for `percentile` which one."""

    name: str = "percentile"
    percentile: float = PERCENTILE

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise UnknownNameError("calibration method", self.name, METHODS)
        if not 50 <= self.percentile <= 100:
            raise UsageError(f"the percentile lies between 50 and 100, got {self.percentile:g}")

    def __str__(self) -> str:
        return f"{self.name}:{self.percentile:g}" if self.name == "percentile" else self.name

    def range_of(self, histogram: Histogram) -> float:
        """The magnitude that becomes level 127: what the method says, but never one that clips too much."""
        chosen = METHODS[self.name](histogram, self.percentile)
        return min(histogram.largest, max(chosen, _least(histogram)))


def parse_method(text: str) -> RangeMethod:
    """`max`, `entropy`, `mse`, `percentile` or `percentile:99.9` → RangeMethod.

    Raises:
        UnknownNameError: no such method.
        UsageError: a percentile that is none.
    """
    name, colon, number = text.strip().partition(":")
    if not colon:
        return RangeMethod(name)
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if name != "percentile" or math.isnan(value):
        raise UsageError(f"a calibration method is written {', '.join(METHODS)} or percentile:99.9, got {text!r}")
    return RangeMethod(name, value)


def _candidates(histogram: Histogram) -> NDArray[np.float64]:
    return histogram.largest * np.geomspace(SMALLEST_SHARE, 1.0, CANDIDATES)


def _divergence(counts: NDArray[np.int64], width: int) -> float:
    """KL between the values clipped to the first `width` bins and what 128 levels over these bins tell of them."""
    kept = counts[:width]
    clipped = kept.astype(np.float64)
    clipped[-1] += counts[width:].sum()
    level = np.arange(width) * (LEVELS + 1) // width
    filled = clipped > 0
    share = np.bincount(level, kept, LEVELS + 1) / np.maximum(np.bincount(level, filled, LEVELS + 1), 1)
    told = share[level][filled]
    said = clipped[filled]
    total = told.sum()
    if total <= 0:
        return math.inf
    # what was clipped into an empty bin has probability nearly zero in the quantised values: smoothed, as usual
    p, q = said / said.sum(), np.maximum(told / total, 1e-9)
    return float((p * np.log(p / q)).sum())


def _error_below(x: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """The integral of (t - quantised t)² from 0 to x."""
    level = np.minimum(np.rint(x / scale), LEVELS)
    rest = x - level * scale
    out: NDArray[np.float64] = level * scale**3 / 12 + rest**3 / 3
    return out


def _least(histogram: Histogram) -> float:
    """The smallest range that clips away no more than CLIPPED_ENERGY of the sum of squares."""
    if not histogram.largest:
        return 0.0
    middle = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    energy = histogram.counts * middle**2
    allowed = CLIPPED_ENERGY * energy.sum()
    low, high = 0.0, histogram.largest
    for _ in range(30):  # what is clipped falls steadily with the range
        half = (low + high) / 2
        lost = float((histogram.counts * np.maximum(middle - half, 0.0) ** 2).sum())
        low, high = (half, high) if lost > allowed else (low, half)
    return high
