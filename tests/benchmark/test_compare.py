"""Two results held against each other: refused where they are unlike, else a difference with its interval."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadedge.benchmark.bootstrap import difference
from roadedge.benchmark.compare import compare, verdict_of
from roadedge.benchmark.header import CONTEXT, FOLLOWS, differing
from roadedge.errors import DataError, RunInvalidError, SourceError, SpecMismatchError

HEADER = {name: f"some {name}" for name in CONTEXT}


def result(median_ms: float = 20.0, seed: int = 0, **changes: Any) -> dict[str, Any]:
    samples = np.random.default_rng(seed).normal(median_ms, 1.0, 400).round(3).tolist()
    return {
        "header": HEADER | changes,
        "verdict": {"result": "VALID", "reasons": []},
        "samples_ms": [samples],
    }


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_difference_of_medians_comes_with_an_interval(tmp_path: Path) -> None:
    a = written(tmp_path, "a.json", result(20.0, 1))
    b = written(tmp_path, "b.json", result(22.0, 2, artefact_sha256="0" * 64, precision="int8"))
    found = compare(a, b)
    assert found.difference.value_ms == pytest.approx(2.0, abs=0.2)
    assert found.difference.low_ms < 2.0 < found.difference.high_ms
    assert found.unlike == ("artefact_sha256",)
    assert found.following == ("precision",)
    assert "more time than A" in verdict_of(found.difference)
    assert any("not taken in turns" in note for note in found.notes)


def test_a_run_folder_stands_for_its_metrics(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    written(tmp_path / "run", "metrics.json", result())
    other = written(tmp_path, "b.json", result(seed=3))
    assert not compare(tmp_path / "run", other).difference.told_apart


def test_two_respects_that_differ_are_refused_and_both_named(tmp_path: Path) -> None:
    a = written(tmp_path, "a.json", result())
    b = written(tmp_path, "b.json", result(rate_hz=10, policy="all"))
    with pytest.raises(SpecMismatchError, match=r"2 respects.*rate_hz: some rate_hz \| 10; policy"):
        compare(a, b)
    assert "which of them made the difference is not known" in compare(a, b, force=True).notes[0]


@pytest.mark.parametrize("name", CONTEXT)
def test_each_field_of_the_header_counts(name: str) -> None:
    own, following = differing(HEADER, HEADER | {name: "other"})
    assert (own, following) == ([name], [])


def test_what_follows_from_another_field_is_none_of_its_own() -> None:
    changed = HEADER | {name: "other" for name in ("artefact_sha256", "accuracy", "precision", "graph_precision")}
    assert differing(HEADER, changed) == (["artefact_sha256"], ["accuracy", "graph_precision", "precision"])
    assert set(FOLLOWS) <= set(CONTEXT)


def test_an_invalid_run_is_not_compared(tmp_path: Path) -> None:
    bad = result()
    bad["verdict"] = {"result": "INVALID", "reasons": ["the machine throttled"]}
    a, b = written(tmp_path, "a.json", result()), written(tmp_path, "b.json", bad)
    with pytest.raises(RunInvalidError, match="the machine throttled"):
        compare(a, b)
    assert compare(a, b, force=True).notes[0] == "forced although b.json is INVALID"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"header": {}, "verdict": {}, "samples_ms": [[1]]}', "\0"])
def test_a_file_that_is_no_result_is_said(tmp_path: Path, content: str) -> None:
    a, b = written(tmp_path, "a.json", result()), written(tmp_path, "b.json", content)
    with pytest.raises(DataError, match=r"b\.json"):
        compare(a, b)


@pytest.mark.parametrize("samples", [[], [[]], [[1.0] * 5], [["x"] * 20], [[float("nan")] * 20], [1.0] * 20, [[None]]])
def test_times_that_are_none_are_said(tmp_path: Path, samples: Any) -> None:
    bad = copy.deepcopy(result())
    bad["samples_ms"] = samples
    a, b = written(tmp_path, "a.json", result()), written(tmp_path, "b.json", bad)
    with pytest.raises(DataError, match="times"):
        compare(a, b)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no .*nothing\.json"):
        compare(tmp_path / "nothing.json", tmp_path / "nothing.json")
    with pytest.raises(SourceError, match=r"metrics\.json"):
        compare(tmp_path, tmp_path)


def test_the_interval_of_turns_knows_of_slow_minutes() -> None:
    """The machine is slower in one turn, for both alike: paired turns see through it."""
    generator = np.random.default_rng(4)
    slow = (0.0, 6.0, 0.0)
    first = [generator.normal(20.0 + s, 0.5, 300) for s in slow]
    second = [generator.normal(21.0 + s, 0.5, 300) for s in slow]
    found = difference([one.tolist() for one in first], [one.tolist() for one in second])
    assert found.told_apart
    assert found.low_ms > 0.5
    assert found.high_ms < 1.5


def test_turns_that_do_not_agree_leave_both_untold() -> None:
    generator = np.random.default_rng(5)
    first = [generator.normal(20.0 + s, 0.2, 200).tolist() for s in (0.0, 2.0, 0.0)]
    second = [generator.normal(20.0 + s, 0.2, 200).tolist() for s in (1.0, 0.0, 2.0)]
    found = difference(first, second)
    assert not found.told_apart
    assert verdict_of(found) == "A and B cannot be told apart by these runs"


def test_neighbours_that_are_alike_widen_the_interval() -> None:
    generator = np.random.default_rng(6)
    alike = np.repeat(generator.normal(20.0, 1.0, 20), 20)  # as if the clock changed every twenty calls
    scattered = generator.permutation(alike)
    other = [[20.0] * 400]
    wide, narrow = (difference([one.tolist()], other) for one in (alike, scattered))
    assert wide.high_ms - wide.low_ms > 1.5 * (narrow.high_ms - narrow.low_ms)


def test_the_same_seed_gives_the_same_interval() -> None:
    samples = np.random.default_rng(7).normal(20.0, 1.0, 100).tolist()
    assert difference([samples], [samples]) == difference([samples], [samples])


def test_unlike_counts_of_repeats_are_refused() -> None:
    with pytest.raises(DataError, match="the same count of repeats"):
        difference([[1.0] * 20], [[1.0] * 20] * 2)
    with pytest.raises(DataError, match="at least one"):
        difference([], [])


def test_an_interval_of_nine_in_ten_differences_holds_the_truth() -> None:
    """Coverage over seeded experiments of autocorrelated times: at least 88 % of the 95 % intervals."""
    held = 0
    for seed in range(40):
        generator = np.random.default_rng(100 + seed)
        first, second = (
            [[*np.convolve(generator.normal(0.0, 1.0, 260), np.ones(10) / 10, "valid") + at] for _ in range(3)]
            for at in (20.0, 20.3)
        )
        found = difference(first, second, draws=200)
        held += found.low_ms <= 0.3 <= found.high_ms
    assert held >= 35
