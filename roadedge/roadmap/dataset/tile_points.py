"""The points of a tile, in pixels of its image, as the folder data set has them."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import replacing, write_bytes
from roadedge.errors import DataError, MissingExtraError
from roadedge.georeference.raster_place import to_lonlat
from roadedge.roadmap.dataset.tiles import Tile
from roadedge.roadmap.grid import converted
from roadedge.roadmap.survey import MapGrid
from roadedge.trajectory.point_store import PointStore

ROUNDED_PX = 0.01  # as written; a point just within the last pixel must not be rounded off its tile


class TilePoints:
    """The store of a scene's points, tile by tile."""

    def __init__(self, store: PointStore, grid: MapGrid) -> None:
        """Points of an open store on a grid.

        Raises:
            DataError: the store is empty, or all of it lies elsewhere than the scene.
        """
        try:
            import pyproj
        except ImportError as error:
            raise MissingExtraError("pyproj", "geo", "bringing points onto a scene") from error
        self._store, self._grid = store, grid
        self._same = store.crs == grid.crs
        self._to_store: Any = pyproj.Transformer.from_crs(grid.crs, store.crs, always_xy=True)
        if not store.rows:
            raise DataError(f"{store.path} holds no points")
        if not store.groups_of(*self._box(grid.bounds(0, 0, grid.height, grid.width))):
            raise DataError(_elsewhere(store, grid))

    def read(self, tile: Tile) -> dict[str, Any]:
        """Columns vid, x, y, t, speed of the points on a tile, in pixels from its upper left corner."""
        found = self._store.read(*self._box(self._grid.bounds(tile.y0, tile.x0, tile.y1, tile.x1)))
        xy = found.xy() if self._same else converted(found.xy(), self._store.crs, self._grid.crs)
        x = (xy[:, 0] - self._grid.x0) / self._grid.gsd_m - tile.x0
        y = (self._grid.y0 - xy[:, 1]) / self._grid.gsd_m - tile.y0
        height, width = tile.shape
        on = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        known: dict[str, NDArray[Any]] = {"vid": found.vid, "t": found.t_s, "speed": found.speed_ms}
        order = np.lexsort((found.t_s[on], found.vid[on]))
        x, y = np.minimum(x[on], width - ROUNDED_PX), np.minimum(y[on], height - ROUNDED_PX)
        return {"x": x[order], "y": y[order], **{name: values[on][order] for name, values in known.items()}}

    def _box(self, bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        if self._same:
            return bounds
        x0, y0, x1, y1 = self._to_store.transform_bounds(*bounds, densify_pts=21)
        return x0, y0, x1, y1


def write_points(path: Path, columns: dict[str, Any]) -> None:
    """Write columns as Parquet or packed CSV by the name, whole or not at all; raises OutputError."""
    order = ("vid", "x", "y", "t", "speed")
    if path.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.table({
            "vid": pa.array(columns["vid"]),
            **{name: pa.array(columns[name].astype(np.float32)) for name in ("x", "y")},
            "t": pa.array(columns["t"]),
            "speed": pa.array(columns["speed"].astype(np.float32)),
        })  # fmt: skip
        with replacing(path) as temporary:
            parquet.write_table(table, temporary, compression="zstd")
        return
    text = io.StringIO()
    text.write(",".join(order) + "\n")
    rows = zip(*(columns[name].tolist() for name in order), strict=True)
    for vid, x, y, t_s, speed in rows:
        text.write(f"{vid},{x:.2f},{y:.2f},{_cell(t_s)},{_cell(speed)}\n")
    write_bytes(path, gzip.compress(text.getvalue().encode(), 6, mtime=0))


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}".rstrip("0").rstrip(".")


def _elsewhere(store: PointStore, grid: MapGrid) -> str:
    x0, y0, x1, y1 = store.bounds
    lon, lat = to_lonlat([[(x0 + x1) / 2, (y0 + y1) / 2]], store.crs)[0]
    left, bottom, right, top = grid.bounds(0, 0, grid.height, grid.width)
    here_lon, here_lat = to_lonlat([[(left + right) / 2, (bottom + top) / 2]], grid.crs)[0]
    text = (
        f"none of the {store.rows} points of {store.path.name} lies on the scene: they are about {lon:.4f}, {lat:.4f} "
        f"and it about {here_lon:.4f}, {here_lat:.4f} (longitude, latitude)"
    )
    for what, mirrored in (
        ("their coordinates are swapped: ingest them with --swap-xy", (lat, lon)),
        ("the sign of their longitude is lost", (-lon, lat)),
        ("the sign of their latitude is lost", (lon, -lat)),
    ):
        if abs(mirrored[0] - here_lon) < 1 and abs(mirrored[1] - here_lat) < 1:
            return f"{text}; it seems that {what}"
    return f"{text}; check their CRS and --datum"
