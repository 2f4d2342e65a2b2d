"""Do the tags tell where the images look? Compares how images shift with how far and whereto the camera went.

Some cameras write a yaw that is reversed or drifts. No tag tells; two successive images and their positions do.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roadedge.errors import DataError
from roadedge.georeference.footprint import footprint
from roadedge.georeference.image_motion import ImageFeatures
from roadedge.georeference.photo import read_photo
from roadedge.georeference.pose import wrapped_deg
from roadedge.imagery import read_image
from roadedge.place import Place
from roadedge.trajectory.plane import LocalPlane

REVERSED_DEG = 135.0  # beyond: the other way round
WRONG_DEG = 30.0  # beyond: 10 degrees of yaw and twice what 2 m of a receiver's noise turn a step of 13 m by
DRIFT_DEG = 20.0  # over the run
LEAST_STEP_M = 3.0  # of position between two images: the direction of a shorter step is the receiver's noise


@dataclass(frozen=True, slots=True)
class HeadingOf:
    """What is said of one image: `error_deg`, by which its yaw turns clockwise too far, None where nobody can tell.

    `verdict` is "ok", "reversed", "wrong" or "unknown"; `scale` is the shift on the ground by the place over the GPS
    step, 1 where height and focal length are right.
    """

    name: str
    verdict: str
    error_deg: float | None = None
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class HeadingReport:
    """What is said of each image, and `drift_deg`, by how much the error grows from first to last of those that are ok.

    `drift_deg` is None where fewer than six images tell.
    """

    images: tuple[HeadingOf, ...]
    drift_deg: float | None

    @property
    def flagged(self) -> tuple[str, ...]:
        """Names of the images whose yaw is reversed or wrong."""
        return tuple(image.name for image in self.images if image.verdict in ("reversed", "wrong"))

    @property
    def reversed_names(self) -> tuple[str, ...]:
        """Names of the images that turning by 180 degrees would put right."""
        return tuple(image.name for image in self.images if image.verdict == "reversed")

    @property
    def drifts(self) -> bool:
        """Whether the yaw drifts."""
        return self.drift_deg is not None and abs(self.drift_deg) > DRIFT_DEG

    @property
    def scale(self) -> float | None:
        """Median of the images' scales."""
        known = [image.scale for image in self.images if image.scale is not None]
        return float(np.median(known)) if known else None

    def sentences(self) -> list[str]:
        """What a person should know; empty where all is well."""
        said = []
        for verdict, meaning in (("reversed", "lie about 180 degrees from their yaw tag"), ("wrong", "lie off")):
            names = [image.name for image in self.images if image.verdict == verdict]
            if names:
                errors = [abs(i.error_deg) for i in self.images if i.verdict == verdict and i.error_deg is not None]
                said.append(f"{len(names)} images {meaning} ({np.median(errors):.0f} degrees): {', '.join(names)}")
        if self.drifts:
            said.append(f"the yaw drifts by {self.drift_deg:.0f} degrees from the first image to the last")
        unknown = sum(image.verdict == "unknown" for image in self.images)
        if unknown:
            said.append(f"{unknown} of {len(self.images)} images do not tell: too little texture, overlap or way")
        return said

    def lines(self) -> list[str]:
        """A line an image, then what a person should know."""
        rows = []
        for image in self.images:
            error = "" if image.error_deg is None else f"{image.error_deg:+7.1f} deg"
            scale = "" if image.scale is None else f"  shift / GPS step {image.scale:.2f}"
            rows.append(f"{image.name:24} {image.verdict:9}{error}{scale}")
        return [*rows, *self.sentences()]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "images": [dataclasses.asdict(image) for image in self.images],
            "flagged": list(self.flagged),
            "drift_deg": self.drift_deg,
            "scale": self.scale,
        }

    def check(self) -> None:
        """Raise DataError where yaw tags are reversed, wrong, or drift."""
        if self.flagged or self.drifts:
            raise DataError(f"{'; '.join(self.sentences())}; infer --headings fix turns the reversed ones")


def check_heading(
    images: Iterable[NDArray[np.uint8]], places: Sequence[Place], positions: ArrayLike, names: Sequence[str]
) -> HeadingReport:
    """Compare the shift between successive images with the step between their positions.

    Args:
        images: (H, W, 3) uint8 RGB, read one after the other.
        places: of the images, as the tags say.
        positions: (N, 2) metres east and north of the camera, in the plane of the places.
        names: of the images.

    Raises:
        DataError: fewer than two images, or the lists do not go together.
    """
    ground = np.asarray(positions, np.float64).reshape(-1, 2)
    if not len(places) == len(ground) == len(names):
        raise DataError(
            f"got {len(places)} places, {len(ground)} positions and {len(names)} names; one of each an image"
        )
    if len(places) < 2:
        raise DataError(f"a heading check compares successive images, got {len(places)}; give two or more")
    votes: list[list[complex]] = [[] for _ in places]
    before: ImageFeatures | None = None
    for index, image in enumerate(images):
        now = ImageFeatures.of(image)
        step = ground[index] - ground[index - 1]
        if before is not None and np.hypot(*step) >= LEAST_STEP_M:
            motion = before.motion_to(now)
            if motion is not None:
                votes[index - 1].append(_vote(places[index - 1], before.size, motion, step))
                votes[index].append(_vote(places[index], now.size, np.linalg.inv(motion), -step))
        before = now
    judged = tuple(_judge(name, vote) for name, vote in zip(names, votes, strict=True))
    return HeadingReport(judged, _drift(judged))


def check_photos(paths: Sequence[str | Path]) -> HeadingReport:
    """`check_heading` of successive photos by their own tags.

    Raises:
        DataError: a photo cannot be read, or its tags do not say where it lies.
    """
    photos = [read_photo(path) for path in paths]
    if not photos:
        raise DataError("a heading check compares successive photos, got none")
    lonlat = np.array([[photo.pose.lon_deg, photo.pose.lat_deg] for photo in photos])
    plane = LocalPlane.about(lonlat)
    places = [footprint(photo.pose, photo.lens, photo.size, plane) for photo in photos]
    names = [Path(path).stem for path in paths]
    return check_heading((read_image(path) for path in paths), places, plane.from_lonlat(lonlat), names)


def _vote(place: Place, size: tuple[int, int], motion: NDArray[Any], step: NDArray[np.float64]) -> complex:
    """The shift by image and place over the step by positions: its angle is the error, its length the scale.

    `motion` maps this image's pixels into the other one, which is `step` metres away.
    """
    centre = np.array([size[1] / 2, size[0] / 2, 1.0])
    other = np.linalg.inv(motion) @ centre  # the other image's middle, in this image
    east, north = place.to_ground([other[:2] / other[2]])[0] - place.to_ground([centre[:2]])[0]
    return complex(east, north) / complex(*step)


def _judge(name: str, votes: list[complex]) -> HeadingOf:
    usable = [vote for vote in votes if np.isfinite(vote) and abs(vote) > 0]
    if not usable:
        return HeadingOf(name, "unknown")
    middle = sum(vote / abs(vote) for vote in usable)
    if abs(middle) < 0.5 * len(usable):  # the steps before and after it contradict each other
        return HeadingOf(name, "unknown")
    # to the left is positive of complex numbers, clockwise of headings
    error = float(wrapped_deg(-math.degrees(math.atan2(middle.imag, middle.real))))
    verdict = "reversed" if abs(error) > REVERSED_DEG else "wrong" if abs(error) > WRONG_DEG else "ok"
    return HeadingOf(name, verdict, error, float(np.median(np.abs(usable))))


def _drift(images: Sequence[HeadingOf]) -> float | None:
    """Slope by the median of all pairs (Theil and Sen), times the length of the run, of the images that are ok."""
    known = [(at, image.error_deg) for at, image in enumerate(images) if image.verdict == "ok"]
    if len(known) < 6:
        return None
    at, error = np.array(known, np.float64).T
    first, second = np.triu_indices(len(at), 1)
    slope = np.median((error[second] - error[first]) / (at[second] - at[first]))
    return float(slope * (at[-1] - at[0]))
