"""Relaxed scores: hand-worked lines, the border, empty pictures; and what the published scripts print instead."""

from __future__ import annotations

import math

import numpy as np
import pytest

from roadedge.errors import DataError, ShapeError, UsageError
from roadedge.metrics.pixel import count_pixels
from roadedge.metrics.published import count_published, published_scores
from roadedge.metrics.relaxed import Buffer, RelaxedCounts, centre_lines, count_relaxed, near, parse_buffer


def line(row: int, begin: int = 0, end: int = 40, side: int = 40) -> np.ndarray:
    mask = np.zeros((side, side), np.bool_)
    mask[row, begin:end] = True
    return mask


def label(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, np.uint8(255), np.uint8(0))


@pytest.mark.parametrize(("buffer_px", "found"), [(0, 0), (2.9, 0), (3, 40), (10, 40)])
def test_a_line_three_pixels_off_is_found_from_a_buffer_of_three_on(buffer_px: float, found: int) -> None:
    counts = count_relaxed(line(10), line(13), buffer_px)
    assert counts == RelaxedCounts(found, 40, found, 40)


def test_the_buffer_is_a_disc_not_a_square() -> None:
    point = np.zeros((21, 21), np.bool_)
    point[10, 10] = True
    rows, columns = np.indices(point.shape)
    assert (near(point, 4) == (np.hypot(rows - 10, columns - 10) <= 4)).all()
    assert near(point, 4).sum() == 49  # whole points in a circle of radius 4; the square has 81


def test_pixels_at_every_border_count() -> None:
    for mask in (line(0), line(39), line(0).T, line(39).T):
        assert count_relaxed(mask, mask, 4) == RelaxedCounts(40, 40, 40, 40)


def test_a_short_prediction_on_a_long_label() -> None:
    counts = count_relaxed(line(10, 0, 10), line(10), 4)
    assert counts == RelaxedCounts(10, 10, 14, 40)  # the label is met to four pixels beyond the prediction's end
    assert (counts.precision, counts.recall) == (1.0, 0.35)
    assert counts.f1 == pytest.approx(0.7 / 1.35)
    assert counts.iou == pytest.approx(0.35)  # PR / (P + R - PR) with P = 1


def test_empty_pictures_follow_the_rule() -> None:
    nothing = np.zeros((40, 40), np.bool_)
    both = count_relaxed(nothing, nothing, 3)
    assert (both.precision, both.recall, both.f1, both.iou) == (1, 1, 1, 1)
    for one in (count_relaxed(line(3), nothing, 3), count_relaxed(nothing, line(3), 3)):
        assert (one.precision, one.recall, one.f1, one.iou) == (0, 0, 0, 0)


def test_counts_of_samples_add_up() -> None:
    whole = sum([count_relaxed(line(10, 0, 10), line(10), 4), count_relaxed(line(3), line(3), 4)], RelaxedCounts())
    assert whole == RelaxedCounts(50, 50, 54, 80)
    assert whole.to_dict()["recall"] == 0.675


@pytest.mark.parametrize(
    ("text", "size", "unit"), [("3", 3, "px"), ("3px", 3, "px"), (" 1.5 m", 1.5, "m"), (".5m", 0.5, "m")]
)
def test_buffers_are_read(text: str, size: float, unit: str) -> None:
    assert parse_buffer(text) == Buffer(size, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "m", "-1", "3 km", "inf", "nan", "1e3px"])
def test_other_buffers_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a buffer is written 3, 3px or"):
        parse_buffer(text)


def test_a_buffer_in_metres_needs_the_gsd() -> None:
    assert Buffer(1.5, "m").pixels(0.5) == 3
    with pytest.raises(UsageError, match="needs the metres per pixel"):
        Buffer(1.5, "m").pixels(None)
    with pytest.raises(UsageError, match="zero or more"):
        Buffer(math.nan)
    with pytest.raises(UsageError, match="lines or masks"):
        parse_buffer("3", "edges")


def test_pictures_of_other_shapes_and_types_are_refused() -> None:
    with pytest.raises(ShapeError, match="cannot be compared"):
        count_relaxed(line(3), line(3, side=41), 3)
    with pytest.raises(ShapeError, match="bool with bool"):
        count_relaxed(label(line(3)), line(3), 3)


def test_centre_lines_of_a_straight_road_reach_both_borders() -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
    mask = np.zeros((40, 60), np.bool_)
    mask[15:24] = True
    assert (centre_lines(mask) == (np.indices(mask.shape)[0] == 19)).all()


def test_published_precision_is_divided_by_the_label() -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
    short, long = line(20, 10, 20), line(20, 10, 40)
    counts = count_published(short, label(long))
    assert (counts.hit_prediction, counts.hit_label, counts.label) == (10, 14, 30)
    scores = published_scores([count_pixels(short, label(long))], [counts])
    assert scores["relaxed_precision"] == pytest.approx(10 / 30)  # the true form says 1
    more = published_scores([count_pixels(long, label(short))], [count_published(long, label(short))])
    assert more["relaxed_precision"] == pytest.approx(14 / 10)  # "precision" beyond 1
    assert more["relaxed_F1"] > 1


def test_published_windows_miss_at_the_upper_and_left_border() -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
    for mask, hits in ((line(3), 0), (line(3).T, 0), (line(4), 36), (line(36), 36)):  # four columns miss with each row
        counts = count_published(mask, label(mask))
        assert (counts.hit_prediction, counts.hit_label, counts.label) == (hits, hits, 40)


def test_published_batches_without_an_intersection_are_zero() -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
    hit, miss = (line(5), label(line(5))), (line(5), label(line(30)))
    eight, ninth = [hit] * 8, [miss]
    counts = [count_pixels(*one) for one in eight + ninth]
    scores = published_scores(counts, [count_published(*one) for one in eight + ninth])
    assert [scores[f"{name}_batch8"] for name in ("IoU", "precision", "recall", "accuracy")] == [0.5] * 4
    assert scores["dilated_IoU_batch8"] == 0.5


def test_the_dilated_iou_counts_what_lies_beside_the_label() -> None:
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
    # The 4 x 4 square reaches two pixels to one side and one to the other.
    hits = [count_published(line(20 + step), label(line(20))).dilated_hit for step in range(-3, 4)]
    assert sorted(hits) == [0, 0, 0, 40, 40, 40, 40]
    counts = count_published(line(21), label(line(20)))
    assert counts.union == 80
    nothing = np.zeros((40, 40), np.bool_)
    assert published_scores([count_pixels(nothing, label(nothing))], [count_published(nothing, label(nothing))])[
        "dilated_IoU_batch8"
    ] == 1  # fmt: skip


def test_the_published_protocol_takes_whole_pixels_and_some_samples() -> None:
    with pytest.raises(UsageError, match=r"whole pixels, got 2\.5"):
        count_published(line(3), label(line(3)), 2.5)
    with pytest.raises(DataError, match="0 and 0 samples"):
        published_scores([], [])
