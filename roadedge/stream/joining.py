"""From a source and what goes with it to a pairing: who says where its frames lie, and which points are fed."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from roadedge.errors import DataError, RoadEdgeError, SourceError, UsageError
from roadedge.georeference.camera import Camera
from roadedge.georeference.camera_file import read_camera
from roadedge.georeference.dji_srt import beside, read_srt
from roadedge.georeference.heading import check_photos
from roadedge.georeference.lens import Lens
from roadedge.georeference.pose import PoseTrack
from roadedge.georeference.track_file import read_track, track_of
from roadedge.spec import ModelSpec
from roadedge.stream.feeds import Feed, FeedOptions, is_utc, open_feed
from roadedge.stream.heading import check_video
from roadedge.stream.inputs import SourceOptions
from roadedge.stream.locate import FixedLocator, Locator, of_photos, of_rasters
from roadedge.stream.locate_camera import CameraLocator
from roadedge.stream.opening import centred, goes_with_files, images_of, scheme_of
from roadedge.stream.pairing import is_raster
from roadedge.stream.sources import Frame, ImageFiles, Second, Source, output_names
from roadedge.stream.synchronisation import FeedPairing, Pairing, SourcePairing
from roadedge.stream.telemetry import LiveTelemetry
from roadedge.stream.udp_receiver import parse_udp
from roadedge.stream.video import VideoFile
from roadedge.trajectory.plane import LocalPlane

Tell = Callable[[str], None]
RASTER_SUFFIXES = (".tif", ".tiff")
BRINGS_ITS_OWN = ("synth", "ortho")  # sources whose frames have a place and points already


def open_pairing(text: str, source: Source, options: SourceOptions, tell: Tell) -> Pairing | None:
    """What gives the frames of a source their places and points; None where the source brings all there is.

    Raises:
        UsageError: points or a camera that do not go with the source.
        SourceError, DataError, MissingExtraError: what they need cannot be read.
    """
    if scheme_of(text) in BRINGS_ITS_OWN:
        if options.camera or options.telemetry or options.centre:
            raise UsageError(f"the frames of {text} have a place; leave --camera, --telemetry and --centre out")
        if not options.trajectories:
            return None
        fleet = text.rpartition("@")[2].partition("?")[0]  # a flight's own points are one feed among the others
        feeds = _open_feeds(dataclasses.replace(options, trajectories=(f"replay:{fleet}", *options.trajectories)))
        return _joined(feeds, source, None, options, brings=True)
    by_file = goes_with_files(text, options)
    locator = _locator(text, source, options, needed=bool(options.trajectories) and not by_file, tell=tell)
    if by_file or not options.trajectories:
        return None if locator is None else _Located(SourcePairing(source, locator), locator)
    try:
        return _joined(_open_feeds(options, locator), source, locator, options)
    except RoadEdgeError:
        if locator is not None:
            locator.close()
        raise


class _Located:
    """A pairing and the locator that it asks, described together."""

    def __init__(self, pairing: Pairing, locator: Locator | None) -> None:
        self._pairing, self._locator = pairing, locator

    def place(self, frame: Frame) -> Frame:
        return self._pairing.place(frame)

    def second(self, frame: Frame, spec: ModelSpec) -> Second:
        return self._pairing.second(frame, spec)

    def describe(self) -> dict[str, Any]:
        found = self._pairing.describe()
        return found if self._locator is None else {**found, "place": self._locator.describe()}

    def close(self) -> None:
        self._pairing.close()
        if self._locator is not None:
            self._locator.close()


def _joined(
    feeds: list[Feed], source: Source, locator: Locator | None, options: SourceOptions, brings: bool = False
) -> Pairing:
    if locator is None and not brings:
        lost = [feed for feed in feeds if feed.crs not in ("", "pixel")]
        if lost:
            for feed in feeds:
                feed.close()
            raise DataError(
                f"{lost[0].name} holds points in {lost[0].crs!r}, and where the frames lie on the ground is not known; "
                "say it with --centre LON,LAT and --gsd, --camera, --telemetry or a georeferenced image, or give "
                "points in pixels (columns x, y)"
            )
    plane = None if locator is None else locator.plane
    pairing = FeedPairing(feeds, source, locator, plane, options.tolerance_s, options.offset_s, options.window_s)
    return _Located(pairing, locator)


def _check_feed(text: str) -> None:
    if not scheme_of(text) and (Path(text).expanduser().is_dir() or is_raster(Path(text))):
        raise UsageError(
            f"{text} is a folder or a raster: these go with image files or a video alone, as the one --trajectory; "
            "a stream, or several feeds, take files of points, udp://HOST:PORT and bag:PATH#topic"
        )


def _open_feeds(options: SourceOptions, locator: Locator | None = None) -> list[Feed]:
    """The feeds; the port of the telemetry is not bound twice, what comes there is both."""
    feeds: list[Feed] = []
    live = locator.live if isinstance(locator, CameraLocator) else None
    understood = FeedOptions(options.points_crs, options.datum)
    try:
        for text in options.trajectories:
            _check_feed(text)
            shared = None if live is None or scheme_of(text) != "udp" else live.feed(parse_udp(text), understood)
            feeds.append(shared or open_feed(text, understood))
    except RoadEdgeError:
        for feed in feeds:
            feed.close()
        raise
    return feeds


def _locator(text: str, source: Source, options: SourceOptions, needed: bool, tell: Tell) -> Locator | None:
    """Who says where the frames lie, by what the user gave, else by what lies beside or inside the files."""
    if options.centre is not None:
        if isinstance(source, ImageFiles):
            return None if not needed else FixedLocator(partial(centred, options), LocalPlane(*options.centre))
        return FixedLocator(partial(centred, options), LocalPlane(*options.centre))
    camera = None if options.camera is None else read_camera(options.camera)
    if options.telemetry is not None or camera is not None:
        return _checked(_by_camera(text, source, options, camera), source, options, tell)
    if isinstance(source, VideoFile):
        found = beside(source.path)
        if found is None:
            return None
        try:
            located = _by_camera(text, source, options, None, found)
        except DataError as error:
            if needed:
                raise
            tell(f"notice: {found.name} does not say where the frames lie: {error}")  # nobody asked for it
            return None
        tell(f"the places of the frames come from {found.name}")
        return _checked(located, source, options, tell)
    if isinstance(source, ImageFiles) and options.gsd_m is None:
        return _by_tags(images_of(text), options.headings, needed, tell)
    return None


def _by_camera(
    text: str, source: Source, options: SourceOptions, camera: Camera | None, telemetry: Path | None = None
) -> CameraLocator:
    asked = "" if options.telemetry is None else str(options.telemetry)
    if scheme_of(asked) == "udp":
        return _by_live_telemetry(asked, source, options, camera)
    asked = str(telemetry or asked or (isinstance(source, VideoFile) and beside(source.path)) or "")
    track, lens, notices = (None, None, ()) if not asked else _track(asked, options)
    offset_s = -options.offset_s  # added to the telemetry's times, as to those of points
    if track is not None and track.epoch_s is not None and is_utc(track.epoch_s) and not source.delivers:
        if source.epoch_s is None:  # the telemetry knows what time it was: so does the film now
            source.epoch_s = track.epoch_s
        elif not asked.lower().endswith(".srt"):  # subtitles count as their film does
            offset_s += source.epoch_s - track.epoch_s
    locator = CameraLocator(track, lens, camera, None, offset_s)
    locator.notices = (*locator.notices, *notices)
    return locator


def _by_live_telemetry(text: str, source: Source, options: SourceOptions, camera: Camera | None) -> CameraLocator:
    """A camera that moves while it delivers, by what its vehicle's receiver sends."""
    address = parse_udp(text, "telemetry")
    if camera is None:
        raise UsageError(
            f"--telemetry {text} says where the vehicle is, and not how its camera looks at the ground; give --camera "
            "cam.toml with [lens], and height_m and pitch_deg in [mount]"
        )
    if options.headings != "trust":
        raise UsageError("--headings looks at recorded pictures and telemetry; beside live telemetry leave it out")
    telemetry = LiveTelemetry(address, options.datum)
    telemetry.align(source, options.offset_s)
    try:
        return CameraLocator(telemetry, camera=camera)
    except RoadEdgeError:
        telemetry.close()
        raise


def _checked(locator: CameraLocator, source: Source, options: SourceOptions, tell: Tell) -> CameraLocator:
    """Hold the headings of a video's telemetry against its pictures, where that is asked for."""
    if options.headings == "trust":
        return locator
    if options.headings == "fix" or not isinstance(source, VideoFile):
        raise UsageError("--headings fix is for photos, check for photos and video files with telemetry")
    with VideoFile(source.path) as looked_at:
        found = check_video(looked_at, locator)
    for sentence in found.sentences() or ["the headings agree with how the pictures move"]:
        tell(f"notice: {sentence}")
    return locator


def _track(text: str, options: SourceOptions) -> tuple[PoseTrack, Lens | None, tuple[str, ...]]:
    scheme = scheme_of(text)
    if scheme == "bag":
        from roadedge.stream.bag import read_fixes

        track = track_of(read_fixes(text), text)
        return track, None, track.notices
    if scheme:
        raise UsageError(f"--telemetry takes a file, bag:PATH#topic or udp://HOST:PORT; got {text}")
    path = Path(text).expanduser()
    if not path.is_file():
        raise SourceError(f"there is no telemetry {path}")
    if path.suffix.lower() == ".srt":
        subtitles = read_srt(path)
        return subtitles.track, subtitles.lens, subtitles.track.notices
    track = read_track(path, crs=options.points_crs)
    return track, None, track.notices


def _by_tags(images: list[Path], headings: str, needed: bool, tell: Tell) -> Locator | None:
    """Photos by their EXIF and XMP, rasters by their geotransform; None where they say nothing."""
    names = output_names(images)
    if any(path.suffix.lower() in RASTER_SUFFIXES for path in images):
        if not needed and importlib.util.find_spec("rasterio") is None:
            tell("where TIFF images lie is not looked up: that needs rasterio, pip install 'roadedge[geo]'")
            return None
        try:
            return of_rasters(images, names)
        except DataError:
            if needed:
                raise
            return None
    reversed_names: tuple[str, ...] = ()
    if headings != "trust":
        found = check_photos(images)
        for sentence in found.sentences():
            tell(f"notice: {sentence}")
        reversed_names = found.reversed_names if headings == "fix" else ()
        if reversed_names:
            tell(f"turned by 180 degrees: {', '.join(reversed_names)}")
    located = of_photos(images, names, turned=reversed_names)
    if located is not None:
        tell("the places of the photos come from their own tags")
    return located
