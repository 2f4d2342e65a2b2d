"""One run from arguments to a run folder: what `roadedge infer` calls."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from roadedge.atomic import write_json
from roadedge.environment import environment, masked, usable_cpus
from roadedge.errors import OutputError, SpecMismatchError, UsageError
from roadedge.latency.clock import Clock, HostClock
from roadedge.latency.machine import MachineWatch
from roadedge.run_folder import open_run_folder
from roadedge.runners.base import Runner
from roadedge.spec import ModelSpec, sha256_of
from roadedge.stream.allocator import keep_memory_flat
from roadedge.stream.frame_log import FrameLog
from roadedge.stream.joining import open_pairing
from roadedge.stream.opening import images_of, is_there, open_source, scheme_of
from roadedge.stream.outcome import SAVES, InferOptions, InferResult, conclude, failure_of
from roadedge.stream.pipeline import Pipeline
from roadedge.stream.plan import Plan
from roadedge.stream.sink_geojson import GeoJsonSink
from roadedge.stream.sink_send import open_sends
from roadedge.stream.sinks import MaskSink, OverlaySink, Sink, VideoSink
from roadedge.stream.sources import ImageFiles, Source
from roadedge.stream.status import StatusLine, progress_bar

DEFAULT_MODEL = "roadedge-s"
Tell = Callable[[str], None]


def infer(options: InferOptions, tell: Tell = lambda text: None, clock: Clock | None = None) -> InferResult:
    """Run a source through a network into a run folder.

    Places to write are made and tested before the work. A run that fails half-way, or is stopped by Ctrl-C, writes what
    it has; each file is whole.

    Args:
        options: what to do.
        tell: is given lines for the log.
        clock: of all times; the host's by default.

    Raises:
        UsageError: options that do not go together.
        SourceError, DataError: the source cannot be opened, or a stream broke; with the partial results written.
        MissingExtraError: a video was asked for and PyAV is not installed.
        OutputError: the run folder cannot be written.
        and what `open_runner` raises.
    """
    from roadedge.runners import open_runner

    keep_memory_flat()
    clock, busy = clock or HostClock(), machine_load()
    check_options(options)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(options.source, options.inputs))
        check_rate(source, options.plan)
        pairing = open_pairing(options.source, source, options.inputs, tell)
        if pairing is not None:
            stack.callback(pairing.close)
        folder = open_run_folder(options.command, source.name, options.output, options.overwrite, _read(options))
        stack.callback(_remove_if_empty, folder)
        sinks = open_sinks(options, source, folder, clock, tell)
        began_ns = clock.now_ns()
        runner = stack.enter_context(
            open_runner(
                options.model,
                options.backend,
                options.precision,
                options.threads,
                options.accept_rejected,
                options.augmentation,
            )
        )
        load_ms = (clock.now_ns() - began_ns) / 1e6
        check_second(options, runner.spec)
        model = model_facts(options.model, runner.provenance)  # now, since nobody knows how long the file lies there
        tell(f"{runner.spec.name} on {runner.name} ({runner.device}), {runner.precision}; results go to {folder}")
        if options.backend == "onnxruntime" and runner.graph_precision.startswith("int8"):
            tell("note: ONNX Runtime computes symmetric INT8 slower than FP32; OpenVINO computes it faster")
        source.prepare()
        where = environment()
        write_json(folder / "env.json", where)  # now, so that a run that is killed is known as one
        records = FrameLog(folder, options.save is None or "csv" in options.save)
        stack.callback(records.close)
        bar = stack.enter_context(progress_bar(None if source.live else source.count))
        live = source.live or options.plan.rate_hz or options.plan.realtime
        machine = MachineWatch(clock) if options.profile else None
        watch = StatusLine(tell, machine) if live else bar
        pipeline = Pipeline(
            source, runner, sinks, options.plan, clock, watch, pairing, records, turns=_shared(runner, options)
        )
        stack.enter_context(_said_where(folder))
        error = _go(pipeline, sinks, machine)
        records.close()
        if not pipeline.run.answered and (error or pipeline.run.failures):  # there is nothing to write
            for name in ("frames.csv", "env.json"):
                (folder / name).unlink(missing_ok=True)
            raise error or failure_of(pipeline.run, folder)
        facts = {
            "environment": where,
            "source": masked(options.source),
            "runner": {**runner.describe(), "file": model["file"]},  # folders name people and machines
            "model": model,
            "machine_load_before": busy,
            "machine": None if machine is None else machine.to_dict(),
            "gaps": gaps_of(source, pipeline.start_ns),
            "pairing": None if pairing is None else pairing.describe(),
            "sinks": [sink.describe() for sink in sinks],
        }
        try:
            result = conclude(options, pipeline, folder, load_ms, facts, machine, error)
        except OutputError:
            if error is not None:  # a full disk: the first word about it is the one that counts
                raise error from None
            raise
        for sink in sinks:
            for notice in sink.notices():
                tell(f"notice: {notice}")
    if error is not None:
        tell(f"Results up to the failure are in {folder}")
        raise error
    return result


def _read(options: InferOptions) -> list[Path]:
    """Files and folders that the run reads."""
    inputs = options.inputs
    named = [options.source, options.model, *inputs.trajectories, inputs.camera, inputs.telemetry]
    read = [path for one in named if one for path in _paths_in(str(one))]
    if not scheme_of(options.source) and not is_there(options.source):  # a pattern
        read += {path.parent for path in images_of(options.source)}
    return read


def _paths_in(argument: str) -> list[Path]:
    """What there is of the files that an argument names, as in ortho:SCENE@TRACK?size=… and bag:PATH#topic."""
    bare = re.sub(r"^(prior|replay|bag|ortho):", "", argument)
    return [Path(part).expanduser() for part in {argument, bare, *re.split("[@#?]", bare)} if part and is_there(part)]


def _go(pipeline: Pipeline, sinks: list[Sink], machine: MachineWatch | None) -> Exception | None:
    """Run; the error that broke a stream is kept, so that what came before it is finished and written."""
    try:
        with ExitStack() as stack:
            for sink in sinks:
                stack.enter_context(sink)
            if machine is not None:
                stack.enter_context(machine)
            pipeline.go()
    except Exception as error:  # also one that nobody foresaw
        return error
    return None


@contextlib.contextmanager
def _said_where(folder: Path) -> Iterator[None]:
    """One Ctrl-C too many, while files are finished: what there is stays, and where must be said."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted before all was written; what there is lies in {folder}") from None


def gaps_of(source: Source, start_ns: int) -> list[dict[str, Any]]:
    """Times without frames as JSON values, in seconds of the run; an end of None says that it did not end."""
    return [
        {
            "begin_s": (gap.begin_ns - start_ns) / 1e9,
            "end_s": None if gap.end_ns is None else (gap.end_ns - start_ns) / 1e9,
            "reason": gap.reason,
            "attempts": gap.attempts,
        }
        for gap in source.gaps
    ]


def _shared(runner: Runner, options: InferOptions) -> bool:
    """Whether the network computes on all the processors that the sinks have."""
    return runner.device == "CPU" and (options.threads or usable_cpus()) >= usable_cpus()


def _remove_if_empty(folder: Path) -> None:
    """Take a run's folder away where nothing came of it."""
    with contextlib.suppress(OSError):  # it holds results
        folder.rmdir()


def model_and_source(arguments: Sequence[str]) -> tuple[str, str]:
    """`SOURCE` or `MODEL SOURCE` as (model, source).

    Raises:
        UsageError: more than two arguments, which a shell makes of a glob that is not quoted.
    """
    if len(arguments) == 1:
        return DEFAULT_MODEL, arguments[0]
    if len(arguments) == 2:
        return arguments[0], arguments[1]
    raise UsageError(
        f"expected [MODEL] SOURCE, got {len(arguments)} arguments; quote a pattern, as in 'tiles/*.png', "
        "or give a folder"
    )


def check_options(options: InferOptions) -> None:
    """Raise UsageError for a value outside its range."""
    unknown = [name for name in options.save or () if name not in SAVES]
    if unknown and options.save != ("none",):
        raise UsageError(f"--save takes some of {','.join(SAVES)}, or none; got {','.join(unknown)}")


def check_second(options: InferOptions, spec: ModelSpec) -> None:
    """Raise SpecMismatchError where points or rasters are given to a network that would not look at them."""
    if options.inputs.trajectories and spec.second is None:
        raise SpecMismatchError(
            f"{spec.name} looks at images alone; leave --trajectory out, or take a network with two inputs"
        )


def check_rate(source: Source, plan: Plan) -> None:
    """Raise UsageError where a rate is given twice, or goes not with the source."""
    if source.delivers and (plan.rate_hz is not None or plan.realtime):
        raise UsageError(f"{source.name} delivers frames when it has them; leave --rate out")
    if plan.realtime and (source.rate_hz is not None or isinstance(source, ImageFiles)):
        raise UsageError(f"--rate pts is for videos and bags, whose frames have times; {source.name} has none")
    if plan.rate_hz is not None and source.rate_hz is not None and plan.rate_hz != source.rate_hz:
        raise UsageError(
            f"the source says {source.rate_hz:g} frames a second and --rate {plan.rate_hz:g}; give one of them"
        )


def open_sinks(options: InferOptions, source: Source, folder: Path, clock: Clock, tell: Tell) -> list[Sink]:
    """The sinks that were asked for, those that send first.

    A video that nobody asked for is left out, aloud, where PyAV is absent.
    """
    asked = options.save
    wanted = asked if asked is not None else ("mask", "video", "csv") if source.moving else ("mask", "overlay", "csv")
    if asked is None and "video" in wanted and importlib.util.find_spec("av") is None:
        tell("overlay.mp4 is left out: it needs PyAV, pip install 'roadedge[video]'")
        wanted = tuple(name for name in wanted if name != "video")
    sinks: list[Sink] = []
    if options.send or "geojson" in wanted:
        from roadedge.stream.road_lines import RoadLines

        roads = RoadLines()  # traced once, however many sinks ask
        sinks += open_sends(options.send, roads, lambda: source.epoch_s, clock)
        if "geojson" in wanted:
            sinks.append(GeoJsonSink(folder / "roads.geojsonl", roads, lambda: source.epoch_s))
    if "geotiff" in wanted:
        from roadedge.stream.sink_geotiff import GeoTiffSink

        sinks.append(GeoTiffSink(folder / "geotiff"))
    if "mask" in wanted:
        sinks.append(MaskSink(folder / "masks"))
    if "overlay" in wanted:
        sinks.append(OverlaySink(folder / "overlays"))
    if "video" in wanted:
        sinks.append(VideoSink(folder / "overlay.mp4", side_by_side=source.moving))
    return sinks


def model_facts(model: str, provenance: dict[str, Any]) -> dict[str, Any]:
    """File, digest, accuracy and provenance of the model, for the report's header."""
    from roadedge.weights import find_model

    path = Path(provenance["path"]) if "path" in provenance else find_model(model)
    return {
        "file": path.name,
        "sha256": sha256_of(path),
        "accuracy": accuracy_of(provenance),
        "provenance": provenance,
    }


def accuracy_of(provenance: dict[str, Any]) -> str | None:
    """What the sidecar says about the accuracy of this very file, None where it says nothing."""
    if "accuracy" in provenance:
        return str(provenance["accuracy"])
    measured = [p for p in provenance.get("parity", ()) if p.get("g_iou_candidate") is not None]
    if measured:
        last = measured[-1]
        label = f" ({last['label']})" if last.get("label") else ""
        return f"G_IoU {last['g_iou_candidate']:.2f} on {len(last['rows'])} samples of {last['origin']}{label}"
    chosen = provenance.get("chosen_by", {})
    return f"G_IoU {100 * chosen['g_iou']:.2f} on the samples set aside in training" if "g_iou" in chosen else None


def machine_load() -> float | None:
    """Runnable processes per processor over the last minute; None where the system does not say."""
    return os.getloadavg()[0] / usable_cpus() if hasattr(os, "getloadavg") else None
