"""Points in the order of their time, whatever order they came in."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_Cells = NDArray[np.int64]  # (N, 2) row, column


class TimeQueue:
    """Points by time, in buckets of `bucket_s`: a bucket is sorted once it is cut, so leaving costs what leaves."""

    def __init__(self, bucket_s: float) -> None:
        self._bucket_s = bucket_s
        self._parts: dict[int, list[tuple[NDArray[np.float64], _Cells]]] = {}
        self._keys: list[int] = []  # a heap
        self._sorted: int | None = None  # the bucket that was cut and has got nothing since
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, time: NDArray[np.float64], cells: _Cells) -> None:
        """Put points in; late ones too."""
        if not len(time):
            return
        buckets = np.floor(time / self._bucket_s).astype(np.int64)
        if (buckets == buckets[0]).all():  # a live batch is short
            self._put(int(buckets[0]), time, cells)
        else:
            order = np.argsort(buckets, kind="stable")
            keys, starts = np.unique(buckets[order], return_index=True)
            for key, rows in zip(keys.tolist(), np.split(order, starts[1:]), strict=True):
                self._put(key, time[rows], cells[rows])
        self._length += len(time)

    def pop(self, until_s: float, inclusive: bool) -> Iterator[tuple[NDArray[np.float64], _Cells]]:
        """Take out all points before `until_s`, with those at it where `inclusive`."""
        last = until_s / self._bucket_s
        while self._keys and self._keys[0] <= last:
            key = heapq.heappop(self._keys)
            time, cells = self._taken(key)
            cut = len(time)
            if key + 1 > last:  # the bucket that `until_s` falls into
                cut = int(np.searchsorted(time, until_s, "right" if inclusive else "left"))
                if cut < len(time):
                    self._put(key, time[cut:], cells[cut:])
                    self._sorted = key
                if cut == 0:
                    return
            self._length -= cut
            yield time[:cut], cells[:cut]
            if cut < len(time):
                return

    def _put(self, key: int, time: NDArray[np.float64], cells: _Cells) -> None:
        if key not in self._parts:
            self._parts[key] = []
            heapq.heappush(self._keys, key)
        self._parts[key].append((time, cells))
        if key == self._sorted:
            self._sorted = None

    def _taken(self, key: int) -> tuple[NDArray[np.float64], _Cells]:
        """Take a bucket out, in order of time."""
        parts = self._parts.pop(key)
        if key == self._sorted:
            return parts[0]
        time, cells = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        order = np.argsort(time, kind="stable")
        return time[order], cells[order]
