"""Rasterising 50 million GPS points: ours beside numpy.histogram2d and numpy.add.at, in one run.

A: one map of 1024 x 1024 pixels. B: 400 maps of 1024 x 1024, a city of 20 x 20 tiles, log and Gaussian included.
The first call stands by itself, since ours imports numba then and loads or compiles its loops. Of the calls after it,
seconds are the least, by the clock and of the processor (a busy machine shows in the first alone), and memory is the
peak of the resident set above what it was before.

    python benchmarks/rasterize.py [--points 50000000] [--repeats 3] [-o benchmarks/results]
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import write_json, write_text
from roadedge.environment import environment
from roadedge.spec import HeatmapSpec
from roadedge.trajectory import heatmap

SIDE = 1024
TILES = 20
HISTOGRAM_MB = 14_000  # what numpy.histogram2d of the whole city takes, of two float64 arrays of 20 480² and more
SPEC = HeatmapSpec()


@dataclass(frozen=True)
class Row:
    """One method on one case; NumPy's slow ones are called once, and their first call is their best."""

    case: str
    method: str
    points_type: str
    best_s: float
    best_cpu_s: float
    peak_extra_mb: float
    first_call_s: float
    first_call_extra_mb: float
    points_counted: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=50_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows: list[Row] = []
    city = street_points(options.points, SIDE * TILES)
    for case, method, run, repeats in cases(options.repeats):
        if case == "B" and "histogram2d" in method and status_mb("MemAvailable", "/proc/meminfo") < HISTOGRAM_MB:
            print(f"{case} {method}: not run, it needs {HISTOGRAM_MB / 1024:.0f} GB of free memory", flush=True)
            continue
        given = city * (SIDE / (SIDE * TILES)) if case == "A" else city
        rows.append(measure(case, method, run, given, repeats))
        del given
        last = rows[-1]
        print(f"{case} {method:36s} {last.best_s:8.3f} s, cpu {last.best_cpu_s:8.3f} s, +{last.peak_extra_mb:6.0f} MB")
    single = city.astype(np.float32)
    rows.append(measure("B", "roadedge rasterize_tiles", our_tiles, single, options.repeats))
    single *= np.float32(1 / TILES)
    rows.append(measure("A", "roadedge rasterize", our_map, single, options.repeats))
    check(rows)
    return write(rows, options)


def cases(repeats: int) -> list[tuple[str, str, Callable[[NDArray[Any]], int], int]]:
    return [
        ("A", "roadedge rasterize", our_map, repeats),
        ("A", "roadedge rasterize, NumPy alone", without_numba(our_map), repeats),
        ("A", "numpy.histogram2d", histogram2d(SIDE), 1),
        ("A", "numpy.add.at", add_at(SIDE), 1),
        ("B", "roadedge rasterize_tiles", our_tiles, repeats),
        ("B", "roadedge rasterize_tiles, NumPy alone", without_numba(our_tiles), 1),
        ("B", "numpy.histogram2d, counts only", histogram2d(SIDE * TILES), 1),
        ("B", "numpy.add.at, counts only", add_at(SIDE * TILES), 1),
    ]


def street_points(number: int, side: int) -> NDArray[np.float64]:
    """Points on a grid of streets, 120 px apart and 6 px blurred; one in a hundred lies outside."""
    rng = np.random.default_rng(0)
    points = np.empty((number, 2))
    for start in range(0, number, 1 << 20):
        part = rng.uniform(-0.0025 * side, 1.0025 * side, (min(1 << 20, number - start), 2))
        along = rng.integers(0, 2, len(part))
        rows = np.arange(len(part))
        part[rows, along] = np.round(part[rows, along] / 120) * 120 + rng.normal(0, 6, len(part))
        points[start : start + len(part)] = part
    return points


def our_map(points: NDArray[Any]) -> int:
    counts = heatmap.count_points(points, (SIDE, SIDE))
    heatmap.heatmap_from_counts(counts, SPEC)
    return int(counts.sum())


def our_tiles(points: NDArray[Any]) -> int:
    """All 400 maps are kept, as a caller would who writes them later; the counts are summed for the check."""
    maps = np.empty((TILES * TILES, SIDE, SIDE), np.uint8)
    total = 0
    for row, column, counts in heatmap.count_tiles(points, (SIDE, SIDE), (TILES, TILES)):
        maps[row * TILES + column] = heatmap.heatmap_from_counts(counts, SPEC)
        total += int(counts.sum())
    return total


def without_numba(run: Callable[[NDArray[Any]], int]) -> Callable[[NDArray[Any]], int]:
    def numpy_alone(points: NDArray[Any]) -> int:
        threshold = heatmap.KERNEL_MIN_POINTS
        heatmap.KERNEL_MIN_POINTS = sys.maxsize
        try:
            return run(points)
        finally:
            heatmap.KERNEL_MIN_POINTS = threshold

    return numpy_alone


def histogram2d(side: int) -> Callable[[NDArray[Any]], int]:
    def run(points: NDArray[Any]) -> int:
        counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=side, range=((0, side), (0, side)))
        return int(counts.sum())

    return run


def add_at(side: int) -> Callable[[NDArray[Any]], int]:
    def run(points: NDArray[Any]) -> int:
        x, y = np.floor(points[:, 0]).astype(np.int64), np.floor(points[:, 1]).astype(np.int64)
        inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
        counts = np.zeros((side, side), np.uint32)
        np.add.at(counts, (y[inside], x[inside]), 1)
        return int(counts.sum())

    return run


def measure(case: str, method: str, run: Callable[[NDArray[Any]], int], points: NDArray[Any], repeats: int) -> Row:
    calls = [call(run, points) for _ in range(repeats)]
    first, later = calls[0], calls[1:] or calls
    best_s, best_cpu_s, peak_mb = (min(values) for values in zip(*(c[:3] for c in later), strict=True))
    return Row(case, method, str(points.dtype), best_s, best_cpu_s, peak_mb, first[0], first[2], first[3])


def call(run: Callable[[NDArray[Any]], int], points: NDArray[Any]) -> tuple[float, float, float, int]:
    """Seconds by the clock and of the processor, peak extra MB, points counted."""
    gc.collect()
    before = reset_peak_mb()
    start, start_cpu = time.perf_counter(), time.process_time()
    total = run(points)
    return time.perf_counter() - start, time.process_time() - start_cpu, peak_mb() - before, total


def reset_peak_mb() -> float:
    """Linux only: forget the peak of the resident set and return its present size."""
    Path("/proc/self/clear_refs").write_text("5")
    return status_mb("VmRSS")


def peak_mb() -> float:
    return status_mb("VmHWM")


def status_mb(field: str, file: str = "/proc/self/status") -> float:
    line = next(line for line in Path(file).read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def check(rows: list[Row]) -> None:
    """Every method counts the same points; histogram2d closes the last border, which no random point meets."""
    for case in ("A", "B"):
        totals = {row.method: row.points_counted for row in rows if row.case == case and row.points_type == "float64"}
        assert len(set(totals.values())) == 1, totals


def write(rows: list[Row], options: argparse.Namespace) -> int:
    now = datetime.now(timezone.utc)
    record = {
        "schema_version": 1,
        **environment(),
        "opencv_threads": 1,
        "memory_gb": round(status_mb("MemTotal", "/proc/meminfo") / 1024, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "points": options.points,
        "targets": {"A": {"best_s": 0.6, "peak_extra_mb": 100}, "B": {"best_s": 5.0, "peak_extra_mb": 1024}},
        "rows": [asdict(row) for row in sorted(rows, key=lambda row: row.case)],
    }
    stem = options.output / f"rasterize-{now:%Y%m%d}"
    write_json(stem.with_suffix(".json"), record)
    write_text(stem.with_suffix(".md"), as_markdown(record))
    print(f"Results saved to {stem.with_suffix('.json').resolve()}")
    return 0


def as_markdown(record: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {record['packages'][name]}" for name in ("numpy", "numba", "opencv-python"))
    head = f"""# Rasterising {record["points"]:,} points

{record["date"]} · {record["processor"]}, {record["cpu_count"]} cores, {record["memory_gb"]} GB, load average
{record["load_average"][0]} at the end · Python {record["python"]}, {versions} · `{record["command"]}`

A: one map of 1024². B: 400 maps of 1024². Ours count, take the logarithm and blur; NumPy's functions only count. All on
one thread. Targets: A in 0.6 s and 100 MB, B in 5 s and 1 GB. "CPU s" is what the call takes of a processor: on a busy
machine the clock shows the neighbours too. Memory is the peak beyond the points. One map is
counted by NumPy until numba is loaded, which the first call for 400 maps does.

| case | method | points | s | CPU s | + MB | first call s | first + MB |
|---|---|---|---|---|---|---|---|
"""
    rows = [
        f"| {row['case']} | {row['method']} | {row['points_type']} | {row['best_s']:.2f} | {row['best_cpu_s']:.2f} "
        f"| {row['peak_extra_mb']:.0f} | {row['first_call_s']:.2f} | {row['first_call_extra_mb']:.0f} |"
        for row in record["rows"]
    ]
    return head + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
