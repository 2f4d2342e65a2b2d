"""`roadedge map`: a scene and its points → probability, density, backdrop, roads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json, write_text
from roadedge.environment import environment, usable_cpus
from roadedge.roadmap.assembly import Assembly
from roadedge.roadmap.cog import check_room, write_cog
from roadedge.roadmap.executors import HERE, Crew, executor
from roadedge.roadmap.job import TileDone
from roadedge.roadmap.map_folder import (
    DONE,
    WORK,
    clear_work,
    finished_tiles,
    identity,
    joining,
    locked,
    open_work,
)
from roadedge.roadmap.map_order import MapOrder, MapResult, finished_before, open_folder
from roadedge.roadmap.map_progress import Progress
from roadedge.roadmap.map_report import BACKDROP, DENSITY, PROBABILITY, metrics_of
from roadedge.roadmap.preparing import Prepared, prepare
from roadedge.roadmap.settings import MapSettings
from roadedge.runners import Runner

Tell = Callable[[str], None]
Roads = Callable[[Path, Path | None], dict[str, Any]]  # folder, store of points → what map.json says of the roads


def make_map(order: MapOrder, settings: MapSettings, tell: Tell, roads: Roads | None = None) -> MapResult:
    """Make a map, or go on with one.

    Args:
        order: scene, output and which part.
        settings: network, windows, executor.
        tell: is told lines of progress.
        roads: makes the vectors; None for none.

    Raises:
        KeyboardInterrupt: with what to do next; what is finished stays.
        RoadEdgeError: as the parts say.
    """
    began = time.perf_counter()
    executor(settings.executor)
    prepared = prepare(order.scene, settings, order.output.absolute() / WORK, order.points, order.lidar)
    for note in prepared.notes:
        tell(f"note: {note}")
    with contextlib.ExitStack() as held:
        here = settings.executor in HERE and not order.join  # what cannot be loaded is said before anything is written
        first = held.enter_context(prepared.job.network.open(prepared.job.plan.window)) if here else None
        folder = open_folder(order)
        held.enter_context(locked(folder, order.shard))
        if (folder / DONE).exists():
            return finished_before(folder, order, prepared, tell)
        go_on = order.resume or order.join or order.shard is not None
        open_work(folder, identity(prepared.job, prepared.digest), go_on)
        write_text(folder / "recipe.toml", settings.to_toml())
        write_json(folder / "env.json", environment())
        if prepared.clouds is not None and not order.join:
            prepared.clouds.draw(tell)
        return _Run(order, settings, prepared, folder, tell, roads, began, first).go()


class _Run:
    """One run at work on a folder that it has locked."""

    def __init__(
        self,
        order: MapOrder,
        settings: MapSettings,
        prepared: Prepared,
        folder: Path,
        tell: Tell,
        roads: Roads | None,
        began: float,
        first: Runner | None,
    ) -> None:
        self.order, self.settings, self.folder, self.tell, self.roads = order, settings, folder, tell, roads
        self.prepared, self.job, self.grid = prepared, prepared.job, prepared.job.scene.grid
        self.began = self.marked = began
        self.first = first
        self.clock: dict[str, float] = {}
        self.done = finished_tiles(self.job, alone=order.shard is None)
        pixels = self.grid.height * self.grid.width / len(self.job.plan)
        count = len(self.job.plan)
        self.mine = order.shard.of(count) if order.shard else range(0) if order.join else range(count)
        self.progress = Progress(tell, len(self.mine), len(self.done.intersection(self.mine)), pixels)
        self.mark("prepare")

    def mark(self, step: str) -> None:
        """Note what the last step took."""
        now = time.perf_counter()
        self.clock[step] = now - self.marked
        self.marked = now

    def go(self) -> MapResult:
        """Compute what is missing, and finish the map if nothing is."""
        try:
            return self._go()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{len(self.done)} of {len(self.job.plan)} tiles are done; the same command with --resume goes on"
            ) from None

    def _go(self) -> MapResult:
        todo = [tile for tile in self.mine if tile not in self.done]
        self._say_begin(todo)
        if self.order.shard or self.order.join:
            self._compute(todo, None)
            return self._join()
        check_room(self.folder / WORK, self.grid.height * self.grid.width)  # the plain raster, a byte a pixel
        assembly = Assembly(self.job, self.folder / WORK / PROBABILITY, self.prepared.has_holes)
        try:
            for tile in sorted(self.done):
                assembly.done(tile)
            self._compute(todo, assembly)
            assembly.finish()
        finally:
            assembly.stop()
        return self._finish(assembly)

    def _compute(self, todo: list[int], assembly: Assembly | None) -> None:
        workers, threads = self.settings.crew_size()
        step = self.settings.batch
        batches = [todo[at : at + step] for at in range(0, len(todo), step)]

        def on_done(done: TileDone) -> None:
            self.done.add(done.tile)
            self.progress.add(done)
            if assembly is not None:
                assembly.done(done.tile)

        chosen = self.settings.workers is not None
        crew = Crew(workers, threads or 1, chosen, self.first, self.settings.ray_address, self.settings.ray_gpus)
        if batches:
            executor(self.settings.executor)(self.job, batches, crew, on_done, self.tell)
        if self.first is not None:
            self.first.close()
        self.mark("tiles")

    def _join(self) -> MapResult:
        """What shards end with: the one that finds all tiles done makes the map of them."""
        with joining(self.folder) as mine:
            self.done = finished_tiles(self.job, alone=False)
            missing = len(self.job.plan) - len(self.done)
            if missing or not mine or (self.folder / DONE).exists():
                return MapResult(self.folder, {}, missing)
            assembly = Assembly(self.job, self.folder / WORK / PROBABILITY, self.prepared.has_holes)
            try:
                for tile in sorted(self.done):
                    assembly.done(tile)
                assembly.finish()
            finally:
                assembly.stop()
            return self._finish(assembly)

    def _finish(self, assembly: Assembly) -> MapResult:
        """From the plain raster to all files; map.json comes last and says that the map is whole."""
        self.mark("assembly")
        work, threads = self.folder / WORK, usable_cpus()
        tags = {"roadedge": "road probability, 255 = certain", "roadedge_model": self.prepared.spec.name}
        write_cog(work / PROBABILITY, self.folder / PROBABILITY, tags, threads)
        assembly.coarse.write_density(self.folder / DENSITY, self.prepared.spec.heatmap, work / DENSITY, threads)
        assembly.coarse.write_backdrop(self.folder / BACKDROP)
        self.mark("cog")
        if self.job.points is not None and not assembly.points:
            self.tell(f"note: none of the points of {self.job.points.name} lies on the scene")
        said = None
        if self.roads is not None:
            said = self.roads(self.folder, self.job.points)
            self.mark("roads")
        seconds = {**self.clock, "total": time.perf_counter() - self.began}
        metrics = metrics_of(self.order, self.settings, self.prepared, self.progress, assembly, seconds, said)
        write_json(self.folder / DONE, metrics)
        if not self.settings.keep_tiles:
            clear_work(self.folder)
        return MapResult(self.folder, metrics)

    def _say_begin(self, todo: list[int]) -> None:
        height, width = self.grid.size
        high, wide = self.job.plan.window
        workers, threads = self.settings.crew_size()
        self.tell(
            f"{height} x {width} px at {self.grid.gsd_m:.3g} m, {self.grid.area_km2:.3g} km², in {self.grid.crs}"
            f"{'' if self.grid.native else ', resampled'}; {len(self.job.plan)} tiles of {high} x {wide} px, "
            f"{self.job.plan.overlap} px shared"
        )
        self.tell(
            f"{self.prepared.model.name}, {self.settings.executor}: {workers} x {threads or 'all'} threads; "
            f"{len(todo)} tiles to do"
        )
