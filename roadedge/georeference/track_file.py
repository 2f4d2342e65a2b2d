"""A vehicle's or drone's own way out of a trajectory file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import PointsError, UsageError
from roadedge.georeference.pose import PoseTrack
from roadedge.georeference.raster_place import to_lonlat
from roadedge.trajectory.points import Points
from roadedge.trajectory.readers import read_points


def read_track(path: str | Path, vehicle: int | None = None, crs: str | None = None) -> PoseTrack:
    """The way of one vehicle, which looks where it goes; zero of its clock is its first time.

    Args:
        path: of a trajectory file with times.
        vehicle: its number where the file holds several; None takes the first.
        crs: what columns x, y are, where they are not longitude and latitude.

    Raises:
        PointsError: no times, no usable position, or points in pixels.
        UsageError: no such vehicle.
    """
    points = read_points(path, crs=crs)
    return track_of(points, str(path), vehicle)


def track_of(points: Points, what: str, vehicle: int | None = None) -> PoseTrack:
    """`read_track` of points that have been read; `what` names them in messages."""
    if not len(points):
        raise PointsError(f"{what} holds no points")
    lonlat = lonlat_of(points, what)
    if points.t_s is None:
        raise PointsError(f"{what} has no times, so nobody knows when it was where; expected <time> in each point")
    numbers = np.zeros(len(points), np.int64) if points.vehicle is None else points.vehicle
    wanted = int(numbers[0]) if vehicle is None else vehicle
    rows = np.flatnonzero(numbers == wanted)
    if not len(rows):
        raise UsageError(f"{what} holds no vehicle {vehicle}; its numbers are {np.unique(numbers)[:10].tolist()}")
    rows = rows[np.argsort(points.t_s[rows], kind="stable")]  # the order of rows in a file says little
    times = points.t_s[rows]
    start = float(np.nanmin(times)) if np.isfinite(times).any() else 0.0
    columns = {"t_s": times - start, "lon_deg": lonlat[rows, 0], "lat_deg": lonlat[rows, 1]}
    track = PoseTrack.checked(columns, what, epoch_s=start, dropped=points.dropped)
    return track.with_course()


def lonlat_of(points: Points, what: str) -> NDArray[np.float64]:
    """(N, 2) longitude, latitude of points in any CRS of the Earth.

    Raises:
        PointsError: they are in pixels or in a plane without a name.
    """
    if points.crs == "lonlat":
        return points.xy()
    if points.crs in ("pixel", "local"):
        raise PointsError(
            f"{what} has points in {points.crs!r}, which lie nowhere on the Earth; "
            "expected columns lon, lat, or x, y with --points-crs EPSG:…"
        )
    return to_lonlat(points.xy(), points.crs)
