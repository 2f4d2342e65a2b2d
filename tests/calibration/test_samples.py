"""Calibration lists: from the train split only, under all conditions, and never other samples than were drawn."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from roadedge.calibration.samples import (
    CONDITIONS,
    CalibrationList,
    draw_list,
    feeds_of,
    read_list,
    samples_of,
    write_list,
)
from roadedge.calibration.sources import CITY_TILES
from roadedge.errors import DataError, UsageError
from roadedge.imagery import write_png
from roadedge.spec import ModelSpec
from roadedge.training.batches import city_readers

SPEC = ModelSpec("net", gsd_m=0.5, size=(64, 64))


def write_set(root: Path, train: int = 12, val: int = 4) -> Path:
    """A data set of noise with points."""
    generator = np.random.default_rng(3)
    for folder in ("image", "mask", "trajectory"):
        (root / folder).mkdir(parents=True)
    rows = ["image,mask,split,gsd_m"]
    for number in range(train + val):
        name = f"tile{number:02d}"
        write_png(root / "image" / f"{name}.png", generator.integers(0, 255, (64, 64, 3), np.uint8))
        write_png(root / "mask" / f"{name}.png", generator.choice(np.array([0, 255], np.uint8), (64, 64)))
        points = "\n".join(f"1,{x:.1f},{y:.1f},0,0,0" for x, y in generator.uniform(0, 63, (400, 2)))
        (root / "trajectory" / f"{name}.csv").write_text(f"vid,x,y,t,speed,interval\n{points}\n")
        rows.append(f"image/{name}.png,mask/{name}.png,{'train' if number < train else 'val'},0.5")
    (root / "split.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_set(tmp_path / "data")


def test_only_the_train_split_is_drawn(data: Path) -> None:
    drawn = draw_list([data], SPEC)
    assert sorted(e.id for e in drawn.entries) == [f"tile{i:02d}" for i in range(12)]


def test_the_city_calibrates_no_network_of_lidar() -> None:
    with pytest.raises(DataError, match="the built-in city has no LiDAR"):
        draw_list([], ModelSpec("net", inputs=("image", "lidar"), gsd_m=0.5))


def test_a_set_without_a_train_split_is_refused(tmp_path: Path) -> None:
    data = write_set(tmp_path / "test", train=0)
    with pytest.raises(DataError, match=r"no samples of the split 'train'; it has \['val'\]"):
        draw_list([data], SPEC)


def test_the_conditions_come_in_turn(data: Path) -> None:
    assert draw_list([data], SPEC).conditions == dict.fromkeys(CONDITIONS, 3)
    assert draw_list([data], SPEC, count=4).conditions == dict.fromkeys(CONDITIONS, 1)


def test_a_network_of_one_input_is_seen_in_the_conditions_that_change_it(data: Path) -> None:
    image, track = (dataclasses.replace(SPEC, inputs=(name,)) for name in ("image", "trajectory"))
    assert draw_list([data], image).conditions == {"clear": 6, "fog": 6, "sparse": 0, "empty": 0}
    assert draw_list([data], track).conditions == {"clear": 4, "fog": 0, "sparse": 4, "empty": 4}


def test_more_samples_than_there_are_show_each_under_every_condition(data: Path) -> None:
    drawn = draw_list([data], SPEC, count=1000)
    assert len(drawn) == 48
    assert len({(e.id, e.condition) for e in drawn.entries}) == 48


def test_the_same_seed_draws_the_same_list_and_another_one_another(data: Path) -> None:
    assert draw_list([data], SPEC) == draw_list([data], SPEC)
    assert draw_list([data], SPEC).digest != draw_list([data], SPEC, seed=1).digest


def test_a_condition_does_to_the_feeds_what_it_says(data: Path) -> None:
    drawn = draw_list([data], SPEC)
    feeds = {e.condition: (e, f) for e, f in zip(drawn.entries, feeds_of(drawn, SPEC), strict=True)}
    clear = CalibrationList(drawn.sets, tuple(dataclasses.replace(e, condition="clear") for e in drawn.entries))
    plain = {e.id: f for e, f in zip(clear.entries, feeds_of(clear, SPEC), strict=True)}
    for condition, (entry, fed) in feeds.items():
        before = plain[entry.id]
        assert fed["image"].shape == (1, 64, 64, 3)
        brighter = bool(fed["image"].mean() > before["image"].mean() + 20)
        fewer = bool(np.count_nonzero(fed["trajectory"]) < 0.3 * np.count_nonzero(before["trajectory"]))
        assert (brighter, fewer) == (condition == "fog", condition in ("sparse", "empty"))
        assert fed["trajectory"].any() == (condition != "empty")


def test_a_list_is_written_and_read_back(data: Path, tmp_path: Path) -> None:
    drawn = draw_list([data], SPEC)
    write_list(tmp_path / "list.json", drawn)
    again = read_list(tmp_path / "list.json")
    assert again == drawn
    assert again.digest == drawn.digest


def test_a_list_follows_its_data_set_to_another_place(data: Path, tmp_path: Path) -> None:
    drawn = draw_list([data], SPEC)
    write_list(tmp_path / "list.json", drawn)
    (tmp_path / "moved").mkdir()
    data.rename(tmp_path / "moved" / "data")
    with pytest.raises(DataError, match=r"is not at .*say with --data where it lies"):
        next(samples_of(read_list(tmp_path / "list.json")))
    moved = read_list(tmp_path / "list.json", [tmp_path / "moved" / "data"])
    assert moved.digest == drawn.digest
    assert len(list(samples_of(moved))) == 12
    with pytest.raises(DataError, match="needs the data set data, which is not among"):
        read_list(tmp_path / "list.json", [tmp_path / "moved"])


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no data set folder .*nowhere"):
        draw_list([tmp_path / "nowhere"], SPEC)


@pytest.mark.parametrize("file", ["image/{}.png", "trajectory/{}.csv"])
def test_a_sample_that_changed_or_went_away_is_an_error(data: Path, file: str) -> None:
    drawn = draw_list([data], SPEC)
    path = data / file.format(drawn.entries[0].id)
    path.write_bytes((data / file.format(drawn.entries[1].id)).read_bytes())
    with pytest.raises(DataError, match=f"sample {drawn.entries[0].id} of data is not what it was"):
        list(samples_of(drawn))
    path.unlink()
    with pytest.raises(DataError, match=drawn.entries[0].id):
        list(samples_of(drawn))


def test_a_sample_that_left_the_train_split_is_an_error(data: Path) -> None:
    drawn = draw_list([data], SPEC)
    table = data / "split.csv"
    table.write_text(
        table.read_text().replace(f"mask/{drawn.entries[0].id}.png,train", f"mask/{drawn.entries[0].id}.png,val")
    )
    with pytest.raises(DataError, match=f"has no training sample {drawn.entries[0].id} any more"):
        list(samples_of(drawn))


def test_what_is_no_list_is_an_error(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    with pytest.raises(DataError, match="cannot read the calibration list"):
        read_list(path)
    drawn = draw_list([data], SPEC)
    write_list(path, drawn)
    whole = json.loads(path.read_text())
    for content in (
        {**whole, "schema_version": 9},
        {**whole, "entries": whole["entries"][1:]},
        {**whole, "entries": []},
        {},
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match="draw"):
            read_list(path)
    path.write_text(json.dumps(whole)[:100])
    with pytest.raises(DataError, match="is not a calibration list"):
        read_list(path)


def test_a_wrong_count_or_a_set_given_twice_is_refused(data: Path) -> None:
    with pytest.raises(UsageError, match="at least one sample, got 0"):
        draw_list([data], SPEC, count=0)
    with pytest.raises(UsageError, match="told apart by their folders' names"):
        draw_list([data, data], SPEC)


def test_without_folders_the_training_windows_of_the_city_are_drawn() -> None:
    drawn = draw_list([], dataclasses.replace(SPEC, gsd_m=0.46), count=1)
    assert drawn.has_city
    readers = city_readers(list(range(16)), CITY_TILES, 0.46)
    sample = next(samples_of(drawn))
    seed, x, y = (int(part) for part in sample.id.removeprefix("city").split("_"))
    trained = readers[seed + 16 * (x // 1536 + 32 * (y // 1536))]()
    assert trained.id == sample.id
    assert trained.sample.image is not None
    assert sample.image is not None
    assert (trained.sample.image == sample.image).all()


def test_a_large_image_is_fed_in_a_few_windows(tmp_path: Path) -> None:
    root = write_set(tmp_path / "large", train=1)
    write_png(root / "image" / "tile00.png", np.zeros((256, 256, 3), np.uint8))
    write_png(root / "mask" / "tile00.png", np.zeros((256, 256), np.uint8))
    fed = next(feeds_of(draw_list([root], SPEC), SPEC))
    assert {name: plane.shape for name, plane in fed.items()} == {"image": (4, 64, 64, 3), "trajectory": (4, 64, 64, 1)}


def test_real_data_is_drawn_from_its_train_split(real_data: Path) -> None:
    from roadedge.data.folder import FolderDataset

    drawn = draw_list([real_data / "tianjin", real_data / "epfl"], ModelSpec("net"), count=8)
    train = {e.id for name in ("tianjin", "epfl") for e in FolderDataset(real_data / name, "train").entries}
    assert {e.id for e in drawn.entries} <= train
    assert drawn.conditions == dict.fromkeys(CONDITIONS, 2)
    assert all(fed["image"].dtype == np.uint8 for fed in feeds_of(drawn, ModelSpec("net")))
