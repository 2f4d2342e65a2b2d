"""Milliseconds of networks that take turns on this machine, and what may be said about their difference.

A precision is no speed: what is faster is said of times that were measured here, of this device, and nothing more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from roadedge.environment import usable_cpus

WARM_UP, SETTLE, TIMED = 1, 2, 3  # calls before all, untimed and timed ones of a turn
WORTH_IT = 1.10  # an INT8 file that is not this much faster than FP16 is not worth its risk
CROWDED = 1.0  # runnable processes per processor; beyond it the processors are shared with others


def interleaved_ms(
    calls: Mapping[str, Callable[[], Any]], rounds: int, after_round: Callable[[int], None] = lambda number: None
) -> dict[str, list[float]]:
    """Milliseconds of each call, the calls taking turns in every round, so that a slow minute strikes all alike.

    A turn is `SETTLE` untimed calls and `TIMED` timed ones: the threads of the runtime before go on spinning for a
    while, and take a processor away from a short call that follows at once. A stream runs one network back to back.

    Args:
        calls: what to time, by name.
        rounds: turns of each.
        after_round: is told how many rounds are done.

    Returns:
        `rounds` x `TIMED` times for each name.
    """
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(1, rounds + 1):
        for name, call in calls.items():
            for _ in range(SETTLE):
                call()
            for _ in range(TIMED):
                began = time.perf_counter_ns()
                call()
                times[name].append((time.perf_counter_ns() - began) / 1e6)
        after_round(number)
    return times


def load_per_cpu() -> float | None:
    """Runnable processes per processor over the last minute; None where the system does not say."""
    return os.getloadavg()[0] / usable_cpus() if hasattr(os, "getloadavg") else None


def crowded(load: float | None) -> str | None:
    """The sentence that belongs to times which were measured while others used the processors."""
    if load is None or load <= CROWDED:
        return None
    return f"{load:.1f} processes wanted each processor meanwhile: take the times as a hint and measure alone"


def compared(name: str, times_ms: Sequence[float], other: str, other_ms: Sequence[float]) -> str:
    """`INT8 is 41 % faster than FP16 on this device (1.41×, 1.38 to 1.44 by rounds)`.

    Per cent of the frames in the same time, by the medians. Where the rounds do not agree on which of the two is
    faster, that is what is said: times that `interleaved_ms` gave, of as many rounds.
    """
    ratio = median(other_ms) / median(times_ms)
    low, high = round_ratios(times_ms, other_ms)
    rounds = f"{ratio:.2f}×, {low:.2f} to {high:.2f} by rounds"
    if low <= 1 <= high:
        return f"{name} and {other} cannot be told apart by their time on this device ({rounds})"
    word = "faster" if ratio >= 1 else "slower"
    return f"{name} is {100 * abs(ratio - 1):.0f} % {word} than {other} on this device ({rounds})"


def round_ratios(times_ms: Sequence[float], other_ms: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest of each round's own ratio, other / this."""
    starts = range(0, min(len(times_ms), len(other_ms)), TIMED)
    ratios = [median(other_ms[i : i + TIMED]) / median(times_ms[i : i + TIMED]) for i in starts]
    return min(ratios), max(ratios)


def advice(name: str, times_ms: Sequence[float], half: str, half_ms: Sequence[float]) -> str | None:
    """What to take where an INT8 file gains less than a tenth against the FP16 one, else None."""
    if median(half_ms) / median(times_ms) >= WORTH_IT:
        return None
    return f"take {half} on this device: {name} gains less than {100 * (WORTH_IT - 1):.0f} % here"
