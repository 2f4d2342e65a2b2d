"""GPX: the points of tracks, or of routes where there is no track."""

from __future__ import annotations

from datetime import timezone
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.errors import MissingExtraError, PointsError
from roadedge.trajectory.files import opened_text
from roadedge.trajectory.points import Points


def read_gpx(path: Path) -> Points:
    """Read a GPX file: each track segment or route is one `vehicle`, times are seconds since 1970 (UTC).

    Raises:
        PointsError: the file is not GPX or holds neither track nor route.
        MissingExtraError: gpxpy is not installed.
    """
    try:
        import gpxpy
        import gpxpy.gpx
    except ImportError as error:
        raise MissingExtraError("gpxpy", "points", "reading GPX") from error
    path = Path(path)
    with opened_text(path) as text:
        content = text.read()
    try:
        document = gpxpy.parse(content)
    except (gpxpy.gpx.GPXException, ValueError, OverflowError) as error:
        said = " ".join(str(error).split())[:120]
        raise PointsError(f"{path} is not a whole GPX file ({said}); export it again") from error
    parts: list[Any] = [segment.points for track in document.tracks for segment in track.segments]
    parts = parts or [route.points for route in document.routes]
    if not parts:
        raise PointsError(f"{path} holds neither a track nor a route; expected GPX with <trk> or <rte>")
    return _points(parts)


def _points(parts: list[Any]) -> Points:
    fixes = [(number, fix) for number, part in enumerate(parts) for fix in part]
    speed = np.array([np.nan if getattr(f, "speed", None) is None else f.speed for _, f in fixes], np.float64)
    t_s = np.array([_seconds(fix) for _, fix in fixes], np.float64)
    columns = {
        "x": np.array([fix.longitude for _, fix in fixes], np.float64),
        "y": np.array([fix.latitude for _, fix in fixes], np.float64),
        "vehicle": np.array([number for number, _ in fixes], np.int64),
    }
    known = {"t_s": t_s, "speed_mps": speed}
    return Points.checked(columns | {k: v for k, v in known.items() if not np.isnan(v).all()}, "lonlat")


def _seconds(fix: Any) -> float:
    if fix.time is None:
        return float("nan")
    moment = fix.time if fix.time.tzinfo else fix.time.replace(tzinfo=timezone.utc)
    return float(moment.timestamp())
