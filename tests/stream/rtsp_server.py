"""Start, kill, stop and start again a real RTSP server, and read the time that its frames carry."""

from __future__ import annotations

import functools
import signal
import subprocess
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

PYTHON = "/usr/bin/python3"
CHILD = Path(__file__).with_name("rtsp_child.py")
BITS = 32


@functools.cache
def missing() -> str:
    """Why there can be no server here; empty where there can."""
    code = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer;"
        "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('jpegenc', 'rtpjpegpay', 'appsrc'))), 'no plug-ins'"
    )
    if not Path(PYTHON).exists():
        return f"no {PYTHON}: no RTSP server"
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, check=False)
    return "" if done.returncode == 0 else "no gst-rtsp-server (apt: gir1.2-gst-rtsp-server-1.0 python3-gi)"


@functools.cache
def has_coder(coder: str) -> bool:
    """Whether the system's GStreamer has what it takes to encode this."""
    encoder = {"jpeg": "jpegenc", "h264": "x264enc", "hevc": "x265enc"}[coder]
    return subprocess.run(["gst-inspect-1.0", "--exists", encoder], check=False).returncode == 0


class RtspServer:
    """One server; `start` and `kill` as often as wanted, always on the port of the first start."""

    def __init__(self, coder: str = "jpeg", password: str | None = None) -> None:
        self.port, self._coder, self._password = 0, coder, password
        self._child: subprocess.Popen[str] | None = None

    def start(self, size: tuple[int, int] = (256, 64)) -> None:
        arguments = ["--port", str(self.port), "--coder", self._coder, "--size", *map(str, size)]
        arguments += ["--password", self._password] if self._password else []
        self._child = subprocess.Popen([PYTHON, str(CHILD), *arguments], stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line.strip().isdecimal(), "the RTSP server did not start"
        self.port = int(line)

    def url(self, path: str = "cam", user: str = "") -> str:
        return f"rtsp://{user}127.0.0.1:{self.port}/{path}"

    def freeze(self) -> None:
        """Neither send nor close anything."""
        assert self._child is not None
        self._child.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """As a power cut: nothing is said to the reader."""
        if self._child is not None:
            died = self._child.poll()
            self._child.kill()
            self._child.wait()
            assert self._child.stdout is not None
            self._child.stdout.close()
            self._child = None
            assert died is None, f"the RTSP server died by itself ({died})"

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def moment_ms(image: NDArray[np.uint8]) -> int:
    """CLOCK_MONOTONIC in milliseconds, modulo 2^32, at which the server made a frame."""
    bars = image[::8, :, 1].mean(axis=0).reshape(BITS, -1)  # each eighth row: a benchmark does it at full rate
    bright = bars[:, 1:-1].mean(axis=1) > 128
    return int("".join("1" if bit else "0" for bit in bright), 2)
