"""Graph scores of a set of samples, with intervals over places.

APLS of a set is the mean over its samples, as in its source; TOPO and junctions are sums of what was matched, as if the
samples were one. The interval draws whole places again, as that of G_IoU does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.errors import DataError, ShapeError
from roadedge.metrics.graph_scores import GraphScores
from roadedge.metrics.pixel import percentile_interval, times_drawn
from roadedge.metrics.topo import Matches

Interval = tuple[float, float]


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
    apls_time: float | None = None
    apls_time_interval: Interval | None = None
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
        if self.apls_time is not None:
            found |= {"APLS_time": self.apls_time, "APLS_time_interval_95": _listed(self.apls_time_interval)}
        for name, matches, interval in (
            ("TOPO", self.topo, self.topo_interval),
            ("junctions", self.junctions, self.junctions_interval),
        ):
            if matches is not None:
                found[name] = {**matches.to_dict(), "F1_interval_95": _listed(interval)}
        return found


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
    times = [one.apls_time.apls for one in scores if one.apls_time is not None]
    walks = [one.topo.matches for one in scores if one.topo is not None]
    crossings = [one.junctions for one in scores if one.junctions is not None]
    drawn = _Drawn(places, draws, seed, level)
    return GraphSummary(
        samples=len(scores),
        empty_pairs=sum(one.both_empty for one in scores),
        units=tuple(sorted({one.unit for one in scores})),
        apls=float(np.mean(values)) if values else None,
        apls_of_roads=float(np.mean(roads)) if roads else None,
        apls_interval=drawn.interval([(value, 1.0) for value in values], _mean),
        apls_time=float(np.mean(times)) if times else None,
        apls_time_interval=drawn.interval([(value, 1.0) for value in times], _mean),
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


def _mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
    return found


def _f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(sums[:, 0], sums[:, 1], out=np.ones(len(sums)), where=sums[:, 1] > 0)
    return found


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
