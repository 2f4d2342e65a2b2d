"""APLS, TOPO and junctions chosen together and counted of one sample; `graph_sets` sums them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from roadedge.errors import UsageError
from roadedge.metrics.apls import EMPTY_RULE as APLS_EMPTY_RULE
from roadedge.metrics.apls import AplsScore, AplsSettings, apls
from roadedge.metrics.topo import EMPTY_RULE as MATCHES_EMPTY_RULE
from roadedge.metrics.topo import Matches, TopoScore, TopoSettings, junctions, topo
from roadedge.roadgraph.graph import RoadGraph
from roadedge.roadgraph.trace import TraceOptions

JUNCTION_TOLERANCE = 10.0


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """Which graph scores are wanted (None: not) and all that they hang on.

    Distances are metres where the ground sample distance is known, else pixels. `tracing` makes graphs of masks.
    """

    apls: AplsSettings | None = field(default_factory=AplsSettings)
    topo: TopoSettings | None = field(default_factory=TopoSettings)
    junction_tolerance: float | None = JUNCTION_TOLERANCE
    tracing: TraceOptions = field(default_factory=TraceOptions)

    def __post_init__(self) -> None:
        if self.junction_tolerance is not None and not 0 <= self.junction_tolerance < np.inf:
            raise UsageError(f"the tolerance of junctions must be zero or more, got {self.junction_tolerance}")

    def at(self, threshold: float) -> GraphSettings:
        """The same with roads traced from this probability on, to which a higher `low_threshold` falls.

        Raises:
            UsageError: it lies outside (0, 1).
        """
        if not 0 < threshold < 1:
            raise UsageError(f"the threshold must lie between 0 and 1, got {threshold:g}")
        low = min(threshold, self.tracing.low_threshold)
        return replace(self, tracing=replace(self.tracing, threshold=threshold, low_threshold=low))

    @property
    def any(self) -> bool:
        """Whether any score is wanted."""
        return self.apls is not None or self.topo is not None or self.junction_tolerance is not None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, the rules for empty graphs among them."""
        chosen: dict[str, Any] = {}
        if self.apls is not None:
            chosen["apls"] = {**_values(self.apls), "empty": APLS_EMPTY_RULE, "of_a_set": "mean over samples"}
        if self.topo is not None:
            chosen["topo"] = {**_values(self.topo), "empty": MATCHES_EMPTY_RULE, "of_a_set": "matches summed"}
        if self.junction_tolerance is not None:
            rule = {"empty": MATCHES_EMPTY_RULE, "of_a_set": "matches summed"}
            chosen["junctions"] = {"tolerance": self.junction_tolerance, **rule}
        return {**chosen, "tracing": self.tracing.to_dict()}

    def lines(self, unit: str) -> list[str]:
        """What must be printed beside the scores, and the empty rule of ratios; `unit` is that of the distances."""
        found = []
        if self.apls is not None:
            one = self.apls
            spacing = f"every {one.spacing:g} {unit}" if np.isfinite(one.spacing) else "at nodes only"
            found.append(
                f"APLS by {one.weight}: control points {spacing}, snap {one.snap:g} {unit}, paths from "
                f"{one.least_path:g} {unit}, at most {one.most_points} points (seed {one.seed}), mean over samples; "
                f"{APLS_EMPTY_RULE}"
            )
        if self.topo is not None:
            walk = self.topo
            found.append(
                f"TOPO: {walk.origins} walks (seed {walk.seed}) of {walk.radius:g} {unit}, a hole every "
                f"{walk.interval:g} {unit}, matched within {walk.hole:g} {unit}, summed"
            )
        if self.junction_tolerance is not None:
            found.append(f"junctions: matched one to one within {self.junction_tolerance:g} {unit}, summed")
        traced = ", ".join(f"{name} {value:g}" for name, value in self.tracing.to_dict().items())
        return [*found, f"graphs of masks: {traced}"]


@dataclass(frozen=True, slots=True)
class GraphScores:
    """Of one sample; None is what was not wanted. Lengths are those of the graphs, in `unit`."""

    unit: str
    true_length: float
    proposed_length: float
    apls: AplsScore | None = None
    topo: TopoScore | None = None
    junctions: Matches | None = None

    @property
    def both_empty(self) -> bool:
        """No road in the truth and none proposed: what scores 1 by rule, not by merit."""
        return self.true_length == self.proposed_length == 0

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the settings, which are the same for all samples of a set."""
        found: dict[str, Any] = {
            "unit": self.unit,
            "true_length": self.true_length,
            "proposed_length": self.proposed_length,
        }
        if self.apls is not None:
            whole = self.apls.to_dict()
            del whole["settings"]
            found |= whole
        if self.topo is not None:
            found |= {"TOPO": self.topo.matches.to_dict(), "unstarted": self.topo.unstarted}
        if self.junctions is not None:
            found["junctions"] = self.junctions.to_dict()
        return found


def choose_graph_scores(
    with_apls: bool,
    with_topo: bool,
    with_junctions: bool,
    apls_spacing: float = 50.0,
    apls_snap: float = 4.0,
    apls_points: int = 1000,
    topo_radius: float = 150.0,
    topo_interval: float = 30.0,
    topo_hole: float = 4.0,
    topo_origins: int = 20,
    junction_tolerance: float = JUNCTION_TOLERANCE,
    seed: int = 0,
) -> GraphSettings:
    """Settings as options of a command line say them; raises UsageError."""
    return GraphSettings(
        AplsSettings(spacing=apls_spacing, snap=apls_snap, most_points=apls_points, seed=seed) if with_apls else None,
        TopoSettings(topo_radius, topo_interval, topo_hole, topo_origins, seed) if with_topo else None,
        junction_tolerance if with_junctions else None,
    )


def compare_graphs(truth: RoadGraph, proposal: RoadGraph, settings: GraphSettings) -> GraphScores:
    """All wanted scores of one pair of graphs.

    Raises:
        SpecMismatchError: graphs that do not lie in the same coordinates.
        UsageError: APLS by time, which needs speeds that masks do not have.
        MissingExtraError: SciPy is not installed (extra `graph`).
    """
    tolerance = settings.junction_tolerance
    return GraphScores(
        truth.unit,
        truth.total_length,
        proposal.total_length,
        None if settings.apls is None else apls(truth, proposal, settings.apls),
        None if settings.topo is None else _topo(truth, proposal, settings.topo),
        None if tolerance is None else junctions(truth, proposal, tolerance),
    )


def _topo(truth: RoadGraph, proposal: RoadGraph, settings: TopoSettings) -> TopoScore:
    """TOPO; against an empty graph all that walks would drop is unmatched, so that in a sum it weighs as much as else.

    By itself `topo` counts edges there, of which there are far fewer.
    """
    score = topo(truth, proposal, settings)
    if bool(len(truth.u)) == bool(len(proposal.u)):
        return score
    if len(truth.u):
        return replace(score, matches=Matches(0, 0, topo(truth, truth, settings).matches.true))
    return replace(score, matches=Matches(0, topo(proposal, proposal, settings).matches.proposed, 0))


def _values(settings: AplsSettings | TopoSettings) -> dict[str, Any]:
    found = {name: getattr(settings, name) for name in settings.__slots__}
    return {name: None if isinstance(one, float) and not np.isfinite(one) else one for name, one in found.items()}
