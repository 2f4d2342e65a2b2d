"""Network streams (rtsp://) and cameras of this machine (v4l2://) through PyAV."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from roadedge.environment import masked
from roadedge.errors import UsageError
from roadedge.stream.connection import ConnectionLost, Picture, Stopping
from roadedge.stream.devices import find_device
from roadedge.stream.live import LiveOptions, LiveSource
from roadedge.stream.packets import decoded
from roadedge.stream.video import import_av, require_decoder

TRANSPORTS = ("tcp", "udp")
RTSP_FORM = "rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH[?transport=udp]"
V4L2_FORM = "v4l2:///dev/video0 or v4l2://NAME, with ?width=W&height=H&fps=N&format=mjpeg where wanted"
UDP_BUFFER_BYTES = 4 << 20  # a key frame comes as one burst of packets
END_S = 1.0  # a recording that a server plays has ended when this little is left of it


@dataclass(frozen=True, slots=True)
class Address:
    """What FFmpeg opens: an address, the format where it is not told by the address, and options."""

    text: str
    container_format: str | None = None
    options: dict[str, str] = field(default_factory=dict)


def open_rtsp(text: str, options: LiveOptions) -> LiveSource:
    """A stream by RTSP: over TCP, or over UDP with `?transport=udp`. Nothing is opened yet.

    Raises:
        UsageError: an address without a host, or an unknown transport.
        MissingExtraError: PyAV is not installed.
    """
    import_av("reading an RTSP stream")
    address, name = rtsp_address(text)
    return LiveSource(name, masked(address.text), partial(_pictures, lambda: address, options), options)


def open_v4l2(text: str, options: LiveOptions) -> LiveSource:
    """A camera of this machine, by its path or by its name. Nothing is opened yet.

    Raises:
        UsageError: not of the form `V4L2_FORM`.
        SourceError: there is no such camera, or two have that name.
        MissingExtraError: PyAV is not installed.
    """
    import_av("reading a camera")
    wanted, settings = _v4l2_parts(text)
    find_device(wanted)  # told at once, not at the first frame

    def address() -> Address:
        return Address(find_device(wanted), "video4linux2,v4l2", settings)  # a camera may come back as another path

    name = "v4l2-" + re.sub(r"[^\w.-]+", "-", wanted.removeprefix("/dev/")).strip("-")
    return LiveSource(name, f"v4l2://{wanted}", partial(_pictures, address, options), options, same_clock=True)


def rtsp_address(text: str) -> tuple[Address, str]:
    """What FFmpeg opens for an `rtsp://` address, and the name of a run with it.

    Raises:
        UsageError: an address without a host, or an unknown transport.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, a bracket that is not closed
        host, port = None, None
    if not host:
        raise UsageError(f"an RTSP stream is written {RTSP_FORM}; got {masked(text)}")
    query = parse_qsl(parts.query, keep_blank_values=True)
    transport = dict(query).get("transport", "tcp")
    if transport not in TRANSPORTS:
        raise UsageError(f"?transport= of an RTSP stream is tcp or udp, got {transport!r}")
    if "transport" in dict(query):
        parts = parts._replace(query=urlencode([pair for pair in query if pair[0] != "transport"]))
    settings = {
        "rtsp_transport": transport,
        "allowed_media_types": "video",  # sound is not even asked for
        "fpsprobesize": "0",  # measuring the frame rate first would hold back, and so age, the first second of frames
        "analyzeduration": "1000000",
    }
    if transport == "udp":
        settings["buffer_size"] = str(UDP_BUFFER_BYTES)
    where = f"{host}-{port}" if port else host
    name = re.sub(r"[^\w.-]+", "-", f"rtsp-{where}{parts.path}").strip("-")
    return Address(urlunsplit(parts), None, settings), name


def _v4l2_parts(text: str) -> tuple[str, dict[str, str]]:
    rest, _, query = text.partition("://")[2].partition("?")
    wanted, settings = unquote(rest), dict(parse_qsl(query))
    known = _v4l2_options(settings)
    if not wanted or known is None:
        raise UsageError(f"a camera is written {V4L2_FORM}; got {text}")
    return wanted, known


def _v4l2_options(settings: dict[str, str]) -> dict[str, str] | None:
    """FFmpeg's options for those of the address; None where one is unknown or no number."""
    numbers = [settings[key] for key in ("width", "height", "fps") if key in settings]
    if settings.keys() - {"width", "height", "fps", "format"} or len(settings.keys() & {"width", "height"}) == 1:
        return None
    if not all(number.isdecimal() and int(number) for number in numbers):
        return None
    known: dict[str, str] = {}
    if "width" in settings:
        known["video_size"] = f"{settings['width']}x{settings['height']}"
    if "fps" in settings:
        known["framerate"] = settings["fps"]
    if "format" in settings:
        known["input_format"] = settings["format"]
    return known


def _pictures(
    address: Callable[[], Address], options: LiveOptions, stopping: Stopping
) -> Generator[Picture, None, None]:
    """Pictures of one connection.

    Raises:
        ConnectionLost: it cannot be opened, fails, or ends though it is no recording.
    """
    av = import_av("reading a camera or network stream")
    dialled = address()
    try:
        container = av.open(
            dialled.text, format=dialled.container_format, options=dialled.options,
            timeout=(options.open_s, options.timeout_s),
        )  # fmt: skip
    except (av.error.FFmpegError, OSError) as error:
        raise _lost(av, error, dialled) from None  # its message holds the address with the password
    with container:
        if not container.streams.video:
            raise ConnectionLost("it has no video stream", for_good=True)
        stream = container.streams.video[0]
        require_decoder(stream, masked(dialled.text))
        stream.thread_type = "SLICE"  # threads by frames would hold back a frame each
        shown_s = 0.0
        try:
            for picture in decoded(container, stream, stopping, held_back=dialled.container_format is None):
                yield picture
                shown_s = max(shown_s, picture.pts_s or 0.0)
        except (av.error.FFmpegError, OSError) as error:
            raise _lost(av, error, dialled) from None
        if not stopping() and (container.duration is None or shown_s < container.duration / av.time_base - END_S):
            raise ConnectionLost("the sender closed the stream")


def _lost(av: Any, error: Exception, dialled: Address) -> ConnectionLost:
    """What FFmpeg says, without the address that its message holds."""
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return ConnectionLost("it wants a user name and a password, or refuses the given ones", for_good=True)
    if isinstance(error, av.error.HTTPNotFoundError):
        return ConnectionLost("the server knows no such path")
    if isinstance(error, av.error.ExitError):
        return ConnectionLost("nothing came in time")
    if getattr(error, "errno", None) == errno.ENOTTY:
        return ConnectionLost("it is no camera", for_good=True)
    if isinstance(error, PermissionError):
        return ConnectionLost("it may not be opened by this user (the group video may be missing)", for_good=True)
    host = urlsplit(dialled.text).hostname
    if host and getattr(error, "errno", None) == errno.EIO and not _is_known(host):
        return ConnectionLost(f"no machine is called {host}")  # FFmpeg says "Input/output error" of it
    return ConnectionLost(str(getattr(error, "strerror", None) or type(error).__name__))


def _is_known(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
