"""Says where frames lie on the ground, from whatever is known: telemetry, a camera file, tags, a geotransform."""

from __future__ import annotations

import abc
import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.georeference.footprint import footprint
from roadedge.georeference.photo import Photo, read_photo
from roadedge.georeference.raster_place import RasterPlace, read_raster_place
from roadedge.place import Place
from roadedge.sample import Sample
from roadedge.stream.sources import Frame
from roadedge.trajectory.plane import LocalPlane


class Locator(abc.ABC):
    """Gives frames their place on `plane`, or leaves them without one and counts why in `misses`.

    `plane` is None until the first frame has a place, where telemetry comes while frames do.
    """

    plane: LocalPlane | None

    def __init__(self) -> None:
        self.located = 0
        self.misses: Counter[str] = Counter()
        self.notices: tuple[str, ...] = ()

    def __call__(self, frame: Frame) -> Frame:
        """The frame with its place, its image made straight or seen from above where a camera file says so.

        The same frame where its place is not known; the first of each kind carries a notice.

        Raises:
            DataError: what is wrong will be so for each frame.
        """
        try:
            found = self._locate(frame)
        except UnknownPlace as unknown:
            self.misses[unknown.reason] += 1
            if self.misses[unknown.reason] > 1:
                return frame
            said = f"frame {frame.name} has no place: {unknown}"
            return dataclasses.replace(frame, notice=f"{frame.notice}; {said}" if frame.notice else said)
        self.located += 1
        return found

    @abc.abstractmethod
    def _locate(self, frame: Frame) -> Frame:
        """The frame with its place; raises UnknownPlace."""

    def describe(self) -> dict[str, Any]:
        """For the record of a run: what is used, how many frames got a place, and why others did not."""
        return {
            "kind": type(self).__name__,
            "plane": None if self.plane is None else self.plane.crs,
            "located": self.located,
            "misses": dict(self.misses),
            "notices": list(self.notices),
        }

    def close(self) -> None:  # noqa: B027  most hold nothing open
        """Give back what is open; twice is no error."""


class UnknownPlace(Exception):
    """The place of this one frame is not known; `reason` is short and countable. Never leaves a locator."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(said)
        self.reason = reason


class FixedLocator(Locator):
    """A camera that stands still and looks straight down, or any other place that depends on the size alone."""

    def __init__(self, place_of_size: Callable[[tuple[int, int]], Place], plane: LocalPlane) -> None:
        super().__init__()
        self.plane = plane
        self._place_of = place_of_size

    def _locate(self, frame: Frame) -> Frame:
        return placed(frame, self._place_of(frame.sample.size))


class FileLocator(Locator):
    """Files that say themselves where they lie: one place a name of a frame."""

    def __init__(self, places: dict[str, Callable[[tuple[int, int]], Place]], plane: LocalPlane) -> None:
        super().__init__()
        self.plane = plane
        self._places = places

    def _locate(self, frame: Frame) -> Frame:
        place = self._places.get(frame.name)
        if place is None:
            raise UnknownPlace("no georeference", "its file does not say where it lies")
        return placed(frame, place(frame.sample.size))


def of_photos(
    paths: Sequence[Path],
    names: Sequence[str],
    plane: LocalPlane | None = None,
    turned: Collection[str] = (),
) -> FileLocator | None:
    """The locator of photos by their own tags; None where not one holds a position.

    `names` are those of the frames; files whose stem is in `turned` lie the other way round than their tags say.
    """
    photos: dict[str, Photo] = {}
    for path, name in zip(paths, names, strict=True):
        try:
            photo = read_photo(path)
        except DataError:  # no JPEG or no position: this frame has no place, and is counted so
            continue
        yaw_deg = photo.pose.yaw_deg
        if path.stem in turned and yaw_deg is not None:
            photo = dataclasses.replace(photo, pose=dataclasses.replace(photo.pose, yaw_deg=(yaw_deg + 180) % 360))
        photos[name] = photo
    if not photos:
        return None
    lonlat = [[photo.pose.lon_deg, photo.pose.lat_deg] for photo in photos.values()]
    plane = plane or LocalPlane.about(lonlat)
    locator = FileLocator({name: _of_photo(photo, plane) for name, photo in photos.items()}, plane)
    locator.notices = tuple(notice for photo in photos.values() for notice in photo.notices)
    return locator


def of_rasters(
    paths: Sequence[Path], names: Sequence[str], plane: LocalPlane | None = None, crs: str | None = None
) -> FileLocator:
    """The locator of georeferenced images: GeoTIFF tags or world files. `names` are those of the frames.

    Raises:
        MissingExtraError: rasterio or pyproj is not installed.
        DataError: not one is georeferenced.
    """
    rasters: dict[str, RasterPlace] = {}
    reason = "no files"
    for path, name in zip(paths, names, strict=True):
        try:
            rasters[name] = read_raster_place(path, crs)
        except DataError as error:
            reason = str(error)
    if not rasters:
        raise DataError(f"no image is georeferenced: {reason}")
    plane = plane or LocalPlane.about([raster.centre() for raster in rasters.values()])
    return FileLocator({name: _of_raster(raster, plane) for name, raster in rasters.items()}, plane)


def placed(frame: Frame, place: Place, image: NDArray[np.uint8] | None = None, size: tuple[int, int] = (0, 0)) -> Frame:
    """The frame at `place`, with `image` instead of its own where one is given; metres per pixel follow the place.

    Raises:
        DataError: the frame brings points or a raster in pixels of the image that is replaced.
    """
    sample = frame.sample
    replaced = image is not None and image is not sample.image
    if replaced and sample.second is not None:
        raise DataError("points or rasters in pixels do not go with a camera file, which straightens the image")
    new = image if replaced else sample.image
    fitted = sample.size if new is None and size == (0, 0) else size
    moved = Sample(new, sample.second, fitted, place, None, sample.t_s, sample.id)
    return dataclasses.replace(frame, sample=moved, truth=None if replaced else frame.truth)


def _of_photo(photo: Photo, plane: LocalPlane) -> Callable[[tuple[int, int]], Place]:
    def place(size: tuple[int, int]) -> Place:
        try:
            return footprint(photo.pose, photo.lens, size, plane)
        except DataError as error:
            raise UnknownPlace("footprint unknown", str(error)) from error

    return place


def _of_raster(raster: RasterPlace, plane: LocalPlane) -> Callable[[tuple[int, int]], Place]:
    return lambda size: raster.on(plane).scaled(size[1] / raster.size[1], size[0] / raster.size[0])
