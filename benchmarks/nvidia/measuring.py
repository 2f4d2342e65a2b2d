"""One network, every way to run it that is here: opened, compared with FP32, and timed in turns, in this process."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nvidia.child import sentence
from benchmarks.nvidia.interleave import ROUNDS, SETTLE, TIMED, WARM_UP, Stages, take_turns, times_of
from benchmarks.nvidia.judge import Judge
from benchmarks.nvidia.monitor import remarks, state
from benchmarks.nvidia.onnx_files import Files
from benchmarks.nvidia.ways import Way
from roadedge.errors import EnvironmentFault
from roadedge.export.parity import ParitySamples, first_corner, parity_samples
from roadedge.preprocess import Feeds, preprocess
from roadedge.runners.base import Runner
from roadedge.spec import ModelSpec, read_sidecar

BEGAN = time.monotonic()  # of this process
# Shares of the limit after which no further way is opened, none is compared, and no further round is begun.
OPENING_ENDS, JUDGING_ENDS, TIMING_ENDS = 0.4, 0.6, 0.85
UNSTEADY = 0.025  # variation above which trtexec advises to lock the clocks


def measure(
    files: dict[str, Any],
    ways: list[dict[str, Any]],
    limit_s: float,
    size: int,
    device: str = "cuda",
    rounds: int = ROUNDS,
    timed: int = TIMED,
    warm_up: int = WARM_UP,
    settle: int = SETTLE,
    samples: int = 2,
) -> dict[str, Any]:
    """Measure one network; a way that fails is a row that says why.

    Args:
        files: `Files` as JSON values.
        ways: `Way`s as JSON values.
        limit_s: after so many seconds of this process's life it is killed; timing ends before.
        size: pixels of the sides, where no file says it.
        device: `cuda` or `cpu`, for torch.
        rounds: in which the ways take turns.
        timed: calls of each in a round.
        warm_up: calls of each before all rounds.
        settle: calls of each before the timed ones of a round.
        samples: of the built-in city, for parity.
    """
    found, listed = Files(**files), [Way(**one) for one in ways]
    spec = spec_of(found, size)
    given, why_none = samples_of(spec, samples)
    feeds = noise(spec) if given is None else preprocess(given.pairs[0][0], spec)
    rows: dict[str, dict[str, Any]] = {}
    before, held = state(), contextlib.ExitStack()
    runners: dict[str, Runner] = {}
    for way in listed:
        if _past(OPENING_ENDS, limit_s):
            rows[way.name] = {"not_available": f"skipped: opening the ways before it took {_age_s():.0f} s"}
            continue
        try:
            runners[way.name] = held.enter_context(open_way(way, spec, device))
        except Exception as error:  # of whatever library opens it
            rows[way.name] = {"not_available": sentence(error)}
    parity = Judge(found, given, why_none, held)
    judged = {}
    for way in (one for one in listed if one.name in runners):
        late = {"not_available": "skipped: no time was left to compare"}
        judged[way.name] = late if _past(JUDGING_ENDS, limit_s) else parity.of(way, runners[way.name])
    turns = take_turns(
        {name: _call(runner, feeds) for name, runner in runners.items() if "crashed" not in judged[name]},
        rounds,
        timed,
        lambda: _past(TIMING_ENDS, limit_s),
        warm_up,
        settle,
    )
    after = state()  # while the clocks are still where the work left them
    for name, runner in runners.items():
        rows[name] = {"runs": runner.describe()} | _row(name, turns.rounds, turns.failed, judged[name])
    said = remarks(before, after) + (["the time was up before all rounds were done"] if turns.stopped else [])
    said += _closed(held)
    return {
        "rows": [asdict(way) | {"way": way.name, "file": Path(way.file).name} | rows[way.name] for way in listed],
        "state_before": before,
        "state_after": after,
        "remarks": said,
        "reference": parity.title,
        "size": list(spec.size or ()),
    }


def open_way(way: Way, spec: ModelSpec, device: str) -> Any:
    """A runner; raises what its library raises."""
    if way.family == "torch":
        from benchmarks.nvidia.torch_way import TorchOnDevice
        from roadedge.models.checkpoint import load_network

        deployed = load_network(Path(way.file))[0].deployed()
        return TorchOnDevice(deployed, spec, way.precision, way.graph, device, way.compiled)
    if way.family == "onnxruntime":
        from benchmarks.nvidia.ort_way import OnnxOnGpu

        return OnnxOnGpu(Path(way.file), way.precision)
    from benchmarks.nvidia.engines import opened

    return opened(way.file, way.graph)


def spec_of(files: Files, size: int) -> ModelSpec:
    """What the files are fed: their own static size, else `size` x `size`, one window at a time."""
    for path in files.onnx.values():
        stated = read_sidecar(path)
        if stated is not None and stated[0].size is not None:
            return stated[0]
    if files.checkpoint is None:
        raise EnvironmentFault(f"there is no file of {files.network}: {'; '.join(set(files.missing.values()))}")
    stated = read_sidecar(files.checkpoint)
    assert stated is not None, "a checkpoint of ours has a sidecar"
    return dataclasses.replace(stated[0], size=(size, size), batch=1)


def samples_of(spec: ModelSpec, count: int) -> tuple[ParitySamples | None, str]:
    """Samples of the built-in city cut to the network's size, or why there are none."""
    try:
        return cut(parity_samples(spec, count=count), spec), ""
    except Exception as error:  # drawing a city takes OpenCV, which may not be here
        return None, f"no samples: {sentence(error)}"


def cut(samples: ParitySamples, spec: ModelSpec) -> ParitySamples:
    """The upper left corner of each sample where it is larger than the network's size."""
    if spec.size is None or samples.pairs[0][0].size == spec.size:
        return samples
    alone = (dataclasses.replace(samples, pairs=(pair,)) for pair in samples.pairs)
    return dataclasses.replace(samples, pairs=tuple(first_corner(one, spec.size[0]).pairs[0] for one in alone))


def noise(spec: ModelSpec) -> Feeds:
    """Random planes, to time with where nothing better is here."""
    generator, size = np.random.default_rng(0), spec.size or (512, 512)
    return {n: generator.integers(0, 256, (1, *size, 3 if n == "image" else 1), np.uint8) for n in spec.inputs}


def _age_s() -> float:
    return time.monotonic() - BEGAN


def _past(share: float, limit_s: float) -> bool:
    return _age_s() > share * limit_s


def _closed(held: contextlib.ExitStack) -> list[str]:
    try:
        held.close()
    except Exception as error:  # what was measured counts all the same
        return [f"giving the GPU back failed: {sentence(error)}"]
    return []


def _call(runner: Runner, feeds: Feeds) -> Callable[[], Stages]:
    def call() -> Stages:
        runner.infer(feeds)
        return runner.last_ms

    return call


def _row(
    name: str, rounds: Mapping[str, list[list[Stages]]], failed: Mapping[str, str], parity: dict[str, Any]
) -> dict[str, Any]:
    if "crashed" in parity:
        return {"not_available": f"it was opened and failed at its first frame: {parity['crashed']}"}
    if name in failed:
        return {"not_available": f"it failed while it was timed: {failed[name]}", "parity": parity}
    times = times_of(rounds[name])
    unsteady = times["variation"] is not None and times["variation"] > UNSTEADY
    said = [f"its time varies by {100 * times['variation']:.1f} %: lock the clocks"] if unsteady else []
    return {**times, "parity": parity, "remarks": said}
