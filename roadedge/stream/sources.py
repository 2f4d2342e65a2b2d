"""Where frames come from: one small protocol, and the sources that are files of images."""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import ShapeError
from roadedge.imagery import read_image
from roadedge.place import Place
from roadedge.preprocess import draw_second
from roadedge.sample import Sample
from roadedge.spec import ModelSpec

if TYPE_CHECKING:
    from typing_extensions import Self

# a file of the second modality → points (N, >= 2) or raster (H, W), and what must be said about it, or nothing
ReadSecond = Callable[[Path, Place | None, tuple[int, int]], tuple[NDArray[Any], str]]
PlaceOf = Callable[[tuple[int, int]], Place]  # (H, W) of an image → where it lies


# where a capture time comes from: the run's schedule, presentation times, frame number / rate, arrival, a message's
# header, the sender's clock (RTCP), a telemetry row, the moment at which work on it began
CLOCKS = ("schedule", "pts", "frame-rate", "arrival", "header", "ntp", "telemetry", "run")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as its source gives it.

    `capture_s` is the capture time in seconds of the stream's clock, and `clock` (of CLOCKS) says where it comes from;
    None where the frame has none (a file of an image), or where frames are due by the run's schedule. `captured_ns` is
    the same moment by the host's `perf_counter_ns`, for a source that delivers on its own: the age counts from it.
    `decode_ms` is how long decoding took where `read` also waited for the frame. `truth` (H, W) uint8 is the road where
    a simulation knows it. `notice` is what a person should know about it, such as points that were left out.
    """

    name: str
    sample: Sample
    capture_s: float | None = None
    clock: str = ""
    truth: NDArray[np.uint8] | None = None
    notice: str = ""
    captured_ns: int | None = None
    decode_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without frames from a source that delivers on its own; by the host's `perf_counter_ns`.

    It begins with the last frame before it and ends with the first one after it, None where none came; `attempts`
    counts the tries to connect again.
    """

    begin_ns: int
    end_ns: int | None
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Second:
    """The second modality of a frame, drawn: `raster` (h, w) uint8 on the network's grid.

    `points` counts the GPS points on it, None where it is no drawing of points. `skew_ms` is how far in time the
    nearest of them lies from the image, None where nobody knows; `paired` whether that is within the tolerance, None
    where points and image have no common time.
    """

    raster: NDArray[np.uint8]
    points: int | None = None
    skew_ms: float | None = None
    paired: bool | None = None


class Source(abc.ABC):
    """Frames in their order. A context manager that closes what it opened.

    `name` is what a run folder is called after; `rate_hz` the rate at which frames are due, None where they wait for
    us or come on their own; `count` how many there are, None where nobody knows; `moving` whether the frames are those
    of one film, so that a bad one ends it; `live` whether time passes while we work; `delivers` whether frames come on
    their own (a camera, a network stream), each with `captured_ns`. `epoch_s` is the time since 1970, UTC, at zero of
    the stream's clock (`Frame.capture_s`), None where nobody knows. `gaps` are the times without frames so far.

    `read` is called by one thread; `interrupt` may be called by another one.
    """

    name: str
    rate_hz: float | None = None
    count: int | None = None
    moving: bool = False
    live: bool = False
    delivers: bool = False
    epoch_s: float | None = None
    gaps: Sequence[Gap] = ()

    def prepare(self) -> None:  # noqa: B027  most sources have nothing to prepare
        """Do what must be done before the first frame is due."""

    @abc.abstractmethod
    def read(self) -> Frame | None:
        """Decode the next frame; None at the end.

        Raises:
            DataError: this frame is bad; the next call gives the one after it.
            SourceError: the source was lost.
        """

    @abc.abstractmethod
    def skip(self, count: int) -> int:
        """Pass over the next `count` frames without decoding them; how many there were."""

    def second(self, frame: Frame, spec: ModelSpec) -> Second:
        """Draw the frame's second modality on the network's grid; zeros where it has none."""
        return Second(draw_second(frame.sample, spec), points_inside(frame.sample))

    def name_of(self, index: int) -> str:
        """What the frame of this index, from 0, and its outputs are called."""
        return f"{index:06d}"

    def interrupt(self) -> None:  # noqa: B027  reading a file ends soon by itself
        """Make a `read` that waits for a frame return None soon; for another thread than the reading one."""

    def close(self) -> None:  # noqa: B027  most sources hold nothing open
        """Give back what is open; twice is no error."""

    def __enter__(self) -> Self:
        """The source itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class ImageFiles(Source):
    """Image files one after the other, each with the file of its second modality where there is one."""

    def __init__(
        self,
        paths: Sequence[Path],
        name: str,
        seconds: dict[Path, Path] | None = None,
        read_second: ReadSecond | None = None,
        gsd_m: float | None = None,
        place_of: PlaceOf | None = None,
    ) -> None:
        """List the files; nothing is read yet.

        Args:
            paths: of images, in their order.
            name: of the run.
            seconds: the file of points or raster that belongs to an image.
            read_second: reads such a file; needed where `seconds` has any.
            gsd_m: metres per pixel of all images, None where unknown.
            place_of: where an image lies on the ground, None where unknown.
        """
        self.name, self.count = name, len(paths)
        self._paths, self._seconds, self._gsd_m = list(paths), seconds or {}, gsd_m
        self._read_second, self._place_of = read_second, place_of
        self._names = output_names(paths)
        self._next = 0

    def read(self) -> Frame | None:
        """Read the next image and what belongs to it."""
        if self._next >= len(self._paths):
            return None
        index, path = self._next, self._paths[self._next]
        self._next += 1  # before reading: a bad file is passed over
        image = read_image(path)
        size = image.shape[0], image.shape[1]
        place = None if self._place_of is None else self._place_of(size)
        second_path = self._seconds.get(path)
        second, notice = None, ""
        if second_path is not None and self._read_second is not None:
            second, notice = self._read_second(second_path, place, size)
        try:
            sample = Sample(image, second, place=place, gsd_m=self._gsd_m, id=self._names[index])
        except ShapeError as error:
            raise ShapeError(f"{path} and {second_path} do not go together: {error}") from error
        return Frame(self._names[index], sample, notice=notice)

    def skip(self, count: int) -> int:
        """Pass over files."""
        passed = min(count, len(self._paths) - self._next)
        self._next += passed
        return passed

    def name_of(self, index: int) -> str:
        """The file's name without its suffix."""
        return self._names[index]


def output_names(paths: Sequence[Path]) -> list[str]:
    """A name for each file's outputs: its stem, or its whole name where two files share a stem."""
    stems = Counter(path.stem for path in paths)
    return [path.stem if stems[path.stem] == 1 else path.name for path in paths]


def points_inside(sample: Sample) -> int | None:
    """How many of a sample's points fall on its image; 0 without a second modality, None where that is a raster."""
    if sample.second is None:
        return 0
    if not sample.has_points:
        return None
    height, width = sample.size
    x, y = sample.second[:, 0], sample.second[:, 1]
    with np.errstate(invalid="ignore"):
        return int(np.count_nonzero((x >= 0) & (x < width) & (y >= 0) & (y < height)))
