"""A run folder read back: the profile, the verdict and the frames, also of a run that was killed."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roadedge.errors import DataError
from roadedge.latency.clock import STAGES
from roadedge.latency.frame_table import FrameTable, read_frames, table_of
from roadedge.latency.profile import Profile, Warmup, profile_of
from roadedge.latency.summary import Summary
from roadedge.latency.verdict import Verdict

SCHEMA_VERSION = 1
KILLED = "the run did not end: metrics.json is missing, and all figures were worked out from frames.csv"
NOT_A_RUN = "expected the folder of a run of `roadedge infer`, with metrics.json or frames.csv in it"


@dataclass(frozen=True, slots=True)
class SavedRun:
    """A run as its folder tells it. `missing` says what is not there and what the report lacks for that."""

    folder: Path
    metrics: dict[str, Any]
    profile: Profile
    verdict: Verdict
    frames: FrameTable
    missing: tuple[str, ...] = ()


def load_run(folder: str | Path) -> SavedRun:
    """Read metrics.json and frames.csv of a run.

    Without metrics.json, which a run writes at its end, the profile is worked out from the frames and the verdict is
    INVALID; without frames.csv there are no single frames.

    Raises:
        DataError: neither is there, or what is there is broken or of an unknown version.
    """
    home = Path(folder).expanduser()
    if not home.is_dir():
        raise DataError(f"{folder} is not a folder; {NOT_A_RUN}")
    has_metrics, has_frames = (home / "metrics.json").is_file(), (home / "frames.csv").is_file()
    if not has_metrics and not has_frames:
        raise DataError(f"{folder} is not a run folder; {NOT_A_RUN}")
    frames = read_frames(home / "frames.csv") if has_frames else table_of([])
    missing = [] if has_frames else ["frames.csv is missing, and with it the charts of single frames"]
    if has_frames and not len(frames):
        missing.append("frames.csv holds no frame")
    if frames.unread:
        missing.append(f"{frames.unread} rows of frames.csv cannot be read and are left out")
    if has_metrics:
        metrics = _read_json(home / "metrics.json")
        check_schema(metrics, home / "metrics.json")
    else:
        missing.insert(0, KILLED)
        metrics = _of_a_killed_run(home, frames)
    try:
        profile, verdict = profile_from(metrics), Verdict.from_dict(metrics["verdict"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{home / 'metrics.json'} is damaged ({type(error).__name__}: {error}); {NOT_A_RUN}") from error
    return SavedRun(home, metrics, profile, verdict, frames, tuple(missing))


def check_schema(metrics: Any, path: Path) -> None:
    """Raise DataError where this is not the metrics.json of a latency run of a version known here."""
    if not isinstance(metrics, dict) or "schema_version" not in metrics:
        raise DataError(f"{path} has no schema_version; {NOT_A_RUN}")
    if metrics["schema_version"] != SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema_version {metrics['schema_version']!r} and this roadedge reads {SCHEMA_VERSION}; "
            "take the roadedge that wrote it"
        )
    if lacking := [name for name in ("verdict", "stages_ms", "age_ms") if not isinstance(metrics.get(name), dict)]:
        raise DataError(f"{path} has no {', '.join(lacking)}; {NOT_A_RUN}")


def profile_from(metrics: Mapping[str, Any]) -> Profile:
    """The profile that `Profile.to_dict` was written from; what older runs did not write is left empty.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: `metrics` is not what it gives.
    """
    warmup = metrics["warmup"]
    summaries = {
        name: Summary.from_dict(metrics.get(name) or {}) for name in ("age_ms", "skew_ms", "late_ms", "wait_ms")
    }
    stages = metrics["stages_ms"]
    return Profile(
        scenario=str(metrics["scenario"]),
        rate_hz=_number(metrics["rate_hz"]),
        policy=str(metrics["policy"]),
        model_load_ms=float(metrics["model_load_ms"]),
        warmup=Warmup(int(warmup["frames"]), bool(warmup["settled"]), _number(warmup["first_infer_ms"])),
        stages={stage: Summary.from_dict(stages[stage]) for stage in STAGES if stage in stages},
        age=summaries["age_ms"],
        residual=_number(metrics["residual"]),
        due=int(metrics["due"]),
        answered=int(metrics["answered"]),
        dropped_by={str(cause): int(count) for cause, count in metrics["dropped_by"].items()},
        misses=int(metrics["deadline_misses"]),
        max_gap_ms=_number(metrics["max_gap_ms"]),
        load=_number(metrics["load"]),
        duration_s=float(metrics["duration_s"]),
        skew=summaries["skew_ms"],
        image_only=int(metrics["image_only"]),
        paired=int(metrics.get("paired", 0)),
        unpaired=int(metrics.get("unpaired", 0)),
        late=summaries["late_ms"],
        wait=summaries["wait_ms"],
        device={part: Summary.from_dict(times) for part, times in (metrics.get("device_ms") or {}).items()},
        clock=str(metrics.get("capture_clock", "")),
    )  # fmt: skip


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _of_a_killed_run(folder: Path, frames: FrameTable) -> dict[str, Any]:
    done_s = frames.numbers["done_s"]
    duration_s = float(np.nanmax(done_s)) if np.isfinite(done_s).any() else 0.0
    profile = profile_of(frames.records(), _rate_of(frames), "not known", 0.0, duration_s)
    known = folder / "env.json"
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": Verdict((KILLED,)).to_dict(),
        "source": folder.name,
        **profile.to_dict(),
        "environment": _read_json(known) if known.is_file() else {},
    }


def _rate_of(frames: FrameTable) -> float | None:
    """The rate at which frames were due, where their clock is the run's schedule."""
    if Counter(frames.texts["clock"]).most_common(1)[:1] != [("schedule", len(frames))] or len(frames) < 2:
        return None
    step_s = float(np.median(np.diff(frames.numbers["capture_s"])))
    return float(f"{1 / step_s:.4g}") if step_s > 0 else None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused, parse_float=_finite)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}; {NOT_A_RUN}") from error


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is too large")
    return value
