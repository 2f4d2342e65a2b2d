"""How a map is made: one frozen value, written into the run's folder."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from dataclasses import dataclass

from roadedge.environment import usable_cpus
from roadedge.errors import UsageError

DEFAULT_TILE, DEFAULT_OVERLAP = 1024, 128


@dataclass(frozen=True, slots=True)
class Shard:
    """The share `index` of `count` of a map's tiles, counted from 1."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UsageError(f"a shard is i/n with 1 <= i <= n, got {self.index}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`2/8` → the second of eight; raises UsageError."""
        index, _, count = text.partition("/")
        if not (index.strip().isdigit() and count.strip().isdigit()):
            raise UsageError(f"a shard is i/n such as 2/8, got {text!r}")
        return cls(int(index), int(count))

    def of(self, tiles: int) -> range:
        """Its tiles: neighbours, so that they share what they read."""
        return range(tiles * (self.index - 1) // self.count, tiles * self.index // self.count)


@dataclass(frozen=True, slots=True)
class MapSettings:
    """What decides how a map is made.

    `gsd_m` is what the network is fed, None for what it was trained on; `tile` the side that windows have at most, None
    for 1024 or the only size that the network takes; `workers` and `threads` (of each) None for as many as there are
    processors.
    """

    model: str = "roadedge-s"
    backend: str = "auto"
    precision: str | None = None
    gsd_m: float | None = None
    tile: int | None = None
    overlap: int = DEFAULT_OVERLAP
    batch: int = 1
    executor: str = "threads"
    workers: int | None = None
    threads: int | None = None
    ray_address: str | None = None
    ray_gpus: float = 0.0
    crs: str | None = None
    strict: bool = False
    keep_tiles: bool = False

    def __post_init__(self) -> None:
        for name in ("batch", "workers", "threads", "tile"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} must be at least 1, got {value}")
        if self.overlap < 0:
            raise UsageError(f"--overlap must be at least 0 pixels, got {self.overlap}")
        if self.gsd_m is not None and not 0.01 <= self.gsd_m <= 100:
            raise UsageError(f"--gsd is metres per pixel, 0.01 to 100, got {self.gsd_m}")

    def crew_size(self) -> tuple[int, int | None]:
        """Workers, and threads of each: together as many as there are processors, where nothing else is said."""
        if self.executor == "serial":
            return 1, self.threads
        workers = self.workers or max(1, usable_cpus() // (self.threads or 1))
        return workers, self.threads or max(1, usable_cpus() // workers)

    def to_toml(self) -> str:
        """As TOML; what is None is left out."""
        lines = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                lines.append(f"{field.name} = {json.dumps(value)}")
        return "\n".join(lines) + "\n"


def default_model() -> str:
    """roadedge-s, in INT8 where OpenVINO is: ONNX Runtime computes symmetric INT8 slower than FP32."""
    return "roadedge-s:int8" if importlib.util.find_spec("openvino") is not None else "roadedge-s"
