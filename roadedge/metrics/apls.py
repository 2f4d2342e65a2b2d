"""APLS, the average path length similarity of two road graphs, by length or by travel time.

Control points lie on all nodes of a graph and between them. Each is snapped to the nearest place on the other graph.
A path between two of them scores 1 - min(1, |L - L'| / L), where L is its length at home and L' abroad; one that does
not exist abroad, or whose end was not snapped, scores 0; one that does not exist at home does not count. A direction is
the mean over its paths, APLS the harmonic mean of the two directions.

Implementations differ in every one of these settings, so they are part of the score.
Source: A. Van Etten, D. Lindenbaum, T. M. Bacastow, SpaceNet: a remote sensing dataset and challenge series, 2018.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import UsageError
from roadedge.metrics.road_network import Places, RoadNetwork, open_network, prepare
from roadedge.metrics.travel_time import Timing, complete_speeds
from roadedge.roadgraph.graph import RoadGraph
from roadedge.roadgraph.speeds import KMH_OF_MS

EMPTY_RULE = "a graph without a path that counts is empty; two such score 1, one against one with paths scores 0"


@dataclass(frozen=True, slots=True)
class AplsSettings:
    """What APLS hangs on; distances are in the unit of the graphs, metres or pixels.

    `spacing` of the control points along the roads (infinite: nodes only); `snap`, the farthest that a control point
    may lie from the other graph; `least_path`, the shortest path that counts, by time in seconds; `weight`, "length" or
    "time"; of more than `most_points` control points so many are drawn, with `seed`. By time, roads without a speed are
    driven at `default_speed_kmh`; without that, see MEAN_RULE.
    """

    spacing: float = 50.0
    snap: float = 4.0
    least_path: float = 0.001
    weight: Literal["length", "time"] = "length"
    most_points: int = 1000
    seed: int = 0
    default_speed_kmh: float | None = None

    def __post_init__(self) -> None:
        if not (self.spacing > 0 and self.snap >= 0 and self.least_path > 0 and self.most_points >= 2):
            raise UsageError(f"APLS needs spacing > 0, snap >= 0, least_path > 0 and at least two points, got {self}")
        if self.weight not in ("length", "time"):
            raise UsageError(f"APLS goes by 'length' or by 'time', got {self.weight!r}")
        if self.default_speed_kmh is not None and not 0 < self.default_speed_kmh < np.inf:
            raise UsageError(f"the default speed must be positive km/h, got {self.default_speed_kmh:g}")
        if self.default_speed_kmh is not None and self.weight == "length":
            raise UsageError("APLS by length takes no default speed; ask for APLS by time (--apls-time)")


@dataclass(frozen=True, slots=True)
class Direction:
    """One way of the comparison: mean score of its paths, how many, and how many control points were not snapped."""

    score: float
    paths: int
    points: int
    unsnapped: int


@dataclass(frozen=True, slots=True)
class AplsScore:
    """APLS in [0, 1], its two directions, and everything that it hangs on."""

    apls: float
    truth_to_proposal: Direction
    proposal_to_truth: Direction
    unit: str
    settings: AplsSettings
    timing: Timing | None = None  # by time: what roads without a speed were driven at

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        settings: dict[str, Any] = asdict(self.settings)
        if not np.isfinite(self.settings.spacing):
            settings["spacing"] = None  # JSON has no infinity: no points between the nodes
        timed = {} if self.timing is None else {"roads_without_speed": self.timing.to_dict()}
        return {
            "APLS": self.apls,
            "truth_to_proposal": asdict(self.truth_to_proposal),
            "proposal_to_truth": asdict(self.proposal_to_truth),
            **timed,
            "settings": {**settings, "unit": self.unit, "empty": EMPTY_RULE},
        }


def apls(
    truth: RoadGraph,
    proposal: RoadGraph,
    settings: AplsSettings | None = None,
    speeds_kmh: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> AplsScore:
    """Compare a proposed road graph with the true one.

    Args:
        truth: in a metric plane, in degrees, or in pixels.
        proposal: in the same coordinates and unit.
        settings: default AplsSettings().
        speeds_kmh: (E,) km/h of the edges of the truth and of the proposal, for `weight="time"`; by default their own
            `speed_kmh`, completed by `complete_speeds`.

    Raises:
        SpecMismatchError: graphs that do not lie in the same coordinates.
        UsageError: speeds that are not positive, or by length with speeds.
        DataError: by time, and no road has a speed.
        MissingExtraError: SciPy is not installed (extra `graph`).
    """
    settings = settings or AplsSettings()
    graphs = prepare(truth, proposal)
    if not (len(truth.u) and len(proposal.u)):
        same = float(len(truth.u) == len(proposal.u))
        nothing = Direction(same, 0, 0, 0)
        return AplsScore(same, nothing, nothing, truth.unit, settings)
    costs, timing = _costs(truth, proposal, settings, speeds_kmh)
    home, away = (open_network(graph, cost) for graph, cost in zip(graphs, costs, strict=True))
    there, back = _direction(home, away, settings), _direction(away, home, settings)
    both = there.score + back.score
    mean = 2 * there.score * back.score / both if both else float(there.paths == back.paths == 0)
    return AplsScore(mean, there, back, truth.unit, settings, timing)


def _direction(home: RoadNetwork, away: RoadNetwork, settings: AplsSettings) -> Direction:
    places = _drawn(home.every(settings.spacing), settings)
    abroad, distance = away.nearest(home.positions(places))
    snapped = distance <= settings.snap
    length = home.distances(places)
    other = np.full_like(length, np.inf)
    if snapped.any():
        other[np.ix_(snapped, snapped)] = away.distances(abroad.chosen(snapped))
    upper = np.triu(np.isfinite(length) & (length >= settings.least_path), 1)
    own, theirs = length[upper], other[upper]
    with np.errstate(invalid="ignore"):
        scores = 1 - np.minimum(1, np.abs(own - theirs) / own)
    mean = float(scores.mean()) if own.size else 0.0
    return Direction(mean, int(own.size), len(places), int((~snapped).sum()))


def _drawn(places: Places, settings: AplsSettings) -> Places:
    if len(places) <= settings.most_points:
        return places
    chosen = np.random.default_rng(settings.seed).choice(len(places), settings.most_points, replace=False)
    return places.chosen(np.sort(chosen))


def _costs(
    truth: RoadGraph,
    proposal: RoadGraph,
    settings: AplsSettings,
    speeds_kmh: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> tuple[list[NDArray[np.float64]], Timing | None]:
    if settings.weight == "length":
        if speeds_kmh is not None:
            raise UsageError("APLS by length takes no speeds; ask for weight='time'")
        return [np.ones(len(graph.u)) for graph in (truth, proposal)], None
    timing = None
    if speeds_kmh is None:
        speeds_kmh, timing = complete_speeds(truth, proposal, settings.default_speed_kmh)
    for graph, speed in zip((truth, proposal), speeds_kmh, strict=True):
        if np.shape(speed) != (len(graph.u),) or not (np.isfinite(speed).all() and (np.asarray(speed) > 0).all()):
            raise UsageError("speeds are one positive number of km/h for each edge")
    return [KMH_OF_MS / np.asarray(speed, np.float64) for speed in speeds_kmh], timing
