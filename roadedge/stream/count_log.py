"""Pixel counts of a long run in 40 bytes a frame."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Sequence
from typing import overload

from roadedge.metrics.pixel import PixelCounts

_FIELDS = [field.name for field in dataclasses.fields(PixelCounts)]


class CountLog(Sequence[PixelCounts]):
    """Counts of frames in the order in which they were answered."""

    def __init__(self) -> None:
        self._numbers = array("q")

    def append(self, counts: PixelCounts) -> None:
        """Keep those of one frame."""
        self._numbers.extend(getattr(counts, name) for name in _FIELDS)

    def __len__(self) -> int:
        return len(self._numbers) // len(_FIELDS)

    @overload
    def __getitem__(self, index: int) -> PixelCounts: ...

    @overload
    def __getitem__(self, index: slice) -> list[PixelCounts]: ...

    def __getitem__(self, index: int | slice) -> PixelCounts | list[PixelCounts]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start = index % len(self) * len(_FIELDS)
        return PixelCounts(*self._numbers[start : start + len(_FIELDS)])
