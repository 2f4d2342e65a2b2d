"""Points of any coordinate reference system → the metric plane that a frame's place is in."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import MissingExtraError, SpecMismatchError, UsageError
from roadedge.trajectory.plane import LocalPlane

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_PLANE = re.compile(rf"\+proj=ortho \+lat_0={_NUMBER} \+lon_0={_NUMBER} \+ellps=WGS84 \+units=m")
_XY = NDArray[np.float64]  # (N, 2)


def plane_of(crs: str) -> LocalPlane | None:
    """The local plane of that name (`LocalPlane.crs`), None where the name is another one's."""
    found = _PLANE.fullmatch(crs)
    return None if found is None else LocalPlane(float(found[2]), float(found[1]))


def onto(xy: _XY, crs: str, target: str) -> _XY:
    """(N, 2) coordinates in `crs` → metres of the plane `target`; what has none there becomes NaN or infinite.

    Args:
        xy: longitude and latitude where `crs` is "lonlat", else metres east, north.
        crs: as in `Points.crs`; not "pixel".
        target: as in `Place.crs`.

    Raises:
        SpecMismatchError: one of the two is a plane without a name ("local") and the other is not.
        MissingExtraError: a projected CRS without pyproj.
        UsageError: a name that pyproj does not know.
    """
    if crs == target:
        return xy
    if "local" in (crs, target) or "pixel" in (crs, target):
        raise SpecMismatchError(
            f"the points are in {crs!r} and the frame's place in {target!r}, and nobody knows how the two lie; "
            "give both in lonlat or in a CRS with a name, as --points-crs EPSG:32616"
        )
    plane = plane_of(target)
    if plane is None:
        return _by_pyproj(xy, crs, target)
    return plane.from_lonlat(to_lonlat(xy, crs))


def to_lonlat(xy: _XY, crs: str) -> _XY:
    """(N, 2) coordinates in `crs` → longitude, latitude in degrees; raises as `onto`."""
    if crs == "lonlat":
        return xy
    plane = plane_of(crs)
    return _by_pyproj(xy, crs, "lonlat") if plane is None else plane.to_lonlat(xy)


def check_crs(crs: str) -> None:
    """Raise what `onto` would raise of this name later: UsageError or MissingExtraError."""
    if crs not in ("", "pixel", "local", "lonlat") and plane_of(crs) is None:
        _transformer(crs, "lonlat")


def _by_pyproj(xy: _XY, crs: str, target: str) -> _XY:
    x, y = _transformer(crs, target).transform(xy[:, 0], xy[:, 1])
    return np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)


@functools.lru_cache(maxsize=16)
def _transformer(crs: str, target: str) -> Any:
    try:
        import pyproj
    except ImportError as error:
        raise MissingExtraError("pyproj", "geo", f"turning {crs} into {target}") from error
    try:
        known = {name: pyproj.CRS.from_user_input("EPSG:4326" if name == "lonlat" else name) for name in (crs, target)}
        for name, read in known.items():
            if read.is_geographic and name != "lonlat":
                raise UsageError(f"{name} has degrees, not a plane; give such points as columns lon, lat")
        return pyproj.Transformer.from_crs(known[crs], known[target], always_xy=True)
    except pyproj.exceptions.ProjError as error:
        said = " ".join(str(error).split())[:120]
        raise UsageError(f"no way from {crs!r} to {target!r} ({said}); expected a name such as EPSG:32616") from error
