"""Scores as files and as a table on standard output."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json, write_text
from roadedge.scoring.figures import pooled_figures, setting_lines, tile_figures, worst_first
from roadedge.scoring.pairing import tiles_of
from roadedge.scoring.report import ScoreResult
from roadedge.scoring.tile import TileScore

MOST_ROWS = 20  # tiles that the table on a terminal shows
_SHOWN = ("IoU", "F1", "relaxed F1", "APLS", "APLS time", "TOPO F1", "junction F1")
TABLE_WIDTH = 118  # where the output is no terminal that says its own


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


def _tiles(result: ScoreResult) -> Any:
    from rich.markup import escape
    from rich.table import Table

    worst = worst_first(result.tiles)[:MOST_ROWS]
    more = f", the {MOST_ROWS} worst" if len(result.tiles) > MOST_ROWS else ""
    table = Table(title=f"tiles{more}", title_justify="left")
    table.add_column("tile", overflow="fold")
    columns = [name for name in _SHOWN if _any(result.tiles, name)]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for tile in worst:
        figures = tile_figures(tile)
        table.add_row(escape(tile.name), *("–" if (v := figures[n]) is None else f"{100 * v:.2f}" for n in columns))
    return table


def _any(tiles: Sequence[TileScore], name: str) -> bool:
    return any(tile_figures(tile)[name] is not None for tile in tiles)
