"""The accuracy gate: side by side on the same feeds, judged by the interval's lower end, and never by precision."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roadedge.cli import main
from roadedge.errors import AccuracyGateError, DataError, SpecMismatchError, UnknownNameError, UsageError
from roadedge.evaluation import EvalSettings
from roadedge.evaluation import candidates as candidates_module
from roadedge.evaluation.gate import Candidate, GateResult, parse_candidates, run_gate
from roadedge.evaluation.gate_report import gate_lines, gate_markdown, print_gate, table_rows, write_gate
from roadedge.evaluation.speed import TIMED, advice, compared, interleaved_ms
from roadedge.preprocess import Feeds
from roadedge.runners.base import CheckedRunner
from roadedge.spec import ModelSpec
from tests.evaluation.bright_roads import BrightIsRoad, write_data_set

SPEC = ModelSpec("bright", gsd_m=None, gsd_band_m=None, blank_rgb=(15, 15, 15))
Bench = Callable[..., GateResult]


class Faulty(BrightIsRoad):
    """Finds roads like `BrightIsRoad`, but for the last `lost` columns; NaN among the logits where asked for."""

    def __init__(self, lost: int = 0, nan: bool = False, spec: ModelSpec = SPEC, precision: str = "fp32") -> None:
        super().__init__(spec)
        self.lost, self.nan, self.precision, self.graph_precision = lost, nan, precision, precision

    def _run(self, feeds: Feeds, logits: bool) -> Feeds:
        out = super()._run(feeds, logits)
        if self.lost:
            out["probability"][..., -self.lost :] = 0
        out["logits"] = np.full((*out["probability"].shape[:1], 1, *out["probability"].shape[1:]), 1, np.float32)
        if self.nan:
            out["logits"][0, 0, 0, 0] = np.nan
        return out


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Run the gate on runners instead of files; the first is FP32."""
    data = write_data_set(tmp_path / "bright", (4, 14, 24, 34, 44, 50))

    def run(
        min_ratio: float = 0.99,
        roots: list[Path] | None = None,
        rounds: int = 1,
        draws: int = 60,
        **runners: CheckedRunner,
    ) -> GateResult:
        candidates = []
        for label, runner in runners.items():
            file = tmp_path / f"{label}.onnx"
            file.write_text(label)
            runner.file = str(file)
            candidates.append(Candidate(label, file))
        monkeypatch.setattr(candidates_module, "open_runner", lambda model, *rest, **named: runners[Path(model).stem])
        return run_gate(candidates, roots or [data], min_ratio, EvalSettings(bootstrap=draws), rounds=rounds)

    return run


def test_a_copy_passes_with_nothing_lost_and_a_damaged_network_is_rejected(bench: Bench) -> None:
    found = bench(FP32=Faulty(), FP16=Faulty(), INT8=Faulty(lost=8))
    for one in found.verdict("FP16").measured.values():
        assert (one.difference, one.ratio, one.ratio_interval, one.agreement) == (0, 1, (1, 1), 1)
    assert [found.passed(label) for label in ("FP32", "FP16", "INT8")] == [True, True, False]
    damaged = found.verdict("INT8").measured["clear"]
    assert damaged.ratio == pytest.approx(7 / 8, abs=0.01)
    assert damaged.agreement == pytest.approx(1 - 12 * 8 / 64**2, abs=0.01)


def test_the_error_names_candidate_condition_and_figures_and_ends_with_5(bench: Bench) -> None:
    found = bench(FP32=Faulty(), INT8=Faulty(lost=8))
    with pytest.raises(AccuracyGateError, match=r"INT8 \(INT8.onnx\): clear: G_IoU \d\d\.\d\d against \d") as caught:
        found.check()
    assert "0.99 is asked for" in str(caught.value)
    assert caught.value.exit_code == 5
    found.check(["FP32"])
    with pytest.raises(UnknownNameError, match="did you mean 'INT8'"):
        found.passed("INT")


def test_the_lower_end_decides_not_the_mean(bench: Bench) -> None:
    class LosesTwo(Faulty):
        """Half blind on the two samples of six whose road lies at the bottom."""

        def _run(self, feeds: Feeds, logits: bool) -> Feeds:
            out = super()._run(feeds, logits)
            if feeds["image"][0, 50:, :, 0].mean() > 100:
                out["probability"][..., -16:] = 0
            return out

    found = bench(FP32=Faulty(), INT8=LosesTwo())
    mean = found.verdict("INT8").measured["clear"]
    assert [worst.place for worst in mean.worst] == ["bright: t4", "bright: t5"]
    assert "  clear: most was lost at bright: t4 IoU 100.0 → " in "\n".join(gate_lines(found))
    assert mean.ratio_interval is not None
    assert mean.ratio_interval[0] < mean.ratio
    between = (mean.ratio_interval[0] + mean.ratio) / 2
    assert not bench(between, FP32=Faulty(), INT8=LosesTwo()).passed("INT8")
    assert (
        bench(mean.ratio_interval[0] - 1e-6, FP32=Faulty(), INT8=LosesTwo()).verdict("INT8").measured["clear"].kept > 0
    )


def test_nan_in_the_logits_is_found_although_the_mask_looks_right(bench: Bench) -> None:
    found = bench(FP32=Faulty(), FP16=Faulty(nan=True))
    assert found.verdict("FP16").measured["clear"].agreement == 1
    with pytest.raises(AccuracyGateError, match="NaN or infinite outputs on 6 samples"):
        found.check()


def test_nothing_passes_against_a_reference_that_holds_nan(bench: Bench) -> None:
    found = bench(FP32=Faulty(nan=True), FP16=Faulty())
    assert not found.passed("FP16")
    assert "cannot be compared with" in found.verdict("FP16").reasons[0]


def test_each_condition_is_fed_as_its_name_says_and_all_candidates_alike(bench: Bench) -> None:
    class Keeps(Faulty):
        def _release(self) -> None:
            pass

    one, other = Keeps(), Keeps()
    found = bench(rounds=0, FP32=one, FP16=other)
    assert list(found.conditions) == ["clear", "fog", "sparse", "image-only"]
    clear, fog, sparse, alone = one.seen[:4]
    assert fog["image"].mean() > clear["image"].mean()
    assert np.array_equal(fog["trajectory"], clear["trajectory"])
    assert 0 < np.count_nonzero(sparse["trajectory"]) < np.count_nonzero(clear["trajectory"])
    assert not alone["trajectory"].any()
    for ours, theirs in zip(one.seen, other.seen, strict=True):
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_a_network_of_images_alone_has_two_conditions_and_the_rest_is_named(bench: Bench) -> None:
    spec = ModelSpec("mono", ("image",), gsd_m=None, gsd_band_m=None)
    found = bench(FP32=Faulty(spec=spec), FP16=Faulty(spec=spec))
    assert list(found.conditions) == ["clear", "fog"]
    assert "sparse, image-only" in "\n".join(gate_lines(found))


def test_one_place_gives_no_interval_and_says_so(bench: Bench, tmp_path: Path) -> None:
    single = write_data_set(tmp_path / "single", (20,))
    found = bench(roots=[single], FP32=Faulty(), INT8=Faulty(lost=8))
    assert found.verdict("INT8").measured["clear"].ratio_interval is None
    assert not found.passed("INT8")
    assert "no interval" in "\n".join(gate_lines(found))


def test_few_samples_are_said_and_so_is_what_is_semi_synthetic(bench: Bench) -> None:
    found = bench(FP32=Faulty())
    told = "\n".join(gate_lines(found))
    assert "6 samples of 6 places are few" in told
    assert found.data == "semi-synthetic"
    assert "semi-synthetic" in gate_markdown(found)


def test_a_bad_sample_stops_the_gate(bench: Bench, tmp_path: Path) -> None:
    broken = write_data_set(tmp_path / "broken")
    (broken / "mask" / "t1.png").write_bytes(b"no picture")
    with pytest.raises(DataError):
        bench(roots=[broken], FP32=Faulty())


def test_networks_that_are_fed_differently_are_not_compared(bench: Bench) -> None:
    other = ModelSpec("bright", gsd_m=0.3, gsd_band_m=None)
    with pytest.raises(SpecMismatchError, match=r"FP16 and FP32 are fed differently: .*gsd_m"):
        bench(FP32=Faulty(), FP16=Faulty(spec=other))


@pytest.mark.parametrize("ratio", [0.0, 1.2, -1.0])
def test_a_ratio_that_is_none_is_refused(bench: Bench, ratio: float) -> None:
    with pytest.raises(UsageError, match="min-iou-ratio"):
        bench(ratio, FP32=Faulty())


def test_the_table_has_a_column_for_each_candidate_and_survives_json_and_markdown(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = bench(FP32=Faulty(), FP16=Faulty(precision="fp16"), INT8=Faulty(lost=8, precision="int8"))
    head, *rows = table_rows(found)
    assert head == ["", "FP32", "FP16", "INT8"]
    assert {len(row) for row in rows} == {4}
    assert rows[-1] == ["verdict", "reference", "passed", "REJECTED"]
    print_gate(found)
    printed = capsys.readouterr().out
    for part in (
        "clear: G_IoU",
        "fog: G_IoU",
        "sparse: G_IoU",
        "image-only: G_IoU",
        "file, MB",
        "ms here",
        "bright int8",
    ):
        assert part in printed
    written = write_gate(found, tmp_path / "out" / "gate-2.1")
    assert [path.name for path in written] == ["gate-2.1.json", "gate-2.1.md"]
    document = json.loads(written[0].read_text())
    assert [one["verdict"] for one in document["candidates"]] == ["passed", "passed", "rejected"]
    assert str(tmp_path) not in written[0].read_text()
    assert [path.name for path in write_gate(found, tmp_path / "out")] == ["gate.json", "gate.md"]
    assert (tmp_path / "out" / "gate.json").exists()


def test_labels_come_from_the_files_or_from_the_user(tmp_path: Path) -> None:
    names = ("a.onnx", "a.fp16.onnx", "a.int8.onnx", "a.int8-fp16.onnx")
    for name in names:
        (tmp_path / name).touch()
    found = parse_candidates([str(tmp_path / name) for name in names])
    assert [c.label for c in found] == ["FP32", "FP16", "INT8", "INT8+FP16"]
    assert parse_candidates([f"INT8-QAT={tmp_path / names[2]}"])[0].label == "INT8-QAT"
    with pytest.raises(UsageError, match="two candidates are called FP32"):
        parse_candidates([str(tmp_path / names[0])] * 2)


def test_calls_take_turns_and_only_settled_ones_are_timed() -> None:
    order: list[str] = []
    times = interleaved_ms({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert {name: len(values) for name, values in times.items()} == {"a": 2 * TIMED, "b": 2 * TIMED}
    assert "".join(order) == "ab" + "aaaaabbbbb" * 2


def test_speed_is_said_of_times_alone() -> None:
    fast, slow, close = [10.0] * 6, [14.0] * 6, [10.5] * 6
    assert compared("INT8", fast, "FP16", slow).startswith("INT8 is 40 % faster than FP16 on this device (1.40×")
    assert compared("INT8", slow, "FP16", fast).startswith("INT8 is 29 % slower than FP16 on this device")
    assert "cannot be told apart" in compared("INT8", [9.0, 9, 9, 11, 11, 11], "FP16", fast)
    assert advice("INT8", fast, "FP16", slow) is None
    assert advice("INT8", fast, "FP16", close) == "take FP16 on this device: INT8 gains less than 10 % here"
    assert advice("INT8", slow, "FP16", fast) is not None


def test_files_that_compute_alike_gain_nothing_whatever_the_clock_says(bench: Bench) -> None:
    same = Faulty()
    same.graph_precision = "fp16"
    found = bench(FP32=Faulty(), FP16=same)
    told = "\n".join(gate_lines(found))
    assert "FP16 and FP32 compute alike here (bright fp32): no gain in time" in told
    assert "FP16: a file of fp16, computed in fp32 by bright here" in told
    assert "faster" not in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["roadedge-s"], "alone"),
        (["roadedge-s", "roadedge-s:int8", "--mark", "--bootstrap", "0"], "leave --bootstrap 0 out"),
    ],
)
def test_what_would_judge_nothing_or_unsay_a_rejection_is_refused(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without intervals the mean decides, and marking by that would take a rejection back."""
    assert main(["gate", *arguments]) == 2
    assert says in capsys.readouterr().err
