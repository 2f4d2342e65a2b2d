"""Cameras that GStreamer reads: csi:// of a Jetson, and gst: for a pipeline of one's own.

GStreamer runs as a child process (gst-launch-1.0), so that no binding has to be built for it, a crash of a camera's
driver leaves this process alone, and JetPack's own GStreamer is the one that is used.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Generator, Sequence
from functools import partial
from typing import IO
from urllib.parse import parse_qsl

from roadedge.environment import masked
from roadedge.errors import EnvironmentFault, UsageError
from roadedge.stream.connection import ConnectionLost, Picture, Stopping
from roadedge.stream.gdp import read_pictures
from roadedge.stream.live import LiveOptions, LiveSource

LAUNCH = "gst-launch-1.0"
CSI_FORM = "csi://0, with ?width=W&height=H&fps=N where wanted"
GST_FORM = "gst:PIPELINE without a sink, as in 'gst:v4l2src device=/dev/video0 ! image/jpeg ! jpegdec'"
CSI = re.compile(r"csi://(\d+)/?(?:\?(.*))?")
LEAVE_S = 2.0  # how long a child may take to end in order; a camera whose driver is cut off may need a restart
PIPE_BYTES = 1 << 20
F_SETPIPE_SZ = 1031  # fcntl.F_SETPIPE_SZ, which Python 3.10 has and mypy's stubs of other systems lack
PACKAGES = {  # who brings an element that is missing
    "nvarguscamerasrc": "NVIDIA's JetPack, on a Jetson; other cameras are read with v4l2:// or gst:",
    "nvvidconv": "NVIDIA's JetPack, on a Jetson",
    "gdppay": "the package gstreamer1.0-plugins-bad",
    "videoconvert": "the package gstreamer1.0-plugins-base",
    "v4l2src": "the package gstreamer1.0-plugins-good",
    "x264enc": "the package gstreamer1.0-plugins-ugly",
    "avdec_h264": "the package gstreamer1.0-libav",
}


def open_csi(text: str, options: LiveOptions) -> LiveSource:
    """A camera on a Jetson's CSI port. Nothing is opened yet.

    Raises:
        UsageError: not of the form `CSI_FORM`.
        EnvironmentFault: this machine has no GStreamer.
    """
    match = CSI.fullmatch(text)
    settings = dict(parse_qsl(match[2] or "", keep_blank_values=True)) if match else {}
    unknown = settings.keys() - {"width", "height", "fps"}
    if match is None or unknown or not all(value.isdecimal() and int(value) for value in settings.values()):
        raise UsageError(f"a CSI camera is written {CSI_FORM}; got {text}")
    require_gstreamer(text)
    return _source(f"csi-{match[1]}", text, csi_pipeline(int(match[1]), settings), options)


def csi_pipeline(sensor: int, settings: dict[str, str]) -> list[str]:
    """Arguments for gst-launch: camera number `sensor` of a Jetson, converted to BGRx by its hardware.

    Source: NVIDIA Jetson Linux Developer Guide, "Accelerated GStreamer".
    """
    caps = ["video/x-raw(memory:NVMM)"]
    caps += [f"{key}={settings[key]}" for key in ("width", "height") if key in settings]
    if "fps" in settings:
        caps.append(f"framerate={settings['fps']}/1")
    camera = ["nvarguscamerasrc", f"sensor-id={sensor}"]
    return [*camera, "!", ",".join(caps), "!", "nvvidconv", "!", "video/x-raw,format=BGRx"]


def open_gst(text: str, options: LiveOptions) -> LiveSource:
    """The pictures of a GStreamer pipeline, given as to gst-launch-1.0 and without a sink. Nothing is opened yet.

    Raises:
        UsageError: no pipeline.
        EnvironmentFault: this machine has no GStreamer.
    """
    try:
        pipeline = shlex.split(text.partition(":")[2])
    except ValueError as error:
        raise UsageError(f"the quotes of {masked(text)} do not match ({error})") from None
    if not pipeline or "!" in (pipeline[0], pipeline[-1]):
        raise UsageError(f"a pipeline is written {GST_FORM}; got {masked(text)!r}")
    require_gstreamer(masked(text))
    name = re.sub(r"[^\w.-]+", "-", f"gst-{pipeline[0]}").strip("-")
    return _source(name, masked(text), pipeline, options)


def require_gstreamer(what: str) -> None:
    """Raise EnvironmentFault where GStreamer's launcher is not installed."""
    if shutil.which(LAUNCH) is None:
        raise EnvironmentFault(
            f"{what} is read through GStreamer, and {LAUNCH} is not on the PATH; "
            "apt-get install gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
        )


def _source(name: str, label: str, pipeline: Sequence[str], options: LiveOptions) -> LiveSource:
    return LiveSource(name, label if len(label) <= 80 else f"{label[:77]}...", partial(_pictures, pipeline), options)


def _pictures(pipeline: Sequence[str], stopping: Stopping) -> Generator[Picture, None, None]:
    """Pictures of one run of a pipeline; its end is the end of the stream.

    Raises:
        ConnectionLost: the pipeline cannot be built, or failed on its way.
    """
    read_end, write_end = os.pipe()
    try:
        child, complaints = _launch(pipeline, write_end)
    except OSError as error:
        os.close(read_end)
        raise ConnectionLost(f"{LAUNCH} cannot be started ({error.strerror})", for_good=True) from error
    finally:
        os.close(write_end)
    try:
        _widen(read_end)
        yield from read_pictures(read_end, stopping)
        if not stopping() and child.wait(LEAVE_S) != 0:
            complaints.join(LEAVE_S)
            raise complaints.lost()
    except subprocess.TimeoutExpired:
        raise ConnectionLost("GStreamer closed its pipe and did not end") from None
    finally:
        os.close(read_end)  # first: a child that writes into it ends by that
        _end(child)
        complaints.join(LEAVE_S)


def _launch(pipeline: Sequence[str], write_end: int) -> tuple[subprocess.Popen[bytes], _Complaints]:
    # the pictures have a pipe of their own: drivers print to the standard output
    tail = ["!", "videoconvert", "!", "video/x-raw,format=RGB", "!", "gdppay", "!"]
    sink = ["fdsink", f"fd={write_end}", "sync=false"]
    child = subprocess.Popen(
        [LAUNCH, "-q", *pipeline, *tail, *sink],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=(write_end,),
        env={**os.environ, "LC_ALL": "C", "GST_DEBUG_NO_COLOR": "1"},
        start_new_session=True,  # Ctrl-C is for us; we end the child in order
    )  # fmt: skip
    assert child.stderr is not None
    return child, _Complaints(child.stderr)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGINT)  # gst-launch then stops its elements; a camera is given back
        try:
            child.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _widen(pipe: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):  # beyond the user's limit: slower, and that is all
        fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)


class _Complaints:
    """The last lines of a child's standard error, read so that it never blocks on them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines: deque[str] = deque(maxlen=60)
        self._thread = threading.Thread(target=self._read, args=(stream,), name="gst-launch", daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._lines.append(masked(line.decode(errors="replace").strip()))

    def join(self, wait_s: float) -> None:
        self._thread.join(wait_s)

    def lost(self) -> ConnectionLost:
        return explain(list(self._lines))


def explain(lines: Sequence[str]) -> ConnectionLost:
    """What gst-launch's standard error says, as one sentence."""
    for line in lines:
        if match := re.search(r'no element "([\w-]+)"', line):
            by = PACKAGES.get(match[1], "a plugin that is not installed (gst-inspect-1.0 lists those that are)")
            return ConnectionLost(f"GStreamer has no element {match[1]} here; it comes with {by}", for_good=True)
        if "erroneous pipeline" in line:
            said = line.partition("erroneous pipeline:")[2].strip()
            hint = "; leave the sink off, it is added" if "sink" in said else ""
            return ConnectionLost(f"GStreamer cannot build this pipeline: {said}{hint}", for_good=True)
    errors = [number for number, line in enumerate(lines) if line.startswith("ERROR")]
    if not errors:
        return ConnectionLost(f"GStreamer ended with an error{f': {lines[-1]}' if lines else ' and no word about it'}")
    said = re.sub(r"^ERROR: (from element \S+: )?", "", lines[errors[0]])
    after = [
        *lines[errors[0] + 1 : errors[0] + 4],
        "",
        "",
        "",
    ]  # a headline, a place in the source, what the system said
    told = after[2] if after[0].startswith("Additional debug info") and not after[2].startswith("ERROR") else ""
    return ConnectionLost(f"GStreamer: {said}{f' ({told})' if told else ''}")
