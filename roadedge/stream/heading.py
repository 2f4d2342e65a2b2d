"""The heading check of a video: frames some metres apart, with the place that its telemetry gives them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.georeference.heading import LEAST_STEP_M, HeadingReport, check_heading
from roadedge.place import Place
from roadedge.stream.locate_camera import CameraLocator
from roadedge.stream.sources import Frame, Source

STEP_SHARE = 0.25  # of a frame's width on the ground: far enough to tell, near enough to overlap
MOST_FRAMES = 24  # each costs some tenths of a second


def check_video(source: Source, locate: CameraLocator, most: int = MOST_FRAMES) -> HeadingReport:
    """Check the first `most` frames of `source` that lie a quarter of their width apart by the telemetry.

    The source is read from where it is and is not closed; what is looked at here does not come again.

    Raises:
        DataError: fewer than two such frames: the telemetry does not move, or does not cover the video.
    """
    frames = list(_apart(source, locate, most))
    if len(frames) < 2:
        raise DataError(
            f"a heading check needs frames some metres apart by the telemetry, {source.name} has {len(frames)}; "
            f"reasons for frames without a place: {dict(locate.misses) or 'none, it does not move'}"
        )
    images: list[NDArray[np.uint8]] = [image for _, image, _, _ in frames]
    places = [place for _, _, place, _ in frames]
    return check_heading(images, places, [at for _, _, _, at in frames], [name for name, _, _, _ in frames])


def _apart(
    source: Source, locate: CameraLocator, most: int
) -> Iterator[tuple[str, NDArray[np.uint8], Place, tuple[float, float]]]:
    before: tuple[float, float] | None = None
    found = 0
    while found < most and (frame := source.read()) is not None:
        located = locate(frame)
        at, place, image = locate.position(frame), located.sample.place, located.sample.image
        if at is None or place is None or image is None:
            continue
        step_m = max(LEAST_STEP_M, STEP_SHARE * _width_m(located))
        if before is None or np.hypot(at[0] - before[0], at[1] - before[1]) >= step_m:
            before = at
            found += 1
            yield frame.name, image, place, at


def _width_m(frame: Frame) -> float:
    return (frame.sample.gsd_m or 0.0) * frame.sample.size[1]
