# ruff: noqa: D102 (what each method does stands in DeviceMemory)
"""Device memory by cuda-python, which works in the primary context by itself."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.runners.device_memory import NON_BLOCKING, DeviceMemory, cuda_fault


class CudaPython(DeviceMemory):
    """The CUDA runtime through cuda-python. A status other than 0 of any call is one sentence."""

    name = "cuda-python"
    captures = True

    def __init__(self) -> None:
        self._cuda = _cuda_runtime()
        self._call("choosing the GPU", self._cuda.cudaSetDevice, 0)
        self._pinned: dict[int, Any] = {}  # address → what numpy's view rests on

    def _call(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """A CUDA function's result without its status, which must be 0."""
        try:
            status, *rest = function(*arguments)
        except RuntimeError as error:  # a library of CUDA that cannot be opened
            raise cuda_fault(what, str(error)) from error
        if int(status) != 0:
            raise cuda_fault(what, self._reason(status))
        return rest[0] if rest else None

    def _reason(self, status: Any) -> str:
        _, text = self._cuda.cudaGetErrorString(status)
        return str(text.decode() if isinstance(text, bytes) else text)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """The device is chosen in each thread; nothing is to be undone."""
        self._call("choosing the GPU", self._cuda.cudaSetDevice, 0)
        yield

    def allocate(self, count: int) -> int:
        return int(self._call(f"allocating {count} bytes on the GPU", self._cuda.cudaMalloc, count))

    def free(self, address: int) -> None:
        self._call("freeing memory of the GPU", self._cuda.cudaFree, address)

    def pinned(self, count: int) -> NDArray[np.uint8]:
        address = int(self._call(f"page-locking {count} bytes", self._cuda.cudaMallocHost, count))
        held = (ctypes.c_uint8 * count).from_address(address)
        self._pinned[address] = held
        return np.ctypeslib.as_array(held)

    def unpin(self, plane: NDArray[np.uint8]) -> None:
        address = plane.ctypes.data
        del self._pinned[address]
        self._call("freeing page-locked memory", self._cuda.cudaFreeHost, address)

    def stream(self) -> Any:
        return self._call("making a stream", self._cuda.cudaStreamCreateWithFlags, NON_BLOCKING)

    def handle(self, stream: Any) -> int:
        return int(stream)

    def drop_stream(self, stream: Any) -> None:
        self._call("giving a stream back", self._cuda.cudaStreamDestroy, stream)

    def synchronize(self, stream: Any) -> None:
        self._call("waiting for the GPU", self._cuda.cudaStreamSynchronize, stream)

    def event(self) -> Any:
        return self._call("making an event", self._cuda.cudaEventCreate)

    def drop_event(self, event: Any) -> None:
        self._call("giving an event back", self._cuda.cudaEventDestroy, event)

    def record(self, event: Any, stream: Any) -> None:
        self._call("recording an event", self._cuda.cudaEventRecord, event, stream)

    def wait(self, event: Any) -> None:
        self._call("waiting for the GPU", self._cuda.cudaEventSynchronize, event)

    def elapsed_ms(self, start: Any, end: Any) -> float:
        return float(self._call("reading events", self._cuda.cudaEventElapsedTime, start, end))

    def to_device(self, address: int, plane: NDArray[Any], stream: Any) -> None:
        self._copy(address, plane.ctypes.data, plane.nbytes, "cudaMemcpyHostToDevice", stream)

    def to_host(self, plane: NDArray[Any], address: int, stream: Any) -> None:
        self._copy(plane.ctypes.data, address, plane.nbytes, "cudaMemcpyDeviceToHost", stream)

    def _copy(self, to: int, source: int, count: int, kind: str, stream: Any) -> None:
        way = getattr(self._cuda.cudaMemcpyKind, kind)
        self._call(f"copying {count} bytes", self._cuda.cudaMemcpyAsync, to, source, count, way, stream)

    def begin_capture(self, stream: Any) -> None:
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal  # other threads may go on allocating
        self._call("beginning a CUDA graph", self._cuda.cudaStreamBeginCapture, stream, mode)

    def end_capture(self, stream: Any) -> Any:
        drawn = self._call("ending a CUDA graph", self._cuda.cudaStreamEndCapture, stream)
        try:
            return self._call("making a CUDA graph ready", self._cuda.cudaGraphInstantiate, drawn, 0)
        finally:
            self._call("giving a drawn graph back", self._cuda.cudaGraphDestroy, drawn)

    def launch(self, graph: Any, stream: Any) -> None:
        self._call("launching a CUDA graph", self._cuda.cudaGraphLaunch, graph, stream)

    def drop_graph(self, graph: Any) -> None:
        self._call("giving a CUDA graph back", self._cuda.cudaGraphExecDestroy, graph)

    def close(self) -> None:
        self._pinned.clear()


def _cuda_runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError:
        from cuda import cudart as runtime  # as cuda-python called it before 12.8
    return runtime
