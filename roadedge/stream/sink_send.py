"""Each frame's roads as JSON to a consumer beside the camera: `--send udp://HOST:PORT` or `--send stdout`.

A consumer that does not read costs it messages, and the run nothing: neither time nor memory.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from roadedge.errors import OutputError, UsageError
from roadedge.latency.clock import Clock, HostClock
from roadedge.stream.road_lines import RoadLines
from roadedge.stream.sink_geojson import Epoch
from roadedge.stream.sink_message import COORDINATES, Message, message_of
from roadedge.stream.sinks import Result, Sink

DATAGRAM_BYTES = 1400  # what passes an Ethernet in one piece, with room for tunnels
SMALLEST, LARGEST = 600, 65507  # facts of a frame without lines; what UDP can carry
WAITING = 8  # messages that may wait for a consumer on a pipe; then the oldest gives way
PATIENCE_S = 1.0  # for a consumer that does not read, at the end of the run
CHUNK = 4096  # bytes that a pipe takes at once where it takes any (PIPE_BUF of Linux)
LOOK_MS = 50


def open_send(to: str, roads: RoadLines, epoch: Epoch = lambda: None, clock: Clock | None = None) -> Sink:
    """A sink for `--send`.

    Args:
        to: `stdout`, or `udp://HOST:PORT`, where an IPv6 address stands in brackets. Either may end in options:
            `?lines=px,lonlat` gives the lines in some of COORDINATES only, `?bytes=9000` lets datagrams be longer.
        roads: traces a result.
        epoch: seconds since 1970 at the stream's zero, for the field `time`.
        clock: of the ages; the host's by default.

    Raises:
        UsageError: neither of the two, or an option that is none.
        OutputError: a host that has no address.
    """
    try:
        address = urlsplit(to)
        options = dict(parse_qsl(address.query, keep_blank_values=True, strict_parsing=bool(address.query)))
        host, port = address.hostname or "", address.port or 0
    except ValueError as error:
        raise UsageError(f"--send takes udp://HOST:PORT or stdout, got {to!r} ({error})") from error
    kinds = tuple(options.pop("lines", ",".join(COORDINATES)).split(","))
    if not set(kinds) <= set(COORDINATES):
        raise UsageError(f"lines= takes some of {','.join(COORDINATES)}, got {','.join(kinds)}")
    way = _Way(roads, epoch, clock or HostClock(), kinds)
    if address.scheme == "udp" and host and port and address.path in ("", "/"):
        limit = options.pop("bytes", str(DATAGRAM_BYTES))
        if not options and limit.isdecimal() and SMALLEST <= int(limit) <= LARGEST:
            return UdpSink(host, port, way, int(limit))
        raise UsageError(f"datagrams have {SMALLEST} to {LARGEST} bytes (bytes=) and lines=, got {to!r}")
    if (address.scheme, address.netloc, address.path) == ("", "", "stdout") and not options:
        return PipeSink(os.dup(1), "stdout", way)
    raise UsageError(f"--send takes udp://HOST:PORT or stdout, got {to!r}")


@dataclass(frozen=True, slots=True)
class _Way:
    """What both ways of sending share."""

    roads: RoadLines
    epoch: Epoch
    clock: Clock
    kinds: Sequence[str] = COORDINATES


class _SendSink(Sink):
    """What both ways of sending share: making messages, counting those that were lost, by cause."""

    def __init__(self, to: str, way: _Way, limit: int | None, end: bytes) -> None:
        self.name = f"send {to}"
        self.dropped: Counter[str] = Counter()
        self.truncated = self.largest = 0
        self._way, self._limit, self._end = way, limit, end
        self._made = 0

    def _message(self, result: Result) -> Message:
        """Encode the next message; its age goes on counting from here."""
        way, made_ns = self._way, self._way.clock.now_ns()
        lines = way.roads(result)
        message = message_of(result, lines, self._made, made_ns, way.kinds, self._limit, way.epoch(), self._end)
        self._made += 1
        self.truncated += message.truncated
        return message

    def _leaving(self, message: Message) -> bytes:
        content = message.leaving(self._way.clock.now_ns(), time.time())
        self.largest = max(self.largest, len(content))
        return content

    def describe(self) -> dict[str, Any]:
        """What was sent, what was not and why."""
        lost = {"dropped": dict(self.dropped), "truncated": self.truncated, "largest_bytes": self.largest}
        return {**super().describe(), "made": self._made, **lost}


class UdpSink(_SendSink):
    """One datagram a frame; one that cannot leave at once is dropped, and a host where nobody listens is no error."""

    def __init__(self, host: str, port: int, way: _Way, limit: int = DATAGRAM_BYTES) -> None:
        """Look the host up, once; raises OutputError where it has no address."""
        super().__init__(f"udp://{f'[{host}]' if ':' in host else host}:{port}", way, limit, b"")
        try:
            known = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            # localhost is ::1 first on many machines, and what listens there listens on 127.0.0.1
            family, kind, protocol, _, address = min(known, key=lambda one: one[0] != socket.AF_INET)
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self._socket.connect(address)  # so that the host can say that nobody listens
        except OSError as error:
            raise OutputError(f"cannot send to {host}:{port}: {error.strerror or error}") from error

    def write(self, result: Result) -> None:
        """Send one datagram."""
        content = self._leaving(self._message(result))
        try:
            try:
                self._socket.send(content)
            except ConnectionRefusedError:  # what the host says of an earlier datagram; this one was not sent yet
                self.dropped["nobody listens"] += 1
                self._socket.send(content)
        except BlockingIOError:
            self.dropped["network too slow"] += 1
        except OSError as error:
            self.dropped[error.strerror or "not sent"] += 1
        else:
            self._count(len(content))

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


class PipeSink(_SendSink):
    """One line a frame into a pipe (or file, or terminal), written by a thread of its own.

    Of what the consumer has not taken, the newest WAITING messages are kept. A line that was begun is written to its
    end. A consumer that closes its end of the pipe ends the run: the next `write` raises OutputError.
    """

    def __init__(self, file: int, to: str, way: _Way) -> None:
        """Start the thread; `file` is a descriptor, which is closed in the end."""
        super().__init__(to, way, None, b"\n")
        self._file, self._to = file, to
        self._waiting: deque[Message] = deque()
        self._signal = threading.Condition()
        self._closed = False
        self._give_up_at: float | None = None
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="send", daemon=True)
        self._thread.start()

    def write(self, result: Result) -> None:
        """Hand a message to the thread.

        Raises:
            OutputError: the consumer has closed its end, or the disk behind it is full.
        """
        if self._failure is not None:
            raise self._said(self._failure) from self._failure
        message = self._message(result)
        with self._signal:
            if len(self._waiting) >= WAITING:
                self._waiting.popleft()
                self.dropped["consumer too slow"] += 1
            self._waiting.append(message)
            self._signal.notify()

    def close(self) -> None:
        """Wait a second for the consumer to take what is left."""
        with self._signal:
            if self._closed:
                return
            self._closed = True
            self._give_up_at = time.monotonic() + PATIENCE_S
            self._signal.notify()
        self._thread.join(PATIENCE_S + 1.0)
        if self._waiting:
            self.dropped["consumer gone" if self._failure else "consumer too slow"] += len(self._waiting)
            self._waiting.clear()
        if not self._thread.is_alive():  # else it still holds the descriptor, in a write that does not return
            os.close(self._file)

    def _run(self) -> None:
        try:
            while (message := self._next()) is not None:
                content = self._leaving(message)
                if not self._deliver(content):
                    self.dropped["consumer too slow"] += 1
                    return
                self._count(len(content))
        except OSError as error:
            self.dropped["consumer gone" if error.errno == errno.EPIPE else "not written"] += 1
            self._failure = error

    def _next(self) -> Message | None:
        with self._signal:
            while not self._waiting:
                if self._closed:
                    return None
                self._signal.wait()
            return self._waiting.popleft()

    def _deliver(self, content: bytes) -> bool:
        """Write a line as the consumer takes it; False where the run ended before it did."""
        rest = memoryview(content)
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        while rest:
            if self._give_up_at is not None and time.monotonic() > self._give_up_at:
                return False
            if not poll.poll(LOOK_MS):
                continue
            try:
                rest = rest[os.write(self._file, rest[:CHUNK]) :]
            except BlockingIOError:  # another process that holds the same pipe may have made it so
                time.sleep(LOOK_MS / 1e3)
        return True

    def _said(self, error: OSError) -> OutputError:
        if error.errno == errno.EPIPE:
            return OutputError(f"the consumer of {self._to} closed its end after {self.frames} messages; the run ends")
        return OutputError.from_os(self._to, error)
