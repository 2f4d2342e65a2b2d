"""Files from the net: fetched once, whole or not at all, with their digest checked where one is known."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import roadedge
from roadedge.atomic import replacing
from roadedge.environment import masked
from roadedge.errors import ModelFileError, SourceError, UsageError

CACHE_VARIABLE = "ROADEDGE_CACHE"
DIGEST_MARK = "#sha256="
TIMEOUT_S = 30.0  # without a byte
CHUNK_BYTES = 1 << 20
STALE_S = 3600.0
TOLD_EVERY_BYTES = 100 << 20  # where no bar can be drawn
# what a lost or absent connection raises; other OSErrors are those of our own file
LOST = (
    urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError, ValueError,
)  # fmt: skip
Tell = Callable[[str], None]


def is_url(text: str) -> bool:
    """Whether a text is an address that `fetch` takes."""
    return text.lower().startswith(("http://", "https://"))


def without_digest(text: str) -> tuple[str, str | None]:
    """`PLACE#sha256=DIGEST` → (PLACE, digest in small letters); without the mark (text, None).

    Raises:
        UsageError: what follows the mark is no SHA-256 digest.
    """
    place, mark, digest = text.partition(DIGEST_MARK)
    if not mark:
        return text, None
    if re.fullmatch(r"[0-9a-fA-F]{64}", digest) is None:
        raise UsageError(f"{DIGEST_MARK} is followed by 64 hexadecimal digits, got {digest!r}")
    return place, digest.lower()


def cache_folder() -> Path:
    """Where what can be had again is kept: $ROADEDGE_CACHE, else roadedge/ in the user's cache.

    Raises:
        UsageError: the user has no home, as in a container of a number without a name.
    """
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base).expanduser() if base else Path.home() / ".cache") / "roadedge"
    except RuntimeError as error:
        raise UsageError(
            f"this user has no home folder to cache files in; name a folder in {CACHE_VARIABLE}"
        ) from error


def cached_path(url: str) -> Path:
    """Where the file of an address is kept; the address is part of the name, so that no two share one."""
    name = re.sub(r"[^\w.\-]", "_", unquote(Path(urlsplit(url).path).name)) or "file"
    return cache_folder() / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:16] / name


def fetch(url: str, sha256: str | None = None, tell: Tell = lambda text: None) -> Path:
    """The file of an address, from the cache where it was fetched before.

    Args:
        url: http or https.
        sha256: its digest; None for no check.
        tell: is given lines for the log: what is fetched, and without a terminal how far it is.

    Raises:
        SourceError: no network, no such host or file, or the connection broke off.
        ModelFileError: the file has another digest than asked for; it is not kept.
        OutputError: the cache cannot be written, or the disk is full.
    """
    path = cached_path(url)
    if path.is_file():
        if sha256 is None or digest_of(path) == sha256.lower():
            return path
        tell(f"{path}, fetched before, has another digest than {sha256.lower()}; it is fetched anew")
    tell(f"fetching {masked(url)}")
    _sweep(path.parent)
    with replacing(path) as temporary:
        _receive(url, temporary, tell)
        if sha256 is not None:
            check_digest(temporary, sha256, masked(url))
    tell(f"kept as {path}")
    return path


def check_digest(path: Path, sha256: str, called: str | None = None) -> None:
    """Raise ModelFileError where a file has another digest; `called` is its name in the message."""
    if (digest := digest_of(path)) != sha256.lower():
        raise ModelFileError(
            f"{called or path} has the SHA-256 digest {digest} and {sha256.lower()} was expected; "
            "it is another file, or was changed: fetch it again from where the digest is given"
        )


def digest_of(path: Path) -> str:
    """The SHA-256 digest of a file in small letters, without holding it in memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _receive(url: str, path: Path, tell: Tell) -> None:
    """Copy what an address answers into `path`; raises SourceError."""
    said = masked(url)
    try:
        with urllib.request.urlopen(_request(url), timeout=TIMEOUT_S) as answer, path.open("wb") as file:
            size = int(answer.headers.get("Content-Length") or 0)
            _check_room(path, size)
            received = _copy(answer, file, size, tell)
    except urllib.error.HTTPError as error:
        raise SourceError(f"{said} answered {error.code} {error.reason}; check the address") from error
    except LOST as error:
        reason = masked(str(getattr(error, "reason", None) or error))
        raise SourceError(
            f"cannot fetch {said} ({reason}); is there a network? else fetch it elsewhere and give the file"
        ) from error
    if size and received != size:
        raise SourceError(f"{said} broke off after {received} of {size} bytes; run again")


def _request(url: str) -> urllib.request.Request:
    """What is asked of a server; a name and password in the address become the header that they stand for."""
    parts = urlsplit(url)
    user, mark, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)))
    request.add_header("User-Agent", f"roadedge/{roadedge.__version__}")
    if mark:  # not handed on to another server that this one sends us to
        word = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {word}")
    return request


def _sweep(folder: Path) -> None:
    """Take away what a download left that was killed: parts that nobody has written to for an hour."""
    for part in folder.glob(".*.part*"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE_S:
                part.unlink()


def _check_room(path: Path, size: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise SourceError(
            f"the file has {size / 1e6:.0f} MB and {free / 1e6:.0f} MB are free where {path.parent} lies; "
            f"free some space, or let {CACHE_VARIABLE} name another folder"
        )


def _copy(answer: Any, file: Any, size: int, tell: Tell) -> int:
    """Bytes that were copied; with a bar on a terminal, else with lines."""
    received, told = 0, 0
    with _Bar(size) as advance:
        while chunk := answer.read(CHUNK_BYTES):
            file.write(chunk)
            received += len(chunk)
            advance(len(chunk))
            if received - told >= TOLD_EVERY_BYTES:
                told = received
                tell(f"{received / 1e6:.0f} MB" + (f" of {size / 1e6:.0f} MB" if size else ""))
    return received


class _Bar:
    """A progress bar on stderr where that is a terminal; entering gives what moves it on."""

    def __init__(self, size: int) -> None:
        self._progress: Any = None
        self._size = size

    def __enter__(self) -> Callable[[int], None]:
        if not sys.stderr.isatty():
            return lambda count: None
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        task = self._progress.add_task("fetch", total=self._size or None)
        self._progress.start()
        return lambda count: self._progress.advance(task, count)

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
