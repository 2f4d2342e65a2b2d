"""A benchmark from its options to its run folder, with a runner of make-believe; and short real ones."""

from __future__ import annotations

import getpass
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roadedge.runners
from roadedge.benchmark.against import measure_against
from roadedge.benchmark.options import BenchmarkOptions
from roadedge.benchmark.session import benchmark
from roadedge.cli import main
from roadedge.errors import OutputError, RoadEdgeError
from roadedge.preprocess import Feeds
from tests.benchmark.fakes import TimedRunner, options
from tests.latency.hand_clock import HandClock
from tests.stream.fakes import FakeRunner


class QuickRunner(FakeRunner):
    """Without a clock: as fast as it goes."""

    def windows_at_once(self, windows: int) -> int:
        return windows


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("roadedge.stream.flight.RADIUS_PX", 40)
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *_: QuickRunner())
    monkeypatch.setattr("roadedge.stream.session.sha256_of", lambda path: "ab" * 32)
    monkeypatch.setattr("roadedge.benchmark.progress.WARMUP_LEAST_S", 0.05)
    return tmp_path


def on_a_hand_clock(monkeypatch: pytest.MonkeyPatch, *service_ms: float, stop_at: int | None = None) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *_: TimedRunner(clock, *service_ms, stop_at=stop_at))
    monkeypatch.setattr("roadedge.benchmark.progress.WARMUP_LEAST_S", 3.0)
    return clock


def small(**changes: Any) -> BenchmarkOptions:
    return options(**{"source": "synth:64x64@30", **changes})


def test_a_run_leaves_its_files_and_an_exact_p90(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = on_a_hand_clock(monkeypatch, 25.0)
    found = benchmark(small(duration_s=10.0), clock=clock)
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "env.json", "frames.csv", "metrics.json", "report.html",
    ]  # fmt: skip
    metrics = json.loads((found.folder / "metrics.json").read_text())
    assert metrics["verdict"]["result"] == "VALID"
    assert metrics["age_ms"]["p90"] == pytest.approx(25.0)
    assert metrics["throughput_per_s"] == pytest.approx(40.0)
    assert metrics["schema_version"] == 1
    header = metrics["header"]
    assert header["artefact_sha256"] == "ab" * 32
    assert [header["scenario"], header["resolution_in"], header["included"]] == ["single", "64x64", "infer"]
    assert len(metrics["samples_ms"][0]) == 400
    assert "frame,capture_s" in (found.folder / "frames.csv").read_text()


def test_ctrl_c_leaves_a_partial_result_marked_invalid_and_130(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = on_a_hand_clock(monkeypatch, 25.0, stop_at=300)
    monkeypatch.setattr("roadedge.benchmark.session.HostClock", lambda: clock)
    assert main(["benchmark", "fake", "--source", "synth:64x64@30", "-q", "--slo", "p50=1ms"]) == 130
    metrics = json.loads(next(here.glob("runs/benchmark/*/metrics.json")).read_text())
    assert metrics["verdict"]["result"] == "INVALID"
    assert metrics["verdict"]["reasons"][0] == "it was interrupted"
    assert metrics["due"] == 299
    assert "INVALID" in capsys.readouterr().out


def test_a_missed_target_is_6_after_everything_is_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = on_a_hand_clock(monkeypatch, 25.0)
    monkeypatch.setattr("roadedge.benchmark.session.HostClock", lambda: clock)
    arguments = ["benchmark", "fake", "--source", "synth:64x64@30", "-q", "--duration", "20s", "-o", "out"]
    assert main([*arguments, "--slo", "p50=24ms,p99=26ms,max=20ms"]) == 6
    assert (here / "out/metrics.json").is_file()
    said = capsys.readouterr()
    assert said.out.count("SLO missed") == 2
    assert "SLO missed: p50=24ms: measured 25.00 ms" in said.out
    assert "SLO missed" not in said.err
    assert main([*arguments, "--overwrite", "--slo", "p50=25ms,p99=26ms,throughput=39/s"]) == 0


def test_a_target_that_is_met_in_an_invalid_run_is_6_too(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = on_a_hand_clock(monkeypatch, 25.0)
    monkeypatch.setattr("roadedge.benchmark.session.HostClock", lambda: clock)
    arguments = ["benchmark", "fake", "--source", "synth:64x64@30", "-q", "--duration", "1s"]
    assert main([*arguments, "--slo", "p50=26ms"]) == 6
    assert "the targets are met, but the run is INVALID: 40 frames measured" in capsys.readouterr().err
    assert main(arguments) == 0
    assert main([*arguments, "--require-valid"]) == 6


def test_json_is_all_that_stands_on_stdout(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "fake", "--source", "synth:64x64@30", "--duration", "300ms", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["kind"] == "roadedge benchmark"
    assert "fake on fake (CPU), fp32; single on synth:64x64@30" in said.err


def test_what_may_be_passed_on_names_no_person_host_or_folder(here: Path) -> None:
    out = here / "shared" / "result.json"
    found = benchmark(small(duration_s=0.2, submit=out, output=here / "mine"))
    text = out.read_text()
    private = [str(here), str(Path.home()), os.getcwd(), platform.node(), "mine", "command", str(Path(__file__).parent)]
    assert [word for word in private if word in text] == []
    assert getpass.getuser() == "root" or getpass.getuser() not in text
    passed_on = json.loads(text)
    assert passed_on["model"] == {"name": "fake", "sha256": "ab" * 32}
    assert passed_on["samples_ms"] == found.metrics["samples_ms"]
    assert passed_on["environment"]["processor"] == found.metrics["environment"]["processor"]
    assert passed_on["profile"]["age_ms"]["n"] == found.measured.profile.age.count


def test_files_of_a_source_are_not_named_by_their_folder(here: Path) -> None:
    import cv2

    (here / "tiles").mkdir()
    for name in "abc":
        cv2.imwrite(str(here / "tiles" / f"{name}.png"), np.full((64, 64, 3), 200, np.uint8))
    out = here / "result.json"
    found = benchmark(small(source=str(here / "tiles"), duration_s=0.2, include=("decode", "pre"), submit=out))
    assert found.metrics["header"]["source"] == "files: tiles"
    assert "tiles" not in out.read_text()
    assert found.measured.profile.stages["decode"].minimum > 0  # type: ignore[operator]
    assert found.measured.profile.answered > 3  # the three files again and again


def test_a_folder_or_file_that_cannot_be_written_is_found_before_the_model_is_opened(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise AssertionError("the model was opened")

    monkeypatch.setattr(roadedge.runners, "open_runner", fail)
    (here / "file").write_text("")
    with pytest.raises(OutputError, match="file/run"):
        benchmark(small(output=here / "file" / "run"))
    with pytest.raises(OutputError, match="it is a folder"):
        benchmark(small(submit=here))
    with pytest.raises(OutputError, match=r"file/x\.json"):
        benchmark(small(submit=here / "file" / "x.json"))
    assert list(here.glob("runs/benchmark/*")) == []


def test_a_disk_that_fills_up_loses_no_figure(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: Any) -> None:
        raise OutputError(f"cannot write {path}: the disk is full")

    monkeypatch.setattr("roadedge.benchmark.outcome.write_json", full)
    said: list[str] = []
    with pytest.raises(OutputError, match="the disk is full; measured was inference p90 "):
        benchmark(small(duration_s=0.2), said.append)
    assert any(line.startswith("inference p90") for line in said)


def test_a_network_that_returns_nan_is_invalid(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(QuickRunner):
        def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
            outputs = super().infer(feeds, logits)
            return {**outputs, "logits": np.full((1, 1, 32, 32), np.nan, np.float32)} if logits else outputs

    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *_: Broken())
    found = benchmark(small(duration_s=0.2))
    assert any("NaN" in reason for reason in found.verdict.reasons)


class Breaking(QuickRunner):
    """Fails at the fiftieth frame, and after that again."""

    def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
        if len(self.feeds) >= 50:
            raise RoadEdgeError("the GPU was lost")
        return super().infer(feeds, logits)


@pytest.mark.parametrize("scenario", ["single", "fixed-rate", "offline", "multi"])
def test_what_came_before_a_failure_is_written_and_the_failure_is_the_exit_code(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scenario: str
) -> None:
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *_: Breaking())
    arguments = ["--source", "synth:64x64@100", "--duration", "20s", "--scenario", scenario, "-q", "-o", "out"]
    assert main(["benchmark", "fake", *arguments]) == 1
    assert "error: the GPU was lost" in capsys.readouterr().err
    metrics = json.loads((here / "out/metrics.json").read_text())
    assert metrics["verdict"]["result"] == "INVALID"
    assert metrics["notes"][-1] == "it failed: the GPU was lost"
    if scenario != "multi":  # whose warm-up it was
        assert metrics["answered"] >= 40


def test_layers_that_fail_take_nothing_of_the_measurement_away(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["benchmark", "fake", "--source", "synth:64x64@30", "--duration", "200ms", "--layers", "-q"]
    assert main([*arguments, "-o", "out"]) == 2
    assert "fake tells no times of layers" in capsys.readouterr().err
    metrics = json.loads((here / "out/metrics.json").read_text())
    assert metrics["layers"] is None
    assert metrics["age_ms"]["n"] > 3


def test_a_network_that_fails_at_once_leaves_no_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead(QuickRunner):
        def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
            raise RoadEdgeError("the GPU was lost")

    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *_: Dead())
    for scenario in ("single", "fixed-rate", "offline", "multi"):
        with pytest.raises(RoadEdgeError, match="the GPU was lost"):
            benchmark(small(scenario=scenario, duration_s=1.0))
    assert list(here.glob("runs/benchmark/*")) == []


def test_ctrl_c_during_the_layers_keeps_the_measurement(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("roadedge.runners.layers.layer_times", stop)
    found = benchmark(small(duration_s=0.2, layers=True))
    assert found.interrupted
    assert found.metrics["layers"] is None
    assert found.measured.profile.age.count > 3


@pytest.mark.parametrize(("stops", "whole"), [((None, 550), 1), ((30, None), None), ((None, 120), None)])
def test_ctrl_c_in_a_turn_compares_the_turns_that_both_have_whole(
    here: Path, monkeypatch: pytest.MonkeyPatch, stops: tuple[int | None, int | None], whole: int | None
) -> None:
    clock, left = HandClock(), iter(stops)
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *_: TimedRunner(clock, 20.0, stop_at=next(left)))
    monkeypatch.setattr("roadedge.benchmark.progress.WARMUP_LEAST_S", 3.0)
    first, second, comparison = measure_against(small(duration_s=4.0, against="b"), clock=clock)
    assert first.interrupted or second.interrupted
    assert (None if comparison is None else comparison.difference.repeats) == whole
    assert (first.folder / "metrics.json").is_file()


def test_two_networks_take_turns(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    order: list[str] = []

    class Named(TimedRunner):
        def __init__(self, name: str, service_ms: float) -> None:
            super().__init__(clock, service_ms)
            self.title = name

        def infer(self, feeds: Feeds, logits: bool = False) -> Feeds:
            if order[-1:] != [self.title]:
                order.append(self.title)
            return super().infer(feeds, logits)

    times = {"a": 20.0, "b": 30.0}
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda model, *_: Named(model, times[model]))
    monkeypatch.setattr("roadedge.benchmark.progress.WARMUP_LEAST_S", 3.0)
    asked = BenchmarkOptions("a", source="synth:64x64@30", duration_s=4.0, against="b")
    first, second, comparison = measure_against(asked, clock=clock)
    assert order[:6] == ["a", "b", "a", "b", "a", "b"]
    assert comparison is not None
    assert comparison.difference.value_ms == pytest.approx(10.0)
    assert comparison.difference.repeats == 3
    assert [len(one) for one in first.measured.samples_ms] == [200] * 3
    assert [len(one) for one in second.measured.samples_ms] == [134] * 3
    assert first.folder.name == "A"
    assert first.verdict.valid
    assert first.measured.profile.age.count == 600
    assert main(["benchmark", "compare", str(first.folder), str(second.folder)]) == 0


def test_a_comparison_that_is_passed_on_names_no_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    monkeypatch.setattr(roadedge.runners, "open_runner", lambda *_: TimedRunner(clock, 20.0))
    out = here / "result.json"
    asked = BenchmarkOptions(
        str(here / "a.onnx"), source="synth:64x64@30", duration_s=2.0, against=str(here / "b.onnx"), submit=out
    )
    measure_against(asked, clock=clock)
    assert str(here) not in out.read_text()
    assert json.loads(out.read_text())["comparison"]["first"] == "a.onnx"


def test_unlike_back_ends_are_refused_before_turns_are_taken(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def opened(model: str, *_: Any) -> Any:
        runner = QuickRunner()
        runner.name = model
        return runner

    monkeypatch.setattr(roadedge.runners, "open_runner", opened)
    arguments = ["benchmark", "a", "--against", "b", "--source", "synth:64x64@30", "--duration", "100ms", "-q"]
    assert main(arguments) == 8
    assert "unlike conditions (backend: a | b)" in capsys.readouterr().err
    assert list(here.glob("runs/benchmark/*")) == []
    assert main([*arguments, "--force"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--slo", "p99=33"], 2),
        (["--scenario", "none"], 2),
        (["--duration", "-1s"], 2),
        (["--batch", "1"], 2),
        (["another"], 2),
        (["--source", "nothing.png"], 7),
        (["--source", "synth:64x64@10", "--scenario", "fixed-rate", "--rate", "20"], 2),
    ],
)
def test_what_makes_no_sense_costs_no_time_and_leaves_no_folder(here: Path, arguments: list[str], code: int) -> None:
    assert main(["benchmark", "fake", *arguments]) == code
    assert list(here.glob("runs/benchmark/*")) == []


@pytest.mark.parametrize("arguments", [["a.json"], ["a.json", "b.json", "--rate", "3"], ["a", "b", "--layers"]])
def test_compare_takes_two_results_and_measures_nothing(here: Path, arguments: list[str]) -> None:
    assert main(["benchmark", "compare", *arguments]) == 2


@pytest.mark.parametrize("scenario", ["single", "offline", "multi"])
def test_ctrl_c_at_the_very_first_frame_is_written_too(
    here: Path, monkeypatch: pytest.MonkeyPatch, scenario: str
) -> None:
    clock = on_a_hand_clock(monkeypatch, 25.0, stop_at=1)
    found = benchmark(small(scenario=scenario), clock=clock)
    assert found.interrupted
    assert json.loads((found.folder / "metrics.json").read_text())["age_ms"]["n"] == 0


def test_a_folder_of_turns_may_be_overwritten(here: Path) -> None:
    asked = {"duration_s": 0.1, "against": "b", "output": here / "out"}
    measure_against(small(**asked))
    assert json.loads((here / "out/metrics.json").read_text())["comparison"]["repeats"] == 3
    measure_against(small(**asked, overwrite=True))


@pytest.mark.parametrize("scenario", ["fixed-rate", "multi", "offline"])
def test_each_scenario_runs_on_the_hosts_clock(here: Path, scenario: str) -> None:
    more: dict[str, Any] = {"streams": 2, "rate_hz": 30.0} if scenario == "multi" else {}
    found = benchmark(small(scenario=scenario, duration_s=0.5, **more))
    assert found.measured.profile.answered > 5
    assert found.metrics["header"]["scenario"] == scenario
    assert (found.folder / "report.html").stat().st_size > 1000


def test_a_real_network_is_measured_and_broken_into_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("roadedge.benchmark.progress.WARMUP_MOST_S", 0.2)
    monkeypatch.setattr("roadedge.benchmark.progress.WARMUP_LEAST_S", 0.1)
    monkeypatch.setattr("roadedge.benchmark.progress.WARMUP_WINDOW", 1)
    monkeypatch.setattr("roadedge.stream.flight.RADIUS_PX", 40)
    arguments = ["--backend", "onnxruntime", "--threads", "1", "--duration", "300ms", "--layers", "--json", "-q"]
    assert main(["benchmark", "roadedge-s", *arguments]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["header"]["precision"] == "fp32"
    assert metrics["layers"]["sum_ms"] == pytest.approx(metrics["layers"]["whole_ms"], rel=0.25)
    assert metrics["age_ms"]["median"] > 1.0
    assert metrics["header"]["accuracy"]
