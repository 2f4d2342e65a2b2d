"""A synthetic city as a user would have it: a GeoTIFF in a UTM zone, its road mask, and a Parquet table of GPS points.

The scene is written window by window, so that any size can be made; what is there already is kept. The points are
driven along the city's own roads (semi-synthetic), by a fleet that reports every 1 to 30 seconds.

    python benchmarks/city_scene.py FOLDER [--side 20000] [--points 10000000] [--gsd 0.3] [--seed 11]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import replacing
from roadedge.data.city import City
from roadedge.trajectory.trips import TripModel, drive

CRS = "EPSG:32633"
CORNER_M = (440_000.0, 5_810_000.0)  # easting and northing of the upper left corner
WINDOW = 2048  # pixels drawn at a time: large ones share most of their surroundings
FLEET = replace(TripModel(), intervals_s=(1.0, 2.0, 5.0, 10.0, 30.0), interval_shares=(0.2, 0.2, 0.25, 0.2, 0.15))


def make(folder: Path, side: int = 20_000, points: int = 10_000_000, gsd_m: float = 0.3, seed: int = 11) -> None:
    """Write FOLDER/scene.tif, truth.tif and fixes.parquet where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    city = City(seed, gsd_m)
    if not (folder / "fixes.parquet").exists():
        write_points(folder / "fixes.parquet", city, side, points)
    if not (folder / "scene.tif").exists():
        write_scene(folder, city, side)


def write_scene(folder: Path, city: City, side: int) -> None:
    import rasterio
    from rasterio.windows import Window

    plain: dict[str, Any] = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "dtype": "uint8",
        "crs": CRS,
        "transform": rasterio.Affine(city.gsd_m, 0, CORNER_M[0], 0, -city.gsd_m, CORNER_M[1]),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "BIGTIFF": "IF_SAFER",
    }
    jpeg = {"count": 3, "compress": "JPEG", "JPEG_QUALITY": 90, "photometric": "YCBCR"}
    corners = [(y, x) for y in range(0, side, WINDOW) for x in range(0, side, WINDOW)]
    began = time.perf_counter()
    with (
        replacing(folder / "scene.tif") as image_path,
        replacing(folder / "truth.tif") as mask_path,
        rasterio.open(image_path, "w", **plain, **jpeg) as image,
        rasterio.open(mask_path, "w", **plain, count=1, compress="DEFLATE") as mask,
    ):
        for number, (y, x) in enumerate(corners, 1):
            h, w = min(WINDOW, side - y), min(WINDOW, side - x)
            tile = city.window(x, y, w, h)
            image.write(np.moveaxis(tile.image, 2, 0), window=Window(x, y, w, h))
            mask.write(tile.mask, 1, window=Window(x, y, w, h))
            left = (time.perf_counter() - began) / number * (len(corners) - number)
            print(f"scene: {number} of {len(corners)} windows, {left:.0f} s left", file=sys.stderr, flush=True)


def write_points(path: Path, city: City, side: int, wanted: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = trips(city, side, wanted)
    with replacing(path) as temporary:
        parquet.write_table(pa.table(columns), temporary, compression="zstd")
    print(f"points: {len(columns['x'])} of {len(np.unique(columns['vid']))} trips", file=sys.stderr, flush=True)


def trips(city: City, side: int, wanted: int) -> dict[str, NDArray[Any]]:
    """`wanted` points on the square of the city, or all there are: vid, x, y in metres of CRS, t and speed."""
    reach = np.array([side, side]) * city.gsd_m
    plots = city._near(np.zeros(2), reach)
    few = fixes(city, plots[:: max(1, len(plots) // 24)], 1.0)
    share = len(few) * len(plots) / len(plots[:: max(1, len(plots) // 24)])
    factor = 1.5 * wanted / share  # cells of the rim lie half outside
    while True:
        table = fixes(city, plots, factor)
        inside = ((table[:, 1:3] >= 0) & (table[:, 1:3] < reach)).all(axis=1)
        found = int(inside.sum())
        print(f"points: {found} at {factor:.2f} times the week's traffic", file=sys.stderr, flush=True)
        if found >= wanted:
            break
        factor *= 1.05 * wanted / found
    rows = np.flatnonzero(inside)
    rows = np.delete(rows, np.random.default_rng(0).choice(len(rows), len(rows) - wanted, replace=False))
    vid, x, y, t, speed = table[rows].T
    return {
        "vid": vid.astype(np.int64),
        "x": CORNER_M[0] + x,
        "y": CORNER_M[1] - y,
        "t": t,
        "speed": speed.astype(np.float32),
    }


def fixes(city: City, plots: list[Any], factor: float) -> NDArray[np.float64]:
    """(N, 5) vid, x, y in metres from the corner (y down), t and m/s of all vehicles on the roads of some cells."""
    parts, vehicles = [], 0
    for plot in plots:
        ways = [replace(way, passes_per_week=way.passes_per_week * factor) for way in city._ways(plot)]
        found = drive(ways, np.random.default_rng([plot.cell.i & 0xFFFF, plot.cell.j & 0xFFFF]), FLEET)
        if not len(found):
            continue
        step = np.diff(found[:, 2], prepend=-1.0)
        starts = np.abs(step[:, None] - np.array(FLEET.intervals_s)).min(axis=1) > 1e-6
        vid = np.cumsum(starts) - 1
        parts.append(np.column_stack([vid + vehicles, found, speeds(vid, found)]))
        vehicles += int(vid[-1]) + 1
    return np.concatenate(parts)


def speeds(vid: NDArray[np.int64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres per second of each trip from its first to its last point; NaN for a trip of one point."""
    first = np.flatnonzero(np.diff(vid, prepend=-1))
    last = np.append(first[1:], len(vid)) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        speed = np.hypot(*(found[last, :2] - found[first, :2]).T) / (found[last, 2] - found[first, 2])
    return np.where(last > first, speed, np.nan)[vid]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--gsd", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    make(options.folder, options.side, options.points, options.gsd, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
