"""`ortho:SCENE.tif@TRACK.gpx`: a vehicle's or drone's view over georeferenced imagery, with the fleet's points.

Only the window under a frame is read, so memory does not grow with the scene. Points of all tracks of the file are
replayed: a frame finds those up to its own time. Scores on it are semi-synthetic: image and points are of other days.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, SourceError, UsageError
from roadedge.georeference.scene import Scene
from roadedge.georeference.track_file import lonlat_of, track_of
from roadedge.place import Place
from roadedge.preprocess import fit
from roadedge.sample import Sample
from roadedge.spec import ModelSpec
from roadedge.stream.sources import Frame, Second, Source
from roadedge.trajectory.heatmap import heatmap_from_counts
from roadedge.trajectory.plane import LocalPlane
from roadedge.trajectory.points import Points
from roadedge.trajectory.readers import read_points
from roadedge.trajectory.rolling import RollingHeatmap

SIDE_LIMIT_PX = 4096
WINDOW_LIMIT_PX = 16384  # a side of the part of the scene under one frame
HOLE_S = 5.0  # of a track: where the nearest fix is further away in time, nobody knows where the vehicle was
WRITTEN = "ortho:SCENE.tif@TRACK.gpx?rate=10&size=512x512&gsd=0.5&up=heading"
_OPTIONS = ("rate", "size", "gsd", "up", "crs", "vehicle")


@dataclass(frozen=True, slots=True)
class OrthoOptions:
    """`size` (H, W) of a frame; `gsd_m` None takes the scene's; `north_up`, else the heading is up.

    `crs` is that of a scene that does not say its own; `vehicle` the track that the camera rides on, None for the
    first one.
    """

    rate_hz: float = 10.0
    size: tuple[int, int] = (512, 512)
    gsd_m: float | None = None
    north_up: bool = False
    crs: str | None = None
    vehicle: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.rate_hz <= 1000:
            raise UsageError(f"rate is frames a second, up to 1000, got {self.rate_hz:g}")
        if not (32 <= min(self.size) and max(self.size) <= SIDE_LIMIT_PX):
            raise UsageError(f"size is WIDTHxHEIGHT of 32 to {SIDE_LIMIT_PX} pixels, got {self.size[1]}x{self.size[0]}")
        if self.gsd_m is not None and not 0.001 <= self.gsd_m <= 1000:
            raise UsageError(f"gsd is metres per pixel between 0.001 and 1000, got {self.gsd_m:g}")


def open_ortho(text: str, points_crs: str | None = None, datum: str = "wgs84") -> Ortho:
    """Open a source written as `WRITTEN`.

    Raises:
        UsageError: it is written in another way.
        SourceError: the scene or the track is not there.
        DataError: they cannot be read or do not go together.
    """
    body, _, query = text.removeprefix("ortho:").partition("?")
    scene, _, track = body.rpartition("@")
    if not (text.startswith("ortho:") and scene and track):
        raise UsageError(f"a flight over imagery is written {WRITTEN}, got {text}")
    options = _options(query)
    paths = Path(scene).expanduser(), Path(track).expanduser()
    for path in paths:
        if not path.is_file():
            raise SourceError(f"there is no file {path}; a flight over imagery is written {WRITTEN}")
    return Ortho(paths[0], read_points(paths[1], datum, points_crs), str(paths[1]), options)


class Ortho(Source):
    """Frames due at `rate_hz` along a track; `epoch_s` is the track's first time."""

    moving = True
    live = True

    def __init__(self, scene: Path, points: Points, what: str, options: OrthoOptions) -> None:
        """Open the scene and find the frames that lie on it.

        Args:
            scene: a georeferenced raster of 1, 3 or 4 bands of 8 or 16 bits.
            points: with times, of one or more vehicles.
            what: the points' file, for messages.
            options: of the view.

        Raises:
            DataError: the scene has no CRS or geotransform, or no part of the track lies on it.
            PointsError: the points have no times or no usable position.
        """
        track = track_of(points, what, options.vehicle)
        if not options.north_up and not np.isfinite(track.yaw_deg).any():
            raise DataError(f"{what} never moves, so it has no heading; give up=north")
        self._scene = Scene(scene, options.crs)
        self.name, self.rate_hz, self.epoch_s = f"ortho-{scene.stem}", options.rate_hz, track.epoch_s
        self.size, self._track = options.size, track
        self._north_up = options.north_up
        self._start_s = float(track.t_s[0])
        try:
            self.plane = track.plane()
            self.gsd_m = options.gsd_m or self._scene.gsd_m()
            self._times = self._frame_times(scene, what)
            self._check_window()
        except BaseException:
            self._scene.close()
            raise
        self.count = len(self._times)
        self._fleet = _Fleet(points, lonlat_of(points, what), track.epoch_s or 0.0, self.plane)
        self._index = 0

    def read(self) -> Frame | None:
        """Cut the next frame from the scene; None at the end of the track."""
        if self._index >= len(self._times):
            return None
        index, t_s = self._index, float(self._times[self._index])
        self._index += 1
        place = self.place_at(t_s)
        name = self.name_of(index)
        image = self._scene.view(place, self.size, self.plane)
        return Frame(name, Sample(image, place=place, gsd_m=self.gsd_m, t_s=t_s, id=name))

    def skip(self, count: int) -> int:
        """Let the vehicle go on."""
        passed = min(count, len(self._times) - self._index)
        self._index += passed
        return passed

    def second(self, frame: Frame, spec: ModelSpec) -> Second:
        """Take in the fleet's points up to the frame's time and cut its heat-map."""
        place, now_s = frame.sample.place, frame.sample.t_s
        assert place is not None
        assert now_s is not None
        grid = fit(self.size, self.gsd_m, spec).grid
        height, width = self.size
        on_grid = place if grid == self.size else place.scaled(grid[1] / width, grid[0] / height)
        counts, newest_s = self._fleet.counts(on_grid, grid, now_s, spec.heatmap.window_s)
        skew_ms = None if newest_s is None else (now_s - newest_s) * 1e3
        return Second(heatmap_from_counts(counts, spec.heatmap), int(counts.sum()), skew_ms)

    def place_at(self, t_s: float) -> Place:
        """Where the frame of this time lies: the vehicle in its middle."""
        pose = self._track.at(t_s, HOLE_S)
        assert pose is not None, "frames are planned where the track is known"
        east, north = self.plane.from_lonlat([[pose.lon_deg, pose.lat_deg]])[0].tolist()
        heading = 0.0 if self._north_up else pose.yaw_deg or 0.0
        return Place.nadir((east, north), self.gsd_m, self.size, heading, self.plane.crs)

    def close(self) -> None:
        """Close the scene."""
        self._scene.close()

    def _frame_times(self, scene: Path, what: str) -> NDArray[np.float64]:
        """Seconds of the frames whose middle lies on the scene; holes of the track give none."""
        span_s = float(self._track.t_s[-1]) - self._start_s
        times = self._start_s + np.arange(math.floor(span_s * (self.rate_hz or 1.0) + 1e-6) + 1) / (self.rate_hz or 1.0)
        after = np.clip(np.searchsorted(self._track.t_s, times), 1, max(1, len(self._track) - 1))
        near = self._track.t_s[np.stack([after - 1, np.minimum(after, len(self._track) - 1)])]
        times = times[np.abs(near - times).min(axis=0) <= HOLE_S]
        lon = np.interp(times, self._track.t_s, self._track.lon_deg)
        lat = np.interp(times, self._track.t_s, self._track.lat_deg)
        on_scene = self._scene.holds(np.stack([lon, lat], axis=1))
        if not on_scene.any():
            raise DataError(
                f"no part of {what} lies on {scene}: the track is about {self.plane.lon_deg:.5f}, "
                f"{self.plane.lat_deg:.5f} and the scene's middle {self._scene.centre_text}; check the CRS of both"
            )
        return np.asarray(times[on_scene], np.float64)

    def _check_window(self) -> None:
        sides = self._scene.window_sides(self.place_at(float(self._times[0])), self.size, self.plane)
        if max(sides) > WINDOW_LIMIT_PX:
            raise UsageError(
                f"a frame at {self.gsd_m:g} m a pixel covers {max(sides):.0f} pixels of the scene; "
                f"at most {WINDOW_LIMIT_PX} can be read for each frame: give a smaller gsd or size"
            )


class _Fleet:
    """All points of the file on one clock, replayed up to now."""

    def __init__(self, points: Points, lonlat: NDArray[np.float64], epoch_s: float, plane: LocalPlane) -> None:
        assert points.t_s is not None
        ground, times = plane.from_lonlat(lonlat), points.t_s - epoch_s
        good = np.flatnonzero(np.isfinite(ground).all(axis=1) & np.isfinite(times))
        order = good[np.argsort(times[good], kind="stable")]
        self._ground, self._times, self._plane = ground[order], times[order], plane
        self._next = 0
        self._rolling: RollingHeatmap | None = None

    def counts(
        self, place: Place, grid: tuple[int, int], now_s: float, window_s: float | None
    ) -> tuple[NDArray[np.uint32], float | None]:
        """Points a pixel of `grid` at `place`, and the time of the newest point so far."""
        if self._rolling is None:
            self._rolling = RollingHeatmap(place.gsd_m(grid), window_s, crs=self._plane.crs)
            if window_s is not None:
                self._next = int(np.searchsorted(self._times, now_s - window_s))
        last = int(np.searchsorted(self._times, now_s, side="right"))
        if last > self._next:
            part = slice(self._next, last)
            self._rolling.add(self._ground[part], self._times[part], now_s)
            self._next = last
        self._rolling.advance(now_s)
        return self._rolling.counts(place, grid), float(self._times[last - 1]) if last else None


def _options(query: str) -> OrthoOptions:
    given = dict(parse_qsl(query, keep_blank_values=True))
    unknown = [name for name in given if name not in _OPTIONS]
    if unknown:
        raise UsageError(f"unknown option {unknown[0]!r} of ortho:; known are {', '.join(_OPTIONS)}")
    up = given.get("up", "heading")
    if up not in ("heading", "north"):
        raise UsageError(f"up is heading or north, got {up!r}")
    try:
        width, height = (int(part) for part in given.get("size", "512x512").lower().split("x"))
        return OrthoOptions(
            rate_hz=float(given.get("rate", "10")),
            size=(height, width),
            gsd_m=float(given["gsd"]) if "gsd" in given else None,
            north_up=up == "north",
            crs=given.get("crs"),
            vehicle=int(given["vehicle"]) if "vehicle" in given else None,
        )
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"options of ortho: are written {WRITTEN}, got ?{query} ({error})") from error
