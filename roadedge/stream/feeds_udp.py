"""Live points over UDP, as NMEA or JSON: a thread that receives into a buffer with an end."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
import threading
import time
from array import array
from collections.abc import Callable
from urllib.parse import SplitResult, parse_qsl, urlsplit

import numpy as np

from roadedge.errors import SourceError, UsageError
from roadedge.stream.feeds import Feed, FeedOptions
from roadedge.stream.feeds_crs import check_crs
from roadedge.stream.feeds_file import on_wgs84
from roadedge.stream.feeds_json import sightings
from roadedge.stream.feeds_nmea import NmeaSentences
from roadedge.trajectory.points import Points

HELD_POINTS = 200_000  # between two frames, 5 MB; beyond, what comes is counted as dropped and not even read
SHARE = 0.5  # of one core that the receiver takes at most: a flood must not hold up the frames
POLL_S = 0.1  # after which the receiver looks whether it should end
SO_MEMINFO = 55  # of Linux, which Python's socket does not name: nine numbers, the last those dropped
KERNEL_BYTES = 1 << 20  # asked of the system for datagrams that wait for the receiver
FORM = "udp://HOST:PORT, as in udp://0.0.0.0:10110, with ?time=arrival for senders whose clock is not to be trusted"

UtcOf = Callable[[], float]  # seconds since 1970, now


class HostUtc:
    """Seconds since 1970 by the host: read once, carried on by `perf_counter_ns`; a step of the clock moves nothing."""

    def __init__(self) -> None:
        """Read the host's clock."""
        self._zero_s = time.time() - time.perf_counter_ns() / 1e9

    def now_s(self) -> float:
        """Now."""
        return self.of(time.perf_counter_ns())

    def of(self, moment_ns: int) -> float:
        """Of a moment of `perf_counter_ns`."""
        return self._zero_s + moment_ns / 1e9


class UdpFeed(Feed):
    """What arrives at a UDP port, sorted by content: lines with $ are NMEA, those with { or [ JSON.

    A point's time is its own, UTC; of those that have none it is the moment of arrival. All points of a feed are either
    longitude and latitude or x, y: the first one decides, the others are counted `other_crs`. Beside the reasons of
    the two formats, `dropped` counts `unreadable` datagrams and `overflow`: datagrams that came while `HELD_POINTS`
    waited for the next frame, and on Linux `lost_in_system`: those that came faster than they were read.
    """

    live = True
    utc = True

    def __init__(
        self,
        connection: socket.socket,
        name: str,
        options: FeedOptions,
        own_times: bool = True,
        now_s: UtcOf | None = None,
        held_points: int = HELD_POINTS,
    ) -> None:
        """Begin to receive; `close` ends it.

        Args:
            connection: a bound datagram socket, which becomes the feed's.
            name: of the feed.
            options: `points_crs` is that of x, y.
            own_times: False takes the time of arrival for all points.
            now_s: seconds since 1970 by the host.
            held_points: how many may wait for the next frame.
        """
        super().__init__(name)
        self.address: tuple[str, int] = connection.getsockname()[:2]
        self._connection, self._options, self._own_times = connection, options, own_times
        self._now_s = now_s or HostUtc().now_s
        self._held = held_points
        self._nmea = NmeaSentences(self.dropped, self.noticed)
        self._lock = threading.Lock()
        self._buffer = array("d")  # t, x, y of each point
        self._problem = ""
        self._closing = threading.Event()
        connection.settimeout(POLL_S)
        self._thread = threading.Thread(target=self._receive, name=f"feed {name}", daemon=True)
        self._thread.start()

    def take(self, until_s: float) -> Points | None:
        """All points that have arrived since the last call; times later than `until_s` too."""
        with self._lock:
            taken, self._buffer = self._buffer, array("d")
        lost = _lost_in_system(self._connection)
        if lost:
            self.dropped["lost_in_system"] = lost
        if not taken:
            return None
        t_s, x, y = np.frombuffer(taken, np.float64).reshape(-1, 3).T
        return on_wgs84(Points(x.copy(), y.copy(), t_s.copy(), crs=self.crs), self._options.datum)

    def problem(self) -> str:
        """What ended the receiver, "" while it works."""
        return self._problem

    def close(self) -> None:
        """End the receiver and give the port back."""
        self._closing.set()
        with contextlib.suppress(OSError):  # closed before; or the receiver ends with its next look
            self._connection.sendto(b"", self.address)  # wakes it
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
            self.receive(datagram, sender)

    def receive(self, datagram: bytes, sender: object) -> None:
        """Take in one datagram, as the receiver does."""
        if len(self._buffer) >= 3 * self._held:
            self.dropped["overflow"] += 1
            return
        arrival_s = self._now_s()
        content = datagram.strip(b" \t\r\n\0")
        if content[:1] in (b"{", b"["):
            self._keep(sightings(content, arrival_s, self.dropped, self.noticed, self._own_times))
        elif b"$" in content or content[:1] == b"!":
            for line in content.splitlines():
                for t_s, lon, lat in self._nmea.fixes(line, sender, arrival_s):
                    self._keep([(True, t_s if self._own_times else arrival_s, lon, lat)])
        elif content:
            self.dropped["unreadable"] += 1

    def _keep(self, points: list[tuple[bool, float, float, float]]) -> None:
        flat: list[float] = []
        for lonlat, t_s, x, y in points:
            crs = "lonlat" if lonlat else self._options.points_crs or "pixel"
            self.crs = self.crs or crs
            if crs != self.crs:
                self.dropped["other_crs"] += 1
            else:
                flat += (t_s, x, y)
        with self._lock:
            self._buffer.extend(flat)


def open_udp(text: str, options: FeedOptions) -> UdpFeed:
    """Bind the port of `udp://HOST:PORT[?time=arrival]`; an address of 224. to 239. is joined as a multicast group.

    Raises:
        UsageError: no such address.
        SourceError: the port cannot be had.
    """
    if options.points_crs is not None:
        check_crs(options.points_crs)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "0.0.0.0", parts.port
        wish = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError as error:
        raise UsageError(f"{text!r} is no address ({error}); expected {FORM}") from error
    if port is None or parts.path not in ("", "/") or wish not in ({}, {"time": "arrival"}, {"time": "own"}):
        raise UsageError(f"{text!r} is no address of points; expected {FORM}")
    own_times = wish.get("time") != "arrival"
    return UdpFeed(_bound(host, port, text), _name(parts), options, own_times)


def _lost_in_system(connection: socket.socket) -> int:
    """Datagrams that the system dropped for want of room; 0 where it does not say (Linux does)."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        numbers = struct.unpack("9I", connection.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    except (OSError, struct.error):  # closed, or an old kernel
        return 0
    return int(numbers[8])


def _name(parts: SplitResult) -> str:
    return f"udp://{parts.netloc}"


def _bound(host: str, port: int, text: str) -> socket.socket:
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
