"""What map.json says of a finished map."""

from __future__ import annotations

import os
from typing import Any

from roadedge.roadmap.assembly import Assembly
from roadedge.roadmap.map_order import MapOrder
from roadedge.roadmap.map_progress import Progress
from roadedge.roadmap.memory import peak_mb
from roadedge.roadmap.preparing import Prepared
from roadedge.roadmap.settings import MapSettings

PROBABILITY, DENSITY, BACKDROP = "probability.tif", "density.tif", "backdrop.jpg"


def metrics_of(
    order: MapOrder,
    settings: MapSettings,
    prepared: Prepared,
    progress: Progress,
    assembly: Assembly,
    seconds: dict[str, float],
    roads: dict[str, Any] | None,
) -> dict[str, Any]:
    """What map.json says; `seconds` by step, and in `total`."""
    job, grid = prepared.job, prepared.job.scene.grid
    pixels = grid.height * grid.width
    here = peak_mb()
    others = sum(peak for process, peak in progress.peaks.items() if process != os.getpid())
    left, bottom, right, top = grid.bounds(0, 0, grid.height, grid.width)
    rows, columns = assembly.coarse.backdrop_size
    return {
        "schema_version": 1,
        "scene": order.scene.name,
        "files": len(job.scene.files),
        "model": {**(progress.runner or {"model": prepared.spec.name}), "file": prepared.model.name},
        "sha256": prepared.digest,
        "licence": prepared.spec.licence,
        "semi_synthetic": prepared.spec.semi_synthetic,
        "crs": grid.crs,
        "transform": list(grid.transform),
        "size": [grid.height, grid.width],
        "bounds": [left, bottom, right, top],
        "gsd_m": grid.gsd_m,
        "scene_gsd_m": job.scene.gsd_m,
        "resampled": not grid.native,
        "area_km2": grid.area_km2,
        "km2_with_image": assembly.pixels * grid.gsd_m**2 / 1e6,
        "tiles": {
            "count": len(job.plan),
            "window": list(job.plan.window),
            "overlap": job.plan.overlap,
            "computed": progress.finished,
            "resumed": progress.before,
        },
        "points": None if job.points is None else {"file": job.points.name, "on_scene": assembly.points},
        "lidar": None if job.second is None else [path.name for path in order.lidar],
        "backdrop": {"file": BACKDROP, "size": [rows, columns], "step": job.coarse},
        "density": None if job.points is None else {"file": DENSITY, "step": job.dense},
        "executor": settings.executor,
        "workers": settings.crew_size()[0],
        "threads": settings.crew_size()[1],
        "seconds": {k: round(v, 3) for k, v in seconds.items()},
        "worker_seconds": {k: round(v, 3) for k, v in progress.seconds.items()},
        "megapixels_per_s": pixels / 1e6 / seconds["total"],
        "km2_per_h": grid.area_km2 / seconds["total"] * 3600,
        "peak_memory_mb": round(here + others, 1),
        "roads": roads,
    }
