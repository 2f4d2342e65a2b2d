"""An external sort by place: runs that fit into memory are sorted and written, then merged piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roadedge.trajectory.ingest.cleaning import ROW, Rows
from roadedge.trajectory.tile_order import tile_keys

_EVERY = 1024  # of a run's keys is kept in memory, to cut pieces by
Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Run:
    """A sorted run on disk: its keys in one file, its rows in another; `sample` is every 1024th key."""

    keys: Path
    rows: Path
    length: int
    sample: Keys


class TileSort:
    """Takes rows in any order, gives them back in the order of the tiles; equal keys stay in the order they came."""

    def __init__(self, folder: Path, tile: float, rows_in_memory: int) -> None:
        """Runs of `rows_in_memory` rows are files in `folder`; `tile` is the side of the tiles."""
        self._folder, self._tile, self._most = folder, tile, rows_in_memory
        self._held: list[Rows] = []
        self._held_rows = 0
        self._runs: list[_Run] = []
        self.rows = 0

    def add(self, rows: Rows) -> None:
        """Take rows; raises OSError where the disk is full."""
        while len(rows):
            room = self._most - self._held_rows
            part, rows = rows[:room], rows[room:]
            self._held.append(part)
            self._held_rows += len(part)
            self.rows += len(part)
            if self._held_rows == self._most:
                self._write_run()

    def pieces(self) -> Iterator[tuple[Keys, Rows]]:
        """Keys and rows in order, some `rows_in_memory` at a time at most."""
        if not self._runs:
            if self._held:
                yield self._sorted()
            return
        if self._held:
            self._write_run()
        yield from self._merged()

    def _sorted(self) -> tuple[Keys, Rows]:
        rows = np.concatenate(self._held) if len(self._held) > 1 else self._held[0]
        self._held, self._held_rows = [], 0
        keys = tile_keys(np.ascontiguousarray(rows["x"]), np.ascontiguousarray(rows["y"]), self._tile)
        order = np.argsort(keys, kind="stable")
        return keys[order], rows[order]

    def _write_run(self) -> None:
        keys, rows = self._sorted()
        number = len(self._runs)
        run = _Run(self._folder / f"keys-{number}", self._folder / f"rows-{number}", len(keys), keys[::_EVERY].copy())
        for path, array in ((run.keys, keys), (run.rows, rows)):
            with path.open("wb") as file:  # not ndarray.tofile, whose error does not say that the disk is full
                file.write(array.view(np.uint8).data)
        self._runs.append(run)

    def _merged(self) -> Iterator[tuple[Keys, Rows]]:
        """Between two keys all runs hold about as many rows as one run; rows of one key go by run, unsorted."""
        starts = [0] * len(self._runs)
        keys = [np.memmap(run.keys, np.uint64, "r", shape=(run.length,)) for run in self._runs]
        for limit in [*self._limits(), None]:
            ends = [
                len(of_run) if limit is None else int(np.searchsorted(of_run, limit, side="left")) for of_run in keys
            ]
            yield from self._piece(starts, ends)
            if limit is not None:
                starts = [int(np.searchsorted(of_run, limit, side="right")) for of_run in keys]
                for run, first, last in zip(self._runs, ends, starts, strict=True):  # heavy keys, such as a parked car
                    for begin in range(first, last, self._most):
                        yield self._read(run, begin, min(begin + self._most, last))

    def _limits(self) -> list[np.uint64]:
        """Keys to cut by, such that at most half as many rows as fit into memory lie between two of them."""
        sample = np.sort(np.concatenate([run.sample for run in self._runs]))
        step = max(1, (self._most // 2) // _EVERY - 2 * len(self._runs))
        return list(np.unique(sample[step::step]))

    def _piece(self, starts: list[int], ends: list[int]) -> Iterator[tuple[Keys, Rows]]:
        parts = [
            self._read(run, first, last)
            for run, first, last in zip(self._runs, starts, ends, strict=True)
            if last > first
        ]
        if not parts:
            return
        keys = np.concatenate([part[0] for part in parts])
        rows = np.concatenate([part[1] for part in parts])
        order = np.argsort(keys, kind="stable")  # of runs laid end to end, which a stable sort merges
        yield keys[order], rows[order]

    def _read(self, run: _Run, first: int, last: int) -> tuple[Keys, Rows]:
        count = last - first
        return (
            np.fromfile(run.keys, np.uint64, count, offset=8 * first),
            np.fromfile(run.rows, ROW, count, offset=ROW.itemsize * first),
        )
