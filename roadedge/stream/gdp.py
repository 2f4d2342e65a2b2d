"""GStreamer's data protocol, as its element `gdppay` writes it: frames with their sizes and times on a pipe.

Source: gst/gdp/dataprotocol.c of gst-plugins-bad, header version 1.0.
"""

from __future__ import annotations

import os
import re
import select
import struct
import time
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from roadedge.stream.connection import ConnectionLost, Picture, Stopping

HEADER_BYTES = 62
HEADER = struct.Struct(">BBBxHIQ")  # major, minor, flags, kind, length, timestamp; then what is not needed here
BUFFER, CAPS = 1, 2
NO_TIME = 2**64 - 1
LOOK_S = 0.2  # how often a pipe that is silent lets go to see whether anybody still wants pictures
LARGEST_BYTES = 1 << 30  # of one message: no frame is larger, so more is a stream that is not of this protocol
SIZE = re.compile(r"\b(format|width|height)=(?:\(\w+\))?(\w+)")


def read_pictures(pipe: int, stopping: Stopping) -> Generator[Picture, None, None]:
    """Pictures (RGB) from a pipe, until it ends between two of them.

    Args:
        pipe: file descriptor to read from.
        stopping: whether nobody wants more.

    Raises:
        ConnectionLost: the pipe ends within a message, or what comes is not RGB in this protocol.
    """
    size: tuple[int, int] | None = None
    while True:
        header = read_exactly(pipe, HEADER_BYTES, stopping)
        if header is None:
            return
        arrived_ns = time.perf_counter_ns()
        major, _, _, kind, length, stamp_ns = HEADER.unpack_from(header)
        if major != 1 or length > LARGEST_BYTES:
            raise ConnectionLost("what came from GStreamer is not in its data protocol 1.0", for_good=True)
        payload = read_exactly(pipe, length, stopping)
        if payload is None:
            if stopping():
                return
            raise ConnectionLost("GStreamer ended in the middle of a frame")
        if kind == CAPS:
            size = parse_caps(payload.decode(errors="replace"))
        elif kind == BUFFER:
            if size is None:
                raise ConnectionLost("GStreamer sent a frame without saying its size", for_good=True)
            image = _image(payload, size)
            took_ms = (time.perf_counter_ns() - arrived_ns) / 1e6
            yield Picture(image, None if stamp_ns == NO_TIME else stamp_ns / 1e9, arrived_ns, took_ms)


def parse_caps(text: str) -> tuple[int, int]:
    """(H, W) of `video/x-raw, format=(string)RGB, width=(int)64, height=(int)48, …`.

    Raises:
        ConnectionLost: it is something else.
    """
    found = dict(SIZE.findall(text))
    if found.get("format") != "RGB" or not (found.get("width", "").isdecimal() and found.get("height", "").isdecimal()):
        raise ConnectionLost(f"GStreamer sends {text.strip()[:120]!r}; video/x-raw in RGB was expected", for_good=True)
    return int(found["height"]), int(found["width"])


def read_exactly(pipe: int, count: int, stopping: Stopping) -> bytearray | None:
    """`count` bytes; None where the pipe ends before the first one, or nobody wants more.

    Raises:
        ConnectionLost: the pipe ends after some of them.
    """
    data = bytearray(count)
    view, filled = memoryview(data), 0
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN | select.POLLHUP)
    while filled < count:
        if stopping():
            return None
        if not waiting.poll(LOOK_S * 1e3):
            continue
        came = os.readv(pipe, [view[filled:]])
        if came == 0:
            if filled:
                raise ConnectionLost("GStreamer ended in the middle of a frame")
            return None
        filled += came
    return data


def _image(payload: bytearray, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3); GStreamer pads each row to a multiple of four bytes."""
    height, width = size
    row = -(-3 * width // 4) * 4
    if len(payload) < row * height:
        raise ConnectionLost(f"GStreamer sent {len(payload)} bytes for a frame of {width} x {height}", for_good=True)
    rows = np.frombuffer(payload, np.uint8, row * height).reshape(height, row)
    return np.ascontiguousarray(rows[:, : 3 * width]).reshape(height, width, 3)
