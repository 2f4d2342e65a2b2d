"""What of a data set is finished, so that a run which was killed goes on where it was."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roadedge.errors import DataError, OutputError, RoadEdgeError, UsageError

NAME = "tiles.jsonl"


class Journal:
    """One line a tile, written when all its files are: `done` maps the ids of finished tiles to their records."""

    def __init__(self, folder: Path, identity: dict[str, Any], resume: bool) -> None:
        """Open the journal in `folder`; with `resume`, go on with the one that is there.

        Raises:
            UsageError: it is of other inputs or settings.
        """
        self._folder = folder
        self._path = folder / NAME
        self.done: dict[str, dict[str, Any]] = {}
        lines = _whole_lines(self._path) if resume and self._path.exists() else []
        if lines:
            _check_same(lines[0], identity, folder)
            self.done = {line["id"]: line for line in lines[1:] if _files_are_whole(folder, line)}
        self._file = self._path.open("w", encoding="utf-8")
        for line in [identity, *self.done.values()]:
            self._write(line)

    def add(self, record: dict[str, Any]) -> None:
        """A tile is finished."""
        self.done[record["id"]] = record
        self._write(record)

    def close(self) -> None:
        """Close the file; what it says stays."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def finished(output: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a data set that stands at its place already; None where there is none.

    Raises:
        UsageError: it is of other inputs or settings.
    """
    path = output / "manifest.json"
    if not path.is_file():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is no manifest that can be read ({error}); pass --overwrite to begin anew") from error
    _check_same({name: manifest.get(name) for name in identity}, json.loads(json.dumps(identity)), output)
    return manifest


@contextlib.contextmanager
def work_folder(output: Path, resume: bool, overwrite: bool, keep: bool = False) -> Iterator[Path]:
    """Yield the hidden folder beside `output` in which it is made; it is renamed when the block ends well.

    A folder of a run that was stopped is gone on with by `resume`, emptied by `overwrite`. After a DataError it goes,
    unless `keep`.

    Raises:
        UsageError: `output` is there, an unfinished one is and neither was asked, or another run is at work on it.
        OutputError: it cannot be written.
    """
    folder = output.with_name(f".{output.name}.unfinished")
    try:
        _check_output(output, overwrite)
        if folder.exists() and not (resume or overwrite):
            raise UsageError(
                f"a run for {output} was stopped before its end; pass --resume to go on with it, or --overwrite to "
                "begin anew"
            )
        if resume and not folder.exists():
            raise UsageError(f"there is nothing to resume for {output}; leave --resume out")
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, output):
            for path in folder.glob("*/.*.part*"):  # what a kill left half-written
                path.unlink()
            if overwrite and not resume:
                for path in folder.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
                    elif path.name != ".lock":
                        path.unlink()
            try:
                yield folder
            except DataError:
                if not keep:  # inputs will not be better when it is resumed
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            (folder / NAME).unlink(missing_ok=True)
            (folder / ".lock").unlink()
            _put_in_place(folder, output)
    except OSError as error:
        if isinstance(error, RoadEdgeError):
            raise
        raise OutputError.from_os(output, error) from error


def _put_in_place(folder: Path, output: Path) -> None:
    """Rename the finished folder; what stood there goes only when the new one stands."""
    before = output.with_name(f".{output.name}.replaced")
    if output.exists():
        shutil.rmtree(before, ignore_errors=True)
        output.rename(before)
    folder.rename(output)
    shutil.rmtree(before, ignore_errors=True)


def _check_output(output: Path, overwrite: bool) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"{output} is a file; give -o/--output the name of a folder")
    if not any(output.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"{output} is not empty; choose another -o/--output or pass --overwrite")
    if not (output / "manifest.json").is_file() or output.resolve() in (Path.home(), Path.cwd(), *Path.cwd().parents):
        raise UsageError(
            f"{output} is no data set that roadedge prepared (it has no manifest.json), and --overwrite would delete "
            "all that is in it; choose another -o/--output"
        )


@contextlib.contextmanager
def _locked(folder: Path, output: Path) -> Iterator[None]:
    """Hold the folder for one run; the system lets go of it however the process ends."""
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another run is at work on {output}; wait for it, or choose another -o/--output"
            ) from error
        yield


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; the last one may have been cut by a kill."""
    lines = []
    for text in path.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _check_same(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    changed = [name for name in {*before, *now} if before.get(name) != now.get(name)]
    if changed:
        name = sorted(changed)[0]
        raise UsageError(
            f"the run in {folder} had {name} = {before.get(name)!r}, this one has {now.get(name)!r}; resume "
            "with the same inputs and settings, or pass --overwrite"
        )


def _files_are_whole(folder: Path, record: dict[str, Any]) -> bool:
    return all(
        (folder / name).is_file() and digest_of(folder / name) == digest
        for name, digest in record.get("files", {}).items()
    )


def digest_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
