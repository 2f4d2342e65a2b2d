"""One draw moves image, second modality and truth together; all chance comes from the generator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roadedge.data.augment import AugmentSpec, _placement, draw_crop, moved_mask, moved_sample
from roadedge.data.folder import LabelledSample
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
