"""What an evaluation found: scores per set and pooled, a row per sample, as table, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json, write_text
from roadedge.errors import PartialFailureError
from roadedge.evaluation.settings import EvalSettings
from roadedge.evaluation.sources import SEMI_SYNTHETIC
from roadedge.metrics.graph_scores import GraphScores
from roadedge.metrics.graph_sets import GraphSummary, summarize_graphs
from roadedge.metrics.pixel import EMPTY_RULE, PixelCounts, PixelScores, bootstrap_g_iou, score
from roadedge.runners.augmentation import cost_line

SCHEMA_VERSION = 1
TABLE_WIDTH = 118  # where the output is no terminal that says its own
INTERVAL_RULE = "95 % percentile interval of G_IoU, whole places drawn again with replacement"
CSV_COLUMNS = (
    "set", "id", "place", "data", "iou", "precision", "recall", "f1", "tp", "fp", "fn", "tn", "ignored",
    "points", "second", "gsd_m", "height", "width",
)  # fmt: skip
GRAPH_COLUMNS = ("apls", "topo_precision", "topo_recall", "topo_f1", "junction_precision", "junction_recall",
                 "junction_f1", "true_length", "proposed_length", "unit")  # fmt: skip


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One evaluated sample. `data` is the label of its set; `points` counts those fed, None where none are points."""

    set: str
    index: int
    id: str
    place: str
    data: str
    counts: PixelCounts
    second: str
    points: int | None
    gsd_m: float | None
    size: tuple[int, int]
    graph: GraphScores | None = None

    def to_dict(self) -> dict[str, Any]:
        """As the columns of samples.csv."""
        c = self.counts
        values = (
            self.set, self.id, self.place, self.data, c.iou, c.precision, c.recall, c.f1, c.tp, c.fp, c.fn, c.tn,
            c.ignored, self.points, self.second, self.gsd_m, *self.size,
        )  # fmt: skip
        return dict(zip(CSV_COLUMNS, values, strict=True)) | self._graph_columns()

    def _graph_columns(self) -> dict[str, Any]:
        graph = self.graph
        if graph is None:
            return {}
        shares: list[float | None] = [None if graph.apls is None else graph.apls.apls]
        for matches in (None if graph.topo is None else graph.topo.matches, graph.junctions):
            shares += [None] * 3 if matches is None else [matches.precision, matches.recall, matches.f1]
        values = (*shares, graph.true_length, graph.proposed_length, graph.unit)
        return dict(zip(GRAPH_COLUMNS, values, strict=True))


@dataclass(frozen=True, slots=True)
class Failure:
    """A sample that could not be evaluated, and the sentence that says why."""

    set: str
    id: str
    error: str


@dataclass(frozen=True, slots=True)
class SetScores:
    """Scores of one set or of all. `interval` is of G_IoU over places; None with one place, or where none was asked."""

    name: str
    scores: PixelScores
    places: int
    interval: tuple[float, float] | None
    data: str
    why: str
    graph: GraphSummary | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        graph = {} if self.graph is None else {"graph": self.graph.to_dict()}
        return {
            **self.scores.to_dict(),
            **graph,
            "places": self.places,
            "G_IoU_interval_95": list(self.interval) if self.interval else None,
            "data": self.data,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class EvalResult:
    """All that an evaluation found. `complete` is False after an interruption."""

    pooled: SetScores
    sets: tuple[SetScores, ...]
    rows: tuple[SampleRow, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    settings: dict[str, Any]
    model: dict[str, Any]
    environment: dict[str, Any]
    complete: bool = True
    output: Path | None = None
    graph_lines: tuple[str, ...] = ()  # what the graph scores hang on, to be printed

    def check_complete(self) -> None:
        """Raise PartialFailureError where samples failed, since their set is then another one than that asked for."""
        if self.failures:
            failed, scored = len(self.failures), len(self.rows)
            raise PartialFailureError(f"{failed} of {failed + scored} samples failed; scored were the other {scored}")

    def to_dict(self) -> dict[str, Any]:
        """The document that `metrics.json` holds and `--json` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "evaluation",
            "complete": self.complete,
            "semi_synthetic": self.pooled.data == SEMI_SYNTHETIC,
            "data": self.pooled.data,
            "model": self.model,
            "settings": self.settings,
            "rules": {"empty": EMPTY_RULE, "interval": INTERVAL_RULE, "main": "G_IoU", "values": "fractions in [0, 1]"},
            "pooled": self.pooled.to_dict(),
            "sets": {s.name: s.to_dict() for s in self.sets},
            "failures": [{"set": f.set, "id": f.id, "error": f.error} for f in self.failures],
            "notes": list(self.notes),
            "environment": self.environment,
            "samples": [row.to_dict() for row in self.rows],
        }


def score_rows(name: str, rows: Sequence[SampleRow], data: str, why: str, settings: EvalSettings) -> SetScores:
    """Scores of these samples in their order, with the interval over their places.

    Raises:
        DataError: no samples.
    """
    counts, places = [r.counts for r in rows], [(r.set, r.place) for r in rows]
    interval = bootstrap_g_iou(counts, places, settings.bootstrap, settings.seed) if settings.bootstrap else None
    graphs = [r.graph for r in rows if r.graph is not None]
    summary = summarize_graphs(graphs, places, settings.bootstrap, settings.seed) if graphs else None
    return SetScores(name, score(counts), len(set(places)), interval, data, why, summary)


def write_result(result: EvalResult, folder: Path) -> None:
    """Write `metrics.json` and `samples.csv` into `folder`; raises OutputError."""
    write_json(folder / "metrics.json", result.to_dict())
    text = io.StringIO()
    columns = CSV_COLUMNS if result.settings["graph"] is None else (*CSV_COLUMNS, *GRAPH_COLUMNS)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.to_dict() for row in result.rows)
    write_text(folder / "samples.csv", text.getvalue())


def print_table(result: EvalResult) -> None:
    """The scores on stdout, in per cent, each row with its label, and the settings that they hang on."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=headline(result), title_justify="left", title_style="bold")
    table.add_column("set", no_wrap=True)
    for name in ("samples", "places", "G_IoU", "95 %", "A_IoU", "A_IoU_batch8", "P", "R", "F1"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("data", no_wrap=True)
    for one in (*result.sets, *([result.pooled] if len(result.sets) > 1 else [])):
        table.add_row(*_cells(one), end_section=one is result.sets[-1])
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=TABLE_WIDTH)
    console.print(table)
    if result.pooled.graph is not None:
        console.print(_graph_table(result))
    for line in footer(result):
        console.print(line, soft_wrap=True, markup=False)


def _graph_table(result: EvalResult) -> Any:
    from rich.table import Table

    table = Table(title="road graphs", title_justify="left", title_style="bold")
    table.add_column("set", no_wrap=True)
    for name in ("APLS", "95 %", "TOPO F1", "95 %", "P", "R", "junction F1", "95 %", "P", "R"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in (*result.sets, *([result.pooled] if len(result.sets) > 1 else [])):
        graph = one.graph
        if graph is None:
            continue
        cells = [_percent(graph.apls), _between(graph.apls_interval)]
        for matches, interval in ((graph.topo, graph.topo_interval), (graph.junctions, graph.junctions_interval)):
            shares = (None,) * 3 if matches is None else (matches.f1, matches.precision, matches.recall)
            cells += [_percent(shares[0]), _between(interval), *map(_percent, shares[1:])]
        table.add_row(one.name, *cells, end_section=one is result.sets[-1])
    return table


def headline(result: EvalResult) -> str:
    """Which network ran where, fed with what, at which threshold."""
    model, settings = result.model, result.settings
    corruptions = f", corrupted: {', '.join(settings['corruptions'])}" if settings["corruptions"] else ""
    return (
        f"{model['model']} · {model['backend']} {model['precision']} · split {settings['split']} · fed "
        f"{' + '.join(settings['fed'])}{corruptions} · threshold {settings['threshold']:g}"
    )


def footer(result: EvalResult) -> list[str]:
    """What must be known beside the numbers."""
    lines = [f"{s.name}: {s.data}, {s.why}" for s in result.sets if s.why]
    draws = result.settings["bootstrap"]
    if draws:
        alike = " (those of graph scores likewise)" if result.graph_lines else ""
        lines.append(f"{INTERVAL_RULE}{alike}, {draws} draws, seed {result.settings['seed']}")
    views = cost_line(result.model)
    lines.append(f"values in per cent; {EMPTY_RULE}; pixels of 128 left out; {views or 'no test-time augmentation'}")
    lines += result.graph_lines
    return lines + list(result.notes)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"


def _between(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"


def _cells(one: SetScores) -> list[str]:
    s = one.scores
    figures = [_percent(value) for value in (s.a_iou, s.a_iou_batch8, s.precision, s.recall, s.f1)]
    return [one.name, str(s.samples), str(one.places), _percent(s.g_iou), _between(one.interval), *figures, one.data]
