"""Crops of published tiles are a data set of our own layout, whose crops of one tile stay together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge import cli
from roadedge.data.crops import corners, write_crops
from roadedge.data.folder import FolderDataset
from roadedge.errors import DataError, UsageError
from roadedge.imagery import read_image
from tests.data.trees import HEAT, IMAGE, MASK, TREES, write_tiff


def test_crops_reach_every_pixel_and_stay_inside() -> None:
    assert corners(1024, 512, 256) == [0, 256, 512]
    assert corners(1300, 650, 325) == [0, 325, 650]
    assert corners(1500, 512, 0) == [0, 512, 988]
    assert corners(512, 512, 0) == corners(400, 512, 256) == [0]


def test_crops_of_a_tile_show_it_and_stay_one_place(tmp_path: Path) -> None:
    out = tmp_path / "out"
    counts = write_crops(TREES["bjroad"](tmp_path / "bjroad"), out, 32, 16)
    assert counts == {"left_out": 0, "train": 18 * 4, "val": 2 * 4, "test": 4 * 4}
    dataset = FolderDataset(out)
    assert len({entry.group for entry in dataset.entries}) == 24
    item = next(item for item in dataset if item.id.endswith("_16_0"))
    assert (item.mask == MASK[16:48, :32]).all()
    assert item.sample.gsd_m == 0.5
    assert item.sample.second is not None
    assert np.abs(item.sample.second.astype(int) - HEAT[16:48, :32]).mean() < 4
    tiles = {split: {e.group for e in FolderDataset(out, split).entries} for split in ("train", "val", "test")}
    assert not tiles["train"] & tiles["val"] | tiles["test"] & (tiles["train"] | tiles["val"])


def test_tiles_with_an_empty_frame_are_left_out(tmp_path: Path) -> None:
    root = TREES["massachusetts"](tmp_path / "m")
    white = IMAGE.copy()
    white[0] = 255
    write_tiff(root / "tiff" / "train" / "train0_15.tiff", white)
    assert write_crops(root, tmp_path / "out", 48, 0) == {"left_out": 1, "train": 3, "val": 1, "test": 2}


def test_lidar_keeps_its_kind(tmp_path: Path) -> None:
    write_crops(TREES["tlcgis"](tmp_path / "t"), tmp_path / "out", 48, 0)
    second = FolderDataset(tmp_path / "out", "test", "lidar_depth_lpu")[0].sample.second
    assert second is not None
    assert np.array_equal(second, HEAT)


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = TREES["deepglobe"](tmp_path / "d")
    assert cli.main(["crops", str(root), "-o", str(tmp_path / "out"), "--crop", "24", "--overlap", "0"]) == 0
    assert "24 train, 8 val" in capsys.readouterr().err
    assert read_image(tmp_path / "out" / "image" / "100_24_0.png").shape == (24, 24, 3)


def test_mistakes_are_said(tmp_path: Path) -> None:
    root = TREES["deepglobe"](tmp_path / "d")
    with pytest.raises(UsageError, match="not empty"):
        write_crops(root, root)
    with pytest.raises(UsageError, match="less than the crop"):
        write_crops(root, tmp_path / "out", 64, 64)
    with pytest.raises(DataError, match="none of the published layouts"):
        write_crops(tmp_path, tmp_path / "out")
