"""One tile: read both sides, count what was asked for, draw what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.errors import DataError
from roadedge.imagery import write_png
from roadedge.metrics.graph_scores import GraphScores, compare_graphs
from roadedge.metrics.pixel import IGNORED, ROAD, PixelCounts, count_pixels
from roadedge.metrics.published import BUFFER_PX, PublishedCounts, count_published
from roadedge.metrics.relaxed import RelaxedCounts, count_relaxed
from roadedge.scoring.aligned import Aligned, align
from roadedge.scoring.extent import Extent, extent_named, extent_of
from roadedge.scoring.large import is_large, read_large
from roadedge.scoring.layers import Layer, read_layer
from roadedge.scoring.pairing import Pair
from roadedge.scoring.pictures import error_pictures
from roadedge.scoring.settings import ScoreSettings


@dataclass(frozen=True, slots=True)
class TileScore:
    """What one tile scored; None is what was not asked for, or what its files cannot tell. `picture` is a file name."""

    name: str
    size: tuple[int, int] | None
    gsd_m: float | None
    pixels: PixelCounts | None = None
    relaxed: RelaxedCounts | None = None
    graph: GraphScores | None = None
    published: PublishedCounts | None = None
    notes: tuple[str, ...] = ()
    picture: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        pixels = self.pixels
        shares = ("iou", "precision", "recall", "f1", "accuracy", "miou", "tp", "fp", "fn", "tn", "ignored")
        return {
            "name": self.name,
            "size": None if self.size is None else list(self.size),
            "gsd_m": self.gsd_m,
            "pixels": None if pixels is None else {name: getattr(pixels, name) for name in shares},
            "relaxed": None if self.relaxed is None else self.relaxed.to_dict(),
            "graph": None if self.graph is None else self.graph.to_dict(),
            "notes": list(self.notes),
            "picture": self.picture,
        }


def score_tile(pair: Pair, settings: ScoreSettings, folder: Path | None) -> TileScore:
    """Compare two files.

    Args:
        pair: of files.
        settings: what to count.
        folder: the picture is written into it; None draws none.

    Raises:
        DataError: a file cannot be read, the two do not belong together, or they hold nothing of what was asked for.
        UsageError: a setting that needs the ground sample distance, of which nobody knows.
        OutputError: the picture cannot be written.
    """
    within = _within(pair, settings)
    counted = None
    if is_large(pair.prediction) or is_large(pair.truth):
        prediction, truth, counted = read_large(pair, settings, folder)
    else:
        prediction, truth = _read(pair, settings, within)
    both = align(prediction, truth, settings.gsd_m, settings.threshold, settings.graph.tracing, within)
    graphs = (both.truth.graph(), both.predicted.graph()) if settings.graph.any else None
    pixels, published = (counted, None) if counted is not None else _areas(both, settings)
    relaxed, note = _relaxed(both, settings)
    scores = None if graphs is None else compare_graphs(*graphs, settings.graph)
    if pixels is None and relaxed is None and scores is None:
        raise DataError(
            f"{prediction.name} and {truth.name}: {note or 'lines without widths have no pixels to count'}; "
            "ask for --apls, --apls-time, --topo or --junctions"
        )
    nothing = graphs is None and counted is not None  # a large raster's areas are not drawn
    picture = None if folder is None or nothing else picture_name(pair.name)
    if folder is not None and picture is not None:
        drawn = error_pictures(both, graphs, settings, pixels, scores)
        write_png(folder / picture, drawn)
    notes = (*both.notes, *([note] if note else []))
    return TileScore(pair.name, both.size, both.gsd_m, pixels, relaxed, scores, published, notes, picture)


def _within(pair: Pair, settings: ScoreSettings) -> Extent | None:
    if settings.within is not None:
        return extent_named(settings.within)
    known = pair.prediction.within or pair.truth.within
    lines_only = not (pair.prediction.is_raster or pair.truth.is_raster)
    return extent_of(known) if known is not None and lines_only else None


def _read(pair: Pair, settings: ScoreSettings, within: Extent | None) -> tuple[Layer, Layer]:
    """Both sides; the raster first, because of a country's lines only those about it are needed."""
    box = None if within is None else within.box()
    layers: dict[bool, Layer] = {}
    for is_truth in (True, False) if pair.truth.is_raster else (False, True):
        layer = read_layer(pair.truth if is_truth else pair.prediction, is_truth, settings.gsd_m, box)
        if layer.place is not None:
            box = Extent(layer.name, layer.place).box()
        layers[is_truth] = layer
    return layers[False], layers[True]


def picture_name(name: str) -> str:
    """The file of a tile's picture: characters that a file system may refuse are replaced, without two of one name."""
    import re
    import zlib

    plain = re.sub(r"[^\w.\-]+", "-", name)[:100]
    return f"{plain}.png" if plain == name else f"{plain}-{zlib.crc32(name.encode()):08x}.png"


def _areas(both: Aligned, settings: ScoreSettings) -> tuple[PixelCounts | None, PublishedCounts | None]:
    predicted, truth = both.predicted.area, both.truth.area
    if predicted is None or truth is None:
        return None, None
    label = np.where(truth, np.uint8(ROAD), np.uint8(0))
    if both.ignored is not None:
        label[both.ignored] = IGNORED
    published = None
    if settings.protocol == "published":
        buffer_px = BUFFER_PX if settings.relaxed is None else settings.relaxed.pixels(both.gsd_m)
        published = count_published(predicted, label, buffer_px)
    return count_pixels(predicted, label), published


def _relaxed(both: Aligned, settings: ScoreSettings) -> tuple[RelaxedCounts | None, str]:
    """The counts, or why there are none."""
    buffer = settings.relaxed
    if buffer is None:
        return None, ""
    if both.size is None:
        return None, "relaxed scores need a grid, of a mask or of lines in pixels inside a picture: none were counted"
    if buffer.on == "masks":
        predicted, truth = both.predicted.area, both.truth.area
        if predicted is None or truth is None:
            return None, "relaxed scores of masks need areas on both sides: none were counted"
    else:
        predicted, truth = both.predicted.lines(both.size), both.truth.lines(both.size)
    if both.ignored is not None:
        predicted, truth = predicted & ~both.ignored, truth & ~both.ignored
    return count_relaxed(predicted, truth, buffer.pixels(both.gsd_m)), ""
