"""Road graphs as GeoJSON: one LineString a road, in longitude and latitude where the place is known (RFC 7946)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.atomic import write_text
from roadedge.errors import DataError, RoadEdgeError
from roadedge.roadgraph.graph import LONLAT, PIXEL, Line, RoadGraph, Unit
from roadedge.roadgraph.joining import check_degrees, column, join_by_vertices, join_named, lengths_of
from roadedge.roadgraph.speeds import speed_of

_DECIMALS = {LONLAT: 7}  # a centimetre of degrees; RFC 7946 warns of more
_DECIMALS_ELSEWHERE = 3  # a millimetre, or a thousandth of a pixel


def geojson(graph: RoadGraph, properties: Mapping[str, Any] | None = None, junctions: bool = False) -> dict[str, Any]:
    """The graph as a FeatureCollection of plain JSON values.

    Each road is a LineString with `u`, `v`, `length_m`, `width_m` (`_px` where the GSD is unknown), `confidence` and,
    where the speed of any road is known, `speed_kmh`; what is unknown is null. Nodes without roads, and with
    `junctions` all of them, are Points with `node`, `degree`.

    Args:
        graph: in "OGC:CRS84" for a file that others read as RFC 7946; else a member `crs_name` says where it lies.
        properties: further members of the collection, such as a frame's name and time.
        junctions: whether to write the nodes too.
    """
    decimals = _DECIMALS.get(graph.crs, _DECIMALS_ELSEWHERE)
    features = [_road(graph, edge, decimals) for edge in range(len(graph.u))]
    degree = graph.degree
    for node in np.flatnonzero((degree >= 0) if junctions else (degree == 0)).tolist():
        point = {"type": "Point", "coordinates": graph.nodes[node].round(decimals).tolist()}
        features.append(_feature(point, {"node": node, "degree": int(degree[node])}))
    known = {"crs_name": graph.crs, "unit": graph.unit}
    return {"type": "FeatureCollection", **known, **(properties or {}), "features": features}


def write_geojson(path: str | Path, graph: RoadGraph, properties: Mapping[str, Any] | None = None) -> None:
    """Write `geojson(graph, properties)` to a file, whole or not at all; raises OutputError."""
    write_text(path, json.dumps(geojson(graph, properties), allow_nan=False) + "\n")


def read_geojson(path: str | Path) -> RoadGraph:
    """The graph of a GeoJSON file, ours or another's; raises DataError naming the file."""
    try:
        document = json.loads(Path(path).read_text("utf-8"))
        return from_geojson(document)
    except OSError as error:
        raise DataError(f"cannot read the road graph {path}: {error.strerror or error}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON text: {error}") from error


def from_geojson(document: Any) -> RoadGraph:
    """The graph of a FeatureCollection.

    Roads of ours are joined by their `u` and `v`; lines of others (LineString, MultiLineString) wherever ends coincide,
    and have the length of their line, unless they lie in degrees and bring none. Speeds are read as `speed_of` says.
    A member `crs` of older files, as GDAL writes it for projected coordinates, is read.

    Raises:
        DataError: no FeatureCollection, or geometry that is no line.
    """
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        raise DataError("expected a GeoJSON FeatureCollection of lines")
    features = document.get("features")
    if not isinstance(features, list):
        raise DataError("a FeatureCollection needs a list of features")
    crs = document.get("crs_name") or _older_crs(document.get("crs")) or LONLAT
    unit = document.get("unit", "px" if crs == PIXEL else "m")
    roads: list[tuple[Line, Mapping[str, Any]]] = []
    points: list[tuple[Line, Mapping[str, Any]]] = []
    for number, feature in enumerate(features):
        try:
            geometry, facts = feature["geometry"], dict(feature.get("properties") or {})
            if geometry is None:
                continue
            if geometry["type"] == "Point":
                points.append((_position(geometry["coordinates"]), facts))
            else:
                roads += [(line, facts) for line in _lines(geometry)]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError(f"feature {number} is no line with coordinates: {error}") from error
    if not isinstance(crs, str):
        raise DataError(f"crs_name must be a text, got {crs!r}")
    try:
        return _assemble(roads, points, crs, unit)
    except RoadEdgeError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"u, v, node, lengths, widths, confidences and speeds must be numbers: {error}") from error


def _older_crs(member: Any) -> str | None:
    """The CRS that files named before RFC 7946 did away with it; degrees are longitude, latitude by any name."""
    if member is None:
        return None
    try:
        name = str(member["properties"]["name"])
    except (KeyError, TypeError) as error:
        raise DataError(f"the member crs must name a coordinate system, got {member!r}") from error
    return LONLAT if name.endswith(("CRS84", ":4326")) else name


def _road(graph: RoadGraph, edge: int, decimals: int) -> dict[str, Any]:
    line = {"type": "LineString", "coordinates": graph.lines[edge].round(decimals).tolist()}
    facts: dict[str, Any] = {"u": int(graph.u[edge]), "v": int(graph.v[edge])}
    facts[f"length_{graph.unit}"] = _number(graph.length[edge], 3)
    facts[f"width_{graph.unit}"] = _number(graph.width[edge], 3)
    facts["confidence"] = _number(graph.confidence[edge], 4)
    if np.isfinite(graph.speed_kmh).any():
        speed = float(graph.speed_kmh[edge])
        facts["speed_kmh"] = None if np.isnan(speed) else float(f"{speed:.5g}")  # digits, so that none becomes 0
    return _feature(line, facts)


def _feature(geometry: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": facts}


def _number(value: float, decimals: int) -> float | None:
    return None if np.isnan(value) else round(float(value), decimals)


def _lines(geometry: Mapping[str, Any]) -> Iterable[Line]:
    if geometry["type"] not in ("LineString", "MultiLineString"):
        raise ValueError(f"a {geometry['type']}")
    several = geometry["type"] == "MultiLineString"
    for part in geometry["coordinates"] if several else [geometry["coordinates"]]:
        line = np.array([position[:2] for position in part], np.float64)
        if line.ndim != 2 or len(line) < 2:
            raise ValueError("a line of fewer than two positions")
        if not np.isfinite(line).all():
            raise ValueError("positions must be finite")
        yield line


def _position(coordinates: Any) -> Line:
    point = np.array(coordinates, np.float64)[:2]
    if point.shape != (2,) or not np.isfinite(point).all():
        raise ValueError("a position is two finite numbers")
    return point


def _assemble(
    roads: list[tuple[Line, Mapping[str, Any]]], points: list[tuple[Line, Mapping[str, Any]]], crs: str, unit: Unit
) -> RoadGraph:
    lines, facts = [line for line, _ in roads], [one for _, one in roads]
    if crs == LONLAT:
        check_degrees(lines)
    names = {"length": f"length_{unit}", "width": f"width_{unit}", "confidence": "confidence"}
    columns = {name: column(facts, key) for name, key in names.items()}
    columns["speed_kmh"] = np.array([speed_of(one) for one in facts], np.float64)
    if all("u" in one and "v" in one for one in facts) and all("node" in one for _, one in points):
        if np.isnan(columns["length"]).any():
            columns["length"] = lengths_of(lines, crs)
        ends = np.array([(one["u"], one["v"]) for one in facts], np.int64).reshape(-1, 2)
        return join_named(lines, ends, [(int(one["node"]), point) for point, one in points], columns, crs, unit)
    return join_by_vertices(lines, columns, crs, unit, [point for point, _ in points])
