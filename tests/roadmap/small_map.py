"""A folder as `roadedge map` leaves it, drawn by hand: a grid of roads and what is known of them, rasters, backdrop."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.transform import Affine

CRS = "EPSG:32616"
X0, Y1 = 447_000.0, 4_637_000.0  # upper left corner, in Chicago
GSD_M = 0.5
SPACING_M = 100.0


def road_lines(side_m: float, spacing_m: float = SPACING_M) -> list[NDArray[np.float64]]:
    """Straight roads between the crossings of a square grid, the first ones half a spacing from the border."""
    at = np.arange(spacing_m / 2, side_m, spacing_m)
    lines = []
    for a in at:
        for low, high in itertools.pairwise(at):
            lines += [np.array([[low, a], [high, a]]), np.array([[a, low], [a, high]])]
    return [line * [1, -1] + [X0, Y1] for line in lines]


def write_roads(path: Path, lines: list[NDArray[np.float64]], crs: str = CRS) -> None:
    """`edges` and `nodes` as a GeoPackage has them."""
    count = len(lines)
    number = np.arange(count)
    speed = np.where(number % 3 == 0, np.nan, 20.0 + number % 40)
    oneway = np.where(number % 4 == 0, 1.0, np.where(number % 4 == 1, 0.0, np.nan))
    columns: dict[str, NDArray[Any]] = {
        "u": number, "v": number + 1, "length_m": np.array([float(np.linalg.norm(x[-1] - x[0])) for x in lines]),
        "width_m": 6.0 + number % 5, "confidence": 0.4 + 0.6 * (number % 10) / 10, "n_trips": number % 30,
        "speed_kmh": speed, "oneway": oneway, "travel_time_s": 10.0 / np.maximum(speed, 1),
    }  # fmt: skip
    with np.errstate(invalid="ignore"):  # a test puts NaN among the coordinates
        shapes = shapely.to_wkb([shapely.linestrings(line) for line in lines])
    _layer(path, "edges", shapes, "LineString", columns, crs)
    ends = np.unique(np.concatenate([line[[0, -1]] for line in lines]), axis=0) if lines else np.empty((0, 2))
    nodes = {"id": np.arange(len(ends)), "degree": np.full(len(ends), 4), "junction": np.arange(len(ends)) % 2}
    _layer(path, "nodes", shapely.to_wkb(shapely.points(ends)), "Point", nodes, crs)


def _layer(path: Path, name: str, shapes: Any, kind: str, columns: dict[str, NDArray[Any]], crs: str) -> None:
    pyogrio.raw.write(
        path, np.asarray(shapes, object), list(columns.values()), list(columns), layer=name, driver="GPKG",
        geometry_type=kind, crs=crs,
    )  # fmt: skip


def write_raster(
    path: Path, values: NDArray[np.uint8], gsd_m: float, mask: NDArray[np.bool_] | None = None, crs: str | None = CRS
) -> None:
    """(H, W) or (H, W, 3) uint8 at the map's corner; `mask` False where there is no data."""
    bands = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    place = {"dtype": "uint8", "crs": crs, "transform": Affine(gsd_m, 0, X0, 0, -gsd_m, Y1)}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", tiled=True, **profile, **place) as file:
        file.write(bands)
        if mask is not None:
            file.write_mask(mask)


def small_map(folder: Path, side: int = 1200, crs: str = CRS) -> Path:
    """Write it: `side` pixels of GSD_M; probability follows the roads, a corner has no data."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:side, :side] * GSD_M
    near = np.minimum(np.abs(x % SPACING_M - SPACING_M / 2), np.abs(y % SPACING_M - SPACING_M / 2))
    probability = (255 * np.clip(1.3 - near / 8, 0, 1)).astype(np.uint8)
    known = np.ones((side, side), np.bool_)
    known[-side // 6 :, -side // 6 :] = False
    write_raster(folder / "probability.tif", probability, GSD_M, known)
    write_raster(folder / "density.tif", probability[::4, ::4] // 2, 4 * GSD_M)
    green = np.stack([90 + 20 * np.sin(x / 31), 120 + 20 * np.cos(y / 23), 80 + 0 * x], -1)
    write_raster(folder / "backdrop.tif", np.where(near[..., None] < 5, 150, green).astype(np.uint8), GSD_M)
    write_roads(folder / "roads.gpkg", road_lines(side * GSD_M), crs)
    about = {
        "schema_version": 1,
        "scene": "a small town",
        "model": {"model": "roadedge-s", "backend": "openvino"},
        "area_km2": 0.36,
        "gsd_m": 0.5,
        "crs": crs,
    }
    (folder / "map.json").write_text(json.dumps(about))
    return folder
