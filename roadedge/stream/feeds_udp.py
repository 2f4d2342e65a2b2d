"""Live points over UDP, as NMEA or JSON, in a buffer with an end."""

from __future__ import annotations

import socket
import threading
import time
from array import array
from collections.abc import Callable

import numpy as np

from roadedge.stream.feeds import Feed, FeedOptions
from roadedge.stream.feeds_crs import check_crs
from roadedge.stream.feeds_file import on_wgs84
from roadedge.stream.feeds_json import sightings
from roadedge.stream.feeds_nmea import NmeaSentences
from roadedge.stream.udp_receiver import UdpReceiver, bound, parse_udp
from roadedge.trajectory.points import Points

HELD_POINTS = 200_000  # between two frames, 5 MB; beyond, what comes is counted as dropped and not even read

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
        connection: socket.socket | UdpReceiver,
        name: str,
        options: FeedOptions,
        own_times: bool = True,
        now_s: UtcOf | None = None,
        held_points: int = HELD_POINTS,
    ) -> None:
        """Begin to receive; `close` ends it.

        Args:
            connection: a bound datagram socket, which becomes the feed's; or a receiver that serves others too, which
                is closed by whoever opened it.
            name: of the feed.
            options: `points_crs` is that of x, y.
            own_times: False takes the time of arrival for all points.
            now_s: seconds since 1970 by the host.
            held_points: how many may wait for the next frame.
        """
        super().__init__(name)
        self._options, self._own_times = options, own_times
        self._now_s = now_s or HostUtc().now_s
        self._held = held_points
        self._nmea = NmeaSentences(self.dropped, self.noticed)
        self._lock = threading.Lock()
        self._buffer = array("d")  # t, x, y of each point
        self._owned = not isinstance(connection, UdpReceiver)
        self._receiver = connection if isinstance(connection, UdpReceiver) else UdpReceiver(connection, name)
        self.address = self._receiver.address
        self._receiver.listen(self.receive)

    def take(self, until_s: float) -> Points | None:
        """All points that have arrived since the last call; times later than `until_s` too."""
        with self._lock:
            taken, self._buffer = self._buffer, array("d")
        lost = self._receiver.lost_in_system()
        if lost:
            self.dropped["lost_in_system"] = lost
        if not taken:
            return None
        t_s, x, y = np.frombuffer(taken, np.float64).reshape(-1, 3).T
        return on_wgs84(Points(x.copy(), y.copy(), t_s.copy(), crs=self.crs), self._options.datum)

    def problem(self) -> str:
        """What ended the receiver, "" while it works."""
        return self._receiver.problem()

    def close(self) -> None:
        """End the receiver and give the port back."""
        if self._owned:
            self._receiver.close()

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
    address = parse_udp(text)
    return UdpFeed(bound(address), address.name, options, address.own_times)
