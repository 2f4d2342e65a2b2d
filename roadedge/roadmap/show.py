"""What `roadedge map` prints, and how it asks for vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadedge.errors import UsageError
from roadedge.roadgraph.trace import TraceOptions
from roadedge.roadmap.make_map import Roads
from roadedge.roadmap.map_order import MapResult
from roadedge.roadmap.map_progress import spoken
from roadedge.roadmap.roads import RoadsOptions, write_roads
from roadedge.trajectory.point_store import PointStore

LOW = 0.7  # of the threshold: what hangs together with a road counts from there on


def road_maker(formats: str, threshold: float | None, tell: Callable[[str], None]) -> Roads | None:
    """What makes the vectors of a map; None for `none`.

    Args:
        formats: names with commas between.
        threshold: on the probability; None for the default.
        tell: is told lines of progress.

    Raises:
        UnknownNameError, UsageError: no such format, a threshold outside (0, 1).
    """
    if formats.strip() == "none":
        if threshold is not None:
            raise UsageError("--threshold is for roads, and --roads none makes none; leave one out")
        return None
    trace = TraceOptions() if threshold is None else TraceOptions(threshold, LOW * threshold)
    options = RoadsOptions(tuple(name.strip() for name in formats.split(",") if name.strip()), trace)

    def make(folder: Path, points: Path | None) -> dict[str, Any]:
        if points is None:
            return write_roads(folder, options, None, tell).to_dict()
        with PointStore.open(points) as store:
            return write_roads(folder, options, store, tell).to_dict()

    return make


def summary(result: MapResult) -> list[str]:
    """Lines for a person."""
    metrics = result.metrics
    if not metrics:
        if result.missing:
            return [
                f"this share is done; {result.missing} tiles of others are missing",
                "the run that finishes last joins the map; or, once all are there: the same command with --join",
            ]
        return ["all tiles are done; another run joins them"]
    seconds, tiles = metrics["seconds"], metrics["tiles"]
    lines = [
        f"{metrics['area_km2']:.3g} km² in {spoken(seconds['total'])}: {metrics['km2_per_h']:.0f} km²/h, "
        f"{metrics['megapixels_per_s']:.1f} Mpx/s, {metrics['peak_memory_mb']:.0f} MB at most",
        f"{tiles['computed']} tiles computed" + (f", {tiles['resumed']} were there" if tiles["resumed"] else ""),
        ", ".join(f"{step} {spent:.1f} s" for step, spent in seconds.items() if step != "total"),
    ]
    if metrics["points"]:
        lines.append(f"{metrics['points']['on_scene']} points on the scene")
    if metrics["roads"]:
        roads = metrics["roads"]
        lines.append(f"{roads['edges']} roads, {roads['length_km']:.1f} km, {roads['junctions']} junctions")
    return lines
