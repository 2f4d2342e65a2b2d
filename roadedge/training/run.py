"""What changes during training, and how it lies on disk between two sittings."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from roadedge.atomic import write_bytes, write_json, write_text
from roadedge.environment import environment
from roadedge.errors import SpecMismatchError, UsageError
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.models.checkpoint import read_archive, write_archive
from roadedge.models.key_maps import Loaded
from roadedge.models.start import start_from_file
from roadedge.spec import ModelSpec, sha256_of
from roadedge.training.batches import DRAWING
from roadedge.training.optimiser import optimiser_of
from roadedge.training.plateau import Plateau
from roadedge.training.processes import Processes
from roadedge.training.recipe import Recipe, recipe_of_text, to_toml
from roadedge.training.split_file import SPLIT, split_table

Report = Callable[[str], None]
STARTED = "start.json"  # in the run folder: what became of each weight of the file that it started from


class Run:
    """All that changes during training; `state` and `restore` are its two ends on disk."""

    def __init__(
        self, recipe: Recipe, spec: ModelSpec, network: RoadNet | None = None, device: torch.device | None = None
    ) -> None:
        """Start with `network`, by default a fresh one of the recipe's kind, on `device`, by default the CPU."""
        torch.manual_seed(recipe.seed)
        device = torch.device("cpu") if device is None else device
        self.recipe = recipe
        network = create_model(recipe.model, spec) if network is None else network
        self.network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = optimiser_of(recipe, self.network)
        self.step = 0
        self.best_step = 0
        self.best_g_iou: float | None = None
        self.seconds = 0.0
        self.plateau = Plateau()
        self.teacher: RoadNet | None = None  # of fine-tuning: the float network
        self.start: Path | None = None  # its checkpoint, which the run folder gets a copy of
        self.origin: dict[str, str] | None = None  # the file that the weights started from

    def start_from(self, path: Path) -> Loaded:
        """Copy what fits of a file, ours, ImageNet's or a published one, into the network and its average."""
        loaded = start_from_file(self.network, path)
        self.average.load_state_dict(self.network.state_dict())
        self.origin = {"file": path.name, "sha256": sha256_of(path), "called": loaded.called}
        return loaded

    def state(self, processes: int = 1) -> dict[str, Any]:
        """All that continuing needs, as tensors and plain values; how many processes took it says what equals what."""
        return {
            "recipe": to_toml(self.recipe),
            "step": self.step,
            "best_step": self.best_step,
            "best_g_iou": self.best_g_iou,
            "seconds": self.seconds,
            "plateau": dataclasses.asdict(self.plateau),
            "sampler": {"drawing": DRAWING, "seed": self.recipe.seed, "next_step": self.step, "processes": processes},
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.best_step, self.best_g_iou = state["best_step"], state["best_g_iou"]
        self.plateau = Plateau(**state.get("plateau", {}))  # states from before there was one

    @property
    def stopped(self) -> bool:
        """Whether the recipe ends the training here, before its last step."""
        return self.plateau.ended(self.recipe.plateau)


def start_run(
    run: Run, folders: list[Path], output: Path, init: Path | None, resume: bool, report: Report, group: Processes
) -> None:
    """Make or reopen the run folder; load the weights to start from. Rank 0 reads and writes, all have what it read.

    Raises:
        UsageError: the folder holds something, or nothing to resume.
        SpecMismatchError: the run to resume was made by another recipe.
    """
    if resume:
        content = group.from_first(lambda: _read_state(run, output))
        run.restore(content)
        run.origin = _origin(output / STARTED)
        report(f"resumed {output} at step {run.step}")
        if group.from_first(lambda: _has_other_data(run, folders, output)):
            report(f"its data are not those of its {SPLIT} any more; from here on it draws from what is there now")
        sampler = content.get("sampler", {})
        if sampler.get("drawing") != DRAWING:
            report(
                "its batches were drawn by another version of roadedge; from here on they are drawn as this one does"
            )
        elif sampler["processes"] != group.count:
            report(
                f"it was saved by {sampler['processes']} processes, these are {group.count}: the batches stay the "
                "same, the weights are equal up to rounding and not to the bit"
            )
        return
    group.from_first(lambda: _start_folder(run, folders, output, init, report, group))
    for module in (run.network, run.average):
        group.equalise(module)


def _read_state(run: Run, output: Path) -> dict[str, Any]:
    state = output / "state.pt"
    if not state.exists():
        raise UsageError(f"there is no run to resume in {output}: {state.name} is missing; leave --resume out")
    content = read_archive(state)
    if recipe_of_text(content["recipe"]) != run.recipe:
        raise SpecMismatchError(f"{output} was trained by another recipe than this one; resume it with its recipe.toml")
    return content


def _has_other_data(run: Run, folders: list[Path], output: Path) -> bool:
    """Whether tiles came, went or changed sides since a run began; of older runs nobody knows."""
    path = output / SPLIT
    return path.exists() and path.read_text(encoding="utf-8") != split_table(run.recipe, folders)


def _start_folder(
    run: Run, folders: list[Path], output: Path, init: Path | None, report: Report, group: Processes
) -> None:
    if output.is_dir() and any(output.iterdir()):
        raise UsageError(f"{output} is not empty; choose another -o/--output, --resume it, or pass --overwrite")
    write_text(output / "recipe.toml", to_toml(run.recipe))
    write_json(output / "data.json", {"folders": [str(path) for path in folders]})
    if folders:
        write_text(output / SPLIT, split_table(run.recipe, folders))
    write_json(output / "env.json", {**environment(), "training": group.facts()})
    if run.start is not None:
        write_bytes(output / "start.pt", run.start.read_bytes())
        report(f"fine-tuning {run.start}, quantized")
    if init is not None:
        loaded = run.start_from(init)
        write_json(output / STARTED, {**(run.origin or {}), **loaded.to_dict()})
        report("\n".join([f"started from {init}: {loaded.unmatched} weights did not match", *loaded.lines()]))


def _origin(path: Path) -> dict[str, str] | None:
    """What a run that goes on was started from."""
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return {key: str(content[key]) for key in ("file", "sha256", "called")}


def save_state(run: Run, output: Path, processes: int = 1) -> None:
    """Write what `--resume` reads, whole or not at all."""
    write_archive(output / "state.pt", run.state(processes))


def provenance(run: Run, folders: list[Path], scores: dict[str, float]) -> dict[str, Any]:
    """Where weights come from, as JSON values."""
    return {
        "recipe": to_toml(run.recipe),
        **({} if run.origin is None else {"started_from": run.origin}),
        "data": [folder.name for folder in folders] or ["built-in city"],
        "steps": run.step,
        "seconds": round(run.seconds, 1),
        "chosen_by": {key: round(value, 6) for key, value in scores.items()},
        "semi_synthetic": run.network.spec.semi_synthetic,
        "environment": environment(),
    }
