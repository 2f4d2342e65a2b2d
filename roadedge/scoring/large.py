"""Rasters too large to be held as a whole: pixels are counted window by window, roads traced strip by strip."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.environment import usable_cpus
from roadedge.errors import DataError, SpecMismatchError, UsageError
from roadedge.georeference.raster_place import opened_raster
from roadedge.metrics.pixel import IGNORED, ROAD, PixelCounts, count_pixels
from roadedge.roadgraph import RoadGraph
from roadedge.roadmap.grid import TracingGrid, short_name
from roadedge.roadmap.roads import placed
from roadedge.roadmap.strips import trace_in_strips
from roadedge.scoring.extent import extent_of, valid_pixels
from roadedge.scoring.layers import TIFF_SUFFIXES, Layer, LayerFile, read_layer
from roadedge.scoring.pairing import Pair
from roadedge.scoring.settings import ScoreSettings

LARGEST_PIXELS = 36_000_000  # held as a whole: 6000 x 6000, about a gigabyte with the graph of it
CELL_M = 1.0  # the coarsest cell that roads of larger ones are traced in, as those of maps are
WINDOW_ROWS = 1024
Rows = tuple[NDArray[np.uint8], NDArray[np.bool_] | None]


def is_large(file: LayerFile) -> bool:
    """Whether a file is a TIFF of more than LARGEST_PIXELS that says where it lies; raises as `opened_raster`."""
    import importlib.util

    if file.path.suffix.lower() not in TIFF_SUFFIXES or importlib.util.find_spec("rasterio") is None:
        return False
    with opened_raster(file.path) as raster:
        placed_somewhere = bool(raster.crs) and not raster.transform.is_identity
        return placed_somewhere and bool(raster.height * raster.width > LARGEST_PIXELS)


@dataclass(frozen=True, slots=True)
class LargeRaster:
    """One that is read in rows. `scale` is what a certain road has in the file; a `label` holds 0, 128, 255."""

    path: Path
    label: bool
    size: tuple[int, int]
    scale: float

    @classmethod
    def of(cls, path: Path, label: bool) -> LargeRaster:
        """Look at a file; raises DataError where it is no mask or probability of one band."""
        with opened_raster(path) as raster:
            kind, size = raster.dtypes[0], (raster.height, raster.width)
            able = ("uint8",) if label else ("uint8", "uint16", "float32", "float64")
            if raster.count != 1 or kind not in able:
                raise DataError(f"{path} has {raster.count} bands of {kind}; expected one of {' or '.join(able)}")
            scale = {"uint8": 255.0, "uint16": 65535.0}.get(kind, 1.0)
            if kind == "uint8" and all(raster.read(1, window=one).max(initial=0) <= 1 for one in _windows(size)):
                scale = 1.0  # a mask of 0 and 1; others show it in their first rows
        return cls(path, label, size, scale)

    def rows(self, start: int, stop: int) -> Rows:
        """(h, W) uint8 probability, or label, of those rows, and (h, W) bool where it has no data.

        Raises:
            DataError: it holds what no mask or probability does, or cannot be read.
        """
        with opened_raster(self.path) as raster:
            window = _window(start, stop, self.size[1])
            try:
                plane = raster.read(1, window=window)
            except OSError as error:
                raise DataError(f"{self.path} cannot be read ({error}); was it copied whole?") from error
            unseen = None
            if valid_pixels(raster, 1024) is not None:
                unseen = raster.read_masks(1, window=window) == 0
                plane = np.where(unseen, plane.dtype.type(0), plane)
        if self.label and not np.isin(plane, (0, 1) if self.scale == 1 else (0, IGNORED, ROAD)).all():
            raise DataError(
                f"the truth {self.path} must hold 255 (road), 0 and 128 (ignored) only, or 0 and 1; threshold it first"
            )
        if plane.dtype == np.uint8 and self.scale == 255:
            return plane, unseen
        share = plane / self.scale
        if not (np.isfinite(share).all() and share.min(initial=0) >= 0 and share.max(initial=0) <= 1):
            raise DataError(f"{self.path} holds values outside [0, 1] or NaN; write it as a probability")
        return np.rint(share * 255).astype(np.uint8), unseen


def read_large(pair: Pair, settings: ScoreSettings, scratch: Path | None) -> tuple[Layer, Layer, PixelCounts | None]:
    """Both sides of a pair of which one at least is a large raster, as road graphs, and pixels of two rasters.

    Args:
        pair: of files.
        settings: threshold, and how roads are traced; where no graph scores are asked for, none are.
        scratch: folder for two bytes a cell meanwhile; None for that of temporary files.

    Raises:
        SpecMismatchError: rasters of two grids.
        DataError: a file that cannot be used.
        UsageError: relaxed or published scores, which need the whole grid at once.
    """
    for wanted, what in ((settings.relaxed, "relaxed scores"), (settings.protocol == "published", "published scores")):
        if wanted:
            raise UsageError(f"{what} need rasters of at most {LARGEST_PIXELS / 1e6:g} megapixels; cut out tiles")
    files = (pair.prediction, pair.truth)
    own, other = (
        LargeRaster.of(file.path, label) if file.is_raster else None
        for file, label in zip(files, (False, True), strict=True)
    )
    rasters = (own, other)
    counts = None
    if own is not None and other is not None:
        _check_one_grid(own, other)
        counts = _counted(own, other, settings.threshold)
    layers: list[Layer] = []
    for number, (file, raster) in enumerate(zip(files, rasters, strict=True)):
        if raster is None:
            box = next(extent_of(one.path).box() for one in rasters if one is not None)
            layers.append(read_layer(file, bool(number), settings.gsd_m, box))
        else:
            layers.append(_traced(raster, other if own is raster else None, settings, scratch))
    return layers[0], layers[1], counts


def _traced(raster: LargeRaster, truth: LargeRaster | None, settings: ScoreSettings, scratch: Path | None) -> Layer:
    """The roads of a raster; what the truth ignores is erased before."""
    extent = extent_of(raster.path)
    if not settings.graph.any:
        return Layer(raster.path.name, graph=RoadGraph.empty(extent.place.crs, "m"), extent=extent)
    grid = TracingGrid.of(raster.path, CELL_M)
    if not grid.sx == grid.sy == int(grid.sx):
        raise DataError(
            f"{raster.path.name} has pixels that are not square on the ground; one of more than "
            f"{LARGEST_PIXELS / 1e6:g} megapixels must be warped first: gdalwarp -t_srs {grid.crs}"
        )
    factor = int(grid.sx)

    def read(start: int, stop: int) -> NDArray[np.uint8]:
        bands = [
            _cells(raster, truth, row, min(row + WINDOW_ROWS, stop), factor, grid.size[1])
            for row in range(start, stop, WINDOW_ROWS)
        ]
        return np.concatenate(bands)

    tracing = settings.graph.tracing
    if raster.label:  # the mean of a mask over a cell is no probability: half of it is road, and no less
        tracing = replace(tracing, threshold=0.5, low_threshold=0.5)
    folder = Path(tempfile.gettempdir()) if scratch is None else scratch
    traced = trace_in_strips(read, grid.size, tracing, grid.gsd_m, folder, usable_cpus())
    height, width = raster.size
    note = f"{raster.path.name} of {height} x {width} pixels was traced in strips, in cells of {grid.gsd_m:.3g} m"
    return Layer(raster.path.name, graph=placed(traced.graph, grid), notes=(note,), extent=extent)


def _cells(
    raster: LargeRaster, truth: LargeRaster | None, start: int, stop: int, factor: int, width: int
) -> NDArray[np.uint8]:
    """(stop - start, width) mean probabilities of `factor` x `factor` pixels."""
    import cv2

    rows = start * factor, min(stop * factor, raster.size[0])
    plane, _ = raster.rows(*rows)
    label = plane if raster.label else None if truth is None else truth.rows(*rows)[0]
    if label is not None:
        plane = np.where(label == IGNORED, np.uint8(0), plane)
    down, right = (stop - start) * factor - plane.shape[0], width * factor - plane.shape[1]
    padded = cv2.copyMakeBorder(plane, 0, down, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(padded, (width, stop - start), interpolation=cv2.INTER_AREA), np.uint8)


def _counted(own: LargeRaster, truth: LargeRaster, threshold: float) -> PixelCounts:
    total = PixelCounts()
    for start in range(0, own.size[0], WINDOW_ROWS):
        stop = min(start + WINDOW_ROWS, own.size[0])
        (plane, blank), (label, hole) = own.rows(start, stop), truth.rows(start, stop)
        for unseen in (blank, hole):
            if unseen is not None:
                label = np.where(unseen, np.uint8(IGNORED), label)
        total += count_pixels(plane >= threshold * 255, label)
    return total


def _check_one_grid(own: LargeRaster, truth: LargeRaster) -> None:
    if own.size != truth.size:
        raise SpecMismatchError(
            f"the prediction {own.path.name} is {own.size[0]} x {own.size[1]} pixels and the truth {truth.path.name} "
            f"{truth.size[0]} x {truth.size[1]}; bring the probability to the grid of the truth first"
        )
    places = [extent_of(raster.path).place for raster in (own, truth)]
    apart = max(abs(a - b) for a, b in zip(places[0].transform, places[1].transform, strict=True))
    pixel = abs(places[0].transform[1]) + abs(places[0].transform[2])
    if short_name(places[0].crs) != short_name(places[1].crs) or apart > pixel / 2:
        raise SpecMismatchError(
            f"{own.path.name} and {truth.path.name} lie on two grids by their georeference; warp one to the other's"
        )


def _windows(size: tuple[int, int]) -> Iterator[Any]:
    for start in range(0, size[0], WINDOW_ROWS):
        yield _window(start, min(start + WINDOW_ROWS, size[0]), size[1])


def _window(start: int, stop: int, width: int) -> Any:
    from rasterio.windows import Window

    return Window(0, start, width, stop - start)
