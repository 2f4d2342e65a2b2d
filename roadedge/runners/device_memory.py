"""CUDA memory, streams and events behind one small interface: by cuda-python or by pycuda, whichever the machine has.

Both work in the GPU's primary context, the one that torch and the CUDA runtime use, so that they live side by side.
Addresses are integers; streams, events and graphs are what the library gives, and nobody else looks into them.
"""

from __future__ import annotations

import abc
import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import EnvironmentFault, UsageError

NON_BLOCKING = 1  # cudaStreamNonBlocking: does not wait for the default stream
ADVICE = {  # by a word of CUDA's own sentence
    "out of memory": "the GPU's memory is full; close other programs, or take a smaller batch or size",
    "insufficient": "the NVIDIA driver is absent or too old for this CUDA; install a newer driver",
    "no CUDA-capable device": "no NVIDIA GPU can be used; look at CUDA_VISIBLE_DEVICES",
}


class DeviceMemory(abc.ABC):
    """What a runner needs of CUDA. All calls but `active` itself are made inside `with memory.active()`.

    Every method raises EnvironmentFault, one sentence, where CUDA reports a failure.
    """

    name: str
    captures = False  # whether work can be captured into a CUDA graph

    @abc.abstractmethod
    def active(self) -> contextlib.AbstractContextManager[None]:
        """The primary context made current in this thread for the length of the block."""

    @abc.abstractmethod
    def allocate(self, count: int) -> int:
        """Address of `count` new bytes on the device."""

    @abc.abstractmethod
    def free(self, address: int) -> None:
        """Give device bytes back."""

    @abc.abstractmethod
    def pinned(self, count: int) -> NDArray[np.uint8]:
        """`count` page-locked bytes of the host."""

    @abc.abstractmethod
    def unpin(self, plane: NDArray[np.uint8]) -> None:
        """Give page-locked bytes back; the array and all views of it are dead from here on."""

    @abc.abstractmethod
    def stream(self) -> Any:
        """A new stream that does not wait for the default one."""

    @abc.abstractmethod
    def handle(self, stream: Any) -> int:
        """A stream as TensorRT takes it."""

    @abc.abstractmethod
    def drop_stream(self, stream: Any) -> None:
        """Give a stream back."""

    @abc.abstractmethod
    def synchronize(self, stream: Any) -> None:
        """Wait until all work of a stream is done."""

    @abc.abstractmethod
    def event(self) -> Any:
        """A new event that records time."""

    @abc.abstractmethod
    def drop_event(self, event: Any) -> None:
        """Give an event back."""

    @abc.abstractmethod
    def record(self, event: Any, stream: Any) -> None:
        """Mark this point of a stream."""

    @abc.abstractmethod
    def wait(self, event: Any) -> None:
        """Wait until an event's point of its stream is reached."""

    @abc.abstractmethod
    def elapsed_ms(self, start: Any, end: Any) -> float:
        """Milliseconds of the device between two events that were reached."""

    @abc.abstractmethod
    def to_device(self, address: int, plane: NDArray[Any], stream: Any) -> None:
        """Queue a copy of page-locked values to the device."""

    @abc.abstractmethod
    def to_host(self, plane: NDArray[Any], address: int, stream: Any) -> None:
        """Queue a copy of device bytes into page-locked ones."""

    def begin_capture(self, stream: Any) -> None:
        """From here on a stream's work is written down instead of done."""
        raise self._no_graphs()

    def end_capture(self, stream: Any) -> Any:
        """What was written down since `begin_capture`, as a graph that can be launched."""
        raise self._no_graphs()

    def launch(self, graph: Any, stream: Any) -> None:
        """Queue a graph."""
        raise self._no_graphs()

    def drop_graph(self, graph: Any) -> None:
        """Give a graph back."""
        raise self._no_graphs()

    def _no_graphs(self) -> UsageError:
        return UsageError(f"{self.name} has no CUDA graphs; pip install cuda-python, or leave the graph out")

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the primary context."""


def cuda_fault(what: str, reason: str) -> EnvironmentFault:
    """A failure of CUDA as one sentence that says what was done, what CUDA said and what to do."""
    advice = next((text for word, text in ADVICE.items() if word in reason), "start the program again")
    return EnvironmentFault(f"CUDA failed at {what}: {' '.join(reason.split())}; {advice}")


def open_memory(cuda: str | None = None) -> DeviceMemory:
    """Memory of the first GPU: cuda-python where it is installed (it knows CUDA graphs), else pycuda.

    Args:
        cuda: version that the driver serves, for the advice on what to install.

    Raises:
        EnvironmentFault: neither is installed, or CUDA does not start.
    """
    from roadedge.runners.cuda_python_memory import CudaPython
    from roadedge.runners.pycuda_memory import PyCuda

    reasons = []
    kinds: tuple[type[DeviceMemory], ...] = (CudaPython, PyCuda)
    for kind in kinds:
        try:
            return kind()
        except ImportError as error:
            reasons.append(f"{kind.name}: {error}")
    wheel = f"cuda-python=={cuda.split('.')[0]}.*" if cuda else "cuda-python"
    raise EnvironmentFault(
        f"running an engine needs cuda-python or pycuda, and neither can be loaded ({'; '.join(reasons)}); "
        f"pip install '{wheel}', or pip install pycuda where CUDA's compiler is installed"
    )
