"""Rows without a usable position are left out and counted; what cannot be meant is said at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import PointsError
from roadedge.trajectory.datum import to_wgs84
from roadedge.trajectory.ingest.batches import Batch
from roadedge.trajectory.ingest.ground import Ground, to_wgs84_degrees
from roadedge.trajectory.ingest.options import IngestOptions
from roadedge.trajectory.point_store import LONLAT
from roadedge.trajectory.tile_order import LARGEST_TILE

LATEST_S = 1e11  # the year 5138: a larger time is one in milliseconds
FASTEST_MS = 150.0  # 540 km/h: no road vehicle, so an error of the table
ROW = np.dtype([("x", "f8"), ("y", "f8"), ("t_s", "f8"), ("vid", "i8"), ("speed_ms", "f4"), ("heading_deg", "f4")])
Rows = NDArray[Any]  # (N,) of ROW


@dataclass(slots=True)
class Tally:
    """What was read and left out so far.

    `dropped` counts rows that were left out and `noted` rows that were kept without one of their values, by reason;
    `degrees` (180, 360) counts points by degree of latitude and longitude.
    """

    rows: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    degrees: NDArray[np.int64] = field(default_factory=lambda: np.zeros((180, 360), np.int64))


def clean(batch: Batch, ground: Ground, options: IngestOptions, tile: float, tally: Tally, name: object) -> Rows:
    """The good rows of a batch, in the store's CRS; `name` is the file's, for messages.

    Reasons: `wrong_columns`, `unparsable`, `nan`, `infinite`, `out_of_range`, `no_fix` (0, 0), `outside_box`.

    Raises:
        PointsError: most rows are out of range and would not be with x and y swapped, or times are not in seconds.
    """
    x, y = (batch.y, batch.x) if options.swap_xy else (batch.x, batch.y)
    tally.rows += len(x) + sum(batch.dropped.values())
    tally.dropped.update(batch.dropped)
    unparsable = np.zeros(len(x), np.bool_) if batch.unparsable is None else batch.unparsable
    good = _leave_out(unparsable, np.ones(len(x), np.bool_), "unparsable", tally)
    good = _leave_out(np.isnan(x) | np.isnan(y), good, "nan", tally)
    good = _leave_out(np.isinf(x) | np.isinf(y), good, "infinite", tally)
    with np.errstate(invalid="ignore", over="ignore"):
        if ground.crs == LONLAT:
            x, y, good = _degrees(x, y, good, ground, options, tally, name)
        else:
            good = _leave_out(~(np.maximum(np.abs(x), np.abs(y)) < LARGEST_TILE * tile), good, "out_of_range", tally)
        if options.box is not None:
            x0, y0, x1, y1 = options.box
            good = _leave_out(~((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)), good, "outside_box", tally)
    picked = slice(None) if good.all() else np.flatnonzero(good)
    rows = _rows(batch, x, y, picked, tally, name)
    tally.kept += len(rows)
    if ground.crs == LONLAT and len(rows):
        _count_degrees(rows, tally)
    return rows


def _degrees(
    x: NDArray[np.float64], y: NDArray[np.float64], good: NDArray[np.bool_], ground: Ground, options: IngestOptions,
    tally: Tally, name: object,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:  # fmt: skip
    """Checked longitude and latitude of WGS 84; longitudes of 180 to 360 are brought to -180 to 0."""
    wrapped = good & (x > 180) & (x <= 360) & (np.abs(y) <= 90)
    far = (np.abs(x) > 180) & ~wrapped | (np.abs(y) > 90)
    _check_axes(x, y, far & good, good, name)
    if wrapped.any():
        tally.noted["longitude_beyond_180"] += int(np.count_nonzero(wrapped))
        x = np.where(wrapped, x - 360, x)
    good = _leave_out(far, good, "out_of_range", tally)
    good = _leave_out((x == 0) & (y == 0), good, "no_fix", tally)
    if ground.source is not None:
        x, y = to_wgs84_degrees(ground, x, y)
        good = _leave_out(~(np.isfinite(x) & np.isfinite(y)), good, "out_of_range", tally)
    elif options.datum != "wgs84":
        moved = to_wgs84(np.where(good, x, 0), np.where(good, y, 0), options.datum)
        x, y = moved
    return x, y, good


def _check_axes(
    x: NDArray[np.float64], y: NDArray[np.float64], far: NDArray[np.bool_], good: NDArray[np.bool_], name: object
) -> None:
    """Raise PointsError where most rows are out of range and would be good the other way round, or are no degrees."""
    bad, all_rows = int(np.count_nonzero(far)), int(np.count_nonzero(good))
    if all_rows < 10 or bad * 2 < all_rows:
        return
    first = int(np.flatnonzero(far)[0])
    swapped = int(np.count_nonzero(far & (np.abs(y) <= 180) & (np.abs(x) <= 90)))
    if swapped * 2 > bad:
        raise PointsError(
            f"{name}: longitude and latitude are swapped, such as {x[first]:g}, {y[first]:g} ({bad} of {all_rows} rows "
            "have a latitude beyond 90); pass --swap-xy"
        )
    if np.abs(x[first]) > 1000 or np.abs(y[first]) > 1000:
        raise PointsError(
            f"{name}: longitude {x[first]:g} and latitude {y[first]:g} are no degrees ({bad} of {all_rows} rows); "
            "where they are metres, say so: --column x=NAME --column y=NAME --crs EPSG:…"
        )


def _leave_out(bad: NDArray[np.bool_], good: NDArray[np.bool_], reason: str, tally: Tally) -> NDArray[np.bool_]:
    new = int(np.count_nonzero(bad & good))
    if not new:
        return good
    tally.dropped[reason] += new
    return good & ~bad


def _rows(
    batch: Batch, x: NDArray[np.float64], y: NDArray[np.float64], picked: Any, tally: Tally, name: object
) -> Rows:
    """The picked rows as records; a value that cannot be meant becomes an unknown one, and is noted."""
    rows = np.empty(len(x[picked]), ROW)
    rows["x"], rows["y"] = x[picked], y[picked]
    rows["vid"] = -1 if batch.vid is None else batch.vid[picked]
    rows["t_s"] = np.nan if batch.t_s is None else _known_times(batch.t_s[picked], tally, name)
    if batch.speed_ms is None:
        rows["speed_ms"] = np.nan
    else:
        speed = np.asarray(batch.speed_ms[picked], np.float64)
        with np.errstate(invalid="ignore"):
            wrong = (speed < 0) | (speed > FASTEST_MS)
        rows["speed_ms"] = _unknown(speed, wrong, "impossible_speed", tally)
    if batch.heading_deg is None:
        rows["heading_deg"] = np.nan
    else:
        heading = np.asarray(batch.heading_deg[picked], np.float64)
        with np.errstate(invalid="ignore"):
            wrong = (heading < -360) | (heading > 720)  # receivers write 360 or 511 for unknown ones
            turned = _unknown(np.mod(heading, 360), wrong, "impossible_heading", tally)
        rows["heading_deg"] = turned.astype(np.float32) % np.float32(360)
    return rows


def _known_times(t_s: NDArray[np.float64], tally: Tally, name: object) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        largest = np.abs(t_s[np.isfinite(t_s)]).max(initial=0)
    if largest > LATEST_S:
        raise PointsError(
            f"{name}: times must be in seconds, the largest is {largest:.0f}; pass --time-unit ms (or us)"
        )
    unknown = ~np.isfinite(t_s)
    count = int(np.count_nonzero(unknown))
    if count:
        tally.noted["unknown_time"] += count
        return np.where(unknown, np.nan, t_s)
    return t_s


def _unknown(values: NDArray[np.float64], wrong: NDArray[np.bool_], reason: str, tally: Tally) -> NDArray[np.float64]:
    wrong = wrong | np.isinf(values)
    count = int(np.count_nonzero(wrong))
    if count:
        tally.noted[reason] += count
        return np.where(wrong, np.nan, values)
    return values


def _count_degrees(rows: Rows, tally: Tally) -> None:
    column = np.clip(np.floor(rows["x"]).astype(np.int64) + 180, 0, 359)
    row = np.clip(np.floor(rows["y"]).astype(np.int64) + 90, 0, 179)
    tally.degrees += np.bincount(row * 360 + column, minlength=180 * 360).reshape(180, 360)
