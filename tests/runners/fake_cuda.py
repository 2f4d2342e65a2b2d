"""The two CUDA libraries as their users see them, over the host's memory: signatures and statuses, and no GPU.

Signatures are those of cuda-python 13.0.3 and pycuda 2026.1, read from their own docstrings and sources.
"""

from __future__ import annotations

import ctypes
import itertools
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FAULT = 700  # cudaErrorIllegalAddress


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorIllegalAddress = FAULT


SENTENCES = {2: b"out of memory", FAULT: b"an illegal memory access was encountered"}


class FakeCudaRuntime(ModuleType):
    """`cuda.bindings.runtime`: every call returns its status first, in a tuple."""

    def __init__(self, failing: str = "", status: int = FAULT) -> None:
        super().__init__("cuda.bindings.runtime")
        self.calls: list[str] = []
        self.failing, self.status = failing, Status(status)
        self.held: dict[int, Any] = {}
        self.numbers = itertools.count(1)
        self.alive: set[int] = set()
        self.cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
        self.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def _answer(self, name: str, *results: Any) -> tuple[Any, ...]:
        self.calls.append(name)
        if name == self.failing:
            return (self.status, *(None for _ in results))
        return (Status.cudaSuccess, *results)

    def _new(self, name: str) -> tuple[Any, ...]:
        number = next(self.numbers)
        answer = self._answer(name, number)
        if answer[1] is not None:
            self.alive.add(number)
        return answer

    def _old(self, name: str, number: int) -> tuple[Any, ...]:
        self.alive.remove(number)
        return self._answer(name)

    def _block(self, name: str, size: int) -> tuple[Any, ...]:
        block = ctypes.create_string_buffer(size)
        address = ctypes.addressof(block)
        answer = self._answer(name, address)
        if answer[1] is not None:
            self.held[address] = block
        return answer

    def _unblock(self, name: str, address: int) -> tuple[Any, ...]:
        del self.held[address]
        return self._answer(name)

    def cudaGetErrorString(self, error: Any) -> tuple[Any, ...]:
        return Status.cudaSuccess, SENTENCES[int(error)]

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:
        return self._answer("cudaSetDevice")

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return self._block("cudaMalloc", size)

    def cudaFree(self, devPtr: int) -> tuple[Any, ...]:
        return self._unblock("cudaFree", devPtr)

    def cudaMallocHost(self, size: int) -> tuple[Any, ...]:
        return self._block("cudaMallocHost", size)

    def cudaFreeHost(self, ptr: int) -> tuple[Any, ...]:
        return self._unblock("cudaFreeHost", ptr)

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: int, stream: int) -> tuple[Any, ...]:
        assert stream in self.alive
        answer = self._answer("cudaMemcpyAsync")
        if answer[0] == 0:
            ctypes.memmove(dst, src, count)
        return answer

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        assert flags == 1
        return self._new("cudaStreamCreateWithFlags")

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        return self._old("cudaStreamDestroy", stream)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        return self._answer("cudaStreamSynchronize")

    def cudaEventCreate(self) -> tuple[Any, ...]:
        return self._new("cudaEventCreate")

    def cudaEventDestroy(self, event: int) -> tuple[Any, ...]:
        return self._old("cudaEventDestroy", event)

    def cudaEventRecord(self, event: int, stream: int) -> tuple[Any, ...]:
        assert {event, stream} <= self.alive
        return self._answer("cudaEventRecord")

    def cudaEventSynchronize(self, event: int) -> tuple[Any, ...]:
        return self._answer("cudaEventSynchronize")

    def cudaEventElapsedTime(self, start: int, end: int) -> tuple[Any, ...]:
        return self._answer("cudaEventElapsedTime", 0.5 * (end - start))

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Any, ...]:
        return self._answer("cudaStreamBeginCapture")

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        return self._new("cudaStreamEndCapture")

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        assert flags == 0
        return self._new("cudaGraphInstantiate")

    def cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        return self._old("cudaGraphDestroy", graph)

    def cudaGraphLaunch(self, graphExec: int, stream: int) -> tuple[Any, ...]:
        return self._answer("cudaGraphLaunch")

    def cudaGraphExecDestroy(self, graphExec: int) -> tuple[Any, ...]:
        return self._old("cudaGraphExecDestroy", graphExec)


class CudaError(Exception):
    """pycuda.driver.Error."""


class FakePyCuda(ModuleType):
    """`pycuda.driver`: calls raise, objects go with their last reference, a context is entered and left."""

    Error = CudaError

    def __init__(self, failing: str = "") -> None:
        super().__init__("pycuda.driver")
        self.failing, self.depth, self.calls = failing, 0, list[str]()
        self.held: dict[int, Any] = {}
        driver = self

        class Context:
            def push(self) -> None:
                driver.call("push")
                driver.depth += 1

            @staticmethod
            def pop() -> None:
                driver.depth -= 1
                driver.call("pop")

        class Device:
            def __init__(self, number: int) -> None:
                assert number == 0

            def retain_primary_context(self) -> Context:
                driver.call("retain_primary_context")
                return Context()

        class Stream:
            handle = 77

            def __init__(self, flags: int) -> None:
                driver.call("Stream")
                assert flags == 1

            def synchronize(self) -> None:
                driver.call("synchronize")

        class Event:
            def __init__(self) -> None:
                driver.call("Event")

            def record(self, stream: Stream) -> None:
                driver.call("record")

            def synchronize(self) -> None:
                driver.call("wait")

            def time_till(self, other: Event) -> float:
                driver.call("time_till")
                return 0.5

        self.Context, self.Device, self.Stream, self.Event = Context, Device, Stream, Event

    def call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.failing:
            raise CudaError(f"{name} failed: out of memory")
        assert self.depth or name in ("init", "retain_primary_context", "push", "pop"), f"{name} outside the context"

    def init(self) -> None:
        self.call("init")

    def mem_alloc(self, count: int) -> Any:
        self.call("mem_alloc")
        driver, block = self, ctypes.create_string_buffer(count)

        class DeviceAllocation:
            def __int__(self) -> int:
                return ctypes.addressof(block)

            def free(self) -> None:
                del driver.held[int(self)]
                driver.call("free")

        held = DeviceAllocation()
        self.held[int(held)] = block
        return held

    def pagelocked_empty(self, shape: int, dtype: Any) -> NDArray[Any]:
        self.call("pagelocked_empty")
        driver = self

        block = np.zeros(shape, dtype)

        class PagelockedHostAllocation:
            __array_interface__ = block.__array_interface__

            def free(self) -> None:
                del driver.held[block.ctypes.data]
                driver.call("free_host")

        self.held[block.ctypes.data] = block
        return np.asarray(PagelockedHostAllocation())

    def memcpy_htod_async(self, dest: int, src: NDArray[Any], stream: Any) -> None:
        self.call("memcpy_htod_async")
        ctypes.memmove(dest, src.ctypes.data, src.nbytes)

    def memcpy_dtoh_async(self, dest: NDArray[Any], src: int, stream: Any) -> None:
        self.call("memcpy_dtoh_async")
        ctypes.memmove(dest.ctypes.data, src, dest.nbytes)
