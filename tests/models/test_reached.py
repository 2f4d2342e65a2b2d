"""What was reached is what the committed results say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.models_page import BEGIN, END, PAGE, collect, network_of, table
from roadedge.models import MODELS
from roadedge.models.catalogue import CATALOGUE
from roadedge.models.reached import best, reached
from roadedge.resources import recipe_names

RESULTS = Path(__file__).parent.parent.parent / "benchmarks" / "results"


def test_each_score_is_that_of_its_file() -> None:
    collected = {(one.source, one.weights, one.inputs): one for one in collect(RESULTS)}
    assert reached()
    assert [one for one in reached() if collected.get((one.source, one.weights, one.inputs)) != one] == []


def test_scores_are_percent_and_those_with_points_are_semi_synthetic() -> None:
    for one in reached():
        assert one.network in MODELS
        assert 1 < one.g_iou < 100
        assert one.interval is None or one.interval[0] <= one.g_iou <= one.interval[1]
        assert (one.label == "semi-synthetic") == ("trajectory" in one.inputs)


def test_the_best_is_of_measured_imagery_and_absent_where_nothing_was_measured() -> None:
    found = best("roadedge-s", ("image", "trajectory"))
    assert found is not None
    assert (found.weights, found.data) == ("roadedge-s-research", ("tianjin", "epfl"))
    alone = best("roadedge-s", ("image",))
    assert alone is not None
    assert alone.g_iou < found.g_iou
    assert best("cmmpnet-spp4", ("image", "trajectory")) is None


def test_weights_are_called_after_their_network() -> None:
    assert network_of("roadedge-s-research") == "roadedge-s"
    assert network_of("cmipnet-slim-tried") == "cmipnet-slim"
    with pytest.raises(SystemExit, match="called after no network"):
        network_of("best")


def test_a_run_of_the_study_is_collected(tmp_path: Path) -> None:
    clear: dict[str, Any] = {"pooled": {"G_IoU": 0.5, "G_IoU_interval_95": [0.4, 0.6]}, "sets": {"tianjin": {}}}
    run = {"kind": "study run", "name": "early-fusion", "model": "dlinknet34-slim", "inputs": ["image", "trajectory"],
           "semi_synthetic": True, "conditions": {"clear": clear}}  # fmt: skip
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "early-fusion.json").write_text(json.dumps(run))
    (one,) = collect(tmp_path)
    assert (one.network, one.weights, one.g_iou, one.interval) == (
        "dlinknet34-slim",
        "study-early-fusion",
        50.0,
        (40, 60),
    )
    assert one.source == "study/early-fusion.json"


def test_the_page_shows_the_list_as_it_is() -> None:
    """But for the recipes, which come and go: those that it names are there."""
    written = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    shown, current = (without_recipes(text) for text in (written, table(list(reached()))))
    assert shown == current
    assert [name for name in CATALOGUE if f"`{name}`" not in written] == []
    named = {name for line in written.splitlines() if line.count("|") == 8 for name in re.findall("`(.+?)`", line)[1:]}
    assert named - set(recipe_names()) - set(CATALOGUE) - {one.weights for one in reached()} == set()


def without_recipes(text: str) -> list[str]:
    """The lines, those of the first table without their last column."""
    lines = text.splitlines()
    first = lines.index("")
    return [line.rsplit("|", 2)[0] for line in lines[:first]] + lines[first:]
