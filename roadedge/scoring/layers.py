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
from roadedge.georeference.road_vectors import VECTOR_SUFFIXES, Box
from roadedge.imagery import IMAGE_SUFFIXES, read_grey
from roadedge.metrics.pixel import IGNORED, ROAD
from roadedge.roadgraph import RoadGraph, read_geojson
from roadedge.roadgraph.wkt_csv import read_wkt_csv
from roadedge.scoring.extent import Extent, valid_pixels
from roadedge.scoring.vectors import read_vector_graph

GRAPH_SUFFIXES = (".geojson", ".json")
TABLE_SUFFIX = ".csv"
TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = (*IMAGE_SUFFIXES, *GRAPH_SUFFIXES, TABLE_SUFFIX, *VECTOR_SUFFIXES)
EXPECTED = (
    "a mask or probability (PNG, TIF), road lines (GeoJSON, GeoPackage, GeoParquet, Shapefile, FlatGeobuf), or "
    "SpaceNet's CSV (ImageId,WKT_Pix)"
)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What one file says: `road` on a grid, or a `graph`; one of the two is None.

    `road` is (H, W): bool for a mask, uint8 (255 = certain) or floating in [0, 1] for a probability. `ignored` (H, W)
    bool are pixels of a label that do not count, `unseen` (H, W) those that have no data. `place` says where the grid
    lies, where the file does. `extent` is that of a raster of which the graph was made.
    """

    name: str
    road: NDArray[Any] | None = None
    ignored: NDArray[np.bool_] | None = None
    graph: RoadGraph | None = None
    place: RasterPlace | None = None
    notes: tuple[str, ...] = ()
    unseen: NDArray[np.bool_] | None = None
    extent: Extent | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the grid."""
        return None if self.road is None else (self.road.shape[0], self.road.shape[1])


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A file, and the image of it where it is a table of many, or the layer where it may hold several."""

    path: Path
    image: str | None = None
    layer: str | None = None
    within: Path | None = None  # of a map: the raster that its roads were traced from, which says how far they go

    @property
    def is_raster(self) -> bool:
        """Whether it has pixels."""
        return self.path.suffix.lower() in IMAGE_SUFFIXES

    @property
    def is_vector(self) -> bool:
        """Whether it holds lines of a CRS that GDAL or GeoParquet reads."""
        return self.path.suffix.lower() in VECTOR_SUFFIXES


def read_layer(file: LayerFile, label: bool, gsd_m: float | None, within: Box | None = None) -> Layer:
    """Read one side of a comparison.

    Args:
        file: of a kind that is named in EXPECTED.
        label: whether it is the truth, in which 128 is ignored and grey levels are an error.
        gsd_m: metres per pixel of graphs in pixels that do not say their own.
        within: longitudes and latitudes beyond which lines need not be read.

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
    if file.is_vector:
        graph, notes = read_vector_graph(file.path, file.layer, within)
        return Layer(file.path.name, graph=graph, notes=notes)
    return Layer(file.path.name, graph=read_geojson(file.path))


@lru_cache(maxsize=4)
def _table(path: Path, gsd_m: float | None) -> dict[str, RoadGraph]:
    """A table is read once for all its images."""
    return read_wkt_csv(path, gsd_m)


def _label(path: Path) -> Layer:
    place, unseen, more = _place(path)
    plane, notes = _scaled(_filled(_plane(path), unseen))
    values = np.unique(plane)
    if not np.isin(values, (0, IGNORED, ROAD)).all():
        raise DataError(
            f"the truth {path} must hold 255 (road), 0 and 128 (ignored) only, or 0 and 1; got "
            f"{values[:6].tolist()}: a JPEG or a probability is no truth, threshold it first"
        )
    ignored = plane == IGNORED
    return Layer(path.name, plane == ROAD, ignored if ignored.any() else None, None, place, (*notes, *more), unseen)


def _prediction(path: Path) -> Layer:
    place, unseen, more = _place(path)
    plane = _filled(_plane(path), unseen)
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
    return Layer(path.name, road, None, None, place, (*notes, *more), unseen)


def _scaled(plane: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """A plane of 0 and 1 as 0 and 255."""
    if plane.dtype == np.bool_ or (plane.dtype == np.uint8 and plane.max(initial=0) == 1):
        return plane.astype(np.uint8) * np.uint8(ROAD), ("0 and 1 are read as not road and road",)
    return plane, ()


def _plane(path: Path) -> NDArray[Any]:
    """(H, W) as stored; by GDAL where OpenCV does not know the compression."""
    try:
        return read_grey(path)
    except DataError:
        if path.suffix.lower() not in TIFF_SUFFIXES or importlib.util.find_spec("rasterio") is None:
            raise
        with opened_raster(path) as raster:
            if raster.count != 1 or raster.dtypes[0] not in ("uint8", "uint16", "float32", "float64"):
                raise
            try:
                return np.asarray(raster.read(1))
            except OSError as error:
                raise DataError(f"{path} cannot be read ({error}); was it copied whole?") from error


def _filled(plane: NDArray[Any], unseen: NDArray[np.bool_] | None) -> NDArray[Any]:
    """The plane with 0 where it has no data."""
    return plane if unseen is None else np.where(unseen, plane.dtype.type(0), plane)


def _place(path: Path) -> tuple[RasterPlace | None, NDArray[np.bool_] | None, tuple[str, ...]]:
    """Where a TIFF file lies, and which of its pixels have no data."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return None, None, ()
    if importlib.util.find_spec("rasterio") is None:
        return None, None, ("where TIFF files lie is not looked up: that needs rasterio, pip install 'roadedge[geo]'",)
    with opened_raster(path) as raster:
        valid = valid_pixels(raster)
        unseen = None if valid is None else ~valid
        if raster.transform.is_identity or not raster.crs:
            return None, unseen, ()
        return place_of_raster(raster, path), unseen, ()
