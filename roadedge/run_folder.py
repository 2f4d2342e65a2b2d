"""The folder that a command writes into: `runs/<command>/<name>[-N]`, or the one that was asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

from roadedge.errors import OutputError, UsageError


def open_run_folder(command: str, name: str, output: str | Path | None = None, overwrite: bool = False) -> Path:
    """Make an empty folder for a run and prove that it can be written to, before any work is done.

    Args:
        command: `train`, `infer`, `eval` …
        name: of the run; a number is appended where the folder is taken.
        output: another folder; must be absent or empty, unless `overwrite`.
        overwrite: empty `output` first. Only what an earlier run may have written is in there: a folder that holds a
            repository, or is the home or working directory, is refused.

    Raises:
        UsageError: `output` is not empty.
        OutputError: it cannot be written.
    """
    folder = Path(output) if output is not None else _next_free(Path("runs") / command / name)
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise UsageError(f"{folder} is not empty; choose another -o/--output or pass --overwrite")
        if (folder / ".git").exists() or folder.resolve() in (Path.home(), Path.cwd(), *Path.cwd().parents):
            raise UsageError(f"{folder} is not a run folder; --overwrite would delete all that is in it")
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"roadedge")
        probe.unlink()
    except OSError as error:
        raise OutputError.from_os(folder, error) from error
    return folder.resolve()


def newest_run(command: str, holding: str) -> Path | None:
    """The run folder of `command` in which the file `holding` is newest; None where there is none."""
    found = [path for path in Path("runs", command).glob(f"*/{holding}") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def _next_free(wanted: Path) -> Path:
    number, folder = 1, wanted
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder
