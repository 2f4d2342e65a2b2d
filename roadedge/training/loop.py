"""The training loop: one function from recipe and folders to a run folder, resumable to the bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch

from roadedge.atomic import write_json
from roadedge.metrics.pixel import global_iou, mean_sample_iou
from roadedge.models.checkpoint import load_network, save_network
from roadedge.training.batches import Pool, prefetched, share_of, training_pools
from roadedge.training.interruption import Interruption
from roadedge.training.log import Log
from roadedge.training.pictures import draw_curves, draw_panels
from roadedge.training.preparation import check_watched, given, greeting, new_run
from roadedge.training.processes import Processes, joined
from roadedge.training.rates import rate
from roadedge.training.recipe import Recipe
from roadedge.training.run import Report, Run, provenance, save_state, start_run
from roadedge.training.shared_errors import everywhere
from roadedge.training.step import Trainer, effective_precision
from roadedge.training.tasks import labels_wanted
from roadedge.training.validation import validate

LOG_EVERY = 25


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Where a run lies and what it reached on the samples set aside."""

    folder: Path
    best: Path
    steps: int
    best_step: int
    best_g_iou: float | None  # None where nothing was set aside
    seconds: float
    images_per_s: float
    ended_early: bool = False  # by the recipe, after evaluations that brought nothing better


def train(
    recipe: Recipe,
    folders: list[Path],
    output: Path,
    init: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    report: Report = print,
    on_step: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    device: str = "auto",
) -> TrainResult:
    """Train a network, together with the other processes where torchrun started several.

    Args:
        recipe: all settings.
        folders: folder data sets, whose train splits are used; none means the built-in city.
        output: run folder; must be empty, or hold a run to resume. Rank 0 alone reads and writes it.
        init: checkpoint whose fitting weights the network starts from.
        resume: continue the run in `output` exactly where its last saved state was taken.
        threads: of torch in each process; default all.
        report: called with lines of text, on rank 0.
        on_step: called after each step with (step, steps, loss), on each process.
        device: auto, cpu or cuda; auto is the GPU of the process where there is one.

    Raises:
        NonFiniteError: the loss became NaN or infinite; the step's inputs are in `nonfinite.npz`.
        DataError, UsageError, OutputError: bad data, options or output; on one process is on all.
        EnvironmentFault: no such device, or another process ended.
    """
    if threads:
        torch.set_num_threads(threads)
    cv2.setNumThreads(1)  # batches are made beside the network's own threads; more would only fight over the cores
    with joined(device) as group:
        return _train(recipe, folders, output, init, resume, report if group.first else _silent, on_step, group)


def _silent(text: str) -> None:
    """What the processes but the first report."""


def _train(
    recipe: Recipe,
    folders: list[Path],
    output: Path,
    init: Path | None,
    resume: bool,
    report: Report,
    on_step: Callable[[int, int, float], None],
    group: Processes,
) -> TrainResult:
    samples = group.agreed(lambda: share_of(recipe, group.rank, group.count))
    pools, validation = group.agreed(lambda: training_pools(recipe, folders))
    group.agreed(lambda: check_watched(recipe, validation))
    for pool in (*pools, validation):
        pool.cache_bytes //= group.local_count
    precision = effective_precision(recipe.precision, group.device)
    group.check_same(given(recipe, pools, validation, precision, resume, group))
    run = group.agreed(lambda: new_run(recipe, folders, pools, output, init, resume, group.device))
    start_run(run, folders, output, None if recipe.qat.on else init, resume, report, group)
    if run.teacher is not None:  # each process read it for itself, maybe from another machine's copy
        group.equalise(run.teacher)
    for line in greeting(run, pools, validation, precision, group):
        report(line)
    # What is quantized has its logits alone.
    wanted = () if recipe.qat.on else group.agreed(lambda: labels_wanted(run.network, recipe))
    trainer = Trainer(run, precision, group)
    log = group.agreed(lambda: Log(output, run.step) if group.first else None)
    clock = Clock(run)
    batches = prefetched(recipe, run.network.spec, pools, run.step, recipe.steps, samples, wanted)
    with Interruption() as interruption:
        while run.step < recipe.steps and not run.stopped:
            step, batch = group.agreed(partial(next, batches))
            lr = rate(recipe, step, run.plateau)
            loss, norm = trainer.step(batch, step, output)
            run.step = step + 1
            speed = clock.images_per_s()
            on_step(run.step, recipe.steps, loss)
            due = run.step == recipe.steps or run.step % recipe.evaluate_every == 0
            scores = choose(run, validation, folders, output, report, group) if due else {}
            last = run.step == recipe.steps or run.stopped
            if due or run.step % LOG_EVERY == 0:
                row = {"step": run.step, "loss": loss, "lr": lr, "gradient_norm": norm}
                group.from_first(partial(_note, log, {**row, "images_per_s": speed, **scores}))
            asked = group.any(interruption.asked)
            if asked or last or run.step % recipe.save_every == 0:
                group.from_first(partial(save_state, run, output, group.count))
            if asked:
                report(f"interrupted after step {run.step}; go on with: roadedge {_again(recipe, output)}")
                raise everywhere(KeyboardInterrupt())
    group.agreed(lambda: None if log is None else log.close())
    return group.from_first(partial(finish, run, validation, folders, output, report))


class Clock:
    """The time that a run has taken, over all its sittings, and its speed in this one."""

    def __init__(self, run: Run) -> None:
        self.run, self.began, self.first_step, self.before = run, time.perf_counter(), run.step, run.seconds

    def images_per_s(self) -> float:
        """Of this sitting so far, over all processes; brings the run's seconds up to date."""
        passed = time.perf_counter() - self.began
        self.run.seconds = self.before + passed
        return (self.run.step - self.first_step) * self.run.recipe.batch / passed


def _note(log: Log | None, row: dict[str, Any]) -> None:
    assert log is not None, "the first process has a log"
    log.add(row)


def _again(recipe: Recipe, output: Path) -> str:
    if recipe.qat.on:  # which is the first half of a larger work
        return f"quantize CHECKPOINT --mode qat --resume -o {output.parent}"
    return f"train --resume -o {output}"


def choose(
    run: Run, validation: Pool, folders: list[Path], output: Path, report: Report, group: Processes
) -> dict[str, float]:
    """Score the averaged network on what was set aside; keep it as `best.pt` where it is the best so far.

    Where nothing was set aside there is nothing to choose by: the last one is kept.
    """
    group.check_equal_weights(run.network, run.step)
    run.average.settle()
    counts = validate(run.average, validation, group)
    scores = {"g_iou": global_iou(counts), "a_iou": mean_sample_iou(counts)} if counts else {}
    better = not scores or run.best_g_iou is None or scores["g_iou"] > run.best_g_iou
    if better:
        run.best_step, run.best_g_iou = run.step, scores.get("g_iou")
        group.from_first(lambda: save_network(output / "best.pt", run.average, provenance(run, folders, scores)))
    if scores:
        mark = " (best)" if better else ""
        report(f"step {run.step}: G_IoU {100 * scores['g_iou']:.2f} on {len(validation)} samples set aside{mark}")
        _watch(run, better, report)
    return scores


def _watch(run: Run, better: bool, report: Report) -> None:
    """Cut the rate or end the training where the recipe does so after evaluations without a better one."""
    spec, steps = run.recipe.plateau, run.recipe.steps
    cut = run.plateau.note(spec, better, run.step)
    if run.step == steps:  # it ends anyhow
        return
    if run.stopped:
        best = f"than {100 * (run.best_g_iou or 0.0):.2f} at step {run.best_step}"
        row = _evaluations(spec.stop_after)
        report(f"ended after step {run.step} of {steps} (plateau.stop_after): {row} no better G_IoU {best}")
    elif cut:
        lr = rate(run.recipe, run.step, run.plateau)
        report(f"{_evaluations(spec.cut_after)} no better G_IoU: the rate goes on at {lr:.3g}")


def _evaluations(count: int) -> str:
    return "one evaluation brought" if count == 1 else f"{count} evaluations brought"


def finish(run: Run, validation: Pool, folders: list[Path], output: Path, report: Report) -> TrainResult:
    """Last checkpoint, curves, panels and metrics of a run."""
    chosen_by = {} if run.best_g_iou is None else {"g_iou": run.best_g_iou}
    save_network(output / "last.pt", run.average, provenance(run, folders, chosen_by))
    draw_curves(output / "log.csv", output / "curves.png")
    best, _ = load_network(output / "best.pt")
    panels = [validation[i] for i in range(min(run.recipe.panels, len(validation)))]
    draw_panels(best, panels, output / "panels")
    speed = run.step * run.recipe.batch / max(run.seconds, 1e-9)
    best_path, early = output / "best.pt", run.step < run.recipe.steps
    result = TrainResult(output, best_path, run.step, run.best_step, run.best_g_iou, run.seconds, speed, early)
    write_json(
        output / "metrics.json",
        {
            "schema_version": 1,
            "steps": run.step,
            "ended_early": early,
            "rate_cuts": run.plateau.cuts,
            "seconds": run.seconds,
            "images_per_s": speed,
            "best_step": run.best_step,
            "best_g_iou_set_aside": run.best_g_iou,
            "semi_synthetic": run.network.spec.semi_synthetic,
        },
    )
    return result
