"""Panels show what was fed, and each kind of error in its colour."""

from __future__ import annotations

import numpy as np

from roadedge.evaluation.judge import Judged, only_fed
from roadedge.evaluation.panels import (
    FOUND_RGB,
    IGNORED_RGB,
    INVENTED_RGB,
    MISSED_RGB,
    contact_sheet,
    draw_panel,
    error_picture,
    truth_picture,
)
from roadedge.metrics.pixel import count_pixels
from roadedge.sample import RoadMask, Sample
from roadedge.spec import ModelSpec

TRUTH = np.array([[255, 255, 0, 0, 128, 128]], np.uint8)
SAID = np.array([[True, False, True, False, True, False]])


def test_each_kind_of_error_has_its_colour() -> None:
    picture = error_picture(SAID, TRUTH)
    assert [tuple(p) for p in picture[0]] == [FOUND_RGB, MISSED_RGB, INVENTED_RGB, (0, 0, 0), IGNORED_RGB, IGNORED_RGB]
    assert [tuple(p) for p in truth_picture(TRUTH)[0, [0, 2, 4]]] == [FOUND_RGB, (0, 0, 0), IGNORED_RGB]


def judged(sample: Sample) -> Judged:
    height, width = sample.size
    truth = np.zeros((height, width), np.uint8)
    truth[: height // 2] = 255
    mask = truth == 255
    return Judged(sample, truth, RoadMask(truth, mask), count_pixels(mask, truth))


def test_a_panel_holds_four_pictures_of_the_sample() -> None:
    image = np.full((100, 120, 3), 77, np.uint8)
    picture = draw_panel(judged(Sample(image, np.array([[5.0, 5.0]]), id="a")), ModelSpec("n"), "semi-synthetic")
    assert picture.shape[1] >= 4 * 120
    image_part, heat_part, truth_part, said_part = (picture[-100:, i * 126 : i * 126 + 120] for i in range(4))
    assert (image_part == 77).all()
    assert heat_part[5, 5].max() > heat_part[50, 50].max()
    assert (truth_part[:50] == FOUND_RGB).all()
    assert np.array_equal(said_part, truth_part)


def test_a_large_sample_makes_a_panel_of_bounded_size() -> None:
    picture = draw_panel(judged(Sample(np.zeros((900, 3000, 3), np.uint8), id="wide")), ModelSpec("n"), "measured")
    assert picture.shape[1] < 4 * 640 + 100


def test_what_was_not_fed_is_not_shown() -> None:
    both = Sample(np.full((64, 64, 3), 200, np.uint8), np.array([[5.0, 5.0]]), gsd_m=0.5, id="a")
    image_only, points_only = only_fed(both, ("image",)), only_fed(both, ("trajectory",))
    assert image_only.second is None
    assert points_only.image is None
    assert points_only.size == (64, 64)
    assert image_only.image is both.image
    assert points_only.second is both.second
    spec = ModelSpec("n", blank_rgb=(9, 8, 7))
    assert tuple(draw_panel(judged(points_only), spec, "measured")[-1, 0]) == (9, 8, 7)


def test_the_sheet_holds_every_panel() -> None:
    panels = [np.full((50, 400, 3), shade, np.uint8) for shade in range(20, 230, 21)]
    sheet = contact_sheet(panels)
    assert {int(shade) for shade in np.unique(sheet)} - {0} == set(range(20, 230, 21))
