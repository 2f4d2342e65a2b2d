"""Engines of TensorRT for RTX: seconds to build, bytes, and layers by precision, for every network and precision.

Each network is deployed with fresh weights (neither time nor size depends on them) at 512 x 512, batch 1, and written
as fp32, fp16, int8 (FP32 remainder) and int8-fp16 (FP16 remainder); each file is built for one compute capability, with
no GPU. Layers are counted as the parsed network has them. Nothing is run, so that no speed is claimed.

    python benchmarks/rtx_engines.py [--networks roadedge-n,...] [--capability 8.6] [-o benchmarks/results]

writes rtx-engines-<date>.json and rtx-engines-<date>.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import onnx  # noqa: E402
import torch  # noqa: E402

from roadedge.atomic import write_json, write_text  # noqa: E402
from roadedge.calibration.emissions import half_remainder  # noqa: E402
from roadedge.calibration.flow import flow_of  # noqa: E402
from roadedge.calibration.insert import Scales, insert_qdq, weight_scales  # noqa: E402
from roadedge.environment import environment  # noqa: E402
from roadedge.export.build_progress import Progress  # noqa: E402
from roadedge.export.engine import load_library  # noqa: E402
from roadedge.export.graph import write_graph  # noqa: E402
from roadedge.export.plan import PlanOptions, build_plan  # noqa: E402
from roadedge.export.precision import halved  # noqa: E402
from roadedge.models import create_model  # noqa: E402
from roadedge.models.placement import place  # noqa: E402

SIZE = (512, 512)
NETWORKS = ("roadedge-n", "roadedge-s", "roadedge-m", "cmipnet")
SCALE = 2.0**-5  # any constant: neither time nor size depends on it


def emissions(name: str, folder: Path) -> dict[str, Path]:
    """The network's four files by precision."""
    torch.manual_seed(0)
    deployed = create_model(name).eval().deployed()
    paths = {precision: folder / f"{name}.{precision}.onnx" for precision in ("fp32", "fp16", "int8", "int8-fp16")}
    model = write_graph(deployed, paths["fp32"], SIZE, 1)
    write_graph(halved(deployed), paths["fp16"], SIZE, 1)
    placement = place(flow_of(model), [p.name for p in model.graph.input], [p.name for p in model.graph.output])
    values = {point.value: SCALE for point in placement.points}
    quantized = insert_qdq(model, placement, Scales(values, weight_scales(model, placement)))
    onnx.save(quantized, paths["int8"])
    onnx.save(half_remainder(quantized), paths["int8-fp16"])
    return paths


def measure(names: list[str], capability: str) -> list[dict[str, Any]]:
    """Build each file once; one row each."""
    trt = load_library("tensorrt-rtx")
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            for precision, path in emissions(name, Path(folder)).items():
                plan = build_plan(trt, path, PlanOptions("tensorrt-rtx", precision, (capability,)), Progress(False))
                row = {
                    "network": name,
                    "precision": precision,
                    "onnx_bytes": path.stat().st_size,
                    "engine_bytes": len(plan.engine),
                    "build_seconds": round(plan.seconds, 3),
                    "layers_by_precision": plan.layers_by_precision,
                    "load_average": round(os.getloadavg()[0], 1),
                }
                print(row, file=sys.stderr, flush=True)
                rows.append(row)
    return rows


def table(rows: list[dict[str, Any]], version: str, capability: str) -> str:
    """The rows as Markdown."""
    lines = [
        f"TensorRT for RTX {version}, compute capability {capability}, {SIZE[0]} x {SIZE[1]}, batch 1; none was run.",
        "",
        "| network | precision | ONNX, MiB | engine, MiB | built in, s | layers of the parsed network |",
        "| --- | --- | --: | --: | --: | --- |",
    ]
    for row in rows:
        counts = ", ".join(f"{count} {kind}" for kind, count in row["layers_by_precision"].items())
        lines.append(
            f"| {row['network']} | {row['precision']} | {row['onnx_bytes'] / 2**20:.2f} | "
            f"{row['engine_bytes'] / 2**20:.2f} | {row['build_seconds']:.2f} | {counts} |"
        )
    loads = [row["load_average"] for row in rows]
    lines += ["", f"Load average of the machine meanwhile: {min(loads)} to {max(loads)}; the seconds are of the wall."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--capability", default="8.6")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results")
    given = parser.parse_args()
    rows = measure(given.networks.split(","), given.capability)
    made, version = environment(), str(load_library("tensorrt-rtx").__version__)
    stem = given.output / f"rtx-engines-{made['date'][:10]}"
    write_json(f"{stem}.json", {"tensorrt_rtx": version, "capability": given.capability, "rows": rows, **made})
    write_text(f"{stem}.md", table(rows, version, given.capability))
    print(f"Results saved to {stem}.json and {stem}.md", file=sys.stderr)


if __name__ == "__main__":
    main()
