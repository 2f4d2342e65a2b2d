"""The coordinate system of a store: what x, y are, and how long a step in them is on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import MissingExtraError, UsageError
from roadedge.trajectory.point_store import LONLAT

Floats = NDArray[np.float64]

_SEMI_MAJOR_M = 6378137.0  # WGS 84
_ECCENTRICITY_SQUARED = 0.00669437999014132
_NODES = 9  # along each side of a box, at which a projection's scale and turn are taken


@dataclass(frozen=True, slots=True)
class Ground:
    """The CRS that points are stored in; `source` is set where x, y of the files are geographic in another datum."""

    crs: str
    source: str | None = None

    def steps(self, x: Floats, y: Floats, dx: Floats, dy: Floats) -> tuple[Floats, Floats]:
        """Metres to the true east and north of (N,) small steps dx, dy from (N,) places x, y.

        On a sphere's scale for longitude and latitude; of a projection by its scale and its meridian's turn, which are
        taken on a grid of nodes over the box of the places.
        """
        if self.crs == LONLAT:
            latitude = np.radians(y)
            curve = 1 - _ECCENTRICITY_SQUARED * np.sin(latitude) ** 2
            east = np.radians((dx + 180) % 360 - 180) * np.cos(latitude) * _SEMI_MAJOR_M / np.sqrt(curve)
            north = np.radians(dy) * _SEMI_MAJOR_M * (1 - _ECCENTRICITY_SQUARED) / curve**1.5
            return east, north
        if not len(x):
            return dx, dy
        scale, turn = _scale_and_turn(self.crs, x, y)
        return (dx * np.cos(turn) + dy * np.sin(turn)) * scale, (dy * np.cos(turn) - dx * np.sin(turn)) * scale


def ground_of(crs: str | None, datum: str) -> Ground:
    """What points with columns in `crs` (None: longitude and latitude in `datum`) are stored in.

    Geographic coordinates become WGS 84 longitude and latitude; projected ones stay as they are.

    Raises:
        UsageError: no such CRS is known, columns x, y came without one, or a Chinese datum with projected ones.
        MissingExtraError: pyproj is not installed.
    """
    if crs is None:
        return Ground(LONLAT)
    if not crs:
        raise UsageError("columns x, y need to be told what they are: --crs EPSG:32616, or --crs EPSG:4326 for degrees")
    try:
        import pyproj
    except ImportError as error:
        raise MissingExtraError("pyproj", "geo", "points in a CRS of their own") from error
    try:
        known = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise UsageError(f"no coordinate reference system {crs[:60]!r} is known; give one as EPSG:32616") from error
    if known.is_geographic:
        same = known.to_2d() == pyproj.CRS(LONLAT) or known.to_2d() == pyproj.CRS("EPSG:4326")
        return Ground(LONLAT, None if same else known.to_wkt())
    if not known.is_projected:
        raise UsageError(f"{crs[:60]!r} is neither geographic nor projected; points lie on the ground: give EPSG:32616")
    if datum != "wgs84":
        raise UsageError(f"the datum {datum} belongs to longitude and latitude; these points are in {crs[:60]}")
    authority = known.to_authority(min_confidence=100)
    return Ground(":".join(authority) if authority else known.to_wkt())


def to_wgs84_degrees(ground: Ground, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Longitude and latitude of `ground.source` → of WGS 84."""
    if ground.source is None:
        return x, y
    import pyproj

    lon, lat = pyproj.Transformer.from_crs(ground.source, LONLAT, always_xy=True).transform(x, y)
    return np.asarray(lon, np.float64), np.asarray(lat, np.float64)


def _scale_and_turn(crs: str, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """(N,) metres on the ground per unit, and how far grid north lies clockwise of true north, in radians."""
    import pyproj

    projection = _projection(crs)
    box = [float(x.min()), float(y.min()), float(x.max()), float(y.max())]
    across, up = np.linspace(box[0], box[2], _NODES), np.linspace(box[1], box[3], _NODES)
    node_x, node_y = np.meshgrid(across, up)
    to_degrees = pyproj.Transformer.from_crs(crs, LONLAT, always_xy=True)
    lon, lat = to_degrees.transform(node_x.ravel(), node_y.ravel())
    factors = projection.get_factors(lon, lat, radians=False, errcheck=False)
    unit_m = float(pyproj.CRS(crs).axis_info[0].unit_conversion_factor)
    scale = unit_m / np.sqrt(np.abs(np.asarray(factors.areal_scale, np.float64)))
    turn = np.radians(np.asarray(factors.meridian_convergence, np.float64))
    shape = node_x.shape
    return _between((scale.reshape(shape), turn.reshape(shape)), box, x, y)


def _projection(crs: str) -> Any:
    import pyproj

    return pyproj.Proj(crs)


def _between(nodes: tuple[Floats, Floats], box: list[float], x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Bilinear values of two grids of nodes over a box."""
    place = []
    for values, low, high in ((x, box[0], box[2]), (y, box[1], box[3])):
        share = (values - low) * ((_NODES - 1) / max(high - low, 1e-9))
        whole = np.minimum(share.astype(np.int32), _NODES - 2)
        place.append((whole, share - whole))
    (column, across), (row, up) = place
    corner = row * _NODES + column
    found = []
    for grid in nodes:
        flat = grid.ravel()
        low_row = flat[corner] * (1 - across) + flat[corner + 1] * across
        high_row = flat[corner + _NODES] * (1 - across) + flat[corner + _NODES + 1] * across
        found.append(low_row + (high_row - low_row) * up)
    return found[0], found[1]
