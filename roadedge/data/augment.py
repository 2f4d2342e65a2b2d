"""Paired augmentation: image, second modality and mask move together; colours change on the image alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.data.augment_spec import AugmentSpec
from roadedge.data.colours import distorted, shifted_hsv
from roadedge.data.corrupt import Corruption, corrupt
from roadedge.data.folder import LabelledSample
from roadedge.preprocess import resample
from roadedge.sample import Sample
from roadedge.trajectory import augment as gps

REDRAWS = 10  # as MMSegmentation and the code of joint connectivity have it; the last one is taken as it is


def draw_crop(
    item: LabelledSample, crop: int, gsd_m: float | None, spec: AugmentSpec, rng: np.random.Generator
) -> tuple[Sample, NDArray[np.uint8]]:
    """One random square of a labelled sample, turned, flipped, scaled, recoloured and corrupted.

    Args:
        item: image, second modality and truth.
        crop: side of the square in pixels of the network's grid.
        gsd_m: of the network; None leaves the sample's own.
        spec: probabilities and ranges.
        rng: all randomness comes from here.

    Returns:
        A sample of crop x crop pixels, on the network's grid already (its `gsd_m` is None), and its truth
        (crop, crop) uint8 with 128 where the square leaves the image.
    """
    matrix = draw_placement(item, crop, gsd_m, spec, rng)
    return placed_crop(item, matrix, crop, spec, rng)


def draw_placement(
    item: LabelledSample, crop: int, gsd_m: float | None, spec: AugmentSpec, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Where a crop lies, how it is turned and scaled: (2, 3), corner coordinates of the source → of the crop."""
    sample = item.sample
    ratio = gsd_m / sample.gsd_m if sample.gsd_m and gsd_m else 1.0
    step, aspect = _draw_scale(spec, rng)
    matrix = _placement(sample.size, crop, ratio * step, spec, rng, aspect)
    for _ in range(REDRAWS):
        if not _unwanted(item, matrix, crop, spec):
            break
        matrix = _placement(sample.size, crop, ratio * step, spec, rng, aspect)
    return matrix


def _draw_scale(spec: AugmentSpec, rng: np.random.Generator) -> tuple[float, float]:
    """Factor of the ground sample distance, and the ratio of the step down the image to that across it."""
    step, aspect = 1.0, 1.0
    # What a recipe leaves as it is by default takes no number from the generator: its draws stay what they were.
    if spec.scale_p == 1 or rng.random() < spec.scale_p:
        step = float(np.exp(rng.uniform(*np.log(spec.scale))))
        aspect = float(rng.uniform(1 - spec.aspect, 1 + spec.aspect)) if spec.aspect else 1.0
    if spec.zoom_p and rng.random() < spec.zoom_p:
        step *= float(rng.uniform(*spec.zoom))
    return step, aspect


def _unwanted(item: LabelledSample, matrix: NDArray[np.float64], crop: int, spec: AugmentSpec) -> bool:
    """Whether a place is to be drawn again for what its truth holds; pixels that are not known do not count."""
    if spec.redraw_above == 1 and not spec.redraw_empty:
        return False
    mask = moved_mask(item.mask, matrix, crop)
    road, other = int(np.count_nonzero(mask == 255)), int(np.count_nonzero(mask == 0))
    if spec.redraw_empty and not road:
        return True
    return spec.redraw_above < 1 and max(road, other) >= spec.redraw_above * (road + other)


def placed_crop(
    item: LabelledSample, matrix: NDArray[np.float64], crop: int, spec: AugmentSpec, rng: np.random.Generator
) -> tuple[Sample, NDArray[np.uint8]]:
    """The crop that `draw_placement` chose, recoloured and corrupted, and its truth; as `draw_crop` returns them."""
    step = float(1 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    gsd_m = item.sample.gsd_m
    metres = gsd_m * step if gsd_m else None  # of a crop pixel, scale jitter included
    moved = moved_sample(item.sample, matrix, crop)
    mask = moved_mask(item.mask, matrix, crop)
    moved = _degraded(_recoloured(moved, spec, rng), mask, spec, metres, rng)
    return moved, mask


def moved_sample(sample: Sample, matrix: NDArray[np.float64], side: int) -> Sample:
    """Resample to a square by `matrix` (2, 3): corner coordinates of the source → of the square. Points move along."""
    import cv2

    image = None
    if sample.image is not None:
        plane, inner = _ready(sample.image, matrix)
        moved = cv2.warpAffine(plane, inner, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        image = np.asarray(moved, np.uint8)
    second = sample.second
    if second is not None and sample.has_points:
        second = second[np.isfinite(second[:, :2]).all(1)]
        xy = second[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        inside = ((xy >= 0) & (xy < side)).all(1)
        second = np.concatenate([xy, second[:, 2:]], 1)[inside]
    elif second is not None:
        second, inner = _ready(second, matrix)
        second = cv2.warpAffine(second, inner, (side, side), flags=cv2.INTER_LINEAR)
    return Sample(image, second, (side, side), id=sample.id)


def moved_mask(mask: NDArray[np.uint8], matrix: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """The truth on the same square: road where its resampled share is half or more, 128 outside and where ignored."""
    import cv2

    road, inner = _ready((mask == 255).astype(np.uint8) * 255, matrix)
    road = cv2.warpAffine(road, inner, (side, side), flags=cv2.INTER_LINEAR)
    known = (mask != 128).astype(np.uint8)
    known = cv2.warpAffine(known, _between_centres(matrix), (side, side), flags=cv2.INTER_NEAREST)
    return np.where(known == 0, 128, np.where(road >= 128, 255, 0)).astype(np.uint8)


def _placement(
    size: tuple[int, int], crop: int, step: float, spec: AugmentSpec, rng: np.random.Generator, aspect: float = 1.0
) -> NDArray[np.float64]:
    """(2, 3) matrix, source → square, that keeps the square inside the image as far as it fits.

    `step` source pixels make one of the crop, down the image by `aspect` more than across it.
    """
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < spec.rotate_p else _quarter_turns(spec, rng) * np.pi / 2
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([_mirror(spec, rng), 1.0]) / step
    reach = np.full(2, crop * step * (abs(cos) + abs(sin)) / 2)  # half a side of the turned square's box, source pixels
    if aspect != 1:
        stretch = np.array([1 / np.sqrt(aspect), np.sqrt(aspect)])
        turn, reach = turn / stretch, reach * stretch
    sides = ((size[1], reach[0]), (size[0], reach[1]))
    centre = [rng.uniform(half, length - half) if length > 2 * half else length / 2 for length, half in sides]
    return np.concatenate([turn, (crop / 2 - turn @ np.array(centre))[:, None]], 1)


def _quarter_turns(spec: AugmentSpec, rng: np.random.Generator) -> int:
    return int(rng.integers(4)) if spec.turn_p == 1 or rng.random() < spec.turn_p else 0


def _mirror(spec: AugmentSpec, rng: np.random.Generator) -> float:
    if spec.flip_p == 0.5:
        return float(rng.choice([-1.0, 1.0]))
    return -1.0 if rng.random() < spec.flip_p else 1.0


def _ready(plane: NDArray[Any], matrix: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """For warpAffine: the plane, shrunk by area first where the map shrinks it twice or more, and the map that is left.

    Bilinear sampling would skip pixels there, and `preprocess` takes the area mean too.
    """
    shrink = int(1 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))) + 1e-6)
    if shrink < 2:
        return plane, _between_centres(matrix)
    height, width = plane.shape[:2]
    small = resample(plane, (max(1, height // shrink), max(1, width // shrink)))
    grown = np.diag([width / small.shape[1], height / small.shape[0], 1.0])
    return small, _between_centres(matrix @ grown)


def _between_centres(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same map for OpenCV, which counts from pixel centres."""
    offset = matrix[:, :2] @ np.array([0.5, 0.5]) + matrix[:, 2] - 0.5
    return np.concatenate([matrix[:, :2], offset[:, None]], 1)


def _recoloured(sample: Sample, spec: AugmentSpec, rng: np.random.Generator) -> Sample:
    if sample.image is None:
        return sample
    image = sample.image
    if any(spec.hsv) and (spec.hsv_p == 1 or rng.random() < spec.hsv_p):
        image = shifted_hsv(image, spec.hsv, rng)
    if spec.distort_p and rng.random() < spec.distort_p:
        image = distorted(image, rng)
    if spec.colour:
        image = _jittered(image, spec.colour, rng)
    return _with(sample, image=image)


def _jittered(image: NDArray[np.uint8], colour: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Contrast, gamma and gains of all and of each channel by up to `colour`; at one draw of ten a slight blur."""
    import cv2

    contrast = 1 + rng.uniform(-colour, colour)
    gamma = np.exp(rng.uniform(-colour, colour))
    gains = 1 + rng.uniform(-colour, colour) / 2 + rng.uniform(-colour, colour, 3) / 3
    levels = np.linspace(0, 1, 256)[:, None] ** gamma
    table = np.clip(((levels - 0.4) * contrast + 0.4) * gains * 255, 0, 255).astype(np.uint8)
    image = np.asarray(cv2.LUT(image, np.ascontiguousarray(table[None])), np.uint8)
    if rng.random() < 0.1:
        image = np.asarray(cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 1.0)), np.uint8)
    return image


def _degraded(
    sample: Sample, mask: NDArray[np.uint8], spec: AugmentSpec, metres: float | None, rng: np.random.Generator
) -> Sample:
    if rng.random() < spec.trees_p:
        sample = corrupt(sample, Corruption("trees", rng.uniform(0.05, 0.4)), rng, mask)
    if rng.random() < spec.fog_p:
        sample = corrupt(sample, Corruption("fog", rng.uniform(0.3, 1.0)), rng, mask)
    if sample.second is not None and sample.has_points:
        sample = _with(sample, second=_points(sample.second, sample.size[0], spec, metres, rng))
    dropped = rng.random()
    if sample.image is None or sample.second is None or not sample.second.size:
        return sample  # there is no other modality to find the road by
    if dropped < spec.drop_second_p:
        return _with(sample, second=None)
    return _with(sample, image=None) if dropped < spec.drop_second_p + spec.drop_image_p else sample


def _points(
    points: NDArray[Any], side: int, spec: AugmentSpec, metres: float | None, rng: np.random.Generator
) -> NDArray[Any]:
    """GPS augmentations in an order: thin, omit, perturb, shift, quantise."""
    pixels = 1.0 / metres if metres else 2.0  # per metre
    if rng.random() < spec.density_p:
        points = gps.density(points, rng, *spec.density)
    if rng.random() < spec.omission_p:
        points = gps.omission(points, rng, (side, side))
    if rng.random() < spec.perturb_p:
        points = gps.perturbation(points, rng, spec.perturb_m * pixels)
    if rng.random() < spec.shift_p:
        points = gps.shift(points, rng, spec.shift_m * pixels)
    if rng.random() < spec.coarse_p:
        points = gps.precision(points, rng, max(1.0, spec.coarse_m * pixels))
    return points


def _with(sample: Sample, **changes: Any) -> Sample:
    import dataclasses

    return dataclasses.replace(sample, **changes)
