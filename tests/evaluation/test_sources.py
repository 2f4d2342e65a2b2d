"""Where labelled samples come from: folders and cities, named apart, given once, refused with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadedge.errors import DataError, UnknownNameError, UsageError
from roadedge.evaluation import EvalSettings, evaluate
from roadedge.evaluation.sources import CITY_SEED, open_sources
from roadedge.spec import ModelSpec
from tests.evaluation.bright_roads import BrightIsRoad, write_data_set

SPEC = ModelSpec("bright")


def test_a_folder_lists_the_samples_of_its_split(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "a")
    (source,) = open_sources([data], SPEC, EvalSettings())
    assert (source.name, source.ids) == ("a", ("t0", "t1", "t2"))
    with pytest.raises(DataError, match="no samples of the split 'train'"):
        open_sources([data], SPEC, EvalSettings(split="train"))
    assert len(open_sources([data], SPEC, EvalSettings(split="all"))[0].ids) == 3


def test_folders_of_one_name_are_told_apart_and_one_folder_counts_once(tmp_path: Path) -> None:
    first, second = write_data_set(tmp_path / "x" / "set"), write_data_set(tmp_path / "y" / "set")
    names = [s.name for s in open_sources([first, second], SPEC, EvalSettings())]
    assert names == [str(first), str(second)]
    with pytest.raises(UsageError, match="given twice"):
        open_sources([first, tmp_path / "x" / ".." / "x" / "set"], SPEC, EvalSettings())


def test_a_missing_folder_and_no_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set folder"):
        open_sources([tmp_path / "absent"], SPEC, EvalSettings())
    with pytest.raises(UsageError, match="at least one data set"):
        open_sources([], SPEC, EvalSettings())


@pytest.mark.parametrize("text", ["trajectories = 7", 'trajectories = "real"', "trajectories ="])
def test_a_declaration_that_cannot_be_read_is_not_guessed(tmp_path: Path, text: str) -> None:
    data = write_data_set(tmp_path / "a")
    (data / "dataset.toml").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.toml"):
        open_sources([data], SPEC, EvalSettings())


def test_the_points_of_the_city_are_not_fed_as_lidar() -> None:
    lidar = ModelSpec("bright", ("image", "lidar"))
    with pytest.raises(UsageError, match="no LiDAR"):
        open_sources(["city"], lidar, EvalSettings())
    (source,) = open_sources(["city"], lidar, EvalSettings(inputs="image", windows=2))
    assert len(source.ids) == 2


def test_a_lidar_network_takes_the_first_lidar_folder(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "a")
    lidar = ModelSpec("bright", ("image", "lidar"))
    with pytest.raises(DataError, match=r"no folder lidar_\*"):
        open_sources([data], lidar, EvalSettings())
    (data / "lidar_height").mkdir()
    (source,) = open_sources([data], lidar, EvalSettings())
    assert source.data == "no trajectories fed"


def test_the_city_is_a_set_of_windows_of_its_own_seed() -> None:
    first, other = open_sources(["city", "city:5"], SPEC, EvalSettings(windows=3))
    assert (first.name, other.name) == (f"city:{CITY_SEED}", "city:5")
    assert len(first.ids) == len(set(first.ids)) == 3
    item = first.readers[1]()
    assert item.sample.size == item.mask.shape == (512, 512)
    assert item.sample.id == first.ids[1]
    assert 0 < np.mean(item.mask == 255) < 0.6
    assert first.data == "semi-synthetic"


def test_a_score_in_the_city_is_semi_synthetic_whatever_is_declared() -> None:
    settings = EvalSettings(windows=1, panels=0, bootstrap=0, inputs="image", measured_trajectories=True)
    result = evaluate(BrightIsRoad(), ["city:3"], settings)
    assert result.pooled.data == "semi-synthetic"


def test_a_city_has_a_whole_number() -> None:
    with pytest.raises(UsageError, match="city:SEED"):
        open_sources(["city:north"], SPEC, EvalSettings())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"inputs": "images"}, UnknownNameError),
        ({"threshold": 1.0}, UsageError),
        ({"bootstrap": -1}, UsageError),
        ({"windows": 0}, UsageError),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        EvalSettings(**changes)  # type: ignore[arg-type]
