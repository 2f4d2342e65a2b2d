"""A synthetic city from its scene and ingested points to COG and GeoPackage: km² an hour, megapixels a second, memory.

The city (`benchmarks/city_scene.py`) and its store of points are made once and kept; neither is timed. Each run is the
command that a user types, in a process of its own: the seconds are of the whole command, from the start of Python to
its end, the memory is that of all its processes together, looked at ten times a second (proportional set size, so that
pages that they share count once).

    python benchmarks/map_city.py [--side 20000] [--points 10000000] [--folder /tmp/city20k] [-o benchmarks/results]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json, write_text
from roadedge.environment import environment

ROOT = Path(__file__).resolve().parent.parent
RUNS = {  # name → options of `roadedge map`
    "one process, a thread a core": ["--executor", "threads"],
    "two processes": ["--executor", "processes", "--workers", "2", "--threads", "1"],
    "a thread a core, bf16 between INT8": ["--executor", "threads", "--precision", "bf16"],
    "one process, one thread": ["--executor", "processes", "--workers", "1", "--threads", "1"],
}
PUBLISHED_KM2_PER_H = 650  # one GPU: see docs/maps.md


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "roadedge-city")
    parser.add_argument("--model", default="roadedge-s:int8")
    parser.add_argument("--gsd", type=float, default=0.3)
    parser.add_argument("--tile", type=int, default=2048)
    parser.add_argument("--overlap", type=int, default=64)
    parser.add_argument("--only", choices=list(RUNS), action="append", help="of the runs; may be repeated")
    parser.add_argument("--keep", action="store_true", help="do not delete the maps")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    make_city(options)
    rows = [measure(name, RUNS[name], options) for name in options.only or RUNS]
    record = {
        **environment(),
        "load_average": list(os.getloadavg()),
        "side_px": options.side,
        "gsd_m": options.gsd,
        "points": options.points,
        "scene_mb": (options.folder / "scene.tif").stat().st_size / 1e6,
        "scene_kind": "tiled GeoTIFF, JPEG 90",
        "model": options.model,
        "rows": rows,
    }
    stem = options.output / f"map-city-{options.side}-{record['date'][:10]}"
    write_json(stem.with_suffix(".json"), record)
    write_text(stem.with_suffix(".md"), page(record))
    print(f"wrote {stem}.json and .md; load average {os.getloadavg()[0]:.1f}")
    return 0


def make_city(options: argparse.Namespace) -> None:
    """The scene, its points, and the store of them, where they are not there yet."""
    from benchmarks import city_scene

    city_scene.make(options.folder, options.side, options.points, options.gsd)
    store = options.folder / "points.parquet"
    if not store.exists():
        fixes = str(options.folder / "fixes.parquet")
        run = [*python(), "points", "ingest", fixes, "-o", str(store), "--crs", city_scene.CRS, "-q"]
        subprocess.run(run, check=True, env=surroundings(), stdout=subprocess.DEVNULL)


def measure(name: str, more: list[str], options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        out = (
            options.folder / f"map-{name.replace(' ', '-').replace(',', '')}" if options.keep else Path(scratch) / "map"
        )
        command = [
            *python(), "map", str(options.folder / "scene.tif"), "-o", str(out), "--points",
            str(options.folder / "points.parquet"), "--model", options.model, "--gsd", str(options.gsd), "--tile",
            str(options.tile), "--overlap", str(options.overlap), "--json", "-q", *more,
        ]  # fmt: skip
        if out.exists():
            command.append("--overwrite")
        load = os.getloadavg()[0]
        began = time.perf_counter()
        process = subprocess.Popen(command, env=surroundings(), stdout=subprocess.PIPE)
        watch = Watch(process.pid)
        content, _ = process.communicate()
        wall_s = time.perf_counter() - began
        peak_mb = watch.stop()
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        said = json.loads(content)
    row = {
        "run": name,
        "wall_s": wall_s,
        "km2_per_h": said["area_km2"] / wall_s * 3600,
        "megapixels_per_s": said["size"][0] * said["size"][1] / 1e6 / wall_s,
        "peak_mb": peak_mb,
        "seconds": said["seconds"],
        "worker_seconds": said["worker_seconds"],
        "tiles": said["tiles"],
        "points_on_scene": said["points"]["on_scene"],
        "roads": {key: said["roads"][key] for key in ("edges", "length_km", "junctions")} if said["roads"] else None,
        "load_before": load,
    }
    print(
        f"{name:32s} {wall_s:8.1f} s {row['km2_per_h']:8.0f} km²/h {row['megapixels_per_s']:6.2f} Mpx/s "
        f"{peak_mb:6.0f} MB"
    )
    return row


class Watch:
    """Looks at a process and all below it ten times a second; knows the greatest memory of all together."""

    def __init__(self, process: int) -> None:
        self._root, self._peak_kb, self._over = process, 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> float:
        """Megabytes of 1024 * 1024 bytes."""
        self._over.set()
        self._thread.join()
        return self._peak_kb / 1024

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self._peak_kb = max(self._peak_kb, sum(map(proportional_kb, family(self._root))))


def family(root: int) -> list[int]:
    """A process and all that it started, and so on."""
    found, todo = [], [root]
    while todo:
        process = todo.pop()
        found.append(process)
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        except OSError:  # it has ended meanwhile
            continue
    return found


def proportional_kb(process: int) -> int:
    """Memory of a process, a page that n processes share counted as one n-th."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def python() -> list[str]:
    return [sys.executable, "-m", "roadedge.cli"]


def surroundings() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def page(record: dict[str, Any]) -> str:
    side_km = record["side_px"] * record["gsd_m"] / 1000
    lines = [
        "# A synthetic city as a map",
        "",
        f"{record['side_px']:,} × {record['side_px']:,} pixels at {record['gsd_m']} m, {side_km**2:.1f} km², "
        f"{record['points']:,} points of simulated trips (semi-synthetic), `{record['model']}`; scene "
        f"{record['scene_mb']:.0f} MB, {record['scene_kind']}. From the store of points and the scene to "
        "`probability.tif` (COG), `density.tif`, `backdrop.jpg` and `roads.gpkg`; seconds of the whole command.",
        "",
        "| run | s | km²/h | Mpx/s | peak MB | roads | prepare | tiles | assembly | COG | vectors |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        seconds = row["seconds"]
        steps = " | ".join(f"{seconds.get(key, 0):.1f}" for key in ("prepare", "tiles", "assembly", "cog", "roads"))
        roads = f"{row['roads']['length_km']:.0f} km" if row["roads"] else "–"
        lines.append(
            f"| {row['run']} | {row['wall_s']:.1f} | **{row['km2_per_h']:.0f}** | {row['megapixels_per_s']:.2f} | "
            f"{row['peak_mb']:.0f} | {roads} | {steps} |"
        )
    first = record["rows"][0]
    loads = ", ".join(f"{row['load_before']:.1f}" for row in record["rows"])
    lines += [
        "",
        f"{first['tiles']['count']} windows of {first['tiles']['window'][0]} × {first['tiles']['window'][1]} pixels "
        f"that share at least {first['tiles']['overlap']}. Seconds of the workers, added up: "
        + "; ".join(
            f"{row['run']}: " + ", ".join(f"{stage} {spent:.1f}" for stage, spent in row["worker_seconds"].items())
            for row in record["rows"]
        )
        + ".",
        "",
        f"{record['date']} · {record['processor']}, {record['cpu_count']} CPUs · load before each run {loads} · "
        f"Python {record['python']}, openvino {record['packages'].get('openvino')} · `{record['command']}`",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
