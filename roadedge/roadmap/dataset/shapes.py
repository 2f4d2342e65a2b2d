"""Vectors on the grid of a scene: roads as wide as they are, areas, zones to ignore; and tiles' masks of them."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, MissingExtraError
from roadedge.georeference.raster_place import to_lonlat
from roadedge.georeference.road_vectors import read_road_vectors
from roadedge.roadmap.dataset.options import PrepareOptions
from roadedge.roadmap.dataset.tiles import Tile
from roadedge.roadmap.grid import converted
from roadedge.roadmap.survey import MapGrid

ROAD, IGNORED = 255, 128
WIDEST_M = 200.0  # a wider road is an error of the attribute
_FOOT_M = 0.3048
_WIDTH = re.compile(r"\s*([0-9]+(?:[.,][0-9]+)?)\s*(m|metres?|meters?|ft|feet|')?\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Polygons in the CRS of a grid, found by box; `facts` say how many there are and where widths came from."""

    polygons: NDArray[Any]
    tree: Any
    facts: dict[str, Any]

    @classmethod
    def of(cls, polygons: NDArray[Any], facts: dict[str, Any]) -> Shapes:
        """Index (N,) shapely polygons."""
        import shapely

        return cls(polygons, shapely.STRtree(polygons), facts)

    def draw(self, grid: MapGrid, tile: Tile) -> NDArray[np.bool_]:
        """(H, W), which pixels of a tile have their centre within a polygon."""
        import rasterio
        import shapely
        from rasterio.features import rasterize

        left, bottom, right, top = grid.bounds(tile.y0, tile.x0, tile.y1, tile.x1)
        near = self.polygons[self.tree.query(shapely.box(left, bottom, right, top))]
        if not len(near):
            return np.zeros(tile.shape, np.bool_)
        transform = rasterio.Affine(grid.gsd_m, 0, left, 0, -grid.gsd_m, top)
        drawn = rasterize(list(near), out_shape=tile.shape, transform=transform, default_value=1, dtype="uint8")
        return np.asarray(drawn > 0)


def read_roads(path: Path, grid: MapGrid, options: PrepareOptions) -> Shapes:
    """Lines of roads within the grid as polygons of their width, at least a pixel wide.

    Raises:
        DataError: the file cannot be read, has no such attribute, or no road lies on the scene.
        SpecMismatchError: it lies elsewhere.
    """
    import shapely

    wanted = () if options.width_attribute is None else (options.width_attribute,)
    vectors = read_road_vectors(path, options.layer, lonlat_box(grid), wanted)
    if not vectors.lines:
        raise DataError(f"no road of {path} lies on the scene; is it of the same place?")
    widths, known = _widths(vectors.columns, len(vectors.lines), path, options)
    lengths = [len(line) for line in vectors.lines]
    xy = converted(np.concatenate(vectors.lines), vectors.crs, grid.crs)
    if not np.isfinite(xy).all():
        raise DataError(f"{path} holds lines that do not lie in {grid.crs}; check its CRS ({vectors.crs[:60]})")
    lines = shapely.linestrings(xy, indices=np.repeat(np.arange(len(lengths)), lengths))
    polygons = shapely.buffer(lines, np.maximum(widths, grid.gsd_m) / 2)
    facts = {
        "lines": len(lines),
        "widths_by_attribute": int(known.sum()),
        "widths_by_default": int((~known).sum()),
        "default_width_m": options.width_m,
        "notes": list(vectors.notes),
    }
    return Shapes.of(polygons, facts)


def read_areas(path: Path, grid: MapGrid, what: str) -> Shapes:
    """Polygons of all layers of a file within the grid; `what` names them in messages.

    Raises:
        DataError: the file cannot be read, says no CRS, or holds what is no polygon.
        MissingExtraError: pyogrio or shapely is not installed.
    """
    try:
        import pyogrio
        import pyogrio.raw
        import shapely
    except ImportError as error:
        raise MissingExtraError(error.name or "pyogrio", "geo", "reading polygons") from error
    if not path.is_file():
        raise DataError(f"there is no file {path}; expected {what} as polygons")
    found: list[Any] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GDAL's remarks on a file; what matters is raised
            for layer, kind in pyogrio.list_layers(path):
                if kind is None:
                    continue
                meta, _, wkb, _ = pyogrio.raw.read(path, layer=layer, columns=[], force_2d=True)
                found += list(_polygons(shapely.from_wkb(wkb), meta["crs"], grid, path, what))
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, shapely.GEOSException) as error:
        raise DataError(f"{path} cannot be read as {what} ({error}); was it copied whole?") from error
    polygons = np.array(found, object)
    left, bottom, right, top = grid.bounds(0, 0, grid.height, grid.width)
    near = polygons[shapely.intersects(polygons, shapely.box(left, bottom, right, top))] if found else polygons
    return Shapes.of(near, {"polygons": len(near), "elsewhere": len(polygons) - len(near)})


def _polygons(shapes: NDArray[Any], crs: str | None, grid: MapGrid, path: Path, what: str) -> NDArray[Any]:
    import shapely

    parts = shapely.get_parts(shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))])
    other = parts[shapely.get_type_id(parts) != shapely.GeometryType.POLYGON]
    if len(other):
        raise DataError(f"{path} holds a {other[0].geom_type}; expected {what} as polygons")
    if crs is None:
        raise DataError(f"{path} does not say its CRS; write it with ogr2ogr -a_srs EPSG:…")
    moved = shapely.transform(parts, lambda xy: converted(xy, crs, grid.crs))
    return np.asarray(shapely.make_valid(moved[np.isfinite(shapely.area(moved))]), object)


def lonlat_box(grid: MapGrid) -> tuple[float, float, float, float]:
    """West, south, east, north of a grid, along its rim."""
    left, bottom, right, top = grid.bounds(0, 0, grid.height, grid.width)
    share = np.linspace(0, 1, 12)
    x, y = left + share * (right - left), bottom + share * (top - bottom)
    rim = [np.column_stack([x, np.full(12, side)]) for side in (bottom, top)]
    rim += [np.column_stack([np.full(12, side), y]) for side in (left, right)]
    lonlat = to_lonlat(np.concatenate(rim), grid.crs)
    low, high = lonlat.min(axis=0), lonlat.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _widths(
    columns: Any, count: int, path: Path, options: PrepareOptions
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N,) metres, and which came from the attribute."""
    if options.width_attribute is None:
        return np.full(count, options.width_m), np.zeros(count, np.bool_)
    if options.width_attribute not in columns:
        raise DataError(f"{path} has no attribute {options.width_attribute!r}{_attributes(path, options.layer)}")
    read = np.array([width_in_m(value) for value in columns[options.width_attribute]], np.float64)
    known = ~np.isnan(read)
    return np.where(known, read, options.width_m), known


def width_in_m(value: Any) -> float:
    """A width as a table has it, `7`, `"7.5 m"` or `"24 ft"`, in metres; NaN where it is none, or beyond 200 m."""
    found = _WIDTH.match(str(value))
    if found is None:
        return float("nan")
    width = float(found[1].replace(",", "."))
    unit = (found[2] or "m").lower()
    width *= _FOOT_M if unit in ("ft", "feet", "'") else 1.0
    return width if 0 < width <= WIDEST_M else float("nan")


def _attributes(path: Path, layer: str | None) -> str:
    """The attributes that a file has, for a message."""
    import pyogrio

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "; it has " + ", ".join(map(str, pyogrio.read_info(path, layer=layer)["fields"][:30]))
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError):
        return ""
