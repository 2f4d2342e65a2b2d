"""Speed and heading of points from those before and after them in their trip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadedge.trajectory.ingest.cleaning import Rows
from roadedge.trajectory.ingest.ground import Ground

FASTEST_MS = 70.0  # 252 km/h between two points: a jump of the receiver
SHORTEST_M = 3.0  # a shorter way has no direction that the receiver's error does not make


def by_trip_and_time(rows: Rows) -> Rows:
    """Rows sorted by vid, then time; rows of the same moment stay in their order."""
    order = np.argsort(rows["vid"], kind="stable")
    vid, t_s = rows["vid"][order], rows["t_s"][order]
    with np.errstate(invalid="ignore"):
        if not ((np.diff(vid) != 0) | (np.diff(t_s) >= 0)).all():
            order = np.lexsort((rows["t_s"], rows["vid"]))
    return np.asarray(rows[order])


def derive_motion(rows: Rows, ground: Ground, max_gap_s: float) -> tuple[int, int]:
    """Fill unknown speeds and headings of rows that are sorted by trip and time, in place.

    A point's speed is the way to it and from it over the time that took, its heading that from the point before to the
    point after; at the ends of a trip, or beside a gap, those of the one step there is. Steps longer than `max_gap_s`,
    of no time, or faster than 252 km/h do not count; a way shorter than 3 m has no heading.

    Returns:
        How many speeds and how many headings were filled in.
    """
    if len(rows) < 2:
        return 0, 0
    vid, t_s = rows["vid"], rows["t_s"]
    x, y = np.ascontiguousarray(rows["x"]), np.ascontiguousarray(rows["y"])
    dt = np.diff(t_s)
    with np.errstate(invalid="ignore"):
        joined = (vid[1:] == vid[:-1]) & (vid[1:] != -1) & (dt > 0) & (dt <= max_gap_s)
    east, north = ground.steps(x[:-1], y[:-1], np.diff(x), np.diff(y))
    way = np.hypot(east, north)
    with np.errstate(invalid="ignore"):
        joined &= way <= FASTEST_MS * dt
    way, east, north, dt = (np.where(joined, values, 0.0) for values in (way, east, north, dt))
    way, east, north, dt = (_before_and_after(values) for values in (way, east, north, dt))
    with np.errstate(divide="ignore", invalid="ignore"):
        speed = np.where(dt > 0, way / dt, np.nan).astype(np.float32)
    straight = np.hypot(east, north)
    heading = np.where(straight >= SHORTEST_M, np.degrees(np.arctan2(east, north)) % 360, np.nan).astype(np.float32)
    heading %= np.float32(360)  # 359.99999999 rounds to 360
    return _fill(rows, "speed_ms", speed), _fill(rows, "heading_deg", heading)


def _before_and_after(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N - 1,) steps → (N,) the sum of the step to each point and the step from it."""
    total = np.zeros(len(steps) + 1)
    total[1:] += steps
    total[:-1] += steps
    return total


def _fill(rows: Rows, name: str, values: NDArray[np.float32]) -> int:
    new = np.isnan(rows[name]) & ~np.isnan(values)
    rows[name][new] = values[new]
    return int(np.count_nonzero(new))
