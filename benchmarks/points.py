"""Ingest at scale: rows per second and peak memory of `roadedge points ingest`, and the time to read one tile.

Vehicles drive along a street grid of 20 x 20 km; the points of each trip follow each other, with a receiver's error of
6 m, as the files of a fleet have them. The table is written once and kept in --folder, so that a run which was stopped
goes on from there. Ingest runs in a process of its own, whose peak of resident memory the system keeps.

    python benchmarks/points.py [--points 50000000] [--format csv] [--folder FOLDER] [-o benchmarks/results]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import replacing, write_json, write_text
from roadedge.environment import environment
from roadedge.trajectory.point_store import PointStore

CRS = "EPSG:32616"
WEST, SOUTH, SIDE_M, STREET_M = 440_000.0, 4_630_000.0, 20_000.0, 200.0
POINTS_OF_TRIP = 120
CHUNK_TRIPS = 10_000
ERROR_M = 6.0
TILE_M = 1024 * 0.3
READS = 300
CHILD = """
import json, resource, sys, time
from pathlib import Path
from roadedge.trajectory.ingest.options import IngestOptions
from roadedge.trajectory.ingest.run import ingest
began, used = time.perf_counter(), time.process_time()
crs = sys.argv[3] if sys.argv[3] else None
info = ingest([Path(sys.argv[1])], sys.argv[2], IngestOptions(crs=crs), True, lambda t: print(t, file=sys.stderr))
print(json.dumps({"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "rows": info["rows"],
    "derived": info["derived"], "trips": info["trips"], "dropped": info["dropped"]}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=50_000_000)
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/roadedge-points"))
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    table = options.folder / f"points-{options.points}.{options.format}"
    if not table.exists():
        write_table(table, options.points)
    store = options.folder / f"store-{options.points}.parquet"
    done = subprocess.run([sys.executable, "-c", CHILD, str(table), str(store), CRS], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return done.returncode
    measured: dict[str, Any] = json.loads(done.stdout)
    measured |= {"table_bytes": table.stat().st_size, "store_bytes": store.stat().st_size, "format": options.format}
    measured["rows_per_s"] = measured["rows"] / measured["seconds"]
    measured["reads"] = [read_tiles(store, columns) for columns in (None, ())]
    report(measured, options)
    return 0


def write_table(path: Path, points: int) -> None:
    """Trip after trip; written under another name and renamed, so that a table that is there is whole."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    rng = np.random.default_rng(0)
    trips = -(-points // POINTS_OF_TRIP)
    schema = pa.schema([("vid", pa.int64()), ("t", pa.float64()), ("x", pa.float64()), ("y", pa.float64())])
    with replacing(path) as temporary:
        writer: Any = (csv.CSVWriter if path.suffix == ".csv" else parquet.ParquetWriter)(temporary, schema)
        with writer:
            for first in range(0, trips, CHUNK_TRIPS):
                columns = drive(rng, np.arange(first, min(first + CHUNK_TRIPS, trips)))
                left = points - first * POINTS_OF_TRIP
                writer.write_table(pa.table([column[:left] for column in columns], schema=schema))
                print(
                    f"{min(points, (first + CHUNK_TRIPS) * POINTS_OF_TRIP):,} of {points:,} rows written",
                    file=sys.stderr,
                )


def drive(rng: np.random.Generator, trips: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """vid, t, x, y of trips along one street each, a point every 5 s."""
    count = len(trips)
    step = np.arange(POINTS_OF_TRIP)
    street = rng.integers(0, int(SIDE_M / STREET_M), count) * STREET_M
    start, speed = rng.uniform(0, SIDE_M, count), rng.uniform(3, 18, count) * np.where(rng.random(count) < 0.5, -1, 1)
    along = np.mod(start[:, None] + speed[:, None] * 5.0 * step, SIDE_M)
    across = np.broadcast_to(street[:, None], along.shape)
    east_west = rng.random(count)[:, None] < 0.5
    x = np.where(east_west, along, across) + rng.normal(0, ERROR_M, along.shape)
    y = np.where(east_west, across, along) + rng.normal(0, ERROR_M, along.shape)
    t_s = 1_700_000_000 + rng.integers(0, 604_800, count)[:, None] + 5.0 * step
    vid = np.repeat(trips, POINTS_OF_TRIP)
    return vid, t_s.ravel(), np.round(x.ravel() + WEST, 2), np.round(y.ravel() + SOUTH, 2)


def read_tiles(path: Path, columns: tuple[str, ...] | None) -> dict[str, Any]:
    """Milliseconds to read tiles of 1024 pixels of 0.3 m at random places.

    Cold: opened for each read, the file's pages dropped from the system's cache before. Warm: one open store, each
    tile for the second time; what it keeps decoded serves neighbours, so tiles lie apart and are more than it keeps.
    """
    rng = np.random.default_rng(1)
    corners = np.array([WEST, SOUTH]) + rng.uniform(0, SIDE_M - TILE_M, (READS, 2))
    cold, warm, rows, groups = [], [], [], []
    for x, y in corners:
        _drop_cached(path)
        began = time.perf_counter()
        with PointStore.open(path) as store:
            opened = time.perf_counter()
            rows.append(len(store.read(x, y, x + TILE_M, y + TILE_M, columns)))
            cold.append((time.perf_counter() - began, opened - began))
            groups.append(store.groups_of(x, y, x + TILE_M, y + TILE_M))
    with PointStore.open(path) as store:
        for turn in range(2):
            for x, y in corners:
                began = time.perf_counter()
                store.read(x, y, x + TILE_M, y + TILE_M, columns)
                if turn:
                    warm.append(time.perf_counter() - began)
    whole, opening = np.array(cold).T * 1e3
    return {
        "columns": "all" if columns is None else "x, y",
        "rows_median": float(np.median(rows)),
        "row_groups_median": float(np.median(groups)),
        "cold_ms": _percentiles(whole),
        "of_that_opening_ms": _percentiles(opening),
        "warm_ms": _percentiles(np.array(warm) * 1e3),
    }


def _percentiles(values: NDArray[np.float64]) -> dict[str, float]:
    return {"p50": float(np.percentile(values, 50)), "p99": float(np.percentile(values, 99))}


def _drop_cached(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def report(measured: dict[str, Any], options: argparse.Namespace) -> None:
    """Write and print what was measured."""
    about = environment()
    name = f"points-{options.format}-{datetime.now(timezone.utc):%Y-%m-%d}"
    derived, seconds, used = measured["derived"], measured["seconds"], measured["cpu_seconds"]
    lines = [
        f"# Ingest of {measured['rows']:,} points from {options.format.upper()}",
        "",
        f"{about['date']}, {about['processor']}, {about['cpu_count']} cores, Python {about['python']}, "
        f"pyarrow {about['packages'].get('pyarrow')}, numpy {about['packages'].get('numpy')}; `{about['command']}`",
        "",
        "| what | measured |",
        "|---|---|",
        f"| time, from the file to the store | {seconds:.1f} s ({used:.1f} s of processor) |",
        f"| rows per second | {measured['rows_per_s']:,.0f} |",
        f"| peak resident memory | {measured['peak_mb']:.0f} MB |",
        f"| table, store | {measured['table_bytes'] / 1e6:.0f} MB, {measured['store_bytes'] / 1e6:.0f} MB |",
        f"| speeds and headings derived | {derived['speed_ms']:,}, {derived['heading_deg']:,} |",
        "",
        f"One tile of {TILE_M:.0f} m, {READS} at random places, milliseconds (median, p99):",
        "",
        "| columns | points | row groups | cold, opening included | of that opening | warm |",
        "|---|---|---|---|---|---|",
    ]
    for row in measured["reads"]:
        cold, opening, warm = row["cold_ms"], row["of_that_opening_ms"], row["warm_ms"]
        lines.append(
            f"| {row['columns']} | {row['rows_median']:,.0f} | {row['row_groups_median']:.0f} | "
            f"{cold['p50']:.1f}, {cold['p99']:.1f} | {opening['p50']:.1f}, {opening['p99']:.1f} | "
            f"{warm['p50']:.1f}, {warm['p99']:.1f} |"
        )
    text = "\n".join(lines) + "\n"
    write_text(options.output / f"{name}.md", text)
    write_json(options.output / f"{name}.json", {"environment": about, **measured})
    print(text)


if __name__ == "__main__":
    sys.exit(main())
