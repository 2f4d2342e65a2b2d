"""TensorRT and TensorRT for RTX: the only place, beside export/engine.py, that knows their modules.

Both have one Python API for running an engine, from 8.6 on. What they answer with None or False becomes a sentence.
"""

from __future__ import annotations

import contextlib
import importlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from roadedge.errors import EnvironmentFault
from roadedge.runners.device import Device
from roadedge.runners.engine_facts import RUNTIMES, Range, Shape, remarks
from roadedge.runners.engine_file import EngineFile, incompatible
from roadedge.runners.face import Port

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
TYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT8": "int8", "INT32": "int32", "BOOL": "bool"}


def installed_version(runtime: str) -> str | None:
    """Version of `tensorrt` or `tensorrt-rtx` as its module says it; None where it is absent or cannot be loaded."""
    try:
        return str(runtime_module(runtime).__version__)
    except ImportError:  # no package, or one whose libraries are missing
        return None


def runtime_module(runtime: str) -> ModuleType:
    """The module of `tensorrt` or `tensorrt-rtx`; raises ImportError where it is absent."""
    return importlib.import_module(MODULES[runtime])


class LoadedEngine:
    """An engine with one execution context. All calls are made with the GPU's primary context active."""

    def __init__(self, engine: EngineFile, here: Device, module: ModuleType, held: contextlib.ExitStack) -> None:
        """Deserialise a checked engine.

        Args:
            engine: whose sidecar was compared with this machine.
            here: this machine, for the sentence of a failure.
            module: `tensorrt` or `tensorrt_rtx`.
            held: its callbacks give context, engine and runtime back, in this order.

        Raises:
            EngineIncompatibleError: TensorRT does not take it.
            EnvironmentFault: no runtime or execution context can be made.
        """
        self._title, self._file, self._module = RUNTIMES[engine.facts.runtime], engine.path, module
        self._said: deque[str] = deque(maxlen=3)
        self._log: Any = logger(module, self._said)
        held.callback(self._forget, "_log")
        self._runtime: Any = self._made("start its runtime", lambda: module.Runtime(self._log))
        held.callback(self._forget, "_runtime")
        self._engine: Any = None
        with contextlib.suppress(EnvironmentFault):  # said below, with the command that mends it
            self._engine = self._made("load", lambda: self._runtime.deserialize_cuda_engine(engine.path.read_bytes()))
        if self._engine is None:
            told = "; ".join([self._reason(), *remarks(engine.facts, here)])
            raise incompatible(engine, f"{self._title} does not take it ({told})", here)
        held.callback(self._forget, "_engine")
        self._context: Any = self._made("make an execution context", lambda: self._engine.create_execution_context())
        held.callback(self._forget, "_context")
        inputs, outputs = ports(self._engine)
        self.inputs = {port.name: port for port in inputs}
        self.outputs = {port.name: port for port in outputs}
        self.ranges = {port.name: self._range(port) for port in inputs}
        self.dynamic = any(None in port.shape for port in (*inputs, *outputs))

    def set_shapes(self, shapes: Mapping[str, Shape]) -> None:
        """Say how large the inputs are; those of fixed shape need no word."""
        for name, shape in shapes.items():
            if None in self.inputs[name].shape:
                self._done(f"take {name} as {shape}", self._context.set_input_shape(name, shape))

    def shape_of(self, output: str) -> Shape:
        """How large an output is with the inputs that were set."""
        fixed = _fixed(self.outputs[output])
        if fixed is not None:
            return fixed
        shape = tuple(int(side) for side in self._context.get_tensor_shape(output))
        self._done(f"say how large {output} is", all(side >= 0 for side in shape))
        return shape

    def run(self, addresses: Mapping[str, int], stream: int) -> None:
        """Queue the network over these device addresses, one for each input and output."""
        for name, address in addresses.items():
            self._done(f"take the memory of {name}", self._context.set_tensor_address(name, address))
        self._done("run the network", self._context.execute_async_v3(stream))

    @contextlib.contextmanager
    def layers_reported(self, told: Callable[[str, float], None]) -> Iterator[None]:
        """Within the block the network runs in a second execution context, whose layers' milliseconds are told.

        TensorRT waits for each run while it is profiled. The context that is timed is left as it is.
        """
        plain, listener = self._context, profiler(self._module, told)
        self._context = self._made(
            "make an execution context to profile", lambda: self._engine.create_execution_context()
        )
        try:
            self._context.profiler = listener
            yield
        finally:
            self._context = plain

    def _range(self, port: Port) -> Range:
        """Smallest, best and largest shape of an input: those of the first profile, or its fixed shape three times."""
        fixed = _fixed(port)
        if fixed is not None:
            return fixed, fixed, fixed
        spans = self._made(
            f"state the shapes of {port.name}", lambda: self._engine.get_tensor_profile_shape(port.name, 0)
        )
        self._done(f"state the shapes of {port.name}", len(spans) == 3)
        lowest, best, highest = (tuple(int(side) for side in shape) for shape in spans)
        return lowest, best, highest

    def _made(self, what: str, make: Callable[[], Any]) -> Any:
        try:
            made = make()
        except (RuntimeError, TypeError, MemoryError, OSError) as error:  # what its bindings raise
            self._said.append(str(error))
            made = None
        self._done(what, made is not None)
        return made

    def _done(self, what: str, done: bool) -> None:
        if not done:
            raise EnvironmentFault(f"{self._title} did not {what} for {self._file}: {self._reason()}")

    def _reason(self) -> str:
        return " ".join(" ".join(self._said).split())[:300] or "it gave no reason"

    def _forget(self, name: str) -> None:
        setattr(self, name, None)


def ports(engine: Any) -> tuple[list[Port], list[Port]]:
    """Inputs and outputs of a deserialised engine."""
    found: dict[str, list[Port]] = {"INPUT": [], "OUTPUT": []}
    for number in range(engine.num_io_tensors):
        name = engine.get_tensor_name(number)
        shape = tuple(None if side < 0 else int(side) for side in engine.get_tensor_shape(name))
        kind = engine.get_tensor_dtype(name).name
        found[engine.get_tensor_mode(name).name].append(Port(name, shape, TYPES.get(kind, kind.lower())))
    return found["INPUT"], found["OUTPUT"]


def logger(module: ModuleType, said: deque[str]) -> Any:
    """A logger of TensorRT that keeps its errors for our sentence and prints nothing."""

    class Log(module.ILogger):  # type: ignore[name-defined,misc] # the module is chosen at run time
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity.name in ("ERROR", "INTERNAL_ERROR"):
                said.append(message)

    return Log()


def profiler(module: ModuleType, told: Callable[[str, float], None]) -> Any:
    """A profiler of TensorRT that passes on the name and the milliseconds of each layer."""

    class Profiler(module.IProfiler):  # type: ignore[name-defined,misc] # the module is chosen at run time
        def __init__(self) -> None:
            module.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            told(layer_name, ms)

    return Profiler()


def _fixed(port: Port) -> Shape | None:
    sides = tuple(side for side in port.shape if side is not None)
    return sides if len(sides) == len(port.shape) else None
