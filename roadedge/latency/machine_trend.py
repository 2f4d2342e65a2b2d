"""Numbers over time: running summaries, means, the slope of memory, energy of a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roadedge.errors import UsageError

SKIPPED_S = 60.0  # caches, arenas and thread stacks fill at the beginning of a run
FEWEST_FOR_SLOPE = 10


class Summary:
    """Count, mean, extremes, first and last of a value, without keeping its samples."""

    __slots__ = ("count", "first", "largest", "last", "smallest", "total")

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0
        self.smallest, self.largest = math.inf, -math.inf
        self.first = self.last = math.nan

    def add(self, value: float) -> None:
        """Take in one sample; a value that is not finite is left out."""
        if not math.isfinite(value):
            return
        if self.count == 0:
            self.first = value
        self.count, self.total, self.last = self.count + 1, self.total + value, value
        self.smallest, self.largest = min(self.smallest, value), max(self.largest, value)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; all but `n` are None where nothing came."""
        if self.count == 0:
            return {"n": 0, "mean": None, "min": None, "max": None, "first": None, "last": None}
        return {
            "n": self.count,
            "mean": self.total / self.count,
            "min": self.smallest,
            "max": self.largest,
            "first": self.first,
            "last": self.last,
        }


def slope_per_min(samples: Sequence[tuple[float, float]]) -> float | None:
    """Slope by least squares of (seconds, value) in units a minute.

    The beginning is left out: the first minute, or the first fifth of a run shorter than five minutes.

    Returns:
        None where fewer than ten samples are left, or all at one time.
    """
    if not samples:
        return None
    begin_s, end_s = samples[0][0], samples[-1][0]
    from_s = begin_s + min(SKIPPED_S, (end_s - begin_s) / 5)
    kept = np.array([pair for pair in samples if pair[0] >= from_s and math.isfinite(pair[1])], np.float64)
    if len(kept) < FEWEST_FOR_SLOPE:
        return None
    times, values = (kept - kept.mean(axis=0)).T
    spread = float(times @ times)
    return float(times @ values) / spread * 60.0 if spread > 0 else None


def mean_between(samples: Sequence[tuple[float, float]], begin_s: float, end_s: float) -> float | None:
    """Mean of (seconds, value) between two times, weighted by time: the area under the line through them.

    Returns:
        None where no sample lies between them; the value itself where one does.
    """
    kept = np.array([pair for pair in samples if begin_s <= pair[0] <= end_s and math.isfinite(pair[1])], np.float64)
    if len(kept) == 0:
        return None
    times, values = kept.T
    span = float(times[-1] - times[0])
    if span <= 0:
        return float(values.mean())
    return float(((values[1:] + values[:-1]) / 2) @ np.diff(times)) / span


@dataclass(frozen=True, slots=True)
class Energy:
    """What a frame costs: mean watts over a window × its seconds ÷ its frames, with the idle power beside it.

    `above_idle_j_per_frame` is what the frames add to a machine that is on anyway; None where idle was not measured.
    """

    mean_w: float
    seconds: float
    frames: int
    j_per_frame: float
    idle_w: float | None = None
    above_idle_j_per_frame: float | None = None


def energy_per_frame(mean_w: float, seconds: float, frames: int, idle_w: float | None = None) -> Energy:
    """Joules of a frame.

    Args:
        mean_w: mean power over the timed window.
        seconds: length of that window.
        frames: answered in it.
        idle_w: mean power of the same machine doing nothing.

    Raises:
        UsageError: no frames, no time, or a power that is not a finite number.
    """
    if frames < 1 or not seconds > 0 or not math.isfinite(mean_w) or not math.isfinite(seconds):
        raise UsageError(
            f"energy of a frame needs frames, seconds and watts; got {frames} frames, {seconds:g} s, {mean_w:g} W"
        )
    above = None if idle_w is None else (mean_w - idle_w) * seconds / frames
    return Energy(mean_w, seconds, frames, mean_w * seconds / frames, idle_w, above)
