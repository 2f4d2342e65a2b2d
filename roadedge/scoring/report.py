"""What a scoring found: `ScoreResult`, tile by tile, with the scores of the whole set, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.errors import OutputError, PartialFailureError
from roadedge.metrics.graph_sets import GraphSummary, summarize_graphs
from roadedge.metrics.pixel import EMPTY_RULE, PixelCounts, PixelScores, bootstrap_g_iou, score
from roadedge.metrics.published import published_scores
from roadedge.metrics.relaxed import RelaxedCounts
from roadedge.scoring.pairing import tiles_of
from roadedge.scoring.settings import ScoreSettings
from roadedge.scoring.tile import TileScore

SCHEMA_VERSION = 1
INTERVAL_RULE = "95 % percentile interval, whole tiles drawn again with replacement"


@dataclass(frozen=True, slots=True)
class TileFailure:
    """A tile that could not be scored, and the sentence that says why."""

    name: str
    error: str


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """All that a scoring found.

    `unpredicted` and `untrue` name what had no partner, which `lacking` says in sentences. Not `complete` after an
    interruption, or where the output could not be written (`trouble`).
    """

    tiles: tuple[TileScore, ...]
    failures: tuple[TileFailure, ...]
    unpredicted: tuple[str, ...]
    untrue: tuple[str, ...]
    lacking: tuple[str, ...]
    settings: ScoreSettings
    sides: tuple[str, str]
    environment: dict[str, Any]
    complete: bool = True
    output: Path | None = None
    trouble: OutputError | None = None

    @property
    def unit(self) -> str:
        """Of the distances: m, px, or both where only some tiles say their metres per pixel."""
        graphs = {tile.graph.unit for tile in self.tiles if tile.graph is not None}
        return " or ".join(sorted(graphs or {"px" if tile.gsd_m is None else "m" for tile in self.tiles}))

    def check_complete(self) -> None:
        """Raise PartialFailureError where tiles failed or have no prediction: another set than that asked for.

        Raises:
            OutputError: not all could be written.
        """
        if self.trouble is not None:
            raise self.trouble
        if self.failures or self.unpredicted:
            parts = [(self.failures, "could not be scored"), (self.unpredicted, "without a prediction")]
            said = " and ".join(f"{tiles_of(len(which))} {what}" for which, what in parts if which)
            raise PartialFailureError(f"{said}; scored were the other {len(self.tiles)}")

    def pixels(self) -> PixelScores | None:
        """Scores of all tiles that have areas on both sides."""
        counts = self.counts()
        return score(counts) if counts else None

    def counts(self) -> list[PixelCounts]:
        """Of the tiles that have areas on both sides."""
        return [tile.pixels for tile in self.tiles if tile.pixels is not None]

    def relaxed(self) -> RelaxedCounts | None:
        """Summed over the tiles that were counted."""
        counts = [tile.relaxed for tile in self.tiles if tile.relaxed is not None]
        return sum(counts, RelaxedCounts()) if counts else None

    def graph(self) -> GraphSummary | None:
        """Of all tiles, each a place of its own."""
        scored = [(tile.graph, tile.name) for tile in self.tiles if tile.graph is not None]
        if not scored:
            return None
        graphs, names = zip(*scored, strict=True)
        return summarize_graphs(graphs, names, self.settings.bootstrap, self.settings.seed)

    def pixel_interval(self) -> tuple[float, float] | None:
        """Of G_IoU."""
        counts = self.counts()
        if not (counts and self.settings.bootstrap):
            return None
        return bootstrap_g_iou(counts, range(len(counts)), self.settings.bootstrap, self.settings.seed)

    def published(self) -> dict[str, Any] | None:
        """The published scripts' figures, where the protocol was asked for and tiles have areas."""
        both = [(tile.pixels, tile.published) for tile in self.tiles if tile.pixels and tile.published]
        if not both:
            return None
        counts, more = zip(*both, strict=True)
        return published_scores(counts, more)

    def to_dict(self) -> dict[str, Any]:
        """The document that `metrics.json` holds and `--json` prints."""
        pixels, relaxed, graph = self.pixels(), self.relaxed(), self.graph()
        interval = self.pixel_interval()
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "score",
            "complete": self.complete,
            "prediction": self.sides[0],
            "truth": self.sides[1],
            "settings": {**self.settings.to_dict(), "unit": self.unit},
            "rules": {"empty": EMPTY_RULE, "interval": INTERVAL_RULE, "values": "fractions in [0, 1]"},
            "tiles": len(self.tiles),
            "pixels": None if pixels is None else {**pixels.to_dict(), "G_IoU_interval_95": interval},
            "relaxed": None if relaxed is None else relaxed.to_dict(),
            "graph": None if graph is None else graph.to_dict(),
            "published": self.published(),
            "failures": [{"name": one.name, "error": one.error} for one in self.failures],
            "without_prediction": list(self.unpredicted),
            "without_truth": list(self.untrue),
            "notes": notes_of(self.tiles),
            "environment": self.environment,
            "samples": [tile.to_dict() for tile in self.tiles],
        }


def notes_of(tiles: Sequence[TileScore]) -> list[str]:
    """Each note once, with how many tiles it is about."""
    every = [note for tile in tiles for note in tile.notes]
    return [f"{note} ({every.count(note)} of {len(tiles)} tiles)" for note in dict.fromkeys(every)]
