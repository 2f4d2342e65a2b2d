from __future__ import annotations

import math

import pytest

from roadedge.errors import DataError
from roadedge.georeference.lens import Lens


def test_the_sensor_counts_before_the_equivalent_and_a_calibration_before_both() -> None:
    sensor = Lens(focal_mm=3.61, equivalent_mm=20, model="FC300S")
    assert sensor.focal((3000, 4000)).px == pytest.approx(3.61 / 6.25 * 4000)
    assert Lens(2300.0, 4000, 3.61, 6.25, 20).focal((1500, 2000)).px == 1150


def test_an_equivalent_compares_diagonals_not_widths() -> None:
    focal = Lens(equivalent_mm=24).focal((3000, 4000))
    assert focal.px == pytest.approx(24 / 43.27 * 5000)
    assert focal.px / (24 / 36 * 4000) == pytest.approx(1.04, abs=0.001)  # 4 % more than by the width


def test_a_wide_picture_is_taken_as_cut_from_a_sensor_of_4_to_3_and_is_less_sure() -> None:
    whole, cut = Lens(equivalent_mm=24).focal((3000, 4000)), Lens(equivalent_mm=24).focal((2250, 4000))
    assert cut.px == pytest.approx(whole.px)
    assert cut.error > 2 * whole.error
    own = 24 / 43.27 * math.hypot(4000, 2250)
    assert cut.px / own == pytest.approx(1.09, abs=0.005)


def test_digital_zoom_narrows_the_view() -> None:
    assert Lens(equivalent_mm=24, zoom=2).focal((3000, 4000)).px == 2 * Lens(equivalent_mm=24).focal((3000, 4000)).px


def test_a_lens_of_which_nothing_is_known_says_what_to_give() -> None:
    with pytest.raises(DataError, match="focal length of FC9999 is not known; give a camera file"):
        Lens(focal_mm=4.0, model="FC9999").focal((3000, 4000))


@pytest.mark.parametrize("value", [0.0, -24.0, float("nan"), float("inf")])
def test_a_lens_of_absurd_numbers_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="must be a positive number"):
        Lens(equivalent_mm=value)
