"""What a scoring found: scores of the set and of each tile, as table, JSON and CSV, with every setting beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json, write_text
from roadedge.errors import OutputError, PartialFailureError
from roadedge.metrics.graph_scores import GraphSummary, summarize_graphs
from roadedge.metrics.pixel import EMPTY_RULE, PixelCounts, PixelScores, bootstrap_g_iou, score
from roadedge.metrics.published import published_scores
from roadedge.metrics.relaxed import RelaxedCounts
from roadedge.scoring.pairing import tiles_of
from roadedge.scoring.settings import ScoreSettings
from roadedge.scoring.tile import TileScore

SCHEMA_VERSION = 1
MOST_ROWS = 20  # tiles that the table on a terminal shows
TABLE_WIDTH = 118  # where the output is no terminal that says its own
INTERVAL_RULE = "95 % percentile interval, whole tiles drawn again with replacement"
Figures = dict[str, float | None]


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


def tile_figures(tile: TileScore) -> Figures:
    """The main scores of a tile by the names of the columns; None is what was not asked for or cannot be told."""
    pixels, relaxed, graph = tile.pixels, tile.relaxed, tile.graph
    found: Figures = {
        "IoU": None if pixels is None else pixels.iou,
        "P": None if pixels is None else pixels.precision,
        "R": None if pixels is None else pixels.recall,
        "F1": None if pixels is None else pixels.f1,
        "accuracy": None if pixels is None else pixels.accuracy,
        "mIoU": None if pixels is None else pixels.miou,
        "relaxed P": None if relaxed is None else relaxed.precision,
        "relaxed R": None if relaxed is None else relaxed.recall,
        "relaxed F1": None if relaxed is None else relaxed.f1,
        "relaxed IoU": None if relaxed is None else relaxed.iou,
        "APLS": None if graph is None or graph.apls is None else graph.apls.apls,
    }
    for name, matches in (
        ("TOPO", None if graph is None or graph.topo is None else graph.topo.matches),
        ("junction", None if graph is None else graph.junctions),
    ):
        for short, attribute in (("P", "precision"), ("R", "recall"), ("F1", "f1")):
            found[f"{name} {short}"] = None if matches is None else getattr(matches, attribute)
    return found


def pooled_figures(result: ScoreResult) -> list[tuple[str, float, tuple[float, float] | None]]:
    """Name, value and interval of each score of the whole set."""
    rows: list[tuple[str, float, tuple[float, float] | None]] = []
    pixels, relaxed, graph, published = result.pixels(), result.relaxed(), result.graph(), result.published()
    if pixels is not None:
        rows.append(("G_IoU", pixels.g_iou, result.pixel_interval()))
        rows += [("A_IoU", pixels.a_iou, None), ("precision", pixels.precision, None), ("recall", pixels.recall, None)]
        rows += [("F1", pixels.f1, None), ("accuracy", pixels.accuracy, None)]
        rows.append(("mIoU with background", pixels.miou, None))
    if relaxed is not None:
        shares = (relaxed.precision, relaxed.recall, relaxed.f1, relaxed.iou)
        rows += [(f"relaxed {n}", v, None) for n, v in zip(("precision", "recall", "F1", "IoU"), shares, strict=True)]
    if graph is not None and graph.apls is not None:
        rows.append(("APLS", graph.apls, graph.apls_interval))
    if graph is not None:
        for name, matches, interval in (
            ("TOPO", graph.topo, graph.topo_interval),
            ("junction", graph.junctions, graph.junctions_interval),
        ):
            if matches is not None:
                rows += [(f"{name} precision", matches.precision, None), (f"{name} recall", matches.recall, None)]
                rows.append((f"{name} F1", matches.f1, interval))
    if published is not None:
        rows += [(f"published {name}", value, None) for name, value in published.items() if name != "rules"]
    return rows


def setting_lines(result: ScoreResult) -> list[str]:
    """Everything that the scores hang on, and what must be known beside them."""
    settings, graph = result.settings, result.graph()
    lines = [] if result.complete else ["stopped before its end: only part of the tiles was scored"]
    gsds = sorted({round(tile.gsd_m, 4) for tile in result.tiles if tile.gsd_m is not None})
    if gsds:
        known = f"{gsds[0]:g}" + (f" to {gsds[-1]:g}" if len(gsds) > 1 else "")
        lines.append(f"metres per pixel: {known}")
    if result.counts():
        lines.append(f"probabilities from {settings.threshold:g} on are road; pixels of 128 left out")
    if settings.relaxed is not None:
        what = "centre lines" if settings.relaxed.on == "lines" else "masks"
        lines.append(f"relaxed: {what}, Euclidean buffer of {settings.relaxed}, summed")
    lines += settings.graph.lines(result.unit) if graph is not None else []
    if graph is not None:
        if graph.empty_pairs:
            rest = "–" if graph.apls_of_roads is None else f"{100 * graph.apls_of_roads:.2f}"
            empty = f"{tiles_of(graph.empty_pairs)} without a road graph on either side, which scores 1 by rule"
            lines.append(f"{empty}; APLS without: {rest}")
        if "px" in graph.units:
            lines.append("no metres per pixel are known: distances of graphs are pixels; give --gsd")
    lines.append(EMPTY_RULE)
    published = result.published()
    if published is not None:
        lines += [f"published protocol: {rule}" for rule in published["rules"]]
        lines.append("published protocol: APLS, TOPO and junctions have no such form; their settings are those above")
    if settings.bootstrap and len(result.tiles) > 1:
        lines.append(f"{INTERVAL_RULE}, {settings.bootstrap} draws, seed {settings.seed}")
    return lines + notes_of(result.tiles)


def write_scores(result: ScoreResult, folder: Path) -> None:
    """Write `metrics.json` and `samples.csv`; raises OutputError."""
    write_json(folder / "metrics.json", result.to_dict())
    text = io.StringIO()
    columns = ["name", "height", "width", "gsd_m", *tile_figures(result.tiles[0]), "picture"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name.replace(" ", "_") for name in columns])
    for tile in result.tiles:
        size = tile.size or ("", "")
        writer.writerow([tile.name, *size, tile.gsd_m, *tile_figures(tile).values(), tile.picture])
    write_text(folder / "samples.csv", text.getvalue())


def print_scores(result: ScoreResult) -> None:
    """The scores on stdout, in per cent, with all settings; of many tiles the worst ones."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=TABLE_WIDTH)
    count = len(result.tiles)
    title = f"{result.sides[0]} against {result.sides[1]} · {tiles_of(count)}"
    console.print(title, soft_wrap=True, markup=False, style="bold")
    whole = Table()
    whole.add_column("score", no_wrap=True)
    whole.add_column("%", justify="right", no_wrap=True)
    whole.add_column("95 %", justify="right", no_wrap=True)
    for name, value, interval in pooled_figures(result):
        shown = "" if interval is None else f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"
        whole.add_row(name, f"{100 * value:.2f}", shown)
    console.print(whole)
    if count > 1:
        console.print(_tiles(result))
    for line in setting_lines(result):
        console.print(line, soft_wrap=True, markup=False)


def worst_first(tiles: Sequence[TileScore]) -> list[TileScore]:
    """By APLS where it was scored, else by the first score that all have."""
    names = ["APLS", *(tile_figures(tiles[0]) if tiles else ())]
    for name in names:
        figures = [(tile_figures(tile)[name], tile) for tile in tiles]
        if all(value is not None for value, _ in figures):
            return [tile for _, tile in sorted(figures, key=lambda one: (one[0], one[1].name))]
    return list(tiles)


def _tiles(result: ScoreResult) -> Any:
    from rich.markup import escape
    from rich.table import Table

    worst = worst_first(result.tiles)[:MOST_ROWS]
    more = f", the {MOST_ROWS} worst" if len(result.tiles) > MOST_ROWS else ""
    table = Table(title=f"tiles{more}", title_justify="left")
    table.add_column("tile", overflow="fold")
    columns = [n for n in ("IoU", "F1", "relaxed F1", "APLS", "TOPO F1", "junction F1") if _any(result.tiles, n)]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for tile in worst:
        figures = tile_figures(tile)
        table.add_row(escape(tile.name), *("–" if (v := figures[n]) is None else f"{100 * v:.2f}" for n in columns))
    return table


def _any(tiles: Sequence[TileScore], name: str) -> bool:
    return any(tile_figures(tile)[name] is not None for tile in tiles)
