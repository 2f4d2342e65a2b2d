from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.georeference.birdseye import FILL_RGB, from_above, rectangle, seen_share
from roadedge.georeference.camera import Rectify
from roadedge.georeference.footprint import View

SIZE = (480, 640)
VIEW = View(10.0, 20.0, 6.0, 30.0, -25.0, 0.0, (600.0, 600.0), (320.0, 240.0))
CUT = Rectify(gsd_m=0.1, near_m=6.0, far_m=26.0, width_m=12.0)


def seen(view: View, colour: NDArray[np.float64] | None = None) -> NDArray[np.uint8]:
    """A chess board of 2 m on the ground, drawn exactly as `view` sees it."""
    del colour
    ys, xs = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] + 0.5
    rays = np.stack([xs, ys, np.ones_like(xs)], -1) @ view.homography().T
    ground = rays[..., :2] / rays[..., 2:]
    board = (np.floor(ground[..., 0] / 2) + np.floor(ground[..., 1] / 2)) % 2
    grey = np.where(rays[..., 2] > 0, 60 + 120 * board, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_from_above_the_ground_lies_where_the_place_says() -> None:
    image, place = from_above(seen(VIEW), VIEW, CUT), rectangle(VIEW, CUT, "local")
    assert image.shape == (200, 120, 3)
    ys, xs = np.mgrid[0:200, 0:120]
    ground = place.centres_to_ground(np.stack([xs, ys], -1).reshape(-1, 2)).reshape(200, 120, 2)
    board = (np.floor(ground[..., 0] / 2) + np.floor(ground[..., 1] / 2)) % 2
    inside = np.abs(ground % 2 - 1).max(axis=2) < 0.8  # not within 0.2 m of an edge of the board
    found = (image[..., 0] > 120) == (board > 0.5)
    covered = np.abs(image.astype(int) - FILL_RGB).sum(axis=2) > 12
    assert np.mean(found[inside & covered]) > 0.98
    assert place.gsd_m(CUT.size) == pytest.approx(0.1)


def test_its_top_is_where_the_camera_looks() -> None:
    place = rectangle(VIEW, CUT, "local")
    middle_top, middle_bottom = place.to_ground([[60, 0], [60, 200]])
    yaw = np.radians(30)
    ahead = np.array([np.sin(yaw), np.cos(yaw)])
    assert middle_top == pytest.approx(np.array([10, 20]) + 26 * ahead)
    assert middle_bottom == pytest.approx(np.array([10, 20]) + 6 * ahead)


def test_what_the_camera_does_not_see_is_blank() -> None:
    wide = dataclasses.replace(CUT, width_m=60.0)
    assert from_above(seen(VIEW), VIEW, wide)[199, 0].tolist() == list(FILL_RGB)


def test_a_rectangle_that_is_not_in_view_or_behind_is_refused() -> None:
    assert seen_share(VIEW, CUT, SIZE) > 0.8
    assert seen_share(VIEW, dataclasses.replace(CUT, near_m=1.0), SIZE) < seen_share(VIEW, CUT, SIZE)
    with pytest.raises(DataError, match=r"sees 0% of the rectangle .* pitch_deg \(negative is down\)"):
        seen_share(dataclasses.replace(VIEW, pitch_deg=40.0), CUT, SIZE)
    with pytest.raises(DataError, match=r"behind a camera .* near_m is -30"):
        seen_share(VIEW, dataclasses.replace(CUT, near_m=-30.0), SIZE)
