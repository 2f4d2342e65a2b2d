"""A picture of bytes in a file without a name: it needs no memory, and is gone however the process ends."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import OutputError

if TYPE_CHECKING:
    from typing_extensions import Self


class Scratch:
    """(H, W) uint8 on disk. Threads may read and write different rows at once."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        """Make the file in `folder`; raises OutputError where that cannot be written."""
        self.size = size
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)
        except OSError as error:
            raise OutputError.from_os(folder, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def write(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Write (h, W) from `row` on; raises OutputError on a full disk."""
        left, at = memoryview(np.ascontiguousarray(pixels).data).cast("B"), row * self.size[1]
        try:
            while left:
                done = os.pwrite(self._file.fileno(), left, at)
                left, at = left[done:], at + done
        except OSError as error:
            raise OutputError.from_os(self._folder / "(scratch file)", error) from error

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """(stop - start, W) of those rows."""
        return self._read(start * self.size[1], (stop - start) * self.size[1]).reshape(stop - start, self.size[1])

    def window(self, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint8]:
        """(bottom - top, right - left); what lies outside of the picture is 0."""
        height, width = self.size
        found = np.zeros((bottom - top, right - left), np.uint8)
        first, last = max(left, 0), min(right, width)
        for row in range(max(top, 0), min(bottom, height)):
            if first < last:
                found[row - top, first - left : last - left] = self._read(row * width + first, last - first)
        return found

    def _read(self, at: int, count: int) -> NDArray[np.uint8]:
        content = np.zeros(count, np.uint8)  # what was never written is 0
        view, done = memoryview(content.data), 0
        while done < count and (got := os.preadv(self._file.fileno(), [view[done:]], at + done)):
            done += got
        return content
