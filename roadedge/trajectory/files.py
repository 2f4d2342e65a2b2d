"""Opening a trajectory file: packed or not, whole or not, text or not."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from roadedge.errors import PointsError

_HEAD = 1 << 16


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Yield the file's unpacked bytes (`.gz` by its name).

    Raises:
        PointsError: the file is missing, unreadable or empty, or its gzip stream is broken; also from within the block.
    """
    packed = path.suffix.lower() == ".gz"
    try:
        if path.stat().st_size == 0:
            raise PointsError(f"{path} is empty; expected a trajectory file")
        with path.open("rb") as raw, cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise PointsError(f"{path} is not a whole gzip file ({error}); copy or pack it again") from error
    except OSError as error:
        raise PointsError(f"cannot read {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def opened_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """Yield the file as UTF-8 text, at its beginning.

    Raises:
        PointsError: as `opened`; also where the first bytes are no text.
    """
    with opened(path) as file:
        head = io.BufferedReader(cast(io.RawIOBase, file), _HEAD)
        check_text(head.peek(_HEAD), path)
        # What breaks further on breaks its own row only, and is counted there.
        yield io.TextIOWrapper(head, "utf-8-sig", errors="replace", newline="")


def check_text(head: bytes, path: Path) -> None:
    """Raise PointsError where `head`, the first bytes of a file, is not UTF-8 text or nothing at all."""
    if not head.strip():
        raise PointsError(f"{path} is empty; expected a trajectory file")
    try:
        head[: head.rfind(b"\n") + 1 or None].decode("utf-8")
    except UnicodeDecodeError:
        binary = True
    else:
        binary = b"\0" in head
    if binary:
        raise PointsError(f"{path} is not a text file (it begins {head[:8]!r}); give it the suffix of its format")
