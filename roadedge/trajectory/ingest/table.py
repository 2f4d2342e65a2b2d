"""Which column of a table is which, by its spelling or as the user says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roadedge.errors import PointsError
from roadedge.trajectory.columns import SPELLINGS as KNOWN
from roadedge.trajectory.ingest.options import IngestOptions

SPELLINGS: dict[str, tuple[str, ...]] = {
    "x": KNOWN["x"],
    "y": KNOWN["y"],
    "lon": KNOWN["lon"],
    "lat": KNOWN["lat"],
    "t": KNOWN["t_s"],
    "vid": KNOWN["vehicle"],
    "speed": (*KNOWN["speed_mps"], "speed_ms"),
    "heading": ("heading", "heading_deg", "bearing", "course", "cog", "direction", "dir", "azimuth"),
}


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The position of each field's column; `geographic` where x, y are longitude and latitude."""

    places: dict[str, int]
    geographic: bool


def find_columns(names: Sequence[str], path: object, options: IngestOptions) -> TableColumns:
    """Find the columns of points among `names`: x, y, and where present t, vid, speed, heading.

    Raises:
        PointsError: no pair of coordinates, two columns for one field, or one that was named and is absent; lists what
            was found, and says how to name them.
    """
    places = {field: _place(names, field, path, options) for field in SPELLINGS}
    found = {field: place for field, place in places.items() if place is not None}
    listed = ", ".join(name.strip() or "(no name)" for name in list(names)[:20])
    pairs = {kind: set(kind) <= found.keys() for kind in (("x", "y"), ("lon", "lat"))}
    if any(set(kind) & options.columns.keys() for kind in pairs):  # named by the user: the other pair is not meant
        pairs = {kind: present and bool(set(kind) & options.columns.keys()) for kind, present in pairs.items()}
    if sum(pairs.values()) != 1:
        which = "both x, y and lon, lat" if any(pairs.values()) else "neither x, y nor lon, lat"
        raise PointsError(
            f"{path} has {which} among its columns [{listed}]; say which they are: --column lon=NAME --column lat=NAME "
            "(or x=, y= with --crs); a table without a header: --header NAME,NAME,..."
        )
    geographic = pairs["lon", "lat"]
    horizontal, vertical = ("lon", "lat") if geographic else ("x", "y")
    others = {field: place for field, place in found.items() if field in ("t", "vid", "speed", "heading")}
    return TableColumns({"x": found[horizontal], "y": found[vertical], **others}, geographic)


def _place(names: Sequence[str], field: str, path: object, options: IngestOptions) -> int | None:
    given = options.columns.get(field)
    plain = [name.strip() for name in names]
    if given is not None:
        if given not in plain:
            raise PointsError(f"{path} has no column {given!r} for {field}; it has [{', '.join(plain[:20])}]")
        return plain.index(given)
    taken = set(options.columns.values())
    places = [i for i, name in enumerate(plain) if name.lower() in SPELLINGS[field] and name not in taken]
    if len(places) > 1:
        twice = ", ".join(plain[i] for i in places)
        raise PointsError(f"{path} has more than one column for {field}: {twice}; choose by --column {field}=NAME")
    return places[0] if places else None
