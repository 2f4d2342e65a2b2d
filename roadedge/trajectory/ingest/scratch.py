"""Temporary files of a sort: a folder beside the output that is gone when the work is, however it ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

from roadedge.errors import OutputError, RoadEdgeError

SUFFIX = ".sorting"


@contextlib.contextmanager
def scratch_folder(output: Path) -> Iterator[Path]:
    """Yield an empty folder beside `output`, on the same disk; removed at the end.

    Those that killed runs for the same output left behind are removed at the beginning.

    Raises:
        OutputError: it cannot be made or filled, the disk being full among others.
    """
    folder = output.with_name(f"{_stem(output)}{os.getpid()}{SUFFIX}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _clear_left_over(output)
        folder.mkdir(exist_ok=True)
        yield folder
    except OSError as error:
        if isinstance(error, RoadEdgeError):
            raise
        raise OutputError.from_os(output, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stem(output: Path) -> str:
    """What the names of this machine's folders for `output` begin with: process numbers mean nothing on another."""
    return f".{output.name}.{zlib.crc32(socket.gethostname().encode()):08x}-"


def _clear_left_over(output: Path) -> None:
    for path in output.parent.glob(f"{_stem(output)}*{SUFFIX}"):
        number = path.name[len(_stem(output)) : -len(SUFFIX)]
        if number.isdecimal() and int(number) != os.getpid() and not _runs(int(number)):
            shutil.rmtree(path, ignore_errors=True)
    for path in output.parent.glob(f".{output.stem}.*.part{output.suffix}"):  # of roadedge.atomic
        number = path.name[len(f".{output.stem}.") :].partition("-")[0]
        if number.isdecimal() and int(number) != os.getpid() and not _runs(int(number)):
            with contextlib.suppress(OSError):
                path.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
