"""The difference of two medians with an interval that knows of repeats, and of calls that resemble their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError

DRAWS = 2000
LEVEL = 0.95
FEWEST = 10  # samples of a repeat
Samples = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """Median of the second minus median of the first, milliseconds, with its bootstrap interval.

    `repeats` is how many turns each of both had; with one there is no telling how much of the difference is the
    hour of the day.
    """

    first_ms: float
    second_ms: float
    low_ms: float
    high_ms: float
    repeats: int
    samples: tuple[int, int]

    @property
    def value_ms(self) -> float:
        """Of the medians."""
        return self.second_ms - self.first_ms

    @property
    def told_apart(self) -> bool:
        """The interval does not hold zero."""
        return not self.low_ms <= 0 <= self.high_ms

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "median_first_ms": self.first_ms,
            "median_second_ms": self.second_ms,
            "difference_ms": self.value_ms,
            "interval_ms": [self.low_ms, self.high_ms],
            "level": LEVEL,
            "ratio": self.first_ms / self.second_ms if self.second_ms > 0 else None,
            "told_apart": self.told_apart,
            "repeats": self.repeats,
            "samples": list(self.samples),
        }


def difference(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], draws: int = DRAWS, seed: int = 0
) -> Difference:
    """Bootstrap the difference of medians in two levels: repeats are drawn, and blocks of calls within each.

    Repeat i of both was measured one after the other, so they are drawn as a pair: what slowed the machine at that time
    slowed both. Blocks of about the square root of a repeat's count keep neighbours together.

    Args:
        first: milliseconds of each repeat.
        second: as many repeats.
        draws: of the bootstrap.
        seed: of its randomness.

    Raises:
        DataError: unlike counts of repeats, or a repeat of fewer than ten samples or with one that is no number.
    """
    left, right = [_checked(one) for one in first], [_checked(one) for one in second]
    if len(left) != len(right) or not left:
        raise DataError(f"both need the same count of repeats, at least one; got {len(left)} and {len(right)}")
    generator = np.random.default_rng(seed)
    found = np.empty(draws)
    for draw in range(draws):
        chosen = generator.integers(0, len(left), len(left))
        both = [np.concatenate([_resampled(side[number], generator) for number in chosen]) for side in (left, right)]
        found[draw] = np.median(both[1]) - np.median(both[0])
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(
        float(np.median(np.concatenate(left))),
        float(np.median(np.concatenate(right))),
        float(low),
        float(high),
        len(left),
        (sum(one.size for one in left), sum(one.size for one in right)),
    )


def _checked(samples: Sequence[float]) -> Samples:
    found = np.asarray(samples, np.float64)
    if found.ndim != 1 or found.size < FEWEST or not np.isfinite(found).all():
        raise DataError(f"a repeat needs at least {FEWEST} times in milliseconds, all of them numbers; measure longer")
    return found


def _resampled(samples: Samples, generator: np.random.Generator) -> Samples:
    """As many samples, in blocks that may run over the end to the beginning."""
    length = max(1, round(samples.size**0.5))
    starts = generator.integers(0, samples.size, -(-samples.size // length))
    places = (starts[:, None] + np.arange(length)).ravel()[: samples.size] % samples.size
    chosen: Samples = samples[places]
    return chosen
