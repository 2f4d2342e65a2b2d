"""What two processes do together for `test_processes.py`, in torchrun's environment. Not a test itself.

python -m tests.training.pair WORK DATA writes WORK/said-RANK.json: by trial what came of it on that process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from roadedge.errors import DataError, OutputError, RoadEdgeError
from roadedge.models import create_model
from roadedge.spec import ModelSpec
from roadedge.training import loop
from roadedge.training.batches import Batch, Pool, make_batch, prefetched, share_of, training_pools
from roadedge.training.cross_validation import cross_validate
from roadedge.training.losses import class_loss, road_loss, soft_iou_loss
from roadedge.training.processes import Processes, digest, joined
from roadedge.training.qat import distance
from roadedge.training.recipe import LossSpec, QatSpec, Recipe, override
from roadedge.training.run import Run
from roadedge.training.shared_norms import SharedBatchNorm
from roadedge.training.step import Objective, Trainer

EQUAL = Recipe(  # with batch-norms and a Dice term, which are not the mean of what they are of two halves
    name="equal", model="roadedge-n", steps=4, batch=4, crop=64, optimiser="sgd", lr=0.01, precision="fp32",
    warmup_steps=0, ema=0.5, clip=0.0, hold_out={"tiny": 1}, evaluate_every=2, save_every=2, panels=0,
)  # fmt: skip
PARTS = override(EQUAL, name="parts", steps=2, accumulate=2)
SOFT = override(EQUAL, name="soft", steps=2, loss=LossSpec("soft-iou"), clip=0.1)
TUNED = override(EQUAL, name="tuned", steps=2, lr=1e-3, qat=QatSpec(on=True, observe=2, method="max"))
FOLDS = override(EQUAL, name="folds", steps=1, folds=2, hold_out={})
RANK = int(os.environ.get("RANK", 0))


class Trials:
    """Runs one trial after the other and notes what each ended with."""

    def __init__(self, work: Path, data: Path) -> None:
        self.work, self.data = work, data
        self.said: dict[str, dict[str, Any]] = {}
        self.digests: list[str] = []
        self.lines: list[str] = []

    def run(self, recipe: Recipe, name: str = "", **options: Any) -> float | None:
        """A training in the folder of its name."""
        self.lines.clear()
        folder = self.work / (name or recipe.name)
        return loop.train(recipe, [self.data], folder, report=self.lines.append, **options).best_g_iou

    def note(self, name: str, act: Callable[[], Any]) -> None:
        """What came of one trial."""
        self.digests.clear()
        try:
            found = {"result": act()}
        except (Exception, KeyboardInterrupt) as error:
            code = error.exit_code if isinstance(error, RoadEdgeError) else None
            found = {"error": type(error).__name__, "text": str(error), "code": code}
        self.said[name] = {**found, "digests": list(self.digests), "lines": list(self.lines)}

    def watched(self) -> Any:
        """Within it the weights of this process are noted at each validation."""
        choose = loop.choose

        def watching(run: Run, *arguments: Any) -> dict[str, float]:
            self.digests.append(digest(run.network) + digest(run.average))
            return choose(run, *arguments)

        return mock.patch.object(loop, "choose", watching)


def main(work: Path, data: Path) -> None:
    """All trials."""
    torch.set_num_threads(1)
    trials = Trials(work, data)
    try:
        with joined("cpu") as group, trials.watched():
            trainings(trials)
            failures(trials)
            parts(trials, group)
            ends_alone(trials)
    except (RoadEdgeError, MemoryError) as error:
        trials.said["lonely end"] = {"error": type(error).__name__, "text": str(error)}
    (work / f"said-{RANK}.json").write_text(json.dumps(trials.said))


def trainings(trials: Trials) -> None:
    """What ends well, and what is interrupted and gone on with."""
    note, run, work = trials.note, trials.run, trials.work
    note("equal", lambda: run(EQUAL))
    note("parts", lambda: run(PARTS))
    note("soft", lambda: run(SOFT))
    note("tuned", lambda: run(TUNED, init=work / "equal" / "last.pt"))
    note("folds", lambda: cross_validate(FOLDS, [trials.data], work / "folds", report=trials.lines.append)["mean"])

    def press(step: int, steps: int, loss: float) -> None:
        if step == 3 and RANK == 1:
            signal.raise_signal(signal.SIGINT)

    note("stopped", lambda: run(EQUAL, "stopped", on_step=press))
    if RANK == 0:
        shutil.copytree(work / "stopped", work / "left")  # for one process to go on with
    note("resumed", lambda: run(EQUAL, "stopped", resume=True))


def failures(trials: Trials) -> None:
    """What fails on one process must end on both, by the same error."""
    note, run = trials.note, trials.run

    def unreadable(self: Pool, index: int) -> Any:
        raise DataError("that tile is broken")

    def full(*arguments: Any) -> None:
        raise OutputError("the disk is full")

    def poisoned(*arguments: Any) -> Iterator[tuple[int, Batch]]:
        for step, batch in prefetched(*arguments):
            if step == 1:
                batch.feeds["image"] = np.full(batch.feeds["image"].shape, np.nan, np.float32)
            yield step, batch

    with only_on(1, mock.patch.object(Pool, "__getitem__", unreadable)):
        note("unreadable", lambda: run(EQUAL, "unreadable"))
    with only_on(0, mock.patch.object(loop, "save_state", full)):
        note("full", lambda: run(EQUAL, "full"))
    with only_on(1, mock.patch.object(loop, "prefetched", poisoned)):
        note("poisoned", lambda: run(EQUAL, "poisoned"))
    note("odd", lambda: run(override(EQUAL, batch=3), "odd"))
    note("unlike", lambda: run(override(EQUAL, seed=RANK), "unlike"))
    note("taken", lambda: run(EQUAL, "equal"))


def ends_alone(trials: Trials) -> None:
    """One process fails where nothing is agreed on, in the middle of a step; the other one must not wait for it."""
    forward = Objective.forward

    def failing(self: Objective, *arguments: Any) -> Tensor:
        loss = forward(self, *arguments)
        calls.append(loss.item())
        if len(calls) == 2:
            raise MemoryError("out of memory")
        return loss

    calls: list[float] = []
    with only_on(1, mock.patch.object(Objective, "forward", failing)):
        trials.run(EQUAL, "lonely")


def parts(trials: Trials, group: Processes) -> None:
    """Losses, norms and a network of which a part is not trained."""
    trials.note("losses", lambda: losses(group))
    trials.note("norms", lambda: {kind: norms(group, kind) for kind in ("float32", "bfloat16")})
    trials.note("untrained", lambda: untrained(trials, group))

    def stray() -> None:
        module = nn.Linear(2, 2)
        group.equalise(module)
        group.check_equal_weights(module, 1)
        with torch.no_grad():
            module.bias.add_(RANK)
        group.check_equal_weights(module, 2)

    trials.note("strayed", stray)


def losses(group: Processes) -> dict[str, float]:
    """How far each loss of two halves, and its gradient, are from those of the whole; relative, the larger one."""
    torch.manual_seed(0)
    target = torch.tensor([0, 128, 255, 255], dtype=torch.uint8)[torch.randint(0, 4, (4, 8, 8))]
    target[0] = 128  # the first half knows less than the second
    classes = torch.where(torch.rand(4, 8, 8) < 0.3, 255, torch.randint(0, 5, (4, 8, 8))).to(torch.uint8)
    one, several, teacher = torch.randn(4, 1, 8, 8), torch.randn(4, 5, 8, 8), torch.randn(4, 1, 8, 8)
    own = slice(2 * group.rank, 2 * group.rank + 2)

    def apart(values: Tensor, loss: Callable[[Tensor, slice, Any], Tensor]) -> float:
        whole, half = values.clone().requires_grad_(), values[own].clone().requires_grad_()
        expected, found = loss(whole, slice(4), lambda sums: sums), loss(half, own, group.total)
        expected.backward()  # type: ignore[no-untyped-call]
        found.backward()  # type: ignore[no-untyped-call]
        assert whole.grad is not None
        assert half.grad is not None
        gradient = half.grad / group.count  # as the mean over the processes has it
        difference = (gradient - whole.grad[own]).abs().max() / whole.grad.abs().max()
        return max(difference.item(), abs(found.item() / expected.item() - 1))

    return {
        "road": apart(one, lambda v, s, across: road_loss(v, target[s], 0.7, across)),
        "soft-iou": apart(one, lambda v, s, across: soft_iou_loss(v, target[s], across)),
        "classes": apart(several, lambda v, s, across: class_loss(v, classes[s], True, across)),
        "distance": apart(one, lambda v, s, across: distance(v, teacher[s], target[s], across)),
    }


def norms(group: Processes, kind: str) -> dict[str, float]:
    """How far a shared batch-norm of two halves is from torch's own of the whole: output, gradients, statistics."""
    torch.manual_seed(1)
    x = (3 * torch.randn(4, 3, 5, 6) + 20 * torch.arange(3).view(3, 1, 1)).to(getattr(torch, kind))
    weighing = torch.randn(4, 3, 5, 6)
    plain, own = nn.BatchNorm2d(3), slice(2 * group.rank, 2 * group.rank + 2)
    nn.init.normal_(plain.weight)
    shared = SharedBatchNorm.of(nn.BatchNorm2d(3))
    shared.load_state_dict(plain.state_dict())
    whole, half = x.clone().requires_grad_(), x[own].clone().requires_grad_()
    expected, found = plain(whole), shared(half)
    (expected.float() * weighing).sum().backward()
    (found.float() * weighing[own]).sum().backward()
    gradients = [p.grad for p in shared.parameters() if p.grad is not None]
    weights = [torch.stack(group.gathered(gradient)).sum(0) for gradient in gradients]
    assert whole.grad is not None
    pairs = {
        "output": (found, expected[own]),
        "input's gradient": (half.grad, whole.grad[own]),
        "weight's gradient": (weights[0], plain.weight.grad),
        "bias's gradient": (weights[1], plain.bias.grad),
        "running mean": (shared.running_mean, plain.running_mean),
        "running variance": (shared.running_var, plain.running_var),
    }
    return {
        name: ((a.float() - b.float()).abs().max() / b.float().abs().max()).item() for name, (a, b) in pairs.items()
    }


def untrained(trials: Trials, group: Processes) -> list[bool]:
    """Whether weights that no loss reaches stay as they are, and the others move, on each process alike."""
    network = create_model("roadedge-n")
    network.extra = nn.Conv2d(1, 1, 1)
    run = Run(EQUAL, network.spec, network)
    before = {name: value.clone() for name, value in network.named_parameters()}
    trainer = Trainer(run, "fp32", group)
    pools, _ = training_pools(EQUAL, [trials.data])
    for step in range(3):
        samples = share_of(EQUAL, group.rank, group.count)
        trainer.step(make_batch(EQUAL, ModelSpec("roadedge-n"), pools, step, samples), step, trials.work)
    group.check_equal_weights(run.network, 3)
    moved = {name for name, value in network.named_parameters() if not torch.equal(before[name], value)}
    return [not any(name.startswith("extra") for name in moved), len(moved) == len(before) - 2]


def only_on(rank: int, patch: Any) -> Any:
    """A patch on one of the two processes; on the other nothing."""
    return patch if rank == RANK else mock.patch.dict({})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
