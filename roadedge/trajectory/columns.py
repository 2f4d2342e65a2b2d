"""Which column of a table of points is which: one dict of spellings for CSV and Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roadedge.errors import PointsError

SPELLINGS: dict[str, tuple[str, ...]] = {
    "x": ("x", "x_px", "x_m", "easting"),
    "y": ("y", "y_px", "y_m", "northing"),
    "lon": ("lon", "lng", "long", "longitude", "lon_deg"),
    "lat": ("lat", "latitude", "lat_deg"),
    "t_s": ("t", "t_s", "time", "time_s", "timestamp", "datetime"),
    "speed_mps": ("speed", "speed_mps", "v"),
    "interval_s": ("interval", "interval_s", "timeinterval"),
    "vehicle": ("vid", "vehicle", "vehicle_id", "id", "taxi_id", "trip_id", "track_id"),
}
EXPECTED = "x, y (pixels) or lon, lat (degrees), and optionally t, speed, interval, vid"


@dataclass(frozen=True, slots=True)
class Layout:
    """The position of each field's column in a table, and what its coordinates are.

    `fields` maps a field of `Points` to a column's position, `crs` is "pixel" or "lonlat" by the spelling.
    """

    fields: dict[str, int]
    crs: str


def lay_out(names: Sequence[str], path: object) -> Layout:
    """Find the columns of points among `names`, whatever their case.

    Raises:
        PointsError: no pair of coordinates, or two columns for one field; lists what was found and expected.
    """
    found: dict[str, int] = {}
    for field, spellings in SPELLINGS.items():
        places = [i for i, name in enumerate(names) if name.strip().lower() in spellings]
        if len(places) > 1:
            twice = ", ".join(names[i] for i in places)
            raise PointsError(f"{path} has more than one column for {field}: {twice}; keep one of them")
        if places:
            found[field] = places[0]
    pixel, geographic = {"x", "y"} <= found.keys(), {"lon", "lat"} <= found.keys()
    if pixel == geographic:
        which = "both x, y and lon, lat" if pixel else "neither x, y nor lon, lat"
        listed = ", ".join(name.strip() or "(no name)" for name in list(names)[:20])
        raise PointsError(f"{path} has {which} among its columns [{listed}]; expected {EXPECTED}")
    if geographic:
        found = {{"lon": "x", "lat": "y"}.get(f, f): i for f, i in found.items() if f not in ("x", "y")}
    else:
        found = {f: i for f, i in found.items() if f not in ("lon", "lat")}
    return Layout(found, "lonlat" if geographic else "pixel")
