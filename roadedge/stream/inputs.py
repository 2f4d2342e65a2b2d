"""What goes with the SOURCE argument: points, places, clocks."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from roadedge.errors import UsageError
from roadedge.stream.live import LiveOptions

LONGEST_S = 365 * 86400.0
HEADINGS = ("trust", "check", "fix")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a user says beside the source.

    `trajectories` are files, folders and addresses of points (`stream.feeds.KINDS`); `points_crs` and `datum` as in
    `read_points`. `centre` is longitude and latitude (degrees, WGS 84) of a camera that stands and looks straight down,
    `heading_deg` the direction of its top, clockwise from north; with `gsd_m`, metres per pixel, they say where its
    pixels lie. `camera` is a camera file, `telemetry` a file of DJI subtitles or a track of the camera's vehicle,
    `bag:PATH#topic`, or `udp://HOST:PORT` of its own receiver. `headings` says what to do with the yaw tags of photos,
    one of HEADINGS. `tolerance_s`, `offset_s` and `window_s` pair points with frames, see `FeedPairing`.
    """

    trajectories: tuple[str, ...] = ()
    gsd_m: float | None = None
    points_crs: str | None = None
    datum: str = "wgs84"
    centre: tuple[float, float] | None = None
    heading_deg: float = 0.0
    camera: Path | None = None
    telemetry: Path | str | None = None
    tolerance_s: float = 1.0
    offset_s: float = 0.0
    window_s: float | None = None
    live: LiveOptions = field(default_factory=LiveOptions)
    headings: str = "trust"

    def __post_init__(self) -> None:
        if self.headings not in HEADINGS:
            raise UsageError(f"--headings is one of {', '.join(HEADINGS)}, got {self.headings!r}")
        if self.centre is not None and self.gsd_m is None:
            raise UsageError("--centre says where the image lies only together with --gsd, the metres per pixel")
        if self.centre is not None and (self.camera is not None or self.telemetry is not None):
            raise UsageError("--centre is for a camera that stands and looks down; leave --camera and --telemetry out")
        if self.gsd_m is not None and not 0 < self.gsd_m < 1e4:
            raise UsageError(f"--gsd must be positive metres per pixel, got {self.gsd_m}")
        if self.gsd_m is not None and self.camera is not None:
            raise UsageError("--gsd and --camera both say how much ground a pixel covers; give one of them")
        if not math.isfinite(self.heading_deg):
            raise UsageError(f"--heading is degrees clockwise from north, got {self.heading_deg}")
        if not self.tolerance_s >= 0:
            raise UsageError(f"--sync-tolerance must be at least 0 s, got {self.tolerance_s:g}")
        if not math.isfinite(self.offset_s):
            raise UsageError(f"--time-offset must be a number of seconds, got {self.offset_s:g}")
        if self.window_s is not None and not self.window_s > 0:
            raise UsageError(f"--window must be more than 0 s, got {self.window_s:g}")
        twice = [text for text, count in Counter(self.trajectories).items() if count > 1]
        if twice:
            raise UsageError(f"--trajectory {twice[0]} is given twice, and its points would count double")


def parse_centre(text: str | None) -> tuple[float, float] | None:
    """`LON,LAT` in degrees as two numbers; raises UsageError."""
    if text is None:
        return None
    try:
        lon, lat = (float(part) for part in text.split(","))
    except ValueError:
        lon = lat = float("nan")
    if not (-180 <= lon <= 180 and -90 < lat < 90):
        raise UsageError(f"--centre is LON,LAT in degrees, as in 2.3522,48.8566; got {text!r}")
    return lon, lat


def live_options(timeout: str, reconnect: str) -> LiveOptions:
    """Of the texts of `--source-timeout` and `--reconnect`; raises UsageError."""
    again_s, timeout_s = parse_seconds("--reconnect", reconnect), parse_seconds("--source-timeout", timeout)
    if again_s < 0:
        raise UsageError(f"--reconnect is 0 (give up at once) or the time after which to give up, got {reconnect}")
    if not 0 < timeout_s < LONGEST_S:
        raise UsageError(f"--source-timeout must be more than 0 s and less than a year, got {timeout}")
    attempts = None if again_s > 0 else 0
    return LiveOptions(timeout_s, attempts=attempts, give_up_s=again_s if again_s > 0 else 1.0)


def parse_seconds(option: str, text: str) -> float:
    """`100ms`, `1.5s`, `2min`, `1h` or a bare number of seconds as seconds; `inf` as infinity; raises UsageError."""
    units = {"ms": 1e-3, "min": 60.0, "s": 1.0, "h": 3600.0}
    unit = next((unit for unit in units if text.strip().endswith(unit)), "")
    try:
        seconds = float(text.strip().removesuffix(unit)) * units.get(unit, 1.0)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        raise UsageError(f"{option} is a time such as 100ms, 1.5s, 2min or 1h; got {text!r}")
    return seconds
