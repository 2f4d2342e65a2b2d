"""Files are whole or absent: whatever goes wrong, the old file stays and no temporary is left."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roadedge.atomic import replacing, write_bytes, write_json, write_text
from roadedge.errors import OutputError, SourceError


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text("old")
    return path


def is_untouched(old: Path) -> bool:
    return old.read_text() == "old" and os.listdir(old.parent) == [old.name]


@contextlib.contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Let the system refuse to write beyond `size` bytes of any file: a true half-written file, for any user."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def fail_with(code: int) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_is_written_and_nothing_else(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "mask.png", b"12")
    assert (tmp_path / "a" / "b" / "mask.png").read_bytes() == b"12"
    assert os.listdir(tmp_path / "a" / "b") == ["mask.png"]


def test_text_is_utf8_and_json_ends_with_a_line(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Straße → 道路")
    write_json(tmp_path / "a.json", {"gsd_m": 0.5})
    assert (tmp_path / "a.txt").read_bytes().decode() == "Straße → 道路"
    assert (tmp_path / "a.json").read_text() == '{\n  "gsd_m": 0.5\n}\n'


def test_the_temporary_lies_beside_its_place_and_keeps_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "video.mp4") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".mp4"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_whole_and_no_temporary(old: Path, error: type[BaseException]) -> None:
    def write_half() -> None:
        with replacing(old) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        write_half()
    assert is_untouched(old)


def test_a_write_that_the_system_cuts_off_leaves_the_old_file_whole(old: Path) -> None:
    with files_end_at(1024), pytest.raises(OutputError, match=r"cannot write .*result\.json: File too large"):
        write_bytes(old, bytes(4096))
    assert is_untouched(old)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_is_full_at_the_end_leaves_the_old_file_whole(
    old: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(os, step, fail_with(errno.ENOSPC))
    with pytest.raises(OutputError, match="the disk is full; free some space") as raised:
        write_text(old, "new")
    assert raised.value.exit_code == 9
    assert is_untouched(old)


def test_a_full_disk_while_writing_leaves_no_half_of_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        fail_with(errno.ENOSPC)()

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OutputError, match="the disk is full"):
        write_bytes(tmp_path / "new.png", b"1234")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_a_file_is_one_sentence(old: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_text(old / "inside.txt", "new")
    assert is_untouched(old)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="not an ordinary file"):
        write_text(tmp_path / "taken", "new")
    assert (tmp_path / "taken").is_dir()
    assert os.listdir(tmp_path) == ["taken"]


@pytest.mark.parametrize("nothing", ["", ".", "/"])
def test_no_name_at_all_is_refused(nothing: str) -> None:
    with pytest.raises(OutputError, match="give the name of a file"):
        write_text(nothing, "new")


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # stands for /dev/null, which root could rename over
    with pytest.raises(OutputError, match="not an ordinary file"):
        write_text(tmp_path / "pipe", "new")
    assert (tmp_path / "pipe").is_fifo()


def test_a_source_that_is_lost_while_writing_keeps_its_own_name(old: Path) -> None:
    with pytest.raises(SourceError, match="camera"), replacing(old):
        raise SourceError("the camera was lost")
    assert is_untouched(old)


def test_a_block_that_writes_nothing_is_an_error(old: Path) -> None:
    with pytest.raises(OutputError), replacing(old):
        pass
    assert is_untouched(old)


def test_not_a_number_is_refused_before_anything_is_written(old: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(old, {"loss": float("nan")})
    assert is_untouched(old)


def test_threads_that_write_one_file_leave_one_whole(tmp_path: Path) -> None:
    contents = [json.dumps([n] * 2000) for n in range(8)]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "a.json", c)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.json").read_text() in contents
    assert os.listdir(tmp_path) == ["a.json"]
