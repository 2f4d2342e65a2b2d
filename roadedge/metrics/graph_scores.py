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
from roadedge.metrics.travel_time import MEAN_RULE
from roadedge.roadgraph.graph import RoadGraph
from roadedge.roadgraph.trace import TraceOptions

JUNCTION_TOLERANCE = 10.0
_APLS_RULES = {"empty": APLS_EMPTY_RULE, "of_a_set": "mean over samples"}


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """Which graph scores are wanted (None: not) and all that they hang on.

    Distances are metres where the ground sample distance is known, else pixels. `tracing` makes graphs of masks.
    `apls_time` is APLS by travel time, which masks by themselves do not tell.
    """

    apls: AplsSettings | None = field(default_factory=AplsSettings)
    topo: TopoSettings | None = field(default_factory=TopoSettings)
    junction_tolerance: float | None = JUNCTION_TOLERANCE
    tracing: TraceOptions = field(default_factory=TraceOptions)
    apls_time: AplsSettings | None = None

    def __post_init__(self) -> None:
        if self.junction_tolerance is not None and not 0 <= self.junction_tolerance < np.inf:
            raise UsageError(f"the tolerance of junctions must be zero or more, got {self.junction_tolerance}")
        for one, weight in ((self.apls, "length"), (self.apls_time, "time")):
            if one is not None and one.weight != weight:
                raise UsageError(f"APLS by {one.weight} was given where APLS by {weight} stands")

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
        wanted = (self.apls, self.apls_time, self.topo, self.junction_tolerance)
        return any(one is not None for one in wanted)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, the rules for empty graphs among them."""
        chosen: dict[str, Any] = {}
        if self.apls is not None:
            chosen["apls"] = {**_values(self.apls), **_APLS_RULES}
        if self.apls_time is not None:
            chosen["apls_time"] = {**_values(self.apls_time), **_APLS_RULES, "roads_without_speed": self._untimed()}
        if self.topo is not None:
            chosen["topo"] = {**_values(self.topo), "empty": MATCHES_EMPTY_RULE, "of_a_set": "matches summed"}
        if self.junction_tolerance is not None:
            rule = {"empty": MATCHES_EMPTY_RULE, "of_a_set": "matches summed"}
            chosen["junctions"] = {"tolerance": self.junction_tolerance, **rule}
        return {**chosen, "tracing": self.tracing.to_dict()}

    def lines(self, unit: str) -> list[str]:
        """What must be printed beside the scores, and the empty rule of ratios; `unit` is that of the distances."""
        found = []
        for one in (self.apls, self.apls_time):
            if one is not None:
                spacing = f"every {one.spacing:g} {unit}" if np.isfinite(one.spacing) else "at nodes only"
                path_unit = unit if one.weight == "length" else "s"
                found.append(
                    f"APLS by {one.weight}: control points {spacing}, snap {one.snap:g} {unit}, paths from "
                    f"{one.least_path:g} {path_unit}, at most {one.most_points} points (seed {one.seed}), mean over "
                    f"samples; {APLS_EMPTY_RULE}"
                )
        if self.apls_time is not None:
            found.append(f"APLS by time: roads without a speed are driven at {self._untimed()}")
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

    def _untimed(self) -> str:
        speed = None if self.apls_time is None else self.apls_time.default_speed_kmh
        return MEAN_RULE if speed is None else f"{speed:g} km/h"


@dataclass(frozen=True, slots=True)
class GraphScores:
    """Of one sample; None is what was not wanted. Lengths are those of the graphs, in `unit`."""

    unit: str
    true_length: float
    proposed_length: float
    apls: AplsScore | None = None
    topo: TopoScore | None = None
    junctions: Matches | None = None
    apls_time: AplsScore | None = None

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
        if self.apls_time is not None:
            timed = self.apls_time.to_dict()
            del timed["settings"]
            found["APLS_time"] = timed
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
    with_time: bool = False,
    default_speed_kmh: float | None = None,
) -> GraphSettings:
    """Settings as options of a command line say them; raises UsageError."""
    if default_speed_kmh is not None and not with_time:
        raise UsageError("--default-speed is a setting of --apls-time, which was not asked for")
    by_length = AplsSettings(spacing=apls_spacing, snap=apls_snap, most_points=apls_points, seed=seed)
    by_time = replace(by_length, weight="time", default_speed_kmh=default_speed_kmh) if with_time else None
    return GraphSettings(
        by_length if with_apls else None,
        TopoSettings(topo_radius, topo_interval, topo_hole, topo_origins, seed) if with_topo else None,
        junction_tolerance if with_junctions else None,
        apls_time=by_time,
    )


def compare_graphs(truth: RoadGraph, proposal: RoadGraph, settings: GraphSettings) -> GraphScores:
    """All wanted scores of one pair of graphs.

    Raises:
        SpecMismatchError: graphs that do not lie in the same coordinates.
        DataError: APLS by time is wanted, no road has a speed, and no default is given.
        MissingExtraError: SciPy is not installed (extra `graph`).
    """
    tolerance = settings.junction_tolerance
    return GraphScores(
        truth.unit,
        truth.total_length,
        proposal.total_length,
        None if settings.apls is None else apls(truth, proposal, settings.apls),
        None if settings.topo is None else topo(truth, proposal, settings.topo),
        None if tolerance is None else junctions(truth, proposal, tolerance),
        None if settings.apls_time is None else apls(truth, proposal, settings.apls_time),
    )


def _values(settings: AplsSettings | TopoSettings) -> dict[str, Any]:
    found = {name: getattr(settings, name) for name in settings.__slots__}
    return {name: None if isinstance(one, float) and not np.isfinite(one) else one for name, one in found.items()}
