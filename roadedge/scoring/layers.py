"""One file to be scored → a `Layer`: a mask or a probability on its grid, or a road graph."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.georeference.raster_place import RasterPlace, opened_raster, place_of_raster
from roadedge.imagery import IMAGE_SUFFIXES, read_grey
from roadedge.metrics.pixel import IGNORED, ROAD
from roadedge.roadgraph import RoadGraph, read_geojson
from roadedge.roadgraph.wkt_csv import read_wkt_csv

GRAPH_SUFFIXES = (".geojson", ".json")
TABLE_SUFFIX = ".csv"
SUFFIXES = (*IMAGE_SUFFIXES, *GRAPH_SUFFIXES, TABLE_SUFFIX)
EXPECTED = "a mask or probability (PNG, TIF), road lines (GeoJSON), or SpaceNet's CSV (ImageId,WKT_Pix)"


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What one file says: `road` on a grid, or a `graph`; one of the two is None.

    `road` is (H, W): bool for a mask, uint8 (255 = certain) or floating in [0, 1] for a probability. `ignored` (H, W)
    bool are pixels of a label that do not count. `place` says where the grid lies, where the file does.
    """

    name: str
    road: NDArray[Any] | None = None
    ignored: NDArray[np.bool_] | None = None
    graph: RoadGraph | None = None
    place: RasterPlace | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the grid."""
        return None if self.road is None else (self.road.shape[0], self.road.shape[1])


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A file, and the image of it where it is a table of many."""

    path: Path
    image: str | None = None

    @property
    def is_raster(self) -> bool:
        """Whether it has pixels."""
        return self.path.suffix.lower() in IMAGE_SUFFIXES


def read_layer(file: LayerFile, label: bool, gsd_m: float | None) -> Layer:
    """Read one side of a comparison.

    Args:
        file: of a kind that is named in EXPECTED.
        label: whether it is the truth, in which 128 is ignored and grey levels are an error.
        gsd_m: metres per pixel of graphs in pixels that do not say their own.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    if file.is_raster:
        return _label(file.path) if label else _prediction(file.path)
    if file.path.suffix.lower() == TABLE_SUFFIX:
        graphs = _table(file.path, gsd_m)
        if file.image not in graphs:
            raise DataError(f"{file.path} holds no image {file.image!r}")
        return Layer(f"{file.path.name}:{file.image}", graph=graphs[file.image])
    return Layer(file.path.name, graph=read_geojson(file.path))


@lru_cache(maxsize=4)
def _table(path: Path, gsd_m: float | None) -> dict[str, RoadGraph]:
    """A table is read once for all its images."""
    return read_wkt_csv(path, gsd_m)


def _label(path: Path) -> Layer:
    plane, notes = _scaled(read_grey(path))
    values = np.unique(plane)
    if not np.isin(values, (0, IGNORED, ROAD)).all():
        raise DataError(
            f"the truth {path} must hold 255 (road), 0 and 128 (ignored) only, or 0 and 1; got "
            f"{values[:6].tolist()}: a JPEG or a probability is no truth, threshold it first"
        )
    place, more = _place(path)
    ignored = plane == IGNORED
    return Layer(path.name, plane == ROAD, ignored if ignored.any() else None, None, place, (*notes, *more))


def _prediction(path: Path) -> Layer:
    plane = read_grey(path)
    notes: tuple[str, ...] = ()
    if plane.dtype == np.uint16:
        plane, notes = plane / np.float32(65535), ("16 bits are read as a probability of 65535",)
    elif np.issubdtype(plane.dtype, np.floating):
        if not (np.isfinite(plane).all() and plane.min(initial=0) >= 0 and plane.max(initial=0) <= 1):
            raise DataError(f"{path} holds floating values outside [0, 1] or NaN; write it as a probability")
    else:
        plane, notes = _scaled(plane)
        if plane.dtype != np.uint8:
            raise DataError(f"{path} holds {plane.dtype}; expected a mask or probability of 8 or 16 bits or floats")
    road = plane == ROAD if np.isin(np.unique(plane), (0, ROAD)).all() and plane.dtype == np.uint8 else plane
    place, more = _place(path)
    return Layer(path.name, road, None, None, place, (*notes, *more))


def _scaled(plane: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """A plane of 0 and 1 as 0 and 255."""
    if plane.dtype == np.bool_ or (plane.dtype == np.uint8 and plane.max(initial=0) == 1):
        return plane.astype(np.uint8) * np.uint8(ROAD), ("0 and 1 are read as not road and road",)
    return plane, ()


def _place(path: Path) -> tuple[RasterPlace | None, tuple[str, ...]]:
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None, ()
    if importlib.util.find_spec("rasterio") is None:
        return None, ("where TIFF files lie is not looked up: that needs rasterio, pip install 'roadedge[geo]'",)
    with opened_raster(path) as raster:
        if raster.transform.is_identity or not raster.crs:
            return None, ()
        return place_of_raster(raster, path), ()
