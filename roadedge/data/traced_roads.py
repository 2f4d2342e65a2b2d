"""The road graph of a mask, traced once and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.roadgraph import RoadGraph, TraceOptions, read_geojson, trace, write_geojson

VERSION = 1  # of what is kept: a change of tracing that changes labels counts it up


def cache_folder() -> Path:
    """`$ROADEDGE_CACHE`, else `roadedge` in the user's folder for caches."""
    own = os.environ.get("ROADEDGE_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "roadedge"


def cache_path(mask: NDArray[np.uint8], gsd_m: float | None, options: TraceOptions, folder: Path) -> Path:
    """Where the graph of a mask is kept: by the mask's digest, the settings and the version."""
    digest = hashlib.sha256(np.ascontiguousarray(mask).tobytes())
    settings = {"shape": mask.shape, "gsd_m": gsd_m, "options": options.to_dict(), "version": VERSION}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    name = digest.hexdigest()
    return folder / "roads" / name[:2] / f"{name}.geojson"


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
    write_geojson(path, trace(mask == 255, options, gsd_m))
    return read_geojson(path)  # rounded as the next reader will find it, so that runs can be repeated to the bit
