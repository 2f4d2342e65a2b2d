"""Road lines of GeoPackage, Shapefile, FlatGeobuf and GeoParquet files, and what those say of their roads.

Extra `geo`, for GeoParquet `points` too.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, MissingExtraError, SpecMismatchError, UnknownNameError

OGR_SUFFIXES = (".gpkg", ".shp", ".fgb")
PARQUET_SUFFIXES = (".parquet", ".geoparquet")
VECTOR_SUFFIXES = (*OGR_SUFFIXES, *PARQUET_SUFFIXES)
EDGES = "edges"  # the layer of a map's roads, beside that of its nodes
# Values of OpenStreetMap's `highway` that are roads for cars; a reference map of pavements and steps would be another.
CARRIAGEWAYS = frozenset(
    "motorway trunk primary secondary tertiary motorway_link trunk_link primary_link secondary_link tertiary_link "
    "unclassified residential living_street service track road busway".split()
)
Box = tuple[float, float, float, float]
Line = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RoadVectors:
    """Lines of a layer: (K, 2) x, y each in `crs` (longitude before latitude), and (E,) values of each known column.

    `crs` is a text that pyproj reads. `notes` say what was left out.
    """

    lines: tuple[Line, ...]
    columns: Mapping[str, NDArray[Any]]
    crs: str
    layer: str
    notes: tuple[str, ...] = ()


def read_road_vectors(
    path: str | Path, layer: str | None = None, within: Box | None = None, wanted: tuple[str, ...] = ()
) -> RoadVectors:
    """Read the lines of one layer; lines of several parts come apart.

    Where the file has OpenStreetMap's `highway`, CARRIAGEWAYS alone are read.

    Args:
        path: of a kind in VECTOR_SUFFIXES.
        layer: its name; by default `edges`, else the only layer of lines.
        within: longitudes and latitudes (west, south, east, north); lines whose box lies outside are not read.
        wanted: columns to read, where they exist.

    Raises:
        DataError: it cannot be read, holds no lines, or does not say its CRS.
        SpecMismatchError: it lies elsewhere than `within`, as a whole.
        UnknownNameError: there is no such layer.
        MissingExtraError: pyogrio, shapely, pyproj or (for GeoParquet) pyarrow is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}; expected road lines")
    read = _read_parquet if path.suffix.lower() in PARQUET_SUFFIXES else _read_ogr
    name, crs, geometry, columns, box = read(path, layer, within, (*wanted, "highway"))
    if within is not None and not len(geometry):
        _check_near(path, crs, box, within)
    notes: tuple[str, ...] = ()
    if "highway" in columns:
        kept = np.array([_for_cars(value) for value in columns["highway"]], np.bool_)
        if not kept.all():
            notes = (f"{path.name}: {kept.sum()} of {kept.size} lines are roads for cars by `highway`, and read",)
        geometry, columns = geometry[kept], {key: values[kept] for key, values in columns.items()}
    lines, origin = _lines(geometry, path)
    found = {key: values[origin] for key, values in columns.items() if key in wanted}
    return RoadVectors(lines, found, crs, name, notes)


def _read_ogr(path: Path, layer: str | None, within: Box | None, wanted: tuple[str, ...]) -> Any:
    pyogrio = imported("pyogrio", f"reading {path.suffix} files")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GDAL's remarks on a file come as warnings; what matters is raised
        try:
            name = _chosen(path, layer, pyogrio.list_layers(path))
            info = pyogrio.read_info(path, layer=name)
            crs = _stated(info["crs"], path)
            columns = [column for column in info["fields"] if column in wanted]
            box = None if within is None else _box_in(within, crs)
            meta, _, geometry, values = pyogrio.raw.read(path, layer=name, columns=columns, bbox=box, force_2d=True)
            whole = info["total_bounds"]
            if not len(geometry) and whole is None:
                whole = pyogrio.read_info(path, layer=name, force_total_bounds=True)["total_bounds"]
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError) as error:
            raise DataError(f"{path} cannot be read as road lines ({error}); was it copied whole?") from error
        except (pyogrio.errors.GeometryError, pyogrio.errors.FieldError, UnicodeDecodeError) as error:
            raise DataError(f"{path} holds what is no line or no text: {error}") from error
    shapes = _shapes(geometry, path)
    return name, crs, shapes, dict(zip([str(field) for field in meta["fields"]], values, strict=True)), whole


def _chosen(path: Path, layer: str | None, layers: NDArray[Any]) -> str:
    """The name of the layer that is read; `layers` (L, 2) are names and kinds of geometry."""
    names = [str(name) for name, _ in layers]
    if layer is not None:
        if layer not in names:
            raise UnknownNameError(f"layer of {path.name}", layer, names)
        return layer
    if EDGES in names:
        return EDGES
    lines = [str(name) for name, kind in layers if kind is not None and "LineString" in kind]
    able = lines or [str(name) for name, kind in layers if kind is not None and ("Unknown" in kind or "Coll" in kind)]
    if len(able) == 1:
        return able[0]
    if not able:
        kinds = ", ".join(f"{name} ({kind or 'no geometry'})" for name, kind in layers[:6]) or "no layer"
        raise DataError(f"{path} holds no layer of lines: {kinds}")
    raise DataError(
        f"{path} holds layers of lines ({', '.join(able[:8])}); name one by --layer, of scores --pred-layer or "
        "--gt-layer"
    )


def _read_parquet(path: Path, layer: str | None, within: Box | None, wanted: tuple[str, ...]) -> Any:
    imported("pyarrow", "reading GeoParquet", "points")
    import pyarrow
    from pyarrow import parquet

    if layer is not None:
        raise DataError(f"{path} has no layers, and layer {layer!r} was asked for")
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            said = json.loads((schema.metadata or {}).get(b"geo", b"null"))
            if said is None:
                raise DataError(f"{path} is no GeoParquet: its metadata names no geometry")
            main = said["primary_column"]
            about = said["columns"][main]
            if about.get("encoding") != "WKB":
                raise DataError(f"{path} holds geometry as {about.get('encoding')}; write it as WKB")
            table = file.read(columns=[main, *(name for name in schema.names if name in wanted and name != main)])
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as GeoParquet ({error}); was it copied whole?") from error
    crs = "OGC:CRS84" if "crs" not in about else _stated(about["crs"] and json.dumps(about["crs"]), path)
    shapes = _shapes(np.array(table.column(main).to_pylist(), object), path)
    columns = {name: np.array(table.column(name).to_pylist(), object) for name in table.column_names if name != main}
    shapely = imported("shapely", "reading lines")
    whole = shapely.total_bounds(shapes)
    if within is not None:
        west, south, east, north = _box_in(within, crs) or (-np.inf, -np.inf, np.inf, np.inf)
        x0, y0, x1, y1 = shapely.bounds(shapes).T
        near = (x0 <= east) & (x1 >= west) & (y0 <= north) & (y1 >= south)
        shapes, columns = shapes[near], {name: values[near] for name, values in columns.items()}
    return path.stem, crs, shapes, columns, whole


def _shapes(wkb: NDArray[Any], path: Path) -> NDArray[Any]:
    shapely = imported("shapely", "reading lines")
    try:
        return np.asarray(shapely.force_2d(shapely.from_wkb(wkb)), object)
    except (shapely.GEOSException, TypeError) as error:
        raise DataError(f"{path} holds geometry that cannot be read: {error}") from error


def _lines(shapes: NDArray[Any], path: Path) -> tuple[tuple[Line, ...], NDArray[np.int64]]:
    """Lines with at least two places, and which shape each was part of."""
    shapely = imported("shapely", "reading lines")
    whole = np.flatnonzero(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))
    parts, part_of = shapely.get_parts(shapes[whole], return_index=True)
    kinds = shapely.get_type_id(parts)
    line = np.isin(kinds, (shapely.GeometryType.LINESTRING, shapely.GeometryType.LINEARRING))
    if not line.all():
        kind = parts[~line][0].geom_type
        raise DataError(f"{path} holds a {kind}; expected lines of roads: choose another layer, or convert it")
    xy, index = shapely.get_coordinates(parts, return_index=True)
    if not np.isfinite(xy).all():
        raise DataError(f"{path} holds a line with coordinates that are no numbers")
    counts = np.bincount(index, minlength=len(parts))
    lines = np.split(xy, np.cumsum(counts)[:-1]) if len(parts) else []
    return tuple(lines), whole[part_of]


def _stated(crs: str | None, path: Path) -> str:
    if not crs or "Undefined" in crs or crs.startswith(("ENGCRS", "LOCAL_CS")):
        beside = "put its .prj beside it" if path.suffix.lower() == ".shp" else "write it with ogr2ogr -a_srs EPSG:…"
        raise DataError(f"{path} does not say its CRS; {beside}")
    return crs


def _check_near(path: Path, crs: str, box: Any, within: Box) -> None:
    """Refuse a file whose box lies farther away than a place is large: a tile without roads has some about it."""
    if box is None or not np.isfinite(box).all():
        return
    pyproj = imported("pyproj", "converting coordinates")
    back = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    west, south, east, north = back.transform_bounds(*box, densify_pts=21)
    gap = max(west - within[2], within[0] - east, south - within[3], within[1] - north)
    if gap > max(within[2] - within[0], within[3] - within[1]):
        raise SpecMismatchError(
            f"{path} lies between {west:.4f}, {south:.4f} and {east:.4f}, {north:.4f} (longitude, latitude), and the "
            f"other file between {within[0]:.4f}, {within[1]:.4f} and {within[2]:.4f}, {within[3]:.4f}: they have no "
            "place in common; check the CRS of both"
        )


def _box_in(box: Box, crs: str) -> Box | None:
    """The box of `crs` that holds a box of longitudes and latitudes; None where the CRS does not reach there."""
    pyproj = imported("pyproj", "converting coordinates")
    try:
        change = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
        found = change.transform_bounds(*box, densify_pts=21)
    except (pyproj.exceptions.CRSError, pyproj.exceptions.ProjError) as error:
        raise DataError(f"{crs[:80]!r} is no coordinate system that pyproj knows: {error}") from error
    return (found[0], found[1], found[2], found[3]) if np.isfinite(found).all() else None


def _for_cars(highway: Any) -> bool:
    """Whether a value of `highway`, or one of several in a list written as text, is a carriageway."""
    return not CARRIAGEWAYS.isdisjoint(re.findall(r"\w+", str(highway)))


def imported(package: str, purpose: str, extra: str = "geo") -> Any:
    """A library of an extra; raises MissingExtraError where it is not installed."""
    import importlib

    try:
        found = importlib.import_module(package)
        if package == "pyogrio":
            importlib.import_module("pyogrio.raw")
    except ImportError as error:
        raise MissingExtraError(package, extra, purpose) from error
    return found
