"""The road graph of a sample: of its centre lines, or of its mask, traced once and kept on disk."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.resources
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.downloads import CACHE_VARIABLE, cache_folder
from roadedge.errors import DataError, OutputError
from roadedge.roadgraph import RoadGraph, TraceOptions, read_geojson, trace, write_geojson
from roadedge.roadgraph.graph import PIXEL

VERSION = 1  # of what is kept
TRACING = ("geojson", "graph", "joining", "pixel_graph", "skeleton", "topology", "trace")  # modules that decide it


def cache_path(mask: NDArray[np.uint8], gsd_m: float | None, options: TraceOptions, folder: Path) -> Path:
    """Where the graph of a mask is kept: by the mask's digest, the settings, the version and the code that traces."""
    digest = hashlib.sha256(np.ascontiguousarray(mask).tobytes())
    made = {"version": VERSION, "code": code_digest()}
    settings = {"shape": mask.shape, "gsd_m": gsd_m, "options": options.to_dict(), **made}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    name = digest.hexdigest()
    return folder / "roads" / name[:2] / f"{name}.geojson"


@functools.cache
def code_digest() -> str:
    """Of the modules that trace, so that no graph outlives the code that it came from."""
    files = importlib.resources.files("roadedge.roadgraph")
    digest = hashlib.sha256()
    for name in TRACING:
        digest.update(files.joinpath(f"{name}.py").read_bytes())
    return digest.hexdigest()


def roads_of(
    mask: NDArray[np.uint8],
    gsd_m: float | None = None,
    options: TraceOptions | None = None,
    folder: Path | None = None,
) -> RoadGraph:
    """The road graph of a mask, in its pixels; read where it was traced before.

    Args:
        mask: (H, W) uint8, 255 road; what is ignored counts as no road.
        gsd_m: metres per pixel, for the tolerances of the tracing.
        options: of the tracing.
        folder: of the cache; default `cache_folder()`.

    Raises:
        MissingExtraError: scikit-image is not installed (extra `graph`).
        OutputError: the cache cannot be written; name another with ROADEDGE_CACHE.
    """
    options = options or TraceOptions()
    path = cache_path(mask, gsd_m, options, folder or cache_folder())
    if path.exists():
        with contextlib.suppress(DataError):  # a file that somebody cut or edited is traced and written anew
            return read_geojson(path)
    roads = trace(mask == 255, options, gsd_m)
    try:
        write_geojson(path, roads)
    except OutputError as error:
        told = str(error).replace("choose another -o/--output", f"name another folder in {CACHE_VARIABLE}")
        raise OutputError(f"traced roads are kept for the next run: {told}") from error
    return read_geojson(path)  # rounded as the next reader will find it, so that runs can be repeated to the bit


def drawn_roads(path: Path) -> RoadGraph:
    """The roads of a file of centre lines, GeoJSON with `"crs_name": "pixel"`: x, y in pixels of the image.

    Lines meet where a vertex of one is a vertex of another.

    Raises:
        DataError: unreadable, or other coordinates.
    """
    roads = read_geojson(path)
    if roads.crs != PIXEL:
        raise DataError(
            f"{path} holds roads in {roads.crs!r}; expected x, y in pixels of the image, said by a member crs_name "
            "of the value pixel"
        )
    return roads
