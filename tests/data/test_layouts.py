"""Published data sets are read in their own layouts, and what is wrong with one is said."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from roadedge.data.folder import FolderDataset, lidar_folder
from roadedge.data.label_values import LABELS
from roadedge.data.layouts import LAYOUTS, layout_of
from roadedge.data.spacenet3 import read_worldview
from roadedge.errors import DataError, UsageError
from roadedge.imagery import write_png
from tests.data.trees import HEAT, IMAGE, MASK, ROAD, TREES, joint_spacenet3, write_tiff

SPLITS = {
    "bjroad": {"train": 18, "val": 2, "test": 4},
    "tlcgis": {"train": 4, "val": 1, "test": 1},
    "spacenet3": {"train": 5, "val": 3},
    "deepglobe": {"train": 6, "val": 2},
    "massachusetts": {"train": 4, "val": 1, "test": 2},
    "open-pit": {"train": 3, "val": 1, "test": 1},
    "porto": {"train": 7, "val": 1, "test": 2},
}
GSD_M = {"bjroad": 0.5, "tlcgis": 0.1524, "spacenet3": 0.3, "deepglobe": 0.5, "massachusetts": 1.0}


@pytest.fixture(params=sorted(LAYOUTS))
def named(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A layout's name and a tree of it; of Porto, its first fold."""
    if request.param == "spacenet3":
        pytest.importorskip("rasterio", reason="images of eight bands are read by rasterio (extra geo)")
    root = TREES[request.param](tmp_path / "data")
    return request.param, root / "split_1" if request.param == "porto" else root


def test_each_layout_is_recognised_as_itself_alone(named: tuple[str, Path]) -> None:
    name, root = named
    assert [other for other, layout in LAYOUTS.items() if layout.matches(root)] == [name]
    assert layout_of(root) is LAYOUTS[name]


def test_splits_and_pixels_are_those_of_the_data_set(named: tuple[str, Path]) -> None:
    name, root = named
    dataset = FolderDataset(root)
    assert Counter(entry.split for entry in dataset.entries) == SPLITS[name]
    assert [e.id for e in dataset.entries if e.split == "train"] == sorted(
        e.id for e in dataset.entries if e.split == "train"
    )
    for item in dataset:
        known = item.mask != 128
        assert np.array_equal(item.mask[known], MASK[known])
        assert known[1:].all()
        assert item.sample.image is not None
        assert item.sample.image.shape == IMAGE.shape
        assert item.sample.image[ROAD].min() > item.sample.image[~ROAD].max()
        assert item.sample.gsd_m == GSD_M.get(name)


def test_pixels_that_mean_nothing_are_ignored(tmp_path: Path) -> None:
    for item in FolderDataset(TREES["open-pit"](tmp_path)):
        assert (item.mask[0] == 128).all()


@pytest.mark.parametrize("name", ["bjroad", "porto"])
def test_heat_maps_come_along(name: str, tmp_path: Path) -> None:
    root = TREES[name](tmp_path)
    second = FolderDataset(root / "split_1" if name == "porto" else root, "test")[0].sample.second
    assert second is not None
    assert np.abs(second.astype(int) - HEAT).max() < 40  # JPEG blurs the edge
    assert np.abs(second.astype(int) - HEAT).mean() < 3


def test_lidar_of_tlcgis_lies_in_its_own_folder(tmp_path: Path) -> None:
    root = TREES["tlcgis"](tmp_path)
    assert lidar_folder(root) == "depth_lpu"
    depth = FolderDataset(root, "train", "depth_lpu")[0].sample.second
    assert depth is not None
    assert np.array_equal(depth, HEAT)
    assert FolderDataset(root, "train")[0].sample.second is None
    with pytest.raises(DataError, match="its LiDAR lies in 'depth_lpu'"):
        FolderDataset(root, "train", "lidar_height")


def test_spacenet_in_rgb_is_read_too(tmp_path: Path) -> None:
    dataset = FolderDataset(joint_spacenet3(tmp_path), "train")
    assert dataset.entries[0].id.startswith("AOI_4_Shanghai_img")
    assert (dataset[0].mask == MASK).all()


def test_the_held_tiles_do_not_depend_on_the_order_of_a_directory(tmp_path: Path) -> None:
    first = {e.id for e in FolderDataset(TREES["deepglobe"](tmp_path / "a"), "val").entries}
    again = {e.id for e in FolderDataset(TREES["deepglobe"](tmp_path / "b"), "val").entries}
    assert first == again


def test_porto_tests_each_tile_in_one_fold(tmp_path: Path) -> None:
    root = TREES["porto"](tmp_path / "porto")
    tested = Counter(e.id for fold in range(1, 6) for e in FolderDataset(root, "test", fold=fold, folds=5).entries)
    assert len(tested) == 10
    assert set(tested.values()) == {1}
    with pytest.raises(DataError, match=r"name one, such as porto/split_1"):
        FolderDataset(root)
    with pytest.raises(UsageError, match="has 5 folds of its own, got 4"):
        FolderDataset(root, fold=1, folds=4)


def test_other_data_sets_are_folded_by_place(tmp_path: Path) -> None:
    root = TREES["massachusetts"](tmp_path)
    tested: list[str] = []
    for fold in (1, 2, 3):
        dataset = FolderDataset(root, fold=fold, folds=3)
        sides = {split: {e.group for e in dataset.entries if e.split == split} for split in ("train", "test")}
        assert not sides["train"] & sides["test"]
        tested += sides["test"]
    assert sorted(tested) == ["train0_15", "train1_15", "train2_15", "train3_15", "val0_15"]
    with pytest.raises(DataError, match="9 folds need as many places"):
        FolderDataset(root, fold=1, folds=9)


@pytest.mark.parametrize(
    ("name", "gone", "text"),
    [
        ("bjroad", "train_val/mask/3_7_mask.png", r"no mask of 3_7 \(1 are missing\)"),
        ("bjroad", "test/gps/21_7_gps.jpg", r"no gps of 21_7"),
        ("porto", "gps/004.png", r"lists 004, and there is no .*gps.004\.png"),
        ("tlcgis", "depth_lpu/5.png", r"lists 5, and there is no .*depth_lpu.5\.png"),
        ("deepglobe", "train/104_sat.jpg", r"no sat of 104"),
        ("massachusetts", "tiff/val_labels/val0_15.tif", r"no label of val0_15"),
        ("open-pit", "SegmentationClass/m2.png", r"lists m2, and there is no .*SegmentationClass"),
    ],
)
def test_a_missing_partner_is_named(name: str, gone: str, text: str, tmp_path: Path) -> None:
    root = TREES[name](tmp_path)
    (root / gone).unlink()
    with pytest.raises(DataError, match=text):
        FolderDataset(root / "split_1" if name == "porto" else root)


def test_a_tile_in_two_lists_is_refused(tmp_path: Path) -> None:
    root = TREES["tlcgis"](tmp_path)
    (root / "valid.txt").write_text("4\n0")
    with pytest.raises(DataError, match="lists 0 in train and in val"):
        FolderDataset(root)


def test_labels_of_0_and_1_where_255_is_expected_are_named(tmp_path: Path) -> None:
    root = TREES["deepglobe"](tmp_path)
    for path in (root / "train").glob("*_mask.png"):
        write_png(path, MASK // 255)
    with pytest.raises(DataError, match="seems to hold 0 and 1"):
        FolderDataset(root, "train")[0]


def test_an_unknown_class_is_named(tmp_path: Path) -> None:
    root = TREES["open-pit"](tmp_path)
    write_png(root / "SegmentationClass" / "m0.png", MASK // 255 * 2)
    with pytest.raises(DataError, match=r"the classes 0, 1 \(road\) and 255"):
        FolderDataset(root, "train")[0]


def test_roads_of_255_where_1_is_expected_are_not_taken_for_ignored_pixels(tmp_path: Path) -> None:
    """D-SegNeXt's script for DeepGlobe leaves 0 and 255, and 255 is ignored in its layout."""
    root = TREES["open-pit"](tmp_path)
    for path in (root / "SegmentationClass").iterdir():
        write_png(path, MASK)
    with pytest.raises(DataError, match="hold 0 and 255 and never 1"):
        FolderDataset(root)
    write_png(root / "SegmentationClass" / "m3.png", MASK // 255)  # now 255 may be what it says
    assert (FolderDataset(root, "train")[0].mask[ROAD] == 128).all()


def test_a_label_without_any_background_is_named(tmp_path: Path) -> None:
    root = TREES["deepglobe"](tmp_path)
    for path in (root / "train").glob("*_mask.png"):
        write_png(path, np.where(ROAD, 255, 254).astype(np.uint8))
    with pytest.raises(DataError, match="levels from 254 to 255, of which all would be road"):
        FolderDataset(root, "train")[0]


@pytest.mark.parametrize("levels", [(0, 127), (128, 0), (250, 3), (255, 0)])
def test_road_is_what_lies_above_the_half(levels: tuple[int, int], tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.where(ROAD, *levels).astype(np.uint8))
    expected = MASK if levels[0] > 127 else np.zeros_like(MASK)
    assert np.array_equal(LABELS["above-half"](tmp_path / "a.png"), expected)


def test_gaussian_masks_are_cut_eleven_pixels_beside_the_road(tmp_path: Path) -> None:
    away = np.abs(np.arange(41) - 20.0)
    soft = np.rint(255 * np.exp(-(away**2) / (2 * 15**2))).astype(np.uint8)
    write_png(tmp_path / "a.png", np.tile(soft, (3, 1)))
    assert np.array_equal(LABELS["gaussian"](tmp_path / "a.png")[0] == 255, away < 11.1)


def test_a_tile_that_is_trained_on_and_tested_is_refused(tmp_path: Path) -> None:
    root = TREES["bjroad"](tmp_path)
    for kind, name in (("image", "3_7_sat.png"), ("mask", "3_7_mask.png"), ("gps", "3_7_gps.jpg")):
        (root / "test" / kind / name).write_bytes((root / "train_val" / kind / name).read_bytes())
    with pytest.raises(DataError, match="lists 3_7 in train_val and in test"):
        FolderDataset(root)


def test_folders_of_the_same_names_with_other_tiles_have_no_gsd_of_spacenet(tmp_path: Path) -> None:
    for i in range(4):
        write_tiff(tmp_path / "images" / f"chicago_{i}.tif", IMAGE)
        write_png(tmp_path / "masks" / f"chicago_{i}.png", MASK)
    assert {entry.gsd_m for entry in FolderDataset(tmp_path).entries} == {None}
    assert FolderDataset(joint_spacenet3(tmp_path / "sn"), "train")[0].sample.gsd_m == 0.3


def test_bands_are_those_of_red_green_and_blue_stretched_without_the_zeros(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="images of eight bands are read by rasterio (extra geo)")
    rng = np.random.default_rng(0)
    bands = rng.integers(20 * np.arange(1, 9)[:, None, None], 20 * np.arange(2, 10)[:, None, None], (8, 60, 60))
    bands[:, :20] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the file is not georeferenced
        with rasterio.open(
            tmp_path / "a.tif", "w", driver="GTiff", width=60, height=60, count=8, dtype="uint8"
        ) as file:
            file.write(bands.astype(np.uint8))
    image = read_worldview(tmp_path / "a.tif")
    assert not image[:20].any()
    assert image[20:].min() == 1  # what has no data is told apart from what is dark
    for channel, number in enumerate((5, 3, 2)):
        band = bands[number - 1, 20:]
        low, high = np.percentile(band, (2, 98))
        expected = np.rint(((band - low) / (high - low) * 255).clip(1, 255))
        assert np.abs(image[20:, :, channel] - expected).max() <= 1


def test_images_that_are_mostly_frame_are_left_out_by_the_papers() -> None:
    black, white = IMAGE.copy(), np.repeat(IMAGE, 2, 0)
    black[:20] = 0
    white[0] = 255
    assert LAYOUTS["spacenet3"].usable(IMAGE)
    assert not LAYOUTS["spacenet3"].usable(black)
    assert LAYOUTS["massachusetts"].usable(IMAGE)
    assert not LAYOUTS["massachusetts"].usable(white)
