"""VALID or INVALID: what a run may be quoted for. Each rule that failed is named, each that cannot be seen is n/a."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from roadedge.latency.profile import RESIDUAL_WARNING, Profile
from roadedge.latency.summary import label, samples_needed

BUSY = 0.5  # runnable processes per processor; above it the figures are those of a shared machine
NOT_SEEN_HERE = (
    "throttling (no readable throttle state on this machine)",
    "variation of the GPU's time (no GPU was used)",
    "other processes on the GPU (no GPU was used)",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run may be quoted. `reasons` say why not, `not_applicable` what could not be seen."""

    reasons: tuple[str, ...]
    not_applicable: tuple[str, ...] = NOT_SEEN_HERE
    warnings: tuple[str, ...] = ()

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
        }


def judge(
    profile: Profile,
    *,
    asked_s: float | None,
    interrupted: bool,
    backend_asked: str,
    backend_used: str,
    accuracy_known: bool,
    machine_load: float | None = None,
) -> Verdict:
    """Hold a run against the rules.

    Args:
        profile: of the run.
        asked_s: how long it was to last, None where nothing was asked.
        interrupted: it was stopped by hand.
        backend_asked: `auto` or a name.
        backend_used: the runner's name.
        accuracy_known: scores of these very bytes of the model stand in its sidecar.
        machine_load: runnable processes per processor before the run; None where the system does not say.
    """
    reasons = []
    if interrupted:
        reasons.append("it was interrupted")
    if asked_s is not None and profile.duration_s < asked_s:
        reasons.append(f"it lasted {profile.duration_s:.1f} s of the {asked_s:g} s asked for")
    percentile = 99.0 if profile.scenario == "fixed-rate" else 90.0
    if profile.age.count < samples_needed(percentile):
        reasons.append(
            f"{profile.age.count} frames measured; {label(percentile)} takes at least {samples_needed(percentile)}"
        )
    if backend_asked not in ("auto", backend_used):
        reasons.append(f"it ran on {backend_used} and {backend_asked} was asked for")
    if not accuracy_known:
        reasons.append("the accuracy of this very model file is not known; score it with `roadedge eval`")
    return Verdict(tuple(reasons), warnings=tuple(_warnings(profile, machine_load)))


def _warnings(profile: Profile, machine_load: float | None) -> list[str]:
    lines = []
    if machine_load is not None and machine_load > BUSY:
        lines.append(f"the machine was busy before the run: {machine_load:.1f} runnable processes for each processor")
    if not profile.warmup.settled:
        left_out = "only the first frame is" if profile.warmup.frames == 1 else f"{profile.warmup.frames} frames are"
        lines.append(
            f"the inference time did not settle (3 s, then two like medians of 50 frames); {left_out} left out"
        )
    if profile.residual is not None and profile.residual > RESIDUAL_WARNING:
        lines.append(f"{profile.residual:.0%} of the time between start and result belongs to no stage")
    if profile.load is not None and profile.load >= 1:
        lines.append(f"load {profile.load:.2f}: the slowest stage takes longer than a frame's period")
    return lines
