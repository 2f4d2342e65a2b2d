"""Each frame's roads as one datagram."""

from __future__ import annotations

import socket
from typing import Any

from roadedge.errors import OutputError
from roadedge.stream.sink_sender import SendSink, Way
from roadedge.stream.sinks import Result

DATAGRAM_BYTES = 1400  # what passes an Ethernet in one piece, with room for tunnels
SMALLEST, LARGEST = 600, 65507  # facts of a frame without lines; what UDP can carry


class UdpSink(SendSink):
    """One datagram a frame; one that cannot leave at once is dropped, and a host where nobody listens is no error."""

    def __init__(self, host: str, port: int, way: Way, limit: int = DATAGRAM_BYTES) -> None:
        """Look the host up, once; raises OutputError where it has no address."""
        super().__init__(f"udp://{f'[{host}]' if ':' in host else host}:{port}", way, limit, b"")
        self._socket: socket.socket | None = None
        try:
            known = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise OutputError(f"cannot send to {host}:{port}: {error.strerror or error}") from error
        # localhost is ::1 first on many machines, and what listens there listens on 127.0.0.1
        first = min(known, key=lambda one: one[0] != socket.AF_INET)
        self._family: int = first[0]
        self._address: Any = first[4]

    def write(self, result: Result) -> None:
        """Send one datagram."""
        message = self._message(result)
        try:
            to = self._socket = self._socket or self._open()
            content = self._leaving(message)
            try:
                to.send(content)
            except ConnectionRefusedError:  # what the host says of an earlier datagram; this one was not sent yet
                self.dropped["nobody listens"] += 1
                to.send(content)
        except BlockingIOError:
            self.dropped["network too slow"] += 1
        except OSError as error:
            self.dropped[error.strerror or "not sent"] += 1
        else:
            self._count(len(content))

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()

    def _open(self) -> socket.socket:
        opened = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            opened.connect(self._address)  # so that the host can say that nobody listens
        except OSError:
            opened.close()
            raise
        return opened
