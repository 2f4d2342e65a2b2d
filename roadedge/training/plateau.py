"""What a training does when evaluations bring nothing better: it cuts its rate, and ends before its last step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from roadedge.errors import RecipeError


@dataclass(frozen=True, slots=True)
class PlateauSpec:
    """Counted are evaluations in a row, every `evaluate_every` steps, without a better G_IoU on what is set aside."""

    cut_after: int = 0  # so many of them since the best or the last cut cut the rate; 0: never
    factor: float = 0.1  # of the rate, for each cut
    restart: bool = False  # a cut sets the rate to lr x factor for each cut, however low the schedule had it, and the
    # schedule goes on from there: as torch's cosine does when another hand sets the rate, so CMIPNet
    stop_after: int = 0  # so many since the best end the training; 0: never

    def __post_init__(self) -> None:
        for name in ("cut_after", "stop_after"):
            if getattr(self, name) < 0:
                raise RecipeError(f"plateau.{name} must be 0 (never) or more evaluations, got {getattr(self, name)}")
        if not 0 < self.factor < 1:
            raise RecipeError(f"plateau.factor must lie between 0 and 1, such as 0.1, got {self.factor}")

    @property
    def watches(self) -> bool:
        """Whether evaluations decide about anything but the best checkpoint."""
        return self.cut_after > 0 or self.stop_after > 0


@dataclass(slots=True)
class Plateau:
    """How long a run waits for something better, and its cuts so far; part of the state that it resumes from.

    It is counted from scores that all processes have alike, so all decide alike.
    """

    cuts: int = 0
    cut_at: int = 0  # steps done at the last cut
    since_cut: int = 0  # evaluations without a better one since the best or the last cut
    since_best: int = 0

    def note(self, spec: PlateauSpec, better: bool, step: int) -> bool:
        """Count an evaluation after `step` steps; returns whether the rate is cut from here on."""
        self.since_best = 0 if better else self.since_best + 1
        self.since_cut = 0 if better else self.since_cut + 1
        if not spec.cut_after or self.since_cut < spec.cut_after:
            return False
        self.cuts, self.cut_at, self.since_cut = self.cuts + 1, step, 0
        return True

    def ended(self, spec: PlateauSpec) -> bool:
        """Whether the training ends here."""
        return 0 < spec.stop_after <= self.since_best

    def share(self, spec: PlateauSpec) -> float:
        """What the cuts have left of the rate."""
        return math.pow(spec.factor, self.cuts)
