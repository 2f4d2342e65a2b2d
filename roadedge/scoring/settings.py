"""What a scoring was asked to do; every value of it is written beside the scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from roadedge.errors import UnknownNameError, UsageError
from roadedge.metrics.graph_scores import GraphSettings
from roadedge.metrics.relaxed import Buffer

PROTOCOLS = ("true", "published")
NO_GRAPHS = GraphSettings(apls=None, topo=None, junction_tolerance=None)


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """How files are compared. Nothing here depends on the machine.

    `gsd_m` is metres per pixel of files that do not say their own. `threshold` is on probabilities; masks have none.
    The protocol "published" adds what published scripts would print, bugs included, and replaces nothing. `bootstrap`
    draws of tiles for the intervals, with `seed`. `within`, a raster or west,south,east,north in degrees, is where
    lines of two files end.
    """

    graph: GraphSettings = field(default_factory=lambda: NO_GRAPHS)
    relaxed: Buffer | None = None
    gsd_m: float | None = None
    threshold: float = 0.5
    protocol: str = "true"
    bootstrap: int = 1000
    seed: int = 0
    within: str | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UnknownNameError("protocol", self.protocol, PROTOCOLS)
        if not 0 < self.threshold < 1:
            raise UsageError(f"the threshold must lie between 0 and 1, got {self.threshold:g}")
        if self.gsd_m is not None and not 0 < self.gsd_m < 1e4:
            raise UsageError(f"--gsd must be positive metres per pixel, got {self.gsd_m:g}")
        if self.bootstrap < 0 or self.seed < 0:
            raise UsageError(f"bootstrap and seed must be at least 0, got {self.bootstrap} and {self.seed}")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        relaxed = self.relaxed
        return {
            "protocol": self.protocol,
            "threshold": self.threshold,
            "gsd_m": self.gsd_m,
            "relaxed": None if relaxed is None else {"size": relaxed.size, "unit": relaxed.unit, "on": relaxed.on},
            "graph": self.graph.to_dict() if self.graph.any else None,
            "bootstrap": self.bootstrap,
            "seed": self.seed,
            "within": self.within,
        }
