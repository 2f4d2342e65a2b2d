"""What a store says of itself: bounds, times, trips, points per tile, where it came from."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.trajectory.ingest.cleaning import Rows, Tally
from roadedge.trajectory.ingest.options import IngestOptions
from roadedge.trajectory.tile_order import CELL_BITS


class Summary:
    """Gathers while rows go by in the order of the store."""

    def __init__(self, tile: float) -> None:
        """Nothing gathered yet; `tile` is the side of the tiles."""
        self.tile = tile
        self.trips = self.derived_speeds = self.derived_headings = 0
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)
        self._times = [np.inf, -np.inf]
        self._tiles: list[NDArray[np.int64]] = []
        self._open: tuple[np.uint64, int] | None = None

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Least x, y, greatest x, y."""
        return float(self._low[0]), float(self._low[1]), float(self._high[0]), float(self._high[1])

    def add_trips(self, rows: Rows, speeds: int, headings: int) -> None:
        """Count the trips of a bucket, of which no other bucket has a row, and what was derived for them."""
        vid = rows["vid"]
        known = vid != -1
        if known.any():
            self.trips += int(np.count_nonzero(np.diff(vid[known]))) + 1
        self.derived_speeds += speeds
        self.derived_headings += headings

    def add(self, keys: NDArray[np.uint64], rows: Rows) -> None:
        """Take rows in the order of the store, with their keys."""
        xy = rows["x"], rows["y"]
        self._low = np.minimum(self._low, [axis.min() for axis in xy])
        self._high = np.maximum(self._high, [axis.max() for axis in xy])
        known = rows["t_s"][~np.isnan(rows["t_s"])]
        if len(known):
            self._times = [min(self._times[0], float(known.min())), max(self._times[1], float(known.max()))]
        tiles = keys >> np.uint64(2 * CELL_BITS)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(tiles)) + 1])
        counts = np.diff(np.concatenate([starts, [len(tiles)]]))
        if self._open is not None and self._open[0] == tiles[0]:
            counts[0] += self._open[1]
        elif self._open is not None:
            self._tiles.append(np.array([self._open[1]]))
        self._open = tiles[-1], int(counts[-1])
        self._tiles.append(counts[:-1])

    def metadata(self, tally: Tally, sources: list[dict[str, Any]], options: IngestOptions) -> dict[str, Any]:
        """What goes into the footer, as JSON values."""
        last = [] if self._open is None else [np.array([self._open[1]])]
        per_tile = np.concatenate([np.zeros(0, np.int64), *self._tiles, *last])
        known = self._times[0] <= self._times[1]
        return {
            "bounds": list(self.box),
            "time_s": self._times if known else None,
            "trips": self.trips or None,
            "tiles": {
                "side": self.tile,
                "with_points": len(per_tile),
                "points_p50": float(np.percentile(per_tile, 50)),
                "points_p99": float(np.percentile(per_tile, 99)),
                "points_max": int(per_tile.max()),
            },
            "read": tally.rows,
            "dropped": dict(sorted(tally.dropped.items())),
            "noted": dict(sorted(tally.noted.items())),
            "derived": {
                "speed_ms": self.derived_speeds,
                "heading_deg": self.derived_headings,
                "max_gap_s": options.max_gap_s,
            },
            "datum": options.datum,
            "sources": sources if len(sources) <= 1000 else sources[:1000],
            "files": len(sources),
            "failed": {source["name"]: source["failed"] for source in sources if "failed" in source},
            "source_digest": hashlib.sha256("\n".join(s["sha256"] for s in sources).encode()).hexdigest(),
        }
