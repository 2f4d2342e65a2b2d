"""Files that are either whole or absent: written beside their place under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roadedge.errors import OutputError, RoadEdgeError


@contextlib.contextmanager
def replacing(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder, with the same suffix; rename it to `path` when the block ends well.

    A process that is killed leaves the file whole or absent in any case; with `durable` a machine that loses its power
    does too, for which the disk is waited for: milliseconds that the thousands of frames of a stream do not have.

    Raises:
        OutputError: the folder cannot be written, the disk is full, or `path` is a folder or device; nothing is left
            behind, and what stood at `path` stays as it was.
    """
    target = Path(path)
    if not target.name:
        raise OutputError(f"cannot write {target}: it is a folder; give the name of a file")
    writer = f"{os.getpid()}-{threading.get_ident():x}"  # two threads may write one file: the last one wins, whole
    temporary = target.with_name(f".{target.stem}.{writer}.part{target.suffix}")
    try:
        if target.exists() and not target.is_file():  # a rename over /dev/null would take the device away
            raise OutputError(f"cannot write {target}: it is not an ordinary file; choose another -o/--output")
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        _discard(temporary)
        if isinstance(error, RoadEdgeError):  # a source that was lost while its output was written says so itself
            raise
        raise OutputError.from_os(target, error) from error
    except BaseException:
        _discard(temporary)
        raise


def _discard(temporary: Path) -> None:
    with contextlib.suppress(OSError):  # it was never made, or its folder is no folder: the first error counts
        temporary.unlink()


def write_bytes(path: str | Path, content: bytes, durable: bool = True) -> None:
    """Write `content` to `path`, whole or not at all; `durable` as in `replacing`."""
    with replacing(path, durable) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    write_bytes(path, content.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
