"""The header of a benchmark: all that two runs must share before their times may be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roadedge.benchmark.options import BenchmarkOptions, included_text
from roadedge.runners.base import Runner

# What a run is. A field that follows from another one is compared too, but is no difference of its own.
CONTEXT = (
    "artefact_sha256", "accuracy", "graph_precision", "precision_asked", "precision", "backend", "backend_version",
    "threads", "resolution_in", "resolution_network", "batch", "streams", "scenario", "rate_hz", "policy",
    "included", "source", "duration_asked_s", "device", "processor", "cpu_count", "platform", "driver", "cuda",
    "jetpack", "power_mode", "clocks_locked", "python", "roadedge",
)  # fmt: skip
FOLLOWS = {
    "accuracy": ("artefact_sha256",),
    "graph_precision": ("artefact_sha256",),
    "resolution_network": ("artefact_sha256", "resolution_in"),
    "precision": ("artefact_sha256", "precision_asked", "backend"),
    "backend_version": ("backend",),
    "device": ("backend",),
    "driver": ("device",),
    "cuda": ("device",),
    "jetpack": ("device",),
    "processor": ("device",),
    "cpu_count": ("device", "processor"),
    "platform": ("device", "processor"),
    "clocks_locked": ("device", "power_mode"),
}


def header_of(
    options: BenchmarkOptions,
    runner: Runner,
    model: Mapping[str, Any],
    source: str,
    input_size: tuple[int, int],
    batch: str,
    streams: int | None,
    rate_hz: float | None,
    environment: Mapping[str, Any],
    machine: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The header as JSON values, with the fields of CONTEXT.

    Args:
        options: what was asked for.
        runner: what ran.
        model: digest and accuracy of the file, as `model_facts` gives them.
        source: what was fed, without folders.
        input_size: (H, W) of a frame.
        batch: windows at once, or the sizes of a sweep.
        streams: that ran side by side, None where the scenario has none.
        rate_hz: of frames, None where nothing was due.
        environment: as `environment()`.
        machine: as `MachineWatch.to_dict`.
    """
    from roadedge.runners.device import Device

    here, told = Device.here(), machine or {}
    size = runner.spec.size or input_size
    return {
        "artefact_sha256": model["sha256"],
        "accuracy": model["accuracy"],
        "graph_precision": runner.graph_precision,
        "precision_asked": options.precision,
        "precision": runner.precision,
        "backend": runner.name,
        "backend_version": runner.version,
        "threads": options.threads,
        "resolution_in": f"{input_size[0]}x{input_size[1]}",
        "resolution_network": f"{size[0]}x{size[1]}",
        "batch": batch,
        "streams": streams,
        "scenario": options.scenario,
        "rate_hz": rate_hz,
        "policy": options.policy if options.scenario == "fixed-rate" else None,
        "included": included_text(options.include, options.scenario),
        "source": source,
        "duration_asked_s": options.duration_s,
        "device": runner.device,
        "processor": environment["processor"],
        "cpu_count": environment["cpu_count"],
        "platform": environment["platform"],
        "driver": here.driver,
        "cuda": here.cuda,
        "jetpack": here.jetpack,
        "power_mode": (told.get("facts") or {}).get("power_mode"),
        "clocks_locked": told.get("clocks_locked"),
        "python": environment["python"],
        "roadedge": environment["roadedge"],
    }


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Fields of two headers that differ: those that stand for themselves, and those that follow from one of them."""
    unlike = [name for name in CONTEXT if first.get(name) != second.get(name)]
    own = [name for name in unlike if not set(FOLLOWS.get(name, ())) & set(unlike)]
    return own, [name for name in unlike if name not in own]
