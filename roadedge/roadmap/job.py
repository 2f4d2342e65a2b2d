"""What a worker must know to compute any tile of a map, and what it tells of a finished one: plain values, pickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from roadedge.errors import UsageError
from roadedge.roadmap.survey import Scene
from roadedge.roadmap.tiling import TilePlan
from roadedge.runners import Runner, open_runner

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
        runner = open_runner(self.model, self.backend, self.precision, self.threads)
        try:
            return runner if window is None else fitted(runner, window)
        except BaseException:
            runner.close()
            raise


@dataclass(frozen=True, slots=True)
class Job:
    """A map to be made: `folder` is where its tiles go.

    `coarse` pixels of the grid along a side make one of the backdrop, `dense` one of the density. `points` is the path of a store, `second` another raster for the network's second modality.
    """

    scene: Scene
    plan: TilePlan
    network: NetworkChoice
    folder: Path
    points: Path | None = None
    second: Scene | None = None
    coarse: int = 1
    dense: int = 4

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


def can_be_fitted(runner: Runner) -> bool:
    """Whether the network can be given windows of another size than the file's."""
    return runner.spec.size is None or hasattr(runner, "resize")


def fitted(runner: Runner, window: tuple[int, int]) -> Runner:
    """The network, for windows of (H, W) pixels; raises UsageError where its file is of another size."""
    if runner.spec.size in (None, window):
        return runner
    resize = getattr(runner, "resize", None)
    if resize is None:
        raise UsageError(
            f"{runner.spec.name} was exported for {runner.spec.size} pixels and {runner.name} takes no others; "
            "leave --tile out, or export it with --dynamic"
        )
    resize(window)
    return runner
