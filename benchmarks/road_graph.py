"""Mask → road graph → APLS: what each step takes, beside sknw and NetworkX, and what each loses.

Masks are those of the built-in city at 0.46 m. Calls take turns in one process on one thread; seconds are medians by
the clock, with the processor's in brackets; memory is the peak of what Python and NumPy allocate in a call of its own
(what OpenCV and numba take inside is not seen). sknw, which needs numba, is compared where it is installed:
pip install sknw==0.15.

    python benchmarks/road_graph.py [--sides 512 1300] [--repeats 7] [-o benchmarks/results]

With ROADEDGE_DATA the road graph of Chicago is scored against itself damaged.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from roadedge.atomic import write_json, write_text
from roadedge.data.city import City
from roadedge.environment import environment
from roadedge.metrics.apls import AplsSettings, apls
from roadedge.metrics.topo import topo
from roadedge.roadgraph import RoadGraph, geojson, trace
from roadedge.roadgraph.drawing import draw
from roadedge.roadgraph.pixel_graph import trace_skeleton
from roadedge.roadgraph.skeleton import clean, half_widths, skeletonize

GSD_M = 0.46
Case = tuple[str, Callable[[], Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1300])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    record: dict[str, Any] = {"schema_version": 1, **environment(), "opencv_threads": 1, "gsd_m": GSD_M}
    record["steps"] = [row for side in options.sides for row in steps(side, options.repeats)]
    record["losses"] = losses()
    record["city"] = city_scores(options.repeats)
    record["load_average"] = [round(load, 2) for load in os.getloadavg()]
    record["repeats"] = options.repeats
    return write(record, options.output)


def steps(side: int, repeats: int) -> list[dict[str, Any]]:
    """Each step by itself, then the ways from a mask to a graph."""
    road = City(0, GSD_M).window(0, 0, side, side).mask == 255
    mask = clean(road, 30 / GSD_M**2, 30 / GSD_M**2)
    half_width = half_widths(mask)
    skeleton, _ = skeletonize(mask, half_width)
    graph = trace(road, gsd_m=GSD_M)
    gone = np.random.default_rng(0).random(len(graph.u)) < 0.05
    other, damaged = graph.kept(~gone), road & ~draw(graph.kept(gone), road.shape, 40)

    def ours() -> float:
        return apls(trace(road, gsd_m=GSD_M), trace(damaged, gsd_m=GSD_M)).apls

    def by_networkx() -> float:
        from sknw_apls import apls_by_networkx, lines_of_mask  # beside this file

        return apls_by_networkx(*(lines_of_mask(one, GSD_M, sknw) for one in (road, damaged)), GSD_M)

    cases: list[Case] = [
        ("clean", lambda: clean(road, 30 / GSD_M**2, 30 / GSD_M**2)),
        ("distance to the sides", lambda: half_widths(mask)),
        ("skeleton (scikit-image, Zhang)", lambda: skeletonize(mask, half_width)),
        ("pixels → nodes and chains", lambda: trace_skeleton(skeleton)),
        ("trace: all of it, mask → RoadGraph", lambda: trace(road, gsd_m=GSD_M)),
        ("geojson", lambda: geojson(graph)),
        ("APLS, a twentieth of the roads missing", lambda: apls(graph, other)),
        ("two masks → graphs → APLS", ours),
    ]
    sknw = installed("sknw")
    if sknw is not None:
        cases.insert(4, ("sknw: pixels → NetworkX", lambda: sknw.build_sknw(skeleton.astype(np.uint8), multi=True)))
        cases.append(("the same by sknw + NetworkX", by_networkx))
    rows = []
    for (name, _), (seconds, cpu, mb) in zip(cases, taken(cases, repeats), strict=True):
        rows.append({"side": side, "step": name, "ms": 1e3 * seconds, "cpu_ms": 1e3 * cpu, "peak_mb": mb})
        print(f"{side:5d} {name:42s} {1e3 * seconds:8.1f} ms ({1e3 * cpu:.1f}) {mb:.1f} MB", flush=True)
    facts = {"road_percent": 100 * float(road.mean()), "skeleton_px": int(skeleton.sum()), "edges": len(graph.u)}
    facts |= {"apls": ours(), "apls_by_networkx": None if sknw is None else by_networkx()}
    return [{**row, **facts} for row in rows]


def losses() -> list[dict[str, Any]]:
    """Kilometres of drawn skeletons whose graph is known, and what is left of them."""
    ring = np.zeros((200, 200), np.uint8)
    cv2.circle(ring, (100, 100), 60, 1, 1)
    parallel = ring.copy()
    parallel[100, :41] = parallel[100, 160:] = 1  # a stem on either side makes two ways round of the ring
    both = {"a ring": ring, "two parallel roads": parallel}
    rows = []
    for name, drawn in both.items():
        skeleton = drawn.astype(bool)
        pixels = trace_skeleton(skeleton)
        row = {"shape": name, "roadedge": f"{len(pixels.centres)} nodes, {len(pixels.u)} edges"}
        sknw = installed("sknw")
        for title, options in (("sknw", {}), ("sknw, multi", {"multi": True}), ("sknw, no ring", {"ring": False})):
            if sknw is not None:
                made = sknw.build_sknw(drawn, **options)
                row[title] = f"{made.number_of_nodes()} nodes, {made.number_of_edges()} edges"
        rows.append(row)
    return rows


def city_scores(repeats: int) -> list[dict[str, Any]]:
    """The OSM roads of Chicago against themselves, a share of the edges missing."""
    folder = os.environ.get("ROADEDGE_DATA")
    if not folder:
        return []
    truth = chicago(Path(folder))
    drawn = np.random.default_rng(0).random(len(truth.u))
    rows = []
    for share in (0.0, 0.01, 0.05, 0.2):
        proposal = truth.kept(drawn >= share)
        settings = AplsSettings(most_points=200)
        score, walks = apls(truth, proposal, settings), topo(truth, proposal)
        cases: list[Case] = [
            ("APLS", partial(apls, truth, proposal, settings)),
            ("TOPO", partial(topo, truth, proposal)),
        ]
        (seconds, cpu, _), (topo_s, topo_cpu_s, _) = taken(cases, min(repeats, 3))
        rows.append(
            {
                "missing": share,
                **score.to_dict(),
                "apls_s": seconds,
                "apls_cpu_s": cpu,
                **walks.to_dict(),
                "topo_s": topo_s,
                "topo_cpu_s": topo_cpu_s,
            }
        )
        print(f"Chicago, {share:.0%} missing: APLS {score.apls:.3f} in {seconds:.2f} s ({cpu:.2f})", flush=True)
    return rows


def chicago(folder: Path) -> RoadGraph:
    """9,429 vertices and 11,801 straight edges in UTM metres."""
    import io
    import zipfile

    with zipfile.ZipFile(folder / "chicago" / "maps_chicago.zip") as archive:
        tables = {}
        for kind in ("vertices", "edges"):
            name = next(name for name in archive.namelist() if name.endswith(f"chicago_{kind}_osm.txt"))
            tables[kind] = np.loadtxt(io.StringIO(archive.read(name).decode()), delimiter=",", usecols=(0, 1, 2))
    order = {int(name): row for row, name in enumerate(tables["vertices"][:, 0])}
    ends = np.array([(order[int(u)], order[int(v)]) for _, u, v in tables["edges"]])
    nodes: NDArray[np.float64] = tables["vertices"][:, 1:]
    return RoadGraph(nodes, ends[:, 0], ends[:, 1], tuple(nodes[pair] for pair in ends), crs="EPSG:26916", unit="m")


def taken(cases: list[Case], repeats: int) -> list[tuple[float, float, float]]:
    """Median seconds by the clock and of the processor, and peak MB, of each; they take turns."""
    memory = []
    for _, run in cases:
        run()
        tracemalloc.start()
        run()
        memory.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    seconds: list[list[tuple[float, float]]] = [[] for _ in cases]
    for _ in range(repeats):
        for number, (_, run) in enumerate(cases):
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            seconds[number].append((time.perf_counter() - start, time.process_time() - start_cpu))
    return [
        (*(statistics.median(values) for values in zip(*times, strict=True)), mb)
        for times, mb in zip(seconds, memory, strict=True)
    ]


def installed(name: str) -> Any:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def write(record: dict[str, Any], folder: Path) -> int:
    now = datetime.now(timezone.utc)
    packages = ", ".join(f"{name} {version_of(name)}" for name in ("scikit-image", "scipy", "sknw") if version_of(name))
    lines = [
        "# Mask → road graph → APLS",
        "",
        f"{now.isoformat(timespec='seconds')} · {record['processor']} · {packages} · "
        f"load average {record['load_average'][0]} at the end · `road_graph.py`",
        "",
        "One thread, medians of calls that took turns; in brackets of the processor. MB: of Python and NumPy.",
        "",
        "| side px | road % | skeleton px | edges | step | ms | peak MB |",
        "|---:|---:|---:|---:|---|---:|---:|",
    ]
    lines += [
        f"| {row['side']} | {row['road_percent']:.1f} | {row['skeleton_px']} | {row['edges']} | {row['step']} "
        f"| {row['ms']:.1f} ({row['cpu_ms']:.1f}) | {row['peak_mb']:.1f} |"
        for row in record["steps"]
    ]
    for row in {row["side"]: row for row in record["steps"]}.values():
        theirs = "not measured" if row["apls_by_networkx"] is None else f"{row['apls_by_networkx']:.3f}"
        lines += ["", f"APLS of the two masks of {row['side']} px: {row['apls']:.3f}, by sknw + NetworkX {theirs}."]
    titles = [key for key in record["losses"][0] if key != "shape"]
    lines += ["", "What is left of a skeleton whose graph is known:", "", f"| shape | {' | '.join(titles)} |"]
    lines += ["|---" * (len(titles) + 1) + "|"]
    lines += [f"| {row['shape']} | {' | '.join(row[title] for title in titles)} |" for row in record["losses"]]
    if record["city"]:
        lines += [
            "",
            "The 9,429 vertices and 11,801 edges of Chicago (OpenStreetMap, ODbL) against themselves without a share",
            "of the edges. APLS: 200 control points of those every 50 m, snap 4 m. TOPO: 20 starts, 150 m, 30 m, 4 m.",
            "",
            "| missing | APLS | seconds | TOPO F1 | seconds |",
            "|---:|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {row['missing']:.0%} | {row['APLS']:.3f} | {row['apls_s']:.2f} ({row['apls_cpu_s']:.2f}) "
            f"| {row['TOPO']['F1']:.3f} | {row['topo_s']:.2f} ({row['topo_cpu_s']:.2f}) |"
            for row in record["city"]
        ]
    path = folder / f"road-graph-{now:%Y-%m-%d}.md"
    write_text(path, "\n".join(lines) + "\n")
    write_json(path.with_suffix(".json"), {**record, "date": now.isoformat(timespec="seconds")})
    print(path)
    return 0


def version_of(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    raise SystemExit(main())
