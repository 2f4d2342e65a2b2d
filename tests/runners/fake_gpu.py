"""A GPU of make-believe: memory, a stream that does its work late, and an engine, with what the runner calls alone.

Every call is counted, any one of them can be made to fail, and what was taken and not given back is known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import weakref
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import EnvironmentFault
from roadedge.preprocess import Feeds
from roadedge.runners.base import Requested
from roadedge.runners.device import Device
from roadedge.runners.device_memory import DeviceMemory
from roadedge.runners.engine_facts import ENGINE_KEY, EngineFacts
from roadedge.runners.engine_file import EngineFile, read_engine
from roadedge.runners.engine_runner import TensorRtRunner
from roadedge.runners.face import Port
from roadedge.spec import ModelSpec, sha256_of, write_sidecar

SIZE = (64, 96)
ORIN = Device("Orin", "8.7", "540.4.0", "12.6", "6.2 (L4T 36.4.3)", tensorrt="10.3.0")
STEP_MS = 0.25  # of the fake's clock, for each piece of work on the stream
PLAN = b"ftrt\0plan\0of\0an engine"
LAYERS = (("first + relu", 1.5), ("second", 0.25), ("second", 0.25))  # what the profiled network reports
Shape = tuple[int, ...]


class Gpu:
    """What happened, what is alive, and which call is to fail."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.fail_at = fail_at
        self.live: set[str] = set()
        self.released: list[str] = []
        self.bytes: dict[int, NDArray[np.uint8]] = {}  # device memory by address
        self.queue: list[Callable[[], None]] = []  # of the one stream
        self.clock_ms = 0.0
        self.drawing: list[Callable[[], None]] | None = None  # of a graph that is being captured
        self.inside = 0  # how deep the context is entered
        self.lost = False  # whether it could not be entered once: what is given back then is given back outside
        self.number = itertools.count(1)

    def fails(self, name: str) -> bool:
        self.calls.append(name)
        return len(self.calls) - 1 == self.fail_at

    def take(self, kind: str) -> str:
        name = f"{kind} {next(self.number)}"
        self.live.add(name)
        return name

    def give(self, name: str) -> None:
        self.live.remove(name)  # a KeyError: given back twice
        self.released.append(name)

    def enqueue(self, work: Callable[[], None]) -> None:
        (self.queue if self.drawing is None else self.drawing).append(work)

    def work_off(self) -> None:
        while self.queue:
            self.queue.pop(0)()
            self.clock_ms += STEP_MS


class FakeMemory(DeviceMemory):
    """Device memory in the host's; nothing is copied before somebody waits for it."""

    name = "fake memory"
    captures = True

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.call("open", outside=True)
        self.primary = gpu.take("primary context")
        self.pins: dict[int, str] = {}
        self.blocks: dict[int, str] = {}

    def call(self, name: str, outside: bool = False) -> None:
        if self.gpu.fails(name):
            self.gpu.lost = self.gpu.lost or name == "enter"
            raise EnvironmentFault(f"CUDA failed at {name}: fault of the test; start the program again")
        assert outside or self.gpu.inside or self.gpu.lost, f"{name} outside the GPU's context"

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        self.call("enter", outside=True)
        self.gpu.inside += 1
        try:
            yield
        finally:
            self.gpu.inside -= 1

    def allocate(self, count: int) -> int:
        self.call("allocate")
        address = 4096 * next(self.gpu.number)
        self.gpu.bytes[address] = np.zeros(count, np.uint8)
        self.blocks[address] = self.gpu.take("device memory")
        return address

    def free(self, address: int) -> None:
        self.gpu.give(self.blocks.pop(address))
        del self.gpu.bytes[address]
        self.call("free")

    def pinned(self, count: int) -> NDArray[np.uint8]:
        self.call("pinned")
        plane = np.zeros(count, np.uint8)
        self.pins[plane.ctypes.data] = self.gpu.take("pinned memory")
        return plane

    def unpin(self, plane: NDArray[np.uint8]) -> None:
        self.gpu.give(self.pins.pop(plane.ctypes.data))
        self.call("unpin")

    def stream(self) -> Any:
        self.call("stream")
        return self.gpu.take("stream")

    def handle(self, stream: Any) -> int:
        return 77

    def drop_stream(self, stream: Any) -> None:
        self.gpu.give(stream)
        self.call("drop_stream")

    def synchronize(self, stream: Any) -> None:
        self.call("synchronize")
        self.gpu.work_off()

    def event(self) -> Any:
        self.call("event")
        return {"name": self.gpu.take("event"), "ms": None}

    def drop_event(self, event: Any) -> None:
        self.gpu.give(event["name"])
        self.call("drop_event")

    def record(self, event: Any, stream: Any) -> None:
        self.call("record")
        event["ms"] = None  # as CUDA has it: the event now stands for this point alone
        self.gpu.enqueue(lambda: event.update(ms=self.gpu.clock_ms))

    def wait(self, event: Any) -> None:
        self.call("wait")
        while event["ms"] is None:
            self.gpu.queue.pop(0)()
            self.gpu.clock_ms += STEP_MS

    def elapsed_ms(self, start: Any, end: Any) -> float:
        self.call("elapsed_ms")
        return float(end["ms"] - start["ms"])

    def to_device(self, address: int, plane: NDArray[Any], stream: Any) -> None:
        self.call("to_device")

        def copy() -> None:
            raw = plane.reshape(-1).view(np.uint8)
            self.gpu.bytes[address][: raw.size] = raw

        self.gpu.enqueue(copy)

    def to_host(self, plane: NDArray[Any], address: int, stream: Any) -> None:
        self.call("to_host")

        def copy() -> None:
            plane.reshape(-1).view(np.uint8)[:] = self.gpu.bytes[address][: plane.nbytes]

        self.gpu.enqueue(copy)

    def begin_capture(self, stream: Any) -> None:
        self.call("begin_capture")
        assert not self.gpu.queue, "the run before a capture must be over"
        self.gpu.drawing = []

    def end_capture(self, stream: Any) -> Any:
        drawn, self.gpu.drawing = self.gpu.drawing, None
        self.call("end_capture")
        return {"name": self.gpu.take("graph"), "work": drawn}

    def launch(self, graph: Any, stream: Any) -> None:
        self.call("launch")
        for work in graph["work"]:
            self.gpu.enqueue(work)

    def drop_graph(self, graph: Any) -> None:
        self.gpu.give(graph["name"])
        self.call("drop_graph")

    def close(self) -> None:
        self.gpu.give(self.primary)
        self.call("close", outside=True)


class Mode(Enum):
    INPUT = 1
    OUTPUT = 2


class Kind(Enum):
    UINT8 = np.uint8
    FLOAT = np.float32
    HALF = np.float16


@dataclasses.dataclass
class Tensor:
    name: str
    mode: Mode
    kind: Kind
    shape: Shape  # -1 where free
    profile: tuple[Shape, Shape, Shape] | None = None


def tensors(batch: int = 1, logits: bool = True, profile: tuple[Shape, Shape, Shape] | None = None) -> list[Tensor]:
    """Inputs and outputs of an engine of ours: of a fixed shape, or with the (N, H, W) of a profile."""
    whole = (batch, *SIZE) if profile is None else (-1, -1, -1)
    spans = {c: None if profile is None else tuple((*one, c) for one in profile) for c in (3, 1)}
    found = [
        Tensor("image", Mode.INPUT, Kind.UINT8, (*whole, 3), spans[3]),  # type: ignore[arg-type]
        Tensor("trajectory", Mode.INPUT, Kind.UINT8, (*whole, 1), spans[1]),  # type: ignore[arg-type]
        Tensor("probability", Mode.OUTPUT, Kind.UINT8, whole),
    ]
    return [*found, Tensor("logits", Mode.OUTPUT, Kind.FLOAT, (whole[0], 1, *whole[1:]))] if logits else found


def expected(feeds: Feeds) -> NDArray[np.uint8]:
    """The probability that the fake network gives."""
    mixed: NDArray[np.uint8] = feeds["image"][..., 0] // 2 + feeds["trajectory"][..., 0] // 4
    return mixed


class FakeRuntime:
    def __init__(self, log: Any, gpu: Gpu, listed: list[Tensor]) -> None:
        if gpu.fails("Runtime"):
            raise TypeError("factory function returned nullptr")
        assert gpu.inside
        self.gpu, self.listed, self.log = gpu, listed, log
        weakref.finalize(self, gpu.give, gpu.take("runtime"))

    def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
        if self.gpu.fails("deserialize_cuda_engine") or plan != PLAN:
            self.log.log(Severity.WARNING, "this is not said")
            self.log.log(Severity.ERROR, "Version tag does not match")
            return None
        return FakeEngine(self.gpu, self.listed)


class FakeEngine:
    def __init__(self, gpu: Gpu, listed: list[Tensor]) -> None:
        self.gpu, self.by_name = gpu, {one.name: one for one in listed}
        weakref.finalize(self, gpu.give, gpu.take("engine"))

    @property
    def num_io_tensors(self) -> int:
        return len(self.by_name)

    def get_tensor_name(self, number: int) -> str:
        return list(self.by_name)[number]

    def get_tensor_shape(self, name: str) -> Shape:
        return self.by_name[name].shape

    def get_tensor_dtype(self, name: str) -> Kind:
        return self.by_name[name].kind

    def get_tensor_mode(self, name: str) -> Mode:
        return self.by_name[name].mode

    def get_tensor_profile_shape(self, name: str, number: int) -> list[Shape]:
        assert number == 0
        return list(self.by_name[name].profile or ()) if not self.gpu.fails("get_tensor_profile_shape") else []

    def create_execution_context(self) -> FakeContext | None:
        return None if self.gpu.fails("create_execution_context") else FakeContext(self.gpu, self.by_name)


class FakeContext:
    def __init__(self, gpu: Gpu, by_name: dict[str, Tensor]) -> None:
        self.gpu, self.by_name = gpu, by_name
        self.shapes = {n: t.shape for n, t in by_name.items() if t.mode is Mode.INPUT}
        self.addresses: dict[str, int] = {}
        self.profiler: FakeProfiler | None = None
        weakref.finalize(self, gpu.give, gpu.take("context"))

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        if self.gpu.fails("set_input_shape"):
            return False
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        if self.gpu.fails("get_tensor_shape"):
            return (-1,)
        n, h, w, _ = self.shapes["image"]
        return (n, 1, h, w) if name == "logits" else (n, h, w)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return not self.gpu.fails("set_tensor_address")

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 77
        assert self.gpu.inside
        if self.gpu.fails("execute_async_v3"):
            return False
        memory, shapes, addresses = self.gpu.bytes, dict(self.shapes), dict(self.addresses)

        def network() -> None:
            fed = {n: memory[addresses[n]][: np.prod(s)].reshape(s) for n, s in shapes.items()}
            level = expected(fed)
            memory[addresses["probability"]][: level.size] = level.reshape(-1)
            if "logits" in addresses:
                raw = (level.astype(np.float32) - 100).reshape(-1).view(np.uint8)
                memory[addresses["logits"]][: raw.size] = raw

        self.gpu.enqueue(network)
        if self.profiler is not None:  # as TensorRT: it waits for the run, and then reports it
            assert self.profiler.initialised, "without IProfiler.__init__ the bindings crash"
            self.gpu.work_off()
            for name, spent_ms in LAYERS:
                self.profiler.report_layer_time(name, spent_ms)
        return True


class Severity(Enum):
    ERROR = 1
    WARNING = 2


class FakeLogger:
    """As ILogger: to be inherited from."""


class FakeProfiler:
    """As IProfiler: to be inherited from."""

    initialised = False

    def __init__(self) -> None:
        self.initialised = True

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise NotImplementedError


def fake_module(gpu: Gpu, listed: list[Tensor]) -> ModuleType:
    """What the runner sees of `tensorrt`."""
    module: Any = ModuleType("tensorrt")
    module.ILogger = FakeLogger
    module.IProfiler = FakeProfiler
    module.Runtime = lambda log: FakeRuntime(log, gpu, listed)
    return module  # type: ignore[no-any-return]


def facts_of(engine: Path, **changes: Any) -> EngineFacts:
    """Facts of an engine built on an Orin with the TensorRT of JetPack 6.2."""
    own: dict[str, Any] = {
        "runtime": "tensorrt", "runtime_version": "10.3.0", "compute_capabilities": ("8.7",),
        "engine_sha256": sha256_of(engine), "engine_bytes": engine.stat().st_size, "onnx": "road.int8-fp16.onnx",
        "onnx_sha256": "0" * 64, "precision_requested": "int8", "precision_effective": "int8+fp16",
        "layers_by_precision": {"int8": 40, "fp16": 3}, "inputs": (Port("image", (1, *SIZE, 3), "uint8"),),
        "outputs": (Port("probability", (1, *SIZE), "uint8"),), "gpu": "Orin", "driver": "540.4.0", "cuda": "12.6",
        "jetpack": "6.2 (L4T 36.4.3)", "target": "jetson-orin-nano", "command": "roadedge build road.int8-fp16.onnx",
    }  # fmt: skip
    return EngineFacts(**(own | changes))


def write_engine(folder: Path, content: bytes = PLAN, spec: ModelSpec | None = None, **changes: Any) -> EngineFile:
    """An engine file and its sidecar."""
    path = folder / "road.jetson-orin-nano.engine"
    path.write_bytes(content)
    spec = spec or ModelSpec("roadedge-s", size=SIZE, batch=1)
    write_sidecar(path, spec, {ENGINE_KEY: facts_of(path, **changes).to_dict(), "precision": {"effective": "int8"}})
    return read_engine(path)


def open_fake(
    folder: Path, gpu: Gpu, listed: list[Tensor] | None = None, spec: ModelSpec | None = None, **options: Any
) -> TensorRtRunner:
    """A runner on the fake GPU."""
    module = fake_module(gpu, tensors() if listed is None else listed)
    engine = write_engine(folder, spec=spec)
    return TensorRtRunner(engine, Requested("tensorrt"), ORIN, module, lambda: FakeMemory(gpu), **options)


def frames(windows: int = 1, size: tuple[int, int] = SIZE, seed: int = 0) -> Feeds:
    """Random feeds."""
    generator = np.random.default_rng(seed)
    shapes = {"image": (windows, *size, 3), "trajectory": (windows, *size, 1)}
    return {name: generator.integers(0, 256, shape, np.uint8) for name, shape in shapes.items()}
