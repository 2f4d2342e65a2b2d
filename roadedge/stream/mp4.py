"""What of an MP4 file in fragments can still be played where writing it ended early."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def keep_whole_fragments(path: Path) -> bool:
    """Cut a fragmented MP4 file after its last whole fragment; remove it where it has none.

    Source: ISO/IEC 14496-12, 4.2: a box begins with its size (4 bytes, big-endian; 1: 8 more bytes behind the type) and
    its type (4 letters); a fragment is a `moof` followed by its `mdat`.

    Returns:
        Whether anything that plays is left. A file that cannot be read or cut stays as it is: the error that ended its
        writing counts.
    """
    end = 0
    with contextlib.suppress(OSError):
        with path.open("rb+") as file:
            before = ""
            for kind, box_end in _whole_boxes(file):
                if kind == "mdat" and before in ("moov", "moof"):  # the first one follows the index
                    end = box_end
                before = kind
            if end:
                file.truncate(end)
        if not end:
            path.unlink()
    return end > 0


def _whole_boxes(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Type and end of each box of the outermost level that the file holds to its last byte."""
    length, at = file.seek(0, 2), 0
    while at + 8 <= length:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            size = int.from_bytes(file.read(8), "big")
        if size < 8 or at + size > length:  # 0, "to the end of the file", is what a box has that was never finished
            return
        at += size
        yield kind.decode("latin-1"), at
