"""The smallest module with the interface of a build: it parses anything, builds `BYTES`, and notes what is set."""

from __future__ import annotations

import enum
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BYTES = b"engine"


class Flag(enum.IntEnum):
    """Creation flags and builder flags in one: a fake needs their names only."""

    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1
    FP16 = 2
    INT8 = 3
    GPU_FALLBACK = 4
    TF32 = 5


class Kind(enum.Enum):
    """Layer types, data types, device types, pools and log levels."""

    CONVOLUTION = 1
    DECONVOLUTION = 2
    MATRIX_MULTIPLY = 3
    DEQUANTIZE = 4
    FLOAT = 5
    HALF = 6
    DLA = 7
    WORKSPACE = 8
    WARNING = 9
    ERROR = 10
    CONCATENATION = 11
    SLICE = 12


def tensor(name: str, kind: Kind = Kind.HALF, shape: Sequence[int] = (1, 64, 64, 3)) -> Any:
    return types.SimpleNamespace(name=name, dtype=kind, shape=tuple(shape))


def layer(kind: Kind, inputs: Sequence[Any], output: Any) -> Any:
    return types.SimpleNamespace(
        type=kind,
        num_inputs=len(inputs),
        get_input=lambda i: inputs[i],
        get_output=lambda i: output,
    )


CONVOLUTION = layer(Kind.CONVOLUTION, [tensor("image")], tensor("y"))


class Fake(types.SimpleNamespace):
    """One TensorRT. What the builder logs, what the parser refuses and what is built can be set."""

    def __init__(
        self,
        version: str = "10.3.0",
        layers: Sequence[Any] = (CONVOLUTION,),
        inputs: Sequence[Any] = (),
        says: Sequence[tuple[Kind, str]] = (),
        errors: Sequence[Any] = (),
        built: bytes | None = BYTES,
        dla_cores: int = 0,
        steps: int = 0,
    ) -> None:
        self.config = Config()
        self.network_flags: list[int] = []
        self.parsed: list[bytes] = []
        self.builds = 0
        network = types.SimpleNamespace(
            num_layers=len(layers),
            get_layer=lambda i: layers[i],
            num_inputs=len(inputs),
            get_input=lambda i: inputs[i],
        )

        def create_network(flags: int) -> Any:
            self.network_flags.append(flags)
            return network

        def builder(log: Any) -> Any:
            return types.SimpleNamespace(
                create_network=create_network,
                create_builder_config=lambda: self.config,
                create_optimization_profile=lambda: Profile(),
                num_DLA_cores=dla_cores,
                build_serialized_network=lambda net, config: self._build(log, says, built, steps),
            )

        def parse(path: str) -> bool:
            self.parsed.append(Path(path).read_bytes())
            return not errors

        super().__init__(
            __version__=version,
            ILogger=Base,
            IProgressMonitor=Base,
            NetworkDefinitionCreationFlag=Flag,
            BuilderFlag=Flag,
            LayerType=Kind,
            DeviceType=Kind,
            MemoryPoolType=Kind,
            Builder=builder,
            OnnxParser=lambda net, log: types.SimpleNamespace(
                parse_from_file=parse, num_errors=len(errors), get_error=lambda i: errors[i]
            ),
        )

    def _build(self, log: Any, says: Sequence[tuple[Kind, str]], built: bytes | None, steps: int) -> bytes | None:
        self.builds += 1
        for severity, text in says:
            log.log(severity, text)
        monitor = self.config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building engine", None, steps)
            for step in range(steps):
                if not monitor.step_complete("Building engine", step):
                    return None
            monitor.phase_finish("Building engine")
        return built


class Base:
    """What a logger and a progress monitor derive from."""


class Cache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"+timed"


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        self.shapes[name] = (low, best, high)


class Config:
    """Notes what is set. TF32 is allowed from the beginning, as by TensorRT."""

    def __init__(self) -> None:
        self.flags: list[Flag] = [Flag.TF32]
        self.deaf = False  # whether it keeps its flags, whatever it is told
        self.pools: dict[Kind, int] = {}
        self.profiles: list[Profile] = []
        self.caches: list[bytes] = []
        self.foreign_cache = False
        self.progress_monitor: Any = None
        self.default_device_type: Kind | None = None
        self.DLA_core: int | None = None

    def set_flag(self, flag: Flag) -> None:
        if flag not in self.flags and not self.deaf:
            self.flags.append(flag)

    def clear_flag(self, flag: Flag) -> None:
        if flag in self.flags and not self.deaf:
            self.flags.remove(flag)

    def get_flag(self, flag: Flag) -> bool:
        return flag in self.flags

    def set_memory_pool_limit(self, pool: Kind, count: int) -> None:
        self.pools[pool] = count

    def add_optimization_profile(self, profile: Profile) -> None:
        self.profiles.append(profile)

    def create_timing_cache(self, content: bytes) -> Cache:
        return Cache(content)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.caches.append(cache.content)
        return not (self.foreign_cache and cache.content)
