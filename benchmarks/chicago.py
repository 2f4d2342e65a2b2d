"""Chicago's real GPS points → heat-map → road mask and graph, by the network and by simple thresholds, in one run.

The 889 trips of a campus shuttle (118,360 points, April 2011) are ingested as a store, drawn as the heat-map that the
network was trained on, and given to it without an image (its blank is fed instead). The probability becomes a road
graph by `roadedge vectorize`. Beside it, in the same run and by the same tracer: the density of the points, blurred and
cut at thresholds, the way maps were built from tracks before networks.

Scores are by length against OpenStreetMap: precision is the share of the drawn roads within 10 m of a road of the map;
recall, of the map's roads that trips follow (at least 5 points within 10 m of a place), the share within 10 m of a
drawn one. The shuttle drives a quarter of the map, so recall against all of it says little. Each threshold of either
method is a row: nothing is chosen by the result. OpenStreetMap and the tracks: ODbL.

    ROADEDGE_DATA=… python benchmarks/chicago.py [--model roadedge-s] [-o benchmarks/results] [--picture chicago.jpg]
"""

from __future__ import annotations

import argparse
import io
import os
import re
import tempfile
import time
import zipfile
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from road_graph import chicago
from scipy.spatial import cKDTree

import roadedge
from roadedge.atomic import write_json, write_text
from roadedge.environment import environment
from roadedge.imagery import write_jpeg
from roadedge.postprocess import postprocess
from roadedge.preprocess import preprocess
from roadedge.roadgraph import RoadGraph, TraceOptions, read_geojson
from roadedge.roadmap.gaps import GapOptions
from roadedge.roadmap.roads import RoadsOptions, RoadsResult, vectorize
from roadedge.sample import Sample
from roadedge.trajectory.ingest.options import IngestOptions
from roadedge.trajectory.ingest.run import ingest
from roadedge.trajectory.point_store import PointStore

CRS = "EPSG:26916"
CORE, MARGIN = 1024, 128  # pixels of a window that are kept, and around them
WITHIN_M = 10.0
STEP_M = 2.0
SEEN_POINTS = 5
BLURS_M = (3, 6, 10)
NETWORK = (0.3, 0.5, 0.7, 0.85, 0.95)
DENSITY = (0.25, 0.5, 1, 2, 4, 8, 16)  # points per 100 m²
Array = NDArray[np.float64]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="roadedge-s")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    data = Path(os.environ["ROADEDGE_DATA"])
    truth = chicago(data)
    with tempfile.TemporaryDirectory() as folder, roadedge.load(options.model) as network:
        work = Path(folder)
        info = ingest([write_table(data, work)], work / "points.parquet", IngestOptions(crs=CRS))
        with PointStore.open(work / "points.parquet") as store:
            points = store.read(*store.bounds).xy()
            grid = frame(store.bounds, network.spec.gsd_m or 0.46)
            began = time.perf_counter()
            windows = write_probability(work / "network.tif", points, grid, network)
            seconds = time.perf_counter() - began
            for blur_m in BLURS_M:
                write_density(work / f"density, {blur_m} m.tif", points, grid, blur_m)
            rows, graphs = rated(work, store, truth, points)
    record = {
        "schema_version": 1, **environment(), "model": options.model, "points": len(points), "trips": info.get("trips"),
        "pixels": grid[2], "gsd_m": grid[1], "windows": windows, "network_seconds": round(seconds, 2),
        "load_average": [round(load, 2) for load in os.getloadavg()], "rows": rows,
    }  # fmt: skip
    if options.picture is not None:
        write_jpeg(options.picture, drawn(graphs, truth, points))
    return write(record, options.output)


def write_table(data: Path, work: Path) -> Path:
    """The trips as one CSV with columns vid, x, y, t."""
    lines = ["vid,x,y,t"]
    with zipfile.ZipFile(data / "chicago" / "tracks_chicago.zip") as archive:
        for name in archive.namelist():
            if (found := re.fullmatch(r"chicago/trips/trip_(\d+)\.txt", name)) is not None:
                trip = np.loadtxt(io.BytesIO(archive.read(name)), ndmin=2)
                lines += [f"{found[1]},{x:.3f},{y:.3f},{t:.1f}" for x, y, t in trip[:, :3].tolist()]
    (work / "points.csv").write_text("\n".join(lines) + "\n")
    return work / "points.csv"


def frame(
    bounds: tuple[float, float, float, float], gsd_m: float
) -> tuple[tuple[float, float], float, tuple[int, int]]:
    """Upper left corner, metres per pixel and (H, W) of the rasters, with 50 m around all points."""
    x0, y0, x1, y1 = bounds
    size = int(np.ceil((y1 - y0 + 100) / gsd_m)), int(np.ceil((x1 - x0 + 100) / gsd_m))
    return (x0 - 50, y1 + 50), gsd_m, size


def pixels_of(points: Array, grid: Any) -> Array:
    (left, top), gsd_m, _ = grid
    return np.column_stack([points[:, 0] - left, top - points[:, 1]]) / gsd_m


def write_probability(path: Path, points: Array, grid: Any, network: Any) -> int:
    """The network's probability by windows, without an image; windows without a point have no road."""
    _, gsd_m, (height, width) = grid
    road = np.zeros((height, width), np.uint8)
    place = pixels_of(points, grid)
    side, count = CORE + 2 * MARGIN, 0
    for top in range(0, height, CORE):
        for left in range(0, width, CORE):
            local = place - [left - MARGIN, top - MARGIN]
            local = local[((local >= 0) & (local < side)).all(axis=1)]
            if not len(local):
                continue
            sample = Sample(None, local.astype(np.float32), (side, side), gsd_m=gsd_m)
            mask = postprocess(network.runner.infer(preprocess(sample, network.spec)), network.spec, sample)
            core = mask.probability[
                MARGIN : MARGIN + min(CORE, height - top), MARGIN : MARGIN + min(CORE, width - left)
            ]
            road[top : top + CORE, left : left + CORE] = core
            count += 1
            print(f"window {count}: {mask.road_fraction:.1%} road", flush=True)
    save(path, road, grid)
    return count


def write_density(path: Path, points: Array, grid: Any, blur_m: float) -> None:
    """Points per 100 m², blurred, as 36 log2(1 + 4 n), so that its levels can be thresholds of one byte."""
    _, gsd_m, (height, width) = grid
    column, row = np.floor(pixels_of(points, grid)).astype(np.int64).T
    count = np.bincount(row * width + column, minlength=height * width).reshape(height, width).astype(np.float32)
    blurred = cv2.GaussianBlur(count, (0, 0), blur_m / gsd_m) * (100 / gsd_m**2)
    save(path, np.clip(np.rint(level(blurred) * 255), 0, 255).astype(np.uint8), grid)


def level(density: Any) -> Any:
    return 36 * np.log2(1 + 4 * density) / 255


def save(path: Path, pixels: NDArray[np.uint8], grid: Any) -> None:
    (left, top), gsd_m, (height, width) = grid
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8", crs=CRS, compress="deflate",
        transform=Affine(gsd_m, 0, left, 0, -gsd_m, top), tiled=True,
    ) as raster:  # fmt: skip
        raster.write(pixels, 1)


def rated(
    work: Path, store: PointStore, truth: RoadGraph, points: Array
) -> tuple[list[dict[str, Any]], list[RoadGraph]]:
    """Each threshold of both methods as a row, and the graphs that are drawn: of the network, of the density."""
    map_points, _ = along(truth)
    seen = cKDTree(points).query_ball_point(map_points, WITHIN_M, return_length=True) >= SEEN_POINTS
    print(f"{seen.sum() * STEP_M / 1000:.1f} km of the map's {len(map_points) * STEP_M / 1000:.1f} km are driven")
    cases = [("network", value, TraceOptions(value, 0.7 * value), None) for value in NETWORK]
    cases += [
        ("network, gaps closed", value, TraceOptions(value, 0.7 * value), GapOptions(40.0)) for value in NETWORK[1:2]
    ]
    for blur_m in BLURS_M:
        cases += [
            (f"density, {blur_m} m", value, TraceOptions(float(level(value)), float(level(value))), None)
            for value in DENSITY
        ]
    rows, graphs = [], {}
    for method, threshold, trace, gaps in cases:
        source = work / ("network.tif" if method.startswith("network") else f"{method}.tif")
        files = {"geojson": work / f"{method} {threshold}.geojson"}
        options = RoadsOptions(("geojson",), trace, gaps=gaps)
        result = vectorize(source, files, options, store, lambda line: None)
        graph = in_metres(read_geojson(files["geojson"]))
        row = {"method": method, "threshold": threshold, **score(graph, truth, map_points, seen), **facts(result)}
        rows.append(row)
        graphs[method, threshold] = graph
        print({key: row[key] for key in ("method", "threshold", "precision", "recall_driven", "f1", "km")}, flush=True)
    best = max((row for row in rows if row["method"].startswith("density")), key=lambda row: row["f1"])
    return rows, [graphs["network", 0.5], graphs[best["method"], best["threshold"]]]


def in_metres(graph: RoadGraph) -> RoadGraph:
    from roadedge.roadmap.grid import converted

    return replace(graph.moved(lambda xy: converted(np.asarray(xy), "OGC:CRS84", CRS), CRS), unit="m")


def facts(result: RoadsResult) -> dict[str, Any]:
    return {
        "edges": result.edges, "km": result.length_km, "junctions": result.junctions, "bridged": result.bridged,
        "edges_with_trips": result.edges_with_trips, "oneway_edges": result.oneway_edges,
        "points_on_roads": result.points_on_roads,
    }  # fmt: skip


def along(graph: RoadGraph) -> tuple[Array, NDArray[np.int64]]:
    """Places every STEP_M along all roads, and the edge of each."""
    places, edge = [np.empty((0, 2))], []
    for number, line in enumerate(graph.lines):
        way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        at = np.arange(STEP_M / 2, way[-1], STEP_M)
        places.append(np.column_stack([np.interp(at, way, line[:, 0]), np.interp(at, way, line[:, 1])]))
        edge += [number] * len(at)
    return np.concatenate(places), np.array(edge, np.int64)


def score(graph: RoadGraph, truth: RoadGraph, map_points: Array, seen: NDArray[np.bool_]) -> dict[str, float]:
    drawn_points, _ = along(graph)
    if not len(drawn_points):
        return {"precision": float("nan"), "recall_driven": 0.0, "recall_all": 0.0, "f1": 0.0}
    hit = cKDTree(map_points).query(drawn_points)[0] <= WITHIN_M
    found = cKDTree(drawn_points).query(map_points)[0] <= WITHIN_M
    precision, recall = float(hit.mean()), float(found[seen].mean())
    f1 = 2 * precision * recall / max(precision + recall, 1e-12)
    values = {"precision": precision, "recall_driven": recall, "recall_all": float(found.mean()), "f1": f1}
    return {name: round(value, 4) for name, value in values.items()}


def drawn(graphs: list[RoadGraph], truth: RoadGraph, points: Array) -> NDArray[np.uint8]:
    """Three panels of the middle of the city: points, the network's roads, the thresholded density's; over the map."""
    middle, half, side = np.median(points, axis=0), 700.0, 720
    corner, panels = middle + np.array([-half, half]), []

    def place(xy: Array) -> NDArray[np.int32]:
        """Sixteenths of a pixel."""
        return np.rint((xy - corner) * np.array([1, -1]) * side / (2 * half) * 16).astype(np.int32)

    for title, graph in (("118,360 GPS points", None), ("roadedge-s, points alone", graphs[0]),
                         ("thresholded density, by its best F1", graphs[1])):  # fmt: skip
        panel = np.full((side, side, 3), 250, np.uint8)
        for line in truth.lines:
            cv2.polylines(panel, [place(line)], False, (205, 205, 205), 3, cv2.LINE_AA, 4)
        if graph is None:
            for x, y in place(points).tolist():
                cv2.circle(panel, (x, y), 8, (20, 110, 200), -1, cv2.LINE_AA, 4)
        else:
            near = cKDTree(along(truth)[0])
            for line in graph.lines:
                good = near.query(line)[0] <= WITHIN_M
                for number in range(len(line) - 1):
                    colour = (20, 140, 60) if good[number] and good[number + 1] else (210, 40, 40)
                    cv2.line(panel, *place(line[number : number + 2]).tolist(), colour, 2, cv2.LINE_AA, 4)
        cv2.rectangle(panel, (0, 0), (side, 30), (24, 26, 30), -1)
        cv2.putText(panel, title, (10, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (240, 240, 240), 1, cv2.LINE_AA)
        panels.append(panel)
    return np.concatenate(panels, axis=1)


def verdict(rows: list[dict[str, Any]]) -> list[str]:
    """What each method recalls at no less than a precision: the fair comparison, whatever its threshold means."""
    lines = ["Most recall (of driven roads) at no less than a precision:", "", "| precision | network | density |"]
    lines += ["|---:|---:|---:|"]
    for least in (0.85, 0.90, 0.94, 0.96):
        best = []
        for method in ("network", "density"):
            kept = [
                row["recall_driven"] for row in rows if row["method"].startswith(method) and row["precision"] >= least
            ]
            best.append(f"{max(kept):.3f}" if kept else "–")
        lines.append(f"| {least:.2f} | {best[0]} | {best[1]} |")
    return lines


def write(record: dict[str, Any], folder: Path) -> int:
    now = datetime.now(timezone.utc)
    lines = [
        "# Roads out of Chicago's GPS points",
        "",
        f"{now.isoformat(timespec='seconds')} · {record['processor']} · roadedge {record['roadedge']} · `chicago.py`",
        "",
        f"{record['points']} measured points of 889 trips (real, not simulated). Network: {record['model']} on the",
        f"heat-map alone, {record['windows']} windows. Precision and recall by length within 10 m of OpenStreetMap;",
        "recall: of the map's roads that have points. Density: points per 100 m² under a",
        "Gaussian of so many metres, cut at the value.",
        "",
        "| method | threshold | precision | recall (driven) | F1 | recall (all) | km | junctions | bridged |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['method']} | {row['threshold']:g} | {row['precision']:.3f} | {row['recall_driven']:.3f} | "
        f"{row['f1']:.3f} | {row['recall_all']:.3f} | {row['km']:.1f} | {row['junctions']} | {row['bridged']} |"
        for row in record["rows"]
    ]
    lines += ["", *verdict(record["rows"])]
    lines += ["", "Tracks and map: © OpenStreetMap contributors and the mapconstruction.org authors, ODbL.", ""]
    path = folder / f"chicago-{now:%Y-%m-%d}.md"
    write_text(path, "\n".join(lines))
    write_json(path.with_suffix(".json"), {**record, "date": now.isoformat(timespec="seconds")})
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
