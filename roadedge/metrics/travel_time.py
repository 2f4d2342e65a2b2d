"""Speeds of all roads of two graphs, for scores by travel time: known, given, or the mean of those that are known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError
from roadedge.roadgraph.graph import RoadGraph

MEAN_RULE = "the mean speed (length over time) of the true roads that have one, else of the proposed ones"
Speeds = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Timing:
    """What roads without a speed were driven at, in km/h, where that came from, and how long they are together.

    `kmh` is None where every road has a speed. Lengths are in the unit of the graphs.
    """

    kmh: float | None
    origin: Literal["given", "mean of the truth", "mean of the proposal", "not needed"]
    truth_untimed: float
    proposal_untimed: float

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def complete_speeds(truth: RoadGraph, proposal: RoadGraph, default_kmh: float | None) -> tuple[Speeds, Timing]:
    """The speed in km/h of each road of two graphs.

    Args:
        truth: whose `speed_kmh` is NaN where nobody knows it.
        proposal: the same.
        default_kmh: of roads without a speed; None for MEAN_RULE.

    Raises:
        DataError: no road has a speed, and no default is given.
    """
    unknown = [np.isnan(graph.speed_kmh) for graph in (truth, proposal)]
    untimed = [float(graph.length[which].sum()) for graph, which in zip((truth, proposal), unknown, strict=True)]
    if not any(which.any() for which in unknown):
        return (truth.speed_kmh, proposal.speed_kmh), Timing(None, "not needed", 0.0, 0.0)
    timing = _timing(truth, proposal, default_kmh, untimed)
    assumed = np.nan if timing.kmh is None else timing.kmh
    truth_kmh, proposal_kmh = (
        np.where(which, assumed, graph.speed_kmh) for graph, which in zip((truth, proposal), unknown, strict=True)
    )
    return (truth_kmh, proposal_kmh), timing


def _timing(truth: RoadGraph, proposal: RoadGraph, default_kmh: float | None, untimed: list[float]) -> Timing:
    if default_kmh is not None:
        return Timing(default_kmh, "given", *untimed)
    for graph, origin in ((truth, "mean of the truth"), (proposal, "mean of the proposal")):
        known = np.isfinite(graph.speed_kmh) & (graph.length > 0)
        if known.any():
            time = (graph.length[known] / graph.speed_kmh[known]).sum()
            return Timing(float(graph.length[known].sum() / time), origin, *untimed)  # type: ignore[arg-type]
    raise DataError(
        "APLS by time needs speeds, and neither the truth nor the proposal says one of any road; "
        "give --default-speed in km/h, or score by length (--apls)"
    )
