"""Crops of published tiles are a data set of our own layout, whose crops of one tile stay together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge import cli
from roadedge.data import crops
from roadedge.data.crops import CropOptions, corners, write_crops
from roadedge.data.folder import Entry, FolderDataset, LabelledSample, read_entry
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
    counts = write_crops(TREES["bjroad"](tmp_path / "bjroad"), out, CropOptions(32, 16))
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
    assert write_crops(root, tmp_path / "out", CropOptions(48, 0)) == {"left_out": 1, "train": 3, "val": 1, "test": 2}


def test_lidar_keeps_its_kind(tmp_path: Path) -> None:
    write_crops(TREES["tlcgis"](tmp_path / "t"), tmp_path / "out", CropOptions(48, 0))
    second = FolderDataset(tmp_path / "out", "test", "lidar_depth_lpu")[0].sample.second
    assert second is not None
    assert np.array_equal(second, HEAT)


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = TREES["deepglobe"](tmp_path / "d")
    assert cli.main(["crops", str(root), "-o", str(tmp_path / "out"), "--crop", "24", "--overlap", "0"]) == 0
    assert "24 train, 8 val" in capsys.readouterr().err
    assert read_image(tmp_path / "out" / "image" / "100_24_0.png").shape == (24, 24, 3)


def test_tiles_are_brought_to_the_size_of_a_paper_first(tmp_path: Path) -> None:
    """Massachusetts goes from 1500 to 1536 pixels there, with labels that stay 0 and 255."""
    write_crops(TREES["massachusetts"](tmp_path / "m"), tmp_path / "out", CropOptions(32, 16, resize=96))
    whole = FolderDataset(tmp_path / "out", "test")
    assert len(whole) == 2 * 9
    mask = np.zeros((96, 96), np.uint8)
    for item in whole:
        top, left = (int(part) for part in item.id.split("_")[-2:])
        if item.group == "test0_15":
            mask[top : top + 32, left : left + 32] = item.mask
        assert item.sample.gsd_m == 0.5
        assert item.sample.size == (32, 32)
    assert np.array_equal(mask, np.repeat(np.repeat(MASK, 2, 0), 2, 1))


def test_what_is_ignored_stays_so_in_another_size(tmp_path: Path) -> None:
    write_crops(TREES["open-pit"](tmp_path / "o"), tmp_path / "out", CropOptions(24, 0, resize=24))
    item = FolderDataset(tmp_path / "out", "val")[0]
    assert (item.mask[:, :8] == 255).all()
    assert not item.mask[:, 8:].any()


def test_a_run_that_was_stopped_goes_on_and_is_no_data_set_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out, cut = TREES["deepglobe"](tmp_path / "d"), tmp_path / "out", CropOptions(24, 0)
    done: list[str] = []

    def stopping(item: Entry) -> LabelledSample:
        done.append("")
        if len(done) > 5:
            raise KeyboardInterrupt
        return read_entry(item)

    with monkeypatch.context() as patch:
        patch.setattr(crops, "read_entry", stopping)
        patch.setattr("os.cpu_count", lambda: 1)
        with pytest.raises(KeyboardInterrupt, match="pass --resume"):
            write_crops(root, out, cut)
    assert not out.exists()
    with pytest.raises(UsageError, match="was stopped before its end"):
        write_crops(root, out, cut)
    with pytest.raises(UsageError, match="had crop = 24, this one has 32"):
        write_crops(root, out, CropOptions(32, 0), resume=True)
    said: list[str] = []
    found = write_crops(root, out, cut, resume=True, tell=said.append)
    assert said == ["5 of 8 tiles are done already"]
    assert found == write_crops(root, tmp_path / "whole", cut)
    files = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert files == {p.relative_to(tmp_path / "whole"): p.read_bytes() for p in (tmp_path / "whole").rglob("*.*")}
    assert write_crops(root, out, cut, resume=True) == found  # finished already


def test_a_file_that_cannot_be_read_is_named_and_what_was_cut_is_kept(tmp_path: Path) -> None:
    root, out = TREES["deepglobe"](tmp_path / "d"), tmp_path / "out"
    whole = (root / "train" / "107_mask.png").read_bytes()
    (root / "train" / "107_mask.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"107_mask\.png is not an image"):
        write_crops(root, out)
    assert not out.exists()
    (root / "train" / "107_mask.png").write_bytes(whole)
    said: list[str] = []
    write_crops(root, out, resume=True, tell=said.append)
    assert said == ["7 of 8 tiles are done already"]


def test_crops_are_replaced_where_that_is_asked(tmp_path: Path) -> None:
    root, out = TREES["deepglobe"](tmp_path / "d"), tmp_path / "out"
    write_crops(root, out)
    with pytest.raises(UsageError, match="--overwrite"):
        write_crops(root, out, CropOptions(24, 0))
    assert write_crops(root, out, CropOptions(24, 0), overwrite=True)["train"] == 24


def test_mistakes_are_said(tmp_path: Path) -> None:
    root = TREES["deepglobe"](tmp_path / "d")
    with pytest.raises(UsageError, match="not empty"):
        write_crops(root, root)
    with pytest.raises(UsageError, match="less than the crop"):
        CropOptions(64, 64)
    with pytest.raises(UsageError, match="nothing to resume"):
        write_crops(root, tmp_path / "out", resume=True)
    with pytest.raises(DataError, match="there is no data set folder"):
        write_crops(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(DataError, match="none of the published layouts"):
        write_crops(tmp_path, tmp_path / "out")
