"""Which rows of a track can be true: time that grows, and steps that something could have gone."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

SPEED_LIMIT_MPS = 60.0  # beyond, a step is a jump: no drone or road vehicle that this is for goes faster
JUMP_SLACK_M = 25.0  # what rounding to four digits (11 m) and the receiver's own noise may add to one step


def growing(t_s: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows of the longest strictly growing selection: one wrong late time must not cost all rows after it.

    Source: the patience algorithm for the longest increasing subsequence.
    """
    if len(t_s) < 2 or (np.diff(t_s) > 0).all():
        return np.arange(len(t_s))
    ends: list[float] = []
    rows: list[int] = []
    before = np.full(len(t_s), -1)
    for row, time in enumerate(t_s.tolist()):
        at = bisect_left(ends, time)
        before[row] = rows[at - 1] if at else -1
        ends[at : at + 1], rows[at : at + 1] = [time], [row]
    chain = [rows[-1]]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    return np.array(chain[::-1], np.intp)


def steady(t_s: NDArray[np.float64], metres: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows that can be reached from the longest stretch without a jump, so that a bad first row costs only itself."""
    steps = np.linalg.norm(np.diff(metres, axis=0), axis=1)
    jumps = ~(steps <= JUMP_SLACK_M + SPEED_LIMIT_MPS * np.diff(t_s))
    if not jumps.any():
        return np.arange(len(t_s))
    edges = np.concatenate([[0], np.flatnonzero(jumps) + 1, [len(t_s)]])
    longest = int(np.argmax(np.diff(edges)))
    first, last = int(edges[longest]), int(edges[longest + 1]) - 1
    earlier = _reached(t_s, metres, range(first - 1, -1, -1), first)
    later = _reached(t_s, metres, range(last + 1, len(t_s)), last)
    return np.array([*earlier[::-1], *range(first, last + 1), *later], np.intp)


def _reached(t_s: NDArray[np.float64], metres: NDArray[np.float64], rows: range, anchor: int) -> list[int]:
    kept = []
    for row in rows:
        limit = JUMP_SLACK_M + SPEED_LIMIT_MPS * abs(t_s[row] - t_s[anchor])
        if np.linalg.norm(metres[row] - metres[anchor]) <= limit:
            kept.append(row)
            anchor = row
    return kept
