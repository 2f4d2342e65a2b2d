"""One worker: an open network and an open scene, from the number of a tile to its file."""

from __future__ import annotations

import contextlib
import os
import time
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roadedge.roadmap.job import STAGES, Job, TileDone
from roadedge.roadmap.memory import peak_mb
from roadedge.roadmap.scene_reader import SceneReader
from roadedge.roadmap.tile_file import TileFile, write_tile
from roadedge.roadmap.window import Window, read_window
from roadedge.runners import Runner
from roadedge.trajectory.point_store import PointStore

if TYPE_CHECKING:
    from typing_extensions import Self

BACKDROP_QUALITY = 88


class Sources:
    """The files that a job reads, open; threads of one process share them."""

    def __init__(self, job: Job) -> None:
        """Open them; raises as `SceneReader` and `PointStore` do."""
        with contextlib.ExitStack() as held:
            self.reader = held.enter_context(SceneReader(job.scene))
            self.second = None if job.second is None else held.enter_context(SceneReader(job.second))
            self.store = None if job.points is None else held.enter_context(PointStore.open(job.points))
            self._held = held.pop_all()

    def close(self) -> None:
        """Close them; twice is no error."""
        self._held.close()


class Worker:
    """Computes tiles. Not for use by several threads at once."""

    def __init__(self, job: Job, sources: Sources | None = None, runner: Runner | None = None) -> None:
        """Open what is not given; raises as `Sources` and `open_runner` do.

        What is given is closed by who gave it, and a network by the thread that opened it: OpenVINO gives that thread a
        stack for signals, and takes it back from whatever thread closes it; the next signal would end the process.
        """
        self.job = job
        self._sources = sources or Sources(job)
        self._owns, self._owns_runner = sources is None, runner is None
        try:
            self._runner = runner or job.network.open(job.plan.window)
        except BaseException:
            self.close()
            raise
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._told = False

    def run(self, tiles: list[int]) -> list[TileDone]:
        """Compute a batch of tiles and write their files.

        Raises:
            OutputError: they cannot be written.
            SourceError: the scene can no longer be read.
        """
        self._seconds = dict.fromkeys(STAGES, 0.0)
        windows = [self._read(tile) for tile in tiles]
        asked = [window for window in windows if not window.is_blank]
        began = time.perf_counter()
        answers: list[NDArray[np.uint8]] = []
        if asked:
            fed = [window.feeds(self._runner.spec) for window in asked]
            feeds = fed[0] if len(fed) == 1 else {k: np.concatenate([one[k] for one in fed]) for k in fed[0]}
            answers = list(self._runner.infer(feeds)["probability"])
        self._seconds["infer"] += time.perf_counter() - began
        began = time.perf_counter()
        done = []
        for tile, window in zip(tiles, windows, strict=True):
            answer = None if window.is_blank else answers.pop(0)
            done.append(self._write(tile, window, answer))
        self._seconds["write"] += time.perf_counter() - began
        about = None if self._told else self._runner.describe()
        self._told = True
        last = done[-1]
        done[-1] = TileDone(last.tile, last.pixels, last.points, self._seconds, peak_mb(), os.getpid(), about)
        return done

    def close(self) -> None:
        """Give network and files back, where they are its own."""
        if self._owns_runner and getattr(self, "_runner", None) is not None:
            self._runner.close()
        if self._owns:
            self._sources.close()

    def __enter__(self) -> Self:
        """The worker itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _read(self, tile: int) -> Window:
        sources, plan = self._sources, self.job.plan
        return read_window(
            sources.reader,
            plan.corner(tile),
            plan.window,
            self._runner.spec,
            sources.store,
            sources.second,
            self._seconds,
        )

    def _write(self, tile: int, window: Window, answer: NDArray[np.uint8] | None) -> TileDone:
        y0, x0, y1, x1 = self.job.plan.cell(tile)
        height, width = y1 - y0, x1 - x0
        valid = None if window.valid is None else window.valid[:height, :width]
        if valid is not None and valid.all():
            valid = None
        pixels = height * width if valid is None else int(np.count_nonzero(valid))
        inside = (window.xy >= (x0, y0)).all(axis=1) & (window.xy < (x1, y1)).all(axis=1)
        own = window.xy[inside]
        content = TileFile(
            answer,
            height,
            valid,
            b"" if answer is None else backdrop(window.image[:height, :width], (y0, x0), self.job.coarse),
            None if self._sources.store is None else count_coarsely(own, (y0, x0, y1, x1), self.job.dense),
            pixels,
            len(own),
        )
        write_tile(self.job.tile_path(tile), content)
        return TileDone(tile, pixels, len(own))


def coarse_box(y0: int, x0: int, y1: int, x1: int, step: int) -> tuple[int, int, int, int]:
    """The coarse pixels that begin in a box of fine ones; the boxes of all cells share out the coarse picture."""
    return -(-y0 // step), -(-x0 // step), -(-y1 // step), -(-x1 // step)


def backdrop(image: NDArray[np.uint8], corner: tuple[int, int], step: int) -> bytes:
    """A cell's image, made `step` times smaller, as JPEG: the pixels of its `coarse_box`; or nothing."""
    import cv2

    y0, x0 = corner
    height, width = image.shape[:2]
    top, left, bottom, right = coarse_box(y0, x0, y0 + height, x0 + width, step)
    if bottom <= top or right <= left:
        return b""
    small = cv2.resize(image, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, BACKDROP_QUALITY])
    return content.tobytes()


def count_coarsely(xy: NDArray[np.float64], cell: tuple[int, int, int, int], step: int) -> NDArray[np.uint32]:
    """Points of a cell by coarse pixel: (rows, columns) from the coarse pixel on in which the cell begins."""
    y0, x0, y1, x1 = cell
    top, left = y0 // step, x0 // step
    shape = -(-y1 // step) - top, -(-x1 // step) - left
    column, row = (xy // step).astype(np.int64).T if len(xy) else np.zeros((2, 0), np.int64)
    counts = np.bincount((row - top) * shape[1] + column - left, minlength=shape[0] * shape[1])
    return counts.astype(np.uint32).reshape(shape)
