"""What looks wrong about points as a whole, though each of them is possible: one sentence each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadedge.trajectory.ingest.cleaning import Tally

MIRRORS = {"longitude": (1, -1), "latitude": (-1, 1), "longitude and latitude": (-1, -1)}


def hints_of(tally: Tally, crs: str, box: tuple[float, float, float, float] | None) -> list[str]:
    """Sentences for a user to look at; none where nothing looks wrong.

    Args:
        tally: of all files.
        crs: of the store.
        box: least x, y, greatest x, y of a store in a projected CRS.
    """
    found = _about_times(tally) + _about_trips(tally)
    if tally.degrees.any():
        return found + _about_degrees(tally.degrees)
    return found + (_about_projection(crs, box) if box is not None and np.isfinite(box).all() else [])


def _about_times(tally: Tally) -> list[str]:
    if tally.kept and tally.noted["unknown_time"] == tally.kept:
        return ["no row has a time that could be read; expected seconds or ISO 8601"]
    return []


def _about_trips(tally: Tally) -> list[str]:
    count = tally.noted["trip_too_long"]
    if not count:
        return []
    return [
        f"{count} rows belong to trips with more points than are sorted at a time, for which no speed or heading was "
        "derived: is the number of the vehicle the same for all? (--column vid=NAME, --rows-in-memory)"
    ]


def _about_degrees(degrees: NDArray[np.int64]) -> list[str]:
    """By counts per degree (180, 360), south-west first."""
    found = []
    total = int(degrees.sum())
    polar = int(degrees[:15].sum() + degrees[165:].sum())
    if polar * 2 > total:
        found.append(
            f"{polar} of {total} points lie beyond 75 degrees north or south: longitude and latitude may be swapped "
            "(--swap-xy)"
        )
    row, column = np.unravel_index(int(np.argmax(degrees)), degrees.shape)
    home = _around(degrees, int(row), int(column))
    for what, (up, across) in MIRRORS.items():
        mirrored = int(row) if up > 0 else 179 - int(row), int(column) if across > 0 else 359 - int(column)
        near = abs(mirrored[0] - int(row)) <= 4 and min(abs(mirrored[1] - column), 360 - abs(mirrored[1] - column)) <= 4
        count = 0 if near else _around(degrees, *mirrored)
        if count and count < home:
            found.append(
                f"{count} of {total} points lie where those about {column - 180 + 0.5:g}, {row - 90 + 0.5:g} would lie "
                f"with the other sign of {what}: a lost minus sign, or the wrong hemisphere (leave them out with --box)"
            )
    west, east = int(degrees[:, :2].sum()), int(degrees[:, -2:].sum())
    if west and east:
        found.append(
            f"the points lie on both sides of the antimeridian ({west} west of -178, {east} east of 178): read boxes "
            "with x0 > x1, and map them in a projected CRS"
        )
    return found


def _around(degrees: NDArray[np.int64], row: int, column: int) -> int:
    rows = slice(max(row - 2, 0), row + 3)
    return int(np.roll(degrees[rows], 180 - column, axis=1)[:, 178:183].sum())


def _about_projection(crs: str, box: tuple[float, float, float, float]) -> list[str]:
    """Whether the middle of the box lies where the projection is meant for."""
    import pyproj

    known = pyproj.CRS(crs)
    area = known.area_of_use
    if area is None:
        return []
    to_degrees = pyproj.Transformer.from_crs(known, "OGC:CRS84", always_xy=True)
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    if _within(to_degrees.transform(*middle), area.bounds):
        return []
    swapped = _within(to_degrees.transform(middle[1], middle[0]), area.bounds)
    what = "; easting and northing may be swapped (--swap-xy)" if swapped else "; is the --crs the right one?"
    lon, lat = to_degrees.transform(*middle)
    where = f"{lon:.2f}, {lat:.2f}" if np.isfinite([lon, lat]).all() else "nowhere on the Earth"
    return [f"the middle of the points is {where}, outside the area of {crs[:40]} ({area.name}){what}"]


def _within(place: tuple[float, float], area: tuple[float, float, float, float]) -> bool:
    lon, lat = place
    west, south, east, north = area
    beside = 3.0  # degrees: projections are used somewhat beyond their zone
    across = west - beside <= lon <= east + beside if west <= east else lon >= west - beside or lon <= east + beside
    return bool(across and south - beside <= lat <= north + beside)
