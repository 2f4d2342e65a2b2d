"""Corruptions of a sample for training and evaluation: fog, trees over the road, sparser points, shifted points.

Written NAME:AMOUNT, as in `fog:0.8`; several in a row are applied in the order given. What is drawn hangs on the seed,
the sample's id and the corruption's name alone: not on the order of the samples, nor on what else is applied.
A modality that is missing stays missing.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, UnknownNameError, UsageError
from roadedge.sample import Sample, check_shape

Mask = NDArray[np.uint8]  # (H, W), 255 road, 0 not, 128 ignored

CROWN_RADIUS_M = (2.5, 5.5)
GSD_UNKNOWN_M = 0.5  # only to size tree crowns where a sample does not know its own
SHADE_RADII = 0.5  # length of a crown's shade, in mean crown radii
_CROWN_RGB = ((26, 44, 20), (58, 84, 40))  # dark and light end of the foliage


@dataclass(frozen=True, slots=True)
class Corruption:
    """A name of CORRUPTIONS and an amount: a fraction in [0, 1] for fog, trees and points, metres >= 0 for shift."""

    name: str
    amount: float

    def __post_init__(self) -> None:
        if self.name not in CORRUPTIONS:
            raise UnknownNameError("corruption", self.name, CORRUPTIONS)
        highest = math.inf if self.name == "shift" else 1.0
        if not (0 <= self.amount <= highest and math.isfinite(self.amount)):
            wanted = "metres, 0 or more" if self.name == "shift" else "a fraction between 0 and 1"
            raise UsageError(f"the amount of {self.name} is {wanted}, got {self.amount:g}")

    def __str__(self) -> str:
        return f"{self.name}:{self.amount:g}"


def parse_corruption(text: str) -> Corruption:
    """`fog:0.8` → Corruption.

    Raises:
        UsageError: not NAME:AMOUNT, or an amount outside its range.
        UnknownNameError: no such corruption.
    """
    name, colon, amount = text.strip().partition(":")
    try:
        value = float(amount)
    except ValueError:
        value = math.nan
    if name in CORRUPTIONS and (not colon or math.isnan(value)):
        raise UsageError(f"a corruption is written NAME:AMOUNT, such as fog:0.8, got {text!r}")
    return Corruption(name, 0.0 if math.isnan(value) else value)


def parse_corruptions(texts: Iterable[str]) -> tuple[Corruption, ...]:
    """Options as given, each one or several with commas (`fog:0.8,points:0.05`) → corruptions in that order."""
    return tuple(parse_corruption(part) for text in texts for part in text.split(",") if part.strip())


def corrupt(
    sample: Sample,
    corruption: Corruption | Iterable[Corruption],
    seed: int | np.random.Generator = 0,
    mask: Mask | None = None,
) -> Sample:
    """Apply one corruption, or several in order.

    Args:
        sample: is left as it is.
        corruption: one or several.
        seed: a number, joined with the sample's id and the corruption's name; or a generator, used as it comes.
        mask: (H, W) uint8, 255 road, 0 not, 128 ignored; only `trees` needs it.

    Raises:
        DataError: trees without a mask, or a shift where the ground sample distance is unknown.
    """
    for one in (corruption,) if isinstance(corruption, Corruption) else tuple(corruption):
        rng = seed if isinstance(seed, np.random.Generator) else generator(seed, sample.id, one.name)
        sample = CORRUPTIONS[one.name](sample, one.amount, rng, mask)
    return sample


def generator(seed: int, *names: str) -> np.random.Generator:
    """A generator that is the same in every process for the same seed and names (`hash` of a text is not)."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def fog(sample: Sample, amount: float, rng: np.random.Generator, mask: Mask | None = None) -> Sample:
    """Blend the image to white by `amount` times a smooth noise that spans [0.5, 1]."""
    import cv2

    if sample.image is None:
        return sample
    weight = np.float32(amount) * (0.5 + 0.5 * _smooth_noise(sample.size, rng))
    white = np.full_like(sample.image, 255)
    foggy = cv2.blendLinear(sample.image, white, 1 - weight, weight)
    return dataclasses.replace(sample, image=np.asarray(foggy, np.uint8))


def trees(sample: Sample, amount: float, rng: np.random.Generator, mask: Mask | None = None) -> Sample:
    """Cover the fraction `amount` of the road pixels with tree crowns, which throw a shade beside them.

    The share is met to a few pixels: the last crowns are drawn smaller. The shade is not counted as covered.

    Raises:
        DataError: no mask; without it nobody knows where the road is.
    """
    if sample.image is None:
        return sample
    if mask is None:
        raise DataError(f"trees:{amount:g} needs the mask of sample {sample.id!r} to know where the road is; give one")
    check_shape("mask", mask, sample.size)
    gsd_m = sample.gsd_m or GSD_UNKNOWN_M
    radii_px = (max(2.0, CROWN_RADIUS_M[0] / gsd_m), max(3.0, CROWN_RADIUS_M[1] / gsd_m))
    cover, light = _crowns(mask == 255, amount, radii_px, rng)
    return dataclasses.replace(sample, image=_paint_crowns(sample.image, cover, light, sum(radii_px) / 2, rng))


def points(sample: Sample, amount: float, rng: np.random.Generator, mask: Mask | None = None) -> Sample:
    """Keep the fraction `amount` of the points, rounded to whole points, in their order.

    A smaller amount keeps a part of what a larger one keeps. Of a raster, whose points nobody can count any more, each
    pixel that is not zero is kept with the probability `amount`.
    """
    if sample.second is None:
        return sample
    if sample.has_points:
        count = len(sample.second)
        kept = np.sort(rng.permutation(count)[: round(amount * count)])
        return dataclasses.replace(sample, second=sample.second[kept])
    return dataclasses.replace(sample, second=np.where(rng.random(sample.size) < amount, sample.second, np.uint8(0)))


def shift(sample: Sample, amount: float, rng: np.random.Generator, mask: Mask | None = None) -> Sample:
    """Move all points by `amount` metres in one random direction; a raster is moved by whole pixels, zeros come in.

    Raises:
        DataError: the ground sample distance is unknown, so metres mean nothing.
    """
    import cv2

    if sample.second is None:
        return sample
    if sample.gsd_m is None:
        raise DataError(f"shift:{amount:g} needs the metres per pixel of sample {sample.id!r}; give its gsd_m")
    angle = rng.uniform(0, 2 * math.pi)
    step_px = np.array([math.cos(angle), math.sin(angle)]) * (amount / sample.gsd_m)
    if sample.has_points:
        moved = sample.second.copy()
        moved[:, :2] += step_px
        return dataclasses.replace(sample, second=moved)
    matrix = np.hstack([np.eye(2), np.rint(step_px)[:, None]])
    raster = cv2.warpAffine(sample.second, matrix, sample.size[::-1], flags=cv2.INTER_NEAREST)
    return dataclasses.replace(sample, second=np.asarray(raster, np.uint8))


CORRUPTIONS: dict[str, Callable[[Sample, float, np.random.Generator, Mask | None], Sample]] = {
    "fog": fog,
    "trees": trees,
    "points": points,
    "shift": shift,
}
CHANGES = {"fog": "image", "trees": "image", "points": "second", "shift": "second"}  # the modality that each touches


def _smooth_noise(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W) in [0, 1], both ends reached: banks across the image and wisps an eighth of it wide."""
    import cv2

    total = np.zeros(size, np.float32)
    for cells, weight in ((4, 0.7), (10, 0.3)):
        grid = rng.random((cells, cells), np.float32)
        total += np.float32(weight) * cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)
    low, high = float(total.min()), float(total.max())
    return (total - low) / np.float32(max(high - low, 1e-6))


def _crowns(
    road: NDArray[np.bool_], share: float, radii_px: tuple[float, float], rng: np.random.Generator
) -> tuple[Mask, Mask]:
    """Draw crowns on road pixels until `share` of them is covered; (H, W) cover 0 or 1, (H, W) light 0 to 255."""
    import cv2

    cover, light = np.zeros(road.shape, np.uint8), np.zeros(road.shape, np.uint8)
    rows, columns = np.nonzero(road)
    wanted, covered = round(share * len(rows)), 0
    spokes = np.linspace(0, 2 * math.pi, 12, endpoint=False)
    circle = np.stack([np.cos(spokes), np.sin(spokes)], 1)
    for index in rng.permutation(len(rows)):
        if covered >= wanted:
            break
        x, y = int(columns[index]), int(rows[index])
        if cover[y, x]:
            continue
        # no crown is larger than what is still to cover, so that the share is met and not overshot
        radius = min(rng.uniform(*radii_px), max(1.0, math.sqrt((wanted - covered) / math.pi)))
        reach = math.ceil(1.2 * radius) + 1
        window = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        before = int(np.count_nonzero(cover[window] & road[window]))
        edge = np.rint(circle * (radius * rng.uniform(0.8, 1.1, (12, 1))) + (x, y)).astype(np.int32)
        tone = int(rng.integers(40, 120))
        cv2.fillPoly(cover, [edge], 1)
        cv2.fillPoly(light, [edge], tone)
        sunny = (x - round(radius * 0.3), y - round(radius * 0.3))
        cv2.circle(light, sunny, max(1, round(radius * 0.45)), tone + 90, -1)
        cover[y, x] = 1
        covered += int(np.count_nonzero(cover[window] & road[window])) - before
    return cover, light * cover


def _paint_crowns(
    image: NDArray[np.uint8], cover: Mask, light: Mask, radius_px: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    import cv2

    reach = round(radius_px * SHADE_RADII)
    move = np.array([[1.0, 0.0, reach], [0.0, 1.0, reach]])  # the sun stands in the upper left, as on the crowns
    shade = cv2.warpAffine(cover, move, cover.shape[::-1], flags=cv2.INTER_NEAREST)
    shaded = cv2.copyTo(cv2.convertScaleAbs(image, alpha=0.5), shade, image.copy())
    leaves = cv2.resize(rng.integers(0, 90, (64, 64), np.uint8), (128, 128), interpolation=cv2.INTER_LINEAR)
    height, width = cover.shape
    texture = np.tile(leaves, (-(-height // 128), -(-width // 128)))[:height, :width]
    level = cv2.GaussianBlur(cv2.add(light, texture), (0, 0), 0.8)
    ramp = np.linspace(_CROWN_RGB[0], _CROWN_RGB[1], 256).astype(np.uint8)
    return np.asarray(cv2.copyTo(np.ascontiguousarray(ramp[level]), cover, shaded), np.uint8)
