"""Where results go: masks, overlays, an overlay video. A picture is whole or absent, a video playable at any moment."""

from __future__ import annotations

import abc
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from roadedge.errors import EnvironmentFault, OutputError
from roadedge.imagery import write_jpeg, write_png
from roadedge.pictures import Picture, heat_picture, overlay, panel
from roadedge.sample import RoadMask
from roadedge.stream.mp4 import keep_whole_fragments
from roadedge.stream.sources import Frame, Second
from roadedge.stream.video import import_av

if TYPE_CHECKING:
    from typing_extensions import Self

MILLISECOND = Fraction(1, 1000)
# fragments while it grows, an index in the end; flushed, so that what was written survives the process
FRAGMENTS = {"movflags": "hybrid_fragmented", "frag_duration": "2000000", "flush_packets": "1"}


@dataclass(frozen=True, slots=True)
class Result:
    """One answered frame; `second` is None where the network takes none.

    `time_s` is when the frame was captured, on whatever clock the run goes by, and `clock` (of CLOCKS) says which;
    `age_ms` is how long ago that was when the sinks began, None where nobody knows.
    """

    frame: Frame
    mask: RoadMask
    second: Second | None
    time_s: float
    age_ms: float | None = None
    clock: str = ""


class Sink(abc.ABC):
    """Takes each result in turn; a context manager that finishes what it began, also where an error ends the run.

    `name` is what it is called in metrics.json; `frames` and `bytes` count what was written or sent.
    """

    name = "sink"
    frames = 0
    bytes = 0

    @abc.abstractmethod
    def write(self, result: Result) -> None:
        """Take one result; raises OutputError where it cannot be written."""

    def close(self) -> None:  # noqa: B027  a sink of single files has nothing to finish
        """Finish what spans several results; twice is no error. Raises OutputError."""

    def describe(self) -> dict[str, Any]:
        """What was written, for metrics.json."""
        return {"sink": self.name, "frames": self.frames, "bytes": self.bytes}

    def notices(self) -> Sequence[str]:
        """What a person should know at the end, such as frames whose roads could not be put on a map."""
        return ()

    def _count(self, written: int) -> None:
        self.frames += 1
        self.bytes += written

    def __enter__(self) -> Self:
        """The sink itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish; where an error is on its way, one of finishing does not take its place."""
        with suppress(*(() if error is None else (OutputError,))):
            self.close()


class MaskSink(Sink):
    """`<folder>/<frame>.png`: (H, W) uint8, 255 = road."""

    name = "mask"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, result: Result) -> None:
        """Write the mask."""
        path = self._folder / f"{result.frame.name}.png"
        write_png(path, result.mask.mask.astype(np.uint8) * np.uint8(255), durable=False)
        self._count(path.stat().st_size)


class OverlaySink(Sink):
    """`<folder>/<frame>.jpg`: the road over the image, with the GPS points."""

    name = "overlay"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, result: Result) -> None:
        """Write the overlay."""
        path = self._folder / f"{result.frame.name}.jpg"
        write_jpeg(path, road_picture(result), durable=False)
        self._count(path.stat().st_size)


class VideoSink(Sink):
    """One H.264 video: the input beside the road; frames stand at the time they were captured, gaps included.

    While the run goes on it is NAME.part.mp4 in fragments of about two seconds, so that a run that is killed leaves a
    file that plays; in the end it becomes an ordinary file with an index, and gets its name.
    """

    name = "video"

    def __init__(self, path: Path, side_by_side: bool) -> None:
        """Prepare; the file is begun with the first result, whose size it takes.

        Args:
            path: ends in .mp4.
            side_by_side: show the second modality in a picture of its own at the left.

        Raises:
            MissingExtraError: PyAV is not installed.
            EnvironmentFault: it was built without the encoder x264.
        """
        self._av = import_av("writing a video")
        _check_encoder(self._av)
        self._path, self._part = path, path.with_name(f"{path.stem}.part{path.suffix}")
        self._side_by_side = side_by_side
        self._container: Any = None
        self._stream: Any = None
        self._last_ms: int | None = None

    def write(self, result: Result) -> None:
        """Encode one frame."""
        picture = side_by_side(result) if self._side_by_side else road_picture(result)
        try:
            if self._container is None:
                self._begin(*(max(2, side & ~1) for side in picture.shape[:2]))  # 4:2:0 colour needs even sides
            frame = self._frame(_onto(picture, self._stream.height, self._stream.width))
            frame.pts, frame.time_base = self._next_ms(result.time_s), MILLISECOND
            packets = self._stream.encode(frame)
            self._container.mux(packets)
        except (self._av.error.FFmpegError, OSError) as error:
            raise self._broken(error) from error
        self._count(sum(packet.size for packet in packets))

    def close(self) -> None:
        """Finish the file and give it its name; one without a single frame is not made."""
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            with self._part.open("rb+") as file:
                os.fsync(file.fileno())
                self.bytes = os.fstat(file.fileno()).st_size
            os.replace(self._part, self._path)
        except (self._av.error.FFmpegError, OSError) as error:
            raise self._broken(error) from error
        self._container = None

    def _frame(self, picture: Picture) -> Any:
        """In the encoder's own colours: OpenCV converts to them in a third of the time that FFmpeg takes."""
        import cv2

        return self._av.VideoFrame.from_ndarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), format="yuv420p")

    def _next_ms(self, time_s: float) -> int:
        """When a frame is shown: at its capture, or just after the one before where time went back."""
        time_ms = round(time_s * 1e3)
        self._last_ms = time_ms if self._last_ms is None else max(self._last_ms + 1, time_ms)
        return self._last_ms

    def _begin(self, height: int, width: int) -> None:
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._container = self._av.open(str(self._part), "w", format="mp4", options=FRAGMENTS)
        # The fastest preset: what it saves goes to the network, which waits for the same processor.
        self._stream = self._container.add_stream("libx264", options={"preset": "ultrafast", "crf": "23"})
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = MILLISECOND
        self._stream.codec_context.thread_count = 1  # this thread: further ones would stand in the network's way
        self._stream.codec_context.max_b_frames = 0  # a frame leaves the encoder when it came in

    def _broken(self, error: Exception) -> OutputError:
        """Let go of the file; its whole fragments stay, as NAME.part.mp4."""
        if self._container is not None:
            with suppress(self._av.error.FFmpegError, OSError):  # it cannot be finished: the first error counts
                self._container.close()
        self._container = None
        kept = keep_whole_fragments(self._part)
        first = OutputError.from_os(self._path, error if isinstance(error, OSError) else OSError(str(error)))
        return OutputError(f"{first}; the video up to there is {self._part}") if kept else first


def _check_encoder(av: Any) -> None:
    try:
        av.codec.Codec("libx264", "w")
    except ValueError as error:  # some systems' own builds of FFmpeg leave it out
        raise EnvironmentFault(
            "writing a video needs the encoder x264, and the FFmpeg of this PyAV was built without it; take PyAV's own "
            "wheel (pip install --force-reinstall --only-binary :all: av), or leave video out of --save"
        ) from error


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
