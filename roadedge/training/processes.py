"""The processes that train one network together, as torchrun starts them; a training of its own is a group of one.

All of them walk through the same code. Rank 0 alone writes and speaks (`from_first`), and an error on one is raised by
all (`agreed`). Where a process ends without that, the others lose their connection to it, and end too.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from roadedge.errors import EnvironmentFault, RoadEdgeError, SpecMismatchError, UsageError
from roadedge.training.launch import launched
from roadedge.training.shared_errors import attempt, everywhere, first_line, is_everywhere, is_loss, portable, restated

T = TypeVar("T")
DEVICES = ("auto", "cpu", "cuda")
CONNECTING = datetime.timedelta(minutes=10)  # for all to be there; also how far they may part within a step
TIMEOUT = datetime.timedelta(hours=2)  # of waiting for a process that lives; one that has ended is noticed at once


@dataclass(frozen=True, slots=True)
class Processes:
    """The group that this process is part of. Each method is called by all of its processes, in the same order."""

    device: torch.device
    rank: int = 0
    count: int = 1
    local_count: int = 1  # on this machine
    control: Any = None  # the group that values and errors go through, on the CPU

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, with the gradient of the sum of all their losses."""
        if self.count == 1:
            return values
        summed: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]
        return summed

    def gathered(self, value: T) -> list[T]:
        """What each process gave, by rank."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value, group=self.control)
        return found

    def any(self, flag: bool) -> bool:
        """Whether it is true of one of them."""
        if self.count == 1:
            return flag
        heard = torch.tensor(int(flag))
        dist.all_reduce(heard, dist.ReduceOp.MAX, group=self.control)
        return bool(heard)

    def agreed(self, work: Callable[[], T]) -> T:
        """Do `work`, which calls no other method of this class; where one process fails, all raise its error."""
        if self.count == 1:
            return work()
        found, failure = attempt(work)
        self._raise_any(failure)
        return found

    def from_first(self, work: Callable[[], T]) -> T:
        """What `work` gives on rank 0, which alone does it; all raise its error where it fails."""
        if self.count == 1:
            return work()
        found, failure = attempt(work) if self.first else (None, None)
        self._raise_any(failure)
        sent: list[Any] = [found]
        dist.broadcast_object_list(sent, src=0, group=self.control)
        result: T = sent[0]
        return result

    def _raise_any(self, own: BaseException | None) -> None:
        """Raise the failure of the lowest rank that has one, on all processes; nothing where none has."""
        if not self.any(own is not None):
            return
        told = self.gathered(None if own is None else portable(own))
        rank, error = next((rank, error) for rank, error in enumerate(told) if error is not None)
        if rank:
            raise everywhere(restated(error, f"process {rank}: {error}")) from own
        raise everywhere(own if self.first and own is not None else error)

    def equalise(self, module: nn.Module) -> None:
        """Give all processes the weights and buffers of rank 0."""
        if self.count > 1:
            for value in module.state_dict().values():
                dist.broadcast(value, src=0)

    def check_equal_weights(self, module: nn.Module, step: int) -> None:
        """Raise RoadEdgeError where the processes' weights are not equal to the bit, which must never be."""
        if self.count == 1:
            return
        digests = self.gathered(digest(module))
        strayed = [rank for rank, other in enumerate(digests) if other != digests[0]]
        if strayed:
            raise everywhere(
                RoadEdgeError(
                    f"after step {step} the weights of process {strayed[0]} are no longer those of process 0; are the "
                    "machines, versions and drivers of all processes the same? Go on from the last state with --resume"
                )
            )

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Raise SpecMismatchError where a process was given something else than rank 0."""
        told = self.gathered(dict(facts))
        for rank, other in enumerate(told):
            for name, value in told[0].items():
                if other[name] != value:
                    raise everywhere(
                        SpecMismatchError(
                            f"the {name} of process {rank} is {other[name]!r}, that of process 0 is {value!r}; start "
                            "all processes with the same command, on the same data, with the same versions"
                        )
                    )

    def facts(self) -> dict[str, Any]:
        """For the record of a run."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return {"processes": self.count, "device": name, "threads_per_process": torch.get_num_threads()}


class _Total(torch.autograd.Function):
    """Sum over the processes; backward sums their gradients, since each one's loss depends on all of them."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


_current: Processes | None = None  # torch has one group of a process, and so have we


@contextlib.contextmanager
def joined(device: str = "auto") -> Iterator[Processes]:
    """The group that torchrun's environment names, for as long as the block lasts; one that is open is used on.

    Args:
        device: auto is the GPU of LOCAL_RANK where torch sees one, else the CPU.

    Raises:
        UsageError: half of torchrun's environment.
        EnvironmentFault: no such device, fewer GPUs than processes, or another process ended within the block.
    """
    global _current
    if _current is not None:
        yield _current
        return
    count, local_rank = launched(), int(os.environ.get("LOCAL_RANK", 0))
    found = device_of(device, local_rank if count > 1 else 0)
    if count == 1:
        yield Processes(found)
        return
    _current = _opened(found, count)
    try:
        yield _current
    except RuntimeError as error:
        if not is_loss(error):
            raise
        what = "did not answer in time" if "imed out" in str(error) else "has ended, its own message says why"
        raise EnvironmentFault(
            f"another process of this training {what}; what was saved last can be gone on with by --resume"
        ) from error
    finally:
        _current = None
        with contextlib.suppress(RuntimeError):  # the others may be gone already
            dist.destroy_process_group()


def device_of(asked: str, local_rank: int) -> torch.device:
    """The device of a process; raises UsageError, EnvironmentFault."""
    if asked not in DEVICES:
        raise UsageError(f"--device must be one of {', '.join(DEVICES)}, got {asked!r}")
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise EnvironmentFault(
            f"--device cuda: this torch ({torch.__version__}) sees no GPU; see roadedge doctor, or take --device cpu"
        )
    there = torch.cuda.device_count()
    if local_rank >= there:
        raise EnvironmentFault(
            f"process {local_rank} of this machine has no GPU of its own, torch sees {there}; start at most as many "
            "processes by --nproc-per-node, or take --device cpu"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _opened(device: torch.device, count: int) -> Processes:
    if not (dist.is_available() and dist.is_gloo_available()):
        raise EnvironmentFault(f"this torch ({torch.__version__}) cannot connect processes: it has no gloo")
    kind, own = ("nccl", device) if device.type == "cuda" else ("gloo", None)
    try:
        dist.init_process_group(kind, timeout=CONNECTING, device_id=own)
        control = dist.new_group(backend="gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:  # a port that is taken or none, a host that is not there
        rank, host, port = (os.environ[name] for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"))
        raise EnvironmentFault(
            f"process {rank} of {count} found no way to the others by {host}:{port} ({first_line(error)}); is that "
            f"port free and open between the machines, and were all {count} processes started?"
        ) from error
    return Processes(device, dist.get_rank(), count, int(os.environ.get("LOCAL_WORLD_SIZE", count)), control)


@contextlib.contextmanager
def one_voice(group: Processes) -> Iterator[None]:
    """Within it what all processes raise is left to rank 0 to tell; the others end with the same exit code."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if group.first or not is_everywhere(error):
            raise
        raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)) from error


def digest(module: nn.Module) -> str:
    """SHA-256 of all weights and buffers."""
    found = hashlib.sha256()
    for value in module.state_dict().values():
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
