"""Chinese map datums → WGS 84: GCJ-02 (Amap, Tencent, Google in China) and BD-09 (Baidu).

GCJ-02 moves a position by 50 to 700 m, which no heat-map survives. The forward formulas are public, the inverse is
iterated on them to less than a millimetre, where the usual one-step inverse leaves metres.

Source: the formulas as published in googollee/eviltransform (GCJ-02) and wandergis/coordtransform (BD-09). Their
rectangle for "in China" is rough and takes in neighbours, whose data was never shifted and must not be converted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import UnknownNameError

_Degrees = NDArray[np.float64]
_Pair = tuple[_Degrees, _Degrees]

_SEMI_MAJOR_M = 6378245.0  # Krasovsky 1940, on which the datum is defined
_ECCENTRICITY_SQUARED = 0.00669342162296594323
_STEPS = 12  # each gains about two and a half digits: far beyond float64
_CLOSE_DEG = 1e-10  # 0.01 mm


def to_wgs84(lon_deg: _Degrees, lat_deg: _Degrees, datum: str) -> _Pair:
    """Longitude and latitude in `datum` (a name of `DATUMS`) → in WGS 84, degrees; inputs are left as they are.

    Raises:
        UnknownNameError: `datum` is none of them.
    """
    if datum not in DATUMS:
        raise UnknownNameError("datum", datum, DATUMS)
    return DATUMS[datum](np.asarray(lon_deg, np.float64), np.asarray(lat_deg, np.float64))


def wgs84_to_gcj02(lon_deg: _Degrees, lat_deg: _Degrees) -> _Pair:
    """WGS 84 → GCJ-02, degrees; positions outside the rectangle about China stay."""
    lon, lat = np.asarray(lon_deg, np.float64), np.asarray(lat_deg, np.float64)
    east, north = lon - 105.0, lat - 35.0
    root = np.sqrt(np.abs(east))
    ripple = 20 * np.sin(6 * np.pi * east) + 20 * np.sin(2 * np.pi * east)
    north_m = -100 + 2 * east + 3 * north + 0.2 * north**2 + 0.1 * east * north + 0.2 * root
    north_m += (ripple + 20 * np.sin(np.pi * north) + 40 * np.sin(np.pi / 3 * north)) * 2 / 3
    north_m += (160 * np.sin(np.pi / 12 * north) + 320 * np.sin(np.pi / 30 * north)) * 2 / 3
    east_m = 300 + east + 2 * north + 0.1 * east**2 + 0.1 * east * north + 0.1 * root
    east_m += (ripple + 20 * np.sin(np.pi * east) + 40 * np.sin(np.pi / 3 * east)) * 2 / 3
    east_m += (150 * np.sin(np.pi / 12 * east) + 300 * np.sin(np.pi / 30 * east)) * 2 / 3
    latitude = np.radians(lat)
    curve = 1 - _ECCENTRICITY_SQUARED * np.sin(latitude) ** 2
    meridian_m = _SEMI_MAJOR_M * (1 - _ECCENTRICITY_SQUARED) / curve**1.5
    parallel_m = _SEMI_MAJOR_M / np.sqrt(curve) * np.cos(latitude)
    inside = (lon >= 72.004) & (lon <= 137.8347) & (lat >= 0.8293) & (lat <= 55.8271)
    return (
        np.where(inside, lon + np.degrees(east_m / np.where(inside, parallel_m, 1.0)), lon),
        np.where(inside, lat + np.degrees(north_m / meridian_m), lat),
    )


def gcj02_to_bd09(lon_deg: _Degrees, lat_deg: _Degrees) -> _Pair:
    """GCJ-02 → BD-09, degrees."""
    lon, lat = np.asarray(lon_deg, np.float64), np.asarray(lat_deg, np.float64)
    turn = np.pi * 3000 / 180
    radius = np.hypot(lon, lat) + 2e-5 * np.sin(lat * turn)
    angle = np.arctan2(lat, lon) + 3e-6 * np.cos(lon * turn)
    return radius * np.cos(angle) + 0.0065, radius * np.sin(angle) + 0.006


def gcj02_to_wgs84(lon_deg: _Degrees, lat_deg: _Degrees) -> _Pair:
    """GCJ-02 → WGS 84, degrees."""
    return _invert(wgs84_to_gcj02, lon_deg, lat_deg)


def bd09_to_wgs84(lon_deg: _Degrees, lat_deg: _Degrees) -> _Pair:
    """BD-09 → WGS 84, degrees."""
    return gcj02_to_wgs84(*_invert(gcj02_to_bd09, lon_deg, lat_deg))


def _invert(forward: Callable[[_Degrees, _Degrees], _Pair], lon_deg: _Degrees, lat_deg: _Degrees) -> _Pair:
    """The position that `forward` moves to (lon, lat): a fixed point, since the shift changes slowly with place."""
    lon, lat = np.array(lon_deg, np.float64), np.array(lat_deg, np.float64)
    for _ in range(_STEPS):
        moved_lon, moved_lat = forward(lon, lat)
        miss_lon, miss_lat = lon_deg - moved_lon, lat_deg - moved_lat
        lon, lat = lon + miss_lon, lat + miss_lat
        if max(np.abs(miss_lon).max(initial=0), np.abs(miss_lat).max(initial=0)) < _CLOSE_DEG:
            break
    return lon, lat


def _as_is(lon_deg: _Degrees, lat_deg: _Degrees) -> _Pair:
    return lon_deg, lat_deg


DATUMS: dict[str, Callable[[_Degrees, _Degrees], _Pair]] = {
    "wgs84": _as_is,
    "gcj02": gcj02_to_wgs84,
    "bd09": bd09_to_wgs84,
}
