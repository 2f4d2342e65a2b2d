"""A made-up scene with one straight road, its vectors and its points, small enough to prepare in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.trajectory.store_writer import write_store

UTM = "EPSG:32616"
WEST, NORTH = 440_000.0, 4_630_000.0


def write_scene(
    path: Path,
    height: int = 256,
    width: int = 320,
    gsd_m: float = 0.5,
    bands: int = 3,
    dtype: str = "uint8",
    crs: str | None = UTM,
    rotation_deg: float = 0.0,
    nodata: int | None = None,
    hole: tuple[slice, slice] | None = None,
) -> Path:
    """A grey scene, brighter to the right; `hole` pixels hold `nodata`."""
    import rasterio

    ramp = np.linspace(20, 200, width, dtype=np.float32)[None, None].repeat(height, 1).repeat(bands, 0)
    pixels = (ramp * (16 if dtype == "uint16" else 1)).astype(dtype)
    if hole is not None:
        pixels[:, hole[0], hole[1]] = nodata or 0
    along, aside = gsd_m * np.cos(np.radians(rotation_deg)), gsd_m * np.sin(np.radians(rotation_deg))
    transform = rasterio.Affine(along, -aside, WEST, -aside, -along, NORTH)
    options: dict[str, Any] = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": dtype}
    with rasterio.open(path, "w", **options, crs=crs, transform=transform, nodata=nodata) as raster:
        raster.write(pixels)
    return path


def write_in_degrees(source: Path, target: Path) -> Path:
    """The scene warped to longitude and latitude."""
    import rasterio
    from rasterio.warp import reproject, transform_bounds

    with rasterio.open(source) as raster:
        west, south, east, north = transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
        step = rasterio.Affine((east - west) / raster.width, 0, west, 0, (south - north) / raster.height, north)
        with rasterio.open(target, "w", **(raster.profile | {"crs": "EPSG:4326", "transform": step})) as warped:
            for band in raster.indexes:
                reproject(rasterio.band(raster, band), rasterio.band(warped, band))
    return target


def write_vectors(path: Path, shapes: list[Any], crs: str = UTM, **fields: list[Any]) -> Path:
    """Shapely geometries of one kind as a layer."""
    import pyogrio.raw
    import shapely

    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(np.array(shapes, object)),
        field_data=[np.array(values, object) for values in fields.values()],
        fields=np.array(list(fields), object),
        geometry_type=shapes[0].geom_type,
        crs=crs,
        layer=path.stem,
    )
    return path


def road_at(y_px: float, gsd_m: float = 0.5, length_px: float = 320.0) -> Any:
    """A line from the scene's left rim to its right one, `y_px` pixels below the top."""
    import shapely

    y = NORTH - y_px * gsd_m
    return shapely.LineString([(WEST, y), (WEST + length_px * gsd_m, y)])


def square(x_px: float, y_px: float, side_px: float, gsd_m: float = 0.5) -> Any:
    """A square of the scene by its upper left pixel."""
    import shapely

    x, y, side = WEST + x_px * gsd_m, NORTH - y_px * gsd_m, side_px * gsd_m
    return shapely.box(x, y - side, x + side, y)


def write_points_on(path: Path, pixels: NDArray[np.float64], gsd_m: float = 0.5, crs: str = UTM) -> Path:
    """A store of points at (N, 2) pixels of the scene, one second apart, of one vehicle."""
    from roadedge.roadmap.grid import converted

    xy = converted(np.array([WEST, NORTH]) + pixels * [gsd_m, -gsd_m], UTM, crs)
    number = np.arange(len(xy))
    write_store(path, {"x": xy[:, 0], "y": xy[:, 1], "t_s": number.astype(float), "vid": number * 0 + 7}, crs)
    return path
