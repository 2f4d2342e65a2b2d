"""What a run is to do with time: rate, end, and what becomes of frames that are late."""

from __future__ import annotations

from dataclasses import dataclass

from roadedge.errors import UsageError

POLICIES = "latest, all or max-age:MS"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to go on, and what to do with frames that are late, bad or outside the trained band.

    `policy` is `latest` (a newer frame takes the place of one that waits), `all` (each is answered, however late), or
    `max-age:MS` (one older than that is not worked on any more). With `realtime`, frames of a file are due at their own
    presentation times.
    """

    policy: str = "latest"
    rate_hz: float | None = None  # None: the source's own, or as fast as they are answered
    max_frames: int | None = None
    duration_s: float | None = None
    threshold: float | None = None  # None: the model's
    strict: bool = False
    realtime: bool = False

    def __post_init__(self) -> None:
        for name, value in (("rate", self.rate_hz), ("duration", self.duration_s), ("max-frames", self.max_frames)):
            if value is not None and not 0 < value < 1e9:
                raise UsageError(f"--{name} must be positive, got {value}")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise UsageError(f"--threshold must lie between 0 and 1, got {self.threshold}")
        if self.policy not in ("latest", "all") and self.max_age_ms is None:
            raise UsageError(f"--policy is {POLICIES}, got {self.policy!r}")

    @property
    def max_age_ms(self) -> float | None:
        """Milliseconds after the intended capture, beyond which a frame is not worked on; None without such a limit."""
        kind, _, number = self.policy.partition(":")
        try:
            limit_ms = float(number.removesuffix("ms"))
        except ValueError:
            return None
        return limit_ms if kind == "max-age" and 0 < limit_ms < 1e9 else None


def parse_rate(text: str | None) -> tuple[float | None, bool]:
    """`30` as (30.0, False); `pts`, the frames' own presentation times, as (None, True); raises UsageError."""
    if text is None or text == "pts":
        return None, text == "pts"
    try:
        return float(text), False
    except ValueError:
        raise UsageError(f"--rate is frames a second, or pts for a video's own times; got {text!r}") from None
