"""One UDP port and the thread that reads it, for whoever wants what arrives: points beside the frames, telemetry."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from roadedge.errors import SourceError, UsageError

SHARE = 0.5  # of one core that the receiver takes at most: a flood must not hold up the frames
POLL_S = 0.1  # after which the receiver looks whether it should end
SO_MEMINFO = 55  # of Linux, which Python's socket does not name: nine numbers, the last those dropped
KERNEL_BYTES = 1 << 20  # asked of the system for datagrams that wait for the receiver
FORM = "udp://HOST:PORT, as in udp://0.0.0.0:10110, with ?time=arrival for senders whose clock is not to be trusted"

Hand = Callable[[bytes, object], None]  # takes a datagram and who sent it


@dataclass(frozen=True, slots=True)
class UdpAddress:
    """`udp://HOST:PORT[?time=arrival]`: `own_times` says whether senders' times are to be trusted."""

    text: str
    name: str
    host: str
    port: int
    own_times: bool

    def same_port(self, other: UdpAddress) -> bool:
        """Whether both are one port of this machine."""
        return (self.host, self.port) == (other.host, other.port)


class UdpReceiver:
    """Reads a port on a thread of its own and hands each datagram to all who listen, in the order of their coming."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        """Receive with the first listener; `close` ends it. `connection` is bound, and becomes the receiver's."""
        self.address: tuple[str, int] = connection.getsockname()[:2]
        self.name = name
        self._connection = connection
        self._hands: tuple[Hand, ...] = ()
        self._problem = ""
        self._closing = threading.Event()
        connection.settimeout(POLL_S)
        self._thread = threading.Thread(target=self._receive, name=f"feed {name}", daemon=True)

    def listen(self, hand: Hand) -> None:
        """Give each datagram from now on to `hand`, which is called by the receiver's thread."""
        self._hands = (*self._hands, hand)
        if not self._thread.is_alive() and not self._closing.is_set():
            self._thread.start()

    def problem(self) -> str:
        """What ended the receiver, "" while it works."""
        return self._problem

    def lost_in_system(self) -> int:
        """Datagrams that the system dropped for want of room; 0 where it does not say (Linux does)."""
        if not sys.platform.startswith("linux"):
            return 0
        try:
            numbers = struct.unpack("9I", self._connection.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
        except (OSError, struct.error):  # closed, or an old kernel
            return 0
        return int(numbers[8])

    def close(self) -> None:
        """End the receiver and give the port back; twice is no error."""
        self._closing.set()
        with contextlib.suppress(OSError):  # closed before; or the receiver ends with its next look
            self._connection.sendto(b"", self.address)  # wakes it
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)
        self._connection.close()

    def _receive(self) -> None:
        begin_s, begin_cpu_s = time.monotonic(), time.thread_time()
        while not self._closing.is_set():
            if time.monotonic() > begin_s + POLL_S:
                begin_s, begin_cpu_s = time.monotonic(), time.thread_time()
            elif time.thread_time() > begin_cpu_s + SHARE * POLL_S:
                self._closing.wait(begin_s + POLL_S - time.monotonic())
            try:
                datagram, sender = self._connection.recvfrom(65535)
            except TimeoutError:
                continue
            except OSError as error:
                if error.errno == errno.ECONNREFUSED:  # an answer to nothing of ours
                    continue
                self._problem = f"{self.name} stopped: {error.strerror or error}"
                return
            for hand in self._hands:
                hand(datagram, sender)


def parse_udp(text: str, of: str = "points") -> UdpAddress:
    """An address as it stands on the command line; raises UsageError."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "0.0.0.0", parts.port
        wish = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError as error:
        raise UsageError(f"{text!r} is no address ({error}); expected {FORM}") from error
    if port is None or parts.path not in ("", "/") or wish not in ({}, {"time": "arrival"}, {"time": "own"}):
        raise UsageError(f"{text!r} is no address of {of}; expected {FORM}")
    return UdpAddress(text, f"udp://{parts.netloc}", host, port, wish.get("time") != "arrival")


def bound(where: UdpAddress) -> socket.socket:
    """A socket on that port; an address of 224. to 239. is joined as a multicast group.

    Raises:
        SourceError: the port cannot be had.
    """
    host, port, text = where.host, where.port, where.text
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise SourceError(f"cannot find the host of {text}: {error.strerror or error}") from error
    connection = socket.socket(family, socket.SOCK_DGRAM)
    try:
        with contextlib.suppress(OSError):  # the system's own size goes as well
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
        multicast = family == socket.AF_INET and 224 <= int(str(address[0]).split(".")[0]) <= 239
        if multicast:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind(address)
        if multicast:
            group = struct.pack("4sI", socket.inet_aton(str(address[0])), socket.INADDR_ANY)
            connection.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    except OSError as error:
        connection.close()
        raise SourceError(_sentence(text, host, port, error)) from error
    return connection


def _sentence(text: str, host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {text} is in use by another program; end that one or choose another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine; receive on udp://0.0.0.0:{port} to take points from everywhere"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} may not be opened by this user; choose one from 1024 on"
    return f"cannot receive on {text}: {error.strerror or error}"
