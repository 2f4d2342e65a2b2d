"""What two processes do together for `test_processes.py`, started by torchrun. Not a test itself.

torchrun -m tests.training.pair WORK DATA writes WORK/said-RANK.json: by trial what came of it on that process. A
network is small here and a start of torch is not, so one pair goes through all trials; the last one kills a process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from roadedge import cli
from roadedge.data.road_labels import Wanted
from roadedge.errors import DataError, OutputError, RoadEdgeError
from roadedge.models import create_model
from roadedge.models.blocks import RoadNet
from roadedge.spec import ModelSpec
from roadedge.training import loop
from roadedge.training.batches import Batch, Pool, make_batch, prefetched, share_of, training_pools
from roadedge.training.cross_validation import cross_validate
from roadedge.training.losses import class_loss, road_loss, soft_iou_loss
from roadedge.training.plateau import PlateauSpec
from roadedge.training.processes import Processes, digest, joined
from roadedge.training.qat import distance
from roadedge.training.recipe import LossSpec, QatSpec, Recipe, override, to_toml
from roadedge.training.run import Run
from roadedge.training.shared_norms import SharedBatchNorm
from roadedge.training.step import Objective, Trainer
from roadedge.training.tasks import has_untrained, labels_wanted

EQUAL = Recipe(  # with batch-norms and a Dice term, which are not the mean of what they are of two halves
    name="equal", model="roadedge-n", steps=3, batch=4, crop=64, optimiser="sgd", lr=0.01, precision="fp32",
    warmup_steps=0, ema=0.5, clip=0.0, hold_out={"tiny": 1}, evaluate_every=2, save_every=2, panels=0,
)  # fmt: skip
PARTS = override(EQUAL, name="parts", steps=2, accumulate=2, loss=LossSpec("soft-iou"), clip=0.1)
ONE = override(EQUAL, steps=1)
EARLY = override(  # which cuts its rate after one evaluation and ends after two that bring nothing better
    EQUAL, name="early", steps=9, schedule="constant", evaluate_every=1,
    plateau=PlateauSpec(cut_after=1, factor=0.5, stop_after=2),
)  # fmt: skip
TUNED = override(EQUAL, name="tuned", steps=1, lr=1e-3, qat=QatSpec(on=True, observe=2, method="max"))
FOLDS = override(EQUAL, name="folds", steps=1, folds=2, hold_out={})
RANK = int(os.environ.get("RANK", 0))
KNOWN: dict[str, Wanted | bool] = {}  # of `once`


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

    def watched(self) -> contextlib.ExitStack:
        """Within it the weights of this process are noted at each validation."""
        choose = loop.choose

        def watching(run: Run, *arguments: Any) -> dict[str, float]:
            self.digests.append(digest(run.network) + digest(run.average))
            return choose(run, *arguments)

        stack = quickly()
        stack.enter_context(mock.patch.object(loop, "choose", watching))
        return stack

    def write(self) -> None:
        """What was said so far, for the test to read."""
        (self.work / f"said-{RANK}.json").write_text(json.dumps(self.said))


def quickly() -> contextlib.ExitStack:
    """Within it what is slow and tested elsewhere is done once, and no curves are drawn."""
    stack = contextlib.ExitStack()
    for patch in (
        mock.patch.object(loop, "labels_wanted", once(labels_wanted)),
        mock.patch("roadedge.training.step.has_untrained", once(has_untrained)),
        mock.patch.object(loop, "draw_curves"),
    ):
        stack.enter_context(patch)
    return stack


def once(look: Callable[[RoadNet, Recipe], Wanted | bool]) -> Callable[[RoadNet, Recipe], Wanted | bool]:
    """What follows a network through torch's slow meta device, once for networks and recipes that are alike."""

    def looked(network: RoadNet, recipe: Recipe) -> Wanted | bool:
        shapes = [(name, p.shape) for name, p in network.named_parameters()]
        weights = dataclasses.replace(recipe.loss, road=EQUAL.loss.road)  # the kind of loss reaches the same weights
        key = f"{look.__name__} {shapes} {weights} {recipe.qat} {recipe.crop}"
        if key not in KNOWN:
            KNOWN[key] = look(network, recipe)
        return KNOWN[key]

    return looked


def main(work: Path, data: Path) -> None:
    """All trials."""
    torch.set_num_threads(1)
    sys.modules["torch.utils.tensorboard"] = None  # type: ignore[assignment]  # which is slow to load, as if absent
    trials = Trials(work, data)
    trials.said["process"] = {"id": os.getpid()}
    with trials.watched():
        with joined("cpu") as group:
            port = group.from_first(free_port)
            trainings(trials)
            failures(trials)
            parts(trials, group)
        trials.write()
        trials.said["killed"] = {"code": is_killed(trials, port)}
    trials.write()


def trainings(trials: Trials) -> None:
    """What ends well, and what is interrupted and gone on with."""
    note, run, work = trials.note, trials.run, trials.work
    note("equal", lambda: run(EQUAL))
    note("parts", lambda: run(PARTS))
    with mock.patch.object(loop, "global_iou", return_value=0.5):
        note("early", lambda: run(EARLY))
    note("tuned", lambda: run(TUNED, init=work / "equal" / "last.pt"))
    (work / "folds").mkdir(exist_ok=True)
    note("folds", lambda: cross_validate(FOLDS, [trials.data], work / "folds", report=trials.lines.append)["mean"])

    def press(step: int, steps: int, loss: float) -> None:
        if step == 1 and RANK == 1:
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
            batch.feeds["image"] = np.full(batch.feeds["image"].shape, np.nan, np.float32)
            yield step, batch

    with only_on(1, mock.patch.object(Pool, "__getitem__", unreadable)):
        note("unreadable", lambda: run(EQUAL, "unreadable"))
    with only_on(0, mock.patch.object(loop, "save_state", full)):
        note("full", lambda: run(ONE, "full"))
    with only_on(1, mock.patch.object(loop, "prefetched", poisoned)):
        note("poisoned", lambda: run(ONE, "poisoned"))
    note("odd", lambda: run(override(EQUAL, batch=3), "odd"))
    note("unlike", lambda: run(override(EQUAL, seed=RANK), "unlike"))
    note("taken", lambda: run(EQUAL, "equal"))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_killed(trials: Trials, port: int) -> int:
    """One process is killed within a step of the command's own training; what the command gives on the other one."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "False"}
    forward, calls = Objective.forward, list[float]()

    def dying(self: Objective, *arguments: Any) -> Tensor:
        loss = forward(self, *arguments)
        calls.append(loss.item())
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss

    recipe = trials.work / f"endless-{RANK}.toml"
    recipe.write_text(to_toml(override(EQUAL, steps=100_000, save_every=1, evaluate_every=100_000)))
    command = ["train", str(trials.data), "--recipe", str(recipe), "-o", str(trials.work / "killed")]
    if RANK == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which torchrun sends as soon as a process is gone
    with only_on(1, mock.patch.object(Objective, "forward", dying)):
        return cli.main([*command, "--threads", "1", "--quiet"])


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
    for step in range(2):
        samples = share_of(EQUAL, group.rank, group.count)
        trainer.step(make_batch(EQUAL, ModelSpec("roadedge-n"), pools, step, samples), step, trials.work)
    group.check_equal_weights(run.network, 2)
    moved = {name for name, value in network.named_parameters() if not torch.equal(before[name], value)}
    return [not any(name.startswith("extra") for name in moved), len(moved) == len(before) - 2]


def only_on(rank: int, patch: Any) -> Any:
    """A patch on one of the two processes; on the other nothing."""
    return patch if rank == RANK else mock.patch.dict({})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
