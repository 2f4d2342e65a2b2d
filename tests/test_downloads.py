"""Files from the net, by a server on this machine: whole or not at all, once, with their digest."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadedge.downloads import cached_path, fetch, is_url, without_digest
from roadedge.errors import ModelFileError, OutputError, SourceError, UsageError
from roadedge.weights import find_weights

CONTENT = bytes(range(256)) * 8192  # 2 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """`/whole.pth`, `/cut.pth` that breaks off, `/moved.pth` that leads to the first; anything else is not there."""

    asked: list[str]
    passwords: list[str]

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        if "Authorization" in self.headers:
            type(self).passwords.append(self.headers["Authorization"])
        if self.path == "/moved.pth":
            self.send_response(302)
            self.send_header("Location", "/whole.pth")
            self.end_headers()
            return
        if self.path.partition("?")[0] not in ("/whole.pth", "/cut.pth", "/unsized"):
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 1000 if self.path == "/cut.pth" else None])

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("ROADEDGE_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Handler.asked, Handler.passwords = [], []
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_address[1]}"
    served.shutdown()
    thread.join()
    served.server_close()


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["whole.pth", "moved.pth", "unsized"])
def test_a_file_comes_once_and_whole(server: str, name: str) -> None:
    said: list[str] = []
    path = fetch(f"{server}/{name}", DIGEST, said.append)
    assert path.read_bytes() == CONTENT
    assert path.name == name
    assert said[0] == f"fetching {server}/{name}"
    before = list(Handler.asked)
    assert fetch(f"{server}/{name}", DIGEST) == path
    assert Handler.asked == before


def test_two_addresses_of_one_name_are_two_files(server: str) -> None:
    assert cached_path(f"{server}/whole.pth?v=1") != cached_path(f"{server}/whole.pth?v=2")


def test_what_breaks_off_is_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"broke off after 1000 of 2097152 bytes|cannot fetch"):
        fetch(f"{server}/cut.pth")
    assert left_in(tmp_path) == []


def test_what_is_not_there_says_so(server: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="answered 404"):
        fetch(f"{server}/none.pth")
    assert left_in(tmp_path) == []


def test_without_a_network_it_is_one_clear_sentence(server: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot fetch http://127\.0\.0\.1:1/w\.pth .*is there a network\?"):
        fetch("http://127.0.0.1:1/w.pth")
    assert left_in(tmp_path) == []


def test_passwords_are_given_to_the_server_and_to_nobody_else(server: str) -> None:
    said: list[str] = []
    path = fetch(server.replace("http://", "http://me:s%20cret@") + "/whole.pth", tell=said.append)
    assert path.read_bytes() == CONTENT
    assert Handler.passwords == ["Basic " + base64.b64encode(b"me:s cret").decode()]
    with pytest.raises(SourceError) as caught:
        fetch("http://me:s%20cret@127.0.0.1:1/w.pth")
    assert "cret" not in "".join([*said, str(caught.value)])


def test_what_a_killed_download_left_is_swept_away_after_an_hour(server: str) -> None:
    path = cached_path(f"{server}/whole.pth")
    path.parent.mkdir(parents=True)
    old, new = path.with_name(".whole.1-1.part.pth"), path.with_name(".whole.2-2.part.pth")
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (1, 1))
    fetch(f"{server}/whole.pth")
    assert sorted(left_in(path.parent)) == [new.name, path.name]


def test_another_digest_is_refused_and_nothing_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=f"{DIGEST} and {'0' * 64} was expected"):
        fetch(f"{server}/whole.pth", "0" * 64)
    assert left_in(tmp_path) == []


def test_a_kept_file_of_another_digest_is_fetched_anew(server: str) -> None:
    path = fetch(f"{server}/whole.pth")
    path.write_bytes(b"something else")
    said: list[str] = []
    assert fetch(f"{server}/whole.pth", DIGEST, said.append).read_bytes() == CONTENT
    assert "another digest" in said[0]
    path.write_bytes(b"something else")
    with pytest.raises(ModelFileError, match="another file, or was changed"):
        fetch(f"{server}/whole.pth", "0" * 64)


def test_a_cache_that_cannot_be_written_is_told(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ROADEDGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError):
        fetch(f"{server}/whole.pth")


def test_a_digest_stands_behind_the_place() -> None:
    assert without_digest(f"a/b.pth#sha256={DIGEST.upper()}") == ("a/b.pth", DIGEST)
    assert without_digest("a/b.pth") == ("a/b.pth", None)
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        without_digest("a/b.pth#sha256=12")


def test_weights_are_found_by_path_address_and_name(server: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(CONTENT)
    assert find_weights(str(path)) == path
    assert find_weights(f"{path}#sha256={DIGEST}") == path
    assert find_weights(f"{server}/whole.pth#sha256={DIGEST}").read_bytes() == CONTENT
    assert find_weights("roadedge-s").name == "roadedge-s.pt"
    assert not is_url("roadedge-s")
    with pytest.raises(ModelFileError, match="was expected"):
        find_weights(f"{path}#sha256={'1' * 64}")
    with pytest.raises(ModelFileError, match="there is no file"):
        find_weights(str(tmp_path / "absent.pth"))
