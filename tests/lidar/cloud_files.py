"""Small point clouds, written by laspy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

X0, Y0 = 500_000.0, 4_000_000.0  # a corner in UTM zone 10
CRS = "EPSG:32610"


def write_cloud(
    path: Path,
    xyz: ArrayLike,
    intensity: ArrayLike = 100,
    crs: str | None = CRS,
    point_format: int = 6,
    **fields: Any,
) -> Path:
    """Points (N, 3), with CRS in the header as WKT (formats 6 and on) or as keys."""
    import laspy
    import pyproj

    points = np.asarray(xyz, np.float64).reshape(-1, 3)
    header = laspy.LasHeader(point_format=point_format, version="1.4" if point_format > 5 else "1.2")
    header.offsets, header.scales = (
        np.append(np.floor(points[:1, :2].ravel() if len(points) else [X0, Y0]), 0.0),
        np.full(3, 0.001),
    )
    if crs is not None:
        header.add_crs(pyproj.CRS.from_user_input(crs))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = points.T
    cloud.intensity = np.broadcast_to(np.asarray(intensity, np.uint16), len(points))
    cloud.return_number = np.broadcast_to(fields.pop("return_number", 1), len(points))
    for name, values in fields.items():
        cloud[name] = np.broadcast_to(values, len(points))
    cloud.write(str(path))
    return path


def plain_of(side_m: float = 40.0, step_m: float = 0.5, z: float = 50.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N, 3): level ground north and east of the corner, a point in the middle of each cell."""
    at = np.arange(step_m / 2, side_m, step_m)
    x, y = (axis.ravel() for axis in np.meshgrid(at, at))
    return np.column_stack([X0 + x, Y0 + y, np.full(len(x), z)])
