"""From the packets of a live stream to pictures, each with the moment at which it came."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import numpy as np

from roadedge.stream.connection import Picture, Stopping

BACKLOG_PACKETS = 512  # at most, of what came while the connection was opened
WAITED_NS = 3_000_000  # a packet that took longer was waited for: the backlog is through
WAITING_PACKETS = 64  # whose arrival is kept until their picture comes out of the decoder
HELD_BACK = ("h264", "hevc")  # of which FFmpeg gives a frame when it sees the next one begin
Timed = tuple[Any, int]  # a packet of PyAV and when it came, by perf_counter_ns
Join = Callable[[Any, Any], Any]


def decoded(container: Any, stream: Any, stopping: Stopping, held_back: bool) -> Generator[Picture, None, None]:
    """Pictures (RGB) of an open container, until it ends or nobody wants more.

    Args:
        container: PyAV's.
        stream: the one of its video streams to decode.
        stopping: whether nobody wants more; asked before each packet.
        held_back: whether it comes by RTP, see `_arrivals`.

    Raises:
        av.error.FFmpegError: reading it failed. Pictures that cannot be decoded are counted in the next good one.
    """
    import av

    reformatter = av.video.reformatter.VideoReformatter()  # one for all, or each frame would build its own
    arrivals: OrderedDict[int, int] = OrderedDict()  # presentation time of a packet → when it came
    broken, shown = 0, None
    held_back = held_back and stream.codec_context.name in HELD_BACK
    packets = _without_backlog(_arrivals(container.demux(stream), held_back))
    for packet, arrived_ns in _whole(packets, _join) if held_back else packets:
        if stopping():
            return
        begin_ns = time.perf_counter_ns()
        if packet.pts is not None:
            arrivals[packet.pts] = arrived_ns
            if len(arrivals) > WAITING_PACKETS:
                arrivals.popitem(last=False)
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:  # a lost or torn packet
            broken += 1
            continue
        for frame in frames:
            if frame.is_corrupt or (frame.pts is not None and frame.pts == shown):  # twice the same is no new frame
                broken += 1
                continue
            shown = frame.pts
            image = np.asarray(reformatter.reformat(frame, format="rgb24").to_ndarray(), np.uint8)
            came_ns = arrived_ns if frame.pts is None else arrivals.get(frame.pts, arrived_ns)
            now_ns = time.perf_counter_ns()
            yield Picture(image, frame.time, came_ns, (now_ns - begin_ns) / 1e6, broken)
            begin_ns, broken = time.perf_counter_ns(), 0


def _arrivals(packets: Iterable[Any], held_back: bool) -> Iterator[Timed]:
    """Packets, each with the moment at which its first byte was here.

    RTP says where a frame begins and not where it ends, so that FFmpeg hands a packet out when the next one begins
    (`held_back`): the moment at which a packet is handed out is the arrival of the one after it. So the period for
    which each frame is held counts in its age.
    """
    released_ns = 0
    for packet in packets:
        now_ns = time.perf_counter_ns()
        yield packet, released_ns if held_back and released_ns else now_ns
        released_ns = now_ns


def _without_backlog(packets: Iterator[Timed]) -> Iterator[Timed]:
    """Packets whose arrival is no longer that of the moment at which the connection was open.

    What came meanwhile is handed out at once and would look fresh. The first packet that has to be waited for tells how
    far presentation times lie behind the host's clock; those before it get the arrival that follows from it. One
    without a presentation time came before the next one did.
    """
    backlog: list[Timed] = []
    begin_ns = time.perf_counter_ns()
    for item in packets:
        now_ns = time.perf_counter_ns()
        backlog.append(item)
        if now_ns - begin_ns > WAITED_NS or len(backlog) >= BACKLOG_PACKETS:
            break
        begin_ns = now_ns
    offsets = [arrived_ns - _pts_ns(packet) for packet, arrived_ns in backlog if packet.pts is not None]
    offset_ns, next_ns = min(offsets, default=0), begin_ns
    true: list[Timed] = []
    for packet, arrived_ns in reversed(backlog):
        next_ns = min(next_ns, arrived_ns) if packet.pts is None else _pts_ns(packet) + offset_ns
        true.append((packet, next_ns))
    yield from reversed(true)
    yield from packets


def _whole(packets: Iterator[Timed], join: Join) -> Iterator[Timed]:
    """Packets, those that are parts of one key frame joined.

    Some senders (GStreamer's `rtph264pay config-interval=-1`) repeat the parameter sets before each slice of a key
    frame, and FFmpeg takes each for the begin of a frame: it would show one frame twice, half of it made up. Whether a
    stream is such a one is seen at its key frames; there alone a packet waits for the next one.
    """
    parted: bool | None = None  # not yet known
    held: Timed | None = None
    for packet, arrived_ns in packets:
        if held is not None:
            if packet.is_keyframe and _of_one_frame(held[0], packet):
                parted, held = True, (join(held[0], packet), held[1])
                continue
            parted = bool(parted)
            yield held
            held = None
        if packet.is_keyframe and parted is not False:
            held = packet, arrived_ns
        else:
            yield packet, arrived_ns
    if held is not None:
        yield held


def _of_one_frame(first: Any, second: Any) -> bool:
    """Whether two packets have one presentation time; the very first packet of a stream often lacks its, which is 0."""
    return second.pts is not None and (first.pts == second.pts or (first.pts is None and second.pts == 0))


def _join(first: Any, second: Any) -> Any:
    """One packet of two."""
    import av

    joined = av.Packet(bytes(first) + bytes(second))
    joined.pts, joined.dts, joined.time_base = second.pts, second.dts, second.time_base
    joined.stream, joined.is_keyframe = second.stream, True
    return joined


def _pts_ns(packet: Any) -> int:
    return int(packet.pts * packet.time_base * 10**9)
