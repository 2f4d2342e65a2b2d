"""Percentiles that say when they mean nothing. No outlier is ever removed: the tail is the product.

Source: MLPerf inference rules, early stopping: with tolerance d = 0 and confidence .99, n samples of which t may lie
above the estimate allow a claim about the percentile p when I(p; n - t, t + 1) <= .01, that is when at most t of n
samples above the true percentile would be a 1 in 100 chance.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
FIELDS = ("mean", "median", "min", "max", "std")  # of `to_dict`, beside the percentiles
DOUBT = 0.01  # one minus MLPerf's confidence


@dataclass(frozen=True, slots=True)
class Summary:
    """What a row of times amounts to; milliseconds.

    `median` describes these samples, whatever their count; the waterfall is drawn from it.
    `percentiles` maps a percentile to the nearest-rank value, None where `count` is too small to claim it.
    `early_stopping` maps it to MLPerf's estimate, which is on the safe side, None likewise.
    `deviation` is the standard deviation of these samples.
    """

    count: int
    mean: float | None
    median: float | None
    minimum: float | None
    maximum: float | None
    percentiles: dict[float, float | None]
    early_stopping: dict[float, float | None]
    deviation: float | None = None

    @property
    def variation(self) -> float | None:
        """Coefficient of variation, the standard deviation as a share of the mean; None without samples or time."""
        return self.deviation / self.mean if self.deviation is not None and self.mean else None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Summary:
        """The inverse of `to_dict`; values that are missing become None.

        Raises:
            TypeError, ValueError, AttributeError: `values` is not what `to_dict` gives.
        """
        numbers = [None if values.get(name) is None else float(values[name]) for name in FIELDS]
        plain, safe = (
            {float(name[1:]): value for name, value in found.items() if re.fullmatch(r"p\d+(\.\d+)?", name)}
            for found in (values, values.get("early_stopping") or {})
        )
        mean, median, least, most, deviation = numbers
        nothing = dict.fromkeys(PERCENTILES)
        return cls(int(values.get("n", 0)), mean, median, least, most, nothing | plain, nothing | safe, deviation)

    def to_dict(self) -> dict[str, object]:
        """As JSON values; `p99` null means that n is too small, `needs` says how many it takes."""
        return {
            "n": self.count,
            "mean": self.mean,
            "median": self.median,
            "min": self.minimum,
            **{label(p): value for p, value in self.percentiles.items()},
            "max": self.maximum,
            "std": self.deviation,
            "early_stopping": {label(p): value for p, value in self.early_stopping.items()},
            "needs": {label(p): samples_needed(p) for p in self.percentiles},
        }


def label(percentile: float) -> str:
    """50.0 → `p50`, 99.9 → `p99.9`."""
    return f"p{percentile:g}"


def summarize(times_ms: Sequence[float] | NDArray[np.float64], percentiles: Sequence[float] = PERCENTILES) -> Summary:
    """Summarise times in milliseconds; all of them, in any order."""
    ordered = np.sort(np.asarray(times_ms, np.float64))
    if not ordered.size:
        nothing: dict[float, float | None] = dict.fromkeys(percentiles)
        return Summary(0, None, None, None, None, nothing, dict(nothing))
    return Summary(
        ordered.size,
        float(ordered.mean()),
        nearest_rank(ordered, 50.0),
        float(ordered[0]),
        float(ordered[-1]),
        {p: nearest_rank(ordered, p) if ordered.size >= samples_needed(p) else None for p in percentiles},
        {p: early_stopping_estimate(ordered, p) for p in percentiles},
        float(ordered.std()),
    )


def nearest_rank(ordered: NDArray[np.float64], percentile: float) -> float:
    """The smallest of the ascending values that at least `percentile` % do not exceed: a value that occurred."""
    rank = math.ceil(round(percentile * ordered.size / 100, 9))  # rounded: 99.9 % of 1000 is 999, not 999.0000000001
    return float(ordered[max(rank, 1) - 1])


def early_stopping_estimate(ordered: NDArray[np.float64], percentile: float) -> float | None:
    """MLPerf's estimate of a percentile: the t-th largest value, where t is the most that may lie above it.

    None where not even t = 1 is allowed.
    """
    above = most_above(ordered.size, percentile)
    return float(ordered[ordered.size - above]) if above else None


@functools.lru_cache(maxsize=4096)
def most_above(count: int, percentile: float) -> int:
    """The largest t that `count` samples allow for a percentile, 0 where they allow no claim."""
    chance = 1 - percentile / 100
    low, high = 0, max(1, math.ceil(count * chance) + 1)  # t beyond the mean can never be a 1 in 100 chance
    while low < high:
        middle = (low + high + 1) // 2
        if _at_most(middle, count, chance) <= DOUBT:
            low = middle
        else:
            high = middle - 1
    return low


@functools.cache
def samples_needed(percentile: float) -> int:
    """The fewest samples that allow a claim about a percentile with t = 1: 64 for p90, 662 for p99, 6636 for p99.9."""
    chance = 1 - percentile / 100
    count = 2
    while _at_most(1, count, chance) > DOUBT:
        count += 1
    return count


def _at_most(above: int, count: int, chance: float) -> float:
    """Probability that at most `above` of `count` samples lie above the percentile: I(p; count - above, above + 1)."""
    if above >= count:
        return 1.0
    k = np.arange(above + 1)
    terms = [math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1) for i in range(above + 1)]
    logs = np.array(terms) + k * math.log(chance) + (count - k) * math.log1p(-chance)
    return float(np.exp(logs).sum())
