"""What a worker must know to compute any tile of a map, and what it tells of a finished one: plain values, pickled."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadedge.roadmap.survey import Scene
from roadedge.roadmap.tiling import TilePlan
from roadedge.runners import Runner, open_runner
from roadedge.spec import ModelSpec, read_sidecar
from roadedge.weights import find_model

STAGES = ("read", "points", "infer", "write")


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    """Which network, as `open_runner` takes it; `threads` are those of one worker."""

    model: str
    backend: str = "auto"
    precision: str | None = None
    threads: int | None = None

    def open(self, window: tuple[int, int] | None = None) -> Runner:
        """Load it, for windows of (H, W) where given; raises as `open_runner` does."""
        return open_runner(self.model, self.backend, self.precision, self.threads, size=window)

    def look(self) -> tuple[ModelSpec, bool, Path]:
        """Its spec, whether it takes windows of any size, and its file; loaded only where the file does not say."""
        path = find_model(self.model)
        by_openvino = path.suffix == ".onnx" and self.backend in ("auto", "openvino")
        any_size = by_openvino and importlib.util.find_spec("openvino") is not None
        stated = read_sidecar(path)
        if stated is not None:
            spec = stated[0]
        else:
            with self.open() as runner:
                spec = runner.spec
        return spec, spec.size is None or any_size, path


@dataclass(frozen=True, slots=True)
class Job:
    """A map to be made: `folder` is where its tiles go.

    `coarse` pixels of the grid along a side make one of the backdrop, `dense` one of the density. `points` is the path
    of a store, `second` another raster for the network's second modality, `clouds` the files that it is drawn from.
    """

    scene: Scene
    plan: TilePlan
    network: NetworkChoice
    folder: Path
    points: Path | None = None
    second: Scene | None = None
    coarse: int = 1
    dense: int = 4
    clouds: tuple[Path, ...] = ()

    def tile_path(self, tile: int) -> Path:
        """Where a tile's file lies, once it is done."""
        row, column = self.plan.position(tile)
        return self.folder / f"{row:05d}" / f"{column:05d}.tile"


@dataclass(frozen=True, slots=True)
class TileDone:
    """A finished tile: `pixels` of its cell with an image, `points` in its cell, and seconds by stage."""

    tile: int
    pixels: int
    points: int
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mb: float = 0.0  # of the process that computed it, by then
    process: int = 0
    runner: dict[str, Any] | None = None  # what computes, with the first tile of a worker
