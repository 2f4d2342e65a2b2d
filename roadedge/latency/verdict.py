"""VALID or INVALID: what a run may be quoted for. Each rule that failed is named, each that cannot be seen is n/a."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roadedge.latency.profile import RESIDUAL_WARNING, Profile
from roadedge.latency.summary import label, samples_needed

GPU_VARIATION = 0.025  # most of the GPU's time that may be its standard deviation
ENQUEUE_SHARE = 0.8  # of the GPU's time; above it the processor holds the GPU up (trtexec's first self-check)
DRIFT = 1.05  # median of the last minute by that of the first; above it the device slows down as it warms up
RSS_SLOPE_MB_PER_MIN = 1.0
RSS_LEAST_S = 120.0  # a shorter run is still filling its caches: its slope says nothing
BUSY = 0.5  # runnable processes per processor; above it the figures are those of a shared machine
DIRECTIONS = {"h2d": "to the GPU", "d2h": "from the GPU"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run may be quoted. `reasons` say why not, `not_applicable` what could not be seen, `held` what held."""

    reasons: tuple[str, ...]
    not_applicable: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    held: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """No rule failed."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "result": "VALID" if self.valid else "INVALID",
            "reasons": list(self.reasons),
            "not_applicable": list(self.not_applicable),
            "warnings": list(self.warnings),
            "held": list(self.held),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Verdict:
        """The inverse of `to_dict`."""
        lists = (values.get(name) or () for name in ("reasons", "not_applicable", "warnings", "held"))
        return cls(*(tuple(str(line) for line in lines) for lines in lists))


def judge(
    profile: Profile,
    *,
    asked_s: float | None,
    interrupted: bool,
    backend_asked: str,
    backend_used: str,
    accuracy_known: bool,
    machine_load: float | None = None,
    throttled: Sequence[str] | None = None,
    gpu_processes: int | None = None,
    non_finite: int = 0,
    infer_drift: float | None = None,
    rss_slope_mb_per_min: float | None = None,
    ended_by: str | None = None,
) -> Verdict:
    """Hold a run against the eight rules.

    Args:
        profile: of the run.
        asked_s: how long it was to last, None where nothing was asked.
        interrupted: it was stopped by hand.
        backend_asked: `auto` or a name.
        backend_used: the runner's name.
        accuracy_known: scores of these very bytes of the model stand in its sidecar.
        machine_load: runnable processes per processor before the run; None where the system does not say.
        throttled: why clocks were held down during the run, empty for never; None where it cannot be seen.
        gpu_processes: other processes that used the GPU during the run; None where they cannot be seen.
        non_finite: frames whose output held NaN or infinity, or errors for that reason that ended the run.
        infer_drift: median inference of the last minute by that of the first, None for a run under two minutes; see
            `drift.infer_drift`.
        rss_slope_mb_per_min: growth of the process's memory; None where it was not watched.
        ended_by: the error that ended the run before its time, None where none did.
    """
    scale = _Scale([], [], [])
    _check_length(scale, profile, asked_s, interrupted, ended_by)
    _check_machine(scale, profile, throttled, gpu_processes)
    scale.rule(
        backend_asked in ("auto", backend_used),
        f"it ran on {backend_used} and {backend_asked} was asked for",
        f"it ran on {backend_used}, {'chosen by itself' if backend_asked == 'auto' else 'as asked'}",
    )
    scale.rule(
        not non_finite,
        f"the network returned NaN or infinity for {non_finite} frames",
        "no output held NaN or infinity",
    )
    scale.rule(
        accuracy_known,
        "the accuracy of this very model file is not known; score it with `roadedge eval`",
        "the accuracy of this very model file is known",
    )
    warned = (*_settling(profile, machine_load, infer_drift, rss_slope_mb_per_min), *_device_checks(profile))
    return Verdict(tuple(scale.failed), tuple(scale.unseen), warned, tuple(scale.held))


def frames_text(count: int) -> str:
    """`1 frame`, `2 frames`."""
    return f"{count} frame" if count == 1 else f"{count} frames"


def gpu_processes_of(machine: Mapping[str, Any] | None) -> int | None:
    """The most other processes seen on the GPU at once, from `MachineWatch.to_dict`; None where they cannot be seen."""
    seen = ((machine or {}).get("summary") or {}).get("gpu_other_processes") or {}
    return None if seen.get("max") is None else int(seen["max"])


@dataclass(frozen=True, slots=True)
class _Scale:
    failed: list[str]
    held: list[str]
    unseen: list[str]

    def rule(self, holds: bool, why_not: str, why: str) -> None:
        (self.held if holds else self.failed).append(why if holds else why_not)


def _check_length(
    scale: _Scale, profile: Profile, asked_s: float | None, interrupted: bool, ended_by: str | None
) -> None:
    if interrupted:
        scale.failed.append("it was interrupted")
    if ended_by is not None:
        scale.failed.append(f"an error ended it: {ended_by}")
    lasted = f"it lasted {profile.duration_s:.1f} s"
    if asked_s is None:
        scale.held.append(f"{lasted}; no length was asked for")
    else:
        whole, asked = profile.duration_s >= asked_s, f"{asked_s:.4g}"
        scale.rule(whole, f"{lasted} of the {asked} s asked for", f"{lasted}, {asked} s were asked for")
    percentile = 90.0 if profile.scenario in ("single", "offline") else 99.0
    needed = samples_needed(percentile)
    counted = f"{frames_text(profile.age.count)} measured; {label(percentile)} takes at least {needed}"
    scale.rule(profile.age.count >= needed, counted, counted)


def _check_machine(scale: _Scale, profile: Profile, throttled: Sequence[str] | None, gpu_processes: int | None) -> None:
    if throttled is None:
        scale.unseen.append("throttling (no readable throttle state on this machine)")
    else:
        scale.rule(not throttled, f"the machine throttled: {', '.join(throttled)}", "the machine did not throttle")
    gpu = profile.device.get("gpu")
    if gpu is None or gpu.variation is None:
        scale.unseen.append("variation of the GPU's time (no GPU's time was taken)")
    else:
        varies = f"the GPU's time varies by {gpu.variation:.1%} of its mean"
        scale.rule(gpu.variation <= GPU_VARIATION, f"{varies}, over {GPU_VARIATION:.1%}; lock its clocks", varies)
    if gpu_processes is None:
        why = "no GPU's time was taken" if gpu is None else "the driver does not list them here"
        scale.unseen.append(f"other processes on the GPU ({why})")
    else:
        scale.rule(gpu_processes == 0, f"other processes on the GPU: {gpu_processes}", "no other process on the GPU")


def _settling(
    profile: Profile, machine_load: float | None, infer_drift: float | None, rss_slope_mb_per_min: float | None
) -> list[str]:
    lines = []
    if machine_load is not None and machine_load > BUSY:
        lines.append(f"the machine was busy before the run: {machine_load:.1f} runnable processes for each processor")
    if not profile.warmup.settled:
        count = profile.warmup.frames
        left_out = "only the first frame is" if count == 1 else f"{count} frames are" if count else "none is"
        lines.append(
            f"the inference time did not settle (3 s, then two like medians of 50 frames); {left_out} left out"
        )
    if infer_drift is not None and infer_drift > DRIFT:
        lines.append(
            f"thermally limited: inference took {infer_drift:.2f} times as long in the last minute as at first"
        )
    if profile.residual is not None and profile.residual > RESIDUAL_WARNING:
        lines.append(f"{profile.residual:.0%} of the time between capture and result belongs to no stage")
    if profile.load is not None and profile.load >= 1:
        lines.append(f"load {profile.load:.2f}: the slowest stage takes longer than a frame's period")
    grows = rss_slope_mb_per_min is not None and rss_slope_mb_per_min > RSS_SLOPE_MB_PER_MIN
    if grows and profile.duration_s >= RSS_LEAST_S:
        lines.append(f"the process's memory grew by {rss_slope_mb_per_min:.1f} MB a minute")
    return lines


def _device_checks(profile: Profile) -> list[str]:
    """What trtexec warns of: the processor or the transfers hold the GPU up.

    Source: TensorRT, samples/common/sampleReporting.cpp, which compares medians.
    """
    gpu = profile.device.get("gpu")
    if gpu is None or not gpu.median:
        return []
    lines = []
    enqueue = profile.device.get("enqueue")
    if enqueue is not None and (enqueue.median or 0.0) > ENQUEUE_SHARE * gpu.median:
        lines.append(
            f"enqueueing takes {enqueue.median:.2f} ms and the GPU {gpu.median:.2f} ms: the processor holds it up; "
            "try a CUDA graph"
        )
    for part, where in DIRECTIONS.items():
        times = profile.device.get(part)
        if times is not None and (times.median or 0.0) >= gpu.median:
            lines.append(f"the transfer {where} takes {times.median:.2f} ms and the GPU only {gpu.median:.2f} ms")
    return lines
