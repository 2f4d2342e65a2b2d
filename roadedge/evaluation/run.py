"""`evaluate`: all samples of all sets through one runner, scored per set and pooled, panels of the worst."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roadedge.environment import environment
from roadedge.errors import DataError
from roadedge.evaluation.judge import Judged, judge, judge_graph
from roadedge.evaluation.panels import contact_sheet, draw_panel, write_panel
from roadedge.evaluation.report import EvalResult, Failure, SampleRow, SetScores, score_rows, write_result
from roadedge.evaluation.settings import EvalSettings
from roadedge.evaluation.sources import SEMI_SYNTHETIC, Source, open_sources
from roadedge.imagery import write_png
from roadedge.preprocess import fit, outside_density
from roadedge.run_folder import open_run_folder
from roadedge.runners.augmentation import Augmentation
from roadedge.runners.base import Runner
from roadedge.spec import ModelSpec, sha256_of
from roadedge.weights import find_model


def evaluate_model(
    model: str | Path,
    roots: Sequence[str | Path],
    settings: EvalSettings,
    backend: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    output: Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
    accept_rejected: bool = False,
    augmentation: Augmentation | None = None,
) -> EvalResult:
    """Open a model, evaluate it and write what was found.

    Args:
        model: a file, or the name of a network that the package carries.
        roots: folder data sets, `city` or `city:SEED`.
        settings: what to feed and how to score.
        backend: as `open_runner` takes it.
        precision: as `open_runner` takes it.
        threads: as `open_runner` takes it.
        output: run folder; default `runs/eval/NAME`.
        overwrite: empty a run folder that is in the way.
        progress: draw a bar on stderr where that is a terminal.
        accept_rejected: as `open_runner` takes it.
        augmentation: as `open_runner` takes it.

    Raises:
        RoadEdgeError: see `evaluate`, `open_runner` and `open_run_folder`.
    """
    from roadedge.runners import BACKENDS, open_runner

    with open_runner(model, backend, precision, threads, accept_rejected, augmentation) as runner:
        path = find_model(model, (BACKENDS[runner.name],))
        open_sources(roots, runner.spec, settings)  # a wrong folder is told before a run folder is made
        folder = open_run_folder("eval", path.stem, output, overwrite, [path, *map(Path, roots)])
        identity = {"file": path.name, "sha256": sha256_of(path)}
        try:
            return evaluate(runner, roots, settings, folder, progress, identity)
        finally:
            with contextlib.suppress(OSError):  # it holds results; one of which nothing came is taken away
                folder.rmdir()


def evaluate(
    runner: Runner,
    roots: Sequence[str | Path],
    settings: EvalSettings,
    output: Path | None = None,
    progress: bool = False,
    identity: dict[str, str] | None = None,
) -> EvalResult:
    """Score a network on labelled data by the path that is deployed.

    A sample that cannot be read is reported and the rest goes on, unless `settings.strict`. After an interruption what
    was scored so far is written, and the interruption goes on.

    Args:
        runner: an open one.
        roots: folder data sets, `city` or `city:SEED`.
        settings: what to feed and how to score.
        output: an existing folder for `metrics.json`, `samples.csv` and `panels/`; None writes nothing.
        progress: draw a bar on stderr where that is a terminal.
        identity: file and digest of the model, for the record.

    Raises:
        DataError: a set is missing or empty, or not one sample could be scored.
        UsageError: settings that the network cannot follow.
    """
    spec = runner.spec
    settings.fed(spec)
    if settings.graph is not None:
        threshold = spec.threshold if settings.threshold is None else settings.threshold
        settings = dataclasses.replace(settings, graph=settings.graph.at(threshold))
    sources = open_sources(roots, spec, settings)
    rows: list[SampleRow] = []
    failures: list[Failure] = []
    interruption: KeyboardInterrupt | None = None
    try:
        for source, index in _tracked(sources, progress):
            try:
                rows.append(_row(source, index, judge(source.readers[index](), runner, settings), settings))
            except DataError as error:
                if settings.strict:
                    raise
                failures.append(Failure(source.name, source.ids[index], str(error)))
    except KeyboardInterrupt as stop:
        if not rows:
            raise
        interruption = stop
    if not rows:
        raise DataError(f"none of the {len(failures)} samples could be scored; the first: {failures[0].error}")
    sets, pooled = _score_sets(sources, rows, settings)
    model = _model_record(runner, identity)  # now: panels are no part of what an augmentation cost
    asked = {**settings.to_dict(spec), "test_time_augmentation": model.get("augmentation")}
    result = EvalResult(
        pooled=pooled,
        sets=sets,
        rows=tuple(rows),
        failures=tuple(failures),
        notes=tuple(_notes(rows, spec)),
        settings={**asked, "sets": [s.name for s in sources]},
        model=model,
        environment=environment(),
        complete=interruption is None,
        output=output,
        graph_lines=() if settings.graph is None else tuple(settings.graph.lines(_units(rows))),
    )
    if output is not None:
        write_result(result, output)
        if interruption is None:
            write_panels(runner, sources, rows, settings, output / "panels")
    if interruption is not None:
        raise KeyboardInterrupt(f"{len(rows)} samples were scored, see {output}") from interruption
    return result


def write_panels(
    runner: Runner, sources: Sequence[Source], rows: Sequence[SampleRow], settings: EvalSettings, folder: Path
) -> list[Path]:
    """Run the samples of the lowest IoU again and write their panels and `sheet.png`; raises OutputError."""
    by_name = {s.name: s for s in sources}
    worst = sorted(rows, key=lambda row: row.counts.iou)[: settings.panels]
    applied = ", ".join(str(c) for c in settings.corruptions)
    paths, pictures = [], []
    for rank, row in enumerate(worst, 1):
        judged = judge(by_name[row.set].readers[row.index](), runner, settings)
        picture = draw_panel(judged, runner.spec, row.data, applied)
        paths.append(write_panel(folder, rank, row.set, row.id, picture))
        pictures.append(picture)
    if pictures:
        write_png(folder / "sheet.png", contact_sheet(pictures))
    return paths


def _tracked(sources: Sequence[Source], progress: bool) -> Iterator[tuple[Source, int]]:
    items = [(source, index) for source in sources for index in range(len(source.ids))]
    if not (progress and sys.stderr.isatty()):
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, "evaluating", console=Console(stderr=True), transient=True)


def _row(source: Source, index: int, judged: Judged, settings: EvalSettings) -> SampleRow:
    sample = judged.sample
    second = "" if sample.second is None else "points" if sample.has_points else "raster"
    points = len(sample.second) if sample.second is not None and sample.has_points else None
    return SampleRow(
        source.name, index, source.ids[index], source.places[index], source.data, judged.counts, second, points,
        sample.gsd_m, sample.size, None if settings.graph is None else judge_graph(judged, settings.graph),
    )  # fmt: skip


def _score_sets(
    sources: Sequence[Source], rows: Sequence[SampleRow], settings: EvalSettings
) -> tuple[tuple[SetScores, ...], SetScores]:
    sets = []
    for source in sources:
        own = [r for r in rows if r.set == source.name]
        if own:
            sets.append(score_rows(source.name, own, source.data, source.why, settings))
    simulated = [s.name for s in sets if s.data == SEMI_SYNTHETIC]
    data = SEMI_SYNTHETIC if simulated else sets[0].data
    why = f"because of {', '.join(simulated)}" if simulated else ""
    return tuple(sets), score_rows("pooled", rows, data, why, settings)


def _units(rows: Sequence[SampleRow]) -> str:
    """Of the distances of graph scores."""
    return " or ".join(sorted({row.graph.unit for row in rows if row.graph is not None}))


def _notes(rows: Sequence[SampleRow], spec: ModelSpec) -> list[str]:
    notes = []
    without = sum(r.second == "" for r in rows)
    if spec.second and without and without < len(rows):
        notes.append(f"{without} of {len(rows)} samples have no {spec.second}; the network was fed its blank")
    band = spec.gsd_band_m
    outside = [r for r in rows if band and r.gsd_m and not band[0] <= r.gsd_m <= band[1]]
    if outside and band:
        notes.append(
            f"{len(outside)} of {len(rows)} samples lie outside the {band[0]:.3g} to {band[1]:.3g} m per pixel that "
            f"{spec.name} was trained on; their scores are not to be trusted"
        )
    crowded = sum(outside_density(r.points, fit(r.size, r.gsd_m, spec).grid, spec) for r in rows)
    if crowded:
        notes.append(
            f"{crowded} of {len(rows)} samples hold more or fewer points for their area than {spec.name} was trained on"
        )
    unknown = sum(r.gsd_m is None for r in rows)
    if unknown:
        notes.append(f"{unknown} of {len(rows)} samples do not say their metres per pixel and were fed as they are")
    empty = sum(r.graph.both_empty for r in rows if r.graph is not None)
    if empty:
        notes.append(f"{empty} of {len(rows)} samples have no road graph on either side, which scores 1 by rule")
    if unknown and rows[0].graph is not None:
        notes.append(f"distances of graph scores are pixels in {unknown} of {len(rows)} samples")
    if spec.licence:
        notes.append(f"licence of the weights: {spec.licence}")
    return notes


def _model_record(runner: Runner, identity: dict[str, str] | None) -> dict[str, Any]:
    return {**runner.describe(), **(identity or {}), "spec": runner.spec.to_dict()}
