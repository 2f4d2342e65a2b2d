"""index.html of a scoring: scores, settings and the pictures of the worst tiles in one file that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from roadedge.atomic import write_text
from roadedge.errors import OutputError
from roadedge.latency.report_style import STYLE
from roadedge.scoring.figures import pooled_figures, setting_lines, tile_figures, worst_first
from roadedge.scoring.pairing import tiles_of
from roadedge.scoring.pictures import FOUND_RGB, INVENTED_RGB, MISSED_RGB
from roadedge.scoring.report import ScoreResult
from roadedge.scoring.tile import TileScore

SHOWN = 40  # tiles whose picture is put into the page, so that it can still be sent
# nothing but the page itself: whatever a name in it holds, no script runs and nothing is fetched
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_OWN_STYLE = ".key b { padding: 0 8px; border-radius: 4px; color: #000; } ul.plain { margin: 0; padding-left: 18px; }"


def write_page(result: ScoreResult, folder: Path) -> None:
    """Write `index.html` into the run's folder; raises OutputError."""
    worst = worst_first(result.tiles)
    shown = [tile for tile in worst if tile.picture][:SHOWN]
    more = len(result.tiles) - len(shown)
    title = escape(f"{result.sides[0]} against {result.sides[1]}")
    colours = {"found": FOUND_RGB, "missed": MISSED_RGB, "invented": INVENTED_RGB}
    key = " ".join(f'<b style="background: rgb{colour}">{name}</b>' for name, colour in colours.items())
    left = f"<p class=soft>{tiles_of(more)} more: see pictures/ and samples.csv.</p>" if more > 0 else ""
    failed = "".join(f"<li>{escape(one.name)}: {escape(one.error)}</li>" for one in result.failures)
    said = [*setting_lines(result), *result.lacking]
    page = f"""<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width, initial-scale=1">
<meta http-equiv=Content-Security-Policy content="{POLICY}"><title>{title}</title>
<style>{STYLE}{_OWN_STYLE}</style></head><body><main>
<h1>{title}</h1><p class=soft>{tiles_of(len(result.tiles))}</p>
<section><h2>Scores</h2><div class=scroll>{_scores(result)}</div></section>
<section><h2>Settings</h2><ul class=plain>{"".join(f"<li>{escape(line)}</li>" for line in said)}</ul>
</section>{f"<section><h2>Failed</h2><ul class=plain>{failed}</ul></section>" if failed else ""}
<section><h2>Tiles, worst first</h2><div class=scroll>{_table(worst)}</div></section>
<section><h2>Pictures, worst first</h2><p class=key>{key}</p>{"".join(_figure(one, folder) for one in shown)}{left}
</section></main></body></html>
"""
    write_text(folder / "index.html", page)


def _scores(result: ScoreResult) -> str:
    rows = []
    for name, value, interval in pooled_figures(result):
        between = "" if interval is None else f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"
        rows.append(f"<tr><td>{escape(name)}<td>{100 * value:.2f}<td>{between}")
    return f"<table><tr><th>score<th>%<th>95 %{''.join(rows)}</table>"


def _table(tiles: Sequence[TileScore]) -> str:
    columns = [name for name in tile_figures(tiles[0]) if any(tile_figures(one)[name] is not None for one in tiles)]
    rows = []
    for tile in tiles:
        figures = tile_figures(tile)
        cells = ("–" if (value := figures[name]) is None else f"{100 * value:.2f}" for name in columns)
        rows.append(f"<tr><td>{escape(tile.name)}" + "".join(f"<td>{cell}" for cell in cells))
    return f"<table><tr><th>tile{''.join(f'<th>{escape(name)}' for name in columns)}{''.join(rows)}</table>"


def _figure(tile: TileScore, folder: Path) -> str:
    path = folder / "pictures" / str(tile.picture)
    try:
        content = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise OutputError(f"cannot read back {path}: {error.strerror or error}") from error
    name = escape(tile.name, quote=True)
    return f'<figure><figcaption>{name}</figcaption><img alt="{name}" src="data:image/png;base64,{content}"></figure>'
