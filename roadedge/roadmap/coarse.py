"""The small pictures of a map, made of its tiles: the backdrop and the density of the points."""

from __future__ import annotations

import xml.sax.saxutils
from pathlib import Path

import numpy as np

from roadedge.atomic import write_bytes, write_text
from roadedge.errors import OutputError
from roadedge.roadmap.cog import open_plain, write_cog
from roadedge.roadmap.job import Job
from roadedge.roadmap.survey import MapGrid
from roadedge.roadmap.tile_file import OpenTile
from roadedge.roadmap.worker import coarse_box
from roadedge.spec import HeatmapSpec
from roadedge.trajectory.heatmap import heatmap_from_counts

BACKDROP_PX, DENSITY_PX = 3000, 4096  # of the longer side, at most
DENSITY_M = 2.0  # metres of a pixel of the density at least: finer ones are mostly empty
QUALITY = 85


def coarse_steps(grid: MapGrid) -> tuple[int, int]:
    """How many pixels of the grid along a side make one of the backdrop, and one of the density."""
    longest = max(grid.size)
    return max(1, -(-longest // BACKDROP_PX)), max(1, -(-longest // DENSITY_PX), round(DENSITY_M / grid.gsd_m))


class Coarse:
    """Takes in the cells of a map; both pictures are bounded, however large it is."""

    def __init__(self, job: Job) -> None:
        self._job, grid = job, job.scene.grid
        _, _, rows, columns = coarse_box(0, 0, *grid.size, job.coarse)
        self._backdrop = np.full((rows, columns, 3), 255, np.uint8)
        self.backdrop_size = rows, columns
        height, width = (-(-side // job.dense) for side in grid.size)
        self.density_grid = MapGrid(grid.crs, grid.x0, grid.y0, grid.gsd_m * job.dense, height, width, False)
        self._counts = None if job.points is None else np.zeros(self.density_grid.size, np.uint32)

    def add(self, tile: int, opened: OpenTile) -> None:
        """Put a tile's small pictures into their places."""
        import cv2

        cell = self._job.plan.cell(tile)
        content = opened.backdrop()
        if content:
            top, left, bottom, right = coarse_box(*cell, self._job.coarse)
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            self._backdrop[top:bottom, left:right] = 0 if image is None else image  # as OpenCV has it: BGR
        counts = opened.density()
        if self._counts is not None and counts is not None:
            top, left = cell[0] // self._job.dense, cell[1] // self._job.dense
            self._counts[top : top + counts.shape[0], left : left + counts.shape[1]] += counts

    def write_backdrop(self, path: Path) -> None:
        """The scene as a JPEG of at most BACKDROP_PX; white where there is no image. Raises OutputError.

        Beside it, `PATH.aux.xml` says where it lies, as GDAL and QGIS read it.
        """
        import cv2
        import pyproj

        grid, step = self._job.scene.grid, self._job.coarse * self._job.scene.grid.gsd_m
        six = ", ".join(repr(value) for value in (grid.x0, step, 0.0, grid.y0, 0.0, -step))
        wkt = xml.sax.saxutils.escape(pyproj.CRS.from_user_input(grid.crs).to_wkt("WKT1_GDAL"))
        about = f"<PAMDataset>\n  <SRS>{wkt}</SRS>\n  <GeoTransform>{six}</GeoTransform>\n</PAMDataset>\n"
        _, content = cv2.imencode(".jpg", self._backdrop, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        write_bytes(path, content.tobytes())
        write_text(path.with_name(f"{path.name}.aux.xml"), about)

    def write_density(self, path: Path, spec: HeatmapSpec, scratch: Path, threads: int) -> None:
        """The heat-map of all points on coarse pixels as a COG; raises OutputError."""
        if self._counts is None:
            return
        occupied = self._counts[self._counts > 0]
        busy = float(np.quantile(occupied, 0.99)) if len(occupied) else 1.0
        coarser = HeatmapSpec(n_max=max(spec.n_max, busy), sigma_px=spec.sigma_px)
        try:
            with open_plain(scratch, self.density_grid) as raster:
                raster.write(heatmap_from_counts(self._counts, coarser), 1)
        except OSError as error:
            raise OutputError.from_os(scratch, error) from error
        write_cog(scratch, path, {"roadedge": "density of points", "n_max": f"{coarser.n_max:g}"}, threads)
