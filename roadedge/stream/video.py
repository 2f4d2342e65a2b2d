"""Video files through PyAV, which knows when each frame was presented."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, MissingExtraError, SourceError
from roadedge.sample import Sample
from roadedge.stream.sources import Frame, Source
from roadedge.trajectory.iso_time import iso_seconds

ReadStill = Callable[[tuple[int, int]], tuple[NDArray[Any], str]]  # (H, W) → points or raster, and what must be said

RAW_SUFFIXES = (".h264", ".264", ".h265", ".hevc", ".265", ".mjpeg", ".mjpg")  # no container, so no times
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".ts", ".mts", ".mpg", *RAW_SUFFIXES)
NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS of FFmpeg's libavformat/avformat.h
STEADY = 0.1  # share by which the time between frames may differ from the stated one before the rate is called variable
OLDEST_EPOCH_S = 631152000.0  # 1990: clocks that were never set write 1904 or 1970


class VideoFile(Source):
    """Frames of a video file; the capture time is the presentation time, or frame number / rate where it has none.

    A second modality is that of a camera that stands still: the same points or raster for each frame.
    """

    moving = True

    def __init__(self, path: Path, gsd_m: float | None = None, read_second: ReadStill | None = None) -> None:
        """Open the file.

        Args:
            path: of the video.
            gsd_m: metres per pixel, None where unknown.
            read_second: reads the second modality once, for frames of the first one's (H, W).

        Raises:
            MissingExtraError: PyAV is not installed.
        """
        av = import_av("reading a video")
        self.name, self.path, self._gsd_m = path.stem, path, gsd_m
        try:
            self._container = av.open(str(path))
        except FileNotFoundError as error:
            raise SourceError(f"there is no video {path}") from error
        except (av.error.FFmpegError, OSError) as error:
            raise DataError(
                f"{path} is not a video that can be read ({_reason(error)}); was it copied whole?"
            ) from error
        if not self._container.streams.video:
            self.close()
            raise DataError(f"{path} holds no video stream")
        stream = self._container.streams.video[0]
        try:
            require_decoder(stream, str(path))
        except DataError:
            self.close()
            raise
        self.epoch_s = _recorded_at_s(self._container.metadata, stream.metadata)
        self.count = stream.frames or None
        self.frame_rate_hz = float(stream.average_rate) if stream.average_rate else None
        self._stated_s = _stated_duration_s(stream)
        self._shown_s = 0.0  # up to when the pictures so far are shown
        self._timeless = bool(self._container.format.flags & NO_TIMESTAMPS)  # then FFmpeg makes times up
        stated = stream.codec_context.framerate if self._timeless else None
        if stated:
            self.frame_rate_hz = float(stated)
        self._assumed = "" if stated or not self._timeless else ", which is assumed"
        self._last_s: float | None = None
        self._told: set[str] = set()
        self._errors: tuple[type[Exception], ...] = (av.error.FFmpegError,)
        self._decoded: Iterator[Any] = self._container.decode(stream)
        self._read_second = read_second
        self._second: NDArray[Any] | None = None
        self._next = 0
        self._ended = False

    def read(self) -> Frame | None:
        """Decode the next frame.

        Raises:
            DataError: the file ends in the middle; the call after it says that this was the end.
        """
        picture = self._picture()
        if picture is None:
            return None
        index = self._next - 1
        capture_s, clock, timing = self._time_of(picture, index)
        image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
        name = self.name_of(index)
        notices = [self._take_second((image.shape[0], image.shape[1])), timing]
        notice = "; ".join(text for text in notices if text)
        sample = Sample(image, self._second, gsd_m=self._gsd_m, t_s=capture_s, id=name)
        return Frame(name, sample, capture_s, clock, notice=notice)

    def skip(self, count: int) -> int:
        """Decode and forget: what comes later in a video is told as changes to what comes earlier."""
        for passed in range(count):
            if self._picture() is None:
                return passed
        return count

    def _time_of(self, picture: Any, index: int) -> tuple[float | None, str, str]:
        """Capture time, where it comes from, and what must be said about the times, once."""
        if picture.time is None or self._timeless:
            if not self.frame_rate_hz:
                return None, "", self._tell(f"{self.path} has neither times nor a frame rate; its frames have no time")
            text = (
                f"{self.path} has no timestamps; a frame's time is its number / {self.frame_rate_hz:g} a second"
                f"{self._assumed}"
            )
            return index / self.frame_rate_hz, "frame-rate", self._tell(text)
        time_s, last_s = float(picture.time), self._last_s
        self._last_s = time_s
        if last_s is None or not self.frame_rate_hz:
            return time_s, "pts", ""
        step_s = time_s - last_s
        if step_s <= 0:
            text = f"{self.path} has times that do not grow: {time_s:.3f} s follows {last_s:.3f} s"
            return time_s, "pts", self._tell(text)
        if abs(step_s * self.frame_rate_hz - 1) > STEADY:
            text = f"{self.path} has a variable frame rate; each frame's own presentation time is used"
            return time_s, "pts", self._tell(text)
        return time_s, "pts", ""

    def _tell(self, text: str) -> str:
        """The text, where it was not told before (of each kind)."""
        kind = text.removeprefix(str(self.path))[:20]
        if kind in self._told:
            return ""
        self._told.add(kind)
        return text

    def _take_second(self, size: tuple[int, int]) -> str:
        """Read what belongs to all frames with the first one; what must be said about it."""
        if self._read_second is None:
            return ""
        self._second, notice = self._read_second(size)
        self._read_second = None
        return notice

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _picture(self) -> Any | None:
        if self._ended:
            return None
        try:
            picture = next(self._decoded, None)
        except self._errors as error:
            self._ended = True
            raise DataError(f"{self.path} is broken after {self._next} frames ({_reason(error)})") from error
        if picture is not None and not picture.is_corrupt:
            self._next += 1
            self._shown_s = max(self._shown_s, _end_s(picture))
            return picture
        self._ended = True
        if picture is not None or self._lacks_pictures():
            of = f" of {self.count}" if self.count else ""
            raise DataError(f"{self.path} ends in the middle, after {self._next}{of} frames; was it copied whole?")
        if not self._next:
            raise DataError(f"{self.path} holds not one picture; was it copied whole?")
        return None

    def _lacks_pictures(self) -> bool:
        """Whether the file says that there are more: by their count (mp4), else by the duration (mkv, webm)."""
        if self.count is not None:
            return self._next < self.count
        if self._stated_s is None or self.frame_rate_hz is None:
            return False
        return self._shown_s + 1.5 / self.frame_rate_hz < self._stated_s


def _end_s(picture: Any) -> float:
    """Seconds at which a picture gives way to the next one."""
    return float((picture.time or 0.0) + (picture.duration or 0) * (picture.time_base or 0))


def _stated_duration_s(stream: Any) -> float | None:
    """Seconds that the tags of a Matroska track state; the other duration is that of the file, sound included."""
    parts = str(stream.metadata.get("DURATION", "")).split(":")
    try:
        hours, minutes, seconds = map(float, parts)
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds


def _recorded_at_s(*tags: Any) -> float | None:
    """Seconds since 1970, UTC, at which the recording began by its `creation_time`; None where that was never set."""
    for found in tags:
        try:
            since_s = iso_seconds(str(found.get("creation_time", "")))
        except ValueError:
            continue
        if since_s > OLDEST_EPOCH_S:
            return since_s
    return None


def require_decoder(stream: Any, what: str) -> None:
    """Raise DataError, naming the codec, where this FFmpeg cannot decode a stream."""
    if stream.codec_context is not None:
        return
    codec = _codec_name(stream.container)
    raise DataError(
        f"{what} is coded in {codec}, for which PyAV's FFmpeg has no decoder; convert it, as in "
        "ffmpeg -i IN -c:v libx264 OUT.mp4"
    )


def _codec_name(container: Any) -> str:
    """What the container's own description calls its codec; PyAV tells it of codecs alone that it can decode."""
    from av import logging

    level = logging.get_level()
    logging.set_level(logging.INFO)  # the description is a log line
    try:
        stated = re.search(r"Video: (\w+)(?: \(([^ )]+))?", container.dumps_format())
    finally:
        logging.set_level(level)
    if stated is None:
        return "an unknown codec"
    return stated[1] if stated[1] != "none" else f"an unknown codec ({stated[2] or 'without a tag'})"


def import_av(purpose: str) -> Any:
    """PyAV, or MissingExtraError saying what it is needed for."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("PyAV", "video", purpose) from error
    return av


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
