"""A cache of ranges serves what it was measured for, and says which part differs where it is something else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from roadedge.calibration.cache import CacheKey, read_cache, write_cache
from roadedge.errors import DataError

KEY = CacheKey("model digest", "list digest", "percentile:99.99")
RANGES = {"one": 1.25, "two": 0.0, "three": 3.4028234e38}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_cache(tmp_path / "ranges.json", KEY, RANGES)
    return tmp_path / "ranges.json"


def test_ranges_come_back_to_the_bit(path: Path) -> None:
    assert read_cache(path, KEY) == RANGES


@pytest.mark.parametrize(
    ("field", "said"),
    [("model", "network"), ("samples", "list of samples"), ("method", "method"), ("settings", "version of the method")],
)
def test_another_network_list_or_method_is_an_error_that_says_which(path: Path, field: str, said: str) -> None:
    other = dataclasses.replace(KEY, **{field: "another"})
    assert other.digest != KEY.digest
    with pytest.raises(DataError, match=f"was measured for another {said}; .* leave --cache out"):
        read_cache(path, other)


def test_all_that_differs_is_named(path: Path) -> None:
    with pytest.raises(DataError, match="another network and another method"):
        read_cache(path, dataclasses.replace(KEY, model="x", method="max"))


def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the calibration cache .*No such file"):
        read_cache(tmp_path / "nowhere.json", KEY)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '{"schema_version": 1, "key": 3}'])
def test_what_is_no_cache_is_an_error(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(DataError, match="is not a calibration cache"):
        read_cache(path, KEY)


@pytest.mark.parametrize(
    "change", [{"schema_version": 2}, {"ranges": {"one": 1.26}}, {"ranges": {"one": "much"}}, {"ranges_sha256": "0"}]
)
def test_a_cache_that_was_changed_is_an_error(path: Path, change: dict[str, object]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match="damaged, or of another version"):
        read_cache(path, KEY)
