"""From `--send udp://HOST:PORT` or `--send stdout` to a sink.

A consumer that does not read costs it messages, and the run nothing: neither time nor memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit

from roadedge.errors import UsageError
from roadedge.latency.clock import Clock, HostClock
from roadedge.stream.road_lines import RoadLines
from roadedge.stream.sink_geojson import Epoch
from roadedge.stream.sink_message import COORDINATES
from roadedge.stream.sink_pipe import PipeSink
from roadedge.stream.sink_sender import Way
from roadedge.stream.sink_udp import DATAGRAM_BYTES, LARGEST, SMALLEST, UdpSink
from roadedge.stream.sinks import Sink


def open_sends(
    wanted: Sequence[str], roads: RoadLines, epoch: Epoch = lambda: None, clock: Clock | None = None
) -> list[Sink]:
    """A sink for each `--send`, as `open_send` makes them.

    Raises:
        UsageError: stdout is wanted twice, or as `open_send`.
        OutputError: as `open_send`.
    """
    if sum(to.partition("?")[0] == "stdout" for to in wanted) > 1:
        raise UsageError("--send stdout was given twice; there is one stdout")
    return [open_send(to, roads, epoch, clock) for to in wanted]


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
    way = Way(roads, epoch, clock or HostClock(), kinds)
    if address.scheme == "udp" and host and port and address.path in ("", "/"):
        limit = options.pop("bytes", str(DATAGRAM_BYTES))
        if not options and limit.isdecimal() and SMALLEST <= int(limit) <= LARGEST:
            return UdpSink(host, port, way, int(limit))
        raise UsageError(f"datagrams have {SMALLEST} to {LARGEST} bytes (bytes=) and lines=, got {to!r}")
    if (address.scheme, address.netloc, address.path) == ("", "", "stdout") and not options:
        return PipeSink(1, "stdout", way)
    raise UsageError(f"--send takes udp://HOST:PORT or stdout, got {to!r}")
