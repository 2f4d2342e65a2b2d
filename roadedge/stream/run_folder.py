"""The folder of a run: made and tested before any work, so that no result is lost for want of a place."""

from __future__ import annotations

from pathlib import Path

from roadedge.atomic import write_bytes
from roadedge.errors import OutputError


def open_run_folder(output: Path | None, command: str, name: str, overwrite: bool = False) -> Path:
    """Make the folder of a run and write to it once.

    Args:
        output: where; None takes `runs/<command>/<name>`, or the first free `<name>-2`, `<name>-3` …
        command: of the command line.
        name: of the run.
        overwrite: files of `output` may be replaced by those of the same name; the others stay.

    Returns:
        The folder's absolute path.

    Raises:
        OutputError: it holds something and `overwrite` is not set, or nothing can be written to it.
    """
    folder = _free(Path("runs") / command, name) if output is None else output.expanduser()
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give a folder for -o/--output")
    if output is not None and not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise OutputError(
            f"{folder} is not empty; give another -o/--output, or --overwrite to replace what has the same name"
        )
    probe = folder / ".probe"
    write_bytes(probe, bytes(4096))
    probe.unlink()
    return folder.resolve()


def _free(parent: Path, name: str) -> Path:
    folder, number = parent / name, 1
    while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        number += 1
        folder = parent / f"{name}-{number}"
    return folder
