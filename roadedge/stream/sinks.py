"""Where results go: masks, overlays, an overlay video. Each file is whole or absent."""

from __future__ import annotations

import abc
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from roadedge.atomic import replacing
from roadedge.errors import OutputError
from roadedge.imagery import write_jpeg, write_png
from roadedge.pictures import Picture, heat_picture, overlay, panel
from roadedge.sample import RoadMask
from roadedge.stream.sources import Frame, Second
from roadedge.stream.video import import_av

if TYPE_CHECKING:
    from typing_extensions import Self

MILLISECOND = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Result:
    """One answered frame; `second` is None where the network takes none.

    `time_s` is when the frame was captured, on whatever clock the run goes by.
    """

    frame: Frame
    mask: RoadMask
    second: Second | None
    time_s: float


class Sink(abc.ABC):
    """Takes each result in turn. A context manager: an error on the way out leaves nothing half-written."""

    @abc.abstractmethod
    def write(self, result: Result) -> None:
        """Take one result; raises OutputError where it cannot be written."""

    def close(self) -> None:  # noqa: B027  a sink of single files has nothing to finish
        """Finish what spans several results."""

    def discard(self) -> None:  # noqa: B027  nor has it anything to throw away
        """Throw away what is unfinished."""

    def __enter__(self) -> Self:
        """The sink itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish, or discard where an error came."""
        if kind is None:
            self.close()
        else:
            self.discard()


class MaskSink(Sink):
    """`<folder>/<frame>.png`: (H, W) uint8, 255 = road."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, result: Result) -> None:
        """Write the mask."""
        write_png(self._folder / f"{result.frame.name}.png", result.mask.mask.astype(np.uint8) * np.uint8(255))


class OverlaySink(Sink):
    """`<folder>/<frame>.jpg`: the road over the image, with the GPS points."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, result: Result) -> None:
        """Write the overlay."""
        write_jpeg(self._folder / f"{result.frame.name}.jpg", road_picture(result))


class VideoSink(Sink):
    """One H.264 video: the input beside the road; frames stand at the time they were captured, gaps included."""

    def __init__(self, path: Path, side_by_side: bool) -> None:
        """Prepare; the file is begun with the first result, whose size it takes.

        Args:
            path: ends in .mp4.
            side_by_side: show the second modality in a picture of its own at the left.

        Raises:
            MissingExtraError: PyAV is not installed.
        """
        self._av = import_av("writing a video")
        self._path, self._side_by_side = path, side_by_side
        self._open: ExitStack | None = None
        self._container: Any = None
        self._stream: Any = None
        self._last_ms = -1
        self._count = 0

    def write(self, result: Result) -> None:
        """Encode one frame."""
        picture = side_by_side(result) if self._side_by_side else road_picture(result)
        try:
            if self._container is None:
                self._begin(picture.shape[0] & ~1, picture.shape[1] & ~1)  # 4:2:0 colour needs even sides
            frame = self._av.VideoFrame.from_ndarray(
                _onto(picture, self._stream.height, self._stream.width), format="rgb24"
            )
            frame.pts = self._last_ms = max(self._last_ms + 1, round(result.time_s * 1e3))
            frame.time_base = MILLISECOND
            self._container.mux(self._stream.encode(frame))
        except (self._av.error.FFmpegError, OSError) as error:
            raise self._broken(error) from error
        self._count += 1

    def close(self) -> None:
        """Finish the file and give it its name; one without a single frame is not made."""
        if self._open is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (self._av.error.FFmpegError, OSError) as error:
            raise self._broken(error) from error
        self._open.close()  # renames
        self._open = None

    def _begin(self, height: int, width: int) -> None:
        self._open = ExitStack()
        temporary = self._open.enter_context(replacing(self._path))
        self._container = self._av.open(str(temporary), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", options={"preset": "veryfast", "crf": "23"})
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = MILLISECOND
        self._stream.codec_context.max_b_frames = 0  # a frame leaves the encoder when it came in

    def discard(self) -> None:
        """Remove the part that was written."""
        if self._open is None:
            return
        with suppress(self._av.error.FFmpegError, OSError):  # the container cannot be finished: it is thrown away
            self._container.close()
        stack, self._open = self._open, None
        with suppress(_Discarded):
            stack.__exit__(_Discarded, _Discarded(), None)

    def _broken(self, error: Exception) -> OutputError:
        self.discard()
        return OutputError.from_os(self._path, error if isinstance(error, OSError) else OSError(str(error)))


class _Discarded(Exception):
    """Tells `replacing` that its file is not wanted."""


def road_picture(result: Result) -> Picture:
    """The road over the image; over the blank of a missing image it is over black."""
    sample = result.frame.sample
    image = sample.image if sample.image is not None else np.zeros((*sample.size, 3), np.uint8)
    points = sample.second if sample.second is not None and sample.has_points else None
    return overlay(image, result.mask.mask, points)


def side_by_side(result: Result) -> Picture:
    """The image, the second modality where there is one, and the road over the image."""
    sample = result.frame.sample
    pictures, captions = [], []
    if sample.image is not None:
        pictures.append(sample.image)
        captions.append(f"image {result.frame.name}")
    if result.second is not None and result.second.points != 0:
        pictures.append(heat_picture(result.second.raster, sample.image))
        count = result.second.points
        captions.append("second modality" if count is None else f"GPS points, {count} in view")
    pictures.append(road_picture(result))
    captions.append(f"road, {result.mask.road_fraction:.0%} of the frame")
    return panel(pictures, captions)


def _onto(picture: Picture, height: int, width: int) -> Picture:
    """Cut or pad a picture to the size of the video, at the upper left; a folder may hold several sizes."""
    if picture.shape[:2] == (height, width):
        return picture
    canvas = np.zeros((height, width, 3), np.uint8)
    kept = picture[:height, :width]
    canvas[: kept.shape[0], : kept.shape[1]] = kept
    return canvas
