"""The end of a run on the terminal: table, verdict, scores, where the results lie, what to type next."""

from __future__ import annotations

from typing import TextIO

from roadedge.latency.table import facts, latency_table, verdict_lines
from roadedge.runners.augmentation import cost_line
from roadedge.stream.outcome import SEMI_SYNTHETIC, InferResult

NOTICES = 5  # that are printed; metrics.json has all


def print_result(result: InferResult, file: TextIO) -> None:
    """Print the latency table and all that goes with it; without colour where that is no terminal."""
    from rich.console import Console

    console = Console(file=file, highlight=False, soft_wrap=True)
    console.print(latency_table(result.profile))
    for line in result_lines(result):
        console.print(line, markup=False)


def result_lines(result: InferResult) -> list[str]:
    """What stands below the table."""
    lines = [*facts(result.profile), *verdict_lines(result.verdict)]
    views = cost_line(result.metrics["runner"])
    if views is not None:
        lines.append(views)
    scores, run = result.scores, result.run
    if scores is not None:
        lines.append(
            f"G_IoU {100 * scores.g_iou:.2f}, precision {100 * scores.precision:.2f}, recall {100 * scores.recall:.2f} "
            f"over {scores.samples} frames ({SEMI_SYNTHETIC})"
        )
    elif run.last is not None and len(run.records) == 1:
        lines.append(f"road on {run.last.mask.road_fraction:.1%} of {run.last.frame.name}")
    if run.remarks.outside_band:
        lines.append(
            f"{run.remarks.outside_band} frames lie outside the ground sample distances that the network was trained on"
        )
    if run.remarks.outside_density:
        lines.append(
            f"{run.remarks.outside_density} of {len(run.records)} frames hold more or fewer points for their area than "
            "the network was trained on"
        )
    lines += [f"notice: {notice}" for notice in run.notices[:NOTICES]]
    if len(run.notices) > NOTICES:
        lines.append(f"and {len(run.notices) - NOTICES} more notices in metrics.json")
    return lines


def next_command(result: InferResult) -> str:
    """What a person would want to type now."""
    return f"open {result.folder / 'report.html'}"
