"""One draw moves image, second modality and truth together; all chance comes from the generator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roadedge.data.augment import (
    REDRAWS,
    _placement,
    _unwanted,
    draw_crop,
    draw_placement,
    moved_mask,
    moved_sample,
)
from roadedge.data.augment_spec import AugmentSpec
from roadedge.data.folder import LabelledSample
from roadedge.errors import RecipeError
from roadedge.preprocess import resample
from roadedge.sample import Sample

STILL = AugmentSpec(  # moves, and changes nothing else
    colour=0,
    fog_p=0,
    trees_p=0,
    density_p=0,
    perturb_p=0,
    shift_p=0,
    omission_p=0,
    coarse_p=0,
    drop_second_p=0,
    drop_image_p=0,
)
seeds = st.integers(0, 2**32 - 1)


def roads(height: int = 150, width: int = 190) -> np.ndarray:
    """A crooked cross of roads 20 pixels wide: no two of its turns and mirrors look alike."""
    mask = np.zeros((height, width), np.uint8)
    cv2.line(mask, (0, 30), (width, 100), 255, 20)
    cv2.line(mask, (60, 0), (110, height), 255, 20)
    return mask


def labelled(mask: np.ndarray, points: np.ndarray | None = None, **known: Any) -> LabelledSample:
    """An image that shows its mask as grey."""
    return LabelledSample(Sample(np.repeat(mask[..., None], 3, 2), points, **known), mask, "place", "train")


def shrunk(plane: np.ndarray, side: int) -> np.ndarray:
    """What lies at least half of `side` from everything else and from the border."""
    return cv2.erode(plane, np.ones((side, side), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)


def on_road(mask: np.ndarray, number: int = 400) -> np.ndarray:
    """Points whose neighbourhood is road too, of the size of the largest crop pixel; counted from the corner."""
    rows, columns = np.nonzero(shrunk(mask, 11))
    pick = np.random.default_rng(0).integers(0, len(rows), number)
    return np.stack([columns[pick] + 0.5, rows[pick] + 0.5, np.arange(number)], 1)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(deadline=None, max_examples=40)
@given(seeds, st.sampled_from([None, 0.2, 0.4, 0.46, 1.2]), st.sampled_from([32, 96, 128]))
def test_points_on_a_road_are_on_it_after_every_draw(seed: int, gsd_m: float | None, crop: int) -> None:
    mask = roads()
    moved, truth = draw_crop(labelled(mask, on_road(mask), gsd_m=gsd_m), crop, 0.46, STILL, rng(seed))
    assert moved.second is not None
    columns, rows = np.floor(moved.second[:, :2]).astype(int).T
    assert (truth[rows, columns] == 255).all()


@settings(deadline=None, max_examples=40)
@given(seeds, st.sampled_from([None, 0.1, 0.2, 0.46, 1.2]))
def test_image_raster_and_truth_move_together(seed: int, gsd_m: float | None) -> None:
    mask = roads()
    moved, truth = draw_crop(labelled(mask, mask, gsd_m=gsd_m), 96, 0.46, STILL, rng(seed))
    assert moved.image is not None
    assert moved.second is not None
    inside = shrunk((truth != 128).astype(np.uint8), 5) > 0  # beyond the image, one is mirrored and the other zero
    assert ((moved.image[..., 0] >= 128) == (truth == 255))[inside].all()
    assert (np.abs(moved.image[..., 0].astype(int) - moved.second) <= 1)[inside].all()


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(20, 100), st.integers(20, 80), st.floats(0.4, 6))
@example(0, 20, 20, 5.25)
def test_a_dot_and_its_point_stay_on_each_other_to_a_small_part_of_a_pixel(
    seed: int, column: int, row: int, step: float
) -> None:
    dot = np.zeros((101, 121, 3), np.float32)
    dot[row, column] = 1
    # wide enough that a crop pixel does not step over it, and whole: a kernel that ends early leaves a square with hard
    # edges, whose samples have another centre than it has (0.2 pixels beside it at five pixels a step)
    dot = np.asarray(cv2.GaussianBlur(dot, (61, 61), max(4.0, step)), np.float32)
    image = np.asarray(dot * (250 / dot.max()), np.uint8)
    point = np.array([[column + 0.5, row + 0.5]])
    side = 160
    matrix = _placement((101, 121), side, step, AugmentSpec(rotate_p=0.5), rng(seed))
    alone = Sample(image, point)
    moved = moved_sample(alone, matrix, side)
    assert moved.image is not None
    assert moved.second is not None
    known = moved_mask(np.zeros((101, 121), np.uint8), matrix, side) != 128
    weight = moved.image[..., 0] * known.astype(np.float64)
    if weight.sum() < 250 or image[0].any() or image[-1].any() or image[:, 0].any() or image[:, -1].any():
        return  # the dot is cut by a border: it has no centre to compare
    if len(moved.second) == 0 or weight[0].any() or weight[-1].any() or weight[:, 0].any() or weight[:, -1].any():
        return
    rows, columns = np.mgrid[:side, :side] + 0.5
    centre = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()]
    assert moved.second[0] == pytest.approx(centre, abs=0.15)  # half a pixel forgotten would be 0.5


def test_the_identity_moves_nothing() -> None:
    mask = roads(64, 64)
    item = labelled(mask, np.array([[3.25, 4.5, 7.0]]))
    still = np.array([[1.0, 0, 0], [0, 1, 0]])
    moved = moved_sample(item.sample, still, 64)
    assert moved.image is not None
    assert moved.second is not None
    assert (moved.image == item.sample.image).all()
    assert moved.second.tolist() == [[3.25, 4.5, 7.0]]
    assert (moved_mask(mask, still, 64) == mask).all()


def test_a_quarter_turn_is_exact() -> None:
    mask = roads(64, 64)
    turn = np.array([[0.0, -1, 64], [1, 0, 0]])  # clockwise, y down
    moved = moved_sample(labelled(mask, np.array([[10.5, 2.5]])).sample, turn, 64)
    assert moved.image is not None
    assert moved.second is not None
    assert (moved.image[..., 0] == np.rot90(mask, -1)).all()
    assert moved.second.tolist() == [[61.5, 10.5]]
    assert (moved_mask(mask, turn, 64) == np.rot90(mask, -1)).all()


def test_a_strong_shrink_takes_the_mean_of_the_area_as_preprocess_does() -> None:
    image = rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    quarter = np.array([[0.25, 0, 0], [0, 0.25, 0]])
    moved = moved_sample(Sample(image), quarter, 64)
    assert moved.image is not None
    assert np.abs(moved.image.astype(int) - resample(image, (64, 64))).max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_one_state_of_the_generator_gives_one_draw(seed: int) -> None:
    mask = roads()
    item = labelled(mask, on_road(mask), gsd_m=0.46, id="a")
    everything = AugmentSpec(fog_p=1, trees_p=1, density_p=1, perturb_p=1, shift_p=1, omission_p=1, coarse_p=1)
    first, again, other = (draw_crop(item, 64, 0.46, everything, rng(s)) for s in (seed, seed, seed + 1000))
    for name in ("image", "second"):
        assert np.array_equal(getattr(first[0], name), getattr(again[0], name))  # None equals None
    assert (first[1] == again[1]).all()
    assert not np.array_equal(first[1], other[1])


def test_a_draw_leaves_its_sample_as_it_is() -> None:
    mask = roads()
    item = labelled(mask, on_road(mask), gsd_m=0.46)
    assert item.sample.image is not None
    assert item.sample.second is not None
    before = item.sample.image.copy(), item.sample.second.copy(), item.mask.copy()
    for seed in range(20):
        draw_crop(item, 64, 0.46, AugmentSpec(fog_p=0.5, trees_p=0.5, perturb_p=0.5), rng(seed))
    for array, kept in zip((item.sample.image, item.sample.second, item.mask), before, strict=True):
        assert (array == kept).all()


def steps(spec: AugmentSpec, own: float | None, network: float | None, draws: int = 240) -> np.ndarray:
    """Source pixels per crop pixel of each draw, by how far apart two points come out."""
    points = np.array([[15.0, 20.0], [25.0, 20.0]])
    item = labelled(np.zeros((40, 40), np.uint8), points, gsd_m=own)
    found = []
    generator = rng(7)
    for _ in range(draws):
        moved, _ = draw_crop(item, 64, network, spec, generator)
        assert moved.second is not None
        found.append(10 / np.linalg.norm(moved.second[0] - moved.second[1]))
    return np.array(found)


@pytest.mark.parametrize(
    ("own", "network", "centre"), [(0.4, 0.46, 1.15), (None, 0.46, 1.0), (0.46, None, 1.0), (0.46, 0.46, 1.0)]
)
def test_the_scale_is_log_uniform_about_the_networks_ground_sample_distance(
    own: float | None, network: float | None, centre: float
) -> None:
    low, high = np.log(STILL.scale)
    share = (np.log(steps(STILL, own, network) / centre) - low) / (high - low)
    assert share.min() >= -1e-9
    assert share.max() <= 1 + 1e-9
    assert np.histogram(share, 4, (0, 1))[0] == pytest.approx([60] * 4, abs=30)  # four standard deviations and more


def test_all_eight_turns_and_mirrors_are_drawn_and_free_ones_too() -> None:
    corner = np.array([[15.0, 20.0], [25.0, 20.0], [15.0, 24.0]])
    item = labelled(np.zeros((40, 40), np.uint8), corner)
    drawn: dict[str, set[tuple[int, int, bool]]] = {"quarter": set(), "free": set()}
    for seed in range(200):
        spec = replace(STILL, rotate_p=0.0 if seed < 100 else 1.0)
        points = draw_crop(item, 64, None, spec, rng(seed))[0].second
        assert points is not None
        along, across = points[1] - points[0], points[2] - points[0]
        angle = round(np.degrees(np.arctan2(along[1], along[0])))
        drawn["quarter" if seed < 100 else "free"].add((angle, 0, along[0] * across[1] > along[1] * across[0]))
    assert {angle % 360 for angle, _, _ in drawn["quarter"]} == {0, 90, 180, 270}
    assert len({(angle % 360, mirrored) for angle, _, mirrored in drawn["quarter"]}) == 8
    assert len(drawn["free"]) > 60


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 60), st.integers(1, 60))
def test_outside_the_image_the_truth_is_unknown(seed: int, height: int, width: int) -> None:
    item = labelled(np.full((height, width), 255, np.uint8))
    moved, truth = draw_crop(item, 128, None, replace(STILL, scale=(1.0, 1.0)), rng(seed))
    assert moved.size == truth.shape == (128, 128)
    assert set(np.unique(truth)) <= {0, 128, 255}
    assert np.count_nonzero(truth != 128) == pytest.approx(height * width, abs=2 * (height + width) + 4)


def test_a_square_that_fits_stays_inside_the_image() -> None:
    item = labelled(roads(400, 300))
    for seed in range(30):
        _, truth = draw_crop(item, 96, None, STILL, rng(seed))
        assert not (truth == 128).any()


def test_ignored_pixels_stay_ignored() -> None:
    mask = roads()
    mask[:, 100:] = 128
    _, truth = draw_crop(labelled(mask), 64, None, replace(STILL, scale=(1.0, 1.0), rotate_p=0.0), rng(3))
    moved, _ = draw_crop(labelled(mask, (mask == 128).astype(np.uint8) * 255), 64, None,
                         replace(STILL, scale=(1.0, 1.0), rotate_p=0.0), rng(3))  # fmt: skip
    assert moved.second is not None
    assert ((truth == 128) == (moved.second > 127)).mean() > 0.98
    assert (truth == 128).any()


def test_points_that_are_no_numbers_are_left_out_without_a_word() -> None:
    bad = np.array([[np.nan, 3.0], [np.inf, np.inf], [5.0, -np.inf], [20.0, 20.0]])
    moved, _ = draw_crop(labelled(np.zeros((40, 40), np.uint8), bad), 64, None, STILL, rng(0))
    assert moved.second is not None
    assert len(moved.second) == 1


def test_modalities_are_dropped_as_often_as_asked_and_never_both() -> None:
    spec = replace(STILL, drop_second_p=0.2, drop_image_p=0.1)
    item = labelled(np.zeros((40, 40), np.uint8), np.full((1, 2), 20.0))
    generator = rng(5)
    drawn = [draw_crop(item, 32, None, spec, generator)[0] for _ in range(600)]
    assert sum(s.second is None for s in drawn) == pytest.approx(120, abs=40)
    assert sum(s.image is None for s in drawn) == pytest.approx(60, abs=30)
    assert not any(s.image is None and s.second is None for s in drawn)


@pytest.mark.parametrize("second", [None, np.zeros((0, 2))])
def test_the_only_modality_is_never_dropped(second: np.ndarray | None) -> None:
    always = replace(STILL, drop_second_p=0.5, drop_image_p=0.5)
    item = labelled(np.zeros((40, 40), np.uint8), second)
    blind = LabelledSample(Sample(None, np.full((1, 2), 20.0), (40, 40)), item.mask, "place", "train")
    for seed in range(20):
        assert draw_crop(item, 32, None, always, rng(seed))[0].image is not None
        assert draw_crop(blind, 32, None, always, rng(seed))[0].second is not None


def test_colours_change_on_the_image_alone() -> None:
    mask = roads()
    item = labelled(mask, mask)
    plain, truth = draw_crop(item, 64, None, STILL, rng(1))
    coloured, same = draw_crop(item, 64, None, replace(STILL, colour=0.4), rng(1))
    assert (truth == same).all()
    assert (np.asarray(plain.second) == coloured.second).all()
    assert (np.asarray(plain.image) != coloured.image).any()


@pytest.mark.parametrize("own", [0.23, 0.46])
def test_a_shift_is_in_metres_whatever_the_scale(own: float) -> None:
    item = labelled(np.zeros((80, 80), np.uint8), np.full((1, 2), 40.0), gsd_m=own)
    fixed = replace(STILL, scale=(1.0, 1.0))
    lengths = []
    for seed in range(80):
        still, _ = draw_crop(item, 64, 0.46, fixed, rng(seed))
        moved, _ = draw_crop(item, 64, 0.46, replace(fixed, shift_p=1.0, shift_m=4.0), rng(seed))
        lengths.append(np.linalg.norm(np.asarray(moved.second) - still.second) * 0.46)
    assert max(lengths) <= 4.0
    assert max(lengths) > 3.5  # drawn up to the longest


def test_a_draw_is_on_the_networks_grid_already() -> None:
    mask = roads()
    moved, _ = draw_crop(labelled(mask, gsd_m=0.3, id="tile 7"), 64, 0.46, STILL, rng(0))
    assert (moved.size, moved.gsd_m, moved.id) == ((64, 64), None, "tile 7")


def matrices(spec: AugmentSpec, item: LabelledSample | None = None, crop: int = 64, draws: int = 200) -> np.ndarray:
    """(draws, 2, 2) how the source is turned, mirrored and scaled."""
    item = labelled(roads(200, 200)) if item is None else item
    generator = rng(11)
    return np.array([draw_placement(item, crop, None, spec, generator)[:, :2] for _ in range(draws)])


FIXED = replace(STILL, scale=(1.0, 1.0), rotate_p=0.0)


def test_flips_and_quarter_turns_can_be_switched_off() -> None:
    still = matrices(replace(FIXED, flip_p=0.0, turn_p=0.0))
    assert np.allclose(still, np.eye(2))
    flipped = matrices(replace(FIXED, turn_p=0.0))
    assert {tuple(np.diag(one).round()) for one in flipped} == {(1, 1), (-1, 1)}
    turned = matrices(replace(FIXED, flip_p=0.0))
    assert np.allclose(np.linalg.det(turned), 1)
    assert len({tuple(one.round().ravel()) for one in turned}) == 4


def test_flips_and_turns_come_as_often_as_asked() -> None:
    drawn = matrices(replace(FIXED, flip_p=0.2, turn_p=0.4), draws=600)
    assert np.sum(np.linalg.det(drawn) < 0) == pytest.approx(120, abs=45)
    assert np.sum(np.abs(drawn[:, 0, 0]) < 0.5) == pytest.approx(600 * 0.4 / 2, abs=45)  # by 90 or 270 degrees


def test_scale_and_zoom_come_as_often_as_asked_and_a_zoom_is_a_part_of_the_image() -> None:
    spec = replace(FIXED, scale=(1.25, 1.5), scale_p=0.5, zoom=(0.6, 0.8), zoom_p=0.25, flip_p=0.0, turn_p=0.0)
    steps = 1 / matrices(spec, draws=800)[:, 0, 0]
    assert np.sum(steps == 1) == pytest.approx(300, abs=55)
    assert np.sum(steps < 0.8 + 1e-9) == pytest.approx(100, abs=40)  # zoomed, and not scaled
    assert np.sum(steps >= 1.25) == pytest.approx(300, abs=55)  # scaled, and not zoomed
    assert spec.scales == pytest.approx((0.6, 1.5))
    assert (steps.min() >= 0.6, steps.max() <= 1.5) == (True, True)
    assert replace(spec, scale_p=1.0).scales == pytest.approx((0.75, 1.5))


def test_an_aspect_changes_the_ratio_of_the_sides_and_not_the_area() -> None:
    drawn = matrices(replace(FIXED, aspect=0.3), labelled(roads(300, 220)), crop=96)
    sides = np.linalg.norm(drawn, axis=1)  # of a source pixel in the crop, along x and y
    ratio = sides[:, 0] / sides[:, 1]
    assert np.abs(sides.prod(1) - 1).max() < 1e-9
    assert (0.7 <= ratio.min() < 0.75, 1.25 < ratio.max() <= 1.3) == (True, True)
    spec, generator = replace(FIXED, aspect=0.3, rotate_p=0.5), rng(1)
    for _ in range(40):  # a square that fits stays inside
        assert not (draw_crop(labelled(roads(400, 300)), 96, None, spec, generator)[1] == 128).any()


def corner_road() -> LabelledSample:
    """A road in one corner of a large tile, which few squares reach."""
    mask = np.zeros((256, 256), np.uint8)
    mask[:64, :64] = 255
    return labelled(mask)


def shares(spec: AugmentSpec, draws: int = 200) -> np.ndarray:
    """Of road in each drawn square."""
    item, generator = corner_road(), rng(3)
    return np.array([(draw_crop(item, 64, None, spec, generator)[1] == 255).mean() for _ in range(draws)])


def test_a_square_without_road_is_drawn_again_ten_times_at_most() -> None:
    plain, again = shares(FIXED), shares(replace(FIXED, redraw_empty=True))
    chance = (64 / (256 - 64)) ** 2
    assert np.mean(plain > 0) == pytest.approx(chance, abs=0.07)
    assert np.mean(again > 0) == pytest.approx(1 - (1 - chance) ** (REDRAWS + 1), abs=0.1)
    nothing = labelled(np.zeros((96, 96), np.uint8))
    assert not draw_crop(nothing, 64, None, replace(FIXED, redraw_empty=True), rng(0))[1].any()


def test_a_square_that_one_class_fills_is_drawn_again() -> None:
    plain, again = (np.maximum(one, 1 - one) for one in (shares(FIXED), shares(replace(FIXED, redraw_above=0.9))))
    assert np.mean(again < 0.9) > np.mean(plain < 0.9) + 0.2


def test_what_is_ignored_is_no_class_that_fills_a_square() -> None:
    mask = np.full((64, 64), 128, np.uint8)
    mask[:8, :4], mask[:8, 4:10] = 255, 0  # of what is known 40 % are road
    spec = replace(FIXED, redraw_above=0.75)
    assert not _unwanted(labelled(mask), np.eye(2, 3), 64, spec)
    assert _unwanted(labelled(np.full((64, 64), 128, np.uint8)), np.eye(2, 3), 64, spec)


def test_a_redraw_keeps_the_scale() -> None:
    spec = replace(FIXED, scale=(0.5, 2.0), redraw_empty=True)
    first = rng(5)
    steps = []
    for _ in range(60):
        before = first.bit_generator.state
        matrix = draw_placement(corner_road(), 64, None, spec, first)
        alone = np.random.default_rng()
        alone.bit_generator.state = before
        steps.append((1 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))), np.exp(alone.uniform(*np.log((0.5, 2.0))))))
    assert np.allclose(*np.transpose(steps))


def test_colour_shifts_of_the_papers_change_the_image_alone_and_as_often_as_asked() -> None:
    image = rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    item = LabelledSample(Sample(image, image[..., 0]), image[..., 1], "a", "train")
    flat = replace(FIXED, flip_p=0.0, turn_p=0.0)
    for spec in (replace(flat, hsv=(30.0, 5.0, 15.0), hsv_p=0.5), replace(flat, distort_p=0.5)):
        generator = rng(6)
        drawn = [draw_crop(item, 64, None, spec, generator) for _ in range(200)]
        assert all((np.asarray(one.second) == image[..., 0]).all() for one, _ in drawn)
        changed = sum((np.asarray(one.image) != image).any() for one, _ in drawn)
        assert changed == pytest.approx(100 if spec.hsv_p == 0.5 else 100 * 15 / 16, abs=30)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"flip_p": 1.5}, r"augment\.flip_p is a probability"),
        ({"fog_p": float("nan")}, r"augment\.fog_p is a probability"),
        ({"scale": (1.0,)}, r"augment\.scale is 2 numbers, got \[1\.0\]"),
        ({"scale": (0.0, 1.0)}, r"augment\.scale is a positive number and one not below it"),
        ({"zoom": (0.9, 0.7)}, r"augment\.zoom is a positive number"),
        ({"density": ("a", 1.0)}, r"augment\.density is 2 numbers"),
        ({"hsv": (30.0, 5.0)}, r"augment\.hsv is 3 numbers"),
        ({"hsv": (30.0, -5.0, 0.0)}, r"augment\.hsv has half widths of 0 or more"),
        ({"aspect": 1.0}, r"augment\.aspect must lie in"),
        ({"redraw_above": 0.5}, r"augment\.redraw_above is a share above 0\.5"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        AugmentSpec(**settings)
