"""Trajectory files by their suffix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from roadedge.errors import PointsError, UnknownNameError, UsageError
from roadedge.trajectory.csv_file import read_csv
from roadedge.trajectory.datum import DATUMS, to_wgs84
from roadedge.trajectory.gpx_file import read_gpx
from roadedge.trajectory.nmea_file import read_nmea
from roadedge.trajectory.parquet_file import read_parquet
from roadedge.trajectory.points import Points

READERS: dict[str, Callable[[Path], Points]] = {
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".txt": read_csv,
    ".txt.gz": read_csv,
    ".parquet": read_parquet,
    ".gpx": read_gpx,
    ".gpx.gz": read_gpx,
    ".nmea": read_nmea,
    ".nmea.gz": read_nmea,
}


def read_points(path: str | Path, datum: str = "wgs84", crs: str | None = None) -> Points:
    """Read a trajectory file of any format of `READERS`.

    Args:
        path: of the file; its suffix names the format.
        datum: of longitudes and latitudes, a name of `datum.DATUMS`; converted to WGS 84.
        crs: what columns x, y are, where they are not pixels: "EPSG:32616", "local", "lonlat".

    Returns:
        The points, with the rows left out counted in `dropped`.

    Raises:
        PointsError: the suffix is unknown or the file cannot be read.
        UsageError: a datum for points that are not longitude and latitude, or a `crs` for points that are.
        UnknownNameError: the datum is unknown.
        MissingExtraError: the format's library is not installed.
    """
    if datum not in DATUMS:
        raise UnknownNameError("datum", datum, DATUMS)
    path = Path(path)
    points = _read(path)
    if crs is not None and crs != points.crs:
        points = _renamed(points, crs, path)
    if datum == "wgs84":
        return points
    if points.crs != "lonlat":
        raise UsageError(f"the datum {datum} belongs to longitude and latitude; {path} has points in {points.crs!r}")
    x, y = to_wgs84(points.x, points.y, datum)
    return dataclasses.replace(points, x=x, y=y)


def suffix_of(path: str | Path) -> str:
    """The key of `READERS` that the name of `path` ends with.

    Raises:
        PointsError: none; lists those that are read.
    """
    name = Path(path).name.lower()
    suffixes = sorted(READERS, key=len, reverse=True)
    found = next((suffix for suffix in suffixes if name.endswith(suffix)), None)
    if found is None:
        raise PointsError(f"{path} has no suffix of a trajectory file; roadedge reads {', '.join(sorted(READERS))}")
    return found


def _read(path: Path) -> Points:
    """Read `path`; an error that `Points` raised about the rows gets the name of their file."""
    try:
        return READERS[suffix_of(path)](path)
    except PointsError as error:
        if str(path) in str(error):
            raise
        raise PointsError(f"{path}: {error}") from error


def _renamed(points: Points, crs: str, path: Path) -> Points:
    if points.crs == "lonlat":
        raise UsageError(f"{path} has longitude and latitude; crs {crs!r} goes with columns x, y only")
    if crs != "lonlat":
        return dataclasses.replace(points, crs=crs)
    names = ("x", "y", "t_s", "speed_mps", "interval_s", "vehicle")
    columns = {name: getattr(points, name) for name in names if getattr(points, name) is not None}
    return Points.checked(columns, crs, points.dropped)
