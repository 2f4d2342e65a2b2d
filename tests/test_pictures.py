"""Pictures: the tint lies where the road is, dots where the points are, panels keep every picture."""

from __future__ import annotations

import numpy as np
import pytest

from roadedge.errors import ShapeError
from roadedge.pictures import POINT_RGB, heat_picture, mask_picture, overlay, panel

GREY = np.full((300, 400, 3), 100, np.uint8)


def test_the_tint_lies_on_the_road_and_nowhere_else() -> None:
    mask = np.zeros((300, 400), bool)
    mask[100:200, 50:350] = True
    drawn = overlay(GREY, mask)
    assert (drawn[~mask] == 100).all()
    assert (drawn[mask] != 100).any(axis=1).all()
    assert (GREY == 100).all()  # the image itself is left alone


def test_points_are_dots_and_those_outside_or_not_finite_are_left_out() -> None:
    points = np.array([[10.7, 20.2], [-5.0, 3.0], [400.0, 3.0], [np.nan, 5.0], [np.inf, 5.0]])
    drawn = overlay(GREY, np.zeros((300, 400), bool), points)
    assert tuple(drawn[20, 10]) == POINT_RGB
    assert int((drawn != 100).any(axis=2).sum()) == 9  # one dot of 3 x 3


def test_a_point_in_the_corner_stays_in_the_picture() -> None:
    drawn = overlay(GREY, np.zeros((300, 400), bool), np.array([[0.0, 0.0], [399.9, 299.9]]))
    assert tuple(drawn[0, 0]) == tuple(drawn[299, 399]) == POINT_RGB


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match="mask must have shape"):
        overlay(GREY, np.zeros((300, 401), bool))


def test_a_panel_holds_all_pictures_at_one_height_under_captions() -> None:
    half = np.full((150, 100), 200, np.uint8)
    drawn = panel([GREY, half, mask_picture(np.ones((300, 50), bool))], ["image", "heat", "a caption far too wide"])
    assert drawn.shape == (300 + 26, 400 + 6 + 200 + 6 + 50, 3)
    assert (drawn[26:, :400] == 100).all()
    assert (drawn[26:, 406:606] == 200).all()
    assert (drawn[:26] == 240).any()  # the captions are written


def test_a_panel_without_a_caption_for_each_picture_is_refused() -> None:
    with pytest.raises(ShapeError, match="one caption for each"):
        panel([GREY], [])


def test_heat_is_black_where_nothing_is() -> None:
    raster = np.zeros((4, 4), np.uint8)
    raster[1, 1] = 255
    drawn = heat_picture(raster)
    assert drawn[0, 0].max() < 10
    assert drawn[1, 1].min() > 100
