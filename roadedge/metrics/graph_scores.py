"""APLS, TOPO and junctions of many samples: chosen together, summed, and with intervals over places.

APLS of a set is the mean over its samples, as in its source; TOPO and junctions are sums of what was matched, as if the
samples were one. The interval draws whole places again, as that of G_IoU does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, ShapeError, UsageError
from roadedge.metrics.apls import EMPTY_RULE as APLS_EMPTY_RULE
from roadedge.metrics.apls import AplsScore, AplsSettings, apls
from roadedge.metrics.pixel import percentile_interval, times_drawn
from roadedge.metrics.topo import EMPTY_RULE as MATCHES_EMPTY_RULE
from roadedge.metrics.topo import Matches, TopoScore, TopoSettings, junctions, topo
from roadedge.roadgraph.graph import RoadGraph
from roadedge.roadgraph.trace import TraceOptions

JUNCTION_TOLERANCE = 10.0
Interval = tuple[float, float]


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


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """Of a set. `empty_pairs` are samples without road on either side, whose 1 is in the mean of APLS.

    `apls_of_roads` leaves them out; it is None where nothing remains.
    """

    samples: int
    empty_pairs: int
    units: tuple[str, ...]
    apls: float | None = None
    apls_of_roads: float | None = None
    apls_interval: Interval | None = None
    topo: Matches | None = None
    topo_interval: Interval | None = None
    junctions: Matches | None = None
    junctions_interval: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found: dict[str, Any] = {
            "samples": self.samples,
            "empty_pairs": self.empty_pairs,
            "units": list(self.units),
        }
        if self.apls is not None:
            found |= {"APLS": self.apls, "APLS_without_empty_pairs": self.apls_of_roads}
            found["APLS_interval_95"] = _listed(self.apls_interval)
        for name, matches, interval in (
            ("TOPO", self.topo, self.topo_interval),
            ("junctions", self.junctions, self.junctions_interval),
        ):
            if matches is not None:
                found[name] = {**matches.to_dict(), "F1_interval_95": _listed(interval)}
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


def summarize_graphs(
    scores: Sequence[GraphScores],
    places: Sequence[Hashable],
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> GraphSummary:
    """Scores of a set.

    Args:
        scores: of each sample, all with the same settings.
        places: of each sample, equal for samples that show the same ground.
        draws: of places for the intervals; 0 for none.
        seed: of the draws, the same as `bootstrap_g_iou` takes.
        level: share of the draws inside an interval.

    Raises:
        DataError: no samples.
        ShapeError: not one place for each sample.
    """
    if not scores:
        raise DataError("there are no samples to score")
    if len(places) != len(scores):
        raise ShapeError(f"one place is needed for each sample, got {len(places)} for {len(scores)}")
    values = [one.apls.apls for one in scores if one.apls is not None]
    roads = [one.apls.apls for one in scores if one.apls is not None and not one.both_empty]
    walks = [one.topo.matches for one in scores if one.topo is not None]
    crossings = [one.junctions for one in scores if one.junctions is not None]
    drawn = _Drawn(places, draws, seed, level)
    return GraphSummary(
        samples=len(scores),
        empty_pairs=sum(one.both_empty for one in scores),
        units=tuple(sorted({one.unit for one in scores})),
        apls=float(np.mean(values)) if values else None,
        apls_of_roads=float(np.mean(roads)) if roads else None,
        apls_interval=drawn.interval([(value, 1.0) for value in values], lambda sums: sums[:, 0] / sums[:, 1]),
        topo=sum(walks, Matches(0, 0, 0)) if walks else None,
        topo_interval=drawn.interval([_row(one) for one in walks], _f1),
        junctions=sum(crossings, Matches(0, 0, 0)) if crossings else None,
        junctions_interval=drawn.interval([_row(one) for one in crossings], _f1),
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Whole places drawn again with replacement."""

    places: Sequence[Hashable]
    draws: int
    seed: int
    level: float

    def interval(
        self, rows: Sequence[tuple[float, float]], ratio: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> Interval | None:
        """Of a ratio of sums of the samples' rows; None without samples, draws or a second place."""
        row_of = {place: row for row, place in enumerate(dict.fromkeys(self.places))}
        if not rows or self.draws < 1 or len(row_of) < 2:
            return None
        parts = np.zeros((len(row_of), 2))
        for place, row in zip(self.places, rows, strict=True):
            parts[row_of[place]] += row
        return percentile_interval(ratio(times_drawn(len(row_of), self.draws, self.seed) @ parts), self.level)


def _row(matches: Matches) -> tuple[float, float]:
    return matches.matched, (matches.proposed + matches.true) / 2


def _f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(sums[:, 0], sums[:, 1], out=np.ones(len(sums)), where=sums[:, 1] > 0)
    return found


def _values(settings: AplsSettings | TopoSettings) -> dict[str, Any]:
    found = {name: getattr(settings, name) for name in settings.__slots__}
    return {name: None if isinstance(one, float) and not np.isfinite(one) else one for name, one in found.items()}


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
