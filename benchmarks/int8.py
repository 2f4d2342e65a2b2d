"""INT8 on the CPU: milliseconds of roadedge and CMIPNet in FP32, BF16 and INT8, side by side in one run, and why.

Each network is deployed and exported at 512 x 512, batch 1, and quantized by the rule of `roadedge quantize`; weights
are random and scales any constant, since time depends on neither. ONNX Runtime runs FP32 and INT8, OpenVINO FP32, BF16,
INT8 with an FP32 remainder and INT8 with a BF16 remainder: through the runners that the commands use, precision pinned
and read back. All take turns within a round; a turn is at least 2 calls and 150 ms untimed, then at least 3 calls and
150 ms timed: threads of the runtime before spin on for a while, and weights have to come back into the caches, as they
are in a stream that runs one network back to back. The distance from CMIPNet in ONNX Runtime FP32 to a small network in
INT8 is split into factors that multiply to it: the network (in ONNX Runtime FP32), the runtime and the precision.

    python benchmarks/int8.py [--rounds 10] [--threads 2] [-o benchmarks/results]

writes int8-<date>.json and int8-<date>.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from networks import REFERENCE, SIZE, network_of  # noqa: E402

from roadedge.atomic import write_json, write_text  # noqa: E402
from roadedge.calibration.emissions import half_remainder  # noqa: E402
from roadedge.calibration.flow import ends_of, flow_of  # noqa: E402
from roadedge.calibration.insert import Scales, insert_qdq, weight_scales  # noqa: E402
from roadedge.environment import environment  # noqa: E402
from roadedge.export.graph import write_graph  # noqa: E402
from roadedge.export.precision import halved  # noqa: E402
from roadedge.latency.summary import summarize  # noqa: E402
from roadedge.models.cmipnet import CMIPNet  # noqa: E402
from roadedge.models.placement import place  # noqa: E402
from roadedge.runners import Runner, open_runner  # noqa: E402
from roadedge.spec import write_sidecar  # noqa: E402

NETWORKS = (REFERENCE, "roadedge-n", "roadedge-s", "roadedge-m")
# label: file, back-end, precision asked for, precision that must come of it (the most frequent one first)
WAYS = {
    "ONNX Runtime f32": ("fp32", "onnxruntime", "fp32", "fp32"),
    "ONNX Runtime INT8": ("int8", "onnxruntime", None, "fp32"),  # it says fp32 of a file that it quantizes inside
    "OpenVINO f32": ("fp32", "openvino", "fp32", "fp32"),
    "OpenVINO bf16": ("fp32", "openvino", "bf16", "bf16"),
    "OpenVINO INT8": ("int8", "openvino", None, "int8"),
    "OpenVINO INT8, rest bf16": ("int8", "openvino", "bf16", "int8"),
}
START, END = "ONNX Runtime f32", "OpenVINO INT8"
SCALE = 2.0**-5
SETTLE, TIMED, TURN_MS = 2, 3, 150.0  # a turn: at least so many calls, and so long, untimed and then timed


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="turns of each network in each way")
    parser.add_argument("--threads", type=int, default=2, help="of each back-end")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder")
    return parser.parse_args()


def emissions(name: str, folder: Path) -> dict[str, Path]:
    """The four files of a network by precision, with sidecars."""
    network = network_of(name)
    deployed = network.deployed(fold=True) if isinstance(network, CMIPNet) else network.deployed()
    stem = name.replace(", ", "-")
    paths = {p: folder / f"{stem}{'' if p == 'fp32' else '.' + p}.onnx" for p in ("fp32", "fp16", "int8", "int8-fp16")}
    model = write_graph(deployed, paths["fp32"], SIZE, 1)
    write_graph(halved(deployed), paths["fp16"], SIZE, 1)
    placement = place(flow_of(model), *ends_of(model))
    values = {point.value: SCALE for point in placement.points}
    quantized = insert_qdq(model, placement, Scales(values, weight_scales(model, placement)))
    onnx.save(quantized, paths["int8"])
    onnx.save(half_remainder(quantized), paths["int8-fp16"])
    spec = dataclasses.replace(network.spec, size=SIZE, batch=1)
    for precision, path in paths.items():
        write_sidecar(path, spec, {"weights": "random", "precision": {"effective": precision}})
    return paths


def interleaved_ms(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call, the calls taking turns in every round."""
    times: dict[str, list[float]] = {key: [] for key in calls}
    for number in range(rounds):
        print(f"\rround {number + 1}/{rounds}, load {os.getloadavg()[0]:.1f}", end="", file=sys.stderr, flush=True)
        for key, call in calls.items():
            repeated_ms(call, SETTLE)
            times[key] += repeated_ms(call, TIMED)
    print(file=sys.stderr)
    return times


def repeated_ms(call: Callable[[], Any], least: int) -> list[float]:
    """Times of at least so many calls, and of TURN_MS in all."""
    times: list[float] = []
    while len(times) < least or sum(times) < TURN_MS:
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


def measure(files: dict[str, dict[str, Path]], rounds: int, threads: int) -> dict[str, dict[str, Any]]:
    """{network: {way: times}}."""
    generator = np.random.default_rng(0)
    channels = {"image": 3, "trajectory": 1}
    feeds = {name: generator.integers(0, 256, (1, *SIZE, count), np.uint8) for name, count in channels.items()}
    with contextlib.ExitStack() as stack:
        runners: dict[tuple[str, str], Runner] = {}
        for way, (kind, backend, asked, expected) in WAYS.items():
            for name, paths in files.items():
                runner = stack.enter_context(open_runner(paths[kind], backend, asked, threads))
                assert runner.precision.split("+")[0] == expected, f"{way} of {name} took {runner.precision}"
                runners[name, way] = runner
        calls = {f"{name}|{way}": partial(runner.infer, feeds) for (name, way), runner in runners.items()}
        times = interleaved_ms(calls, rounds)
        computed = {f"{name}|{way}": runner.precision for (name, way), runner in runners.items()}
    found: dict[str, dict[str, Any]] = {name: {} for name in files}
    for key, values in times.items():
        name, way = key.split("|")
        found[name][way] = {"computed_in": computed[key], "ms": summarize(values).to_dict(), "times_ms": values}
    return found


def median(found: dict[str, dict[str, Any]], name: str, way: str) -> float:
    return float(found[name][way]["ms"]["median"])


def split(found: dict[str, dict[str, Any]], name: str) -> dict[str, float]:
    """The distance from CMIPNet in ONNX Runtime FP32, and its three factors."""
    start, own = median(found, REFERENCE, START), median(found, name, START)
    single, end = median(found, name, "OpenVINO f32"), median(found, name, END)
    factors = {"network": start / own, "runtime": own / single, "precision": single / end, "whole": start / end}
    return {key: round(value, 2) for key, value in factors.items()}


def table(found: dict[str, dict[str, Any]], sizes: dict[str, dict[str, int]], run: dict[str, Any]) -> str:
    """The run as Markdown."""
    head = ["network", *WAYS, "INT8 against f32", "INT8 against bf16"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for name, ways in found.items():
        cells = [f"{w['ms']['median']:.1f} / {w['ms']['min']:.1f}" for w in ways.values()]
        ratios = [median(found, name, way) / median(found, name, END) for way in ("OpenVINO f32", "OpenVINO bf16")]
        lines.append("| " + " | ".join([name, *cells, *(f"{ratio:.2f} ×" for ratio in ratios)]) + " |")
    lines += [
        "",
        "| from CMIPNet, ONNX Runtime f32, to | network | runtime | precision | whole |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in found:
        own = split(found, name)
        cells = [f"{own[key]:.2f} ×" for key in ("network", "runtime", "precision", "whole")]
        lines.append("| " + " | ".join([f"{name}, {END}", *cells]) + " |")
    lines += ["", "| file, MB | FP32 | FP16 | INT8 | INT8, rest FP16 |", "|---|---:|---:|---:|---:|"]
    for name, own in sizes.items():
        lines.append("| " + " | ".join([name, *(f"{size / 1e6:.2f}" for size in own.values())]) + " |")
    machine, packages = run["environment"], run["environment"]["packages"]
    versions = ", ".join(f"{n} {packages[n]}" for n in ("torch", "onnxruntime", "openvino", "onnx") if n in packages)
    turn = f"{TIMED} or more timed calls after {SETTLE} or more untimed ones, each {TURN_MS:g} ms at least"
    told = f"{SIZE[0]} × {SIZE[1]}, batch 1, {run['threads']} threads, {run['rounds']} interleaved rounds of {turn}; "
    told += "ms of `Runner.infer`, median / minimum. Random weights."
    loads = f"load average {run['load_before']} before, {run['load_after']} after"
    where = f"{machine['date']} · {machine['processor']}, {machine['cpu_count']} CPUs · {loads}"
    with_what = f"Python {machine['python']}, {versions} · `python benchmarks/{machine['command']}`"
    return "\n".join(["# INT8 on the CPU", "", told, "", *lines, "", f"{where} · {with_what}", ""])


def main() -> None:
    options = parse()
    load_before = [round(load, 2) for load in os.getloadavg()]
    with tempfile.TemporaryDirectory() as folder:
        files = {name: emissions(name, Path(folder)) for name in NETWORKS}
        sizes = {name: {kind: path.stat().st_size for kind, path in paths.items()} for name, paths in files.items()}
        found = measure(files, options.rounds, options.threads)
    run: dict[str, Any] = {
        "schema_version": 1,
        "environment": environment(),
        "size": SIZE,
        "threads": options.threads,
        "rounds": options.rounds,
        "turn": {"settle": SETTLE, "timed": TIMED, "at_least_ms": TURN_MS},
        "load_before": load_before,
        "load_after": [round(load, 2) for load in os.getloadavg()],
        "results": found,
        "split": {name: split(found, name) for name in found},
        "bytes": sizes,
    }
    text = table(found, sizes, run)
    stem = options.output / f"int8-{run['environment']['date'][:10]}"
    write_json(stem.with_suffix(".json"), run)
    write_text(stem.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
