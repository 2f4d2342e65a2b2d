"""Video files through PyAV, which knows when each frame was presented."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, MissingExtraError, SourceError
from roadedge.sample import Sample
from roadedge.stream.sources import Frame, Source

ReadStill = Callable[[tuple[int, int]], tuple[NDArray[Any], str]]  # (H, W) → points or raster, and what must be said

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".ts", ".mts")


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
            SourceError: there is no such file.
            DataError: it is no video, or has no picture in it.
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
        self.count = stream.frames or None
        self.frame_rate_hz = float(stream.average_rate) if stream.average_rate else None
        self._stated_s = _stated_duration_s(stream)
        self._shown_s = 0.0  # up to when the pictures so far are shown
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
        capture_s, clock = picture.time, "pts"
        if capture_s is None:
            capture_s, clock = (index / self.frame_rate_hz, "frame-rate") if self.frame_rate_hz else (None, "")
        image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
        name = self.name_of(index)
        notice = self._take_second((image.shape[0], image.shape[1]))
        sample = Sample(image, self._second, gsd_m=self._gsd_m, t_s=capture_s, id=name)
        return Frame(name, sample, capture_s, clock, notice=notice)

    def skip(self, count: int) -> int:
        """Decode and forget: what comes later in a video is told as changes to what comes earlier."""
        for passed in range(count):
            if self._picture() is None:
                return passed
        return count

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


def import_av(purpose: str) -> Any:
    """PyAV, or MissingExtraError saying what it is needed for."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("PyAV", "video", purpose) from error
    return av


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
