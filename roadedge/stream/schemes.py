"""Which source an address names by its scheme: `rtsp://…`, `v4l2://…`, `csi://…`, `gst:…`, `bag:…`."""

from __future__ import annotations

from collections.abc import Callable

from roadedge.errors import UnknownNameError
from roadedge.stream.bag import open_bag
from roadedge.stream.camera import open_rtsp, open_v4l2
from roadedge.stream.gstreamer import open_csi, open_gst
from roadedge.stream.live import LiveOptions
from roadedge.stream.sources import Source

OpenSource = Callable[[str, LiveOptions], Source]

SCHEMES: dict[str, OpenSource] = {
    "rtsp": open_rtsp,
    "rtsps": open_rtsp,
    "v4l2": open_v4l2,
    "csi": open_csi,
    "gst": open_gst,
    "bag": open_bag,
}


def open_scheme(text: str, options: LiveOptions) -> Source:
    """Open what `SCHEME:…` names, by `SCHEMES`.

    Raises:
        UnknownNameError: another scheme.
        RoadEdgeError: what the scheme's own function says.
    """
    scheme = text.partition(":")[0].lower()
    if scheme not in SCHEMES:
        raise UnknownNameError("kind of source", scheme, SCHEMES)
    return SCHEMES[scheme](text, options)
