"""From the SOURCE argument to a source."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from roadedge.errors import DataError, SourceError, UsageError
from roadedge.imagery import IMAGE_SUFFIXES, read_raster
from roadedge.place import Place
from roadedge.stream.chain import Pairs
from roadedge.stream.pairing import is_raster, pair
from roadedge.stream.sources import ImageFiles, Source
from roadedge.stream.video import VIDEO_SUFFIXES, ReadStill, VideoFile
from roadedge.trajectory.plane import LocalPlane
from roadedge.trajectory.readers import read_points

SYNTH = re.compile(r"synth:(\d+)[xX](\d+)@(\d+(?:\.\d+)?)")
SCHEME = re.compile(r"[a-z][a-z0-9+]*:(//)?", re.IGNORECASE)
KINDS = "an image, a folder or glob of images, a video, or synth:WIDTHxHEIGHT@RATE"


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What goes with a source: `points_crs` and `datum` as in `read_points`.

    `centre` is longitude and latitude (degrees, WGS 84) of a single image that looks straight down, `heading_deg` the
    direction of its top, clockwise from north; with `gsd_m` they say where its pixels lie.
    """

    trajectory: Path | None = None
    gsd_m: float | None = None
    points_crs: str | None = None
    datum: str = "wgs84"
    centre: tuple[float, float] | None = None
    heading_deg: float = 0.0


def open_source(text: str, options: SourceOptions) -> Source:
    """Open an image, a folder, a glob, a video or a synthetic flight.

    Raises:
        SourceError: there is no such thing.
        DataError: a folder without images, or a file that is neither image nor video.
        UsageError: a source or a combination that is not supported.
    """
    if options.centre is not None and options.gsd_m is None:
        raise UsageError("--centre says where the image lies only together with --gsd, the metres per pixel")
    if text.startswith("synth:"):
        return _flight(text, options)
    if SCHEME.match(text) and not Path(text).exists():
        raise UsageError(f"{text.split(':')[0]}: is no source that this version reads; SOURCE is {KINDS}")
    path = Path(text).expanduser()
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoFile(path, options.gsd_m, _still(options))
    return _image_files(_images(path, text), path, options)


def open_pairing(source: Source, options: SourceOptions, tell: Callable[[str], None]) -> Pairs | None:
    """What gives the frames of a source their places and points; None where the source brings its own."""
    return None


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


def _images(path: Path, text: str) -> list[Path]:
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


def _glob(pattern: Path) -> list[Path]:
    import glob

    return [Path(name) for name in glob.glob(str(pattern), recursive=True)]


def _image_files(images: list[Path], path: Path, options: SourceOptions) -> ImageFiles:
    seconds = {} if options.trajectory is None else pair(images, options.trajectory.expanduser())
    name = path.stem if path.is_file() else path.resolve().name if path.is_dir() else path.resolve().parent.name

    if options.centre is not None and len(images) > 1:
        raise UsageError(f"--centre is where one image lies, and {path} holds {len(images)}; give one of them")

    def read_second(file: Path, place: Place | None, size: tuple[int, int]) -> tuple[NDArray[Any], str]:
        return (read_raster(file), "") if is_raster(file) else _read_points(file, options, place, size)

    place_of = None if options.centre is None else partial(_place, options)
    return ImageFiles(images, name or "images", seconds, read_second, options.gsd_m, place_of)


def _still(options: SourceOptions) -> ReadStill | None:
    """Reads the file of the second modality of a camera that stands still."""
    if options.trajectory is None:
        return None
    file = options.trajectory.expanduser()
    if not file.is_file():
        raise SourceError(f"there is no file {file}; a video takes one file of points or one raster, in its own pixels")
    place_of = None if options.centre is None else partial(_place, options)

    def read(size: tuple[int, int]) -> tuple[NDArray[Any], str]:
        if is_raster(file):
            return read_raster(file), ""
        return _read_points(file, options, None if place_of is None else place_of(size), size)

    return read


def _place(options: SourceOptions, size: tuple[int, int]) -> Place:
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
    _refuse_trajectory(options, "a synthetic flight, which brings its own points,")
    from roadedge.stream.flight import Flight

    width, height, rate_hz = int(match[1]), int(match[2]), float(match[3])
    return Flight((height, width), rate_hz, gsd_m=options.gsd_m)


def _refuse_trajectory(options: SourceOptions, what: str) -> None:
    if options.trajectory is not None:
        raise UsageError(f"--trajectory goes with images and videos; {what} takes none")
