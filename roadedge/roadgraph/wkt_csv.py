"""Road graphs as SpaceNet's CSV: ImageId and WKT_Pix, one LINESTRING of pixels a road, many images in a file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from roadedge.atomic import write_text
from roadedge.errors import DataError, SpecMismatchError
from roadedge.roadgraph.graph import PIXEL, Line, RoadGraph, Unit
from roadedge.roadgraph.joining import join_by_vertices

IMAGE, LINE = "ImageId", "WKT_Pix"
_EMPTY = "LINESTRING EMPTY"
_WKT = re.compile(r"\s*LINESTRING\s*(?:Z\s*)?\(\s*(.+?)\s*\)\s*", re.IGNORECASE | re.DOTALL)


def write_wkt_csv(path: str | Path, graphs: Mapping[str, RoadGraph], decimals: int = 3) -> None:
    """Write the graphs of images to one file, whole or not at all; an image without roads is one LINESTRING EMPTY.

    The form holds lines only: widths and confidences are left out, and lengths will be measured from the lines.

    Args:
        path: of the CSV file.
        graphs: by the name of the image, each in pixels.
        decimals: of the coordinates; SpaceNet's own tools write 1.

    Raises:
        SpecMismatchError: a graph that does not lie in pixels.
        OutputError: the file cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([IMAGE, LINE])
    for name, graph in graphs.items():
        if graph.crs != PIXEL:
            raise SpecMismatchError(f"{LINE} holds pixels, and the road graph of {name} lies in {graph.crs!r}")
        table.writerows([name, line] for line in [_wkt(line, decimals) for line in graph.lines] or [_EMPTY])
    write_text(path, text.getvalue())


def read_wkt_csv(path: str | Path, gsd_m: float | None = None) -> dict[str, RoadGraph]:
    """The graphs of a file, by the name of the image, in pixels. Lines meet wherever they share a vertex.

    Args:
        path: of a CSV file with the columns ImageId and WKT_Pix; others are not read.
        gsd_m: metres per pixel of all its images, for lengths in metres; without it they are pixels.

    Raises:
        DataError: unreadable, other columns, or a geometry that is no LINESTRING of numbers.
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
    for row in table:
        found = lines.setdefault(row[IMAGE], [])
        try:
            found += _read(row[LINE] or "")
        except ValueError as error:
            raise DataError(f"{path}, line {table.line_num}: {error}") from error
    unit: Unit = "px" if gsd_m is None else "m"
    scale = 1.0 if gsd_m is None else gsd_m
    return {name: join_by_vertices(found, {}, PIXEL, unit, scale=scale) for name, found in lines.items()}


def _wkt(line: Line, decimals: int) -> str:
    return "LINESTRING (" + ", ".join(f"{x:.{decimals}f} {y:.{decimals}f}" for x, y in line.tolist()) + ")"


def _read(wkt: str) -> Iterable[Line]:
    if re.fullmatch(r"\s*LINESTRING\s*(Z\s*)?EMPTY\s*", wkt, re.IGNORECASE):
        return []
    match = _WKT.fullmatch(wkt)
    if match is None:
        raise ValueError(f"expected LINESTRING (x y, ...) or {_EMPTY}, got {wkt[:60]!r}")
    line = np.array([vertex.split()[:2] for vertex in match[1].split(",")], np.float64)
    if line.ndim != 2 or line.shape[1] != 2 or not np.isfinite(line).all():
        raise ValueError(f"vertices need finite x and y, got {wkt[:60]!r}")
    return [line] if len(line) > 1 else []
