"""Evaluation scores the deployed path, tells bad samples, and labels every score on simulated trajectories."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from roadedge.data.corrupt import parse_corruptions
from roadedge.errors import DataError, PartialFailureError, UsageError
from roadedge.evaluation import EvalResult, EvalSettings, evaluate, print_table
from roadedge.imagery import write_png
from roadedge.preprocess import Feeds
from roadedge.spec import ModelSpec
from tests.evaluation.bright_roads import BrightIsRoad, road_mask, write_data_set, write_sample


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data_set(tmp_path / "bright")


def settings(**changes: object) -> EvalSettings:
    return EvalSettings(**{"bootstrap": 50, "panels": 0, **changes})  # type: ignore[arg-type]


def test_a_network_that_says_the_truth_scores_one(data: Path) -> None:
    result = evaluate(BrightIsRoad(), [data], settings())
    scores = result.pooled.scores
    assert (scores.samples, scores.g_iou, scores.a_iou, scores.a_iou_batch8, scores.f1) == (3, 1, 1, 1, 1)
    assert result.pooled.interval == (1, 1)


def test_ignored_pixels_do_not_count(data: Path) -> None:
    mask = road_mask(24)
    mask[24:30] = 128  # half of what is bright
    write_png(data / "mask" / "t1.png", mask)
    result = evaluate(BrightIsRoad(), [data], settings())
    assert result.pooled.scores.g_iou == 1
    assert result.pooled.scores.counts.ignored == 6 * 64


@pytest.mark.parametrize("gsd_m", [0.23, 0.92, None])
def test_a_sample_of_another_resolution_is_scored_on_its_own_grid(tmp_path: Path, gsd_m: float | None) -> None:
    data = write_data_set(tmp_path / "other", gsd_m=gsd_m)
    runner = BrightIsRoad(ModelSpec("bright", gsd_band_m=(0.2, 1.0)))
    result = evaluate(runner, [data], settings(inputs="image"))
    counts = result.pooled.scores.counts
    assert counts.tp + counts.fp + counts.fn + counts.tn == 3 * 64 * 64
    assert result.pooled.scores.g_iou > 0.9
    assert runner.seen[0]["image"].shape[1] == {0.23: 32, 0.92: 128, None: 64}[gsd_m]


def test_what_is_not_fed_is_blank(data: Path) -> None:
    runner = BrightIsRoad()
    evaluate(runner, [data], settings(inputs="image"))
    assert all((feeds["trajectory"] == 0).all() and feeds["image"].max() == 240 for feeds in runner.seen)
    runner.seen.clear()
    result = evaluate(runner, [data], settings(inputs="trajectory"))
    assert all((feeds["image"] == 15).all() and feeds["trajectory"].max() > 0 for feeds in runner.seen)
    assert 0 < result.pooled.scores.recall < 0.5
    assert [row.points for row in result.rows] == [20, 20, 20]


def test_corruptions_reach_the_network_and_stand_in_the_record(data: Path) -> None:
    runner = BrightIsRoad()
    chosen = settings(corruptions=parse_corruptions(["fog:1,points:0.25"]))
    result = evaluate(runner, [data], chosen)
    assert min(feeds["image"].min() for feeds in runner.seen) > 120
    assert [row.points for row in result.rows] == [5, 5, 5]
    assert result.settings["corruptions"] == ["fog:1", "points:0.25"]
    assert result.pooled.scores.precision < 0.5
    again = evaluate(BrightIsRoad(), [data], chosen)
    assert [row.counts for row in again.rows] == [row.counts for row in result.rows]


def test_a_corruption_of_what_is_not_fed_is_refused(data: Path) -> None:
    with pytest.raises(UsageError, match="changes the image, which is not fed"):
        evaluate(BrightIsRoad(), [data], settings(inputs="trajectory", corruptions=parse_corruptions(["fog:0.5"])))
    with pytest.raises(UsageError, match="would feed it nothing"):
        evaluate(BrightIsRoad(ModelSpec("b", ("image",))), [data], settings(inputs="trajectory"))


def test_several_sets_are_scored_apart_and_pooled(data: Path, tmp_path: Path) -> None:
    other = write_data_set(tmp_path / "dim", tops=(8, 40))
    write_png(other / "mask" / "t0.png", road_mask(30))  # the label disagrees with the image
    result = evaluate(BrightIsRoad(), [data, other], settings())
    assert [(s.name, s.scores.samples) for s in result.sets] == [("bright", 3), ("dim", 2)]
    assert result.sets[0].scores.g_iou == 1
    assert result.sets[1].scores.g_iou < 1
    assert result.pooled.scores.counts == result.sets[0].scores.counts + result.sets[1].scores.counts
    assert result.pooled.places == 5  # t0 of one set is not t0 of the other


def test_the_threshold_is_used_and_recorded(data: Path) -> None:
    result = evaluate(BrightIsRoad(), [data], settings(inputs="image", threshold=0.97))  # 240 / 255 = 0.94
    assert result.pooled.scores.recall == 0
    assert result.settings["threshold"] == 0.97
    assert evaluate(BrightIsRoad(), [data], settings()).settings["threshold"] == 0.5


def test_a_bad_sample_is_told_and_the_rest_goes_on(data: Path) -> None:
    whole = (data / "image" / "t1.png").read_bytes()
    (data / "image" / "t1.png").write_bytes(whole[: len(whole) // 2])
    result = evaluate(BrightIsRoad(), [data], settings())
    assert [row.id for row in result.rows] == ["t0", "t2"]
    assert [(f.set, f.id) for f in result.failures] == [("bright", "t1")]
    assert "t1.png" in result.failures[0].error
    with pytest.raises(PartialFailureError, match="1 of 3 samples failed") as caught:
        result.check_complete()
    assert caught.value.exit_code == 8
    with pytest.raises(DataError, match=r"t1\.png"):
        evaluate(BrightIsRoad(), [data], settings(strict=True))


def test_without_one_good_sample_there_is_no_score(data: Path) -> None:
    for path in (data / "image").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 3 samples"):
        evaluate(BrightIsRoad(), [data], settings())


def test_an_untrained_resolution_is_noted_and_under_strict_refused(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "fine", gsd_m=0.05)
    runner = BrightIsRoad(ModelSpec("bright", gsd_m=None))
    result = evaluate(runner, [data], settings())
    assert any("3 of 3 samples lie outside the 0.3 to 0.7 m" in note for note in result.notes)
    with pytest.raises(DataError, match="trained on"):
        evaluate(runner, [data], settings(strict=True))


@pytest.mark.parametrize(("band", "noted"), [((1e3, 1e4), False), ((5e3, 1e4), True), ((10.0, 1e3), True)])
def test_an_untrained_density_is_noted(data: Path, band: tuple[float, float], noted: bool) -> None:
    spec = ModelSpec("bright", density_band_per_mpx=band)  # 20 points on 64 x 64 pixels are 4883 a megapixel
    notes = evaluate(BrightIsRoad(spec), [data], settings()).notes
    assert any("3 of 3 samples hold more or fewer points" in note for note in notes) is noted


def test_samples_without_points_are_noted(data: Path) -> None:
    (data / "split.csv").write_text(
        "image,mask,trajectory,split\nimage/t0.png,mask/t0.png,,val\nimage/t1.png,mask/t1.png,trajectory/t1.csv,val\n"
    )
    result = evaluate(BrightIsRoad(), [data], settings())
    assert any(note.startswith("1 of 2 samples have no trajectory") for note in result.notes)


def test_the_files_hold_what_was_found(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    write_png(data / "mask" / "t1.png", road_mask(30))
    result = evaluate(BrightIsRoad(), [data], settings(panels=2), folder, identity={"file": "b.onnx", "sha256": "ab"})
    document = json.loads((folder / "metrics.json").read_text())
    assert document == json.loads(json.dumps(result.to_dict()))
    assert document["schema_version"] == 1
    assert document["pooled"]["G_IoU"] == result.pooled.scores.g_iou
    assert document["model"]["sha256"] == "ab"
    assert document["model"]["backend"] == "bright"
    assert document["environment"]["python"]
    with (folder / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["t0", "t1", "t2"]
    assert float(rows[1]["iou"]) == result.rows[1].counts.iou < 1
    panels = sorted(path.name for path in (folder / "panels").iterdir())
    assert panels == ["001_bright_t1.png", "002_bright_t0.png", "sheet.png"]  # the worst is first


def test_what_was_scored_before_an_interruption_is_written(data: Path, tmp_path: Path) -> None:
    class Interrupted(BrightIsRoad):
        def _run(self, feeds: Feeds, logits: bool) -> Feeds:
            if len(self.seen) == 2:
                raise KeyboardInterrupt
            return super()._run(feeds, logits)

    with pytest.raises(KeyboardInterrupt, match="2 samples were scored, see"):
        evaluate(Interrupted(), [data], settings(), tmp_path)
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document["complete"] is False
    assert [row["id"] for row in document["samples"]] == ["t0", "t1"]


def printed(result: EvalResult, capsys: pytest.CaptureFixture[str]) -> str:
    print_table(result)
    return capsys.readouterr().out


def test_trajectories_of_unknown_origin_are_labelled_wherever_a_score_stands(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = evaluate(BrightIsRoad(), [data], settings(), tmp_path)
    assert "semi-synthetic" in printed(result, capsys)
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document["semi_synthetic"] is True
    assert document["pooled"]["data"] == document["sets"]["bright"]["data"] == "semi-synthetic"
    assert (tmp_path / "samples.csv").read_text().count(",semi-synthetic,") == 3


@pytest.mark.parametrize(
    ("declared", "by_user", "inputs", "label"),
    [
        ("", False, "both", "semi-synthetic"),
        ("simulated", False, "both", "semi-synthetic"),
        ("simulated", True, "both", "semi-synthetic"),  # the data set knows better than an option
        ("measured", False, "both", "measured"),
        ("", True, "both", "measured"),
        ("", False, "trajectory", "semi-synthetic"),
        ("", False, "image", "no trajectories fed"),
    ],
)
def test_who_declares_what(data: Path, declared: str, by_user: bool, inputs: str, label: str) -> None:
    if declared:
        (data / "dataset.toml").write_text(f'trajectories = "{declared}"\n')
    result = evaluate(BrightIsRoad(), [data], settings(inputs=inputs, measured_trajectories=by_user))
    assert result.sets[0].data == result.pooled.data == result.rows[0].data == label


def test_one_simulated_set_labels_the_pool(data: Path, tmp_path: Path) -> None:
    real = write_data_set(tmp_path / "real")
    (real / "dataset.toml").write_text('trajectories = "measured"\n')
    result = evaluate(BrightIsRoad(), [real, data], settings())
    assert [s.data for s in result.sets] == ["measured", "semi-synthetic"]
    assert result.pooled.data == "semi-synthetic"


def test_places_not_pictures_make_the_interval(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "three-views", tops=(8,))
    for name in ("a", "b"):
        write_sample(data, name, road_mask(8))
    lines = [f"image/{n}.png,mask/t0.png,trajectory/t0.csv,val" for n in ("t0", "a", "b")]
    (data / "split.csv").write_text("image,mask,trajectory,split\n" + "\n".join(lines) + "\n")
    result = evaluate(BrightIsRoad(), [data], settings())
    assert (result.pooled.scores.samples, result.pooled.places, result.pooled.interval) == (3, 1, None)


def test_scores_are_numbers_not_numpy(data: Path) -> None:
    row = evaluate(BrightIsRoad(), [data], settings()).rows[0].to_dict()
    assert not any(isinstance(value, np.generic) for value in row.values())
