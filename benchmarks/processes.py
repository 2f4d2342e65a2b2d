"""Training by two processes of one thread against one process of two threads, on the same two cores.

python benchmarks/processes.py -o benchmarks/results/processes

Whole trainings by `roadedge.training.loop.train` on tiles of the built-in city, batches and all. The settings take
turns (A B C, A B C, ...), so that a drift of the machine hits all alike; the median step counts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from roadedge.atomic import write_json, write_text  # noqa: E402
from roadedge.environment import environment  # noqa: E402


@dataclass(frozen=True, slots=True)
class Setting:
    """How many processes of how many threads."""

    processes: int
    threads: int


SETTINGS = (Setting(1, 1), Setting(1, 2), Setting(2, 1))


def main() -> None:
    """Parse, take turns, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="roadedge-s")
    parser.add_argument("--batch", type=int, default=8, help="samples of an update, over all processes")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--skip", type=int, default=10, help="first steps, which are not counted")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("-o", "--output", type=Path, help="path of the results without a suffix")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)  # a process of a training
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.steps < arguments.skip + 3 or arguments.rounds < 1:
        parser.error("--steps must be at least three more than --skip, and --rounds one")
    if arguments.work:
        one_training(arguments)
        return
    times: dict[Setting, list[float]] = {setting: [] for setting in SETTINGS}
    for round_ in range(arguments.rounds):
        for setting in SETTINGS:
            seconds = measured(arguments, setting)
            times[setting] += seconds
            print(f"round {round_ + 1}: {setting}: {1e3 * statistics.median(seconds):.0f} ms a step", file=sys.stderr)
        rows = [row(arguments, setting, times[setting]) for setting in SETTINGS]
        text = table(arguments, rows)
        if arguments.output:  # after each round: what was measured is kept whatever comes
            write_json(arguments.output.with_suffix(".json"), {"environment": environment(), "rows": rows})
            write_text(arguments.output.with_suffix(".md"), text)
    print(text)


def measured(arguments: argparse.Namespace, setting: Setting) -> list[float]:
    """Seconds of each counted step of one training in processes of its own."""
    python = [sys.executable]
    if setting.processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(setting.processes)]
    named = ("model", "batch", "crop", "precision", "steps", "skip")
    options = [word for name in named for word in (f"--{name}", str(getattr(arguments, name)))]
    with tempfile.TemporaryDirectory() as work:
        command = [*python, __file__, *options, "--work", work, "--threads", str(setting.threads)]
        environ = {**os.environ, "OMP_NUM_THREADS": str(setting.threads)}
        ended = subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if ended.returncode:
            raise SystemExit(f"{setting} ended with {ended.returncode}:\n{ended.stderr}")
        found: list[float] = json.loads((Path(work) / "seconds.json").read_text())
    return found


def one_training(arguments: argparse.Namespace) -> None:
    """Train, alone or as one process of several; the first one writes the seconds of each step."""
    from roadedge.training.loop import train
    from roadedge.training.recipe import Recipe

    recipe = Recipe(
        name="timed", model=arguments.model, steps=arguments.steps, batch=arguments.batch, crop=arguments.crop,
        precision=arguments.precision, city_tiles=8, city_seeds=1, evaluate_every=arguments.steps, evaluate_most=1,
        save_every=arguments.steps, panels=0,
    )  # fmt: skip
    marks: list[float] = []

    def mark(step: int, steps: int, loss: float) -> None:
        marks.append(time.perf_counter())

    run = arguments.work / "run"
    train(recipe, [], run, threads=arguments.threads, report=lambda text: None, on_step=mark, device="cpu")
    if os.environ.get("RANK", "0") == "0":
        seconds = [after - before for before, after in itertools.pairwise(marks)]
        write_json(arguments.work / "seconds.json", seconds[arguments.skip :])


def row(arguments: argparse.Namespace, setting: Setting, seconds: list[float]) -> dict[str, Any]:
    """One line of the table."""
    median = statistics.median(seconds)
    return {
        "processes": setting.processes,
        "threads_per_process": setting.threads,
        "images_per_s": arguments.batch / median,
        "median_step_ms": 1e3 * median,
        "p90_step_ms": 1e3 * statistics.quantiles(seconds, n=10)[-1],
        "steps": len(seconds),
    }


def table(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    facts = environment()
    lines = [
        f"# Processes and threads: {arguments.model}, batch {arguments.batch} of {arguments.crop}², "
        f"{arguments.precision}",
        "",
        "| processes | threads of each | images/s | median step, ms | p90, ms | against one thread |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['processes']} | {one['threads_per_process']} | {one['images_per_s']:.1f} | "
        f"{one['median_step_ms']:.0f} | {one['p90_step_ms']:.0f} | "
        f"{one['images_per_s'] / rows[0]['images_per_s']:.2f} × |"
        for one in rows
    ]
    lines += [
        "",
        f"Whole steps of training, making the batches included (two threads beside each process); gloo between the "
        f"processes. {rows[0]['steps']} steps each, {facts['date'][:10]}, {facts['processor']}, {facts['cpu_count']} "
        f"cores, torch {facts['packages']['torch']}, `{facts['command']}`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
