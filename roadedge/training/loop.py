"""The training loop: one function from recipe and folders to a run folder, resumable to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from roadedge.atomic import replacing, write_json
from roadedge.errors import NonFiniteError, UsageError
from roadedge.metrics.pixel import global_iou, mean_sample_iou
from roadedge.models.checkpoint import load_network, save_network
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.training.batches import CITY, OBSERVING, Batch, Pool, make_batch, prefetched, training_pools
from roadedge.training.interruption import Interruption
from roadedge.training.log import Log
from roadedge.training.losses import total_loss
from roadedge.training.pictures import draw_curves, draw_panels
from roadedge.training.qat import START, distance, fine_tuned_spec, load_start, quantized
from roadedge.training.recipe import Recipe
from roadedge.training.run import Report, Run, provenance, save_state, start_run
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


def train(
    recipe: Recipe,
    folders: list[Path],
    output: Path,
    init: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    report: Report = print,
    on_step: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> TrainResult:
    """Train a network.

    Args:
        recipe: all settings.
        folders: folder data sets, whose train splits are used; none means the built-in city.
        output: run folder; must be empty, or hold a run to resume.
        init: checkpoint whose fitting weights the network starts from.
        resume: continue the run in `output` exactly where its last saved state was taken.
        threads: of torch; default all.
        report: called with lines of text.
        on_step: called after each step with (step, steps, loss).

    Raises:
        NonFiniteError: the loss became NaN or infinite; the step's inputs are in `nonfinite.npz`.
        DataError, UsageError, OutputError: bad data, options or output.
    """
    if threads:
        torch.set_num_threads(threads)
    cv2.setNumThreads(1)  # batches are made beside the network's own threads; more would only fight over the cores
    pools, validation = training_pools(recipe, folders)
    run = fine_tuning(recipe, pools, init, output, resume) if recipe.qat.on else None
    if run is None:
        run = Run(recipe, spec_of(recipe, folders, pools))
        start_run(run, folders, output, init, resume, report)
    else:
        start_run(run, folders, output, None, resume, report)
    spec = run.network.spec
    report(", ".join(f"{p.name}: {len(p)} samples" for p in pools) + f"; chosen by {len(validation)} set aside")
    precision = effective_precision(recipe.precision)
    report(f"{recipe.model}, {sum(p.numel() for p in run.network.parameters())} parameters, {precision}, channels-last")
    wanted = () if recipe.qat.on else labels_wanted(run.network, recipe)  # what is quantized has its logits alone
    log = Log(output, run.step)
    began, first_step = time.perf_counter(), run.step
    before = run.seconds
    with Interruption() as interruption:
        for step, batch in prefetched(recipe, spec, pools, run.step, recipe.steps, wanted=wanted):
            loss, norm = train_step(run, batch, step, precision, output)
            run.step = step + 1
            run.seconds = before + time.perf_counter() - began
            speed = (run.step - first_step) * recipe.batch / (time.perf_counter() - began)
            on_step(run.step, recipe.steps, loss)
            due = run.step % recipe.evaluate_every == 0 or run.step == recipe.steps
            if run.step % LOG_EVERY == 0 or due:
                row = {
                    "step": run.step,
                    "loss": loss,
                    "lr": rate(recipe, step),
                    "gradient_norm": norm,
                    "images_per_s": speed,
                }
                if due:
                    row |= choose(run, validation, folders, output, report)
                log.add(row)
            if run.step % recipe.save_every == 0 or run.step == recipe.steps:
                save_state(run, output)
            if interruption.asked:
                save_state(run, output)
                again = f"train --resume -o {output}"
                if recipe.qat.on:  # which is the first half of a larger work
                    again = f"quantize CHECKPOINT --mode qat --resume -o {output.parent}"
                report(f"interrupted after step {run.step}; go on with: roadedge {again}")
                raise KeyboardInterrupt
    log.close()
    return finish(run, validation, folders, output, report)


def fine_tuning(recipe: Recipe, pools: list[Pool], init: Path | None, output: Path, resume: bool) -> Run:
    """A run of quantization-aware fine-tuning; its float network is kept in the run folder as `start.pt`.

    Raises:
        UsageError: there is nothing to start from, or it is quantized already.
    """
    path = output / START if resume else init
    if path is None or not path.exists():
        raise UsageError(f"fine-tuning needs a float checkpoint to start from, got {path}; give one with --init")
    start, seen = load_start(path)
    added = [pool.name for pool in pools if pool.name not in (*seen, CITY)]
    spec = start.spec = fine_tuned_spec(start.spec, recipe, added)
    looked_at = (make_batch(recipe, spec, pools, i, stream=OBSERVING).feeds for i in range(recipe.qat.observe))
    # when resumed the scales come from the saved state
    network = quantized(start, recipe.qat, list(looked_at)[:1] if resume else looked_at)
    run = Run(recipe, spec, network)
    run.start = None if resume else path
    if recipe.qat.distil:
        run.teacher = start.deployed().requires_grad_(False)
    return run


def train_step(run: Run, batch: Batch, step: int, precision: str, output: Path) -> tuple[float, float]:
    """One update; returns the loss and the norm of its gradient.

    Raises:
        NonFiniteError: either is NaN or infinite; the weights are untouched and the inputs saved.
    """
    recipe, network = run.recipe, run.network
    for group in run.optimiser.param_groups:
        group["lr"] = rate(recipe, step) * group.get("pace", 1)
    network.train()
    torch.manual_seed(seed_of(recipe.seed, step))  # what drops out depends on the step alone, also after --resume
    feeds = {name: torch.from_numpy(value) for name, value in batch.feeds.items()}
    low = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()
    with low:
        outputs = network(feeds)
    target = torch.from_numpy(batch.target)
    labels = {name: torch.from_numpy(value) for name, value in batch.labels.items()}
    loss = total_loss(outputs, target, labels, recipe) + network.penalty()
    if run.teacher is not None:
        with low, torch.no_grad():
            said = run.teacher(feeds)["logits"]
        loss = loss + recipe.qat.distil * distance(outputs["logits"], said, target)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.clip or math.inf)
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        kept = output / "nonfinite.npz"
        with replacing(kept) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, target=batch.target, step=step, **batch.feeds)
        raise NonFiniteError(
            f"the loss became {loss.item()} (gradient norm {norm.item()}) at step {step}; its inputs are in {kept}; "
            "lower the learning rate or look at that batch"
        )
    run.optimiser.step()
    update_average(run.average, network, min(recipe.ema, (step + 1) / (step + 10)))
    return loss.item(), norm.item()


def seed_of(*numbers: int) -> int:
    """One seed of several numbers, well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and of the norms' statistics; counters are copied."""
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    floating = [(mine, theirs) for mine, theirs in pairs if mine.dtype.is_floating_point]
    torch._foreach_lerp_([mine for mine, _ in floating], [theirs for _, theirs in floating], 1 - decay)
    for mine, theirs in pairs:
        if not mine.dtype.is_floating_point:
            mine.copy_(theirs)


def rate(recipe: Recipe, step: int) -> float:
    """Learning rate of a step: linear warm-up, then the recipe's schedule; a cosine goes down to 1 % of the peak."""
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "steps":
        drops = sum(step >= round(share * recipe.steps) for share in recipe.drops)
        return float(recipe.lr * 0.1**drops)
    share = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    if recipe.schedule == "linear":
        return recipe.lr * max(0.0, 1 - share)
    return recipe.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


def effective_precision(asked: str) -> str:
    """`bf16` or `fp32`; `auto` takes bf16 where the processor computes in it, else fp32."""
    if asked != "auto":
        return asked
    capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if capable else "fp32"


def spec_of(recipe: Recipe, folders: list[Path], pools: list[Pool]) -> ModelSpec:
    """The ModelSpec that this training makes true: its band of ground sample distances and of densities included."""
    low, high = recipe.augment.scale
    densities = [
        d
        for pool in pools
        for d in (density_per_mpx(pool[i].sample, recipe.gsd_m) for i in range(0, len(pool), 7))
        if d
    ]
    band = None
    if densities and "trajectory" in recipe.inputs:
        band = (min(densities) * recipe.augment.density[0], max(densities))
    return ModelSpec(
        recipe.model,
        recipe.inputs,
        gsd_m=recipe.gsd_m,
        gsd_band_m=(round(recipe.gsd_m * low, 4), round(recipe.gsd_m * high, 4)),
        density_band_per_mpx=band,
        licence=recipe.licence,
        semi_synthetic="trajectory" in recipe.inputs and not _measured(recipe, folders),
    )


def _measured(recipe: Recipe, folders: list[Path]) -> bool:
    """Whether all trajectories that are trained on were measured by receivers; those of the city are not."""
    from roadedge.evaluation.sources import declared_origin

    return bool(folders) and recipe.city == 0 and all(declared_origin(folder) == "measured" for folder in folders)


def density_per_mpx(sample: Sample, gsd_m: float) -> float | None:
    """GPS points per megapixel of the network's grid of `gsd_m`, None where the sample has no points."""
    if sample.second is None or not sample.has_points:
        return None
    grid_pixels = sample.size[0] * sample.size[1] * ((sample.gsd_m or gsd_m) / gsd_m) ** 2
    return len(sample.second) / grid_pixels * 1e6


def choose(run: Run, validation: Pool, folders: list[Path], output: Path, report: Report) -> dict[str, float]:
    """Score the averaged network on what was set aside; keep it as `best.pt` where it is the best so far.

    Where nothing was set aside there is nothing to choose by: the last one is kept.
    """
    run.average.settle()
    if not len(validation):
        run.best_step = run.step
        save_network(output / "best.pt", run.average, provenance(run, folders, {}))
        return {}
    counts = validate(run.average, validation)
    scores = {"g_iou": global_iou(counts), "a_iou": mean_sample_iou(counts)}
    better = run.best_g_iou is None or scores["g_iou"] > run.best_g_iou
    if better:
        run.best_step, run.best_g_iou = run.step, scores["g_iou"]
        save_network(output / "best.pt", run.average, provenance(run, folders, scores))
    mark = " (best)" if better else ""
    report(f"step {run.step}: G_IoU {100 * scores['g_iou']:.2f} on {len(validation)} samples set aside{mark}")
    return scores


def finish(run: Run, validation: Pool, folders: list[Path], output: Path, report: Report) -> TrainResult:
    """Last checkpoint, curves, panels and metrics of a run."""
    chosen_by = {} if run.best_g_iou is None else {"g_iou": run.best_g_iou}
    save_network(output / "last.pt", run.average, provenance(run, folders, chosen_by))
    draw_curves(output / "log.csv", output / "curves.png")
    best, _ = load_network(output / "best.pt")
    panels = [validation[i] for i in range(min(run.recipe.panels, len(validation)))]
    draw_panels(best, panels, output / "panels")
    speed = run.step * run.recipe.batch / max(run.seconds, 1e-9)
    result = TrainResult(output, output / "best.pt", run.step, run.best_step, run.best_g_iou, run.seconds, speed)
    write_json(
        output / "metrics.json",
        {
            "schema_version": 1,
            "steps": run.step,
            "seconds": run.seconds,
            "images_per_s": speed,
            "best_step": run.best_step,
            "best_g_iou_set_aside": run.best_g_iou,
            "semi_synthetic": run.network.spec.semi_synthetic,
        },
    )
    return result
