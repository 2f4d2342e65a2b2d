"""Road graphs as SpaceNet's CSV: ImageId and WKT_Pix, one LINESTRING of pixels a road, many images in a file.

SpaceNet 5 and 8 add length_m and travel_time_s; their quotient is the speed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from roadedge.atomic import write_text
from roadedge.errors import DataError, SpecMismatchError
from roadedge.roadgraph.graph import PIXEL, Line, RoadGraph, Unit
from roadedge.roadgraph.joining import join_by_vertices
from roadedge.roadgraph.speeds import KMH_OF_MS

IMAGE, LINE = "ImageId", "WKT_Pix"
LENGTH, TIME = "length_m", "travel_time_s"
_UNKNOWN = ("", "null", "none", "nan")
_EMPTY = "LINESTRING EMPTY"
_WKT = re.compile(r"\s*LINESTRING\s*(?:Z\s*)?\(\s*(.+?)\s*\)\s*", re.IGNORECASE | re.DOTALL)


def write_wkt_csv(path: str | Path, graphs: Mapping[str, RoadGraph], decimals: int = 3) -> None:
    """Write the graphs of images to one file, whole or not at all; an image without roads is one LINESTRING EMPTY.

    The form holds lines: widths and confidences are left out, and lengths will be measured from the lines. Where the
    speed of any road is known, the columns length_m and travel_time_s of SpaceNet 5 hold it.

    Args:
        path: of the CSV file.
        graphs: by the name of the image, each in pixels.
        decimals: of the coordinates; SpaceNet's own tools write 1.

    Raises:
        SpecMismatchError: a graph that does not lie in pixels, or one with speeds whose lengths are no metres.
        OutputError: the file cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    timed = any(np.isfinite(graph.speed_kmh).any() for graph in graphs.values())
    table.writerow([IMAGE, LINE, LENGTH, TIME] if timed else [IMAGE, LINE])
    for name, graph in graphs.items():
        if graph.crs != PIXEL:
            raise SpecMismatchError(f"{LINE} holds pixels, and the road graph of {name} lies in {graph.crs!r}")
        rows = [[name, _wkt(line, decimals)] for line in graph.lines] or [[name, _EMPTY]]
        table.writerows(_timed(rows, graph, name) if timed else rows)
    write_text(path, text.getvalue())


def read_wkt_csv(path: str | Path, gsd_m: float | None = None) -> dict[str, RoadGraph]:
    """The graphs of a file, by the name of the image, in pixels. Lines meet wherever they share a vertex.

    Args:
        path: of a CSV file with the columns ImageId and WKT_Pix. Of others length_m and travel_time_s are read where
            both stand, for the speed alone.
        gsd_m: metres per pixel of all its images, for lengths in metres; without it they are pixels.

    Raises:
        DataError: unreadable, other columns, a geometry that is no LINESTRING of numbers, or such a length or time.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the road graphs {path}: {getattr(error, 'strerror', None) or error}") from error
    table = csv.DictReader(io.StringIO(text))
    missing = {IMAGE, LINE} - set(table.fieldnames or ())
    if missing:
        raise DataError(f"{path} needs the columns {IMAGE} and {LINE}, it has {table.fieldnames or 'none'}")
    lines: dict[str, list[Line]] = {}
    speeds: dict[str, list[float]] = {}
    for row in table:
        found = lines.setdefault(row[IMAGE], [])
        try:
            read = _read(row[LINE] or "")
            speeds.setdefault(row[IMAGE], []).extend([_speed(row)] * len(read))
            found += read
        except ValueError as error:
            raise DataError(f"{path}, line {table.line_num}: {error}") from error
    unit: Unit = "px" if gsd_m is None else "m"
    scale = 1.0 if gsd_m is None else gsd_m
    return {
        name: join_by_vertices(found, {"speed_kmh": np.array(speeds[name])}, PIXEL, unit, scale=scale)
        for name, found in lines.items()
    }


def _timed(rows: list[list[str]], graph: RoadGraph, name: str) -> list[list[str]]:
    if not graph.lines:
        return [[*row, "0", "0"] for row in rows]
    if graph.unit != "m":
        raise SpecMismatchError(f"{TIME} needs lengths in metres, and those of {name} are pixels; give its GSD")
    times = graph.length / graph.speed_kmh * KMH_OF_MS
    return [
        [*row, f"{length:.3f}", "" if np.isnan(time) else f"{time:.3f}"]
        for row, length, time in zip(rows, graph.length.tolist(), times.tolist(), strict=True)
    ]


def _speed(row: Mapping[str, str | None]) -> float:
    """km/h of a row; NaN where it does not tell, or tells a road of no length or no time."""
    said = [(row.get(name) or "").strip() for name in (LENGTH, TIME)]
    if any(one.lower() in _UNKNOWN for one in said):
        return float("nan")
    length_m, time_s = (float(one) for one in said)
    if not (0 <= length_m < np.inf and 0 <= time_s < np.inf):
        raise ValueError(f"{LENGTH} and {TIME} must be zero or more, got {length_m:g} and {time_s:g}")
    return length_m / time_s * KMH_OF_MS if length_m and time_s else float("nan")


def _wkt(line: Line, decimals: int) -> str:
    return "LINESTRING (" + ", ".join(f"{x:.{decimals}f} {y:.{decimals}f}" for x, y in line.tolist()) + ")"


def _read(wkt: str) -> list[Line]:
    if re.fullmatch(r"\s*LINESTRING\s*(Z\s*)?EMPTY\s*", wkt, re.IGNORECASE):
        return []
    match = _WKT.fullmatch(wkt)
    if match is None:
        raise ValueError(f"expected LINESTRING (x y, ...) or {_EMPTY}, got {wkt[:60]!r}")
    line = np.array([vertex.split()[:2] for vertex in match[1].split(",")], np.float64)
    if line.ndim != 2 or line.shape[1] != 2 or not np.isfinite(line).all():
        raise ValueError(f"vertices need finite x and y, got {wkt[:60]!r}")
    return [line] if len(line) > 1 else []
