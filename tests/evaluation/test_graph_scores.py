"""`roadedge eval --graph`: the roads that the network says, traced and scored beside its pixels."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from roadedge.evaluation import EvalSettings, evaluate, print_table
from roadedge.imagery import write_png
from roadedge.metrics.graph_scores import choose_graph_scores
from tests.evaluation.bright_roads import BrightIsRoad, road_mask, write_data_set

pytest.importorskip("skimage", reason="scikit-image is not installed (extra graph)")
GRAPH = choose_graph_scores(True, True, True, apls_spacing=5, topo_radius=20, topo_interval=5)


def test_the_truth_scores_one_and_a_missed_road_costs_its_share(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "bright")
    settings = EvalSettings(bootstrap=50, panels=0, graph=GRAPH)
    whole = evaluate(BrightIsRoad(), [data], settings).pooled.graph
    assert whole is not None
    assert whole.topo is not None
    assert (whole.apls, whole.topo.f1) == (1, 1)
    assert whole.units == ("m",)
    assert whole.apls_interval == pytest.approx((1, 1))
    write_png(data / "mask" / "t0.png", road_mask(46))  # the label's road lies elsewhere
    less = evaluate(BrightIsRoad(), [data], settings).pooled.graph
    assert less is not None
    assert less.apls == pytest.approx(2 / 3)


def test_an_ignored_road_is_not_held_against_the_network(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "bright")
    mask = road_mask(24)
    mask[mask == 255] = 128
    write_png(data / "mask" / "t1.png", mask)
    result = evaluate(BrightIsRoad(), [data], EvalSettings(bootstrap=0, panels=0, graph=GRAPH))
    assert result.pooled.graph is not None
    assert result.pooled.graph.apls == 1
    assert result.pooled.graph.empty_pairs == 1
    assert any("1 of 3 samples have no road graph on either side" in note for note in result.notes)


def test_table_json_and_csv_hold_scores_and_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data_set(tmp_path / "bright", gsd_m=None)
    result = evaluate(
        BrightIsRoad(), [data], EvalSettings(bootstrap=20, panels=0, graph=GRAPH, threshold=0.3), tmp_path
    )
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document["settings"]["graph"]["apls"]["spacing"] == 5
    assert document["settings"]["graph"]["tracing"]["threshold"] == 0.3
    assert document["pooled"]["graph"]["APLS_interval_95"] == [1, 1]
    with (tmp_path / "samples.csv").open() as file:
        assert [row["apls"] for row in csv.DictReader(file)] == ["1.0"] * 3
    print_table(result)
    said = capsys.readouterr().out
    assert "road graphs" in said
    assert "control points every 5 px, snap 4 px" in said
    assert "distances of graph scores are pixels in 3 of 3" in said


def test_without_graph_nothing_of_it_is_written(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "bright")
    evaluate(BrightIsRoad(), [data], EvalSettings(bootstrap=0, panels=0), tmp_path)
    assert "apls" not in (tmp_path / "samples.csv").read_text()
    assert "graph" not in json.loads((tmp_path / "metrics.json").read_text())["pooled"]
