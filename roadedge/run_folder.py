"""The folder that a command writes into: `runs/<command>/<name>[-N]`, or the one that was asked for."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from roadedge.atomic import write_bytes
from roadedge.errors import OutputError, RoadEdgeError, UsageError

RUN_FILES = ("recipe.toml", "env.json", "metrics.json", "samples.csv", "frames.csv")  # what tells a run folder


def open_run_folder(
    command: str,
    name: str,
    output: str | Path | None = None,
    overwrite: bool = False,
    needed: Sequence[Path] = (),
) -> Path:
    """Make an empty folder for a run and prove that it can be written to, before any work is done.

    Args:
        command: `train`, `infer`, `eval` …
        name: of the run; a number is appended where the folder is taken.
        output: another folder; must be absent or empty, unless `overwrite`.
        overwrite: empty `output` first. A folder with none of RUN_FILES, a repository, the home and the working
            directory are refused: a slip with -o must not delete a data set.
        needed: files and folders that the run reads; a folder that holds one of them is not emptied.

    Raises:
        UsageError: `output` is not empty or may not be emptied; `name` is not the name of a folder.
        OutputError: it cannot be written.
    """
    if Path(name).name != name or name in ("", ".."):
        raise UsageError(f"a run's name must be the name of one folder, got {name!r}")
    folder = Path("runs") / command / name if output is None else Path(output)
    made = output is None or not folder.exists()
    try:
        if output is None:
            folder = _make_next(folder)
        else:
            _empty(folder, overwrite, needed)
            folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        write_bytes(probe, bytes(4096))
        probe.unlink()
    except OSError as error:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, RoadEdgeError):
            raise
        raise OutputError.from_os(folder, error) from error
    return folder.resolve()


def newest_run(command: str, holding: str) -> Path | None:
    """The run folder of `command` in which the file `holding` is newest; None where there is none."""
    found = [path for path in Path("runs", command).glob(f"*/{holding}") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def _make_next(wanted: Path) -> Path:
    number, folder = 1, wanted
    while True:
        try:
            folder.mkdir(parents=True)  # fails where another run was faster, so that no two share a folder
        except FileExistsError:
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        else:
            return folder


def _empty(folder: Path, overwrite: bool, needed: Sequence[Path]) -> None:
    inside = list(folder.iterdir()) if folder.is_dir() else []
    if not inside:
        return
    if not overwrite:
        raise UsageError(f"{folder} is not empty; choose another -o/--output or pass --overwrite")
    for path in needed:
        if path.exists() and path.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{folder} holds {path.name}, which this run reads; choose another -o/--output")
    kept = (Path.home(), *Path.home().parents, Path.cwd(), *Path.cwd().parents)
    names = {path.name for path in inside}
    if names.isdisjoint(RUN_FILES) or ".git" in names or folder.resolve() in kept:
        raise UsageError(
            f"{folder} does not look like a run folder, and --overwrite would delete all that is in it; "
            "choose another -o/--output or empty it yourself"
        )
    for path in inside:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
