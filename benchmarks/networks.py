"""Cost of the networks side by side: parameters, multiply-adds, file size and milliseconds on the CPU, in one run.

Each network is deployed and exported as `roadedge export` does (opset 17, onnxsim, uint8 in and out) at 512 x 512,
batch 1, and run by ONNX Runtime in f32 and by OpenVINO in f32 and bf16, through the runners that the commands use:
precision pinned and read back, checks and the copy of the result included. All networks and back-ends take turns within
a round, so that what else the machine does hits all of them alike. Weights are random and each batch-norm is another:
time does not depend on it, but equal norms would let the simplifier merge weights that a trained network has twice. All
of CMIPNet's γ that are exchanged are equal, so that nothing is and it computes its full 52.75 GMAC; a polarised one may
skip channels.

    python benchmarks/networks.py [--rounds 10] [--threads 2] [-o benchmarks/results]

writes networks-<date>.json and networks-<date>.md.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

from roadedge.atomic import write_json, write_text  # noqa: E402
from roadedge.environment import environment  # noqa: E402
from roadedge.export.graph import write_graph  # noqa: E402
from roadedge.latency.summary import summarize  # noqa: E402
from roadedge.models import create_model  # noqa: E402
from roadedge.models.blocks import RoadNet  # noqa: E402
from roadedge.models.catalogue import cost, gmac  # noqa: E402
from roadedge.models.cmipnet import CMIPNet  # noqa: E402
from roadedge.runners import Runner, open_runner  # noqa: E402
from roadedge.spec import write_sidecar  # noqa: E402

SIZE = (512, 512)
REFERENCE = "cmipnet, folded"  # the faster form of the network to compare with
NETWORKS = ("cmipnet", REFERENCE, "roadedge-n", "roadedge-s", "roadedge-m")
BACKENDS = (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))
WARM_UP, SETTLE, TIMED = 1, 2, 3  # calls before all, untimed and timed ones of a turn


@dataclass(frozen=True, slots=True)
class Exported:
    """One network as a file, with what it costs on paper."""

    name: str
    path: Path
    parameters: int
    graph_parameters: int
    gmac: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; megabytes of 1e6 bytes."""
        megabytes = self.path.stat().st_size / 1e6
        counts = {"parameters": self.parameters, "graph_parameters": self.graph_parameters, "gmac": round(self.gmac, 3)}
        return {"name": self.name, **counts, "onnx_mb": round(megabytes, 2)}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="timed passes of each network on each back-end")
    parser.add_argument("--threads", type=int, default=2, help="of each back-end")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder")
    return parser.parse_args()


def network_of(name: str) -> RoadNet:
    """Random weights, each norm with β and statistics of its own."""
    torch.manual_seed(0)
    network = create_model(name.partition(",")[0]).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.1, 0.1)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network


def export(name: str, folder: Path) -> Exported:
    """Write one network as ONNX with its sidecar, and count it."""
    network = network_of(name)
    deployed = network.deployed(fold=name == REFERENCE) if isinstance(network, CMIPNet) else network.deployed()
    path = folder / f"{name.replace(', ', '-')}.onnx"
    write_graph(deployed, path, SIZE, 1)
    write_sidecar(path, dataclasses.replace(network.spec, size=SIZE, batch=1), {"weights": "random"})
    weights = sum(value.numel() for value in deployed.state_dict().values() if value.is_floating_point())
    return Exported(name, path, cost(network).parameters, weights, gmac(deployed, SIZE[0]))


def interleaved_ms(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call, the calls taking turns in every round.

    A turn is `SETTLE` untimed calls and `TIMED` timed ones: the threads of the runtime before go on spinning for a
    while, and take a processor away from a short call that follows at once. A stream runs one network back to back.
    """
    for _ in range(WARM_UP):
        for call in calls.values():
            call()
    times: dict[str, list[float]] = {key: [] for key in calls}
    for number in range(rounds):
        print(f"\rround {number + 1}/{rounds}, load {os.getloadavg()[0]:.1f}", end="", file=sys.stderr, flush=True)
        for key, call in calls.items():
            for _ in range(SETTLE):
                call()
            for _ in range(TIMED):
                start = time.perf_counter_ns()
                call()
                times[key].append((time.perf_counter_ns() - start) / 1e6)
    print(file=sys.stderr)
    return times


def measure(networks: list[Exported], rounds: int, threads: int) -> list[dict[str, Any]]:
    """A row for each network and back-end."""
    generator = np.random.default_rng(0)
    feeds = {
        "image": generator.integers(0, 256, (1, *SIZE, 3), np.uint8),
        "trajectory": generator.integers(0, 256, (1, *SIZE, 1), np.uint8),
    }
    with contextlib.ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for backend, precision in BACKENDS:
            for network in networks:
                runner = stack.enter_context(open_runner(network.path, backend, precision, threads))
                assert runner.precision == precision, f"{backend} took {runner.precision}, not {precision}"
                runners[f"{network.name}|{backend}|{precision}"] = runner
        times = interleaved_ms({key: partial(runner.infer, feeds) for key, runner in runners.items()}, rounds)
    rows = []
    for key, values in times.items():
        name, backend, precision = key.split("|")
        reference = summarize(times[f"{REFERENCE}|{backend}|{precision}"])
        own = summarize(values)
        ratio = round((reference.median or 0) / (own.median or 1), 2)
        row = {"network": name, "backend": backend, "precision": precision, "times_faster": ratio}
        rows.append(row | {"ms": own.to_dict(), "times_ms": [round(value, 3) for value in values]})
    return rows


def table(networks: list[Exported], rows: list[dict[str, Any]], run: dict[str, Any]) -> str:
    """The run as markdown; the ratios in brackets are those to CMIPNet, folded."""
    labels = {("onnxruntime", "fp32"): "ONNX Runtime f32", ("openvino", "fp32"): "OpenVINO f32"}
    labels[("openvino", "bf16")] = "OpenVINO bf16"
    head = ["network", "parameters trained", "in the graph", "GMAC", "ONNX, MB", *labels.values()]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for network in networks:
        own = network.to_dict()
        cells = [network.name, f"{network.parameters:,}"]
        for field, shown in (("graph_parameters", f"{own['graph_parameters']:,}"), ("gmac", f"{own['gmac']:.2f}")):
            cells.append(f"{shown} ({_counted_reference(networks, field) / own[field]:.1f}×)")
        cells.append(f"{own['onnx_mb']:.1f}")
        for key in labels:
            row = next(r for r in rows if (r["network"], r["backend"], r["precision"]) == (network.name, *key))
            cells.append(f"{row['ms']['median']:.1f} / {row['ms']['min']:.1f} ({row['times_faster']:.1f}×)")
        lines.append("| " + " | ".join(cells) + " |")
    machine, packages = run["environment"], run["environment"]["packages"]
    versions = ", ".join(f"{n} {packages[n]}" for n in ("torch", "onnxruntime", "openvino", "onnxsim") if n in packages)
    return "\n".join(
        [
            "# Networks side by side",
            "",
            f"512 × 512, batch 1, {run['threads']} threads, {run['rounds']} interleaved rounds of {TIMED} calls; "
            "ms are median / minimum of `Runner.infer`. In brackets: how many times cheaper than CMIPNet, parameters "
            "against its unfolded form, the rest against its folded one. Random weights.",
            "",
            *lines,
            "",
            f"{machine['date']} · {machine['processor']}, {machine['cpu_count']} CPUs · load average "
            f"{run['load_before']} before, {run['load_after']} after · Python {machine['python']}, {versions} · "
            f"`python benchmarks/{machine['command']}`",
            "",
        ]
    )


def _counted_reference(networks: list[Exported], field: str) -> float:
    """CMIPNet's, unfolded: its fewest parameters, and the same multiply-adds."""
    return float(next(network for network in networks if network.name == "cmipnet").to_dict()[field])


def main() -> None:
    options = parse()
    load_before = [round(load, 2) for load in os.getloadavg()]
    with tempfile.TemporaryDirectory() as folder:
        networks = [export(name, Path(folder)) for name in NETWORKS]
        rows = measure(networks, options.rounds, options.threads)
        run: dict[str, Any] = {
            "schema_version": 1,
            "environment": environment(),
            "size": SIZE,
            "threads": options.threads,
            "rounds": options.rounds,
            "load_before": load_before,
            "load_after": [round(load, 2) for load in os.getloadavg()],
            "networks": [network.to_dict() for network in networks],
            "results": rows,
        }
        text = table(networks, rows, run)
    stem = options.output / f"networks-{run['environment']['date'][:10]}"
    write_json(stem.with_suffix(".json"), run)
    write_text(stem.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
