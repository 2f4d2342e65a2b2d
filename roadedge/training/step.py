"""One update of the weights: the loss of a batch, its gradient over all processes, the optimiser, the average."""

from __future__ import annotations

import inspect
import math
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from roadedge.atomic import replacing
from roadedge.errors import NonFiniteError
from roadedge.training.batches import Batch
from roadedge.training.losses import total_loss
from roadedge.training.processes import Processes
from roadedge.training.qat import distance
from roadedge.training.rates import rate
from roadedge.training.run import Run
from roadedge.training.shared_errors import everywhere
from roadedge.training.shared_norms import share_norms
from roadedge.training.tasks import has_untrained


class Objective(nn.Module):
    """A network with its loss; what `DistributedDataParallel` wraps, so that it sees which outputs are trained."""

    def __init__(self, run: Run, precision: str, group: Processes) -> None:
        super().__init__()
        self.network = run.network
        self.recipe, self.group = run.recipe, group
        self.beside = (run.teacher,)  # no submodule: nobody trains it
        self.low = precision == "bf16"

    def forward(self, feeds: dict[str, Tensor], target: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """The loss over the samples of all processes.

        Args:
            feeds: of the network, the samples of this process.
            target: (N, H, W) uint8.
            labels: classes by `label_key`.
        """
        with self._precision():
            outputs = self.network(feeds)
        loss: Tensor = total_loss(outputs, target, labels, self.recipe, self.group.total) + self.network.penalty()
        (teacher,) = self.beside
        if teacher is not None:
            with self._precision(), torch.no_grad():
                said = teacher(feeds)["logits"]
            loss = loss + self.recipe.qat.distil * distance(outputs["logits"], said, target, self.group.total)
        return loss

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.group.device.type, torch.bfloat16) if self.low else nullcontext()


class Trainer:
    """Makes a run's updates, in a group of processes or alone."""

    def __init__(self, run: Run, precision: str, group: Processes) -> None:
        untrained = group.count > 1 and has_untrained(run.network, run.recipe)
        share_norms(run.network, group)
        self.run, self.group = run, group
        self.objective: nn.Module = Objective(run, precision, group)
        if group.count > 1:
            self.objective = _parallel(self.objective, untrained, group)

    def step(self, batch: Batch, step: int, output: Path) -> tuple[float, float]:
        """One update by the samples of this process; returns the loss and the norm of its gradient, over all of them.

        Raises:
            NonFiniteError: either is NaN or infinite; the weights are untouched and the inputs saved.
        """
        run, recipe, network = self.run, self.run.recipe, self.run.network
        for setting in run.optimiser.param_groups:
            setting["lr"] = rate(recipe, step, run.plateau) * setting.get("pace", 1)
        network.train()
        # What drops out depends on the step and the process alone, also after --resume.
        torch.manual_seed(seed_of(recipe.seed, step, self.group.rank))
        run.optimiser.zero_grad(set_to_none=True)
        loss = self._gradient(batch)
        norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.clip or math.inf)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):  # both are those of the whole batch, on each process
            raise self._not_finite(batch, step, loss.item(), norm.item(), output)
        run.optimiser.step()
        update_average(run.average, network, min(recipe.ema, (step + 1) / (step + 10)))
        return loss.item(), norm.item()

    def _gradient(self, batch: Batch) -> Tensor:
        """Backward through the batch in the recipe's parts; returns the mean of their losses."""
        parts, mean = self.run.recipe.accumulate, torch.zeros((), device=self.group.device)
        side = len(batch.target) // parts
        for part in range(parts):
            own = slice(part * side, (part + 1) * side)
            feeds, target, labels = (self._there(one, own) for one in (batch.feeds, batch.target, batch.labels))
            with self._reducing(part == parts - 1):
                loss = self.objective(feeds, target, labels) / parts
                loss.backward()
            mean += loss.detach()
        return mean

    def _there(self, arrays: Any, own: slice) -> Any:
        """Arrays, or a dict of them, as tensors on the device of this process."""
        if isinstance(arrays, dict):
            return {name: self._there(value, own) for name, value in arrays.items()}
        return torch.from_numpy(arrays[own]).to(self.group.device)

    def _reducing(self, last: bool) -> AbstractContextManager[Any]:
        """The gradient is summed over the processes after the last part only."""
        if isinstance(self.objective, DistributedDataParallel) and not last:
            return self.objective.no_sync()
        return nullcontext()

    def _not_finite(self, batch: Batch, step: int, loss: float, norm: float, output: Path) -> BaseException:
        """The error, after the inputs of all processes were saved by the first one."""
        kept = output / "nonfinite.npz"
        told = self.group.gathered((batch.feeds, batch.target))

        def save() -> None:
            feeds = {name: np.concatenate([one[name] for one, _ in told]) for name in batch.feeds}
            target = np.concatenate([one for _, one in told])
            with replacing(kept) as temporary:
                np.savez_compressed(temporary, allow_pickle=False, target=target, step=step, **feeds)

        self.group.from_first(save)
        return everywhere(
            NonFiniteError(
                f"the loss became {loss} (gradient norm {norm}) at step {step}; its inputs are in {kept}; "
                "lower the learning rate or look at that batch"
            )
        )


def _parallel(objective: nn.Module, untrained: bool, group: Processes) -> DistributedDataParallel:
    """All processes start from the same buffers and compute the same, so none are sent at each step."""
    # Of speed alone, and of every network: weights of 1 x 1 lie channels-last and not at once.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # before torch 2.13
    options: dict[str, Any] = {buffers: False, "find_unused_parameters": untrained}
    return DistributedDataParallel(objective, [group.device] if group.device.type == "cuda" else None, **options)


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


def effective_precision(asked: str, device: torch.device) -> str:
    """`bf16` or `fp32`; `auto` takes bf16 where the processor or GPU computes in it, else fp32."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if capable else "fp32"
