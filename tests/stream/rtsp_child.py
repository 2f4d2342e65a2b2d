"""An RTSP server on loopback, run by the system's Python (GStreamer's binding is a Debian package).

Each frame carries its own time: 32 bars, dark or bright, are the bits of CLOCK_MONOTONIC in milliseconds. No two frames
are alike, also over a restart, so that an invented or repeated one is seen.
"""

import argparse
import time
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

BITS = 32
CODERS = {
    "jpeg": "jpegenc quality=90 ! rtpjpegpay name=pay0",
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 config-interval=-1",
    "hevc": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph265pay name=pay0 config-interval=-1",
}


def frame_of(moment_ms: int, width: int, height: int) -> bytes:
    """I420 with the bits of a moment as upright bars, the highest on the left."""
    bar = width // BITS
    row = b"".join((b"\xe0" if moment_ms >> bit & 1 else b"\x20") * bar for bit in reversed(range(BITS)))
    return row * height + b"\x80" * (width // 2 * (height // 2) * 2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0")
    parser.add_argument("--coder", choices=sorted(CODERS), default="jpeg")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 64))  # width, height
    parser.add_argument("--rate", type=int, default=20)
    parser.add_argument("--password")
    asked = parser.parse_args()
    width, height = asked.size
    Gst.init(None)

    def configure(factory: Any, media: Any) -> None:
        source = media.get_element().get_child_by_name("frames")

        gone: list[object] = []
        media.connect("unprepared", gone.append)

        def push() -> bool:
            if not gone:  # a push before the pipeline runs is refused, and the next one is not
                moment_ms = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000_000 & 0xFFFFFFFF
                source.emit("push-buffer", Gst.Buffer.new_wrapped(frame_of(moment_ms, width, height)))
            return not gone

        GLib.timeout_add(1000 // asked.rate, push)

    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(asked.port)
    factory = GstRtspServer.RTSPMediaFactory()
    caps = f"video/x-raw,format=I420,width={width},height={height},framerate={asked.rate}/1"
    source = f'appsrc name=frames is-live=true do-timestamp=true format=time caps="{caps}"'
    factory.set_launch(f"( {source} ! {CODERS[asked.coder]} )")
    factory.set_shared(True)
    factory.connect("media-configure", configure)
    if asked.password:
        auth, token, rights = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken(), GstRtspServer.RTSPPermissions()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("viewer", asked.password), token)
        rights.add_role("viewer")
        for right in ("media.factory.access", "media.factory.construct"):
            rights.add_permission_for_role("viewer", right, True)
        factory.set_permissions(rights)
        server.set_auth(auth)
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        raise SystemExit(f"port {asked.port} is taken")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
