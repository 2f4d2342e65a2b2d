"""What a run was asked to do and what it left behind: frames.csv, metrics.json, env.json, report.html."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json
from roadedge.errors import DataError, NonFiniteError, PartialFailureError, RunInvalidError
from roadedge.latency.drift import infer_drift
from roadedge.latency.machine import MachineWatch
from roadedge.latency.profile import Profile, profile_of
from roadedge.latency.report import write_report
from roadedge.latency.verdict import Verdict, gpu_processes_of, judge
from roadedge.metrics.pixel import PixelScores, score
from roadedge.runners.augmentation import Augmentation
from roadedge.stream.inputs import SourceOptions
from roadedge.stream.pipeline import Pipeline, Run
from roadedge.stream.plan import Plan
from roadedge.stream.sinks import side_by_side

SCHEMA_VERSION = 1
SAVES = ("mask", "overlay", "video", "csv", "geojson", "geotiff")
SEMI_SYNTHETIC = "semi-synthetic: image, truth and GPS points come from one simulation"


@dataclass(frozen=True, slots=True)
class InferOptions:
    """What a run was asked to do. `save` names some of SAVES; None takes what suits the source."""

    source: str
    model: str = "roadedge-s"
    inputs: SourceOptions = field(default_factory=SourceOptions)
    plan: Plan = field(default_factory=Plan)
    backend: str = "auto"
    precision: str | None = None
    threads: int | None = None
    save: tuple[str, ...] | None = None
    output: Path | None = None
    overwrite: bool = False
    command: str = "infer"
    accept_rejected: bool = False
    send: tuple[str, ...] = ()
    profile: bool = True
    augmentation: Augmentation | None = None


@dataclass(frozen=True, slots=True)
class InferResult:
    """What a run left behind. `scores` are those against a simulation's truth, labelled `SEMI_SYNTHETIC`."""

    folder: Path
    run: Run
    profile: Profile
    verdict: Verdict
    scores: PixelScores | None
    metrics: dict[str, Any]

    def check(self, require_valid: bool = False) -> None:
        """Raise what the exit code should say, now that all is written.

        Raises:
            PartialFailureError: frames of a folder failed.
            RunInvalidError: the run is INVALID and `require_valid` is set.
        """
        if self.run.failures:
            raise failure_of(self.run, self.folder)
        if require_valid and not self.verdict.valid:
            raise RunInvalidError(f"the run is INVALID: {'; '.join(self.verdict.reasons)}")


def failure_of(run: Run, folder: Path) -> DataError:
    """The one error of a single file, or PartialFailureError for some of many."""
    failures = run.failures
    if len(run.records) == 1:
        return failures[0]
    rest = f"; the results of the other {run.answered} are in {folder}" if run.answered else ""
    return PartialFailureError(f"{len(failures)} of {len(run.records)} frames failed, the first: {failures[0]}{rest}")


def conclude(
    options: InferOptions,
    pipeline: Pipeline,
    folder: Path,
    load_ms: float,
    facts: dict[str, Any],
    machine: MachineWatch | None,
    error: Exception | None = None,
) -> InferResult:
    """Sum up a run and write its files.

    Args:
        options: what was asked.
        pipeline: after `go`.
        folder: of the run.
        load_ms: how long loading the model took.
        facts: `source`, `runner`, `model`, `machine_load_before` and what else goes into metrics.json.
        machine: that watched the run, None where nothing is to be profiled: then there is no report.
        error: that ended the run, None where none did.

    Raises:
        OutputError: a file cannot be written.
    """
    run = pipeline.run
    plan = options.plan
    profile = profile_of(run.records, pipeline.rate_hz, plan.policy, load_ms, run.duration_s, pipeline.scenario)
    verdict = judge(
        profile,
        asked_s=plan.duration_s,
        interrupted=run.interrupted,
        backend_asked=options.backend,
        backend_used=facts["runner"]["backend"],
        accuracy_known=facts["model"]["accuracy"] is not None,
        machine_load=facts["machine_load_before"],
        throttled=None if machine is None else machine.throttled(),
        non_finite=int(isinstance(error, NonFiniteError)),
        infer_drift=infer_drift(run.records, profile.warmup.frames),
        rss_slope_mb_per_min=None if machine is None else facts["machine"]["rss_slope_mb_per_min"],
        gpu_processes=gpu_processes_of(facts["machine"]),
        ended_by=None if error is None or isinstance(error, NonFiniteError) else str(error),
    )
    scores = score(run.counts) if run.counts else None
    metrics = metrics_of(run, profile, verdict, scores, facts)
    write_json(folder / "metrics.json", metrics)
    if machine is None:
        return InferResult(folder, run, profile, verdict, scores, metrics)
    pictures = [(r.frame.name, side_by_side(r)) for r in (run.first, run.last) if r is not None]
    write_report(
        folder / "report.html",
        metrics,
        run.records,
        profile,
        verdict,
        pictures[-1:] if run.first is run.last else pictures,
    )
    return InferResult(folder, run, profile, verdict, scores, metrics)


def metrics_of(
    run: Run, profile: Profile, verdict: Verdict, scores: PixelScores | None, facts: dict[str, Any]
) -> dict[str, Any]:
    """The content of metrics.json."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict.to_dict(),
        **facts,
        "included": "decode, heat-map, preprocess, infer, postprocess, encode and write",
        "input_size": list(run.last.frame.sample.size) if run.last else None,
        "network_size": None if run.remarks.network_size is None else list(run.remarks.network_size),
        "batch": 1,
        **profile.to_dict(),
        "interrupted": run.interrupted,
        "notices": run.notices,
        "failures": [str(error) for error in run.failures],
        "outside_trained_gsd": run.remarks.outside_band,
        "outside_trained_density": run.remarks.outside_density,
        "road_fraction_of_last": run.last.mask.road_fraction if run.last else None,
        "scores": None if scores is None else {"label": SEMI_SYNTHETIC, **scores.to_dict()},
    }
