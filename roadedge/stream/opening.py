"""From the SOURCE argument to a source."""

from __future__ import annotations

import dataclasses
import re
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from roadedge.errors import DataError, SourceError, UsageError
from roadedge.imagery import IMAGE_SUFFIXES, read_raster
from roadedge.place import Place
from roadedge.stream.inputs import SourceOptions
from roadedge.stream.pairing import is_raster, pair
from roadedge.stream.sources import ImageFiles, Source
from roadedge.stream.video import VIDEO_SUFFIXES, ReadStill, VideoFile
from roadedge.trajectory.plane import LocalPlane
from roadedge.trajectory.readers import read_points

SYNTH = re.compile(r"synth:(\d+)[xX](\d+)@(\d+(?:\.\d+)?)")
SCHEME = re.compile(r"([a-z][a-z0-9+]*):", re.IGNORECASE)
SCHEMES = ("rtsp", "rtsps", "v4l2", "csi", "gst", "bag")  # those of stream/schemes.py, which loads what they need
KINDS = (
    "an image, a folder or glob of images, a video, rtsp://…, v4l2://…, csi://…, gst:…, bag:PATH#topic, "
    "ortho:SCENE.tif@TRACK.gpx or synth:WIDTHxHEIGHT@RATE"
)


def open_source(text: str, options: SourceOptions) -> Source:
    """Open what SOURCE names.

    Raises:
        SourceError: there is no such thing, or it cannot be reached.
        DataError: a folder without images, or a file that is neither image nor video.
        UsageError: a source or a combination that is not supported.
    """
    scheme = scheme_of(text)
    if scheme == "synth":
        return _flight(text, options)
    if scheme == "ortho":
        from roadedge.stream.ortho import open_ortho

        if options.gsd_m is not None:
            raise UsageError("the scene says how much ground a pixel covers; write ?gsd=0.5 behind the track instead")
        return open_ortho(text, options.points_crs, options.datum)
    if scheme in SCHEMES:
        from roadedge.stream.schemes import open_scheme

        return open_scheme(text, dataclasses.replace(options.live, gsd_m=options.gsd_m))
    if scheme:
        raise UsageError(f"{scheme}: is no source that this version reads; SOURCE is {KINDS}")
    path = Path(text).expanduser()
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoFile(path, options.gsd_m, _still(options))
    return _image_files(images_of(text), path, options)


def scheme_of(text: str) -> str:
    """What stands before the colon of an address, in small letters; "" for a path."""
    match = SCHEME.match(text)
    return match[1].lower() if match and not is_there(text) else ""


def is_there(text: str) -> bool:
    """Whether a text names a file or folder; a pipeline of GStreamer may be longer than any name of one."""
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, ~nobody, a NUL
        return False


def images_of(text: str) -> list[Path]:
    """The image files that a path, folder or glob names, in their order; raises as `open_source` does."""
    path = Path(text).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not found:
            inner = f"; its folder image/ may be meant: {path / 'image'}" if (path / "image").is_dir() else ""
            raise DataError(f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)}){inner}")
        return found
    if path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise DataError(f"{path} is neither an image nor a video by its suffix; SOURCE is {KINDS}")
        return [path]
    if any(letter in text for letter in "*?["):
        found = sorted(p for p in _glob(path) if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not found:
            raise SourceError(f"no image matches {text}; quote the pattern, and check it with ls")
        return found
    raise SourceError(f"there is no {text}; SOURCE is {KINDS}")


def goes_with_files(text: str, options: SourceOptions) -> bool:
    """Whether `--trajectory` is read file by file, each beside its image or for a still camera, and is no feed.

    So it is with one folder of files, one raster, or one file of points for one image whose place is not asked for.
    """
    if len(options.trajectories) != 1 or scheme_of(text) or scheme_of(options.trajectories[0]):
        return False
    trajectory = Path(options.trajectories[0]).expanduser()
    if trajectory.is_dir() or is_raster(trajectory):
        return True
    still = Path(text).expanduser().suffix.lower() in VIDEO_SUFFIXES
    return not still and options.camera is None and not (trajectory.is_file() and _has_place(text, trajectory, options))


def _has_place(text: str, trajectory: Path, options: SourceOptions) -> bool:
    """Whether the images lie on the ground by their own tags, so that points in pixels are not meant."""
    if options.centre is not None:
        return False
    return read_points(trajectory, options.datum, options.points_crs).crs != "pixel"


def _glob(pattern: Path) -> list[Path]:
    import glob

    return [Path(name) for name in glob.glob(str(pattern), recursive=True)]


def _image_files(images: list[Path], path: Path, options: SourceOptions) -> ImageFiles:
    seconds: dict[Path, Path] = {}
    if goes_with_files(str(path), options):
        seconds = pair(images, Path(options.trajectories[0]).expanduser())
    name = path.stem if path.is_file() else path.resolve().name if path.is_dir() else path.resolve().parent.name
    if options.centre is not None and len(images) > 1:
        raise UsageError(f"--centre is where one image lies, and {path} holds {len(images)}; give one of them")

    def read_second(file: Path, place: Place | None, size: tuple[int, int]) -> tuple[NDArray[Any], str]:
        return (read_raster(file), "") if is_raster(file) else _read_points(file, options, place, size)

    place_of = None if options.centre is None else partial(centred, options)
    return ImageFiles(images, name or "images", seconds, read_second, options.gsd_m, place_of)


def _still(options: SourceOptions) -> ReadStill | None:
    """Reads the raster of a camera that stands still."""
    if len(options.trajectories) != 1 or not is_raster(Path(options.trajectories[0])):
        return None
    file = Path(options.trajectories[0]).expanduser()
    if not file.is_file():
        raise SourceError(f"there is no file {file}")
    return lambda size: (read_raster(file), "")


def centred(options: SourceOptions, size: tuple[int, int]) -> Place:
    """Where an image of `size` (H, W) lies that looks straight down: its centre is where the plane touches."""
    assert options.centre is not None
    assert options.gsd_m is not None
    plane = LocalPlane(*options.centre)
    return Place.nadir((0.0, 0.0), options.gsd_m, size, options.heading_deg, plane.crs)


def _read_points(
    file: Path, options: SourceOptions, place: Place | None, size: tuple[int, int]
) -> tuple[NDArray[Any], str]:
    """Points of a file in pixels of its image, and a sentence where rows of it were left out.

    Raises:
        PointsError: the file cannot be read.
        DataError: its points are on the globe and nobody knows where the image lies.
    """
    points = read_points(file, options.datum, options.points_crs)
    if points.crs == "lonlat" and options.centre is not None and place is not None:
        points = points.to_plane(LocalPlane(*options.centre)).to_pixels(place, size)
    if points.crs != "pixel":
        raise DataError(
            f"{file} holds points in {points.crs!r}, and where the image lies on the ground is not known; say it with "
            "--centre LON,LAT and --gsd (for points in lonlat), or give them in pixels of the image (columns x, y)"
        )
    reasons = ", ".join(f"{name} {count}" for name, count in points.dropped.items())
    left_out = sum(points.dropped.values())
    return points.to_array(), f"{left_out} rows of {file} were left out ({reasons})" if left_out else ""


def _flight(text: str, options: SourceOptions) -> Source:
    match = SYNTH.fullmatch(text)
    if match is None:
        raise UsageError(f"a synthetic flight is written synth:WIDTHxHEIGHT@RATE, as in synth:512x512@10; got {text}")
    if options.trajectories:
        raise UsageError("--trajectory goes with other sources; a synthetic flight brings its own points")
    from roadedge.stream.flight import Flight

    width, height, rate_hz = int(match[1]), int(match[2]), float(match[3])
    return Flight((height, width), rate_hz, gsd_m=options.gsd_m)
