"""Roads as files: GeoPackage with a style for QGIS, GeoParquet 1.1, GeoJSON in longitude and latitude."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import replacing, write_text
from roadedge.errors import MissingExtraError, OutputError, RoadEdgeError
from roadedge.roadgraph.geojson import geojson
from roadedge.roadgraph.graph import Line
from roadedge.roadmap.road_style import STYLES
from roadedge.roadmap.road_table import RoadTable
from roadedge.stream.sink_geojson import geometry_of

FORMATS = {"gpkg": "roads.gpkg", "parquet": "roads.parquet", "geojson": "roads.geojson"}
_STYLE_TABLE = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
    styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30),
    ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change)
VALUES ('layer_styles', 'attributes', 'layer_styles', 'styles for QGIS', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
"""


def write_roads_file(kind: str, path: Path, table: RoadTable) -> None:
    """Write one of FORMATS, whole or not at all.

    Raises:
        MissingExtraError: pyogrio and shapely (gpkg), or pyarrow and pyproj (parquet) are not installed.
        OutputError: the file cannot be written.
    """
    {"gpkg": write_geopackage, "parquet": write_geoparquet, "geojson": write_geojson_roads}[kind](path, table)


def write_geopackage(path: Path, table: RoadTable) -> None:
    """Layers `edges` and `nodes` in the graph's CRS, and the table by which QGIS draws them; raises as above."""
    with replacing(path) as temporary:
        for name, kind, content, columns in (
            ("edges", "LineString", _wkb_lines(table.graph.lines), table.edges()),
            ("nodes", "Point", _wkb_points(table.graph.nodes), table.nodes()),
        ):
            _write_layer(temporary, path, name, kind, content, columns, table.graph.crs)
        try:
            with closing(sqlite3.connect(temporary)) as package, package:
                package.executescript(_STYLE_TABLE)
                package.executemany(
                    "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column,"
                    " styleName, styleQML, styleSLD, useAsDefault, description, owner, ui)"
                    " VALUES ('', '', ?, 'geom', ?, ?, '', ?, ?, '', '')",
                    [(style.layer, style.name, style.qml, style.default, style.description) for style in STYLES],
                )
        except sqlite3.Error as error:
            raise OutputError(f"cannot write {path}: {error}; free some space or choose another -o") from error


def write_geoparquet(path: Path, table: RoadTable) -> None:
    """One row an edge: WKB lines, GeoParquet 1.1 with the CRS as PROJJSON and a box for each row; raises as above."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "points", "writing roads as GeoParquet") from error

    graph = table.graph
    boxes = np.array([[*line.min(axis=0), *line.max(axis=0)] for line in graph.lines]).reshape(-1, 4)
    columns = {name: pa.array(np.ma.getdata(values), mask=_mask(values)) for name, values in table.edges().items()}
    columns["geometry"] = pa.array(_wkb_lines(graph.lines), pa.binary())
    columns["bbox"] = pa.StructArray.from_arrays(
        [pa.array(boxes[:, side]) for side in range(4)], names=["xmin", "ymin", "xmax", "ymax"]
    )
    made = pa.table(columns)
    made = made.replace_schema_metadata({"geo": json.dumps(_geo_metadata(graph.crs, boxes))})
    with replacing(path) as temporary, _faults(path, pa.ArrowException):
        pq.write_table(made, temporary, compression="zstd")


def write_geojson_roads(path: Path, table: RoadTable) -> None:
    """Roads as LineStrings in longitude and latitude (RFC 7946), with all columns; raises as above.

    A road over the antimeridian is a MultiLineString, cut there, as RFC 7946 asks.
    """
    document = geojson(table.graph.to_lonlat())
    extra = {name: _plain(values) for name, values in table.edges().items()}
    for number, feature in enumerate(document["features"][: len(table.graph.u)]):
        feature["properties"] = {name: values[number] for name, values in extra.items()}
        feature["geometry"] = geometry_of(np.array(feature["geometry"]["coordinates"]))
    write_text(path, json.dumps(document, allow_nan=False) + "\n")


def _write_layer(
    temporary: Path,
    path: Path,
    layer: str,
    kind: str,
    content: NDArray[Any],
    columns: Mapping[str, NDArray[Any]],
    crs: str,
) -> None:
    try:
        import pyogrio
        from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FieldError
    except ImportError as error:
        raise MissingExtraError("pyogrio", "geo", "writing roads as a GeoPackage") from error

    with _faults(path, DataSourceError, DataLayerError, FieldError, CRSError, RuntimeError):
        pyogrio.raw.write(
            str(temporary),
            content,
            [np.ma.getdata(values) for values in columns.values()],
            list(columns),
            field_mask=[_mask(values) for values in columns.values()],
            layer=layer,
            driver="GPKG",
            geometry_type=kind,
            crs=crs,
            promote_to_multi=False,
            append=temporary.exists(),
            layer_options={"GEOMETRY_NAME": "geom"},
        )


@contextmanager
def _faults(path: Path, *kinds: type[Exception]) -> Iterator[None]:
    """What a library says of a file that it could not write, as our error."""
    try:
        yield
    except kinds as error:
        if isinstance(error, RoadEdgeError):
            raise
        raise OutputError(f"cannot write {path}: {error}; is the disk full?") from error


def _mask(values: NDArray[Any]) -> NDArray[np.bool_] | None:
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(np.ma.getmaskarray(values))
    return np.isnan(values) if values.dtype.kind == "f" else None


def _plain(values: NDArray[Any]) -> list[Any]:
    mask = _mask(values)
    plain = np.ma.getdata(values).tolist()
    return plain if mask is None else [None if gone else one for one, gone in zip(plain, mask, strict=True)]


def _wkb_lines(lines: tuple[Line, ...]) -> NDArray[Any]:
    shapely = _shapely()
    if not lines:
        return np.empty(0, object)
    index = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    return np.asarray(shapely.to_wkb(shapely.linestrings(np.concatenate(lines), indices=index)))


def _wkb_points(nodes: NDArray[np.float64]) -> NDArray[Any]:
    shapely = _shapely()
    return np.asarray(shapely.to_wkb(shapely.points(nodes))) if len(nodes) else np.empty(0, object)


def _shapely() -> Any:
    try:
        import shapely
    except ImportError as error:
        raise MissingExtraError("shapely", "geo", "writing roads as vectors") from error
    return shapely


def _geo_metadata(crs: str, boxes: NDArray[np.float64]) -> dict[str, Any]:
    try:
        import pyproj
    except ImportError as error:
        raise MissingExtraError("pyproj", "geo", "the CRS of a GeoParquet file") from error
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["LineString"],
        "crs": pyproj.CRS.from_user_input(crs).to_json_dict(),
        "edges": "planar",
        "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if len(boxes):
        column["bbox"] = [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
