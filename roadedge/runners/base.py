"""The runner protocol, and what all runners do alike: check the feeds, cut batches, keep time."""

from __future__ import annotations

import abc
import dataclasses
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import BackendMismatchError, RoadEdgeError, SpecMismatchError
from roadedge.preprocess import Feeds
from roadedge.spec import ModelSpec

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class Requested:
    """What the user asked for, kept beside what runs. None stands for the default."""

    backend: str = "auto"
    precision: str | None = None
    threads: int | None = None


class Runner(Protocol):
    """A loaded network: feeds in, outputs out. Stream, benchmark, evaluation and parity know this and nothing more.

    `name` is the back-end, `version` its version, `device` the processor; `precision` is what the back-end really
    computes in, read back from it: fp32, bf16, fp16, int8 or a mixture such as `int8+fp32`; `graph_precision` is that
    of the file, `unknown` for a foreign one. `file` is where it was read from.
    `last_ms` holds the last call in milliseconds: `infer` by the host's clock, and beside it what a back-end times on
    its device.
    """

    spec: ModelSpec
    name: str
    version: str
    device: str
    precision: str
    graph_precision: str
    provenance: dict[str, Any]
    requested: Requested
    file: str
    last_ms: dict[str, float]

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        """{"probability": (N, H, W) uint8}, and {"logits": (N, 1, H, W) float32} where asked for."""
        ...

    def windows_at_once(self, windows: int) -> int:
        """How many of that many windows go through the back-end in one call."""
        ...

    def describe(self) -> dict[str, Any]:
        """What was asked and what runs, as JSON values."""
        ...

    def close(self) -> None:
        """Give memory and threads back; twice is no error."""
        ...

    def __enter__(self) -> Self:
        """The runner itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...


class CheckedRunner(abc.ABC):
    """A runner but for `_run`, one batch of checked feeds through the back-end, and `_release`."""

    spec: ModelSpec
    name: str
    version: str
    device: str = "CPU"
    precision: str
    graph_precision: str
    provenance: dict[str, Any]
    requested: Requested
    file: str = ""

    def __init__(self) -> None:
        self.last_ms: dict[str, float] = {}
        self._stages_ms: dict[str, float] = {}  # of the call at hand, added up by back-ends that time their device
        self._closed = False

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        """Feeds → outputs, for any count of windows: a graph of a fixed batch is run as often as it takes.

        Args:
            feeds: one array for each of `spec.inputs`, (N, H, W, 3 or 1) uint8.
            logits: also return the road logits.

        Returns:
            `probability` (N, H, W) uint8, 255 = certain; with `logits` also `logits` (N, 1, H, W) float32.

        Raises:
            SpecMismatchError: the feeds are not those of `spec`.
        """
        if self._closed:
            raise RoadEdgeError(f"the {self.name} runner of {self.spec.name} is closed; open it again")
        windows = check_feeds(feeds, self.spec)
        step = self._step(windows)
        spent_ms = 0.0
        self._stages_ms = {}
        parts: list[Feeds] = []
        for start in range(0, windows, step):
            batch = {name: _part(feeds[name], start, step) for name in self.spec.inputs}
            began = time.perf_counter_ns()
            parts.append(self._run(batch, logits))
            spent_ms += (time.perf_counter_ns() - began) / 1e6
        self.last_ms = {"infer": spent_ms, **self._stages_ms}
        if len(parts) == 1 and step == windows:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts])[:windows] for name in parts[0]}

    def windows_at_once(self, windows: int) -> int:
        """How many of that many windows go through the back-end in one call: those of a graph of a fixed batch."""
        return self._step(windows)

    def describe(self) -> dict[str, Any]:
        """What was asked and what runs, as JSON values."""
        return {
            "model": self.spec.name,
            "file": self.file,
            "backend": self.name,
            "version": self.version,
            "device": self.device,
            "precision": self.precision,
            "graph_precision": self.graph_precision,
            "requested": dataclasses.asdict(self.requested),
        }

    def close(self) -> None:
        """Give memory and threads back; twice is no error."""
        if not self._closed:
            self._closed = True
            self._release()

    def __enter__(self) -> Self:
        """The runner itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _step(self, windows: int) -> int:
        """How many of the windows go through the back-end at once."""
        return self.spec.batch or windows

    @abc.abstractmethod
    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        """One batch, already checked, contiguous."""

    @abc.abstractmethod
    def _release(self) -> None:
        """Drop what holds memory or threads."""


def check_feeds(feeds: Feeds, spec: ModelSpec) -> int:
    """Count of windows N; raises SpecMismatchError unless the feeds are what `preprocess` makes for `spec`."""
    if set(feeds) != set(spec.inputs):
        raise SpecMismatchError(
            f"{spec.name} is fed {list(spec.inputs)}, got {sorted(feeds)}; make the feeds with preprocess(sample, spec)"
        )
    first = feeds[spec.inputs[0]].shape[:3]
    for name in spec.inputs:
        plane = feeds[name]
        want = (*first, 3 if name == "image" else 1)
        if plane.dtype != np.uint8 or plane.shape != want or plane.ndim != 4 or 0 in want:
            raise SpecMismatchError(
                f"{spec.name} takes {name} as uint8 (N, H, W, {want[-1]}), all inputs of one N, H, W; "
                f"got {plane.dtype} {plane.shape}, expected {want}"
            )
    size = (int(first[1]), int(first[2]))
    if spec.size is not None and size != spec.size:
        raise SpecMismatchError(
            f"{spec.name} was exported for {spec.size} pixels (H, W), got {size}; export it with --size"
        )
    if any(side % spec.stride for side in size):
        raise SpecMismatchError(f"{spec.name} takes multiples of {spec.stride} pixels, got (H, W) = {size}")
    return int(first[0])


def precision_of(counts: Counter[str]) -> str:
    """Name of what the convolutions run in, most frequent first: `fp32`, or `int8+fp32` where they differ."""
    return "+".join(name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))) or "fp32"


def check_precision(asked: str | None, runs: str, backend: str, advice: str) -> None:
    """Raise BackendMismatchError where a precision was asked for and most convolutions run in another one."""
    if asked is not None and asked != runs.split()[0].split("+")[0]:  # `fp16 with 3 parts float32`
        raise BackendMismatchError(
            f"{backend} would compute in {runs} on this processor and {asked} was asked for; {advice}"
        )


def _part(plane: NDArray[np.uint8], start: int, step: int) -> NDArray[np.uint8]:
    """`step` windows from `start` on; the last one is repeated where they run out."""
    part = plane[start : start + step]
    if len(part) < step:
        part = np.concatenate([part, np.repeat(part[-1:], step - len(part), 0)])
    return np.ascontiguousarray(part)
