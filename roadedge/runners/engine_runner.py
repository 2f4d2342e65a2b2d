"""The runner of engines: pinned memory allocated once, one stream, several frames in flight, times of the device."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from roadedge.errors import RoadEdgeError, SpecMismatchError, UsageError
from roadedge.preprocess import Feeds
from roadedge.runners.base import CheckedRunner, Requested, check_feeds, check_precision
from roadedge.runners.device import Device
from roadedge.runners.device_memory import DeviceMemory, open_memory
from roadedge.runners.engine_facts import RUNTIMES
from roadedge.runners.engine_file import EngineFile, check_here, read_engine
from roadedge.runners.face import stated_face
from roadedge.runners.frames import Frame, new_frame
from roadedge.runners.tensorrt import LoadedEngine, runtime_module


def open_engine(path: Path, requested: Requested, cuda_graph: bool = False, frames: int = 2) -> TensorRtRunner:
    """A runner of an engine, after its sidecar was compared with this machine.

    Args:
        path: `NAME.<target>.engine`, its sidecar beside it.
        requested: what the user asked for.
        cuda_graph: launch the network as one captured graph; for engines of fixed shapes, with cuda-python.
        frames: how many may be in flight at once, see `TensorRtRunner.submit`.

    Raises:
        ModelFileError: no engine, or one without a sidecar.
        EngineIncompatibleError: built for another machine, or changed since; with the command that builds it again.
        EnvironmentFault: no TensorRT, no GPU, no library for its memory, or CUDA fails.
        BackendMismatchError: another precision was asked for than the engine has.
        UsageError: another back-end, threads, or a CUDA graph where there can be none.
    """
    engine, here = read_engine(path), Device.here()
    runtime = engine.facts.runtime
    if requested.backend not in ("auto", runtime):
        raise UsageError(
            f"{path.name} is an engine of {RUNTIMES[runtime]}; give --backend {runtime}, or leave --backend out"
        )
    if requested.threads is not None:
        raise UsageError("an engine runs on the GPU; leave --threads out")
    check_here(engine, here)
    memory = lambda: open_memory(here.cuda)  # noqa: E731 # opened by the runner, which also closes it
    return TensorRtRunner(engine, requested, here, runtime_module(runtime), memory, cuda_graph, frames)


class TensorRtRunner(CheckedRunner):
    """An engine in one execution context on one stream, with a ring of frames whose memory is allocated once."""

    def __init__(
        self,
        engine: EngineFile,
        requested: Requested,
        here: Device,
        module: ModuleType,
        memory: Callable[[], DeviceMemory],
        cuda_graph: bool = False,
        frames: int = 2,
    ) -> None:
        """Load a checked engine; raises as `open_engine`, and what was taken by then is given back."""
        super().__init__()
        if frames < 1:
            raise UsageError(f"at least one frame must fit in flight, got {frames}")
        facts = engine.facts
        check_precision(
            requested.precision, facts.precision_effective, RUNTIMES[facts.runtime], "choose another engine"
        )
        self.name, self.version, self.file = facts.runtime, facts.runtime_version, str(engine.path)
        self.device = f"{here.gpu} (compute capability {here.compute_capability})"
        self.precision, self.requested = facts.precision_effective, requested
        self.spec, self.provenance = engine.spec, engine.provenance
        self._lock, self._broken = threading.RLock(), ""
        self._frames: list[Frame] = []
        self._flying: deque[Frame] = deque()
        self._submitted = 0
        self._held = contextlib.ExitStack()
        self._memory = memory()
        try:
            with self._memory.active():
                self._load(engine, here, module, frames, cuda_graph)
        except BaseException:
            self._broken, self._closed = "it was never loaded", True
            self._release()
            raise

    def _load(self, engine: EngineFile, here: Device, module: ModuleType, frames: int, cuda_graph: bool) -> None:
        buffers = self._held.enter_context(contextlib.ExitStack())  # first in, so that it goes after the engine
        self._loaded = loaded = LoadedEngine(engine, here, module, self._held)
        both = list(loaded.inputs.values()), list(loaded.outputs.values())
        self._face = stated_face(engine.path, *both, engine.spec, engine.provenance)
        self.graph_precision = self._face.graph_precision
        if cuda_graph and loaded.dynamic:
            raise UsageError("a CUDA graph holds one shape, and this engine takes several; leave the graph out")
        self._stream = self._memory.stream()
        buffers.callback(self._memory.drop_stream, self._stream)
        sizes = self._largest()
        for _ in range(frames):
            self._frames.append(new_frame(self._memory, sizes, buffers))
            if cuda_graph:
                self._capture(self._frames[-1])
        self._held.callback(self._memory.synchronize, self._stream)  # last in: waited for before anything goes

    def _largest(self) -> dict[str, int]:
        """Bytes of each tensor at the upper end of the profile."""
        loaded = self._loaded
        shapes = {name: span[2] for name, span in loaded.ranges.items()}
        loaded.set_shapes(shapes)
        shapes |= {name: loaded.shape_of(name) for name in loaded.outputs}
        kinds = {name: port.dtype for name, port in (loaded.inputs | loaded.outputs).items()}
        return {name: math.prod(shape) * np.dtype(kinds[name]).itemsize for name, shape in shapes.items()}

    def submit(self, feeds: Feeds, logits: bool = False) -> None:
        """Queue one batch and return at once; `collect` gives the results in the order of submission.

        Args:
            feeds: as of `infer`, but as many windows as the engine takes at once.
            logits: also return the road logits.

        Raises:
            SpecMismatchError: the feeds are not those of `spec`, or outside the engine's profile.
            RoadEdgeError: all frames are in flight, or the GPU fails.
        """
        windows = check_feeds(feeds, self.spec)
        if windows != self._step(windows):
            raise SpecMismatchError(
                f"{self.file} takes {self._step(windows)} windows at once, got {windows}; use infer"
            )
        with self._lock:
            self._submit(feeds, logits)

    def collect(self) -> Feeds:
        """Wait for the oldest frame in flight and return what `infer` would; `last_ms` is set to its stages.

        Raises:
            RoadEdgeError: none is in flight, or the GPU fails.
        """
        with self._lock:
            if not self._flying:
                raise RoadEdgeError("no frame is in flight; submit one before collecting")
            began = time.perf_counter_ns()
            self._stages_ms = {}
            outputs = self._collect()
            self.last_ms = {"infer": (time.perf_counter_ns() - began) / 1e6, **self._stages_ms}
            return outputs

    @contextlib.contextmanager
    def layers_reported(self) -> Iterator[dict[str, float]]:
        """Within the block each layer's milliseconds are added to what is given; clear it between two calls.

        Raises:
            UsageError: a CUDA graph is launched, which reports no layers.
            EnvironmentFault: there is no room for a second execution context.
        """
        told: dict[str, float] = {}

        def add(name: str, spent_ms: float) -> None:
            told[name] = told.get(name, 0.0) + spent_ms

        if any(frame.graph is not None for frame in self._frames):
            raise UsageError("a CUDA graph reports no times of layers; leave the graph out")
        stack = contextlib.ExitStack()
        with self._lock:
            try:
                with self._memory.active():
                    stack.enter_context(self._loaded.layers_reported(add))
                yield told
            finally:
                with self._memory.active():
                    stack.close()

    @property
    def in_flight(self) -> int:
        """How many frames were submitted and not collected."""
        return len(self._flying)

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        with self._lock:
            if self._flying:
                raise RoadEdgeError(f"{len(self._flying)} frames are in flight; collect them before infer")
            self._submit(feeds, logits)
            return self._collect()

    def _step(self, windows: int) -> int:
        lowest, _, highest = self._loaded.ranges[self._face.plugs[0].port.name]
        return min(max(windows, lowest[0]), highest[0])

    def _submit(self, feeds: Feeds, logits: bool) -> None:
        fed, names = self._face.fed(feeds), self._face.wanted(logits)
        self._check(fed, names)
        memory, stream, loaded = self._memory, self._stream, self._loaded
        frame = self._frames[self._submitted % len(self._frames)]
        with self._on_device():
            loaded.set_shapes({name: plane.shape for name, plane in fed.items()})
            memory.record(frame.events[0], stream)
            for name, plane in fed.items():
                view = frame.view(name, plane.shape, loaded.inputs[name].dtype)
                np.copyto(view, plane)
                memory.to_device(frame.device[name], view, stream)
            memory.record(frame.events[1], stream)
            began = time.perf_counter_ns()
            self._launch(frame)
            frame.enqueue_ms = (time.perf_counter_ns() - began) / 1e6
            memory.record(frame.events[2], stream)
            frame.logits = logits
            frame.wanted = {n: frame.view(n, loaded.shape_of(n), loaded.outputs[n].dtype) for n in names}
            for name, view in frame.wanted.items():
                memory.to_host(view, frame.device[name], stream)
            memory.record(frame.events[3], stream)
            self._flying.append(frame)
            self._submitted += 1

    def _collect(self) -> Feeds:
        frame = self._flying.popleft()
        with self._on_device():
            self._memory.wait(frame.events[-1])
            for name, spent in {**frame.stages_ms(self._memory), "enqueue": frame.enqueue_ms}.items():
                self._stages_ms[name] = self._stages_ms.get(name, 0.0) + spent
        outputs = {name: np.array(view) for name, view in frame.wanted.items()}  # a copy: the frame is used again
        return self._face.read(outputs, frame.logits)

    def _check(self, fed: Feeds, names: list[str]) -> None:
        if self._closed or self._broken:
            why = f" after a failure ({self._broken})" if self._broken else ""
            raise RoadEdgeError(f"the {self.name} runner of {self.spec.name} is closed{why}; open it again")
        if len(self._flying) == len(self._frames):
            raise RoadEdgeError(f"all {len(self._frames)} frames are in flight; collect one before submitting another")
        for name in names:
            if name not in self._loaded.outputs:
                raise SpecMismatchError(
                    f"{self.file} has no output {name}, only {sorted(self._loaded.outputs)}; "
                    "build it from an ONNX file that has one"
                )
        for name, plane in fed.items():
            lowest, _, highest = self._loaded.ranges[name]
            if not all(lo <= side <= hi for lo, side, hi in zip(lowest, plane.shape, highest, strict=True)):
                raise SpecMismatchError(
                    f"{self.file} takes {name} from {lowest} to {highest}, got {plane.shape}; "
                    "build it with a wider --dynamic MIN,OPT,MAX"
                )

    def _launch(self, frame: Frame) -> None:
        if frame.graph is not None:
            self._memory.launch(frame.graph, self._stream)
        else:
            self._loaded.run(frame.device, self._memory.handle(self._stream))

    def _capture(self, frame: Frame) -> None:
        memory, stream = self._memory, self._stream
        self._launch(frame)  # once as it is: the first run sets things up that no graph may hold
        memory.synchronize(stream)
        memory.begin_capture(stream)
        try:
            self._launch(frame)
        except RoadEdgeError:
            with contextlib.suppress(RoadEdgeError):  # the first failure counts
                memory.drop_graph(memory.end_capture(stream))
            raise
        frame.graph = memory.end_capture(stream)
        self._held.callback(memory.drop_graph, frame.graph)

    @contextlib.contextmanager
    def _on_device(self) -> Iterator[None]:
        """The GPU's context; after a failure nothing that it holds is to be trusted, and the runner says so."""
        try:
            with self._memory.active():
                yield
        except RoadEdgeError as error:
            self._broken = str(error)
            self._flying.clear()
            raise

    def _release(self) -> None:
        """Context, engine, runtime, then memory. After a failure the failure counts, not what follows from it."""
        quiet = contextlib.suppress(RoadEdgeError) if self._broken else contextlib.nullcontext()
        with self._lock, quiet, contextlib.ExitStack() as last:
            last.callback(self._memory.close)
            last.callback(self._held.close)  # also where the GPU's context cannot be entered any more
            self._flying.clear()
            self._frames.clear()
            with self._memory.active():
                self._held.close()
