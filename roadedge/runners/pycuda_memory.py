# ruff: noqa: D102 (what each method does stands in DeviceMemory)
"""Device memory by pycuda: the primary context is retained and pushed around each call, never made anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.runners.device_memory import NON_BLOCKING, DeviceMemory, cuda_fault


class PyCuda(DeviceMemory):
    """CUDA's driver API through pycuda. Its objects give themselves back when the last reference goes."""

    name = "pycuda"

    def __init__(self) -> None:
        import pycuda.driver

        self._cuda = pycuda.driver
        self._context: Any = None
        with self._said("starting CUDA"):
            self._cuda.init()
            self._context = self._cuda.Device(0).retain_primary_context()
        self._allocated: dict[int, Any] = {}  # address → allocation

    @contextlib.contextmanager
    def _said(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._cuda.Error as error:
            raise cuda_fault(what, str(error)) from error

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Pushed and popped: the caller's own context, and that of each thread, stay as they were."""
        with self._said("entering the GPU's context"):
            self._context.push()
        try:
            yield
        finally:
            with self._said("leaving the GPU's context"):
                self._cuda.Context.pop()

    def allocate(self, count: int) -> int:
        with self._said(f"allocating {count} bytes on the GPU"):
            held = self._cuda.mem_alloc(count)
        self._allocated[int(held)] = held
        return int(held)

    def free(self, address: int) -> None:
        with self._said("freeing memory of the GPU"):
            self._allocated.pop(address).free()

    def pinned(self, count: int) -> NDArray[np.uint8]:
        with self._said(f"page-locking {count} bytes"):
            plane: NDArray[np.uint8] = self._cuda.pagelocked_empty(count, np.uint8)
        return plane

    def unpin(self, plane: NDArray[np.uint8]) -> None:
        with self._said("freeing page-locked memory"):
            plane.base.free()  # type: ignore[union-attr] # numpy does not know the allocation that it rests on

    def stream(self) -> Any:
        with self._said("making a stream"):
            return self._cuda.Stream(NON_BLOCKING)

    def handle(self, stream: Any) -> int:
        return int(stream.handle)

    def drop_stream(self, stream: Any) -> None:
        """Nothing to do: it goes with its last reference."""

    def synchronize(self, stream: Any) -> None:
        with self._said("waiting for the GPU"):
            stream.synchronize()

    def event(self) -> Any:
        with self._said("making an event"):
            return self._cuda.Event()

    def drop_event(self, event: Any) -> None:
        """Nothing to do: it goes with its last reference."""

    def record(self, event: Any, stream: Any) -> None:
        with self._said("recording an event"):
            event.record(stream)

    def wait(self, event: Any) -> None:
        with self._said("waiting for the GPU"):
            event.synchronize()

    def elapsed_ms(self, start: Any, end: Any) -> float:
        with self._said("reading events"):
            return float(start.time_till(end))

    def to_device(self, address: int, plane: NDArray[Any], stream: Any) -> None:
        with self._said(f"copying {plane.nbytes} bytes"):
            self._cuda.memcpy_htod_async(address, plane, stream)

    def to_host(self, plane: NDArray[Any], address: int, stream: Any) -> None:
        with self._said(f"copying {plane.nbytes} bytes"):
            self._cuda.memcpy_dtoh_async(plane, address, stream)

    def close(self) -> None:
        self._allocated.clear()
        self._context = None  # its last reference: pycuda releases what it retained
