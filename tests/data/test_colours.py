"""Colours change in the units that papers give."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from roadedge.data.colours import distorted, shifted_hsv


def hsv_of(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)).astype(int)


def plane(hue: int, saturation: int, value: int) -> np.ndarray:
    one = np.full((4, 4, 3), (hue, saturation, value), np.uint8)
    return np.asarray(cv2.cvtColor(one, cv2.COLOR_HSV2RGB), np.uint8)


def changes(image: np.ndarray, reach: tuple[float, float, float], draws: int = 300) -> np.ndarray:
    """(draws, 3) of hue round 180, saturation and value."""
    generator = np.random.default_rng(0)
    before = hsv_of(image)[0, 0]
    after = np.array([hsv_of(shifted_hsv(image, reach, generator))[0, 0] for _ in range(draws)])
    return np.stack([(after[:, 0] - before[0] + 90) % 180 - 90, *(after[:, 1:] - before[1:]).T], 1)


@pytest.mark.parametrize("hue", [90, 5, 175])  # in the middle, and where it goes round
def test_shifts_fill_their_ranges_and_no_more(hue: int) -> None:
    found = changes(plane(hue, 200, 180), (30.0, 5.0, 15.0))
    reach, rounding = np.array([30, 5, 15]), np.array([1, 3, 1])  # 8 bits of red, green, blue hold no finer ones
    assert (np.abs(found) <= reach + rounding).all()
    assert (found.min(0) < -0.8 * reach).all()
    assert (found.max(0) > 0.8 * reach).all()


def test_hue_goes_round_at_180_and_not_at_256() -> None:
    red = plane(5, 255, 255)
    generator = np.random.default_rng(3)
    hues = {int(hsv_of(shifted_hsv(red, (30.0, 0.0, 0.0), generator))[0, 0, 0]) for _ in range(200)}
    assert min(hues) >= 0
    assert {hue for hue in hues if 36 < hue < 154} == set()  # 5 - 30 is 155, pink; as a byte it were green


def test_saturation_and_value_end_at_their_ends() -> None:
    white = np.full((2, 2, 3), 255, np.uint8)
    generator = np.random.default_rng(1)
    for _ in range(30):
        found = hsv_of(shifted_hsv(white, (0.0, 0.0, 90.0), generator))
        assert (found[..., 2] >= 165).all()
        assert (found[..., 2] <= 255).all()


def test_of_a_distortion_each_part_is_drawn_at_every_second_draw() -> None:
    generator = np.random.default_rng(4)
    grey = np.full((2, 2, 3), 100, np.uint8)  # has no hue and no saturation: brightness and contrast alone are seen
    levels = np.array([distorted(grey, generator)[0, 0, 0] for _ in range(800)]).astype(int)
    assert np.mean(levels == 100) == pytest.approx(0.25, abs=0.06)
    assert (levels.min() >= (100 - 32) * 0.5 - 1, levels.max() <= (100 + 32) * 1.5 + 1) == (True, True)
    assert (levels.min() < 50, levels.max() > 160) == (True, True)
    blue = plane(110, 150, 150)
    found = np.array([hsv_of(distorted(blue, generator))[0, 0] for _ in range(400)])
    assert np.abs(found[:, 0] - 110).max() <= 20
    assert np.mean(np.abs(found[:, 0] - 110) <= 1) == pytest.approx(0.5, abs=0.12)
    assert (found[:, 1].min() < 100, found[:, 1].max() > 200) == (True, True)


def test_a_change_of_colours_leaves_its_image_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    kept = image.copy()
    for seed in range(10):
        shifted_hsv(image, (30.0, 5.0, 15.0), np.random.default_rng(seed))
        distorted(image, np.random.default_rng(seed))
    assert (image == kept).all()
